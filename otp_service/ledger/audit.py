"""The audit log: a signed chain of entries, disputes, operator actions, incident counts."""

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    Table,
    and_,
    cast,
    exists,
    func,
    insert,
    select,
    true,
    update,
)

from otp_service.clock import now
from otp_service.domain.audit import GENESIS, GONE, ChainEntry, ChainHead, OperatorActionEntry, digest_of
from otp_service.domain.consents import EVERY_APPLICATION
from otp_service.errors import OtpServiceError
from otp_service.ledger.database import Database, add_rows, among, find_rows, in_batches, link_at
from otp_service.ledger.partitions import PARTITIONED, near
from otp_service.ledger.schema import (
    api_keys,
    applications,
    audit,
    audit_heads,
    consents,
    console_users,
    endpoints,
    erasures,
    events,
    factor_changes,
    factors,
    head,
    inbound,
    looks,
    operator_actions,
    proof_keys,
    purges,
    recovery_codes,
    second_person_requests,
    suppressions,
    verifications,
)

# What a digest leaves out: of a verification how it ended, which its events tell, and what only stats need; of a
# consent the caller's words and the prefix of an address, of a suppression, a look and a request the reason, of an
# inbound message the number, for an erasure takes them; of a purge how many rows, which grows; of a request what a
# second person decided; of what lets somebody in when it was used last, of a user or factor the last step that was
# accepted, of a factor the label, of an endpoint how it fares: that changes often, or lets nobody in.

_LEFT_OUT: Final[Mapping[str, frozenset[str]]] = {
    verifications.name: frozenset({"status", "ended", "channel", "number_prefix", "standing"}),
    events.name: frozenset(),
    consents.name: frozenset({"text_version", "source", "address_prefix"}),
    suppressions.name: frozenset({"reason"}),
    inbound.name: frozenset({"pseudonym"}),
    factor_changes.name: frozenset(),
    erasures.name: frozenset(),
    purges.name: frozenset({"count"}),
    operator_actions.name: frozenset(),
    looks.name: frozenset({"reason"}),
    second_person_requests.name: frozenset({"reason", "decided", "decided_by", "outcome"}),
    applications.name: frozenset(),
    api_keys.name: frozenset({"used"}),
    console_users.name: frozenset({"last_step", "used"}),
    endpoints.name: frozenset({"failing_since", "latency", "sequence"}),
    factors.name: frozenset({"last_step", "used", "label"}),
    recovery_codes.name: frozenset(),
    proof_keys.name: frozenset(),
}
"""Columns that a digest leaves out, by table."""
CHANGING: Final = frozenset(
    table.name for table in (applications, api_keys, console_users, endpoints, factors, recovery_codes, proof_keys)
)
"""Tables of what lets somebody in. Their rows change: each change has an entry, and the last one of a row counts."""
_UNLESS: Final[Mapping[str, tuple[ColumnElement[bool], ...]]] = {
    verifications.name: (verifications.c.pseudonym != "",),  # its start is still to be recorded
}
"""Rows that need no entry are left out by these."""
COVERED: Final[Mapping[str, Table]] = {
    table.name: table
    for table in (
        *(verifications, events, consents, suppressions, inbound, factor_changes),
        *(erasures, purges, operator_actions, looks, second_person_requests),
        *(applications, api_keys, console_users, endpoints, factors, recovery_codes, proof_keys),
    )
}


_CHANGES: Final = (consents, suppressions, factor_changes, erasures)
"""The tables whose rows the mirror has to know."""


@dataclass(frozen=True, slots=True)
class ChainLink:
    """An entry of the chain as it is kept, and what its row holds now."""

    entry: ChainEntry
    link: str
    """As it is kept."""
    digest: str | None
    """Of its row now; ``None`` when the row is gone."""
    is_last: bool = True
    """Whether no other entry of its row follows."""


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

    def links(self, after: int, most: int) -> tuple[ChainLink, ...]:
        """Return the next entries after one, in the order of their numbers, at most ``most``."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(audit).where(audit.c.sequence > after).order_by(audit.c.sequence).limit(most)
            ).all()
            found, last = _digests(connection, rows), _last_entries(connection, rows)
        return tuple(replace(_link(row, found), is_last=_is_last(row, last)) for row in rows)

    def links_of(self, table: str, rows: Sequence[str]) -> tuple[ChainLink, ...]:
        """Return the entries of some rows, oldest first."""
        entries: list[Any] = []
        with self._database.read() as connection:
            for some in in_batches(rows):
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

    def unlinked_rows(self, after: int, most: int) -> Mapping[str, tuple[str, ...]]:
        """Return rows that the chain has no entry of ``after`` a place, by table, at most ``most`` of each."""
        found = {}
        with self._database.read() as connection:
            for name, table in COVERED.items():
                key = row_key(table)
                mine = (audit.c.table == name, audit.c.row == cast(key, String), audit.c.sequence > after)
                entry = exists().where(*mine)
                statement = select(key).where(~entry, *_UNLESS.get(name, ())).limit(most)
                found[name] = tuple(map(str, connection.execute(statement).scalars()))
        return found


def append_entry(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append what was just recorded in a table; until the transaction ends nobody else appends."""
    if not rows:
        return
    at, key = now(), row_key(table)
    entries = [ChainEntry(0, at, table.name, str(row[key.key]), digest_of_row(table, row)) for row in rows]
    last, link = _append(connection, entries)
    if table in _CHANGES:
        connection.execute(update(head).values(changed=last, changed_link=link))


def append_state(connection: Connection, table: Table, rows: Collection[str | int]) -> None:
    """Append what some rows of one of the `CHANGING` tables hold now, or that they are gone.

    ``rows`` are their keys (`row_key`).
    """
    digests: dict[str | int, str] = {}
    key, at = row_key(table), now()
    for mine in among(connection, key, rows):
        for row in connection.execute(select(table).where(mine)).mappings():
            digests[row[key]] = digest_of_row(table, row)
    if rows:
        _append(connection, [ChainEntry(0, at, table.name, str(row_id), digests.get(row_id, GONE)) for row_id in rows])


def carry_over(connection: Connection, entries: Sequence[Any]) -> None:
    """Append once more, as they are, the entries whose rows are still there: these entries are about to be deleted."""
    there, last = _digests(connection, entries), _last_entries(connection, entries)
    kept = [_entry(one) for one in entries if (one.table, one.row) in there and _is_last(one, last)]
    if kept:
        _append(connection, kept)


def _last_entries(connection: Connection, entries: Iterable[Any]) -> dict[tuple[str, str], int]:
    """Return the numbers of the last entries of the rows that may have several, by table and key."""
    sequences: dict[tuple[str, str], int] = {}
    rows: dict[str, set[str]] = {}
    for entry in entries:
        if entry.table in CHANGING:
            rows.setdefault(entry.table, set()).add(entry.row)
    last = func.max(audit.c.sequence)
    for table, names in rows.items():
        for mine in among(connection, audit.c.row, names):
            statement = select(audit.c.row, last).where(audit.c.table == table, mine).group_by(audit.c.row)
            sequences |= {(table, row): int(sequence) for row, sequence in connection.execute(statement)}
    return sequences


def _is_last(entry: Any, last: Mapping[tuple[str, str], int]) -> bool:  # noqa: ANN401 - a row
    return bool(last.get((entry.table, entry.row), entry.sequence) == entry.sequence)


def _append(connection: Connection, entries: Sequence[ChainEntry]) -> tuple[int, str]:
    """Append entries, numbered anew; return the last one's number and link."""
    counted = update(head).values(audit=head.c.audit + len(entries)).returning(head.c.audit, head.c.audit_link)
    last, link = connection.execute(counted).one()
    rows = []
    for sequence, entry in enumerate(entries, last - len(entries) + 1):
        at, table, row, digest = entry.at, entry.table, entry.row, entry.digest
        link = ChainEntry(sequence, at, table, row, digest).link(link)
        rows.append({"sequence": sequence, "at": at, "table": table, "row": row, "digest": digest, "link": link})
    add_rows(connection, audit, rows)
    connection.execute(update(head).values(audit_link=link))
    return last, link


def row_key(table: Table) -> Column[Any]:
    """Return the column by which the chain names the rows of a table.

    Entries outlive rows, so it must tell nothing of a person: a factor's identifier has the user's pseudonym in it.
    """
    if table is factors:
        return factors.c.place
    (key,) = table.primary_key
    return key


def class_of(table: str) -> str | None:
    """Return the class of data of a table; ``None`` for one that the chain does not cover."""
    return COVERED[table].info["class"] if table in COVERED else None


def digest_columns(table: Table, row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return what the digest of a row is of."""
    return {name: row[name] for name in _digested(table)}


@cache
def _digested(table: Table) -> tuple[str, ...]:
    return tuple(column.key for column in table.columns if column.key not in _LEFT_OUT[table.name])


def digest_of_row(table: Table, row: Mapping[Any, Any]) -> str:
    """Return the digest of a row."""
    return digest_of(digest_columns(table, row))


def _digests(connection: Connection, entries: Iterable[Any]) -> dict[tuple[str, str], str]:
    """Return the digests of the rows that entries are of, as far as the rows are there, by table and key."""
    wanted: dict[str, list[Any]] = {}
    for one in entries:
        wanted.setdefault(one.table, []).append(one)
    return {
        (name, row): digest
        for name, some in wanted.items() if name in COVERED
        for row, digest in _of_table(connection, COVERED[name], some)
    }  # fmt: skip


def _of_table(connection: Connection, table: Table, entries: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Yield keys and digests of rows; those in partitions are looked for when they were recorded, or shortly before.

    Elsewhere only such are that were recorded late, and so after the oldest row.
    """
    key = row_key(table)
    recorded = {key.type.python_type(one.row): one.at for one in entries}
    then: ColumnElement[bool] = true()
    late = set(recorded)
    if (moment := PARTITIONED.get(table.name)) is not None:
        then = near(moment, recorded.values())
        oldest = connection.execute(select(func.min(moment))).scalar()
        late = {row for row, at in recorded.items() if oldest is not None and at >= oldest}
    for row in find_rows(connection, select(table), key, recorded, then, late):
        yield str(row[key]), digest_of_row(table, row)


def _link(row: Any, found: Mapping[tuple[str, str], str]) -> ChainLink:  # noqa: ANN401 - a row
    return ChainLink(_entry(row), row.link, found.get((row.table, row.row)))


def _entry(row: Any) -> ChainEntry:  # noqa: ANN401 - a row
    return ChainEntry(row.sequence, row.at, row.table, row.row, row.digest)


def _signed(row: Any) -> SignedHead:  # noqa: ANN401 - a row
    return SignedHead(ChainHead(row.ledger, row.sequence, row.link, row.at), row.signature)


MAX_VERIFICATIONS: Final = 1000
"""Verifications in one dispute pack at most."""


@dataclass(frozen=True, slots=True)
class DisputeFilter:
    """A filter for the verifications of a dispute; every member that is set has to match."""

    verification: str | None = None
    payment: str | None = None
    """Name of a payment, or of its reference (`Keyring.payment_names`)."""
    pseudonym: str | None = None
    application: str | None = None
    since: int | None = None
    """Started at this time or later, and before ``until``: milliseconds since the epoch."""
    until: int | None = None

    def condition(self) -> ColumnElement[bool]:
        """Return it as a condition on verifications."""
        columns = verifications.c
        named = {"id": self.verification, "pseudonym": self.pseudonym, "application": self.application}
        parts = [columns[name] == value for name, value in named.items() if value is not None]
        if self.payment is not None:
            parts.append((columns.payment == self.payment) | (columns.payment_reference == self.payment))
        if self.since is not None:
            parts.append(columns.started >= self.since)
        if self.until is not None:
            parts.append(columns.started < self.until)
        return and_(*parts)


@dataclass(frozen=True, slots=True)
class ProvenRow:
    """A row, as the chain has a digest of it."""

    row: Mapping[str, Any]
    """Its columns, but for what an erasure takes."""
    table: str
    entry: ChainEntry | None
    """``None`` when the chain has none of it: that is a flaw."""
    before: str
    """The link before the entry; empty where it is not there any more."""
    link: str


class Disputes:
    """Records for disputes, with their proofs. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, wanted: DisputeFilter) -> tuple[ProvenRow, ...]:
        """Return the rows of the ``wanted`` verifications, of their events, and of messages and consents of the number.

        At most `MAX_VERIFICATIONS` verifications, the oldest first.
        """
        statement = (
            select(verifications).where(wanted.condition()).order_by(verifications.c.started).limit(MAX_VERIFICATIONS)
        )
        with self._database.read() as connection:
            found = connection.execute(statement).mappings().all()
            rows: list[tuple[Table, Mapping[Any, Any]]] = [(verifications, row) for row in found]
            for some in in_batches([row["id"] for row in found]):
                mine = select(events).where(events.c.verification.in_(some)).order_by(events.c.at, events.c.id)
                rows += [(events, row) for row in connection.execute(mine).mappings()]
            rows += _of_numbers(connection, found)
            return tuple(_with_proofs(connection, rows))


def _of_numbers(connection: Connection, found: Sequence[Mapping[Any, Any]]) -> list[tuple[Table, Mapping[Any, Any]]]:
    """Return the consents and suppressions of the numbers at the applications."""
    rows: list[tuple[Table, Mapping[Any, Any]]] = []
    for pseudonym, application in dict.fromkeys((row["pseudonym"], row["application"]) for row in found):
        for table in (consents, suppressions):
            whose = table.c.application.in_((application, EVERY_APPLICATION))
            mine = select(table).where(table.c.pseudonym == pseudonym, whose).order_by(table.c.sequence)
            rows += [(table, row) for row in connection.execute(mine).mappings()]
    unique = {(table.name, row["sequence"]): (table, row) for table, row in rows}
    return list(unique.values())


def _with_proofs(connection: Connection, rows: Sequence[tuple[Table, Mapping[Any, Any]]]) -> list[ProvenRow]:
    names = [(table.name, str(row[next(iter(table.primary_key)).key])) for table, row in rows]
    entries: dict[tuple[str, str], Any] = {}
    for table in dict.fromkeys(table for table, _ in names):
        for some in in_batches([name for kind, name in names if kind == table]):
            mine = select(audit).where(audit.c.table == table, audit.c.row.in_(some))
            entries |= {(one.table, one.row): one for one in connection.execute(mine)}
    links: dict[int, str] = {0: GENESIS}
    for some in in_batches([one.sequence - 1 for one in entries.values()]):
        mine = select(audit.c.sequence, audit.c.link).where(audit.c.sequence.in_(some))
        links |= {one.sequence: one.link for one in connection.execute(mine)}
    return [_proven_row(table, row, entries.get(name), links) for (table, row), name in zip(rows, names, strict=True)]


def _proven_row(table: Table, row: Mapping[Any, Any], entry: Any, links: Mapping[int, str]) -> ProvenRow:  # noqa: ANN401 - a row
    values = digest_columns(table, row)
    if entry is None:
        return ProvenRow(values, table.name, None, "", "")
    made = ChainEntry(entry.sequence, entry.at, entry.table, entry.row, entry.digest)
    return ProvenRow(values, table.name, made, links.get(entry.sequence - 1, ""), entry.link)


_LONGEST_NAME = 64


class _NothingDoneError(Exception):
    """Takes a transaction back."""


class OperatorActions:
    """Recorded operator actions. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, operator_action: OperatorActionEntry) -> OperatorActionEntry:
        """Record an action; return it with its time."""
        with self._database.write() as connection:
            return record_action(connection, operator_action)

    def perform(self, operator_action: OperatorActionEntry, do: Callable[[], int]) -> int:
        """Do something outside the ledger, and record the action if it changed anything; return how much it changed.

        The entry is written before the action and committed after it, so that nothing is done while the ledger is away.
        What fails may have been done: then the entry stays, and this raises the error of ``do``. Where the commit fails
        it is done and not recorded (`perform_action` logs it).
        """
        count, failure = 0, None
        with suppress(_NothingDoneError), self._database.write() as connection:
            record_action(connection, operator_action)
            try:
                count = do()
            except OtpServiceError as failed:
                failure = failed
            if not count and failure is None:
                raise _NothingDoneError
        if failure is not None:
            raise failure
        return count

    def between(self, since: int | None, until: int | None, most: int) -> tuple[OperatorActionEntry, ...]:
        """Return the actions in a time span, both ends optional; oldest first, at most ``most``."""
        wanted = select(operator_actions).order_by(operator_actions.c.at, operator_actions.c.id)
        if since is not None:
            wanted = wanted.where(operator_actions.c.at >= since)
        if until is not None:
            wanted = wanted.where(operator_actions.c.at < until)
        with self._database.read() as connection:
            return tuple(map(_action, connection.execute(wanted.limit(most))))

    def latest(self, most: int, applications: Collection[str] = ()) -> tuple[OperatorActionEntry, ...]:
        """Return the last actions, newest first: those about some applications, or all where none is named."""
        wanted = select(operator_actions).order_by(operator_actions.c.at.desc(), operator_actions.c.id)
        if applications:
            wanted = wanted.where(operator_actions.c.application.in_(applications))
        with self._database.read() as connection:
            return tuple(map(_action, connection.execute(wanted.limit(most))))


def record_action(connection: Connection, operator_action: OperatorActionEntry) -> OperatorActionEntry:
    """Record an action in the transaction of its change; return it with its time and id."""
    made = replace(operator_action, at=now(), id=secrets.token_hex(16))
    row = {
        "id": made.id,
        "at": made.at,
        "action": str(operator_action.action),
        "by": operator_action.by[:_LONGEST_NAME],
        "application": operator_action.application,
        "about": operator_action.about,
    }
    connection.execute(insert(operator_actions).values(row))
    append_entry(connection, operator_actions, [row])
    return made


def _action(row: Row[Any]) -> OperatorActionEntry:
    return OperatorActionEntry(row.action, row.by, row.application, row.about, row.at, row.id)


_PERSONAL_TABLES: Final = {
    "verifications": (verifications, "started"),
    "consents": (consents, "recorded"),
    "suppressions": (suppressions, "recorded"),
    "inbound": (inbound, "received"),
    "erasures": (erasures, "at"),
}
"""Tables with rows of people, and the columns that tell when one was recorded."""


@dataclass(frozen=True, slots=True)
class IncidentScope:
    """Which time, and whose records."""

    since: int
    """Milliseconds since the epoch."""
    until: int
    """The first that is not in it any more."""
    application: str | None = None
    """``None`` for all."""


@dataclass(frozen=True, slots=True)
class IncidentCounts:
    """What was recorded in a time."""

    people: int
    """Numbers of which anything was."""
    records: Mapping[str, int]
    """By table."""
    statuses: Mapping[str, int]
    """Verifications, by how they ended."""
    countries: Mapping[str, int]
    """Verifications, by country."""
    gateways: Mapping[str, int]
    """Calls, by gateway."""
    operator_actions: Mapping[str, int]
    """Of operators, by what was done."""
    purged: int
    """Rows that purges deleted."""


class Incidents:
    """Counts of what was recorded in a time. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self, span: IncidentScope) -> IncidentCounts:
        """Return what was recorded in a time."""
        with self._database.read() as connection:
            mine = _within(verifications, "started", span)
            return IncidentCounts(
                people=_count_numbers(connection, span),
                records={
                    name: _number(connection, select(func.count()).select_from(table).where(_within(table, at, span)))
                    for name, (table, at) in _PERSONAL_TABLES.items()
                },
                statuses=_statuses(connection, mine),
                countries=_by(connection, verifications.c.country, mine),
                gateways=_gateways(connection, span),
                operator_actions=_by(connection, operator_actions.c.action, _acts(span)),
                purged=_number(
                    connection,
                    select(func.coalesce(func.sum(purges.c["count"]), 0)).where(
                        purges.c.at >= span.since, purges.c.at < span.until
                    ),
                ),
            )


def _within(table: Table, at: str, span: IncidentScope) -> ColumnElement[bool]:
    inside = (table.c[at] >= span.since) & (table.c[at] < span.until)
    if span.application is None:
        return inside
    return inside & table.c.application.in_((span.application, EVERY_APPLICATION))


def _acts(span: IncidentScope) -> ColumnElement[bool]:
    """Tell which operators' actions are of a time: within an application, its own and those that are of all."""
    inside = (operator_actions.c.at >= span.since) & (operator_actions.c.at < span.until)
    return inside if span.application is None else inside & operator_actions.c.application.in_((span.application, ""))


def _count_numbers(connection: Connection, span: IncidentScope) -> int:
    """Count the numbers that have any record, each once."""
    parts = [
        select(table.c.pseudonym).where(_within(table, at, span), table.c.pseudonym != "")
        for table, at in _PERSONAL_TABLES.values()
    ]
    numbers = parts[0].union(*parts[1:]).subquery()
    return _number(connection, select(func.count()).select_from(numbers))


def _statuses(connection: Connection, mine: ColumnElement[bool]) -> dict[str, int]:
    counts = _by(connection, verifications.c.status, mine)
    over = mine & (verifications.c.status == "pending") & verifications.c.expires.between(1, now())
    expired = _number(connection, select(func.count()).select_from(verifications).where(over))
    counts["expired"] = counts.get("expired", 0) + expired
    counts["pending"] = counts.get("pending", 0) - expired
    return {status: count for status, count in sorted(counts.items()) if count}


def _gateways(connection: Connection, span: IncidentScope) -> dict[str, int]:
    """Count the messages that each gateway accepted."""
    called = (events.c.at >= span.since) & (events.c.at < span.until) & (events.c.gateway != "")
    if span.application is not None:
        mine = select(verifications.c.id).where(verifications.c.application == span.application)
        called &= events.c.verification.in_(mine)
    return _by(connection, events.c.gateway, called & (events.c.type == "delivery.sent"))


def _by(connection: Connection, column: Any, wanted: ColumnElement[bool]) -> dict[str, int]:  # noqa: ANN401 - a column
    found = connection.execute(select(column, func.count()).where(wanted).group_by(column).order_by(column))
    return {str(value): int(count) for value, count in found}


def _number(connection: Connection, statement: Select[Any]) -> int:
    return int(connection.execute(statement).scalar_one())
