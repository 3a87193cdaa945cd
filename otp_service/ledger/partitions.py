"""Partitions of traffic by days (UTC) in PostgreSQL: made ahead, dropped whole. SQLite has none.

A partition has as many days as it takes for `FULL` rows, at most `MOST_DAYS`: each look for a number opens all of them.
What is older than the others is in one without a beginning.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, func, literal, select, table, text

from otp_service.domain.guard import DAY
from otp_service.ledger.schema import events, verifications

PARTITIONED: Final = {verifications.name: verifications.c.started, events.name: events.c.at}
"""The tables, and by which column each is. The key is ``id`` and that column, and ``id`` is unique by what makes it: an
event's has its time in it, a verification's is random, and its row is written by who holds the head's lock."""
AHEAD: Final = 3
"""Days whose partitions are made before they come."""
FULL: Final = 200_000
"""Rows in a partition that needs no further day."""
MOST_DAYS: Final = 7
READERS: Final = 8
"""Who may look for numbers at once: each locks all partitions."""
COUNTED: Final = 1_000_000
"""Rows of a partition that are counted: more would take long."""
_LOCK: Final = 7_209_105
"""Number of PostgreSQL's lock for whoever makes partitions."""
_PATIENCE: Final = "1s"
"""How long others have to wait behind who waits for a table to drop a partition of it."""
_BOUNDS: Final = re.compile(r"FROM \('?(\w+)'?\) TO \('?(\d+)'?\)")


class Partition(NamedTuple):
    """A partition of a table, from a time to before another: milliseconds since the epoch."""

    begin: int
    """0 for the first one."""
    end: int
    table: str

    @property
    def name(self) -> str:
        """Its own name as a table."""
        day = f"{datetime.fromtimestamp(self.begin / 1000, UTC):%Y%m%d}"
        return f"{self.table}_{day if self.begin else 'before'}"

    @property
    def days(self) -> int:
        """How many it has."""
        return (self.end - self.begin) // DAY


def partitions(connection: Connection, table: str) -> list[Partition]:
    """Return the partitions of a table, oldest first; none in SQLite."""
    if connection.dialect.name != "postgresql":
        return []
    bounds = connection.execute(_BOUNDS_OF, {"name": table}).scalars()
    found = (match.groups() for match in map(_BOUNDS.search, filter(None, bounds)) if match)  # none: just dropped
    return sorted(Partition(0 if begin == "MINVALUE" else int(begin), int(end), table) for begin, end in found)


_BOUNDS_OF: Final = text(
    "SELECT pg_get_expr(one.relpartbound, one.oid) FROM pg_inherits JOIN pg_class one ON one.oid = inhrelid "
    "WHERE inhparent = to_regclass(:name)"
)


def has_locks(connection: Connection) -> bool:
    """Tell whether `READERS` at once can lock all partitions, each with its indexes and key."""
    needed = sum(
        len(partitions(connection, name)) * (2 + len(moment.table.indexes)) for name, moment in PARTITIONED.items()
    )
    return not needed or int(connection.execute(_LOCKS).scalar_one()) >= READERS * needed


_LOCKS: Final = text(
    "SELECT current_setting('max_locks_per_transaction')::int * current_setting('max_connections')::int"
)


def near(moment: Column[Any], times: Iterable[int]) -> ColumnElement[bool]:
    """Return the condition that rows are within a day of some times: they are in few partitions."""
    some = list(times)
    return moment.between(min(some) - DAY, max(some) + DAY)


def make_first_partitions(connection: Connection, now: int) -> None:
    """Make a partition of each table for all times until tomorrow, and those of the days that follow."""
    end = now - now % DAY + DAY
    for name in PARTITIONED:
        first = Partition(0, end, name)
        connection.exec_driver_sql(
            f"CREATE TABLE {first.name} PARTITION OF {name} FOR VALUES FROM (MINVALUE) TO ({end})"
        )
    make_partitions(connection, now // DAY)


def make_partitions(connection: Connection, day: int) -> None:
    """Make what is missing for a day, a number since the epoch, and for the `AHEAD` that follow it."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    for name in PARTITIONED:
        for begin in range(day * DAY, (day + AHEAD + 1) * DAY, DAY):
            existing = partitions(connection, name)
            if not any(one.begin <= begin < one.end for one in existing):
                end = begin + _days(connection, existing, begin) * DAY
                end = min([end, *(one.begin for one in existing if one.begin > begin)])
                _make(connection, Partition(begin, end, name))


def _make(connection: Connection, new: Partition) -> None:
    """Make a partition as a table and attach it: then readers and writers need not wait."""
    connection.exec_driver_sql(f"CREATE TABLE {new.name} (LIKE {new.table} INCLUDING ALL)")
    bounds = f"FROM ({new.begin}) TO ({new.end})"
    connection.exec_driver_sql(f"ALTER TABLE {new.table} ATTACH PARTITION {new.name} FOR VALUES {bounds}")


def _days(connection: Connection, there: Iterable[Partition], begin: int) -> int:
    """Return how many days a new partition has: what `FULL` rows take at the pace of the last one that is over."""
    over = [one for one in there if one.begin and one.end <= begin - AHEAD * DAY]
    if not over:
        return 1
    last = over[-1]
    return max(1, min(MOST_DAYS, FULL * last.days // max(1, count_rows(connection, last))))


def count_rows(connection: Connection, one: Partition) -> int:
    """Return how many rows a partition has; where there are more than `COUNTED`, about how many."""
    some = select(func.count()).select_from(select(literal(1)).select_from(table(one.name)).limit(COUNTED).subquery())
    about = text("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(:name)")
    count = int(connection.execute(some).scalar_one())
    return count if count < COUNTED else max(count, int(connection.execute(about, {"name": one.name}).scalar_one()))


def whole_days(connection: Connection, before: int) -> int:
    """Return the time before which rows are purged: ``before``, or the beginning of its day where that goes whole.

    A day does that has a partition of its own.
    """
    holding = [one for name in PARTITIONED for one in partitions(connection, name) if one.begin <= before < one.end]
    return before - before % DAY if any(one.days == 1 for one in holding) else before


def drop(connection: Connection, one: Partition) -> None:
    """Drop a partition. Whoever uses the table is waited for, but not for long: others queue behind."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
    connection.exec_driver_sql(f"DROP TABLE {one.name}")
