"""How much there is in the ledger."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import func, literal, select

from otp_service.ledger.database import Database
from otp_service.ledger.schema import METADATA

MOST: Final = 1_000_000
"""To count more would take long; that there are more is told by one more."""


def counts(database: Database) -> Mapping[str, int]:
    """Return the number of rows of each table, at most one more than `MOST`; raise `LedgerUnavailableError`."""
    with database.read() as connection:
        found = {}
        for table in METADATA.sorted_tables:
            some = select(literal(1)).select_from(table).limit(MOST + 1).subquery()
            found[table.name] = int(connection.execute(select(func.count()).select_from(some)).scalar_one())
    return found
