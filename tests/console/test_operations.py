"""Operations: what the page shows, what it does, and to whose messages."""

import re

import pytest
from support_caller import Caller
from support_console import Browser, new_person, sign_in
from support_events import record_events
from support_outbox import Scripted, Sender, refused

from otp_service.console.accounts import Role
from otp_service.console.sessions import ConsoleSessions
from otp_service.domain.audit import OperatorAction
from otp_service.domain.phrases import Phrase
from otp_service.errors import StoreUnavailableError
from otp_service.services.mirror import MISMATCHES
from otp_service.services.operations import gateway_reports


@pytest.fixture
def shop(installation) -> Caller:
    return Caller(installation)


def operator(console, installation, *applications) -> Browser:
    browser = sign_in(console, new_person(installation, "zain", Role.OPERATIONS, *applications))
    browser.get("/operations")
    return browser


def acts(installation) -> list[tuple[OperatorAction, str, str]]:
    return [
        (one.action, one.by, one.target)
        for one in installation.context.ledger.operator_actions.between(None, None, 100)
        if one.by == "console:zain"
    ]


def give_up(shop, reason="rejected"):
    verification = shop.start()
    Sender(shop, sandbox=Scripted(refused(reason, "20003"))).deliver()
    return verification


def test_a_gateway_is_paused_and_resumed_and_the_page_says_so_once(console, installation):
    browser = operator(console, installation)
    answer = browser.post("/operations/gateways/sandbox/pause", minutes="15")
    (paused,) = gateway_reports(installation.context)
    page = browser.get("/operations").text

    assert (answer.status_code, answer.location) == (303, "/operations")
    assert (str(paused.state), 14 < paused.state.left / 60_000 <= 15) == ("paused by console:zain", True)
    assert "The gateway <bdi>sandbox</bdi> is paused for <bdi>15</bdi> minutes." in page
    assert "A route has no other gateway left" in page
    assert "paused by <bdi>console:zain</bdi>" in page
    assert 'role="status"' not in browser.get("/operations").text

    browser.post("/operations/gateways/sandbox/resume")
    assert "Messages go through <bdi>sandbox</bdi> again." in browser.get("/operations").text
    assert str(gateway_reports(installation.context)[0].state) == "taking messages"
    assert acts(installation) == [
        (OperatorAction.GATEWAY_PAUSED, "console:zain", "sandbox"),
        (OperatorAction.GATEWAY_RESUMED, "console:zain", "sandbox"),
    ]


@pytest.mark.parametrize("minutes", ["", "0", "-5", "x", "43201", "9" * 300, "١٥"])
def test_a_pause_has_bounds(console, installation, minutes):
    answer = operator(console, installation).post("/operations/gateways/sandbox/pause", minutes=minutes)

    assert answer.status_code == 422
    assert acts(installation) == []


def test_a_gateway_that_is_not_there_is_not_found(console, installation):
    assert operator(console, installation).post("/operations/gateways/x/pause", minutes="5").status_code == 404


def test_whoever_sees_some_applications_pauses_no_gateway_of_all(console, installation):
    browser = operator(console, installation, "shop")

    assert "/pause" not in browser.page
    assert browser.post("/operations/gateways/sandbox/pause", minutes="5").status_code == 403
    assert browser.post("/operations/gateways/sandbox/resume").status_code == 403


@pytest.mark.parametrize("by", ["letter", "reason"])
def test_dead_letters_are_put_back_and_the_page_says_how_many(console, installation, shop, by):
    give_up(shop)
    (letter,) = installation.context.store.dead_letters.newest(9)
    browser = operator(console, installation)
    assert letter.id in browser.page
    answer = browser.post("/operations/dead-letters", **{by: letter.id if by == "letter" else "rejected"})
    page = browser.get("/operations").text

    assert (answer.status_code, answer.location) == (303, "/operations")
    assert "<bdi>1</bdi> of <bdi>1</bdi> messages were put back." in page
    assert installation.context.store.dead_letters.count() == 0
    assert acts(installation) == [(OperatorAction.MESSAGES_REDRIVEN, "console:zain", "dead letters: 1")]


def test_what_was_not_put_back_is_told_with_the_reason(console, installation, shop):
    shop.cancel(give_up(shop))
    browser = operator(console, installation)
    browser.post("/operations/dead-letters", reason="rejected")
    page = browser.get("/operations").text

    assert "<bdi>0</bdi> of <bdi>1</bdi> messages were put back." in page
    assert "<bdi>1</bdi> not put back: <bdi>" in page


def test_messages_of_other_applications_are_neither_shown_nor_put_back(console, installation, shop):
    give_up(shop)
    waiting = shop.start(to="+923001234999")
    (letter,) = installation.context.store.dead_letters.newest(9)
    browser = operator(console, installation, "bank")

    assert letter.id not in browser.page
    assert "No message waits." in browser.page
    assert "No message was given up." in browser.page
    for form in ({"letter": letter.id}, {"reason": "rejected"}, {}, {"letter": "x"}):
        assert browser.post("/operations/dead-letters", **form).status_code == 422
    assert installation.context.store.dead_letters.count() == 1
    assert waiting


def test_putting_back_takes_another_code_after_some_minutes(console, installation, shop, real_world):
    give_up(shop)
    browser = operator(console, installation)
    real_world.advance(301)
    answer = browser.post("/operations/dead-letters", reason="rejected")

    assert answer.status_code == 403
    assert "Confirm that it is you" in answer.text
    assert installation.context.store.dead_letters.count() == 1


def test_the_page_says_what_waits_and_where_redis_stands(console, installation, shop):
    shop.start()
    page = operator(console, installation).page

    assert "none seen recently" in page
    assert "Redis knows all of the ledger." in page
    assert '<th scope="row"><bdi>shop</bdi></th><td class="number">1</td>' in page


@pytest.mark.parametrize("state", MISMATCHES)
def test_the_page_says_that_nothing_is_sent_while_redis_and_the_ledger_do_not_match(
    console, installation, monkeypatch, state
):
    sync = installation.context.mirror_sync
    status = sync.inspect()._replace(state=state)
    monkeypatch.setattr(type(sync), "inspect", lambda _: status)

    assert f'<p class="fault">{MISMATCHES[state]} Nothing is sent.</p>' in operator(console, installation).page


def test_names_from_elsewhere_are_shown_as_text(console, installation, shop):
    shop.start()
    Sender(shop, sandbox=Scripted(refused("rejected", "<script>x</script>"))).deliver()

    assert "<script" not in operator(console, installation).page


def test_a_note_that_somebody_else_wrote_is_not_said(console, installation):
    browser = operator(console, installation)
    cookie = browser.client.get_cookie("__Host-console", domain="localhost").value
    sessions = ConsoleSessions(installation.context)
    sessions.leave_notes(
        sessions.find(cookie), [Phrase("Call {x.__class__} at once.", {"x": "1"}), Phrase("No message waits.")]
    )
    page = browser.get("/operations").text

    assert "at once" not in page
    assert '<p class="note" role="status">No message waits.</p>' in page
    assert sessions.find(cookie).notes == ()


def test_without_redis_the_page_says_so(console, installation, monkeypatch):
    browser = operator(console, installation)

    def away(*_):
        raise StoreUnavailableError("away")

    monkeypatch.setattr(type(installation.context.store.health), "of", away)
    answer = browser.get("/operations")

    assert answer.status_code == 503
    assert "The ledger or Redis does not answer." in answer.text


def test_the_page_says_what_became_of_calls_by_gateway_and_country(console, installation, shop):
    shop.start()
    Sender(shop, sandbox=Scripted()).deliver()
    shop.start(to="+447400123456")
    Sender(shop, sandbox=Scripted(refused("rejected", "20003"))).deliver()
    record_events(shop.context)
    browser = operator(console, installation)
    cells = [re.sub(r"<[^>]*>", " ", row).split() for row in re.findall(r"(?s)<tr>(.*?)</tr>", browser.page)]

    assert ["sandbox", "PK", "1", "0", "0", "0", "0", "100.0", "%", "1", "-", "-"] in cells
    assert ["sandbox", "GB", "1", "1", "0", "0", "0", "-", "-", "-", "-"] in cells
    of_bank = sign_in(console, new_person(installation, "omar", Role.OPERATIONS, "bank"))
    assert "No gateway was called in this time." in of_bank.get("/operations?hours=168").text


@pytest.mark.parametrize("hours", ["", "3", "168", "9", "x", "-1"])
def test_any_time_may_be_asked_for(console, installation, hours):
    assert operator(console, installation).get(f"/operations?hours={hours}").status_code == 200
