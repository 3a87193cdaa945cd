"""Consents, suppressions and freezes in the ledger, and the states of numbers that the mirror is made of."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Exists,
    Row,
    Select,
    Table,
    and_,
    exists,
    func,
    insert,
    not_,
    or_,
    select,
    tuple_,
    union,
    union_all,
    update,
)

from otp_service.clock import now
from otp_service.domain.audit import OperatorActionEntry
from otp_service.domain.consents import (
    BLOCKING_SCOPES,
    EVERY_APPLICATION,
    HOLDER_SOURCES,
    Consent,
    ConsentEvidence,
    LedgerPosition,
    MirrorChanges,
    NumberState,
    Suppression,
    SuppressionScope,
    SuppressionSource,
    latest_entries,
)
from otp_service.errors import ConsentOutdatedError, ConsentRequiredError
from otp_service.ledger.audit import append_entry, record_action
from otp_service.ledger.database import (
    Database,
    LedgerPart,
    advance_head,
    has_head,
    head_row,
    lock_head,
    read_head,
    rename_ledger,
    rows_among,
)
from otp_service.ledger.factors import active_factors
from otp_service.ledger.schema import audit, consents, erasures, factor_changes, factors, suppressions
from otp_service.ledger.schema import head as head_table
from otp_service.ledger.webhooks import notify_suppressions

# A consent that came with a start is recorded later, but counts from the ledger's place at the start: a withdrawal
# recorded in between is the later entry. A consent that was not given after every entry before it is not recorded:
# sending old evidence again renews nothing.

NO_EVIDENCE = ConsentEvidence("", "", "", "", 0, "")
CONSENT_ORDER = (consents.c.counts_from, consents.c.sequence)


class Consents(LedgerPart):
    """Recorded consents."""

    def add(
        self, entry: Consent, operator_action: OperatorActionEntry | None = None
    ) -> tuple[Consent | None, LedgerPosition]:
        """Record an entry and the ``operator_action``; return the recorded entry and the ledger's place.

        The entry is ``None`` when it repeats the last one. Raises `ConsentOutdatedError` for a consent that is not
        newer than the last entry.
        """
        with self._database.write() as connection:
            recorded, place = add_consent(connection, entry)
            if recorded is not None:
                record_action(connection, operator_action)
            return recorded, place

    def all_of(self, pseudonym: str, max_entries: int, applications: Collection[str] = ()) -> tuple[Consent, ...]:
        """Return the last entries of a number, newest first, of some applications, or of all where none is named."""
        statement = select(consents).where(consents.c.pseudonym == pseudonym)
        if applications:
            statement = statement.where(consents.c.application.in_(applications))
        with self._database.read() as connection:
            rows = connection.execute(statement.order_by(consents.c.sequence.desc()).limit(max_entries))
            return tuple(map(entry_of, rows))

    def listed(self, query: "ListQuery", max_entries: int) -> "Listing[Consent]":
        """Return the entries of an application for a purpose, newest first; a last entry that agrees is in force."""
        mine, later = consents.c, consents.alias()
        same = (later.c[name] == mine[name] for name in ("pseudonym", "application", "purpose"))
        order = tuple_(later.c.counts_from, later.c.sequence) > tuple_(mine.counts_from, mine.sequence)
        holds = and_(~mine.withdrawn, ~exists().where(*same, order).correlate(consents))
        subject = (mine.application == query.application, mine.purpose == query.kind)
        return _read_listing(self._database, consents, subject, holds, query, max_entries, entry_of)

    def of(self, pseudonym: str, application: str, purpose: str) -> tuple[Consent, ...]:
        """Return the entries of a number for a purpose, oldest first."""
        statement = select(consents).where(
            consents.c.pseudonym == pseudonym, consents.c.application == application, consents.c.purpose == purpose
        )
        with self._database.read() as connection:
            return tuple(map(entry_of, connection.execute(statement.order_by(*CONSENT_ORDER))))


def add_consent(connection: Connection, entry: Consent) -> tuple[Consent | None, LedgerPosition]:
    """Add a consent as `Consents.add` does, in a transaction of the caller."""
    recorded, place = record_consent(connection, (entry,))
    if not recorded:
        last = _by_purpose(connection, (entry.pseudonym,))[entry.key][-1]
        if entry.evidence is None or last.evidence is None or not entry.evidence.repeats(last.evidence):
            raise ConsentOutdatedError("The person has said something since this consent was given.")
    return (recorded[0] if recorded else None), place


def first_seen(connection: Connection, entry: Consent) -> int:
    """Return when a consent was given, no later than its first record: a caller's clock may be ahead of ours.

    The purpose does not matter: the same evidence may be shown for another one.
    """
    seen = (
        known.recorded
        for (_, application, _), entries in _by_purpose(connection, (entry.pseudonym,)).items()
        if application == entry.application
        for known in entries
        if entry.evidence and known.evidence and known.evidence.repeats(entry.evidence)
    )
    return min([entry.evidence.agreed_at if entry.evidence else 0, *seen])


def record_consent(connection: Connection, entries: Sequence[Consent]) -> tuple[list[Consent], LedgerPosition]:
    """Record the entries that are new; return them, and the place of the last one in the ledger."""
    last, recorded = advance_head(connection, 0), now()
    known, new = _by_purpose(connection, [entry.pseudonym for entry in entries]), list[Consent]()
    for entry in entries:
        stamped = _stamp(entry, last + len(new), recorded, known[entry.key])
        if stamped:
            known[entry.key].append(stamped)
            new.append(stamped)
    if new:
        rows = [
            {
                **asdict(entry.evidence or NO_EVIDENCE),
                "sequence": sequence,
                "pseudonym": entry.pseudonym,
                "application": entry.application,
                "purpose": entry.purpose,
                "withdrawn": entry.withdrawn,
                "counts_from": entry.counts_from,
                "recorded": entry.recorded,
                "agreed_at": entry.stated_at,
            }
            for sequence, entry in enumerate(new, last + 1)
        ]
        advance_head(connection, len(new))
        connection.execute(insert(consents), rows)
        append_entry(connection, consents, rows)
    return new, read_head(connection)


def _stamp(entry: Consent, place: int, recorded: int, known: Iterable[Consent]) -> Consent | None:
    """Return an entry as it is recorded next after a place; ``None`` when it is not new.

    A start that saw a later place saw a ledger that was lost, of which this is an older copy: what its consent came
    after is unknown, so everything else counts as later.
    """
    seen = entry.counts_from
    counts_from = place + 1 if seen is None else seen if seen <= place else 0
    if entry.evidence is None:
        at = max(recorded, entry.stated_at, *(earlier.stated_at for earlier in known))
    else:
        at = entry.evidence.agreed_at
        if any(at <= earlier.stated_at for earlier in known if (earlier.counts_from or 0) <= counts_from):
            return None
    return replace(entry, counts_from=counts_from, recorded=recorded, stated_at=at)


def _by_purpose(connection: Connection, pseudonyms: Sequence[str]) -> dict[tuple[str, str, str], list[Consent]]:
    entries: dict[tuple[str, str, str], list[Consent]] = defaultdict(list)
    statement = select(consents).order_by(*CONSENT_ORDER)
    for row in rows_among(connection, statement, consents.c.pseudonym, pseudonyms):
        entry = entry_of(row)
        entries[entry.key].append(entry)
    return entries


def last_consents(connection: Connection, pseudonyms: Sequence[str]) -> list[Consent]:
    """Return the entry in force of each number, application and purpose, with the latest time of all its entries."""
    return [
        replace(entries[-1], stated_at=max(entry.stated_at for entry in entries))
        for entries in _by_purpose(connection, pseudonyms).values()
    ]


def entry_of(row: Row[Any]) -> Consent:
    evidence = ConsentEvidence(**{field.name: getattr(row, field.name) for field in fields(ConsentEvidence)})
    return Consent(
        pseudonym=row.pseudonym,
        application=row.application,
        purpose=row.purpose,
        evidence=None if row.withdrawn else evidence,
        counts_from=row.counts_from,
        recorded=row.recorded,
        stated_at=row.agreed_at,
    )


SCAN: Final = 50_000
"""Entries that one page of a list reads, in ledger order, however few of them it shows. An index by application would
find rare ones sooner, but SQLite would also use it for queries by number."""


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A query for a page of a list."""

    application: str
    kind: str
    """The purpose of consents, the scope of suppressions."""
    in_force: bool | None = None
    """Only entries in force, or only others; ``None`` for all."""
    before: int | None = None
    """Only entries before this place in the ledger; ``None`` for the newest."""


_Entry = TypeVar("_Entry", Consent, Suppression)


@dataclass(frozen=True, slots=True)
class Listing(Generic[_Entry]):
    """A page of a list."""

    entries: tuple[tuple[_Entry, bool], ...]
    """Each with whether it is in force."""
    older: int | None
    """The place before which the list goes on; ``None`` where it ends."""


def _read_listing(
    database: Database,
    table: Table,
    subject: Sequence[ColumnElement[bool]],
    holds: ColumnElement[bool],
    query: ListQuery,
    max_entries: int,
    read: Callable[[Row[Any]], _Entry],
) -> Listing[_Entry]:
    sequence: ColumnElement[int] = table.c.sequence
    before: list[ColumnElement[bool]] = [] if query.before is None else [sequence < query.before]
    last = select(sequence).where(*before).order_by(sequence.desc()).offset(SCAN - 1).limit(1)
    states = [] if query.in_force is None else [holds if query.in_force else not_(holds)]
    with database.read() as connection:
        reached = connection.execute(last).scalar()
        scanned = before if reached is None else [*before, sequence >= reached]
        page = select(table, holds.label("holds")).where(*scanned, *subject, *states).order_by(sequence.desc())
        rows = connection.execute(page.limit(max_entries + 1)).all()
    older = rows[max_entries - 1].sequence if len(rows) > max_entries else reached
    return Listing(tuple((read(row), bool(row.holds)) for row in rows[:max_entries]), older)


LIFT_KNOWN: Final = 48 * 3600 * 1000
"""Milliseconds for which the mirror has to know that a freeze was lifted, or a number or user erased. Records and
evidence from before live for a day at most; the rest allows for clocks of hosts that differ."""


@dataclass(frozen=True, slots=True)
class Added:
    """The result of recording some entries."""

    new: int
    place: LedgerPosition


class Suppressions(LedgerPart):
    """Recorded suppressions."""

    def add(self, entries: Sequence[Suppression], operator_action: OperatorActionEntry | None = None) -> Added:
        """Record entries in their order, all or none, and the ``operator_action``; skip entries that are not new.

        Their own time of recording is ignored.
        """
        with self._database.write() as connection:
            added = record_suppression(connection, entries)
            if added.new:
                record_action(connection, operator_action)
            return added

    def lift(
        self, entry: Suppression, shown: Consent | None = None, operator_action: OperatorActionEntry | None = None
    ) -> tuple[bool, Added]:
        """Record a consent that is shown, an entry that lifts suppressions in force, and the ``operator_action``.

        An application needs a later consent to lift a suppression from the number's holder. Returns whether a
        suppression was lifted, and what was recorded. Raises `ConsentRequiredError` and `ConsentOutdatedError`, and
        records nothing then.
        """
        with self._database.write() as connection:
            lock_head(connection)
            mine = _in_force(connection, entry)
            if entry.source is SuppressionSource.API:
                _require_newer(connection, mine, shown)
            agreed = shown is not None and add_consent(connection, shown)[0] is not None
            added = record_suppression(connection, (entry,) if mine else ())
            if mine:
                record_action(connection, operator_action)
        return bool(mine), Added(added.new + agreed, added.place)

    def of(self, pseudonym: str, application: str | None = None) -> tuple[Suppression, ...]:
        """Return the entries of a number, oldest first: of one application and those of all, or of every one."""
        with self._database.read() as connection:
            return read_suppressions(connection, pseudonym, application)

    def listed(self, query: "ListQuery", max_entries: int) -> "Listing[Suppression]":
        """Return the entries of an application for a scope, newest first; those that block messages are in force."""
        mine = suppressions.c
        lasts = or_(mine.until.is_(None), mine.until > now())
        subject = (mine.application == query.application, mine.scope == query.kind)
        holds = and_(~mine.lifted, lasts, ~_lifted_later())
        return _read_listing(self._database, suppressions, subject, holds, query, max_entries, _entry)

    def in_force(self, pseudonym: str, application: str, scope: SuppressionScope) -> tuple[Suppression, ...]:
        """Return the entries that block messages to a number, of exactly this application and scope."""
        with self._database.read() as connection:
            subject = Suppression(pseudonym, application, scope, SuppressionSource.OPERATOR)
            return tuple(_in_force(connection, subject))


def record_suppression(connection: Connection, entries: Sequence[Suppression]) -> Added:
    """Record entries in their order; skip those that are not new, as when a list is imported again."""
    recorded = now()
    known: dict[tuple[str, str, SuppressionScope], list[Suppression]] = defaultdict(list)
    for entry in _not_lifted(connection, [entry.pseudonym for entry in entries]):
        known[entry.key].append(entry)
    new = []
    for entry in entries:
        if not any(earlier.repeats(entry, recorded) for earlier in known[entry.key]):
            new.append(entry)
            known[entry.key] = [] if entry.lifted else [*known[entry.key], entry]
    if not new:
        return Added(0, read_head(connection))
    last = advance_head(connection, len(new))
    rows = [
        asdict(entry) | {"sequence": sequence, "recorded": recorded}
        for sequence, entry in enumerate(new, last - len(new) + 1)
    ]
    connection.execute(insert(suppressions), rows)
    append_entry(connection, suppressions, rows)
    notify_suppressions(connection, new, recorded)
    return Added(len(new), read_head(connection))


def lift_if_only_from(
    connection: Connection, entry: Suppression, sources: Collection[SuppressionSource]
) -> Added | None:
    """Record an entry that lifts, where all suppressions in force come from some sources; else return ``None``."""
    lock_head(connection)  # so that the same suppressions are read and lifted
    mine = _in_force(connection, entry)
    if any(suppression.source not in sources for suppression in mine):
        return None
    return record_suppression(connection, (entry,)) if mine else Added(0, read_head(connection))


def _in_force(connection: Connection, entry: Suppression) -> list[Suppression]:
    """Return the active suppressions of an entry's number, application and scope."""
    moment, active = now(), _not_lifted(connection, (entry.pseudonym,))
    return [suppression for suppression in active if suppression.key == entry.key and suppression.is_active(moment)]


def _require_newer(connection: Connection, mine: Sequence[Suppression], shown: Consent | None) -> None:
    """Refuse to lift suppressions from a number's holder without a later consent."""
    stopped = max((entry.recorded for entry in mine if entry.source in HOLDER_SOURCES), default=None)
    if stopped is None:
        return
    if shown is None:
        raise ConsentRequiredError("The person said stop, and has to agree anew, or to write START.")
    if first_seen(connection, shown) <= stopped:
        raise ConsentOutdatedError("The person said stop after this consent was given.")


def record_opt_out(connection: Connection, entry: Suppression, since: int) -> bool:
    """Record that a number's holder opted out at a gateway; ``since``: the mirror's place in the ledger then.

    Returns whether it is new: not where a suppression was lifted after that place.
    """
    lifted = select(suppressions.c.sequence).where(
        suppressions.c.pseudonym == entry.pseudonym,
        suppressions.c.application == entry.application,
        suppressions.c.scope == entry.scope,
        suppressions.c.lifted,
        suppressions.c.sequence > since,
    )
    if connection.execute(lifted.limit(1)).first():
        return False
    return record_suppression(connection, (entry,)).new > 0


def current_suppressions(connection: Connection, pseudonyms: Sequence[str]) -> list[Suppression]:
    """Return the last suppression of each of some numbers, by application and scope; it may have ended."""
    return list(latest_entries(_not_lifted(connection, pseudonyms)))


def lifted_freezes(connection: Connection, pseudonyms: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
    """Return the places in the ledger of the last freezes lifted, by number and application, of `LIFT_KNOWN`.

    An entry that lifts no freeze moves no place: verifications started in between go on.
    """
    frozen: set[tuple[str, str]] = set()
    lifted: dict[str, dict[str, int]] = defaultdict(dict)
    since = now() - LIFT_KNOWN
    statement = _in_order().where(suppressions.c.scope == SuppressionScope.FROZEN)
    for row in rows_among(connection, statement, suppressions.c.pseudonym, pseudonyms):
        subject = (row.pseudonym, row.application)
        if not row.lifted:
            frozen.add(subject)
        elif subject in frozen:
            frozen.remove(subject)
            if row.recorded >= since:
                lifted[row.pseudonym][row.application] = row.sequence
    return lifted


def _recently_erased() -> ColumnElement[bool]:
    return erasures.c.at >= now() - LIFT_KNOWN


def read_suppressions(connection: Connection, pseudonym: str, application: str | None) -> tuple[Suppression, ...]:
    """Return the entries of a number, oldest first: of one application and those of all, or of every one."""
    statement = _in_order().where(suppressions.c.pseudonym == pseudonym)
    if application is not None:
        statement = statement.where(suppressions.c.application.in_((application, EVERY_APPLICATION)))
    return tuple(map(_entry, connection.execute(statement)))


def _not_lifted(connection: Connection, pseudonyms: Sequence[str]) -> list[Suppression]:
    """Return the entries of some numbers that suppress, and that no later entry lifts; oldest first."""
    statement = _in_order().where(~suppressions.c.lifted, ~_lifted_later())
    return list(map(_entry, rows_among(connection, statement, suppressions.c.pseudonym, pseudonyms)))


def _lifted_later() -> Exists:
    later = suppressions.alias()
    return (
        exists()
        .where(
            later.c.pseudonym == suppressions.c.pseudonym,
            later.c.application == suppressions.c.application,
            later.c.scope == suppressions.c.scope,
            later.c.sequence > suppressions.c.sequence,
            later.c.lifted,
        )
        .correlate(suppressions)
    )


def _in_order() -> Select[Any]:
    return select(suppressions).order_by(suppressions.c.sequence)


def _entry(row: Row[Any]) -> Suppression:
    columns = {field.name: getattr(row, field.name) for field in fields(Suppression)}
    return Suppression(**columns | {"scope": SuppressionScope(row.scope), "source": SuppressionSource(row.source)})


class MirrorSource(LedgerPart):
    """The ledger as the mirror in Redis reads it."""

    def head(self) -> LedgerPosition:
        with self._database.read() as connection:
            return read_head(connection)

    def has(self, place: LedgerPosition) -> bool:
        with self._database.read() as connection:
            return has_head(connection, place)

    def rename(self, sequence: int = 0) -> None:
        """Give the ledger another identity, of which there is no mirror; its changes go on after a number."""
        with self._database.write() as connection:
            rename_ledger(connection, sequence)

    def was_mirrored(self) -> bool:
        """Tell whether a mirror of this ledger was ever complete."""
        with self._database.read() as connection:
            return bool(head_row(connection).mirrored)

    def note_mirrored(self) -> None:
        with self._database.write() as connection:
            connection.execute(update(head_table).values(mirrored=True))

    def is_diverged(self) -> bool:
        """Tell whether this ledger's history differs from its mirror's, and no operator has decided since."""
        with self._database.read() as connection:
            return bool(head_row(connection).diverged)

    def note_diverged(self, identity: str) -> None:
        """Note that the histories differ, unless the ledger was renamed since; no flush or restored Redis ends it."""
        if not self.is_diverged():
            with self._database.write() as connection:
                this = update(head_table).where(head_table.c.identity == identity)
                connection.execute(this.values(diverged=True))

    def since(self, place: LedgerPosition, max_changes: int) -> MirrorChanges | None:
        """Return the states that the next changes after a place led to; ``None`` for a place of another history."""
        changed = union_all(
            select(suppressions.c.sequence, suppressions.c.pseudonym).where(
                suppressions.c.sequence > place.sequence, suppressions.c.scope.in_(BLOCKING_SCOPES)
            ),
            select(consents.c.sequence, consents.c.pseudonym).where(consents.c.sequence > place.sequence),
            select(factor_changes.c.sequence, factor_changes.c.pseudonym).where(
                factor_changes.c.sequence > place.sequence
            ),
            select(erasures.c.place, erasures.c.pseudonym).where(erasures.c.place > place.sequence),
        ).subquery()
        with self._database.read() as connection:
            if not has_head(connection, place):
                return None
            last = read_head(connection)
            rows = connection.execute(select(changed).order_by(changed.c.sequence).limit(max_changes)).all()
            reached = _place_of(connection, last, rows[-1].sequence) if len(rows) == max_changes else last
            numbers = _states(connection, list(dict.fromkeys(row.pseudonym for row in rows)))
            return MirrorChanges(place, reached, last.sequence, numbers)

    def all_after(self, pseudonym: str, max_numbers: int, place: LedgerPosition) -> MirrorChanges | None:
        """Return the states of the next numbers by pseudonym; ``None`` for a place of another history.

        Each table is read only as far as needed.
        """
        parts = []
        for part in _mirrored_numbers():
            column = part.selected_columns[0]
            following = part.where(column > pseudonym).distinct().order_by(column).limit(max_numbers).subquery()
            parts.append(select(following.c.pseudonym))
        known = union(*parts).subquery()
        statement = select(known.c.pseudonym).order_by(known.c.pseudonym).limit(max_numbers)
        with self._database.read() as connection:
            if not has_head(connection, place):
                return None
            numbers = connection.execute(statement).scalars().all()
            return MirrorChanges(place, place, read_head(connection).sequence, _states(connection, numbers))

    def count(self) -> int:
        """Return how many numbers the mirror has to know."""
        known = union(*_mirrored_numbers()).subquery()
        with self._database.read() as connection:
            return connection.execute(select(func.count()).select_from(known)).scalar_one()


def _mirrored_numbers() -> tuple[Select[Any], ...]:
    """Return statements for the numbers that the mirror has to know, by table."""
    return (
        select(suppressions.c.pseudonym).where(suppressions.c.scope.in_(BLOCKING_SCOPES)),
        select(consents.c.pseudonym),
        select(factors.c.pseudonym).where(factors.c.removed.is_(None)),
        select(erasures.c.pseudonym).where(_recently_erased()),
    )


def _place_of(connection: Connection, last: LedgerPosition, sequence: int) -> LedgerPosition:
    """Return the place of a change, by its entry in the audit chain."""
    numbered = audit.c.table.in_((suppressions.name, consents.name, factor_changes.name)) & (
        audit.c.row == str(sequence)
    )
    erasure = (audit.c.table == erasures.name) & audit.c.row.in_(
        select(erasures.c.id).where(erasures.c.place == sequence)
    )
    mine = select(audit.c.sequence, audit.c.link).where(or_(numbered, erasure))
    entry = connection.execute(mine.order_by(audit.c.sequence.desc()).limit(1)).one()
    return LedgerPosition(last.identity, sequence, entry.sequence, entry.link)


def _states(connection: Connection, pseudonyms: Sequence[str]) -> tuple[NumberState, ...]:
    suppressed: dict[str, dict[str, int | None]] = defaultdict(dict)
    frozen: dict[str, set[str]] = defaultdict(set)
    for entry in current_suppressions(connection, pseudonyms):
        if entry.scope is SuppressionScope.ALL:
            suppressed[entry.pseudonym][entry.application] = entry.until
        elif entry.scope is SuppressionScope.FROZEN:
            frozen[entry.pseudonym].add(entry.application)
    consented: dict[str, dict[tuple[str, str], tuple[bool, int, int]]] = defaultdict(dict)
    for consent in last_consents(connection, pseudonyms):
        state = (not consent.withdrawn, consent.counts_from or 0, consent.stated_at)
        consented[consent.pseudonym][consent.application, consent.purpose] = state
    erased: dict[str, dict[str, int]] = defaultdict(dict)
    recent = select(erasures).where(_recently_erased()).order_by(erasures.c.place)
    for row in rows_among(connection, recent, erasures.c.pseudonym, pseudonyms):
        erased[row.pseudonym][row.application] = row.place
    lifted, of_users = lifted_freezes(connection, pseudonyms), active_factors(connection, pseudonyms)
    return tuple(
        NumberState(
            pseudonym,
            suppressed[pseudonym],
            consented[pseudonym],
            frozenset(frozen[pseudonym]),
            lifted.get(pseudonym, {}),
            erased[pseudonym],
            of_users.get(pseudonym, {}),
        )
        for pseudonym in pseudonyms
    )
