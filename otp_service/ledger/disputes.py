"""What a dispute asks for: everything that was recorded of some verifications, each row with its place in the chain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, select

from otp_service.domain.events import GENESIS, Entry
from otp_service.domain.people import EVERY_APPLICATION
from otp_service.ledger.audit import digested
from otp_service.ledger.batches import batches
from otp_service.ledger.database import Database
from otp_service.ledger.schema import audit, consents, events, suppressions, verifications

MOST: Final = 1000
"""Verifications of one pack."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which verifications a dispute is about: those to which all of it applies."""

    verification: str | None = None
    payment: str | None = None
    """Name of a payment, or of its reference (`Keyring.payment_names`)."""
    pseudonym: str | None = None
    application: str | None = None
    since: int | None = None
    """Started at this time or later, and before ``until``: milliseconds since the epoch."""
    until: int | None = None

    def condition(self) -> ColumnElement[bool]:
        """Return it as a condition on verifications."""
        columns = verifications.c
        named = {"id": self.verification, "pseudonym": self.pseudonym, "application": self.application}
        parts = [columns[name] == value for name, value in named.items() if value is not None]
        if self.payment is not None:
            parts.append((columns.payment == self.payment) | (columns.payment_reference == self.payment))
        if self.since is not None:
            parts.append(columns.started >= self.since)
        if self.until is not None:
            parts.append(columns.started < self.until)
        return and_(*parts)


@dataclass(frozen=True, slots=True)
class Proven:
    """A row, as the chain has a digest of it."""

    row: Mapping[str, Any]
    """Its columns, but for what an erasure takes."""
    table: str
    entry: Entry | None
    """``None`` when the chain has none of it: that is a flaw."""
    before: str
    """The link before the entry; empty where it is not there any more."""
    link: str


class Disputes:
    """What is recorded, to be shown to others. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, wanted: Wanted) -> tuple[Proven, ...]:
        """Return the rows of the verifications that are wanted: theirs, their events, and what the number said.

        At most `MOST` verifications, the oldest first.
        """
        with self._database.read() as connection:
            statement = select(verifications).where(wanted.condition()).order_by(verifications.c.started).limit(MOST)
            found = connection.execute(statement).mappings().all()
            rows: list[tuple[Table, Mapping[Any, Any]]] = [(verifications, row) for row in found]
            for some in batches([row["id"] for row in found]):
                mine = select(events).where(events.c.verification.in_(some)).order_by(events.c.at, events.c.id)
                rows += [(events, row) for row in connection.execute(mine).mappings()]
            rows += _of_numbers(connection, found)
            return tuple(_proven(connection, rows))


def _of_numbers(connection: Connection, found: Sequence[Mapping[Any, Any]]) -> list[tuple[Table, Mapping[Any, Any]]]:
    """Return the consents and suppressions of the numbers at the applications."""
    rows: list[tuple[Table, Mapping[Any, Any]]] = []
    for pseudonym, application in dict.fromkeys((row["pseudonym"], row["application"]) for row in found):
        for table in (consents, suppressions):
            whose = table.c.application.in_((application, EVERY_APPLICATION))
            mine = select(table).where(table.c.pseudonym == pseudonym, whose).order_by(table.c.sequence)
            rows += [(table, row) for row in connection.execute(mine).mappings()]
    unique = {(table.name, row["sequence"]): (table, row) for table, row in rows}
    return list(unique.values())


def _proven(connection: Connection, rows: Sequence[tuple[Table, Mapping[Any, Any]]]) -> list[Proven]:
    names = [(table.name, str(row[next(iter(table.primary_key)).key])) for table, row in rows]
    entries: dict[tuple[str, str], Any] = {}
    for table in dict.fromkeys(table for table, _ in names):
        for some in batches([name for kind, name in names if kind == table]):
            mine = select(audit).where(audit.c.table == table, audit.c.row.in_(some))
            entries |= {(one.table, one.row): one for one in connection.execute(mine)}
    links: dict[int, str] = {0: GENESIS}
    for some in batches([one.sequence - 1 for one in entries.values()]):
        mine = select(audit.c.sequence, audit.c.link).where(audit.c.sequence.in_(some))
        links |= {one.sequence: one.link for one in connection.execute(mine)}
    return [_one(table, row, entries.get(name), links) for (table, row), name in zip(rows, names, strict=True)]


def _one(table: Table, row: Mapping[Any, Any], entry: Any, links: Mapping[int, str]) -> Proven:  # noqa: ANN401 - a row
    values = digested(table, row)
    if entry is None:
        return Proven(values, table.name, None, "", "")
    made = Entry(entry.sequence, entry.at, entry.table, entry.row, entry.digest)
    return Proven(values, table.name, made, links.get(entry.sequence - 1, ""), entry.link)
