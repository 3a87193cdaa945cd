"""Partitions of traffic by days (UTC) in PostgreSQL: made ahead, dropped whole. SQLite has none.

A partition has enough days for `FULL` rows, at most `MAX_DAYS`: each lookup of a number opens all partitions. Older
rows are in a partition without a beginning.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, func, literal, select, table, text

from otp_service.domain.guard import DAY
from otp_service.ledger.schema import events, verifications

PARTITIONED: Final = {verifications.name: verifications.c.started, events.name: events.c.at}
"""The columns of the partitions, by table. The key is ``id`` and that column, and ``id`` is unique by itself: an
event's contains its time, a verification's is random, and its row is written under the head's lock."""
AHEAD: Final = 3
"""Days whose partitions are made in advance."""
FULL: Final = 200_000
"""Rows in a partition that needs no further day."""
MAX_DAYS: Final = 7
READERS: Final = 8
"""Concurrent lookups of numbers: each locks all partitions."""
COUNTED: Final = 1_000_000
"""Rows of a partition that are counted: more would take long."""
_LOCK: Final = 7_209_105
"""Number of PostgreSQL's lock for making partitions."""
_PATIENCE: Final = "1s"
"""Time for which other transactions may queue behind the drop of a partition."""
_BOUNDS: Final = re.compile(r"FROM \('?(\w+)'?\) TO \('?(\d+)'?\)")


class Partition(NamedTuple):
    """A partition of a table, from a time to before another: milliseconds since the epoch."""

    begin: int
    """0 for the first partition."""
    end: int
    table: str

    @property
    def name(self) -> str:
        day = f"{datetime.fromtimestamp(self.begin / 1000, UTC):%Y%m%d}"
        return f"{self.table}_{day if self.begin else 'before'}"

    @property
    def days(self) -> int:
        return (self.end - self.begin) // DAY


def partitions(connection: Connection, table: str) -> list[Partition]:
    """Return the partitions of a table, oldest first; none in SQLite."""
    if connection.dialect.name != "postgresql":
        return []
    bounds = connection.execute(_BOUNDS_OF, {"name": table}).scalars()
    matches = filter(None, map(_BOUNDS.search, filter(None, bounds)))  # a partition just dropped has no bounds
    return sorted(Partition(0 if match[1] == "MINVALUE" else int(match[1]), int(match[2]), table) for match in matches)


_BOUNDS_OF: Final = text(
    "SELECT pg_get_expr(part.relpartbound, part.oid) FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid "
    "WHERE inhparent = to_regclass(:name)"
)


def has_locks(connection: Connection) -> bool:
    """Return whether PostgreSQL has locks for `READERS` connections on every partition, its indexes and its key."""
    needed = sum(
        len(partitions(connection, name)) * (2 + len(moment.table.indexes)) for name, moment in PARTITIONED.items()
    )
    return not needed or int(connection.execute(_LOCKS).scalar_one()) >= READERS * needed


_LOCKS: Final = text(
    "SELECT current_setting('max_locks_per_transaction')::int * current_setting('max_connections')::int"
)


def near(moment: Column[Any], times: Iterable[int]) -> ColumnElement[bool]:
    """Return the condition that rows are within a day of some times, and so in few partitions."""
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
    """Make the missing partitions for a day, a number since the epoch, and for the next `AHEAD` days."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    for name in PARTITIONED:
        for begin in range(day * DAY, (day + AHEAD + 1) * DAY, DAY):
            existing = partitions(connection, name)
            if any(partition.begin <= begin < partition.end for partition in existing):
                continue
            end = begin + _days(connection, existing, begin) * DAY
            end = min([end, *(partition.begin for partition in existing if partition.begin > begin)])
            new = Partition(begin, end, name).name
            # a table that is attached makes readers and writers wait less than a new partition
            connection.exec_driver_sql(f"CREATE TABLE {new} (LIKE {name} INCLUDING ALL)")
            connection.exec_driver_sql(
                f"ALTER TABLE {name} ATTACH PARTITION {new} FOR VALUES FROM ({begin}) TO ({end})"
            )


def _days(connection: Connection, existing: Iterable[Partition], begin: int) -> int:
    """Return the days of a new partition: those of `FULL` rows at the pace of the last complete partition."""
    complete = [partition for partition in existing if partition.begin and partition.end <= begin - AHEAD * DAY]
    if not complete:
        return 1
    last = complete[-1]
    return max(1, min(MAX_DAYS, FULL * last.days // max(1, count_rows(connection, last))))


def count_rows(connection: Connection, partition: Partition) -> int:
    """Return the number of rows of a partition; an estimate where there are more than `COUNTED`."""
    rows = select(literal(1)).select_from(table(partition.name)).limit(COUNTED).subquery()
    count = int(connection.execute(select(func.count()).select_from(rows)).scalar_one())
    if count < COUNTED:
        return count
    estimate = text("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(:name)")
    return max(count, int(connection.execute(estimate, {"name": partition.name}).scalar_one()))


def whole_days(connection: Connection, before: int) -> int:
    """Return the time before which rows are purged: the beginning of the day if it has a partition of its own."""
    existing = (partition for name in PARTITIONED for partition in partitions(connection, name))
    whole = any(partition.begin <= before < partition.end and partition.days == 1 for partition in existing)
    return before - before % DAY if whole else before


def drop(connection: Connection, partition: Partition) -> None:
    """Drop a partition. It waits for other transactions only for a short time, because others queue behind it."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
    connection.exec_driver_sql(f"DROP TABLE {partition.name}")
