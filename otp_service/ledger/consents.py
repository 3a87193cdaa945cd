"""The consents: entries that are never changed, only followed by another.

One that came with a start is recorded some time after it. It counts from the place that the ledger had come to at the
start: a withdrawal that was recorded in between is the later one of the two. A consent that was not given after all
that had been said before it says nothing new, and is not recorded: nobody agrees again by evidence that is sent again.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from otp_service.domain.people import Consent, Evidence, Place
from otp_service.errors import ConsentOutdatedError
from otp_service.ledger import audit, head
from otp_service.ledger.batches import batches
from otp_service.ledger.clock import now
from otp_service.ledger.database import Database
from otp_service.ledger.schema import consents

NOTHING = Evidence("", "", "", "", 0, "")
"""What a withdrawal shows."""
ORDER = (consents.c.counts_from, consents.c.sequence)
"""In which entries follow each other."""


class Consents:
    """What is kept of consents. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entry: Consent) -> tuple[Consent | None, Place]:
        """Record an entry; return it as it was recorded, ``None`` for the last word once more; and the ledger's place.

        Raises `ConsentOutdatedError` for a consent that was not given after the last word.
        """
        with self._database.write() as connection:
            return add(connection, entry)

    def of(self, pseudonym: str, application: str, purpose: str) -> tuple[Consent, ...]:
        """Return the entries of a number for a purpose, oldest first."""
        wanted = (
            (consents.c.pseudonym == pseudonym)
            & (consents.c.application == application)
            & (consents.c.purpose == purpose)
        )
        with self._database.read() as connection:
            rows = connection.execute(select(consents).where(wanted).order_by(*ORDER)).all()
        return tuple(map(entry_of, rows))


def add(connection: Connection, entry: Consent) -> tuple[Consent | None, Place]:
    """Do what `Consents.add` does, as a part of more."""
    recorded, place = record(connection, (entry,))
    if not recorded:
        last = _of_each(connection, (entry.pseudonym,))[entry.about][-1]
        if entry.evidence is None or last.evidence is None or not entry.evidence.repeats(last.evidence):
            raise ConsentOutdatedError("The person has said something since this consent was given.")
    return (recorded[0] if recorded else None), place


def first_seen(connection: Connection, entry: Consent) -> int:
    """Return when a consent was given, no later than it was recorded first: a caller's clock may be ahead of ours.

    For whichever purpose: it is no other evidence because it is shown for another one.
    """
    seen = (
        one.recorded
        for (_, application, _), entries in _of_each(connection, (entry.pseudonym,)).items()
        if application == entry.application
        for one in entries
        if entry.evidence and one.evidence and one.evidence.repeats(entry.evidence)
    )
    return min([entry.evidence.given if entry.evidence else 0, *seen])


def record(connection: Connection, entries: Sequence[Consent]) -> tuple[list[Consent], Place]:
    """Record the entries that say anything new; return them, and the place of the last one in the ledger."""
    last, recorded = head.advance(connection, 0), now()
    known, new = _of_each(connection, [one.pseudonym for one in entries]), list[Consent]()
    for entry in entries:
        stamped = _stamped(entry, last + len(new), recorded, known[entry.about])
        if stamped:
            known[entry.about].append(stamped)
            new.append(stamped)
    if new:
        rows = [_row(one, sequence) for sequence, one in enumerate(new, last + 1)]
        head.advance(connection, len(new))
        connection.execute(insert(consents), rows)
        audit.append(connection, consents, rows)
    return new, head.read(connection)


def _stamped(entry: Consent, place: int, recorded: int, known: Iterable[Consent]) -> Consent | None:
    """Return an entry as it is recorded next after a place; ``None`` when it says nothing new.

    A start that saw a place to come saw a ledger that was lost, and this is an older copy of it: nobody can tell what
    its consent came after, so everything else counts as later.
    """
    seen = entry.counts_from
    counts_from = place + 1 if seen is None else seen if seen <= place else 0
    before = [one.said for one in known if (one.counts_from or 0) <= counts_from]
    if entry.evidence is None:
        said = max(recorded, entry.said, *(one.said for one in known))
    elif any(entry.evidence.given <= one for one in before):
        return None
    else:
        said = entry.evidence.given
    return replace(entry, counts_from=counts_from, recorded=recorded, said=said)


def _row(entry: Consent, sequence: int) -> dict[str, Any]:
    evidence = entry.evidence or NOTHING
    return {
        "sequence": sequence,
        "pseudonym": entry.pseudonym,
        "application": entry.application,
        "purpose": entry.purpose,
        "withdrawn": entry.withdrawn,
        "counts_from": entry.counts_from,
        "recorded": entry.recorded,
        "text_version": evidence.text_version,
        "text_sha256": evidence.text_sha256,
        "locale": evidence.locale,
        "channel": evidence.channel,
        "given": entry.said,
        "source": evidence.source,
        "address_prefix": evidence.address_prefix,
    }


def _of_each(connection: Connection, pseudonyms: Sequence[str]) -> dict[tuple[str, str, str], list[Consent]]:
    """Return the entries of each number, application and purpose, oldest first."""
    found: dict[tuple[str, str, str], list[Consent]] = defaultdict(list)
    for some in batches(list(dict.fromkeys(pseudonyms))):
        wanted = select(consents).where(consents.c.pseudonym.in_(some)).order_by(*ORDER)
        for entry in map(entry_of, connection.execute(wanted)):
            found[entry.about].append(entry)
    return found


def last_of_each(connection: Connection, pseudonyms: Sequence[str]) -> list[Consent]:
    """Return the entry of each number, application and purpose that is in force, as said when the last of them was."""
    found = _of_each(connection, pseudonyms).values()
    return [replace(entries[-1], said=max(one.said for one in entries)) for entries in found if entries]


def entry_of(row: Row[Any]) -> Consent:
    """Return a row as an entry."""
    evidence = Evidence(
        text_version=row.text_version,
        text_sha256=row.text_sha256,
        locale=row.locale,
        channel=row.channel,
        given=row.given,
        source=row.source,
        address_prefix=row.address_prefix,
    )
    return Consent(
        pseudonym=row.pseudonym,
        application=row.application,
        purpose=row.purpose,
        evidence=None if row.withdrawn else evidence,
        counts_from=row.counts_from,
        recorded=row.recorded,
        said=row.given,
    )
