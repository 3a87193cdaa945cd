"""The directory: what the ledger says comes into force as a whole, and what was known outlives everything."""

import re
from pathlib import Path

import pytest
from sqlalchemy import event
from structlog.testing import capture_logs
from support_caller import Caller
from support_events import record_events
from support_installation import API_KEY, World
from support_operators import CLUB
from support_outbox import jobs_of

from otp_service.domain.applications import APPLICATION_SCOPES, KeyScope, parse_networks
from otp_service.domain.keyring import api_key_hash
from otp_service.errors import LedgerUnavailableError, UnauthenticatedError
from otp_service.ledger.access import Access
from otp_service.ledger.database import Database
from otp_service.services.access import (
    add_application,
    authenticate,
    change_application,
    issue_key,
    issue_operator_key,
    revoke_key,
    rotate_key,
)
from otp_service.services.delivery import MAX_DEFER, DeferredJob, RetryPolicy, deliver
from otp_service.settings.stored_applications import dump_section, parse_section

POLICY = RetryPolicy(0, (1.0,))
HERE = "127.0.0.1"
SETTINGS = dump_section(parse_section(CLUB))


@pytest.fixture
def url(tmp_path: Path, sqlite_template: Path) -> str:
    (tmp_path / "ledger.db").write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{tmp_path / 'ledger.db'}"


class Processes:
    """Two processes of one installation, each with what it knows."""

    def __init__(self, world: World, url: str) -> None:
        one = world.install(ledger={"url": url})
        self.settings = one.settings
        self.one = one.context
        self.other = self.process(world)

    def process(self, world: World, **sections):
        keys = self.settings.keys
        same = {"root": keys.root.get_secret_value(), "pseudonym": keys.pseudonym.get_secret_value()}
        url = self.settings.ledger.url.get_secret_value()
        return world.install(keys=same, ledger={"url": url}, **sections).context


@pytest.fixture
def processes(world: World, url: str) -> Processes:
    return Processes(world, url)


def knows(context, key: str, address: str | None = HERE) -> bool:
    try:
        authenticate(context, key, lambda: address)
    except UnauthenticatedError:
        return False
    return True


def test_another_process_knows_after_its_next_look(processes):
    secret = issue_key(processes.one, "shop", [KeyScope.VERIFY], (), "tests").secret
    assert [knows(each, secret) for each in (processes.one, processes.other)] == [True, False]

    processes.other.access_cache.refresh()
    assert knows(processes.other, secret)


def test_who_calls_is_told_with_scopes_and_application(processes):
    made = issue_key(processes.one, "bank", [KeyScope.CONSENT], parse_networks(["127.0.0.0/8"]), "tests")
    of_bank, of_nobody = (
        authenticate(processes.one, one.secret, lambda: HERE)
        for one in (made, issue_operator_key(processes.one, (), "tests"))
    )
    configured = authenticate(processes.one, API_KEY, lambda: None)

    assert (of_bank.application.name, of_bank.key.scopes) == ("bank", {KeyScope.CONSENT})
    assert (of_nobody.application, of_nobody.key.scopes) == (None, {KeyScope.ADMIN})
    assert (configured.application.name, configured.key.scopes) == ("shop", APPLICATION_SCOPES)
    assert not knows(processes.one, made.secret, "192.0.2.1")
    assert not knows(processes.one, made.secret, None)


def test_a_look_that_finds_no_change_reads_one_row(processes):
    processes.one.access_cache.refresh()
    read = []

    def note(_connection, _cursor, statement, *_):
        read.extend(re.findall(r"FROM (\w+)", statement))

    event.listen(processes.one.ledger.database.engine, "before_cursor_execute", note)
    processes.one.access_cache.refresh()

    assert set(read) == {"head"}


def test_what_is_in_force_is_replaced_as_a_whole(processes):
    before = processes.one.access_cache.snapshot
    issue_key(processes.one, "shop", [KeyScope.VERIFY], (), "tests")
    after = processes.one.access_cache.snapshot

    assert after is not before
    assert len(after.keys) == len(before.keys) + 1


def test_while_the_ledger_is_away_everything_stays_as_it_was(processes, monkeypatch):
    secret = issue_key(processes.one, "shop", [KeyScope.VERIFY], (), "tests").secret
    before = processes.one.access_cache.snapshot

    def away(_):
        raise LedgerUnavailableError("away")

    monkeypatch.setattr(Database, "read", away)
    with pytest.raises(LedgerUnavailableError):
        processes.one.access_cache.refresh()
    assert processes.one.access_cache.snapshot is before
    assert knows(processes.one, secret)


def test_a_key_that_was_made_is_returned_although_the_ledger_went_away_right_after(processes, monkeypatch):
    def away(*_):
        raise LedgerUnavailableError("away")

    monkeypatch.setattr(Access, "changed_since", away)
    issued = issue_key(processes.one, "shop", [KeyScope.VERIFY], (), "tests")
    monkeypatch.undo()
    processes.one.access_cache.refresh()

    assert knows(processes.one, issued.secret)


def test_an_application_that_this_process_cannot_use_keeps_no_revoked_key_in_force(processes, world, url):
    """Such as one with a purpose that only the others' configuration has; or written by a later release."""
    secret = issue_key(processes.one, "shop", [KeyScope.VERIFY], (), "tests")
    processes.other.access_cache.refresh()
    processes.one.ledger.applications.add("strange", '{"purposes":["nope"],"countries":["PK"]}', "tests")
    processes.one.ledger.applications.add("broken", "{", "tests")
    processes.one.ledger.applications.add("later", f'{{"added_later":1,{SETTINGS[1:]}', "tests")
    revoke_key(processes.one, secret.key.id, "tests")
    with capture_logs() as lines:
        processes.other.access_cache.refresh()
        processes.other.access_cache.refresh()

    assert not knows(processes.other, secret.secret)
    assert processes.other.applications.keys() == {"shop", "bank"}
    unusable = [line["application"] for line in lines if line["event"] == "application_unusable"]
    assert sorted(unusable) == ["broken", "later", "strange"]


def test_a_key_of_an_application_that_cannot_be_used_is_of_no_use(processes):
    processes.one.ledger.applications.add("strange", '{"purposes":["nope"],"countries":["PK"]}', "tests")
    add_application(processes.one, "club", SETTINGS, "tests")
    issued = issue_key(processes.one, "club", [KeyScope.VERIFY], (), "tests")
    key = processes.one.ledger.api_keys.of("club")[0]
    processes.one.ledger.api_keys.add(
        type(key)("ak_strange", "strange", api_key_hash("otp_strange"), frozenset({KeyScope.VERIFY})), "tests"
    )
    processes.one.access_cache.refresh()

    assert knows(processes.one, issued.secret)
    assert not knows(processes.one, "otp_strange")


def test_the_last_usable_settings_of_an_application_stay_in_force(processes):
    add_application(processes.one, "club", SETTINGS, "tests")
    processes.one.ledger.applications.change("club", '{"purposes":["nope"],"countries":["PK"]}', "tests")
    processes.one.access_cache.refresh()

    assert processes.one.applications["club"].brand == "Acme Club"
    assert "club" in processes.one.rulesets


def test_of_two_of_one_name_that_of_the_configuration_is_in_force(processes, world):
    add_application(processes.one, "club", SETTINGS, "tests")
    issued = issue_key(processes.one, "club", [KeyScope.VERIFY], (), "tests")
    club = {"name": "Configured Club", "purposes": ["login"], "countries": ["GB"]}
    with capture_logs() as lines:
        later = processes.process(world, applications={"club": club})

    assert later.applications["club"].brand == "Configured Club"
    assert authenticate(later, issued.secret, lambda: HERE).application.brand == "Configured Club"
    assert {"application_is_configured_too"} <= {line["event"] for line in lines}


def test_changes_that_come_into_force_are_logged_by_the_names_of_keys(processes):
    kept, revoked = (issue_key(processes.one, "shop", [KeyScope.VERIFY], (), "tests") for _ in range(2))
    processes.other.access_cache.refresh()
    fresh = rotate_key(processes.one, kept.key.id, 3600, "tests")
    revoke_key(processes.one, revoked.key.id, "tests")
    add_application(processes.one, "club", SETTINGS, "tests")
    with capture_logs() as lines:
        processes.other.access_cache.refresh()

    assert [{name: line[name] for name in line if name != "log_level"} for line in lines] == [
        {
            "event": "access_changed",
            "applications": ["club"],
            "keys_added": [fresh.key.id],
            "keys_changed": [kept.key.id],
            "keys_gone": [revoked.key.id],
        }
    ]


# --- messages of applications that are new ------------------------------------------------------------------


def test_a_worker_that_has_not_heard_of_an_application_yet_delivers_its_message(processes, world):
    add_application(processes.one, "club", SETTINGS, "tests")
    club = Caller.__new__(Caller)
    club.context, club.application = processes.one, processes.one.applications["club"]
    one = club.start()
    assert "club" not in processes.other.applications
    (job,) = jobs_of(processes.other)

    assert deliver(processes.other, job, POLICY) is None
    assert [delivery.status for delivery in club.read(one).verification.deliveries] == ["sent"]
    assert processes.other.applications["club"].brand == "Acme Club"


def test_a_recorder_that_has_not_heard_of_an_application_yet_asks_for_its_rules(processes):
    add_application(processes.one, "club", SETTINGS, "tests")
    club = Caller.__new__(Caller)
    club.context, club.application = processes.one, processes.one.applications["club"]
    one = club.start()
    club.check(one, club.code(one))
    assert "club" not in processes.other.applications
    record_events(processes.other)

    assert processes.other.applications["club"].brand == "Acme Club"


def test_while_nobody_can_tell_whether_there_is_such_an_application_its_message_waits(processes, monkeypatch):
    add_application(processes.one, "club", SETTINGS, "tests")
    club = Caller.__new__(Caller)
    club.context, club.application = processes.one, processes.one.applications["club"]
    one = club.start()
    (job,) = jobs_of(processes.other)

    def away(*_):
        raise LedgerUnavailableError("away")

    monkeypatch.setattr(Access, "changed_since", away)
    held = deliver(processes.other, job, POLICY)
    monkeypatch.undo()
    assert held == DeferredJob(job, MAX_DEFER)
    assert deliver(processes.other, job, POLICY) is None
    assert [delivery.status for delivery in club.read(one).verification.deliveries] == ["sent"]


def test_a_change_of_an_application_reaches_its_rules(processes):
    add_application(processes.one, "club", SETTINGS, "tests")
    processes.other.access_cache.refresh()
    before = processes.other.rulesets["club"]
    live = processes.other.access_cache.rulesets
    change_application(processes.one, "club", dump_section(parse_section({**CLUB, "countries": ["GB"]})), "tests")
    processes.other.access_cache.refresh()

    assert processes.other.applications["club"].countries == {"GB"}
    assert live["club"] == before
    assert set(live) == {"shop", "bank", "club"}
    assert len(live) == 3
