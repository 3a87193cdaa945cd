"""The suppressions: entries that are never changed, only followed by another of their number, application and scope."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select

from otp_service.core.suppression import (
    EVERY_APPLICATION,
    Suppression,
    SuppressionScope,
    SuppressionSource,
    last_of_each,
)
from otp_service.ledger import head
from otp_service.ledger.batches import batches
from otp_service.ledger.clock import now
from otp_service.ledger.database import Database
from otp_service.ledger.schema import suppressions


class Suppressions:
    """What is kept of suppressions. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entries: Sequence[Suppression]) -> int:
        """Record entries in their order, all or none; return the ledger's number of the last one.

        What they say of the time at which they were recorded is not read.
        """
        with self._database.write() as connection:
            first, recorded = head.advance(connection, len(entries)), now()
            rows = [
                {
                    "sequence": first + position,
                    "pseudonym": entry.pseudonym,
                    "application": entry.application,
                    "scope": entry.scope,
                    "lifted": entry.lifted,
                    "source": entry.source,
                    "reason": entry.reason,
                    "until": entry.until,
                    "recorded": recorded,
                }
                for position, entry in enumerate(entries)
            ]
            connection.execute(insert(suppressions), rows)
        return first + len(entries) - 1

    def of(self, pseudonym: str, application: str | None = None) -> tuple[Suppression, ...]:
        """Return the entries of a number, oldest first: of one application and those of all, or of every one."""
        with self._database.read() as connection:
            return entries_of(connection, pseudonym, application)


def latest(connection: Connection, pseudonyms: Sequence[str]) -> list[Suppression]:
    """Return the last entry of each of some numbers, for each application and scope."""
    found: list[Suppression] = []
    for some in batches(pseudonyms):
        rows = connection.execute(_in_order().where(suppressions.c.pseudonym.in_(some)))
        found += last_of_each(map(_entry, rows))
    return found


def entries_of(connection: Connection, pseudonym: str, application: str | None) -> tuple[Suppression, ...]:
    """Return the entries of a number, oldest first: of one application and those of all, or of every one."""
    wanted = _in_order().where(suppressions.c.pseudonym == pseudonym)
    if application is not None:
        wanted = wanted.where(suppressions.c.application.in_((application, EVERY_APPLICATION)))
    return tuple(map(_entry, connection.execute(wanted)))


def _in_order() -> Select[Any]:
    return select(suppressions).order_by(suppressions.c.sequence)


def _entry(row: Row[Any]) -> Suppression:
    return Suppression(
        pseudonym=row.pseudonym,
        application=row.application,
        scope=SuppressionScope(row.scope),
        source=SuppressionSource(row.source),
        reason=row.reason,
        until=row.until,
        lifted=row.lifted,
        recorded=row.recorded,
    )
