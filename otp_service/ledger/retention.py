"""Purges: rules for rows that may be deleted, and signed records of deletions. The ages are settings."""

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    true,
    tuple_,
    update,
)

from otp_service.domain.audit import ChainHead, PurgeRecord, short_digest
from otp_service.domain.keyring import Signer, is_valid_signature
from otp_service.ledger.audit import append_entry, append_state, carry_over, digest_of_row, row_key
from otp_service.ledger.database import LedgerPart, in_batches, lock_head
from otp_service.ledger.partitions import PARTITIONED, count_rows, drop, partitions, whole_days
from otp_service.ledger.schema import (
    ACCESS,
    ACCOUNTABILITY,
    AUDIT,
    CONSENTS,
    FACTORS,
    INBOUND,
    STATS,
    SUPPRESSIONS,
    TRAFFIC,
    WEBHOOKS,
    api_keys,
    audit,
    audit_heads,
    consents,
    deliveries,
    endpoints,
    erasures,
    events,
    factor_changes,
    factors,
    head,
    hourly_delays,
    hourly_stats,
    inbound,
    looks,
    operator_actions,
    purges,
    recovery_codes,
    second_person_requests,
    suppressions,
    verifications,
    webhooks,
)

# Entries in force are never deleted. A consent goes only long after another entry followed it; the last entry stays,
# even a withdrawal. A suppression goes long after it was lifted or ended. An entry that ends another goes after it:
# without it, the other would be in force again.

DELETE_BATCH: Final = 1000
"""Rows that one transaction deletes."""
SCAN_BATCH: Final = 5000
"""Entries that one transaction reads, where no index shows which have ended."""
Condition = ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class PurgedBatch:
    """The result of a batch."""

    rows: int
    cursor: int | None
    """Start of the next batch; ``None`` after the last."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The rows' keys and the beginnings of their digests, where age alone does not end them."""
    last_sequence: int = 0
    """The last deleted entry of the audit chain; 0 for none."""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Purge:
    """A purge of one class of data."""

    data: str
    before: int
    """Older rows are deleted: milliseconds since the epoch."""
    now: int
    signer: Signer
    """Signs the records, and verifies that a head of the chain is the installation's."""


PurgeRule = Callable[[Connection, Purge, int], PurgedBatch]
"""Deletes the batch at a cursor, 0 for the first, and returns the next cursor."""


@dataclass(frozen=True, slots=True)
class _EntrySeries:
    """Entries that each end the entry before."""

    table: Table
    key: tuple[str, ...]
    order: tuple[str, ...]
    ends: Callable[[Any], Condition] = lambda _: true()
    """Whether a later entry, of an alias, ends an entry."""

    def followed(self, before: int) -> Condition:
        """Return the condition for entries that were ended by another one; both were recorded before."""
        later = self.table.alias()
        mine, others = (tuple_(*(table.c[name] for name in self.order)) for table in (self.table, later))
        follows = exists().where(self._alike(later), others > mine, later.c.recorded < before, self.ends(later))
        return and_(self.table.c.recorded < before, follows.correlate(self.table))

    def has_sibling(self) -> Condition:
        """Return the condition for entries with another in their series, before or after."""
        other = self.table.alias()
        return exists().where(self._alike(other), other.c.sequence != self.table.c.sequence).correlate(self.table)

    def _alike(self, other: Any) -> Condition:  # noqa: ANN401 - an alias of the table
        return and_(*(other.c[name] == self.table.c[name] for name in self.key))

    def rule(self, condition: Callable[[int], Condition]) -> PurgeRule:
        """Return the rule that deletes the entries for which a condition is true."""

        def delete_some(connection: Connection, purge: Purge, cursor: int) -> PurgedBatch:
            sequence = self.table.c.sequence
            following = select(sequence).where(sequence > cursor).order_by(sequence).limit(1)
            last_sequence = connection.execute(following.offset(SCAN_BATCH - 1)).scalar()
            scanned = sequence > cursor if last_sequence is None else and_(sequence > cursor, sequence <= last_sequence)
            oldest = connection.execute(select(func.min(self.table.c.recorded)).where(scanned)).scalar()
            some = select(self.table).where(scanned, condition(purge.before)).order_by(sequence).limit(DELETE_BATCH)
            gone = connection.execute(some).mappings().all()
            for part in in_batches([row["sequence"] for row in gone]):
                connection.execute(delete(self.table).where(sequence.in_(part)))
            names = {str(row["sequence"]): short_digest(digest_of_row(self.table, row)) for row in gone}
            if len(gone) == DELETE_BATCH:
                return PurgedBatch(DELETE_BATCH, cursor, names)  # more of these may have ended
            all_younger = oldest is None or oldest >= purge.before  # and so are the entries after them
            return PurgedBatch(len(gone), None if all_younger else last_sequence, names)

        return delete_some


def _older_than(moment: Column[Any], *among: Condition) -> PurgeRule:
    """Return the rule that deletes rows of a table, or some ``among`` them, by their age; whole partitions first."""
    table, keys = moment.table, moment.table.primary_key

    def delete_some(connection: Connection, purge: Purge, cursor: int) -> PurgedBatch:
        existing = partitions(connection, table.name) if table.name in PARTITIONED else []
        if existing and existing[0].end <= purge.before:
            rows = count_rows(connection, existing[0])
            if table is verifications:
                lock_head(connection)  # recorders lock the events, the head, and then the verifications
            drop(connection, existing[0])
            return PurgedBatch(rows, cursor)
        some = select(*keys).where(moment < purge.before, *among).order_by(moment).limit(DELETE_BATCH)
        rows = connection.execute(delete(table).where(tuple_(*keys).in_(some))).rowcount
        return PurgedBatch(rows, cursor if rows == DELETE_BATCH else None)

    return delete_some


def _ended_before(*ends: Column[Any]) -> PurgeRule:
    """Return the rule that deletes rows of what grants access, long after they ended."""
    table = ends[0].table
    (key,) = table.primary_key

    def delete_some(connection: Connection, purge: Purge, cursor: int) -> PurgedBatch:
        lock_head(connection)
        some = select(key).where(or_(*(end < purge.before for end in ends))).limit(DELETE_BATCH)
        gone = connection.execute(delete(table).where(key.in_(some)).returning(row_key(table))).scalars().all()
        append_state(connection, table, gone)
        return PurgedBatch(len(gone), cursor if len(gone) == DELETE_BATCH else None)

    return delete_some


def _older_entries(connection: Connection, purge: Purge, _: int) -> PurgedBatch:
    """Delete the oldest entries of the chain, up to the last signed head that is older.

    Rows that still exist get new entries. Each batch records the new beginning of the chain, with the link before it.
    """
    heads = select(audit_heads).where(audit_heads.c.at < purge.before).order_by(audit_heads.c.sequence.desc())
    for anchor in connection.execute(heads):  # SQL alone can insert unsigned heads, with any date
        signed = ChainHead(anchor.ledger, anchor.sequence, anchor.link, anchor.at).signed
        if is_valid_signature(signed, anchor.signature, purge.signer.public_key):
            break
    else:
        return PurgedBatch(0, None)
    connection.execute(delete(audit_heads).where(audit_heads.c.sequence < anchor.sequence))
    oldest = select(audit).where(audit.c.sequence <= anchor.sequence).order_by(audit.c.sequence).limit(DELETE_BATCH)
    entries = connection.execute(oldest).all()
    carry_over(connection, entries)
    for part in in_batches([entry.sequence for entry in entries]):
        connection.execute(delete(audit).where(audit.c.sequence.in_(part)))
    if not entries:
        return PurgedBatch(0, None)
    last = entries[-1]
    changed = {"forgotten": head.c.changed, "forgotten_link": head.c.changed_link}
    # a mirror may be at the place of the last change, whose entry is deleted here
    connection.execute(update(head).where(head.c.changed <= last.sequence).values(changed))
    return PurgedBatch(
        len(entries), 0 if len(entries) == DELETE_BATCH else None, last_sequence=last.sequence, link=last.link
    )


def _outlasts(later: Any) -> Condition:  # noqa: ANN401 - an alias of the table
    """Return the condition that a later suppression lifts an entry, or lasts as long: a shorter one does not end it."""
    mine = suppressions.c
    return or_(later.c.lifted, mine.lifted, later.c.until.is_(None), later.c.until >= mine.until)


_CONSENTS: Final = _EntrySeries(
    consents, key=("pseudonym", "application", "purpose"), order=("counts_from", "sequence")
)
_SUPPRESSIONS: Final = _EntrySeries(
    suppressions, key=("pseudonym", "application", "scope"), order=("sequence",), ends=_outlasts
)


def _no_longer_in_force(before: int) -> Condition:
    """Return the condition for suppressions that another entry or their own end ended."""
    mine = suppressions.c
    return or_(and_(mine.recorded < before, ~mine.lifted, mine.until < before), _SUPPRESSIONS.followed(before))


def _ended_and_alone(before: int) -> Condition:
    """Return the condition for lifted or ended suppressions without another in their series that would hold again."""
    mine = suppressions.c
    return and_(mine.recorded < before, or_(mine.lifted, mine.until < before), ~_SUPPRESSIONS.has_sibling())


_CHAIN_BEGINS: Final = select(func.max(purges.c.last_sequence)).scalar_subquery()
"""End of the last purge of the chain: its record stays, because it explains where the chain begins."""
PURGE_RULES: Final[Mapping[str, tuple[PurgeRule, ...]]] = {
    TRAFFIC: (_older_than(verifications.c.started), _older_than(events.c.at)),
    STATS: (_older_than(hourly_stats.c.hour), _older_than(hourly_delays.c.hour)),
    CONSENTS: (_CONSENTS.rule(_CONSENTS.followed),),
    SUPPRESSIONS: (_SUPPRESSIONS.rule(_no_longer_in_force), _SUPPRESSIONS.rule(_ended_and_alone)),
    INBOUND: (_older_than(inbound.c.received),),
    WEBHOOKS: (_older_than(deliveries.c.at), _older_than(webhooks.c.at)),
    FACTORS: (
        *(_ended_before(factors.c.removed), _ended_before(recovery_codes.c.ended)),
        _older_than(factor_changes.c.recorded),
    ),
    ACCESS: (_ended_before(api_keys.c.revoked, api_keys.c.expires), _ended_before(endpoints.c.removed)),
    ACCOUNTABILITY: tuple(
        _older_than(moment)
        for moment in (operator_actions.c.at, erasures.c.at, looks.c.at, second_person_requests.c.at)
    ),
    AUDIT: (
        _older_than(purges.c.at, or_(purges.c.last_sequence == 0, purges.c.last_sequence < _CHAIN_BEGINS)),
        _older_entries,
    ),
}
"""By class of data. The head and applications are kept for ever."""


PURGE_INTERVAL: Final = 3_600_000
"""Milliseconds between two purges, of all processes."""


class Purges(LedgerPart):
    """Purges and their records."""

    def begin(self, now: int) -> None:
        """Note that a purge begins, whether or not it is due; ``now``: milliseconds since the epoch."""
        with self._database.write() as connection:
            connection.execute(update(head).values(purged=now))

    def claim_turn(self, now: int) -> bool:
        """Tell whether a purge is due, and claim it for this process; ``now``: milliseconds since the epoch."""
        long_ago = head.c.purged <= now - PURGE_INTERVAL
        from_wrong_clock = head.c.purged > now + PURGE_INTERVAL  # such a time must not stop all purges
        mine = update(head).where(or_(long_ago, from_wrong_clock)).values(purged=now)
        with self._database.write() as connection:
            return connection.execute(mine.returning(head.c.id)).first() is not None

    def run(self, purge: Purge) -> Iterator[int]:
        """Purge a class of data; yield the number of rows after each transaction."""
        name = f"pu_{secrets.token_hex(16)}"
        if purge.data == TRAFFIC:
            with self._database.read() as connection:
                purge = replace(purge, before=whole_days(connection, purge.before))
        for rule in PURGE_RULES[purge.data]:
            cursor: int | None = 0
            while cursor is not None:
                with self._database.write() as connection:
                    gone = rule(connection, purge, cursor)
                    if gone.rows:
                        _record_batch(connection, name, purge, gone)
                cursor = gone.cursor
                yield gone.rows

    def last_began(self) -> int | None:
        """Return when the last purge began, in milliseconds since the epoch; ``None`` before the first."""
        with self._database.read() as connection:
            return connection.execute(select(head.c.purged)).scalar() or None

    def latest(self, data: str) -> PurgeRecord | None:
        """Return the last purge of a class of data that deleted rows; ``None`` without one."""
        statement = select(purges).where(purges.c.data == data).order_by(purges.c.at.desc()).limit(1)
        with self._database.read() as connection:
            row = connection.execute(statement).mappings().one_or_none()
        return _of_row(row) if row else None

    def revision(self) -> tuple[int, int | None]:
        """Return a value that differs after each purge that deleted rows."""
        with self._database.read() as connection:
            number, last = connection.execute(select(func.count(), func.max(purges.c.at)).select_from(purges)).one()
        return number, last

    def records(self) -> Iterator[PurgeRecord]:
        """Yield the records of all purges, oldest first."""
        with self._database.read() as connection:
            yield from map(_of_row, connection.execute(select(purges).order_by(purges.c.at)).yield_per(1000).mappings())


def _record_batch(connection: Connection, run: str, purge: Purge, gone: PurgedBatch) -> None:
    """Record a batch in its own transaction, so that the proof exists exactly if the rows do not.

    A batch with names of rows has its own record; all others of a run share a record.
    """
    own = next(iter(gone.names), None) or gone.last_sequence or ""
    record = PurgeRecord(
        *(f"{run}_{own}" if own else run, purge.data, purge.before, purge.now),
        *(gone.rows, gone.names, gone.last_sequence, gone.link),
    )
    more = update(purges).where(purges.c.id == record.id).values(rows=purges.c.rows + record.rows)
    if connection.execute(more).rowcount:
        return
    names, signature = json.dumps(record.names, separators=(",", ":")), purge.signer.sign(record.signed)
    row = asdict(record) | {"names": names, "signature": signature}
    connection.execute(insert(purges), row)
    append_entry(connection, purges, [row])


def _of_row(row: Mapping[Any, Any]) -> PurgeRecord:
    members = {column.key: row[column] for column in purges.columns}
    return PurgeRecord(**members | {"names": json.loads(row["names"])})
