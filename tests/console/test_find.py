"""Find: a number's story, recorded before it is shown; nothing of other applications; no number in an address."""

import re

import pytest
from support_caller import Caller
from support_console import Browser, new_person, sign_in
from support_installation import NUMBER
from support_outbox import Scripted, Sender

from otp_service.bootstrap import prepare
from otp_service.console.accounts import Role
from otp_service.console.app import Console
from otp_service.console.records import NumberViews
from otp_service.console.requests import NO_REASON
from otp_service.domain.consents import SuppressionSource
from otp_service.domain.guard import GUARD_RULES
from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.errors import LedgerUnavailableError, NumberTypeNotAllowedError, RateLimitedError
from otp_service.gateways.base import Accepted
from otp_service.services.explanations import ADVICE
from otp_service.services.number_history import Why
from otp_service.services.subjects import freeze, unfreeze

LANDLINE = "+922135812345"


@pytest.fixture
def support(console, installation) -> Browser:
    return sign_in(console, new_person(installation, "sana", Role.SUPPORT))


def found(browser: Browser, number: str = NUMBER, **fields: str) -> str:
    browser.get("/find")
    answer = browser.post("/find", number=number, **fields)
    assert answer.status_code == 303, answer.text
    return answer.location


def test_support_sees_why_a_code_came_or_not_and_what_to_tell(installation, support):
    shop = Caller(installation)
    one = shop.start()
    page = support.get(found(support)).text

    assert one in page
    assert "<bdi>5</bdi> in <bdi>10 min</bdi>" in page
    assert "Tell the caller:" in page
    assert NUMBER not in page
    assert re.search(r"\+92 ••• ••••567", page)


def test_a_look_is_recorded_before_anything_is_shown_and_the_person_is_told(installation, support):
    found(support, reason="ticket 17")
    pseudonym = installation.context.keyring.pseudonym(NUMBER)
    (look,) = NumberViews(installation.context.ledger.database).latest(10)

    assert (look.by, look.view, look.pseudonym, look.reason) == ("sana", "find", pseudonym, "ticket 17")
    export = installation.context.ledger.subjects.export(pseudonym, None)
    assert [one["by"] for one in export.looks] == ["sana"]


def test_what_cannot_be_recorded_is_not_shown(installation, support, monkeypatch):
    def away(*_: object) -> None:
        raise LedgerUnavailableError("The ledger does not answer.")

    monkeypatch.setattr(NumberViews, "record", away)
    support.get("/find")
    answer = support.post("/find", number=NUMBER)

    assert answer.status_code == 503
    assert "567" not in answer.text


def test_an_address_holds_no_number_and_is_of_its_session_alone(console, installation, support):
    path = found(support)
    other = sign_in(console, new_person(installation, "omar", Role.SUPPORT))

    assert NUMBER.removeprefix("+") not in path
    assert other.get(path).status_code == 404
    assert support.get(path).status_code == 200


def test_of_other_applications_nothing_is_shown(console, installation):
    shop, bank = Caller(installation), Caller(installation, "bank")
    mine, others = shop.start(), bank.start()
    browser = sign_in(console, new_person(installation, "sana", Role.SUPPORT, "shop"))
    page = browser.get(found(browser)).text

    assert mine in page
    assert others not in page
    assert "bank" not in page


@pytest.mark.parametrize("number", ["", "hello", "+9", "12345", "+92" + "3" * 40, "<script>"])
def test_what_is_no_number_is_said_so(support, number):
    support.get("/find")
    answer = support.post("/find", number=number)

    assert answer.status_code == 422
    assert "This is no phone number" in answer.text


def test_a_number_is_found_as_callers_say_it(support):
    support.get("/find")
    region = re.search(r'name="region" value="(\w*)"', support.get("/find").text)[1]

    assert "+92 ••• ••••567" in support.get(found(support, "0300 1234567", region=region)).text


@pytest.mark.parametrize("reason", ["call 03001234567", "x" * 201])
def test_a_reason_that_may_not_be_kept_is_no_look(installation, support, reason):
    support.get("/find")
    answer = support.post("/find", number=NUMBER, reason=reason)

    assert (answer.status_code, NO_REASON in answer.text) == (422, True)
    assert NumberViews(installation.context.ledger.database).latest(10) == ()


def test_support_finds_why_a_landline_was_refused(installation, support):
    shop = Caller(installation)
    with pytest.raises(NumberTypeNotAllowedError):
        shop.start(to=LANDLINE)
    page = support.get(found(support, LANDLINE)).text

    assert "A start at <bdi>shop</bdi> is refused." in page
    assert GUARD_RULES["destination.type"].sentence in page
    assert "is refused" not in support.get(found(support)).text


def test_of_what_no_rule_refused_that_is_said(installation, support):
    answer = support.get(f"/decisions/{Caller(installation).start()}")

    assert (answer.status_code, "No rule refused it" in answer.text) == (200, True)
    assert "Tell the caller:" in answer.text


def test_support_lifts_waits_and_empties_limits_and_that_is_recorded(installation, support):
    Caller(installation).start()
    path = found(support)
    support.get(path)
    for act, done in (("reset", "The limits are empty again."), ("unblock", "Nothing was counted there.")):
        assert support.post(f"{path}/{act}").location == path
        assert done in support.get(path).text
    acts = installation.context.ledger.operator_actions.between(None, None, 100)

    assert ("limits-reset", "console:sana") in [(one.action, one.by) for one in acts]


def test_of_a_frozen_number_one_advice_is_given_until_it_is_unfrozen(installation, support):
    Caller(installation).start()
    context = installation.context
    to = subject_key(context.keyring, parse_destination(NUMBER, None))
    page = found(support)
    assert support.get(page).text.count("Tell the caller:") == 1

    for _ in range(2):
        freeze(context, to, "*", SuppressionSource.OPERATOR, "ticket 18", "boss")
    frozen = support.get(page).text
    assert frozen.count("The number is frozen at <bdi>all applications</bdi>") == 1
    assert frozen.count("Tell the caller:") == 1, "not to ask for a new code"
    assert str(ADVICE[Why.FROZEN]) in frozen

    unfreeze(context, to, "*", SuppressionSource.OPERATOR, "boss")
    unfrozen = support.get(page).text
    assert "The number is frozen" not in unfrozen
    assert unfrozen.count("Tell the caller:") == 1


@pytest.mark.parametrize("name", ["", "a\nb", "../find", "//evil.example", "a?b#c", NUMBER, "x" * 300])
def test_what_is_no_identifier_comes_into_no_address(installation, support, name):
    Caller(installation).start()
    support.get("/find")
    answer = support.post("/find/identifier", name=name)

    assert (answer.status_code, answer.location) == (404, None)
    assert "Nothing is known under this identifier." in answer.text


def test_who_sees_one_application_finds_nothing_of_another_by_its_identifiers(console, installation):
    bank = Caller(installation, "bank")
    one = bank.start()
    Sender(bank, sandbox=Scripted(Accepted("SM1"))).deliver()
    (dispatch,) = (each.dispatch_id for each in bank.read(one).verification.deliveries)
    limited = sign_in(console, new_person(installation, "omar", Role.SUPPORT, "shop"))
    unlimited = sign_in(console, new_person(installation, "sana", Role.SUPPORT))
    for name in (one, dispatch, "SM1"):
        for browser, status in (limited, 404), (unlimited, 303):
            browser.get("/find")
            assert browser.post("/find/identifier", name=name).status_code == status
    assert one not in limited.get(f"/decisions/{one}").text


NOTHING, LIFTED, EMPTY = "Nothing was counted there.", "Waits and locks are lifted.", "The limits are empty again."


@pytest.mark.parametrize(("what", "done", "shared"), [("unblock", LIFTED, NOTHING), ("reset", EMPTY, EMPTY)])
def test_who_sees_one_application_lifts_nothing_of_another(console, installation, support, what, done, shared):
    bank = Caller(installation, "bank")
    one = bank.start()
    bank.check(one, bank.wrong(one))
    limited = sign_in(console, new_person(installation, "omar", Role.SUPPORT, "shop"))
    for browser, note in (limited, shared), (limited, NOTHING), (support, done), (support, NOTHING):
        path = found(browser)
        browser.get(path)
        assert browser.post(f"{path}/{what}").location == path
        assert note in browser.get(path).text


def test_fraud_freezes_a_number_where_it_is_found(console, installation):
    browser = sign_in(console, new_person(installation, "farah", Role.FRAUD))
    path = found(browser)
    browser.get(path)
    answer = browser.post(f"{path}/freeze", application="shop", reason="ticket 18")

    assert answer.location == path
    assert "The number is frozen: nothing is sent" in browser.get(path).text


def test_what_rules_said_of_a_verification_is_a_look_at_its_person(real_world):
    installation = real_world.install(limits={"number": ["1/hour"]})
    prepare(installation)
    shop = Caller(installation)
    browser = sign_in(Console(installation), new_person(installation, "sana", Role.SUPPORT))
    one = shop.start()
    real_world.advance(31)
    with pytest.raises(RateLimitedError):
        shop.resend(one)
    for _ in range(2):
        assert browser.get(f"/decisions/{one}").status_code == 200
    (look,) = NumberViews(installation.context.ledger.database).latest(10)

    assert (look.by, look.view, look.reason) == ("sana", "decision", one)
    assert look.pseudonym == installation.context.keyring.pseudonym(NUMBER)
