"""The consents: entries that are never changed, only followed by another.

One that came with a start is recorded some time after it. It counts from the place that the ledger had come to at the
start: a withdrawal that was recorded in between is the later one of the two.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from otp_service.core.consent import Consent, Evidence
from otp_service.ledger import audit, head
from otp_service.ledger.batches import batches
from otp_service.ledger.clock import now
from otp_service.ledger.database import Database
from otp_service.ledger.head import Head
from otp_service.ledger.schema import consents

NOTHING = Evidence("", "", "", "", 0, "")
"""What a withdrawal shows."""
ORDER = (consents.c.counts_from, consents.c.sequence)
"""In which entries follow each other."""


class Consents:
    """What is kept of consents. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entry: Consent) -> tuple[Consent, Head]:
        """Record an entry; return it with the time at which it was recorded, and its place in the ledger."""
        with self._database.write() as connection:
            (recorded, *_), place = record(connection, (entry,))
        return recorded, place

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


def record(connection: Connection, entries: Sequence[Consent]) -> tuple[list[Consent], Head]:
    """Record entries; return them with their time, and the place of the last one in the ledger."""
    last, recorded = head.advance(connection, len(entries)), now()
    first = last.sequence - len(entries) + 1
    rows = [
        {
            "sequence": first + position,
            "pseudonym": entry.pseudonym,
            "application": entry.application,
            "purpose": entry.purpose,
            "withdrawn": entry.withdrawn,
            "counts_from": _counts_from(entry, first + position),
            "recorded": recorded,
            **_columns(entry.evidence or NOTHING),
        }
        for position, entry in enumerate(entries)
    ]
    connection.execute(insert(consents), rows)
    audit.append(connection, consents, rows)
    stamped = [replace(one, recorded=recorded) for one in entries]
    return stamped, last


def _counts_from(entry: Consent, place: int) -> int:
    """Return the place from which on an entry counts.

    A start that saw a place to come saw a ledger that was lost, and this is an older copy of it: nobody can tell what
    its consent came after, so everything else counts as later.
    """
    if entry.counts_from is None:
        return place
    return entry.counts_from if entry.counts_from < place else 0


def last_of_each(connection: Connection, pseudonyms: Sequence[str]) -> list[Consent]:
    """Return the entry of each number, application and purpose that is in force."""
    last = {}
    for some in batches(pseudonyms):
        wanted = consents.c.pseudonym.in_(some)
        for row in connection.execute(select(consents).where(wanted).order_by(*ORDER)):
            last[row.pseudonym, row.application, row.purpose] = entry_of(row)
    return list(last.values())


def _columns(evidence: Evidence) -> dict[str, Any]:
    return {
        "text_version": evidence.text_version,
        "text_sha256": evidence.text_sha256,
        "locale": evidence.locale,
        "channel": evidence.channel,
        "given": evidence.given,
        "source": evidence.source,
        "address_prefix": evidence.address_prefix,
    }


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
    )
