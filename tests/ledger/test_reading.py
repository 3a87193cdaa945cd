"""Readers ask a replica that lacks nothing, and the primary in all other cases."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection
from support_ledger import make_ledger
from support_ledger_events import NUMBER, event, started
from support_missing import missing
from support_postgres import PostgresServer, programs
from support_service import PATIENCE, eventually
from support_valkey import free_port

from otp_service.domain.inbound import Meaning
from otp_service.errors import LedgerUnavailableError
from otp_service.ledger.ledger import Ledger, open_ledger
from otp_service.ledger.reading import ReplicaState
from otp_service.ledger.verifications import EventsRecorded

REPLICA, PRIMARY = True, False


def who(connection: Connection) -> bool:
    """Ask who answers."""
    return bool(connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar())


class Pair:
    """A primary and its replica, and the ledger that they hold."""

    def __init__(self) -> None:
        self.primary = PostgresServer()
        self.database = self.primary.create()
        make_ledger(self.primary.url(self.database))
        self.replica = PostgresServer(self.primary)
        self.rests: list[ReplicaState] = []
        self._opened: list[Ledger] = []
        self._recording = open_ledger(self.primary.url(self.database), 5.0)
        self._numbers = iter(range(1_000_000))

    def ledger(self, most_behind: float = 0.0, replica: str = "", timeout: float = 5.0) -> Ledger:
        url = replica or self.replica.url(self.database)
        made = open_ledger(self.primary.url(self.database), timeout, "", url, most_behind, self.rests.append)
        self._opened.append(made)
        return made

    def close(self) -> None:
        """Close all ledgers, and forget who rested."""
        for one in (*self._opened, self._recording):
            one.close()
        self._opened.clear()
        self.rests.clear()

    def record(self) -> str:
        """Record a verification; return its name."""
        name = f"vf_{next(self._numbers)}"
        self._recording.verifications.record([started(name)])
        return name

    @contextmanager
    def behind(self) -> Iterator[None]:
        """Let the replica stand still, and the primary go on."""
        self.replica.administer("SELECT pg_wal_replay_pause()")
        self.record()
        yield
        self.replica.administer("SELECT pg_wal_replay_resume()")


@pytest.fixture
def pair(servers: Pair) -> Iterator[Pair]:
    yield servers
    servers.close()


@pytest.fixture(scope="module")
def servers() -> Iterator[Pair]:
    if programs() is None:
        missing("PostgreSQL")
    made = Pair()
    yield made
    made.replica.stop()
    made.primary.stop()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait longer for a replica than readers do: it is on a machine that does much else."""
    monkeypatch.setattr("otp_service.ledger.reading._PATIENCE", PATIENCE)


@pytest.mark.usefixtures("patient")
def test_a_replica_answers_and_lacks_nothing_that_was_just_recorded(pair):
    ledger = pair.ledger()
    for _ in range(50):
        name = pair.record()
        assert ledger.reading.ask(who) is REPLICA
        assert ledger.verifications.find(name)
        assert ledger.verifications.events_of([name])[name]
    assert len(ledger.subjects.export(NUMBER, None).verifications) >= 50
    assert ledger.reading.inspect().is_fit
    assert pair.rests == []


def test_one_that_is_behind_is_asked_only_for_what_may_be_late(pair):
    with pair.behind():
        exact, late, too_late = pair.ledger(), pair.ledger(60.0), pair.ledger(0.001)

        assert exact.reading.ask(who) is PRIMARY
        assert pair.rests == [ReplicaState.BEHIND]
        assert late.reading.ask(who) is REPLICA
        assert late.reading.ask(who, whole=True) is PRIMARY
        assert too_late.reading.ask(who) is PRIMARY
        status = exact.reading.inspect()
        assert (status.state, status.lag > 0, status.seconds > 0) == (ReplicaState.BEHIND, True, True)


def test_one_that_rests_is_asked_again_later(pair, monkeypatch):
    ledger = pair.ledger()
    with pair.behind():
        assert ledger.reading.ask(who) is PRIMARY
    assert ledger.reading.ask(who) is PRIMARY

    eventually(lambda: pair.ledger().reading.ask(who) is REPLICA)  # it has caught up
    monkeypatch.setattr("otp_service.ledger.reading.time.monotonic", lambda: 1e12)
    assert ledger.reading.ask(who) is REPLICA


@pytest.mark.usefixtures("patient")
def test_the_primary_answers_while_the_replica_is_away(pair):
    ledger = pair.ledger()
    assert ledger.reading.ask(who) is REPLICA
    pair.replica.kill()

    assert ledger.reading.ask(who) is PRIMARY
    assert pair.rests == [ReplicaState.AWAY]
    assert ledger.reading.inspect().state is ReplicaState.AWAY
    pair.replica.start()


@pytest.mark.usefixtures("patient")
def test_the_primary_answers_what_breaks_off_at_the_replica(pair):
    def break_off(connection: Connection) -> bool:
        if at_replica := who(connection):
            connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
        return at_replica

    assert pair.ledger().reading.ask(break_off) is PRIMARY
    assert pair.rests == [ReplicaState.AWAY]


def test_the_replica_answers_while_the_primary_is_away_what_need_not_be_whole(pair):
    ledger = pair.ledger()
    pair.primary.kill()
    try:
        assert ledger.reading.ask(who) is REPLICA
        with pytest.raises(LedgerUnavailableError):
            ledger.reading.ask(who, whole=True)
    finally:
        pair.primary.start()
        eventually(lambda: pair.primary.administer("SELECT pid FROM pg_stat_replication"))


@pytest.mark.usefixtures("patient")
def test_a_replica_of_another_ledger_is_not_asked(pair):
    other = pair.primary.create()
    make_ledger(pair.primary.url(other))
    assert pair.ledger().reading.ask(who) is REPLICA  # which has it by now
    ledger = pair.ledger(replica=pair.replica.url(other))

    assert ledger.reading.ask(who) is PRIMARY
    assert pair.rests == [ReplicaState.FOREIGN]


def test_a_server_that_takes_writes_is_not_asked(pair):
    former = PostgresServer(pair.primary)
    former.promote(free_port())
    try:
        ledger = pair.ledger(replica=former.url(pair.database))
        assert ledger.reading.ask(who) is PRIMARY
        assert pair.rests == [ReplicaState.WRITABLE]
    finally:
        former.stop()


HAPPENED = [started("vf_waits"), event("verification.approved", "vf_waits", at=1200)]


def _record_events(ledger):
    return ledger.verifications.record(HAPPENED) != EventsRecorded(0)


def _record_message(ledger, name="mo_waits"):
    return ledger.inbound.record(name, NUMBER, "shop", "sink", Meaning.OTHER)


def _look_and_record_message(ledger):
    return not ledger.inbound.known("mo_known") and _record_message(ledger, "mo_known")


@pytest.mark.parametrize("record", [_record_events, _record_message, _look_and_record_message])
def test_what_is_read_twice_is_not_acknowledged_before_a_replica_has_it(pair, record):
    """A primary that crashes while it waits for its replica has committed: who comes back must wait once more."""
    hasty = pair.ledger(timeout=1.0)
    pair.primary.wait_for_replicas("*")
    pair.replica.kill()
    try:
        for _ in range(2):
            pair.primary.kill()
            pair.primary.start()
            pair.primary.administer("CHECKPOINT")  # by the process that lets commits wait, which has started then
            with pytest.raises(LedgerUnavailableError):
                record(hasty)
        pair.replica.start()
        assert not record(pair.ledger(timeout=30.0)), "what was committed, there alone, is new"
    finally:
        pair.primary.wait_for_replicas("")
