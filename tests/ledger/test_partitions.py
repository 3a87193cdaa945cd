"""Traffic by days in PostgreSQL: made ahead, dropped whole, and nothing recorded twice or lost at their edges."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import permutations

import pytest
from sqlalchemy import select
from support_ledger_events import NUMBER, event, started
from support_postgres import PostgresServer

from otp_service.clock import now
from otp_service.domain.audit import Event
from otp_service.domain.guard import DAY
from otp_service.domain.keyring import Signer
from otp_service.errors import LedgerUnavailableError
from otp_service.ledger import partitions
from otp_service.ledger.ledger import Ledger
from otp_service.ledger.partitions import AHEAD, MAX_DAYS, Partition, make_partitions
from otp_service.ledger.retention import Purge
from otp_service.ledger.schema import TRAFFIC, events, verifications

SIGNER = Signer(bytes(32))


@pytest.fixture
def ledger_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    name = postgres_server.create(postgres_template)
    yield postgres_server.url(name)
    postgres_server.drop(name)


@pytest.fixture
def today() -> int:
    return now() // DAY * DAY


@pytest.fixture
def by_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a day's rows be enough for a partition, however few they are."""
    monkeypatch.setattr(partitions, "FULL", 1)


def story(verification: str, at: int) -> list[Event]:
    return [
        started(verification, at),
        event("delivery.sent", verification, at + 900, gateway="first", slot="d1.1", cost="1"),
        event("verification.approved", verification, at + 2000),
    ]


def found(ledger: Ledger, table: str = events.name) -> list[Partition]:
    with ledger.database.read() as connection:
        return partitions.partitions(connection, table)


def count(ledger: Ledger, table: str) -> int:
    with ledger.database.read() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())  # noqa: S608 - our own


def purge(ledger: Ledger, before: int) -> list[int]:
    return [rows for rows in ledger.purges.run(Purge(TRAFFIC, before, now(), SIGNER)) if rows]


def told(ledger: Ledger) -> list[tuple[str, int, str, int, list[str]]]:
    past = ledger.subjects.export(NUMBER, None).verifications
    return [(one.id, one.started, one.status, one.ended, [str(it["type"]) for it in one.events]) for one in past]


def test_a_new_ledger_has_partitions_for_today_and_the_days_after(ledger: Ledger, today: int) -> None:
    for table in (events.name, verifications.name):
        first, *others = found(ledger, table)

        assert (first.begin, first.end, first.name) == (0, today + DAY, f"{table}_before")
        assert [one.begin for one in others] == [today + (n + 1) * DAY for n in range(AHEAD)]
        assert {one.days for one in others} == {1}


@pytest.mark.usefixtures("by_day")
def test_events_of_a_day_make_the_partitions_of_those_that_follow(ledger: Ledger, today: int) -> None:
    ledger.verifications.record(story("vf_1", today + (AHEAD + 1) * DAY))

    assert max(one.end for one in found(ledger)) == today + (2 * AHEAD + 2) * DAY
    assert count(ledger, found(ledger)[AHEAD + 1].name) == 3


@pytest.mark.usefixtures("by_day")
def test_a_clock_that_jumps_makes_no_partitions_in_between(ledger: Ledger, today: int) -> None:
    ledger.verifications.record(story("vf_1", today + 20_000 * DAY))
    ledger.verifications.record(story("vf_2", today + 5 * DAY))

    assert len(found(ledger)) == 1 + AHEAD + 2 * (AHEAD + 1)
    assert len(told(ledger)) == 2


@pytest.mark.parametrize(("rows", "days"), [(1, MAX_DAYS), (50, 4), (150, 1), (1000, 1)])
def test_a_partition_has_as_many_days_as_take_its_rows(
    ledger: Ledger, today: int, monkeypatch: pytest.MonkeyPatch, rows: int, days: int
) -> None:
    monkeypatch.setattr(partitions, "FULL", 200)
    tomorrow = today + DAY
    ledger.verifications.record([event("check.failed", at=tomorrow + n) for n in range(rows)])
    with ledger.database.write() as connection:
        make_partitions(connection, today // DAY + AHEAD + 2)

    made = next(one for one in found(ledger) if one.begin == today + (AHEAD + 2) * DAY)
    assert made.days == days


@pytest.mark.parametrize("size", [3, 1500])
def test_a_batch_that_comes_twice_is_there_once(ledger: Ledger, today: int, size: int) -> None:
    batch = [one for n in range(size // 3) for one in story(f"vf_{n}", today + n)]
    first = ledger.verifications.record(batch)
    again = ledger.verifications.record(batch[: size // 2])

    assert (first.new, again.new) == (size, 0)
    assert (count(ledger, "events"), count(ledger, "verifications")) == (size, size // 3)
    assert count(ledger, "audit") == size + size // 3
    assert count(ledger, "pg_class WHERE relname LIKE 'incoming%%'") == 0


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_verification_over_midnight_has_one_row_in_whichever_order_it_comes(
    ledger: Ledger, today: int, order: tuple[int, ...]
) -> None:
    happened = story("vf_1", today + 2 * DAY - 1000)
    for place in order:
        ledger.verifications.record([happened[place]])

    assert count(ledger, "verifications") == 1
    assert told(ledger) == [("vf_1", happened[0].at, "approved", happened[2].at, [one.type for one in happened])]


def test_an_end_finds_its_verification_also_when_a_clock_has_jumped(ledger: Ledger, today: int) -> None:
    start, _, approved = story("vf_1", today)
    ledger.verifications.record([start])
    ledger.verifications.record([replace(approved, at=today + 9 * DAY)])

    assert count(ledger, "verifications") == 1
    assert told(ledger)[0][2:4] == ("approved", today + 9 * DAY)


def test_what_is_too_old_goes_by_whole_days_and_the_purge_is_recorded(ledger: Ledger, today: int) -> None:
    days = [today + n * DAY for n in (-1, 1, 2, 3)]
    for n, day in enumerate(days):
        ledger.verifications.record(story(f"vf_{n}", day + 5))
    before = days[2] + 3600_000

    assert purge(ledger, before) == [1, 1, 3, 3]
    assert [one[0] for one in told(ledger)] == ["vf_2", "vf_3"]
    assert found(ledger)[0].begin == days[2]
    record = ledger.purges.latest(TRAFFIC)
    assert record is not None
    assert (record.rows, record.before) == (8, days[2])
    assert purge(ledger, before) == []


def test_what_comes_late_of_a_day_that_is_gone_is_recorded(ledger: Ledger, today: int) -> None:
    late = story("vf_1", today - 40 * DAY)
    ledger.verifications.record(late[:1])
    assert purge(ledger, today + 2 * DAY) == [1, 1]
    ledger.verifications.record(late[1:])

    assert count(ledger, "events") == 2
    assert purge(ledger, today + 2 * DAY) == [1, 2]


def test_who_reads_a_day_that_is_to_go_keeps_it_and_no_purge_is_recorded(ledger: Ledger, today: int) -> None:
    ledger.verifications.record(story("vf_1", today))
    with ledger.database.read() as reader:
        reader.execute(select(events)).all()
        reader.execute(select(verifications)).all()
        with pytest.raises(LedgerUnavailableError):
            purge(ledger, today + DAY)

    assert ledger.purges.latest(TRAFFIC) is None
    assert purge(ledger, today + DAY) == [1, 3]


@pytest.mark.usefixtures("by_day")
def test_recorders_and_a_purge_wait_for_each_other_in_one_order(ledger: Ledger, today: int) -> None:
    for day in range(1, 13):
        ledger.verifications.record(story(f"vf_{day}", today + day * DAY))

    def record(recorder: int) -> int:
        at = today + 13 * DAY
        return sum(ledger.verifications.record(story(f"vf_{recorder}_{n}", at)).new for n in range(60))

    with ThreadPoolExecutor(3) as pool:
        recorded = [pool.submit(record, one) for one in range(3)]
        assert sum(purge(ledger, today + 13 * DAY)) == 12 * 4
        assert [one.result() for one in recorded] == [180] * 3


def test_too_few_locks_for_all_partitions_are_known(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not ledger.database.lacks_locks()
    monkeypatch.setattr(partitions, "READERS", 64 * 200 // (4 * (6 + 4)) + 1)

    assert ledger.database.lacks_locks()


def test_a_row_that_was_recorded_long_after_it_happened_is_found_for_its_entry(ledger: Ledger, today: int) -> None:
    ledger.verifications.record(story("vf_1", today - 30 * DAY))

    assert all(one.digest for one in ledger.audit.links(0, 10))
