"""The audit chain verified from the console: in the background, one at a time, and nothing runs for ever."""

import json
import threading
import time

import pytest
from sqlalchemy import update
from support_console import Browser, new_person, sign_in
from support_service import eventually

from otp_service.console import chain_verification, keys
from otp_service.console import sessions as store
from otp_service.console.accounts import Role
from otp_service.console.language import catalogue
from otp_service.console.records import NumberView, NumberViews
from otp_service.console.sessions import ChainResult, ChainVerification, ChainVerifications
from otp_service.errors import LedgerUnavailableError
from otp_service.ledger.schema import looks

OTHER = ChainVerification("another process'", "zain", 1_000_000, 40, 12)


@pytest.fixture
def ayesha(console, installation) -> Browser:
    browser = sign_in(console, new_person(installation, "ayesha", Role.COMPLIANCE))
    browser.get("/compliance")
    return browser


@pytest.fixture
def runs(installation):
    return ChainVerifications(installation.context)


def begin(browser: Browser):
    return browser.post("/compliance/chain")


def result(runs) -> ChainResult:
    """Return what is told once the verification that runs has ended."""
    return eventually(lambda: None if runs.present() else runs.last())


def change(installation) -> None:
    """Change a row behind the chain's back."""
    NumberViews(installation.context.ledger.database).record(NumberView("zain", "find", "x" * 22))
    with installation.context.ledger.database.write() as connection:
        connection.execute(update(looks).values(by="nobody"))


def test_the_page_returns_at_once_and_tells_how_far_it_is_then_what_came_of_it(ayesha, runs, monkeypatch):
    go_on, verify = threading.Event(), chain_verification.verify_chain

    def slowly(context, progress):
        progress.entries = 3
        assert go_on.wait(30)
        progress.entries = 0
        yield from verify(context, progress)

    monkeypatch.setattr(chain_verification, "verify_chain", slowly)
    monkeypatch.setattr(chain_verification, "_BEAT", 0.01)
    answer = begin(ayesha)
    page = ayesha.get(answer.location).text
    assert answer.location == "/compliance"
    assert "The audit chain is being verified." in page
    assert "Look again" in page
    assert "Verify the audit chain" not in page
    eventually(lambda: runs.present().seen == 3)
    assert "<bdi>3</bdi> of" in ayesha.get("/compliance").text

    go_on.set()
    ended = result(runs)
    page = ayesha.get("/compliance").text
    assert (ended.by, ended.is_intact, ended.flaws) == ("ayesha", True, [])
    assert "The ledger is as it was recorded." in page
    assert "Verified for <bdi>ayesha</bdi>" in page
    assert "Verify the audit chain" in page


def test_one_runs_at_a_time_whatever_the_process(ayesha, runs):
    assert runs.keep(OTHER)
    answer = begin(ayesha)

    assert answer.status_code == 409
    assert "The audit chain is being verified already." in answer.text
    assert "<bdi>zain</bdi>" in answer.text
    assert runs.present() == OTHER


def test_a_process_that_died_leaves_nothing_that_runs_for_ever(ayesha, runs, real_world, monkeypatch):
    runs.keep(OTHER)
    assert 0 < real_world.client.pttl(keys.chain_turn()) <= store.TURN_LEASE

    monkeypatch.setattr(store, "TURN_LEASE", 50)
    runs.keep(OTHER)
    time.sleep(0.1)
    assert runs.present() is None
    monkeypatch.undo()
    assert begin(ayesha).status_code == 303
    assert result(runs).by == "ayesha"


def test_who_lost_its_turn_neither_ends_that_of_another_nor_tells_anything(runs):
    late = ChainVerification("mine", "ayesha", 1, 1)
    runs.keep(OTHER)

    assert not runs.keep(late)
    runs.finish(late, ChainResult("ayesha", 1, 2, True, [], []))
    assert (runs.present(), runs.last()) == (OTHER, None)


def test_flaws_are_told_to_who_sees_all_applications(ayesha, console, installation, runs):
    clerk = sign_in(console, new_person(installation, "bilal", Role.COMPLIANCE, "shop"))
    change(installation)
    begin(ayesha)
    assert not result(runs).is_intact
    mine, other = ayesha.get("/compliance").text, clerk.get("/compliance").text

    assert "was changed" in mine
    for page in (mine, other):
        assert "The ledger is not as it was recorded. Flaws: <bdi>1</bdi>." in page
    assert "was changed" not in other
    assert "Verify the audit chain" not in other
    assert begin(clerk).status_code == 403
    assert runs.present() is None


def test_of_many_flaws_the_first_are_told_and_all_are_counted(ayesha, installation, runs, monkeypatch):
    monkeypatch.setattr(chain_verification, "MAX_FLAWS", 2)
    for _ in range(3):
        change(installation)
    begin(ayesha)

    assert len(result(runs).flaws) == 2
    assert "Flaws: <bdi>3</bdi>." in ayesha.get("/compliance").text


@pytest.mark.parametrize("error", [LedgerUnavailableError("away"), RuntimeError("a defect")])
def test_what_ends_too_soon_says_so(ayesha, runs, monkeypatch, error):
    def fail(*_):
        raise error
        yield

    monkeypatch.setattr(chain_verification, "verify_chain", fail)
    begin(ayesha)

    assert not result(runs).is_intact
    assert "It could not be finished" in ayesha.get("/compliance").text


@pytest.mark.parametrize(
    "told",
    [
        {
            "by": "x",
            "begun": 1,
            "ended": 2,
            "is_intact": True,
            "sentences": [["Call the {x} hotline", {"x": 1}]],
            "flaws": [],
        },
        {"format": "of another release"},
        "[",
    ],
)
def test_what_somebody_else_wrote_into_redis_puts_no_words_into_our_mouth(ayesha, real_world, told):
    real_world.client.set(keys.chain_result(), told if isinstance(told, str) else json.dumps(told), ex=60)
    page = ayesha.get("/compliance")

    assert page.status_code == 200
    assert "hotline" not in page.text


def test_it_is_told_in_urdu_too(ayesha, installation, runs):
    change(installation)
    begin(ayesha)
    result(runs)
    ayesha.post("/language", language="ur")
    page = ayesha.get("/compliance").text

    assert "was recorded" not in page
    assert "was changed" not in page
    assert catalogue("ur")["Verify the audit chain"] in page
