"""The recorder where the ledger has one row for each verification: it waits for the end, and loses nothing."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import func, select
from support_caller import Caller
from support_events import recorders
from support_frozen import FrozenValkey
from support_installation import NUMBER, World
from support_ledger_events import EVIDENCE
from support_outbox import EVENTS, deliver_all
from support_service import eventually

from otp_service.bootstrap import Installation
from otp_service.domain.tallies import What
from otp_service.errors import LedgerUnavailableError, StoreUnavailableError
from otp_service.ledger.schema import events, verifications
from otp_service.ledger.verifications import EventsRecorded, VerificationLedger
from otp_service.services.number_history import find_verification
from otp_service.store import keys
from otp_service.store.events import EventLog
from otp_service.store.leases import BucketShare
from otp_service.store.script_runner import ScriptRunner
from otp_service.worker.recorder import Recorder

PERMISSIVE = {"number": ["100000/hour"], "application": []}


@pytest.fixture
def installation(world: World) -> Installation:
    return world.install(ledger={"rows": "verifications"}, limits=PERMISSIVE)


@pytest.fixture
def shop(installation: Installation) -> Caller:
    return Caller(installation)


@pytest.fixture
def run(shop: Caller) -> Iterator[Callable[..., Recorder]]:
    """Starts a recorder, which may claim at once what others left."""
    with recorders(shop.context, whole=True) as start:
        yield start


def _approved(shop: Caller) -> str:
    one = shop.start()
    deliver_all(shop.context)
    assert shop.check(one, shop.code(one))[1]
    return one


def _statuses(shop: Caller) -> dict[str, str]:
    found = shop.context.ledger.verifications.latest(shop.context.keyring.pseudonym(NUMBER), 100)
    return {one.id: one.status for one in found}


def _rows(shop: Caller) -> dict[str, int]:
    with shop.context.ledger.database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (verifications, events)
        }


def _pending(shop: Caller) -> int:
    """Return how many events are a recorder's, and not recorded."""
    client = shop.context.store.events._client
    groups: Any = client.xinfo_groups(keys.events("00")) if client.exists(keys.events("00")) else ()
    return sum(one["pending"] for one in groups)


def _counted(shop: Caller, what: str) -> int:
    return sum(one.times for one in shop.context.ledger.stats.sums(0, 1 << 50, ["what"]) if one.of == (what,))


def test_what_is_over_gets_one_row_and_the_rest_waits(shop: Caller, run: Callable[..., Recorder]) -> None:
    run()
    waiting, one = shop.start(), _approved(shop)
    eventually(lambda: _statuses(shop) == {one: "approved"})

    assert _rows(shop) == {"verifications": 1, "events": 0}
    assert eventually(lambda: _pending(shop) == 2), "start and delivery of the other"
    assert shop.context.store.events.unrecorded() == 0, "nobody is late"
    assert [one.history.id for one in find_verification(shop.context, waiting).verifications] == [waiting]


def test_what_waits_is_counted_at_once_and_what_hangs_is_not(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else newcomers would be judged a quarter of an hour later."""
    shop = Caller(frozen.world().install(ledger={"rows": "verifications"}, limits=PERMISSIVE))
    log, recorder = shop.context.store.events, Recorder(shop.context, "one", 1.0, 0.2, whole=True)
    shop.start()
    frozen.advance(60)
    assert log.counted_until() == frozen.now - 60_000
    recorder._taken = log.take("one", 100)
    recorder._record()
    assert log.counted_until() == frozen.now
    assert len(shop.context.store.traffic.tallies("shop")[1]) == 2
    shop.start()
    frozen.advance(60)
    assert len(log.take("hangs", 100)) == 1
    assert log.counted_until() == frozen.now - 60_000
    recorder._taken = log.claim("one", 100, 0)
    recorder._record()

    assert len(shop.context.store.traffic.tallies("shop")[1]) == 2, "what another had is not counted again"


def test_what_nobody_ends_gets_its_row_when_nothing_more_can_happen(
    shop: Caller, run: Callable[..., Recorder], world: World
) -> None:
    run()
    one = shop.start()
    eventually(lambda: _pending(shop) == 1)
    world.advance(899)
    shop.context.mirror_sync.refresh()
    assert not _statuses(shop)
    world.advance(2)

    assert eventually(lambda: set(_statuses(shop)) == {one})
    assert _rows(shop) == {"verifications": 1, "events": 0}
    assert eventually(lambda: _pending(shop) == 0)


def test_what_nobody_ends_does_not_fill_the_stream(world: World) -> None:
    """It would keep all that came since, and starts be refused where there is twice as much as may be."""
    shop = Caller(world.install(ledger={"rows": "verifications"}, limits=PERMISSIVE, streams={"max_events": 1000}))
    log, recorder = shop.context.store.events, Recorder(shop.context, "one", 1.0, 0.2, whole=True)

    def record() -> None:
        recorder._taken = log.take("one", 2000)
        recorder._record()
        recorder._trim_stream()

    one = shop.start()
    for _ in range(999):
        shop.context.store.events._client.xadd(EVENTS, {"type": "check.refused", "id": "vf_other"})
    record()
    record()
    assert not _statuses(shop), "there is room for it"
    later = shop.start()
    record()
    record()
    assert _statuses(shop) == {one: "pending"}
    assert shop.context.store.events._client.xlen(EVENTS) == 1000
    assert shop.check(one, shop.code(one))[1]
    record()

    assert _statuses(shop) == {one: "approved"}, "what comes later has a row of its own"
    found = find_verification(shop.context, one).verifications[0].events
    assert [each.type for each in found] == ["verification.started", "verification.approved"]
    assert _pending(shop) == 1, f"{later} waits"


@pytest.mark.parametrize("taken", range(1, 4))
def test_what_a_dead_recorder_had_is_recorded_by_another_once(
    shop: Caller, run: Callable[..., Recorder], taken: int
) -> None:
    one = _approved(shop)
    assert len(shop.context.store.events.take("dead", taken)[0].entries) == taken
    run(claims=True)
    eventually(lambda: _pending(shop) == 0 and _statuses(shop) == {one: "approved"})

    assert len(find_verification(shop.context, one).verifications[0].events) == 3
    assert [_counted(shop, what) for what in ("verification.started", "delivery.sent", "verification.approved")] == [
        1
    ] * 3


def test_what_a_dead_recorder_had_does_not_wait_for_an_end_that_was_recorded(shop: Caller) -> None:
    log, heir = shop.context.store.events, Recorder(shop.context, "heir", 1.0, 0.2, whole=True)
    one = _approved(shop)
    assert len(log.take("dead", 2)[0].entries) == 2
    for taken in (log.take("heir", 100), log.claim("heir", 2, 0), []):
        heir._taken = taken
        heir._record()

    assert _pending(shop) == 0
    assert _statuses(shop) == {one: "approved"}
    assert _rows(shop) == {"verifications": 1, "events": 1}
    assert _counted(shop, "verification.approved") == _counted(shop, "verification.started") == 1


def test_a_row_that_is_not_acknowledged_is_there_once(
    shop: Caller, run: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledge, failures = EventLog.acknowledge, []

    def fail_first(log: EventLog, batch: Any) -> None:
        if not failures:
            failures.append(batch)
            raise StoreUnavailableError("away")
        acknowledge(log, batch)

    monkeypatch.setattr(EventLog, "acknowledge", fail_first)
    run(claims=True)
    one = _approved(shop)
    eventually(lambda: failures and _statuses(shop) == {one: "approved"} and _pending(shop) == 0)

    assert _rows(shop) == {"verifications": 1, "events": 0}
    assert _counted(shop, "verification.approved") == 1


def test_what_happens_while_the_database_is_away_is_recorded_when_it_is_back(
    shop: Caller, run: Callable[..., Recorder], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: VerificationLedger, told: Any, __: Any) -> EventsRecorded:
        if told:
            raise LedgerUnavailableError("away")
        return EventsRecorded(0)

    monkeypatch.setattr("otp_service.worker.recorder.BATCH_SIZE", 2)
    run()
    waiting = shop.start()
    eventually(lambda: _pending(shop) == 1)
    monkeypatch.setattr(VerificationLedger, "record", away)
    ones = {_approved(shop) for _ in range(4)}
    eventually(lambda: _pending(shop) == 14)
    other = BucketShare(ScriptRunner(world.client), "record", ("00",), 0)
    eventually(lambda: other.renew("z") or other.buckets == ("00",))  # it may reach the database
    other.give_back("z")
    monkeypatch.undo()
    eventually(lambda: set(_statuses(shop)) == ones)

    assert eventually(lambda: _pending(shop) == 2)
    shop.cancel(waiting)
    assert eventually(lambda: len(_statuses(shop)) == 5)
    assert _counted(shop, "verification.started") == 5
    tallies = shop.context.store.traffic.tallies("shop")[1]
    assert sum(n for one, n in tallies.items() if one.what is What.MESSAGE) == 5


def test_a_defect_of_one_story_keeps_back_no_other(
    shop: Caller, run: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    record, broken = VerificationLedger.record, _approved(shop)

    def record_others(ledger: VerificationLedger, told: Any, whole: Any = None) -> Any:
        if whole and any(one.member("id") == broken for one in told):
            raise TypeError("a defect")
        return record(ledger, told, whole)

    monkeypatch.setattr(VerificationLedger, "record", record_others)
    one = _approved(shop)
    run()
    eventually(lambda: _statuses(shop) == {one: "approved"} and _pending(shop) == 0)

    assert _rows(shop) == {"verifications": 1, "events": 3}, "what cannot be recorded is kept as it is"


def test_a_consent_is_in_the_ledger_before_its_verification(world: World) -> None:
    open_to_all = {"purposes": ["login"], "countries": ["PK"], "region": "PK", "client_ip": "none"}
    applications = {"shop": {**open_to_all, "consent": "required"}}
    shop = Caller(world.install(ledger={"rows": "verifications"}, applications=applications))
    recorder = Recorder(shop.context, "one", 1.0, 0.2, whole=True)
    recorder.start()
    try:
        shop.start(consent=EVIDENCE)
        pseudonym = shop.context.keyring.pseudonym(NUMBER)
        assert eventually(lambda: shop.context.ledger.consents.of(pseudonym, "shop", "login"))
        assert not _statuses(shop)
    finally:
        recorder.stop()


def test_one_recorder_has_all_of_a_bucket_and_another_takes_over(world: World, installation: Installation) -> None:
    keyring = installation.settings.keys
    same = {"root": keyring.root.get_secret_value(), "pseudonym": keyring.pseudonym.get_secret_value()}
    url = installation.settings.ledger.url.get_secret_value()
    second = world.install(keys=same, ledger={"url": url, "rows": "verifications"}, limits=PERMISSIVE)
    first = installation.context.store.events.share
    for _ in range(3):
        first.renew("a")
        second.context.store.events.share.renew("b")

    assert sorted([first.buckets, second.context.store.events.share.buckets]) == [(), ("00",)]
    holder, other = ("a", "b") if first.buckets else ("b", "a")
    share = second.context.store.events.share if other == "b" else first
    assert (second if other == "b" else installation).context.store.events.take(other, 10, 1) == []
    world.advance(3)
    share.renew(other)
    assert share.buckets == ("00",), holder
