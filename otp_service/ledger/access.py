"""Applications and keys together, as processes hold them in memory: read again only when one has changed."""

from dataclasses import dataclass

from otp_service.domain.applications import ApiKey
from otp_service.ledger import api_keys, applications, head
from otp_service.ledger.applications import StoredApplication
from otp_service.ledger.database import Database


@dataclass(frozen=True, slots=True)
class Listing:
    """All that the ledger lets in."""

    state: str
    """Names what the listing tells: another one after each change."""
    applications: tuple[StoredApplication, ...]
    keys: tuple[ApiKey, ...]
    """Those that are not revoked."""


class Access:
    """Who may call. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def changed_since(self, state: str) -> Listing | None:
        """Return all applications and keys; ``None`` when they are as they were in a ``state``, which costs little."""
        with self._database.read() as connection:
            found = head.access(connection)
            if found == state:
                return None
            return Listing(found, applications.every(connection), api_keys.current(connection))
