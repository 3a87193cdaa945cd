"""What the mirror in Redis has to know: the state of numbers, and which of them changed since a place in the ledger."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, select, union, union_all, update

from otp_service.domain.people import KEEPS_CODES_BACK, Changes, Mirrored, Place, SuppressionScope
from otp_service.ledger import consents as consent_entries
from otp_service.ledger import head
from otp_service.ledger import suppressions as suppression_entries
from otp_service.ledger.database import Database
from otp_service.ledger.schema import audit, consents, suppressions
from otp_service.ledger.schema import head as head_table


class MirroredNumbers:
    """The ledger as its mirror sees it. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def head(self) -> Place:
        """Return how far the ledger has come."""
        with self._database.read() as connection:
            return head.read(connection)

    def has(self, place: Place) -> bool:
        """Tell whether a place is in the history of this ledger."""
        with self._database.read() as connection:
            return head.has(connection, place)

    def disown(self, sequence: int = 0) -> None:
        """Take the ledger for another one, without a mirror; its changes go on after a number."""
        with self._database.write() as connection:
            head.rename(connection, sequence)

    def was_mirrored(self) -> bool:
        """Tell whether a mirror of this ledger was ever complete."""
        with self._database.read() as connection:
            return bool(head.row(connection).mirrored)

    def note_mirrored(self) -> None:
        """Note that there is a complete mirror."""
        with self._database.write() as connection:
            connection.execute(update(head_table).values(mirrored=True))

    def since(self, place: Place, most: int) -> Changes | None:
        """Return what the next changes after a place have led to, at most ``most`` of them.

        ``None`` when the place is not in the history of this ledger.
        """
        changed = union_all(
            select(suppressions.c.sequence, suppressions.c.pseudonym).where(
                suppressions.c.sequence > place.sequence, suppressions.c.scope.in_(KEEPS_CODES_BACK)
            ),
            select(consents.c.sequence, consents.c.pseudonym).where(consents.c.sequence > place.sequence),
        ).subquery()
        with self._database.read() as connection:
            if not head.has(connection, place):
                return None
            last = head.read(connection)
            rows = connection.execute(select(changed).order_by(changed.c.sequence).limit(most)).all()
            upto = _place_of(connection, last, rows[-1].sequence) if len(rows) == most else last
            numbers = _states(connection, list(dict.fromkeys(row.pseudonym for row in rows)))
            return Changes(place, upto, last.sequence, numbers)

    def all_after(self, pseudonym: str, most: int, place: Place) -> Changes | None:
        """Return the state of the next numbers after one in the order of their pseudonyms, at most ``most``.

        ``None`` when a place is not in the history of this ledger.
        """
        with self._database.read() as connection:
            if not head.has(connection, place):
                return None
            some = connection.execute(_numbers_after(pseudonym, most)).scalars().all()
            return Changes(place, place, head.read(connection).sequence, _states(connection, some))

    def count(self) -> int:
        """Return how many numbers the mirror has to know of."""
        suppressed = select(suppressions.c.pseudonym).where(suppressions.c.scope.in_(KEEPS_CODES_BACK))
        known = union(suppressed, select(consents.c.pseudonym)).subquery()
        with self._database.read() as connection:
            return connection.execute(select(func.count()).select_from(known)).scalar_one()


def _place_of(connection: Connection, last: Place, sequence: int) -> Place:
    """Return the place of a change, by its entry in the audit chain."""
    mine = select(audit.c.sequence, audit.c.link).where(
        audit.c.table.in_((suppressions.name, consents.name)), audit.c.row == str(sequence)
    )
    entry = connection.execute(mine.order_by(audit.c.sequence.desc()).limit(1)).one()
    return Place(last.identity, sequence, entry.sequence, entry.link)


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
