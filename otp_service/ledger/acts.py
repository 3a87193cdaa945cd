"""The acts of operators, which are never changed."""

import secrets
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from otp_service.core.act import Recorded
from otp_service.ledger import audit
from otp_service.ledger.clock import now
from otp_service.ledger.database import Database
from otp_service.ledger.schema import acts

_LONGEST_NAME = 64


class Acts:
    """What is kept of acts. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, act: Recorded) -> Recorded:
        """Record an act; return it with its time."""
        with self._database.write() as connection:
            return record(connection, act)

    def between(self, since: int | None, until: int | None, most: int) -> tuple[Recorded, ...]:
        """Return the acts from a time on and before another, where they are given; oldest first, at most ``most``."""
        wanted = select(acts).order_by(acts.c.at, acts.c.id)
        if since is not None:
            wanted = wanted.where(acts.c.at >= since)
        if until is not None:
            wanted = wanted.where(acts.c.at < until)
        with self._database.read() as connection:
            return tuple(map(_recorded, connection.execute(wanted.limit(most))))


def record(connection: Connection, act: Recorded) -> Recorded:
    """Record an act in the transaction of what it did."""
    at = now()
    row = {
        "id": secrets.token_hex(16),
        "at": at,
        "act": str(act.act),
        "by": act.by[:_LONGEST_NAME],
        "application": act.application,
        "about": act.about,
    }
    connection.execute(insert(acts).values(row))
    audit.append(connection, acts, [row])
    return replace(act, at=at)


def _recorded(row: Row[Any]) -> Recorded:
    return Recorded(row.act, row.by, row.application, row.about, row.at)
