"""The audit log: a signed chain of entries, disputes, operator actions, incident counts."""

import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    String,
    Table,
    and_,
    cast,
    exists,
    func,
    insert,
    select,
    true,
    union,
    update,
)

from otp_service.clock import now
from otp_service.domain.audit import GENESIS, GONE, ChainEntry, ChainHead, OperatorActionEntry, digest_of
from otp_service.domain.consents import EVERY_APPLICATION
from otp_service.errors import OtpServiceError
from otp_service.ledger.database import LedgerPart, add_rows, among, count, find_rows, in_batches, link_at, rows_among
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

# A digest leaves out what an erasure takes: the caller's words and the address prefix of a consent, the reason of a
# suppression, a view and a request, the number of an inbound message. It leaves out what changes later: the end of a
# verification, which its events have, the rows of a purge, the decision on a request. And of what grants access, it
# leaves out what changes often or grants nothing: the last use, the last accepted step, a factor's label, an endpoint's
# health. Columns that only stats need are left out too.

_LEFT_OUT: Final[Mapping[Table, frozenset[str]]] = {
    verifications: frozenset({"status", "ended", "channel", "number_prefix", "standing"}),
    events: frozenset(),
    consents: frozenset({"text_version", "source", "address_prefix"}),
    suppressions: frozenset({"reason"}),
    inbound: frozenset({"pseudonym"}),
    factor_changes: frozenset(),
    erasures: frozenset(),
    purges: frozenset({"rows"}),
    operator_actions: frozenset(),
    looks: frozenset({"reason"}),
    second_person_requests: frozenset({"reason", "decided", "decided_by", "outcome"}),
    applications: frozenset(),
    api_keys: frozenset({"used"}),
    console_users: frozenset({"last_step", "used"}),
    endpoints: frozenset({"failing_since", "latency", "sequence"}),
    factors: frozenset({"last_step", "used", "label"}),
    recovery_codes: frozenset(),
    proof_keys: frozenset(),
}
CHANGING: Final = frozenset(
    table.name for table in (applications, api_keys, console_users, endpoints, factors, recovery_codes, proof_keys)
)
"""Tables of what grants access. Their rows change: each change has an entry, and the last entry of a row counts."""
_NEEDS_ENTRY: Final[Mapping[str, tuple[ColumnElement[bool], ...]]] = {
    verifications.name: (verifications.c.pseudonym != "",),  # else its start is still to be recorded
}
"""Conditions for rows to need an entry, by table."""
COVERED: Final[Mapping[str, Table]] = {table.name: table for table in _LEFT_OUT}
_CHANGES: Final = (consents, suppressions, factor_changes, erasures)
"""The tables whose rows the mirror has to know."""


@dataclass(frozen=True, slots=True)
class ChainLink:
    """A stored entry of the chain, and the state of its row."""

    entry: ChainEntry
    link: str
    digest: str | None
    """Digest of its row now; ``None`` when the row is gone."""
    is_last: bool = True
    """Whether no other entry of its row follows."""


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A head of the chain, and the signature under it."""

    head: ChainHead
    signature: str
    """Base64."""


class Audit(LedgerPart):
    """The audit chain."""

    def head(self) -> ChainHead:
        with self._database.read() as connection:
            row = connection.execute(select(head)).one()
        return ChainHead(row.identity, row.audit, row.audit_link, now())

    def links(self, after: int, limit: int) -> tuple[ChainLink, ...]:
        """Return the next entries after a place, in their order."""
        statement = select(audit).where(audit.c.sequence > after).order_by(audit.c.sequence).limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
            digests, last = _digests(connection, rows), _last_entries(connection, rows)
        return tuple(replace(_link(row, digests), is_last=_is_last(row, last)) for row in rows)

    def links_of(self, table: str, rows: Sequence[str]) -> tuple[ChainLink, ...]:
        """Return the entries of some rows, oldest first."""
        statement = select(audit).where(audit.c.table == table).order_by(audit.c.sequence)
        with self._database.read() as connection:
            entries = list(rows_among(connection, statement, audit.c.row, rows))
            digests = _digests(connection, entries)
        return tuple(sorted((_link(row, digests) for row in entries), key=lambda link: link.entry.sequence))

    def link_at(self, sequence: int) -> str | None:
        """Return the link of an entry, `GENESIS` of number 0; ``None`` when it is not there."""
        with self._database.read() as connection:
            return link_at(connection, sequence) if sequence else GENESIS

    def sign(self, signed: SignedHead) -> bool:
        """Record a signed head; tell whether it is the first of its place."""
        row = {**asdict(signed.head), "signature": signed.signature, "exported": None}
        statement = self._database.insert(audit_heads).values(row).on_conflict_do_nothing()
        with self._database.write() as connection:
            return connection.execute(statement.returning(audit_heads.c.sequence)).first() is not None

    def heads(self) -> tuple[SignedHead, ...]:
        """Return the signed heads, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(audit_heads).order_by(audit_heads.c.sequence)).all()
        return tuple(map(_signed, rows))

    def last_signed(self) -> SignedHead | None:
        with self._database.read() as connection:
            statement = select(audit_heads).order_by(audit_heads.c.sequence.desc()).limit(1)
            row = connection.execute(statement).one_or_none()
        return _signed(row) if row else None

    def unexported(self) -> tuple[SignedHead, ...]:
        """Return the signed heads that are still to be exported, oldest first."""
        with self._database.read() as connection:
            statement = select(audit_heads).where(audit_heads.c.exported.is_(None)).order_by(audit_heads.c.sequence)
            return tuple(map(_signed, connection.execute(statement)))

    def note_exported(self, sequence: int) -> None:
        with self._database.write() as connection:
            connection.execute(update(audit_heads).where(audit_heads.c.sequence == sequence).values(exported=now()))

    def before(self, sequence: int) -> int | None:
        """Return the number of the first entry up to a place; ``None`` without one."""
        with self._database.read() as connection:
            return connection.execute(select(func.min(audit.c.sequence)).where(audit.c.sequence <= sequence)).scalar()

    def unlinked_rows(self, after: int, limit: int) -> Mapping[str, tuple[str, ...]]:
        """Return rows without an entry ``after`` a place of the chain, by table; ``limit``: of each table."""
        unlinked = {}
        with self._database.read() as connection:
            for name, table in COVERED.items():
                key = row_key(table)
                entry = exists().where(
                    audit.c.table == name, audit.c.row == cast(key, String), audit.c.sequence > after
                )
                statement = select(key).where(~entry, *_NEEDS_ENTRY.get(name, ())).limit(limit)
                unlinked[name] = tuple(map(str, connection.execute(statement).scalars()))
        return unlinked


def append_entry(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append entries for new rows of a table; until the transaction ends no other process appends."""
    if not rows:
        return
    at, key = now(), row_key(table)
    entries = [ChainEntry(0, at, table.name, str(row[key.key]), digest_of_row(table, row)) for row in rows]
    last, link = _append(connection, entries)
    if table in _CHANGES:
        connection.execute(update(head).values(changed=last, changed_link=link))


def append_state(connection: Connection, table: Table, rows: Collection[str | int]) -> None:
    """Append the present digests of rows of a `CHANGING` table, or that they are gone; ``rows``: their `row_key`."""
    digests: dict[str | int, str] = {}
    key, at = row_key(table), now()
    for mine in among(connection, key, rows):
        for row in connection.execute(select(table).where(mine)).mappings():
            digests[row[key]] = digest_of_row(table, row)
    if rows:
        _append(connection, [ChainEntry(0, at, table.name, str(row_id), digests.get(row_id, GONE)) for row_id in rows])


def carry_over(connection: Connection, entries: Sequence[Any]) -> None:
    """Append again, unchanged, those entries about to be deleted whose rows still exist."""
    present, last = _digests(connection, entries), _last_entries(connection, entries)
    carried = [_entry(row) for row in entries if (row.table, row.row) in present and _is_last(row, last)]
    if carried:
        _append(connection, carried)


def _last_entries(connection: Connection, entries: Iterable[Any]) -> dict[tuple[str, str], int]:
    """Return the numbers of the last entries of the rows that may have several, by table and key."""
    sequences: dict[tuple[str, str], int] = {}
    names: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        if entry.table in CHANGING:
            names[entry.table].append(entry.row)
    for table, keys in names.items():
        last = select(audit.c.row, func.max(audit.c.sequence).label("last")).group_by(audit.c.row)
        last = last.where(audit.c.table == table)
        for entry in rows_among(connection, last, audit.c.row, keys):
            sequences[table, entry.row] = int(entry.last)
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

    Entries outlive rows, so it must not identify a person: a factor's identifier has the user's pseudonym in it.
    """
    if table is factors:
        return factors.c.place
    (key,) = table.primary_key
    return key


def class_of(table: str) -> str | None:
    """Return the class of data of a table; ``None`` for one that the chain does not cover."""
    return COVERED[table].info["class"] if table in COVERED else None


def digest_columns(table: Table, row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the columns of a row that its digest is made of."""
    return {name: row[name] for name in _digested(table)}


@cache
def _digested(table: Table) -> tuple[str, ...]:
    return tuple(column.key for column in table.columns if column.key not in _LEFT_OUT[table])


def digest_of_row(table: Table, row: Mapping[Any, Any]) -> str:
    return digest_of(digest_columns(table, row))


def _digests(connection: Connection, entries: Iterable[Any]) -> dict[tuple[str, str], str]:
    """Return the digests of the entries' rows that exist, by table and key.

    Rows in partitions are looked for near the time of their entry; rows that were recorded late, in all partitions, but
    only if the entry is not older than the oldest row.
    """
    by_table: dict[str, list[Any]] = defaultdict(list)
    for entry in entries:
        by_table[entry.table].append(entry)
    digests: dict[tuple[str, str], str] = {}
    for name in by_table.keys() & COVERED.keys():
        table, key = COVERED[name], row_key(COVERED[name])
        recorded = {key.type.python_type(entry.row): entry.at for entry in by_table[name]}
        then: ColumnElement[bool] = true()
        late = set(recorded)
        if (moment := PARTITIONED.get(name)) is not None:
            then = near(moment, recorded.values())
            oldest = connection.execute(select(func.min(moment))).scalar()
            late = {row for row, at in recorded.items() if oldest is not None and at >= oldest}
        for row in find_rows(connection, select(table), key, recorded, then, late):
            digests[name, str(row[key])] = digest_of_row(table, row)
    return digests


def _link(row: Any, digests: Mapping[tuple[str, str], str]) -> ChainLink:  # noqa: ANN401 - a row
    return ChainLink(_entry(row), row.link, digests.get((row.table, row.row)))


def _entry(row: Any) -> ChainEntry:  # noqa: ANN401 - a row
    return ChainEntry(row.sequence, row.at, row.table, row.row, row.digest)


def _signed(row: Any) -> SignedHead:  # noqa: ANN401 - a row
    return SignedHead(ChainHead(row.ledger, row.sequence, row.link, row.at), row.signature)


MAX_VERIFICATIONS: Final = 1000


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
    """A row with its entry in the chain."""

    row: Mapping[str, Any]
    """The columns of its digest."""
    table: str
    entry: ChainEntry | None
    """``None`` without one, which is a violation of the chain."""
    before: str
    """The link before the entry; empty where a purge deleted it."""
    link: str


class Disputes(LedgerPart):
    """Records for disputes, with their proofs."""

    def find(self, filters: DisputeFilter) -> tuple[ProvenRow, ...]:
        """Return the matching verifications, their events, and the numbers' consents and suppressions, with proofs.

        At most `MAX_VERIFICATIONS` verifications, the oldest first.
        """
        oldest = select(verifications).where(filters.condition()).order_by(verifications.c.started)
        with self._database.read() as connection:
            disputed = connection.execute(oldest.limit(MAX_VERIFICATIONS)).mappings().all()
            rows: list[tuple[Table, Mapping[Any, Any]]] = [(verifications, row) for row in disputed]
            for some in in_batches([row["id"] for row in disputed]):
                mine = select(events).where(events.c.verification.in_(some)).order_by(events.c.at, events.c.id)
                rows += [(events, row) for row in connection.execute(mine).mappings()]
            of_numbers: dict[tuple[str, int], tuple[Table, Mapping[Any, Any]]] = {}
            for pseudonym, application in dict.fromkeys((row["pseudonym"], row["application"]) for row in disputed):
                for table in (consents, suppressions):
                    applies = table.c.application.in_((application, EVERY_APPLICATION))
                    mine = select(table).where(table.c.pseudonym == pseudonym, applies).order_by(table.c.sequence)
                    for row in connection.execute(mine).mappings():
                        of_numbers[table.name, row["sequence"]] = (table, row)
            return tuple(_with_proofs(connection, [*rows, *of_numbers.values()]))


def _with_proofs(connection: Connection, rows: Sequence[tuple[Table, Mapping[Any, Any]]]) -> Iterator[ProvenRow]:
    names = [(table.name, str(row[next(iter(table.primary_key)).key])) for table, row in rows]
    entries: dict[tuple[str, str], Any] = {}
    for kind in dict.fromkeys(kind for kind, _ in names):
        keys = [key for other, key in names if other == kind]
        for entry in rows_among(connection, select(audit).where(audit.c.table == kind), audit.c.row, keys):
            entries[kind, entry.row] = entry
    links: dict[int, str] = {0: GENESIS}
    before = [entry.sequence - 1 for entry in entries.values()]
    for row in rows_among(connection, select(audit.c.sequence, audit.c.link), audit.c.sequence, before):
        links[row.sequence] = row.link
    for (table, columns), name in zip(rows, names, strict=True):
        values, own = digest_columns(table, columns), entries.get(name)
        if own is None:
            yield ProvenRow(values, table.name, None, "", "")
        else:
            yield ProvenRow(values, table.name, _entry(own), links.get(own.sequence - 1, ""), own.link)


_LONGEST_NAME = 64


class _NothingDoneError(Exception):
    """Rolls a transaction back."""


class OperatorActions(LedgerPart):
    """Recorded operator actions."""

    def add(self, operator_action: OperatorActionEntry) -> None:
        with self._database.write() as connection:
            record_action(connection, operator_action)

    def perform(self, operator_action: OperatorActionEntry, do: Callable[[], int]) -> int:
        """Run an action outside the ledger, and record it if it changed anything; return the number of its changes.

        The entry is written before the action and committed after it, so that no action runs while the ledger is away.
        A failed action may have had an effect: the entry stays, and this raises its error. Where the commit fails the
        action is not recorded (`perform_action` logs it).
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

    def between(self, since: int | None, until: int | None, limit: int) -> tuple[OperatorActionEntry, ...]:
        """Return the actions in a time span, both ends optional; oldest first."""
        statement = select(operator_actions).order_by(operator_actions.c.at, operator_actions.c.id)
        if since is not None:
            statement = statement.where(operator_actions.c.at >= since)
        if until is not None:
            statement = statement.where(operator_actions.c.at < until)
        with self._database.read() as connection:
            return tuple(map(_action, connection.execute(statement.limit(limit))))

    def latest(self, limit: int, applications: Collection[str] = ()) -> tuple[OperatorActionEntry, ...]:
        """Return the last actions, newest first, of some applications, or all where none is named."""
        statement = select(operator_actions).order_by(operator_actions.c.at.desc(), operator_actions.c.id)
        if applications:
            statement = statement.where(operator_actions.c.application.in_(applications))
        with self._database.read() as connection:
            return tuple(map(_action, connection.execute(statement.limit(limit))))


def record_action(connection: Connection, operator_action: OperatorActionEntry | None) -> None:
    """Record an action, if any, in the transaction of its change."""
    if operator_action is None:
        return
    made = replace(operator_action, at=now(), id=secrets.token_hex(16))
    row = asdict(made) | {"action": str(made.action), "by": made.by[:_LONGEST_NAME]}
    connection.execute(insert(operator_actions).values(row))
    append_entry(connection, operator_actions, [row])


def _action(row: Row[Any]) -> OperatorActionEntry:
    return OperatorActionEntry(row.action, row.by, row.application, row.target, row.at, row.id)


_RECORDED: Final = (
    *(verifications.c.started, consents.c.recorded, suppressions.c.recorded),
    *(inbound.c.received, erasures.c.at),
)
"""Time columns of the tables with rows of people."""


@dataclass(frozen=True, slots=True)
class IncidentScope:
    """A time span, and an application."""

    since: int
    """Milliseconds since the epoch."""
    until: int
    """Milliseconds since the epoch, exclusive."""
    application: str | None = None
    """``None`` for all."""


@dataclass(frozen=True, slots=True)
class IncidentCounts:
    """Counts of records in an `IncidentScope`."""

    people: int
    """Numbers with any record."""
    records: Mapping[str, int]
    statuses: Mapping[str, int]
    countries: Mapping[str, int]
    gateways: Mapping[str, int]
    """Accepted messages, by gateway."""
    operator_actions: Mapping[str, int]
    """Operator actions, by action; those of all applications too."""
    purged: int


class Incidents(LedgerPart):
    """Counts of records in a time."""

    def count(self, scope: IncidentScope) -> IncidentCounts:
        mine = _within(verifications.c.started, scope)
        people = union(
            *(
                select(moment.table.c.pseudonym).where(_within(moment, scope), moment.table.c.pseudonym != "")
                for moment in _RECORDED
            )
        ).subquery()
        in_time = (events.c.at >= scope.since) & (events.c.at < scope.until)
        accepted = in_time & (events.c.gateway != "") & (events.c.type == "delivery.sent")
        if scope.application is not None:
            of_application = select(verifications.c.id).where(verifications.c.application == scope.application)
            accepted &= events.c.verification.in_(of_application)
        purged = select(func.coalesce(func.sum(purges.c.rows), 0)).where(
            purges.c.at >= scope.since, purges.c.at < scope.until
        )
        with self._database.read() as connection:
            return IncidentCounts(
                people=count(connection, people),
                records={
                    moment.table.name: count(connection, moment.table, _within(moment, scope)) for moment in _RECORDED
                },
                statuses=_statuses(connection, mine),
                countries=_by(connection, verifications.c.country, mine),
                gateways=_by(connection, events.c.gateway, accepted),
                operator_actions=_by(
                    connection, operator_actions.c.action, _within(operator_actions.c.at, scope, every="")
                ),
                purged=int(connection.execute(purged).scalar_one()),
            )


def _within(moment: Column[Any], scope: IncidentScope, every: str = EVERY_APPLICATION) -> ColumnElement[bool]:
    """Return the condition for the rows of a scope; ``every``: the name in rows of all applications."""
    inside = (moment >= scope.since) & (moment < scope.until)
    if scope.application is None:
        return inside
    return inside & moment.table.c.application.in_((scope.application, every))


def _statuses(connection: Connection, mine: ColumnElement[bool]) -> dict[str, int]:
    counts = _by(connection, verifications.c.status, mine)
    over = mine & (verifications.c.status == "pending") & verifications.c.expires.between(1, now())
    expired = count(connection, verifications, over)
    counts["expired"] = counts.get("expired", 0) + expired
    counts["pending"] = counts.get("pending", 0) - expired
    return {status: number for status, number in sorted(counts.items()) if number}


def _by(connection: Connection, column: Column[Any], condition: ColumnElement[bool]) -> dict[str, int]:
    rows = connection.execute(select(column, func.count()).where(condition).group_by(column).order_by(column))
    return {str(value): int(number) for value, number in rows}
