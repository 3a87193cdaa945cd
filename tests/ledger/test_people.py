"""What is held of a number: all of it, within one application; and what an erasure leaves, and why."""

from support_ledger_events import EVIDENCE, NUMBER, OTHER, agreed, event, mirrored, started
from support_webhooks import endpoint

from otp_service.domain.consents import Consent, Suppression, SuppressionScope, SuppressionSource
from otp_service.ledger.ledger import Ledger


def _filled(ledger: Ledger) -> None:
    endpoint(ledger)
    bank = {"application": "bank", "pseudonym": NUMBER, "ledger": "0"}
    ledger.verifications.record([
        started("vf_1", 1000), event("delivery.sent", "vf_1", 1100, gateway="first"),
        event("verification.started", "vf_2", 2000, **bank), started("vf_3", 3000, OTHER),
    ])  # fmt: skip
    for application in ("shop", "bank"):
        ledger.consents.add(Consent(NUMBER, application, "login", EVIDENCE))
        entry = Suppression(NUMBER, application, SuppressionScope.ALL, SuppressionSource.API, "by phone")
        ledger.suppressions.add([entry])


def test_an_export_holds_all_of_an_application_and_nothing_of_another(ledger):
    _filled(ledger)
    held = ledger.subjects.export(NUMBER, "shop")

    assert [one.id for one in held.verifications] == ["vf_1"]
    assert [one["type"] for one in held.verifications[0].events] == ["verification.started", "delivery.sent"]
    assert [(one.application, one.evidence) for one in held.consents] == [("shop", EVIDENCE)]
    assert [one.application for one in held.suppressions] == ["shop"]
    assert [(one["verification"], one["type"]) for one in held.webhooks] == [
        ("vf_1", "verification.started"),
        ("vf_1", "delivery.sent"),
    ]


def test_an_export_of_an_operator_holds_all(ledger):
    _filled(ledger)
    held = ledger.subjects.export(NUMBER, None)

    assert [one.id for one in held.verifications] == ["vf_1", "vf_2"]
    assert {one.application for one in held.consents} == {"shop", "bank"}
    assert len(held.webhooks) == 2


def test_an_erasure_leaves_what_a_dispute_needs_and_says_why(ledger):
    _filled(ledger)
    done = ledger.subjects.erase(NUMBER, "shop")
    held = ledger.subjects.export(NUMBER, "shop")

    assert done.erased == {"consents": 1, "suppressions": 1, "inbound": 0, "looks": 0, "second_person_requests": 0}
    assert done.kept == {"verifications": 1, "consents": 1, "suppressions": 1, "events": 2, "webhooks": 2}
    assert held.consents[0].evidence == EVIDENCE.erased
    assert (EVIDENCE.erased.text_version, EVIDENCE.erased.source, EVIDENCE.erased.address_prefix) == ("", "", "")
    assert EVIDENCE.erased.text_sha256 == EVIDENCE.text_sha256
    assert [one.reason for one in held.suppressions] == [""]
    assert [one.reason for one in ledger.suppressions.of(NUMBER, "bank")] == ["by phone"]
    assert [one["reason"] for one in held.erasures] == [done.reason]
    assert ledger.subjects.export(NUMBER, "bank").consents[0].evidence == EVIDENCE


def test_an_erasure_leaves_the_reason_of_what_the_holder_said_which_is_in_our_words(ledger):
    ledger.suppressions.add(
        [Suppression(NUMBER, "shop", SuppressionScope.ALL, SuppressionSource.INBOUND, "wrote stop")]
    )

    assert ledger.subjects.erase(NUMBER, None).erased["suppressions"] == 0
    assert [one.reason for one in ledger.suppressions.of(NUMBER)] == ["wrote stop"]


def test_what_was_erased_does_not_come_back_with_the_same_consent(ledger):
    ledger.consents.add(Consent(NUMBER, "shop", "login", EVIDENCE))
    ledger.subjects.erase(NUMBER, None)
    ledger.verifications.record([agreed(place=ledger.mirror_source.head().sequence)])
    recorded, _ = ledger.consents.add(Consent(NUMBER, "shop", "login", EVIDENCE))

    assert recorded is None
    assert [one.evidence for one in ledger.consents.of(NUMBER, "shop", "login")] == [EVIDENCE.erased]


def test_an_erasure_takes_no_suppression_away(ledger):
    _filled(ledger)
    ledger.subjects.erase(NUMBER, None)

    assert mirrored(ledger).suppressed == {"shop": None, "bank": None}
