"""The acts of operators, which are never changed."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from otp_service.domain.people import ActEntry
from otp_service.errors import OtpServiceError
from otp_service.ledger import audit
from otp_service.ledger.clock import now
from otp_service.ledger.database import Database
from otp_service.ledger.schema import acts

_LONGEST_NAME = 64


class _NothingDoneError(Exception):
    """Takes a transaction back."""


class Acts:
    """What is kept of acts. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, act: ActEntry) -> ActEntry:
        """Record an act; return it with its time."""
        with self._database.write() as connection:
            return record(connection, act)

    def around(self, act: ActEntry, do: Callable[[], int]) -> int:
        """Do something elsewhere, and record it as an act if it came to anything; return how much it came to.

        The act is written before it is done and committed after it, so that nothing is done while the ledger is away.
        What fails may have been done: then the act stays, and this raises what ``do`` did.
        """
        count, failure = 0, None
        with suppress(_NothingDoneError), self._database.write() as connection:
            record(connection, act)
            try:
                count = do()
            except OtpServiceError as failed:
                failure = failed
            if not count and failure is None:
                raise _NothingDoneError
        if failure is not None:
            raise failure
        return count

    def between(self, since: int | None, until: int | None, most: int) -> tuple[ActEntry, ...]:
        """Return the acts from a time on and before another, where they are given; oldest first, at most ``most``."""
        wanted = select(acts).order_by(acts.c.at, acts.c.id)
        if since is not None:
            wanted = wanted.where(acts.c.at >= since)
        if until is not None:
            wanted = wanted.where(acts.c.at < until)
        with self._database.read() as connection:
            return tuple(map(_recorded, connection.execute(wanted.limit(most))))


def record(connection: Connection, act: ActEntry) -> ActEntry:
    """Record an act in the transaction of what it did; return it with its time and name."""
    made = replace(act, at=now(), id=secrets.token_hex(16))
    row = {
        "id": made.id,
        "at": made.at,
        "act": str(act.act),
        "by": act.by[:_LONGEST_NAME],
        "application": act.application,
        "about": act.about,
    }
    connection.execute(insert(acts).values(row))
    audit.append(connection, acts, [row])
    return made


def _recorded(row: Row[Any]) -> ActEntry:
    return ActEntry(row.act, row.by, row.application, row.about, row.at, row.id)
