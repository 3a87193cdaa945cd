"""Hourly stats in the ledger: written with the events that they are of, counted anew from them, and summed."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, Table, delete, func, select, update

from otp_service.domain.audit import Event
from otp_service.domain.guard import DAY, HOUR
from otp_service.domain.stats import (
    COUNTED,
    STARTED,
    DelayKey,
    StatsCount,
    StatsKey,
    VerificationStart,
    delays_of,
    hour_of,
    stats_of,
)
from otp_service.ledger.database import Database, among, in_batches, insert_rows, lock_head
from otp_service.ledger.partitions import near
from otp_service.ledger.schema import (
    TRAFFIC,
    events,
    hourly_delays,
    hourly_stats,
    purges,
    stats_positions,
    verifications,
)

_OF_STATS: Final = StatsKey._fields
_OF_DELAY: Final = DelayKey._fields


def record_stats(
    connection: Connection,
    database: Database,
    new: Sequence[Event],
    rows: Mapping[str, Mapping[str, Any]],
) -> None:
    """Count events recorded in this transaction, which holds the head's lock; ``rows``: their verifications.

    An event counts once the start of its verification is recorded too, be it later.
    """
    starts = {name: _start(row) for name, row in rows.items() if row["pseudonym"]}
    counted = [one for one in new if one.type in COUNTED]
    _count(connection, database, starts, [*counted, *_events_before(connection, new)])


def _count(
    connection: Connection, database: Database, starts: Mapping[str, VerificationStart], counted: Iterable[Event]
) -> None:
    """Add events to the stats and delays, those whose verification's start is there."""
    pairs = [(starts[one.member("id")], one) for one in counted if one.member("id") in starts]
    add_stats(connection, database, stats_of(pairs))
    _add(connection, database, hourly_delays, ({**one._asdict(), "times": n} for one, n in delays_of(pairs).items()))


def add_stats(connection: Connection, database: Database, stats: Mapping[StatsKey, StatsCount]) -> None:
    """Add to what was counted before."""
    _add(connection, database, hourly_stats, ({**key._asdict(), **one._asdict()} for key, one in stats.items()))


def _add(connection: Connection, database: Database, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    keys = [column.name for column in table.primary_key]
    if some := sorted(rows, key=lambda row: [row[name] for name in keys]):  # two recorders lock in one order
        insertion = database.insert(table)
        values = [name for name in some[0] if name not in keys]
        sums = {name: table.c[name] + insertion.excluded[name] for name in values}
        insert_rows(connection, insertion.on_conflict_do_update(index_elements=keys, set_=sums), some)


def _start(row: Mapping[Any, Any]) -> VerificationStart:
    return VerificationStart(*(row[name] for name in _OF_START))


_OF_START: Final = (
    *("application", "purpose", "country", "number_prefix", "channel", "standing"),
    *("started", "status", "ended"),
)


def _events_before(connection: Connection, new: Sequence[Event]) -> Iterator[Event]:
    """Yield the events that were recorded before the starts among some new ones."""
    names = {one.id for one in new}
    of_new = Counter(one.member("id") for one in new)
    begun = {one.member("id"): one.at for one in new if one.type == STARTED}
    if not begun:
        return
    then = near(events.c.at, begun.values())
    of_all: list[Any] = []
    for mine in among(connection, events.c.verification, begun):
        of_one = select(events.c.verification, func.count()).where(mine, then)
        of_all += connection.execute(of_one.group_by(events.c.verification)).all()
    late = [verification for verification, count in of_all if count > of_new[verification]]
    yield from (one for one in _events_of(connection, late, then) if one.id not in names)


def _events_of(connection: Connection, names: Sequence[str], then: ColumnElement[bool]) -> Iterator[Event]:
    """Yield all events of some verifications that are recorded, and of about their time."""
    for mine in among(connection, events.c.verification, names):
        for row in connection.execute(select(events).where(mine, then)):
            fields = {"id": row.verification, "gateway": row.gateway, **json.loads(row.details)}
            yield Event(row.id, row.at, row.type, fields)


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum of stats."""

    of: tuple[Any, ...]
    """The values of what it was asked by, in that order."""
    times: int
    amount: int
    """Millionths; 0 of delays."""


DAY_OF: Final = "day"
"""To ask by it sums the hours of a day (UTC): milliseconds at which it begins."""


class Stats:
    """The stats. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sums(
        self, since: int, until: int, by: Sequence[str], *, most: int | None = None, **only: Collection[str]
    ) -> list[Sum]:
        """Return sums of `StatsKey` from a time to before another (ms), in the order of what they are ``by``.

        ``by`` are members of the key, or `DAY_OF`; ``only`` what counts, by member; not more than ``most``.
        """
        return self._sums(_select_sums(hourly_stats, since, until, by, only).limit(most))

    def delays(
        self, since: int, until: int, by: Sequence[str], *, most: int | None = None, **only: Collection[str]
    ) -> list[Sum]:
        """Return the same of `DelayKey`."""
        return self._sums(_select_sums(hourly_delays, since, until, by, only).limit(most))

    def _sums(self, wanted: Select[Any]) -> list[Sum]:
        with self._database.read() as connection:
            rows = connection.execute(wanted).all()
        return [Sum(tuple(of), int(times), int(paid)) for *of, times, paid in rows if times is not None]

    def position(self, stream: str) -> str:
        """Return the last entry of a stream of decisions that is in the stats; empty before the first."""
        with self._database.read() as connection:
            wanted = select(stats_positions.c.entry).where(stats_positions.c.stream == stream)
            return connection.execute(wanted).scalar() or ""

    def add(self, stream: str, after: str, entry: str, stats: Mapping[StatsKey, StatsCount]) -> bool:
        """Add the stats of a stream's entries after one and up to another; tell whether nobody did so before."""
        mine = update(stats_positions).where(stats_positions.c.stream == stream, stats_positions.c.entry == after)
        with self._database.write() as connection:
            connection.execute(
                self._database.insert(stats_positions).values(stream=stream, entry="").on_conflict_do_nothing()
            )
            if not connection.execute(mine.values(entry=entry)).rowcount:
                return False
            add_stats(connection, self._database, stats)
        return True

    def recount(self) -> Iterator[int]:
        """Count verifications anew from their events, day by day; yield how many of each day.

        Refusals stay, as do hours of which a purge took verifications.
        """
        with self._database.read() as connection:
            purged = connection.execute(select(func.max(purges.c.before)).where(purges.c.data == TRAFFIC)).scalar() or 0
            first, last = connection.execute(
                select(func.min(verifications.c.started), func.max(verifications.c.started)).where(
                    verifications.c.pseudonym != ""
                )
            ).one()
        if first is None:
            return
        day = max(hour_of(first), hour_of(purged + HOUR - 1))
        while day <= last:
            end = day - day % DAY + DAY
            yield self._recount(day, end)
            day = end

    def _recount(self, since: int, until: int) -> int:
        with self._database.write() as connection:
            lock_head(connection)  # what is recorded meanwhile counts afterwards
            for table in (hourly_stats, hourly_delays):
                of_events = table.c.what.in_(sorted(COUNTED))
                connection.execute(delete(table).where(table.c.hour >= since, table.c.hour < until, of_events))
            of_day = select(verifications).where(verifications.c.started >= since, verifications.c.started < until)
            begun = connection.execute(of_day.where(verifications.c.pseudonym != "")).mappings()
            starts = {row["id"]: _start(row) for row in begun}
            then = near(events.c.at, (since, until))
            for some in in_batches(list(starts)):
                _count(connection, self._database, starts, _events_of(connection, some, then))
        return len(starts)


def _select_sums(
    table: Table, since: int, until: int, by: Sequence[str], only: Mapping[str, Collection[str]]
) -> Select[Any]:
    columns = [table.c.hour - table.c.hour % DAY if name == DAY_OF else table.c[name] for name in by]
    amount = func.sum(table.c.amount) if "amount" in table.c else func.sum(0)
    wanted = select(*columns, func.sum(table.c.times), amount).where(table.c.hour >= since, table.c.hour < until)
    for name, values in only.items():
        wanted = wanted.where(table.c[name].in_(sorted(values)))
    return wanted.group_by(*columns).order_by(*columns)
