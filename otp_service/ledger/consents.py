"""Consents, suppressions and freezes in the ledger, and the states of numbers that the mirror is made of."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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
    advance_head,
    has_head,
    head_row,
    in_batches,
    lock_head,
    read_head,
    rename_ledger,
)
from otp_service.ledger.factors import active_factors
from otp_service.ledger.schema import audit, consents, erasures, factor_changes, factors, suppressions
from otp_service.ledger.schema import head as head_table
from otp_service.ledger.webhooks import notify_suppressions

# A consent that came with a start is recorded later, but counts from the ledger's place at the start: a withdrawal that
# was recorded in between is the later word. A consent that was not given after every word before it is not recorded:
# sending old evidence again renews nothing.

NO_EVIDENCE = ConsentEvidence("", "", "", "", 0, "")
"""What a withdrawal shows."""
CONSENT_ORDER = (consents.c.counts_from, consents.c.sequence)
"""In which entries follow each other."""


class Consents:
    """Recorded consents. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, entry: Consent, operator_action: OperatorActionEntry | None = None
    ) -> tuple[Consent | None, LedgerPosition]:
        """Record an entry; return it as it was recorded, ``None`` for the last word once more; and the ledger's place.

        Records the ``operator_action`` with it. Raises `ConsentOutdatedError` for a consent that is not newer than the
        last entry.
        """
        with self._database.write() as connection:
            recorded, place = add_consent(connection, entry)
            if operator_action is not None and recorded is not None:
                record_action(connection, operator_action)
            return recorded, place

    def all_of(self, pseudonym: str, most: int, applications: Collection[str] = ()) -> tuple[Consent, ...]:
        """Return the last entries of a number, newest first, of some applications, or of all where none is named."""
        wanted = select(consents).where(consents.c.pseudonym == pseudonym)
        if applications:
            wanted = wanted.where(consents.c.application.in_(applications))
        with self._database.read() as connection:
            rows = connection.execute(wanted.order_by(consents.c.sequence.desc()).limit(most))
            return tuple(map(entry_of, rows))

    def listed(self, query: "ListQuery", max_entries: int) -> "Listing[Consent]":
        """Return the entries of an application for a purpose, newest first; in force is a last word that agrees."""
        mine, later = consents.c, consents.alias()
        same = (later.c[name] == mine[name] for name in ("pseudonym", "application", "purpose"))
        order = tuple_(later.c.counts_from, later.c.sequence) > tuple_(mine.counts_from, mine.sequence)
        holds = and_(~mine.withdrawn, ~exists().where(*same, order).correlate(consents))
        about = (mine.application == query.application, mine.purpose == query.kind)
        return _read_listing(self._database, consents, about, holds, query, max_entries, entry_of)

    def of(self, pseudonym: str, application: str, purpose: str) -> tuple[Consent, ...]:
        """Return the entries of a number for a purpose, oldest first."""
        wanted = (
            (consents.c.pseudonym == pseudonym)
            & (consents.c.application == application)
            & (consents.c.purpose == purpose)
        )
        with self._database.read() as connection:
            rows = connection.execute(select(consents).where(wanted).order_by(*CONSENT_ORDER)).all()
        return tuple(map(entry_of, rows))


def add_consent(connection: Connection, entry: Consent) -> tuple[Consent | None, LedgerPosition]:
    """Do what `Consents.add` does, as a part of more."""
    recorded, place = record_consent(connection, (entry,))
    if not recorded:
        last = _by_purpose(connection, (entry.pseudonym,))[entry.about][-1]
        if entry.evidence is None or last.evidence is None or not entry.evidence.repeats(last.evidence):
            raise ConsentOutdatedError("The person has said something since this consent was given.")
    return (recorded[0] if recorded else None), place


def first_seen(connection: Connection, entry: Consent) -> int:
    """Return when a consent was given, no later than it was recorded first: a caller's clock may be ahead of ours.

    For whichever purpose: it is no other evidence because it is shown for another one.
    """
    seen = (
        one.recorded
        for (_, application, _), entries in _by_purpose(connection, (entry.pseudonym,)).items()
        if application == entry.application
        for one in entries
        if entry.evidence and one.evidence and one.evidence.repeats(entry.evidence)
    )
    return min([entry.evidence.given if entry.evidence else 0, *seen])


def record_consent(connection: Connection, entries: Sequence[Consent]) -> tuple[list[Consent], LedgerPosition]:
    """Record the entries that say anything new; return them, and the place of the last one in the ledger."""
    last, recorded = advance_head(connection, 0), now()
    known, new = _by_purpose(connection, [one.pseudonym for one in entries]), list[Consent]()
    for entry in entries:
        stamped = _stamp(entry, last + len(new), recorded, known[entry.about])
        if stamped:
            known[entry.about].append(stamped)
            new.append(stamped)
    if new:
        rows = [_row(one, sequence) for sequence, one in enumerate(new, last + 1)]
        advance_head(connection, len(new))
        connection.execute(insert(consents), rows)
        append_entry(connection, consents, rows)
    return new, read_head(connection)


def _stamp(entry: Consent, place: int, recorded: int, known: Iterable[Consent]) -> Consent | None:
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
    evidence = entry.evidence or NO_EVIDENCE
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


def _by_purpose(connection: Connection, pseudonyms: Sequence[str]) -> dict[tuple[str, str, str], list[Consent]]:
    """Return the entries of each number, application and purpose, oldest first."""
    found: dict[tuple[str, str, str], list[Consent]] = defaultdict(list)
    for some in in_batches(list(dict.fromkeys(pseudonyms))):
        wanted = select(consents).where(consents.c.pseudonym.in_(some)).order_by(*CONSENT_ORDER)
        for entry in map(entry_of, connection.execute(wanted)):
            found[entry.about].append(entry)
    return found


def last_consents(connection: Connection, pseudonyms: Sequence[str]) -> list[Consent]:
    """Return the entry of each number, application and purpose that is in force, as said when the last of them was."""
    found = _by_purpose(connection, pseudonyms).values()
    return [replace(entries[-1], said=max(one.said for one in entries)) for entries in found if entries]


def entry_of(row: Row[Any]) -> Consent:
    """Return a row as an entry."""
    evidence = ConsentEvidence(
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


SCAN: Final = 50_000
"""Entries that one page of a list looks at, by their places: however few of them it is to show, it takes no longer. An
index of applications would find the rare ones sooner, but SQLite would take it for what is asked of a number."""


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Asks for a page of a list."""

    application: str
    kind: str
    """The purpose of consents, the scope of suppressions."""
    in_force: bool | None = None
    """Only those that are, or that are not; ``None`` for all."""
    before: int | None = None
    """The place in the ledger that they have to be before; ``None`` from the newest on."""


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
    about: Sequence[ColumnElement[bool]],
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
        page = select(table, holds.label("holds")).where(*scanned, *about, *states).order_by(sequence.desc())
        rows = connection.execute(page.limit(max_entries + 1)).all()
    older = rows[max_entries - 1].sequence if len(rows) > max_entries else reached
    return Listing(tuple((read(row), bool(row.holds)) for row in rows[:max_entries]), older)


LIFT_KNOWN: Final = 48 * 3600 * 1000
"""Milliseconds for which the mirror has to know that a freeze was lifted, or a number or user erased: by far longer
than any record or evidence lives of what was before, a day, so that clocks of hosts may differ."""


@dataclass(frozen=True, slots=True)
class Added:
    """What recording some entries has led to."""

    new: int
    """How many said anything new."""
    place: LedgerPosition
    """The ledger's last change."""


class Suppressions:
    """Recorded suppressions. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entries: Sequence[Suppression], operator_action: OperatorActionEntry | None = None) -> Added:
        """Record entries in their order, all or none; what says nothing new is left out.

        Their own time of recording is ignored. The ``operator_action`` is recorded with them, if any is new.
        """
        with self._database.write() as connection:
            added = record_suppression(connection, entries)
            if operator_action is not None and added.new:
                record_action(connection, operator_action)
            return added

    def lift(
        self, entry: Suppression, shown: Consent | None = None, operator_action: OperatorActionEntry | None = None
    ) -> tuple[bool, Added]:
        """Record a consent that is shown, an entry that lifts what is in force, and the ``operator_action``.

        What the number's holder said is lifted by an application only with a consent that was given later. Returns
        whether anything was lifted, and all that was recorded. Raises `ConsentRequiredError` and
        `ConsentOutdatedError`, and records nothing then.
        """
        with self._database.write() as connection:
            lock_head(connection)
            mine = _in_force(connection, entry)
            if entry.source is SuppressionSource.API:
                _require_newer(connection, mine, shown)
            agreed = shown is not None and add_consent(connection, shown)[0] is not None
            added = record_suppression(connection, (entry,) if mine else ())
            if operator_action is not None and mine:
                record_action(connection, operator_action)
        return bool(mine), Added(added.new + agreed, added.place)

    def of(self, pseudonym: str, application: str | None = None) -> tuple[Suppression, ...]:
        """Return the entries of a number, oldest first: of one application and those of all, or of every one."""
        with self._database.read() as connection:
            return read_suppressions(connection, pseudonym, application)

    def listed(self, query: "ListQuery", max_entries: int) -> "Listing[Suppression]":
        """Return the entries of an application for a scope, newest first; in force is what keeps messages back now."""
        mine = suppressions.c
        lasts = or_(mine.until.is_(None), mine.until > now())
        about = (mine.application == query.application, mine.scope == query.kind)
        holds = and_(~mine.lifted, lasts, ~_lifted_later())
        return _read_listing(self._database, suppressions, about, holds, query, max_entries, _entry)

    def in_force(self, pseudonym: str, application: str, scope: SuppressionScope) -> tuple[Suppression, ...]:
        """Return the entries that keep messages back from a number, of exactly this application and scope."""
        about = Suppression(pseudonym, application, scope, SuppressionSource.OPERATOR)
        with self._database.read() as connection:
            return tuple(_in_force(connection, about))


def record_suppression(connection: Connection, entries: Sequence[Suppression]) -> Added:
    """Record entries in their order; what says nothing new is left out: a list that is imported again, for example."""
    recorded = now()
    new = _new_entries(connection, entries, recorded)
    if not new:
        return Added(0, read_head(connection))
    last = advance_head(connection, len(new))
    rows = [
        {
            "sequence": sequence,
            "pseudonym": entry.pseudonym,
            "application": entry.application,
            "scope": entry.scope,
            "lifted": entry.lifted,
            "source": entry.source,
            "reason": entry.reason,
            "until": entry.until,
            "recorded": recorded,
        }
        for sequence, entry in enumerate(new, last - len(new) + 1)
    ]
    connection.execute(insert(suppressions), rows)
    append_entry(connection, suppressions, rows)
    notify_suppressions(connection, new, recorded)
    return Added(len(new), read_head(connection))


def lift_if_only_from(
    connection: Connection, entry: Suppression, sources: Collection[SuppressionSource]
) -> Added | None:
    """Record an entry that lifts, where all that is in force comes from some sources; ``None`` where other things do.

    What is judged and what is lifted is the same: until the transaction ends nobody else says anything.
    """
    lock_head(connection)
    mine = _in_force(connection, entry)
    if any(one.source not in sources for one in mine):
        return None
    return record_suppression(connection, (entry,)) if mine else Added(0, read_head(connection))


def _in_force(connection: Connection, entry: Suppression) -> list[Suppression]:
    """Return what holds now of that which an entry is about."""
    moment = now()
    return [
        one for one in _not_lifted(connection, (entry.pseudonym,)) if one.about == entry.about and one.is_active(moment)
    ]


def _require_newer(connection: Connection, mine: Sequence[Suppression], shown: Consent | None) -> None:
    """Refuse to lift what a number's holder said, without a consent that was given later."""
    said = max((one.recorded for one in mine if one.source in HOLDER_SOURCES), default=None)
    if said is None:
        return
    if shown is None:
        raise ConsentRequiredError("The person said stop, and has to agree anew, or to write START.")
    if first_seen(connection, shown) <= said:
        raise ConsentOutdatedError("The person said stop after this consent was given.")


def record_opt_out(connection: Connection, entry: Suppression, since: int) -> bool:
    """Record what a number's holder told somebody else, when the mirror had come ``since`` a place in the ledger.

    Returns whether it says anything new: not where messages were let through after that place.
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
    """Return what suppresses each of some numbers, for each application and scope; it may have ended."""
    return list(latest_entries(_not_lifted(connection, pseudonyms)))


def lifted_freezes(connection: Connection, pseudonyms: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
    """Return where freezes of some numbers were lifted last, and recently: the place in the ledger, by application.

    What lifts nothing, since another entry has lifted it before, moves no place: what was started between goes on.
    """
    standing: set[tuple[str, str]] = set()
    lifted: dict[str, dict[str, int]] = defaultdict(dict)
    since = now() - LIFT_KNOWN
    wanted = _in_order().where(suppressions.c.scope == SuppressionScope.FROZEN)
    for some in in_batches(pseudonyms):
        for row in connection.execute(wanted.where(suppressions.c.pseudonym.in_(some))):
            about = (row.pseudonym, row.application)
            if not row.lifted:
                standing.add(about)
            elif about in standing:
                standing.remove(about)
                if row.recorded >= since:
                    lifted[row.pseudonym][row.application] = row.sequence
    return lifted


def _recently_erased() -> ColumnElement[bool]:
    return erasures.c.at >= now() - LIFT_KNOWN


def _last_erasures(connection: Connection, pseudonyms: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
    """Return where some numbers were erased last, and recently: the place in the ledger, by application."""
    places: dict[str, dict[str, int]] = defaultdict(dict)
    statement = select(erasures.c.pseudonym, erasures.c.application, erasures.c.place).where(_recently_erased())
    for some in in_batches(pseudonyms):
        for row in connection.execute(statement.where(erasures.c.pseudonym.in_(some)).order_by(erasures.c.place)):
            places[row.pseudonym][row.application] = row.place
    return places


def read_suppressions(connection: Connection, pseudonym: str, application: str | None) -> tuple[Suppression, ...]:
    """Return the entries of a number, oldest first: of one application and those of all, or of every one."""
    wanted = _in_order().where(suppressions.c.pseudonym == pseudonym)
    if application is not None:
        wanted = wanted.where(suppressions.c.application.in_((application, EVERY_APPLICATION)))
    return tuple(map(_entry, connection.execute(wanted)))


def _new_entries(connection: Connection, entries: Sequence[Suppression], moment: int) -> list[Suppression]:
    """Return the entries that say anything new: not that which another one says already, for as long."""
    known = defaultdict(list)
    for one in _not_lifted(connection, list(dict.fromkeys(entry.pseudonym for entry in entries))):
        known[one.about].append(one)
    new = []
    for entry in entries:
        if any(one.repeats(entry, moment) for one in known[entry.about]):
            continue
        new.append(entry)
        known[entry.about] = [] if entry.lifted else [*known[entry.about], entry]
    return new


def _not_lifted(connection: Connection, pseudonyms: Sequence[str]) -> list[Suppression]:
    """Return the entries of some numbers that suppress, and that no later one lifts; oldest first."""
    wanted = _in_order().where(~suppressions.c.lifted, ~_lifted_later())
    found: list[Suppression] = []
    for some in in_batches(pseudonyms):
        found += map(_entry, connection.execute(wanted.where(suppressions.c.pseudonym.in_(some))))
    return found


def _lifted_later() -> Exists:
    """Tell whether a later entry lifts what another one is about."""
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
    return Suppression(
        pseudonym=row.pseudonym,
        application=row.application,
        scope=SuppressionScope(row.scope),
        source=SuppressionSource(row.source),
        reason=row.reason,
        until=row.until,
        lifted=row.lifted,
        recorded=row.recorded,
    )


class MirrorSource:
    """The ledger as the mirror in Redis reads it. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def head(self) -> LedgerPosition:
        """Return how far the ledger has come."""
        with self._database.read() as connection:
            return read_head(connection)

    def has(self, place: LedgerPosition) -> bool:
        """Tell whether a place is in the history of this ledger."""
        with self._database.read() as connection:
            return has_head(connection, place)

    def rename(self, sequence: int = 0) -> None:
        """Take the ledger for another one, without a mirror; its changes go on after a number."""
        with self._database.write() as connection:
            rename_ledger(connection, sequence)

    def was_mirrored(self) -> bool:
        """Tell whether a mirror of this ledger was ever complete."""
        with self._database.read() as connection:
            return bool(head_row(connection).mirrored)

    def note_mirrored(self) -> None:
        """Note that there is a complete mirror."""
        with self._database.write() as connection:
            connection.execute(update(head_table).values(mirrored=True))

    def is_diverged(self) -> bool:
        """Tell whether this ledger's history was seen not to be its mirror's, and nobody has decided since."""
        with self._database.read() as connection:
            return bool(head_row(connection).diverged)

    def note_diverged(self, identity: str) -> None:
        """Note it, unless this ledger was renamed since: then neither a flush nor a restored Redis ends it."""
        if not self.is_diverged():
            with self._database.write() as connection:
                this = update(head_table).where(head_table.c.identity == identity)
                connection.execute(this.values(diverged=True))

    def since(self, place: LedgerPosition, most: int) -> MirrorChanges | None:
        """Return what the next changes after a place have led to, at most ``most`` of them.

        ``None`` when the place is not in the history of this ledger.
        """
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
            rows = connection.execute(select(changed).order_by(changed.c.sequence).limit(most)).all()
            reached = _place_of(connection, last, rows[-1].sequence) if len(rows) == most else last
            numbers = _states(connection, list(dict.fromkeys(row.pseudonym for row in rows)))
            return MirrorChanges(place, reached, last.sequence, numbers)

    def all_after(self, pseudonym: str, most: int, place: LedgerPosition) -> MirrorChanges | None:
        """Return the state of the next numbers after one in the order of their pseudonyms, at most ``most``.

        ``None`` when a place is not in the history of this ledger.
        """
        with self._database.read() as connection:
            if not has_head(connection, place):
                return None
            some = connection.execute(_numbers_after(pseudonym, most)).scalars().all()
            return MirrorChanges(place, place, read_head(connection).sequence, _states(connection, some))

    def count(self) -> int:
        """Return how many numbers the mirror has to know of."""
        suppressed = select(suppressions.c.pseudonym).where(suppressions.c.scope.in_(BLOCKING_SCOPES))
        having = select(factors.c.pseudonym).where(factors.c.removed.is_(None))
        erased = select(erasures.c.pseudonym).where(_recently_erased())
        known = union(suppressed, select(consents.c.pseudonym), having, erased).subquery()
        with self._database.read() as connection:
            return connection.execute(select(func.count()).select_from(known)).scalar_one()


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


def _numbers_after(pseudonym: str, most: int) -> Select[Any]:
    """Return the statement for the next numbers; each table is read no further than that takes."""
    mine, given, having = suppressions.c.pseudonym, consents.c.pseudonym, factors.c.pseudonym
    erased = select(erasures.c.pseudonym).where(erasures.c.pseudonym > pseudonym, _recently_erased())
    suppressed = select(mine).where(mine > pseudonym, suppressions.c.scope.in_(BLOCKING_SCOPES))
    consented = select(given).where(given > pseudonym)
    users = select(having).where(having > pseudonym, factors.c.removed.is_(None))
    parts = [
        part.distinct().order_by(part.selected_columns[0]).limit(most).subquery()
        for part in (suppressed, consented, users, erased)
    ]
    known = union(*(select(part.c.pseudonym) for part in parts)).subquery()
    return select(known.c.pseudonym).order_by(known.c.pseudonym).limit(most)


def _states(connection: Connection, pseudonyms: Sequence[str]) -> tuple[NumberState, ...]:
    suppressed: dict[str, dict[str, int | None]] = defaultdict(dict)
    frozen: dict[str, set[str]] = defaultdict(set)
    for entry in current_suppressions(connection, pseudonyms):
        if entry.scope is SuppressionScope.ALL:
            suppressed[entry.pseudonym][entry.application] = entry.until
        elif entry.scope is SuppressionScope.FROZEN:
            frozen[entry.pseudonym].add(entry.application)
    given: dict[str, dict[tuple[str, str], tuple[bool, int, int]]] = defaultdict(dict)
    for consent in last_consents(connection, pseudonyms):
        place = consent.counts_from or 0
        given[consent.pseudonym][consent.application, consent.purpose] = (not consent.withdrawn, place, consent.said)
    lifted, of_users = lifted_freezes(connection, pseudonyms), active_factors(connection, pseudonyms)
    erased = _last_erasures(connection, pseudonyms)
    return tuple(
        NumberState(
            one,
            suppressed[one],
            given[one],
            frozenset(frozen[one]),
            lifted.get(one, {}),
            erased.get(one, {}),
            of_users.get(one, {}),
        )
        for one in pseudonyms
    )
