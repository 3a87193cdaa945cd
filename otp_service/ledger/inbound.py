"""The messages that people wrote back: from whom, to which application, and what they meant; never their texts."""

from collections.abc import Collection

from sqlalchemy import Connection, select

from otp_service.domain.people import Meaning, Suppression, SuppressionSource
from otp_service.ledger import audit
from otp_service.ledger.clock import now
from otp_service.ledger.database import Database
from otp_service.ledger.schema import inbound
from otp_service.ledger.suppressions import Added, lift_of


class Inbound:
    """What is kept of inbound messages. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self, name: str) -> bool:
        """Tell whether a message is recorded already."""
        with self._database.read() as connection:
            return connection.execute(select(inbound.c.id).where(inbound.c.id == name)).first() is not None

    def record(self, name: str, pseudonym: str, application: str, gateway: str, meaning: Meaning) -> bool:
        """Record a message under its name; return whether it is new.

        ``application`` is the one that it answered, empty when that is not known.
        """
        with self._database.write() as connection:
            return self._insert(connection, name, pseudonym, application, gateway, meaning)

    def record_start(
        self, name: str, gateway: str, entry: Suppression, sources: Collection[SuppressionSource]
    ) -> tuple[bool, Added | None]:
        """Record a message that asks for messages again, and lift what comes from some sources, both or neither.

        Returns whether it is new, and what that has led to (`lift_of`): a repetition lifts nothing, however late.
        """
        with self._database.write() as connection:
            if not self._insert(connection, name, entry.pseudonym, entry.application, gateway, Meaning.START):
                return False, None
            return True, lift_of(connection, entry, sources)

    def _insert(
        self, connection: Connection, name: str, pseudonym: str, application: str, gateway: str, meaning: Meaning
    ) -> bool:
        row = {
            "id": name,
            "pseudonym": pseudonym,
            "application": application,
            "gateway": gateway,
            "meaning": meaning,
            "received": now(),
        }
        statement = self._database.insert(inbound).values(row).on_conflict_do_nothing().returning(inbound.c.id)
        is_new = connection.execute(statement).first() is not None
        if is_new:
            audit.append(connection, inbound, [row])
        return is_new
