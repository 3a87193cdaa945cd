"""The applications that are not in the configuration. One is changed, and never deleted.

What was recorded under its name stays, and would be taken for another's who got the name later.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from otp_service.domain.people import Act, ActEntry
from otp_service.errors import NameTakenError
from otp_service.ledger import head
from otp_service.ledger.acts import record
from otp_service.ledger.clock import now
from otp_service.ledger.database import Database
from otp_service.ledger.schema import applications


@dataclass(frozen=True, slots=True)
class StoredApplication:
    """An application as it is kept. Times are milliseconds since the epoch."""

    name: str
    settings: str
    """Its section as in a configuration file, without keys: JSON."""
    created: int
    changed: int


class Applications:
    """What is kept of applications. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, settings: str, by: str) -> StoredApplication:
        """Keep a new application; raise `NameTakenError` when there is one of the name. ``by`` says who does it."""
        with self._database.write() as connection:
            head.advance_access(connection)
            if _named(connection, name):
                raise NameTakenError("There is an application of this name.")
            made = now()
            record(connection, ActEntry(Act.APPLICATION_ADDED, by, name))
            connection.execute(insert(applications).values(name=name, settings=settings, created=made, changed=made))
        return StoredApplication(name, settings, made, made)

    def change(self, name: str, settings: str, by: str) -> StoredApplication | None:
        """Give an application other settings; return it, ``None`` when there is none of the name."""
        with self._database.write() as connection:
            head.advance_access(connection)
            statement = update(applications).where(applications.c.name == name)
            if connection.execute(statement.values(settings=settings, changed=now())).rowcount:
                record(connection, ActEntry(Act.APPLICATION_CHANGED, by, name))
            return _named(connection, name)

    def named(self, name: str) -> StoredApplication | None:
        """Return an application by its name."""
        with self._database.read() as connection:
            return _named(connection, name)

    def all(self) -> tuple[StoredApplication, ...]:
        """Return all, by name."""
        with self._database.read() as connection:
            return every(connection)


def every(connection: Connection) -> tuple[StoredApplication, ...]:
    """Return all applications that are kept, by name."""
    return tuple(map(_stored, connection.execute(select(applications).order_by(applications.c.name))))


def _named(connection: Connection, name: str) -> StoredApplication | None:
    row = connection.execute(select(applications).where(applications.c.name == name)).one_or_none()
    return _stored(row) if row else None


def _stored(row: Row[Any]) -> StoredApplication:
    return StoredApplication(row.name, row.settings, row.created, row.changed)
