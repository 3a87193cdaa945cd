"""The audit chain of the ledger: appended to in the transaction that records a row, so that there is neither alone.

What a digest leaves out: of a verification how it ended, which its events tell; of a consent the caller's words and the
prefix of an address, of a suppression the reason, of an inbound message the number, for an erasure takes them; of a
purge how many rows, which grows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, String, Table, cast, exists, func, insert, select, update

from otp_service.domain.events import GENESIS, ChainHead, Entry, digest_of
from otp_service.ledger.batches import batches
from otp_service.ledger.clock import now
from otp_service.ledger.database import Database
from otp_service.ledger.head import link_at
from otp_service.ledger.schema import (
    acts,
    audit,
    audit_heads,
    consents,
    erasures,
    events,
    head,
    inbound,
    purges,
    suppressions,
    verifications,
)

_LEFT_OUT: Final[Mapping[str, frozenset[str]]] = {
    verifications.name: frozenset({"status", "ended"}),
    events.name: frozenset(),
    consents.name: frozenset({"text_version", "source", "address_prefix"}),
    suppressions.name: frozenset({"reason"}),
    inbound.name: frozenset({"pseudonym"}),
    erasures.name: frozenset(),
    purges.name: frozenset({"count"}),
    acts.name: frozenset(),
}
"""Columns that a digest leaves out, by table."""
_UNLESS: Final[Mapping[str, tuple[ColumnElement[bool], ...]]] = {
    verifications.name: (verifications.c.pseudonym != "",),  # its start is still to be recorded
}
"""Rows that need no entry are left out by these."""
COVERED: Final[Mapping[str, Table]] = {
    table.name: table for table in (verifications, events, consents, suppressions, inbound, erasures, purges, acts)
}


_CHANGES: Final = (consents, suppressions, erasures)
"""The tables whose rows the mirror has to know."""


@dataclass(frozen=True, slots=True)
class Link:
    """An entry of the chain as it is kept, and what its row holds now."""

    entry: Entry
    link: str
    """As it is kept."""
    digest: str | None
    """Of its row now; ``None`` when the row is gone."""


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A head of the chain, and the signature under it."""

    head: ChainHead
    signature: str
    """Base64."""


class Audit:
    """The audit chain. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def head(self) -> ChainHead:
        """Return how far the chain has come by now."""
        with self._database.read() as connection:
            row = connection.execute(select(head)).one()
        return ChainHead(row.identity, row.audit, row.audit_link, now())

    def links(self, after: int, most: int) -> tuple[Link, ...]:
        """Return the next entries after one, in the order of their numbers, at most ``most``."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(audit).where(audit.c.sequence > after).order_by(audit.c.sequence).limit(most)
            ).all()
            found = _digests(connection, rows)
        return tuple(_link(row, found) for row in rows)

    def links_of(self, table: str, rows: Sequence[str]) -> tuple[Link, ...]:
        """Return the entries of some rows, oldest first."""
        entries: list[Any] = []
        with self._database.read() as connection:
            for some in batches(rows):
                wanted = select(audit).where(audit.c.table == table, audit.c.row.in_(some))
                entries += connection.execute(wanted.order_by(audit.c.sequence)).all()
            found = _digests(connection, entries)
        return tuple(sorted((_link(row, found) for row in entries), key=lambda one: one.entry.sequence))

    def link_at(self, sequence: int) -> str | None:
        """Return the link of an entry, `GENESIS` of number 0; ``None`` when it is not there."""
        with self._database.read() as connection:
            return link_at(connection, sequence) if sequence else GENESIS

    def sign(self, signed: SignedHead) -> bool:
        """Keep a signed head; tell whether none was kept of this place before."""
        row = {
            "sequence": signed.head.sequence,
            "ledger": signed.head.ledger,
            "link": signed.head.link,
            "at": signed.head.at,
            "signature": signed.signature,
            "exported": None,
        }
        statement = self._database.insert(audit_heads).values(row).on_conflict_do_nothing()
        with self._database.write() as connection:
            return connection.execute(statement.returning(audit_heads.c.sequence)).first() is not None

    def heads(self) -> tuple[SignedHead, ...]:
        """Return the signed heads, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(audit_heads).order_by(audit_heads.c.sequence)).all()
        return tuple(map(_signed, rows))

    def last_signed(self) -> SignedHead | None:
        """Return the last signed head."""
        with self._database.read() as connection:
            statement = select(audit_heads).order_by(audit_heads.c.sequence.desc()).limit(1)
            row = connection.execute(statement).one_or_none()
        return _signed(row) if row else None

    def unexported(self) -> tuple[SignedHead, ...]:
        """Return the signed heads that are still to be exported, oldest first."""
        with self._database.read() as connection:
            wanted = select(audit_heads).where(audit_heads.c.exported.is_(None)).order_by(audit_heads.c.sequence)
            return tuple(map(_signed, connection.execute(wanted)))

    def note_exported(self, sequence: int) -> None:
        """Note that a signed head was exported."""
        with self._database.write() as connection:
            connection.execute(update(audit_heads).where(audit_heads.c.sequence == sequence).values(exported=now()))

    def before(self, sequence: int) -> int | None:
        """Return the number of the first entry that is not after a place; ``None`` where there is none."""
        with self._database.read() as connection:
            return connection.execute(select(func.min(audit.c.sequence)).where(audit.c.sequence <= sequence)).scalar()

    def strangers(self, after: int, most: int) -> Mapping[str, tuple[str, ...]]:
        """Return rows that the chain has no entry of ``after`` a place, by table, at most ``most`` of each."""
        found = {}
        with self._database.read() as connection:
            for name, table in COVERED.items():
                (key,) = table.primary_key
                mine = (audit.c.table == name, audit.c.row == cast(key, String), audit.c.sequence > after)
                entry = exists().where(*mine)
                statement = select(key).where(~entry, *_UNLESS.get(name, ())).limit(most)
                found[name] = tuple(map(str, connection.execute(statement).scalars()))
        return found


def append(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append what was just recorded in a table; until the transaction ends nobody else appends."""
    if not rows:
        return
    at, (key,) = now(), table.primary_key
    entries = [Entry(0, at, table.name, str(row[key.key]), digest_of_row(table, row)) for row in rows]
    last, link = _append(connection, entries)
    if table in _CHANGES:
        connection.execute(update(head).values(changed=last, changed_link=link))


def carry_over(connection: Connection, entries: Iterable[Any]) -> None:
    """Append once more, as they are, the entries whose rows are still there: these entries are about to be deleted."""
    there = _digests(connection, entries)
    kept = [_entry(one) for one in entries if (one.table, one.row) in there]
    if kept:
        _append(connection, kept)


def _append(connection: Connection, entries: Sequence[Entry]) -> tuple[int, str]:
    """Append entries, numbered anew; return the last one's number and link."""
    counted = update(head).values(audit=head.c.audit + len(entries)).returning(head.c.audit, head.c.audit_link)
    last, link = connection.execute(counted).one()
    rows = []
    for sequence, entry in enumerate(entries, last - len(entries) + 1):
        numbered = replace(entry, sequence=sequence)
        link = numbered.link(link)
        rows.append({**asdict(numbered), "link": link})
    connection.execute(insert(audit), rows)
    connection.execute(update(head).values(audit_link=link))
    return last, link


def class_of(table: str) -> str | None:
    """Return the class of data of a table; ``None`` for one that the chain does not cover."""
    return next(iter(COVERED[table].columns)).info["class"] if table in COVERED else None


def digested(table: Table, row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return what the digest of a row is of."""
    left_out = _LEFT_OUT[table.name]
    return {column.key: row[column.key] for column in table.columns if column.key not in left_out}


def digest_of_row(table: Table, row: Mapping[Any, Any]) -> str:
    """Return the digest of a row."""
    return digest_of(digested(table, row))


def _digests(connection: Connection, entries: Iterable[Any]) -> dict[tuple[str, str], str]:
    """Return the digests of the rows that entries are of, as far as the rows are there, by table and key."""
    wanted: dict[str, list[str]] = {}
    for one in entries:
        wanted.setdefault(one.table, []).append(one.row)
    return {
        (name, row): digest
        for name, rows in wanted.items() if name in COVERED
        for row, digest in _of_table(connection, COVERED[name], rows)
    }  # fmt: skip


def _of_table(connection: Connection, table: Table, rows: Sequence[str]) -> Iterator[tuple[str, str]]:
    (key,) = table.primary_key
    kind = key.type.python_type
    for some in batches(rows):
        for row in connection.execute(select(table).where(key.in_(map(kind, some)))).mappings():
            yield str(row[key]), digest_of_row(table, row)


def _link(row: Any, found: Mapping[tuple[str, str], str]) -> Link:  # noqa: ANN401 - a row
    return Link(_entry(row), row.link, found.get((row.table, row.row)))


def _entry(row: Any) -> Entry:  # noqa: ANN401 - a row
    return Entry(row.sequence, row.at, row.table, row.row, row.digest)


def _signed(row: Any) -> SignedHead:  # noqa: ANN401 - a row
    return SignedHead(ChainHead(row.ledger, row.sequence, row.link, row.at), row.signature)
