"""An installation that is opened while its ledger is away: what it goes by, what it refuses, what it is told when."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support_api import START, code_of
from support_caller import Caller
from support_factors import factor
from support_installation import NUMBER, key
from support_operators import CLUB
from support_outbox import POLICY, jobs_of
from support_site import Site, api, follow, new_site, told

from otp_service.bootstrap import Installation, LedgerWait, open_installation, watch
from otp_service.domain.applications import KeyScope
from otp_service.errors import LedgerUnavailableError, RefusalName, StartRefusedError
from otp_service.services.access import add_application, issue_key, revoke_key
from otp_service.services.delivery import MAX_DEFER, DeferredJob, deliver
from otp_service.settings import settings_from
from otp_service.settings.stored_applications import dump_section, parse_section
from otp_service.store import keys
from otp_service.worker.recorder import Recorder


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with new_site(tmp_path) as made:
        yield made


AWAY = {"ledger": "unavailable", "access": "copy", "starts": "accepted"}
UNKNOWN = {"ledger": "unavailable", "access": "configuration", "starts": "ledger-unknown"}
OPEN = {"ledger": "ok", "access": "ledger", "starts": "accepted"}


def club(installation: Installation) -> str:
    """Make an application in the ledger; return its key."""
    add_application(installation.context, "club", dump_section(parse_section(CLUB)), "tests")
    made = issue_key(installation.context, "club", [KeyScope.VERIFY], (), "tests")
    follow(installation)
    return made.secret


def test_it_goes_by_what_another_process_noted_in_redis(site: Site):
    before = site.open()
    secret = club(before)
    site.take_ledger_away()
    installation = site.open()

    assert told(installation) == AWAY
    for caller in (api(installation), api(installation, key=secret)):
        one = caller.start()
        assert caller.post(f"{START}/{one}/check", {"code": "1"}).status_code == 422
    assert len(jobs := jobs_of(installation.context)) == 2
    assert [deliver(installation.context, job, POLICY) for job in jobs] == [None, None]
    assert code_of(api(installation, key="otp_unknown").get(f"{START}/none")) == (401, "unauthenticated")
    assert code_of(api(installation).post("/v1/suppressions/find", {"to": NUMBER})) == (503, "ledger-unavailable")


def test_a_redis_that_was_restarted_vouches_for_nothing(site: Site):
    """It may have been restored: keys that were revoked, and opt-outs, may be missing there."""
    before = site.open()
    secret, one = club(before), Caller(before).start()
    code = Caller(before).code(one)
    Caller(before, "club").start("+923001234568")
    site.take_ledger_away()
    site.restart_valkey()
    installation = site.open()
    mine, theirs = api(installation), api(installation, key=secret)

    assert told(installation) == UNKNOWN
    assert mine.client.get("/readyz/checks").status_code == 200
    assert code_of(mine.post(START, {"to": NUMBER})) == (503, "ledger-unavailable")
    assert code_of(theirs.get(f"{START}/none")) == (503, "ledger-unavailable"), "and not 401: it may be a valid key"
    assert mine.post(f"{START}/{one}/check", {"code": code}).json["valid"], "a check needs no ledger"
    jobs = jobs_of(installation.context)
    assert [deliver(installation.context, job, POLICY) for job in jobs] == [DeferredJob(job, MAX_DEFER) for job in jobs]

    site.bring_ledger_back()
    LedgerWait(installation).try_again()
    follow(installation)
    assert told(installation) == OPEN
    assert theirs.start("+923001234569")
    assert [deliver(installation.context, job, POLICY) for job in jobs] == [None] * len(jobs)


def test_who_knows_no_caller_at_all_is_not_ready(site: Site):
    settings = site.settings()
    site.take_ledger_away()
    for application in settings["applications"].values():
        application["keys"] = []
    installation = open_installation(settings_from(settings), waits_for_ledger=True)
    site.opened.callback(installation.close)

    assert api(installation).client.get("/readyz/checks").status_code == 503


def test_a_revoked_key_is_not_in_the_copy(site: Site):
    before = site.open()
    secret = club(before)
    (mine,) = before.context.ledger.api_keys.of("club")
    revoke_key(before.context, mine.id, "tests")
    follow(before)
    site.take_ledger_away()

    assert code_of(api(site.open(), key=secret).get(f"{START}/none")) == (401, "unauthenticated")


def test_he_can_have_a_revoked_key_accepted_by_who_starts_without_the_ledger(site: Site):
    """Who can write to Redis and has kept the copy as it was."""
    before = site.open()
    secret = club(before)
    kept = site.valkey.client.hgetall(keys.ACCESS)
    (mine,) = before.context.ledger.api_keys.of("club")
    revoke_key(before.context, mine.id, "tests")
    follow(before)
    before.close()
    site.valkey.client.hset(keys.ACCESS, mapping=kept)
    site.take_ledger_away()
    installation = site.open()
    caller = api(installation, key=secret)

    assert caller.get(f"{START}/none").status_code == 404
    site.bring_ledger_back()
    LedgerWait(installation).try_again()
    follow(installation)
    assert caller.get(f"{START}/none").status_code == 401


def test_a_copy_that_somebody_else_wrote_is_none(site: Site):
    club(site.open())
    site.valkey.client.hset(keys.ACCESS, "sealed", "AAAA")
    site.take_ledger_away()

    assert told(site.open())["access"] == "configuration"


def test_a_copy_shows_nothing_of_what_it_holds(site: Site):
    before = site.open()
    club(before)
    (mine,) = before.context.ledger.api_keys.of("club")

    kept = site.valkey.client.hgetall(keys.ACCESS)
    assert not any(text.encode() in value for value in kept.values() for text in ("club", mine.id, mine.hash))


def test_a_mirror_that_is_closed_or_behind_elsewhere_tells_no_place(site: Site):
    site.open()
    site.take_ledger_away()
    site.valkey.client.hset(keys.mirror("00"), "closed", 1)

    assert told(site.open())["starts"] == "ledger-unknown"


@contextlib.contextmanager
def locked(site: Site) -> Iterator[None]:
    """Let another program have the file for itself."""
    with contextlib.closing(sqlite3.connect(site.folder / "ledger.db", isolation_level=None)) as holder:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        yield
        holder.execute("ROLLBACK")


def test_a_file_that_is_locked_is_waited_for(site: Site):
    before = site.open()
    club(before)
    before.close()
    with locked(site):
        installation = site.open()
        assert told(installation) == AWAY
    LedgerWait(installation).try_again()
    follow(installation)

    assert told(installation) == OPEN


def test_a_ledger_that_is_not_there_yet_is_made_once_it_can_be(site: Site):
    site.folder.rmdir()
    site.folder.touch()
    installation = site.open()
    assert told(installation) == UNKNOWN
    site.folder.unlink()
    LedgerWait(installation).try_again()
    follow(installation)

    assert told(installation) == OPEN


def test_who_waits_does_so_by_a_duty_of_the_process_and_tells_once_a_minute(site: Site):
    site.open()
    site.take_ledger_away()
    with capture_logs() as lines:
        installation = site.open()
        wait = LedgerWait(installation)
        for _ in range(3):
            wait.try_again()
        site.bring_ledger_back()
        for _ in range(3):
            wait.try_again()

    mine = [line for line in lines if line["event"].startswith("ledger_")]
    assert [(line["log_level"], line["event"]) for line in mine] == [
        ("warning", "ledger_awaited"),
        ("info", "ledger_reached"),
    ]
    assert (mine[0]["reason"], mine[0]["cause"]) == (
        f"The ledger {site.folder / 'ledger.db'} cannot be opened: File exists.",
        f"[Errno 17] File exists: '{site.folder}'",
    )
    watched = {thread.name for thread in watch(installation)._threads}
    assert "periodic task ledger" not in watched, "which is open by now"


def with_app(installation: Installation) -> None:
    """Let somebody have an authenticator app, whose secret needs its root key."""
    installation.context.ledger.factors.activate(factor("fa_1", "x" * 22, root="k1"))
    follow(installation)


REFUSALS = [
    RefusalName.LEDGER_OF_OTHER_KEY,
    RefusalName.LEDGER_NOT_MADE,
    RefusalName.LEDGER_OF_OTHER_FORMAT,
    RefusalName.KEY_STILL_NEEDED,
]


def _spoil(site: Site, refusal: RefusalName) -> None:
    """Change the ledger so that no process may use it."""
    with contextlib.closing(sqlite3.connect(site.folder / "ledger.db")) as ledger, ledger:
        match refusal:
            case RefusalName.LEDGER_OF_OTHER_KEY:
                ledger.execute("UPDATE head SET pseudonym_key = 'x'")
            case RefusalName.LEDGER_NOT_MADE:
                ledger.execute("DROP TABLE alembic_version")
            case RefusalName.LEDGER_OF_OTHER_FORMAT:
                ledger.execute("UPDATE alembic_version SET version_num = '0004'")
            case RefusalName.KEY_STILL_NEEDED:
                site.keys["root"] = f"k2:{key()}"


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_ledger_that_comes_back_as_another_is_refused_by_name_and_used_by_nobody(site: Site, refusal: RefusalName):
    with_app(site.open())
    _spoil(site, refusal)
    site.take_ledger_away()
    installation = site.open(upgrade=False)
    Caller(installation).start()
    wait = LedgerWait(installation)
    site.bring_ledger_back()
    with capture_logs() as lines:
        wait.try_again()
        wait.try_again()

    (line,) = (line for line in lines if line["event"] == "ledger_refused")
    assert (line["log_level"], line["name"], line["advice"] != "") == ("error", refusal, True)
    assert told(installation)["ledger"] == refusal
    assert code_of(api(installation).post("/v1/suppressions/find", {"to": NUMBER})) == (503, "ledger-unavailable")
    recorder = Recorder(installation.context, "worker", 0.5, 0.1)
    assert recorder._run_once() == 0
    with contextlib.closing(sqlite3.connect(site.folder / "ledger.db")) as ledger:
        assert ledger.execute("SELECT count(*) FROM verifications").fetchone() == (0,)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_ledger_that_answers_is_refused_at_the_start_by_who_would_wait_for_it_too(site: Site, refusal: RefusalName):
    with_app(site.open())
    _spoil(site, refusal)

    with pytest.raises(StartRefusedError) as refused:
        site.open(upgrade=False)
    assert [one.name for one in refused.value.refusals] == [refusal]


def test_a_file_that_nobody_may_make_is_refused(site: Site):
    with pytest.raises(StartRefusedError) as refused:
        site.open(upgrade=False)
    assert [one.name for one in refused.value.refusals] == [RefusalName.LEDGER_NOT_MADE]


def test_who_reloads_does_not_begin_without_the_ledger(site: Site):
    """What runs knows more than one that began anew would."""
    site.open()
    site.take_ledger_away()

    with pytest.raises(LedgerUnavailableError):
        site.open(waits=False)


def test_the_text_of_the_copy_is_all_that_is_listed(site: Site):
    before = site.open()
    club(before)
    listing = before.context.ledger.access.changed_since("")

    assert listing is not None
    assert type(listing).from_json(json.dumps(json.loads(listing.to_json()))) == listing
