"""The audit chain of the ledger: appended to in the transaction that records a row, so that there is neither alone.

What a digest leaves out: of a verification how it ended, which its events tell; of a consent the prefix of an address,
and of an inbound message the number, for an erasure takes them; of a purge the count, which grows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, String, Table, cast, exists, func, insert, select, update

from otp_service.core.chain import GENESIS, ChainHead, Entry, digest_of
from otp_service.ledger.batches import batches
from otp_service.ledger.clock import now
from otp_service.ledger.database import Database
from otp_service.ledger.purge_rules import TURN
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
    consents.name: frozenset({"address_prefix"}),
    suppressions.name: frozenset(),
    inbound.name: frozenset({"pseudonym"}),
    erasures.name: frozenset(),
    purges.name: frozenset({"count"}),
    acts.name: frozenset(),
}
"""Columns that a digest leaves out, by table."""
_MOMENTS: Final[Mapping[str, str]] = {
    verifications.name: "started",
    events.name: "at",
    consents.name: "recorded",
    suppressions.name: "recorded",
    inbound.name: "received",
    erasures.name: "at",
    purges.name: "at",
    acts.name: "at",
}
"""The columns that tell when a row was recorded, by table."""
_UNLESS: Final[Mapping[str, tuple[ColumnElement[bool], ...]]] = {
    verifications.name: (verifications.c.pseudonym != "",),  # its start is still to be recorded
    purges.name: (purges.c.id != TURN,),
}
"""Rows that need no entry are left out by these."""
COVERED: Final[Mapping[str, Table]] = {
    table.name: table for table in (verifications, events, consents, suppressions, inbound, erasures, purges, acts)
}


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
        if sequence == 0:
            return GENESIS
        with self._database.read() as connection:
            return connection.execute(select(audit.c.link).where(audit.c.sequence == sequence)).scalar()

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

    def strangers(self, first: int, most: int) -> Mapping[str, tuple[str, ...]]:
        """Return rows that the chain has no entry of, by table, at most ``most`` of each.

        Of those that are older than its ``first`` entry it has none any more.
        """
        found = {}
        with self._database.read() as connection:
            begun = connection.execute(select(audit.c.at).where(audit.c.sequence == first)).scalar() or 0
            for name, table in COVERED.items():
                (key,) = table.primary_key
                entry = exists().where(audit.c.table == name, audit.c.row == cast(key, String))
                lately = table.c[_MOMENTS[name]] >= (begun if first > 1 else 0)
                statement = select(key).where(lately, ~entry, *_UNLESS.get(name, ())).limit(most)
                found[name] = tuple(map(str, connection.execute(statement).scalars()))
        return found

    def purged_before(self) -> Mapping[str, int]:
        """Return the time before which rows may be gone, by table: the latest that a purge of their class had."""
        latest = select(purges.c.data, func.max(purges.c.before).label("until")).group_by(purges.c.data)
        with self._database.read() as connection:
            by_class = {row.data: row.until for row in connection.execute(latest)}
        return {name: by_class.get(_class_of(table), 0) for name, table in COVERED.items()}


def append(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append what was just recorded in a table; until the transaction ends nobody else appends."""
    if not rows:
        return
    counted = update(head).values(audit=head.c.audit + len(rows)).returning(head.c.audit, head.c.audit_link)
    last, link = connection.execute(counted).one()
    at, (key,) = now(), table.primary_key
    entries = []
    for sequence, row in enumerate(rows, last - len(rows) + 1):
        entry = Entry(sequence, at, table.name, str(row[key.key]), _digest(table, row))
        link = entry.link(link)
        entries.append({**asdict(entry), "link": link})
    connection.execute(insert(audit), entries)
    connection.execute(update(head).values(audit_link=link))


def digested(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the digest of a row is of."""
    left_out = _LEFT_OUT[table.name]
    return {column.key: row[column.key] for column in table.columns if column.key not in left_out}


def _digest(table: Table, row: Mapping[str, Any]) -> str:
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
            values = {column.key: row[column] for column in table.columns}
            yield str(values[key.key]), _digest(table, values)


def _class_of(table: Table) -> str:
    return str(next(iter(table.columns)).info["class"])


def _link(row: Any, found: Mapping[tuple[str, str], str]) -> Link:  # noqa: ANN401 - a row
    entry = Entry(row.sequence, row.at, row.table, row.row, row.digest)
    return Link(entry, row.link, found.get((row.table, row.row)))


def _signed(row: Any) -> SignedHead:  # noqa: ANN401 - a row
    return SignedHead(ChainHead(row.ledger, row.sequence, row.link, row.at), row.signature)
