"""Hourly stats in the ledger: written with the events that they are of, counted anew from them, and summed."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Table, delete, func, select, update

from otp_service.domain.audit import Event
from otp_service.domain.guard import DAY, HOUR
from otp_service.domain.stats import (
    COUNTED,
    STARTED,
    StatsCount,
    StatsKey,
    VerificationStart,
    delays_of,
    hour_of,
    stats_of,
)
from otp_service.ledger.database import Database, LedgerPart, in_batches, insert_rows, lock_head, rows_among
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


def record_stats(
    connection: Connection, database: Database, new: Sequence[Event], rows: Mapping[str, Mapping[str, Any]]
) -> None:
    """Count events recorded in this transaction, which holds the head's lock; ``rows``: their verifications.

    An event counts once the start of its verification is recorded too, even later.
    """
    starts = {name: _start(row) for name, row in rows.items() if row["pseudonym"]}
    counted = [event for event in new if event.type in COUNTED]
    _count(connection, database, starts, [*counted, *_events_before(connection, new)])


def _count(
    connection: Connection, database: Database, starts: Mapping[str, VerificationStart], counted: Iterable[Event]
) -> None:
    """Add events to the stats and delays, if the start of their verification is known."""
    pairs = [(starts[event.member("id")], event) for event in counted if event.member("id") in starts]
    add_stats(connection, database, stats_of(pairs))
    delays = ({**key._asdict(), "times": times} for key, times in delays_of(pairs).items())
    _add(connection, database, hourly_delays, delays)


def add_stats(connection: Connection, database: Database, stats: Mapping[StatsKey, StatsCount]) -> None:
    _add(connection, database, hourly_stats, ({**key._asdict(), **count._asdict()} for key, count in stats.items()))


def _add(connection: Connection, database: Database, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    keys = [column.name for column in table.primary_key]
    if ordered := sorted(rows, key=lambda row: [row[name] for name in keys]):  # so that two recorders cannot deadlock
        insertion = database.insert(table)
        sums = {name: table.c[name] + insertion.excluded[name] for name in ordered[0] if name not in keys}
        insert_rows(connection, insertion.on_conflict_do_update(index_elements=keys, set_=sums), ordered)


def _start(row: Mapping[Any, Any]) -> VerificationStart:
    return VerificationStart(*(row[name] for name in _OF_START))


_OF_START: Final = (
    *("application", "purpose", "country", "number_prefix", "channel", "standing"),
    *("started", "status", "ended"),
)


def _events_before(connection: Connection, new: Sequence[Event]) -> Iterator[Event]:
    """Yield the events that were recorded before the starts among some new events."""
    ids = {event.id for event in new}
    number_of_new = Counter(event.member("id") for event in new)
    begun = {event.member("id"): event.at for event in new if event.type == STARTED}
    if not begun:
        return
    then = near(events.c.at, begun.values())
    counted = select(events.c.verification, func.count().label("number")).where(then).group_by(events.c.verification)
    rows = rows_among(connection, counted, events.c.verification, begun)
    late = [row.verification for row in rows if row.number > number_of_new[row.verification]]
    yield from (event for event in read_events(connection, late, then) if event.id not in ids)


def read_events(connection: Connection, ids: Collection[str], *then: ColumnElement[bool]) -> Iterator[Event]:
    """Yield all recorded events of some verifications, in any order; ``then``: where they may be."""
    yield from map(read_event, rows_among(connection, select(events).where(*then), events.c.verification, ids))


def read_event(row: Row[Any]) -> Event:
    fields = {**json.loads(row.details), "id": row.verification, "gateway": row.gateway}
    return Event(row.id, row.at, row.type, fields)


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum of stats."""

    of: tuple[Any, ...]
    """The values of the ``by`` members, in their order."""
    times: int
    amount: int
    """Millionths; 0 of delays."""


DAY_OF: Final = "day"
"""Member of ``by`` for the beginning of the day (UTC), in milliseconds since the epoch."""


class Stats(LedgerPart):
    """Hourly stats."""

    def sums(
        self,
        since: int,
        until: int,
        by: Sequence[str],
        *,
        delays: bool = False,
        max_sums: int | None = None,
        **only: Collection[str],
    ) -> list[Sum]:
        """Return sums of `StatsKey`, or of `DelayKey`, from a time to before another (ms), in the order of ``by``.

        ``by``: members of the key, or `DAY_OF`; ``only``: values to count, by member.
        """
        table = hourly_delays if delays else hourly_stats
        columns = [table.c.hour - table.c.hour % DAY if name == DAY_OF else table.c[name] for name in by]
        amount = func.sum(table.c.amount) if "amount" in table.c else func.sum(0)
        conditions = [table.c[name].in_(sorted(values)) for name, values in only.items()]
        statement = (
            select(*columns, func.sum(table.c.times), amount)
            .where(table.c.hour >= since, table.c.hour < until, *conditions)
            .group_by(*columns)
            .order_by(*columns)
            .limit(max_sums)
        )
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
        return [Sum(tuple(of), int(times), int(paid)) for *of, times, paid in rows if times is not None]

    def position(self, stream: str) -> str:
        """Return the last entry of a stream of decisions that is in the stats; empty before the first."""
        statement = select(stats_positions.c.entry).where(stats_positions.c.stream == stream)
        with self._database.read() as connection:
            return connection.execute(statement).scalar() or ""

    def add(self, stream: str, after: str, entry: str, stats: Mapping[StatsKey, StatsCount]) -> bool:
        """Add the stats of a stream's entries from ``after`` to ``entry``, once; tell whether this call did."""
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
        """Count verifications anew from their events, day by day; yield the number of each day.

        Refusals stay, as do hours whose verifications a purge deleted.
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
        since = max(hour_of(first), hour_of(purged + HOUR - 1))
        while since <= last:
            until = since - since % DAY + DAY
            with self._database.write() as connection:
                lock_head(connection)  # so that new events are counted afterwards
                for table in (hourly_stats, hourly_delays):
                    of_events = table.c.event.in_(sorted(COUNTED))
                    connection.execute(delete(table).where(table.c.hour >= since, table.c.hour < until, of_events))
                of_day = select(verifications).where(verifications.c.started >= since, verifications.c.started < until)
                begun = connection.execute(of_day.where(verifications.c.pseudonym != "")).mappings()
                starts = {row["id"]: _start(row) for row in begun}
                then = near(events.c.at, (since, until))
                for names in in_batches(list(starts)):
                    _count(connection, self._database, starts, read_events(connection, names, then))
            yield len(starts)
            since = until
