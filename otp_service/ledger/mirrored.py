"""What the mirror in Redis has to know: the state of numbers, and which of them changed since a place in the ledger."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, select, union, union_all

from otp_service.core.mirrored import Changes, Mirrored
from otp_service.core.suppression import KEEPS_CODES_BACK, SuppressionScope
from otp_service.ledger import consents as consent_entries
from otp_service.ledger import head
from otp_service.ledger import suppressions as suppression_entries
from otp_service.ledger.database import Database
from otp_service.ledger.head import Head
from otp_service.ledger.schema import consents, suppressions


class MirroredNumbers:
    """The ledger as its mirror sees it. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def head(self) -> Head:
        """Return how far the ledger has come."""
        with self._database.read() as connection:
            return head.read(connection)

    def disown(self, place: int = 0) -> None:
        """Take the ledger for another one, which goes on after a ``place``, where the mirror of the old one is."""
        with self._database.write() as connection:
            head.rename(connection, place)

    def states(self, pseudonyms: Sequence[str]) -> Changes:
        """Return the state of some numbers, and how far the ledger had come by then."""
        with self._database.read() as connection:
            place = head.read(connection)
            return Changes(place.identity, place.sequence, place.sequence, _states(connection, pseudonyms))

    def since(self, sequence: int, most: int) -> Changes:
        """Return what the next changes after a place have led to, at most ``most`` of them."""
        changed = union_all(
            select(suppressions.c.sequence, suppressions.c.pseudonym).where(
                suppressions.c.sequence > sequence, suppressions.c.scope.in_(KEEPS_CODES_BACK)
            ),
            select(consents.c.sequence, consents.c.pseudonym).where(consents.c.sequence > sequence),
        ).subquery()
        with self._database.read() as connection:
            place = head.read(connection)
            rows = connection.execute(select(changed).order_by(changed.c.sequence).limit(most)).all()
            upto = rows[-1].sequence if len(rows) == most else place.sequence
            numbers = _states(connection, list(dict.fromkeys(row.pseudonym for row in rows)))
            return Changes(place.identity, upto, place.sequence, numbers)

    def after(self, pseudonym: str, most: int) -> Changes:
        """Return the state of the next numbers after one in the order of their pseudonyms, at most ``most``."""
        with self._database.read() as connection:
            place = head.read(connection)
            some = connection.execute(_numbers_after(pseudonym, most)).scalars().all()
            return Changes(place.identity, place.sequence, place.sequence, _states(connection, some))


def _numbers_after(pseudonym: str, most: int) -> Select[Any]:
    """Return the statement for the next numbers; each table is read no further than that takes."""
    mine, given = suppressions.c.pseudonym, consents.c.pseudonym
    suppressed = select(mine).where(mine > pseudonym, suppressions.c.scope.in_(KEEPS_CODES_BACK))
    consented = select(given).where(given > pseudonym)
    parts = [
        part.distinct().order_by(part.selected_columns[0]).limit(most).subquery() for part in (suppressed, consented)
    ]
    known = union(*(select(part.c.pseudonym) for part in parts)).subquery()
    return select(known.c.pseudonym).order_by(known.c.pseudonym).limit(most)


def _states(connection: Connection, pseudonyms: Sequence[str]) -> tuple[Mirrored, ...]:
    suppressed: dict[str, dict[str, int | None]] = defaultdict(dict)
    frozen: dict[str, set[str]] = defaultdict(set)
    for entry in suppression_entries.latest(connection, pseudonyms):
        if entry.scope is SuppressionScope.ALL:
            suppressed[entry.pseudonym][entry.application] = entry.until
        elif entry.scope is SuppressionScope.FROZEN:
            frozen[entry.pseudonym].add(entry.application)
    given: dict[str, dict[tuple[str, str], tuple[bool, int, int]]] = defaultdict(dict)
    for consent in consent_entries.last_of_each(connection, pseudonyms):
        place = consent.counts_from or 0
        given[consent.pseudonym][consent.application, consent.purpose] = (not consent.withdrawn, place, consent.said)
    lifted = suppression_entries.lifted_freezes(connection, pseudonyms)
    return tuple(
        Mirrored(one, suppressed[one], given[one], frozenset(frozen[one]), lifted.get(one, {})) for one in pseudonyms
    )
