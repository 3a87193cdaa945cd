"""Deletes what has been kept long enough, a batch at a time, and writes down how much it was."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, insert, or_, select, update

from otp_service.ledger import audit
from otp_service.ledger.database import Database
from otp_service.ledger.purge_rules import RULES, TURN
from otp_service.ledger.schema import purges

BETWEEN: Final = 3_600_000
"""Milliseconds between two purges, whoever makes them."""


@dataclass(frozen=True, slots=True)
class Purged:
    """What one purge deleted of a class of data."""

    data: str
    before: int
    """What was older went: milliseconds since the epoch."""
    rows: int
    at: int
    """When: milliseconds since the epoch."""


class Purges:
    """The end of what is kept. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, now: int) -> None:
        """Note that a purge begins, whether or not it is due; ``now``: milliseconds since the epoch."""
        with self._database.write() as connection:
            connection.execute(self._turn(now).on_conflict_do_update(index_elements=["id"], set_={"at": now}))

    def take_turn(self, now: int) -> bool:
        """Tell whether a purge is due, and not another process' business; ``now``: milliseconds since the epoch."""
        long_ago = purges.c.at <= now - BETWEEN
        out_of_time = purges.c.at > now + BETWEEN  # dated by a clock that was wrong: it must not stop all others
        due = or_(long_ago, out_of_time)
        mine = self._turn(now).on_conflict_do_update(index_elements=["id"], set_={"at": now}, where=due)
        with self._database.write() as connection:
            return connection.execute(mine.returning(purges.c.id)).first() is not None

    def _turn(self, now: int) -> Any:  # noqa: ANN401 - an insertion of either dialect
        return self._database.insert(purges).values(id=TURN, data=TURN, before=0, count=0, at=now)

    def run(self, data: str, before: int, now: int) -> Iterator[int]:
        """Delete what is older of a class of data; yield the rows of each transaction: then others have their turn."""
        name = f"pu_{secrets.token_hex(16)}"
        for rule in RULES[data]:
            place: int | None = 0
            while place is not None:
                with self._database.write() as connection:
                    rows, place = rule(connection, before, place)
                    _write_down(connection, name, Purged(data, before, rows, now))
                yield rows

    def began(self) -> int | None:
        """Return when the last purge began, in milliseconds since the epoch; ``None`` when there was none yet."""
        with self._database.read() as connection:
            return connection.execute(select(purges.c.at).where(purges.c.id == TURN)).scalar()

    def latest(self, data: str) -> Purged | None:
        """Return the last purge of a class of data that deleted anything; ``None`` when none did."""
        columns = (purges.c.data, purges.c.before, purges.c.count.label("deleted"), purges.c.at)
        statement = select(*columns).where(purges.c.data == data).order_by(purges.c.at.desc()).limit(1)
        with self._database.read() as connection:
            row = connection.execute(statement).one_or_none()
        return Purged(row.data, row.before, row.deleted, row.at) if row else None


def _write_down(connection: Connection, name: str, purged: Purged) -> None:
    """Add to what a purge deleted, in the transaction that does: the proof is there exactly if the rows are not."""
    if not purged.rows:
        return
    more = update(purges).where(purges.c.id == name).values(count=purges.c.count + purged.rows)
    if not connection.execute(more).rowcount:
        row = {"id": name, "data": purged.data, "before": purged.before, "count": purged.rows, "at": purged.at}
        connection.execute(insert(purges), row)
        audit.append(connection, purges, [row])
