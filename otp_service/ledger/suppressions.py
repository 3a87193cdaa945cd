"""The suppressions: entries that are never changed, only followed by another of their number, application and scope."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, exists, insert, select

from otp_service.domain.people import (
    EVERY_APPLICATION,
    OF_THE_HOLDER,
    ActEntry,
    Consent,
    Place,
    Suppression,
    SuppressionScope,
    SuppressionSource,
    last_of_each,
)
from otp_service.errors import ConsentOutdatedError, ConsentRequiredError
from otp_service.ledger import acts, audit, consents, head
from otp_service.ledger.batches import batches
from otp_service.ledger.clock import now
from otp_service.ledger.database import Database
from otp_service.ledger.schema import suppressions

LIFT_KNOWN: Final = 24 * 3600 * 1000
"""Milliseconds for which the mirror has to know that a freeze was lifted: by far longer than a record lives that was
started before, so that clocks of hosts may differ."""


@dataclass(frozen=True, slots=True)
class Added:
    """What recording some entries has led to."""

    new: int
    """How many said anything new."""
    place: Place
    """The ledger's last change."""


class Suppressions:
    """What is kept of suppressions. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entries: Sequence[Suppression], act: ActEntry | None = None) -> Added:
        """Record entries in their order, all or none; what says nothing new is left out.

        What they say of the time at which they were recorded is not read. An ``act`` is recorded with them, if any says
        anything new.
        """
        with self._database.write() as connection:
            added = record(connection, entries)
            if act is not None and added.new:
                acts.record(connection, act)
            return added

    def lift(self, entry: Suppression, shown: Consent | None = None, act: ActEntry | None = None) -> tuple[bool, Added]:
        """Record a consent that is shown, and an entry that lifts what is in force, if anything is, with an ``act``.

        What the number's holder said is lifted by an application only with a consent that was given later. Returns
        whether anything was lifted, and all that was recorded. Raises `ConsentRequiredError` and
        `ConsentOutdatedError`, and records nothing then.
        """
        with self._database.write() as connection:
            head.lock(connection)
            mine = _in_force(connection, entry)
            if entry.source is SuppressionSource.API:
                _require_newer(connection, mine, shown)
            agreed = shown is not None and consents.add(connection, shown)[0] is not None
            added = record(connection, (entry,) if mine else ())
            if act is not None and mine:
                acts.record(connection, act)
        return bool(mine), Added(added.new + agreed, added.place)

    def of(self, pseudonym: str, application: str | None = None) -> tuple[Suppression, ...]:
        """Return the entries of a number, oldest first: of one application and those of all, or of every one."""
        with self._database.read() as connection:
            return entries_of(connection, pseudonym, application)

    def in_force(self, pseudonym: str, application: str, scope: SuppressionScope) -> tuple[Suppression, ...]:
        """Return the entries that keep messages back from a number, of exactly this application and scope."""
        about = Suppression(pseudonym, application, scope, SuppressionSource.OPERATOR)
        with self._database.read() as connection:
            return tuple(_in_force(connection, about))


def record(connection: Connection, entries: Sequence[Suppression]) -> Added:
    """Record entries in their order; what says nothing new is left out: a list that is imported again, for example."""
    recorded = now()
    new = _news(connection, entries, recorded)
    if not new:
        return Added(0, head.read(connection))
    last = head.advance(connection, len(new))
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
    audit.append(connection, suppressions, rows)
    return Added(len(new), head.read(connection))


def lift_of(connection: Connection, entry: Suppression, sources: Collection[SuppressionSource]) -> Added | None:
    """Record an entry that lifts, where all that is in force comes from some sources; ``None`` where other things do.

    What is judged and what is lifted is the same: until the transaction ends nobody else says anything.
    """
    head.lock(connection)
    mine = _in_force(connection, entry)
    if any(one.source not in sources for one in mine):
        return None
    return record(connection, (entry,)) if mine else Added(0, head.read(connection))


def _in_force(connection: Connection, entry: Suppression) -> list[Suppression]:
    """Return what holds now of that which an entry is about."""
    moment = now()
    return [
        one for one in _not_lifted(connection, (entry.pseudonym,)) if one.about == entry.about and one.holds(moment)
    ]


def _require_newer(connection: Connection, mine: Sequence[Suppression], shown: Consent | None) -> None:
    """Refuse to lift what a number's holder said, without a consent that was given later."""
    said = max((one.recorded for one in mine if one.source in OF_THE_HOLDER), default=None)
    if said is None:
        return
    if shown is None:
        raise ConsentRequiredError("The person said stop, and has to agree anew, or to write START.")
    if consents.first_seen(connection, shown) <= said:
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
    return record(connection, (entry,)).new > 0


def latest(connection: Connection, pseudonyms: Sequence[str]) -> list[Suppression]:
    """Return what suppresses each of some numbers, for each application and scope; it may have ended."""
    return list(last_of_each(_not_lifted(connection, pseudonyms)))


def lifted_freezes(connection: Connection, pseudonyms: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
    """Return where freezes of some numbers were lifted last, and lately: the place in the ledger, by application.

    What lifts nothing, since another entry has lifted it before, moves no place: what was started between goes on.
    """
    standing: set[tuple[str, str]] = set()
    lifted: dict[str, dict[str, int]] = defaultdict(dict)
    since = now() - LIFT_KNOWN
    wanted = _in_order().where(suppressions.c.scope == SuppressionScope.FROZEN)
    for some in batches(pseudonyms):
        for row in connection.execute(wanted.where(suppressions.c.pseudonym.in_(some))):
            about = (row.pseudonym, row.application)
            if not row.lifted:
                standing.add(about)
            elif about in standing:
                standing.remove(about)
                if row.recorded >= since:
                    lifted[row.pseudonym][row.application] = row.sequence
    return lifted


def entries_of(connection: Connection, pseudonym: str, application: str | None) -> tuple[Suppression, ...]:
    """Return the entries of a number, oldest first: of one application and those of all, or of every one."""
    wanted = _in_order().where(suppressions.c.pseudonym == pseudonym)
    if application is not None:
        wanted = wanted.where(suppressions.c.application.in_((application, EVERY_APPLICATION)))
    return tuple(map(_entry, connection.execute(wanted)))


def _news(connection: Connection, entries: Sequence[Suppression], moment: int) -> list[Suppression]:
    """Return the entries that say anything new: not that which another one says already, for as long."""
    known = defaultdict(list)
    for one in _not_lifted(connection, list(dict.fromkeys(entry.pseudonym for entry in entries))):
        known[one.about].append(one)
    new = []
    for entry in entries:
        if any(one.says(entry, moment) for one in known[entry.about]):
            continue
        new.append(entry)
        known[entry.about] = [] if entry.lifted else [*known[entry.about], entry]
    return new


def _not_lifted(connection: Connection, pseudonyms: Sequence[str]) -> list[Suppression]:
    """Return the entries of some numbers that suppress, and that no later one lifts; oldest first."""
    later = suppressions.alias()
    lifted = exists().where(
        later.c.pseudonym == suppressions.c.pseudonym,
        later.c.application == suppressions.c.application,
        later.c.scope == suppressions.c.scope,
        later.c.sequence > suppressions.c.sequence,
        later.c.lifted,
    )
    wanted = _in_order().where(~suppressions.c.lifted, ~lifted.correlate(suppressions))
    found: list[Suppression] = []
    for some in batches(pseudonyms):
        found += map(_entry, connection.execute(wanted.where(suppressions.c.pseudonym.in_(some))))
    return found


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
