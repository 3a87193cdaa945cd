"""Deletes what has been kept long enough, a batch at a time, and writes down how much it was."""

import json
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlalchemy import Connection, func, insert, or_, select, update

from otp_service.domain.events import PurgeRecord
from otp_service.domain.keyring import Signer
from otp_service.ledger import audit
from otp_service.ledger.database import Database
from otp_service.ledger.purge_rules import RULES, Deleted, Purge
from otp_service.ledger.schema import head, purges

BETWEEN: Final = 3_600_000
"""Milliseconds between two purges, whoever makes them."""


class Purges:
    """The end of what is kept. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, now: int) -> None:
        """Note that a purge begins, whether or not it is due; ``now``: milliseconds since the epoch."""
        with self._database.write() as connection:
            connection.execute(update(head).values(purged=now))

    def take_turn(self, now: int) -> bool:
        """Tell whether a purge is due, and not another process' business; ``now``: milliseconds since the epoch."""
        long_ago = head.c.purged <= now - BETWEEN
        out_of_time = head.c.purged > now + BETWEEN  # noted by a clock that was wrong: it must not stop all others
        mine = update(head).where(or_(long_ago, out_of_time)).values(purged=now)
        with self._database.write() as connection:
            return connection.execute(mine.returning(head.c.id)).first() is not None

    def run(self, purge: Purge) -> Iterator[int]:
        """Purge a class of data; yield the rows of each transaction: then others have their turn."""
        name = f"pu_{secrets.token_hex(16)}"
        for rule in RULES[purge.data]:
            place: int | None = 0
            while place is not None:
                with self._database.write() as connection:
                    gone = rule(connection, purge, place)
                    if gone.rows:
                        _write_down(connection, _record(name, purge, gone), purge.signer)
                place = gone.place
                yield gone.rows

    def began(self) -> int | None:
        """Return when the last purge began, in milliseconds since the epoch; ``None`` when there was none yet."""
        with self._database.read() as connection:
            return connection.execute(select(head.c.purged)).scalar() or None

    def latest(self, data: str) -> PurgeRecord | None:
        """Return the last purge of a class of data that deleted anything; ``None`` when none did."""
        statement = select(purges).where(purges.c.data == data).order_by(purges.c.at.desc()).limit(1)
        with self._database.read() as connection:
            row = connection.execute(statement).mappings().one_or_none()
        return _of_row(row) if row else None

    def mark(self) -> tuple[int, int | None]:
        """Return something that differs after each purge that deleted anything."""
        with self._database.read() as connection:
            number, last = connection.execute(select(func.count(), func.max(purges.c.at)).select_from(purges)).one()
        return number, last

    def records(self) -> Iterator[PurgeRecord]:
        """Yield what all purges deleted, oldest first."""
        with self._database.read() as connection:
            yield from map(_of_row, connection.execute(select(purges).order_by(purges.c.at)).yield_per(1000).mappings())


def _record(run: str, purge: Purge, gone: Deleted) -> PurgeRecord:
    """Return the record of a batch: of its own where that names rows, else the same for all batches of a purge."""
    own = next(iter(gone.names), None) or gone.upto or ""
    name = f"{run}_{own}" if own else run
    return PurgeRecord(name, purge.data, purge.before, purge.now, gone.rows, gone.names, gone.upto, gone.link)


def _write_down(connection: Connection, record: PurgeRecord, signer: Signer) -> None:
    """Record what a batch deleted, in the transaction that does: the proof is there exactly if the rows are not."""
    more = update(purges).where(purges.c.id == record.id).values(count=purges.c.count + record.rows)
    if connection.execute(more).rowcount:
        return
    row = {
        "id": record.id,
        "data": record.data,
        "before": record.before,
        "count": record.rows,
        "names": json.dumps(record.names, separators=(",", ":")),
        "upto": record.upto,
        "link": record.link,
        "at": record.at,
        "signature": signer.sign(record.signed),
    }
    connection.execute(insert(purges), row)
    audit.append(connection, purges, [row])


def _of_row(row: Mapping[Any, Any]) -> PurgeRecord:
    members = {name: row[name] for name in ("id", "data", "before", "at", "upto", "link", "signature")}
    return PurgeRecord(**members, rows=row["count"], names=json.loads(row["names"]))
