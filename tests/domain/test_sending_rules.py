"""What may go out to a country, and under which sender."""

from datetime import date

import pytest

from otp_service.domain.sending_rules import Approval, CountryRules, Sender, SendingRules, Violation
from otp_service.domain.templates import TemplateRef
from otp_service.errors import MessageNotAllowedError

TODAY = date(2026, 11, 26)
YESTERDAY = date(2026, 11, 25)
STRICT = CountryRules(registered_senders=True, category="transactional", approved_templates=True)
TEMPLATE = TemplateRef("ur/possession/sms", "1", "a" * 64)


def sender(sender_id: str = "ACME", **members: object) -> Sender:
    given = {"country": "PK", "valid_until": None, "category": "transactional", "applications": frozenset(), **members}
    return Sender(name=sender_id.lower(), reference="PTA-1", sender_id=sender_id, **given)


def approval(**members: object) -> Approval:
    given = {"country": "PK", "valid_until": None, "template": TEMPLATE.id, "sha256": TEMPLATE.sha256, **members}
    return Approval(name="login", reference="PTA-T-1", **given)


def cleared(*senders: Sender, approvals: tuple[Approval, ...] = (approval(),), rules: CountryRules = STRICT, **members):
    asked = {"country": "PK", "channel": "sms", "application": "shop", "template": TEMPLATE, "today": TODAY, **members}
    return SendingRules({"PK": rules}, senders, approvals).sender_for(**asked)


def violation(*senders: Sender, **members) -> Violation:
    with pytest.raises(MessageNotAllowedError) as refused:
        cleared(*senders, **members)
    assert "shop" not in str(refused.value)
    return refused.value.violation


def test_a_message_goes_out_under_the_sender_that_is_registered():
    assert cleared(sender()) == "ACME"


def test_an_applications_own_sender_goes_before_one_for_all():
    own = sender("SHOP", applications=frozenset({"shop"}))

    assert cleared(sender(), own) == "SHOP"
    assert cleared(sender(), own, application="bank") == "ACME"


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ([], "sender-missing"),
        ([sender(country="SA")], "sender-missing"),
        ([sender(applications=frozenset({"bank"}))], "sender-missing"),
        ([sender(category="promotional")], "sender-category"),
        ([sender(valid_until=YESTERDAY)], "sender-expired"),
        ([sender(valid_until=YESTERDAY), sender("PROMO1", category="promotional")], "sender-expired"),
    ],
)
def test_without_one_nothing_goes_out(found: list[Sender], why: str):
    assert violation(*found) == why


def test_a_sender_serves_on_its_last_day():
    assert cleared(sender(valid_until=TODAY)) == "ACME"


def test_one_that_has_ended_does_not_stand_in_for_one_that_has_not():
    assert cleared(sender("OLD", valid_until=YESTERDAY), sender("NEW")) == "NEW"


@pytest.mark.parametrize(
    ("approvals", "template", "why"),
    [
        ((), TEMPLATE, "template-not-approved"),
        ((approval(country="SA"),), TEMPLATE, "template-not-approved"),
        ((approval(),), TemplateRef(TEMPLATE.id, "1", "b" * 64), "template-not-approved"),
        ((approval(),), TemplateRef("ur/transaction/sms", "1", TEMPLATE.sha256), "template-not-approved"),
        ((approval(),), None, "template-not-approved"),
        ((approval(valid_until=YESTERDAY),), TEMPLATE, "approval-expired"),
    ],
)
def test_only_approved_words_go_out(approvals: tuple[Approval, ...], template: TemplateRef | None, why: str):
    assert violation(sender(), approvals=approvals, template=template) == why


STRICTER = CountryRules(registered_senders=True, sim_boxes_refused=True)


@pytest.mark.parametrize(("gateway", "why"), [("plain", "sender-not-shown"), ("box", "sim-box")])
def test_a_gateway_that_may_carry_nothing_there_is_an_obstacle(gateway: str, why: str):
    sending_rules = SendingRules(
        {"PK": STRICTER}, (sender(),), shows_sender=frozenset({"good", "box"}), sim_boxes=frozenset({"box"})
    )
    with pytest.raises(MessageNotAllowedError, match=why):
        sending_rules.sender_for("PK", "sms", "shop", TEMPLATE, TODAY, gateway)

    assert sending_rules.sender_for("PK", "sms", "shop", TEMPLATE, TODAY, "good") == "ACME"
    assert sending_rules.sender_for("GB", "sms", "shop", TEMPLATE, TODAY, gateway) is None


def test_a_renewed_approval_counts_beside_the_old_one():
    assert cleared(sender(), approvals=(approval(valid_until=YESTERDAY), approval())) == "ACME"


def test_a_version_is_no_matter_of_words():
    assert cleared(sender(), template=TemplateRef(TEMPLATE.id, "2", TEMPLATE.sha256)) == "ACME"


@pytest.mark.parametrize("members", [{"channel": "voice"}, {"channel": "whatsapp"}, {"country": "GB"}])
def test_other_channels_and_countries_ask_for_nothing(members: dict[str, str]):
    assert cleared(approvals=(), **members) is None


def test_a_sender_is_used_also_where_none_is_asked_for_unless_it_has_ended():
    free = CountryRules()

    assert cleared(sender(), rules=free) == "ACME"
    assert cleared(sender(valid_until=YESTERDAY), rules=free) is None
    assert cleared(rules=free) is None
