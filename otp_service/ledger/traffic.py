"""What was sent, through whom, and how it ended: the event stream, projected. To project it twice does no harm."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Connection, Row, desc, select

from otp_service.domain.events import CONSENTED, Happening
from otp_service.domain.people import (
    EVERY_APPLICATION,
    Consent,
    Evidence,
    Place,
    Suppression,
    SuppressionScope,
    SuppressionSource,
)
from otp_service.domain.verification import Status
from otp_service.ledger import audit, consents, head, suppressions
from otp_service.ledger.batches import batches
from otp_service.ledger.clock import now
from otp_service.ledger.database import Database
from otp_service.ledger.schema import erasures, events, verifications

STARTED: Final = "verification.started"
_ENDINGS: Final = {f"verification.{status}": status for status in Status if status is not Status.PENDING}
_OF_START: Final = ("pseudonym", "payment", "payment_reference")
"""What only the event of a start says of a verification."""
_KEPT_ELSEWHERE: Final = frozenset(
    {"type", "id", "application", "purpose", "country", "gateway", "expires", "consent", "ledger", *_OF_START}
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What recording some happenings has led to."""

    new: int
    """How many were not in the ledger before."""
    opt_outs: tuple[Suppression, ...] = ()
    """What gateways were told by the holders of numbers, and we did not know."""
    place: Place | None = None
    """What the mirror has to come to for opt-outs, and consents that came with starts; ``None`` without any."""


@dataclass(frozen=True, slots=True)
class Past:
    """A verification as the ledger keeps it. Times are milliseconds since the epoch."""

    id: str
    application: str
    purpose: str
    country: str
    started: int
    status: str
    ended: int
    """0 while it is not known how it ended."""
    events: tuple[Mapping[str, Any], ...] = field(default_factory=tuple)
    """What happened, oldest first: ``type``, ``at`` and details."""


class Traffic:
    """Verifications and their events. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, happenings: Sequence[Happening]) -> Recorded:
        """Record what happened, all or nothing; what is there already is passed over."""
        if not happenings:
            return Recorded(0)
        rows = [_event(one) for one in happenings if one.type != CONSENTED]
        with self._database.write() as connection:
            fresh = self._insert(connection, rows)
            new = [one for one in happenings if one.id in fresh]
            self._note_verifications(connection, new)
            given: list[Consent] = []
            if came := _consents(connection, happenings):  # of one that is repeated nothing is new
                given, _ = consents.record(connection, came)
            told = [entry for entry, since in _opt_outs(new) if suppressions.record_opt_out(connection, entry, since)]
            place = head.read(connection) if given or told else None
        return Recorded(len(new), tuple(told), place)

    def keep(self, happenings: Sequence[Happening]) -> None:
        """Keep events as they are, with all that they say and nothing that follows from it."""
        rows = [_event(one, kept_elsewhere=frozenset()) for one in happenings]
        with self._database.write() as connection:
            self._insert(connection, rows)

    def _insert(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> set[str]:
        """Insert events that are not there yet, and their entries in the audit chain; return their names."""
        statement = self._database.insert(events).on_conflict_do_nothing().returning(events.c.id)
        fresh: set[str] = set()
        for some in batches(rows):
            fresh.update(connection.execute(statement, some).scalars())
        audit.append(connection, events, [row for row in rows if row["id"] in fresh])
        return fresh

    def answered(self, pseudonym: str, gateway: str, since: int) -> tuple[str, int] | None:
        """Return the application whose message a number got last through a gateway, from a time on, and when.

        By the start of the verification: a late receipt says nothing of what came last. Else ``None``.
        """
        sent = (
            select(verifications.c.application, verifications.c.started)
            .join(events, events.c.verification == verifications.c.id)
            .where(verifications.c.pseudonym == pseudonym, verifications.c.started >= since)
            .where(events.c.type.in_(("delivery.sent", "delivery.delivered", "delivery.unknown")))
            .where(events.c.gateway == gateway)
            .order_by(desc(verifications.c.started))
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(sent).one_or_none()
        return (row.application, row.started) if row else None

    def _note_verifications(self, connection: Connection, happenings: Sequence[Happening]) -> None:
        """Note starts and ends, in whichever order they come.

        The first end stays: a Redis whose backup was restored may end once more what had ended.
        """
        insertion = self._database.insert(verifications)
        started = [
            _verification(one)
            | {name: one.member(name) for name in _OF_START}
            | {"expires": int(one.member("expires") or 0)}
            for one in happenings
            if one.type == STARTED
        ]
        if started:  # sorted, as the ends are: two recorders lock in one order
            started.sort(key=itemgetter("id"))
            fields = {name: insertion.excluded[name] for name in (*_OF_START, "started", "expires")}
            connection.execute(insertion.on_conflict_do_update(index_elements=["id"], set_=fields), started)
            audit.append(connection, verifications, started)
        ended = [_verification(one) | {"status": _ENDINGS[one.type], "ended": one.at}
                 for one in happenings if one.type in _ENDINGS]  # fmt: skip
        if ended:
            ended.sort(key=itemgetter("id"))
            fields = {name: insertion.excluded[name] for name in ("status", "ended")}
            alive = verifications.c.status == Status.PENDING
            connection.execute(insertion.on_conflict_do_update(index_elements=["id"], set_=fields, where=alive), ended)


def past_of(connection: Connection, pseudonym: str, application: str | None) -> tuple[Past, ...]:
    """Return a number's verifications, of one application or of all, oldest first."""
    wanted = verifications.c.pseudonym == pseudonym
    if application is not None:
        wanted &= verifications.c.application == application
    rows = connection.execute(select(verifications).where(wanted).order_by(verifications.c.started)).all()
    happened: dict[str, list[Mapping[str, Any]]] = {row.id: [] for row in rows}
    mine = select(verifications.c.id).where(wanted)
    of_mine = select(events).where(events.c.verification.in_(mine)).order_by(events.c.at, events.c.id)
    for row in connection.execute(of_mine):
        through = {"gateway": row.gateway} if row.gateway else {}
        happened[row.verification].append({"type": row.type, "at": row.at, **through, **json.loads(row.details)})
    return tuple(
        Past(row.id, row.application, row.purpose, row.country, row.started, *_ending(row), tuple(happened[row.id]))
        for row in rows
    )


def _ending(row: Row[Any]) -> tuple[str, int]:
    """Return how a verification ended, and when; 0 while it lives. Most that nobody ends expire without an event."""
    if row.status == Status.PENDING and 0 < row.expires <= now():
        return Status.EXPIRED, row.expires
    return row.status, row.ended


def _event(happening: Happening, kept_elsewhere: Collection[str] = _KEPT_ELSEWHERE) -> dict[str, Any]:
    details = {name: value for name, value in happening.fields.items() if value and name not in kept_elsewhere}
    return {
        "id": happening.id,
        "verification": happening.member("id"),
        "type": happening.type,
        "at": happening.at,
        "gateway": happening.member("gateway"),
        "details": json.dumps(details, separators=(",", ":"), sort_keys=True),
    }


def _verification(happening: Happening) -> dict[str, Any]:
    return {
        "id": happening.member("id"),
        "application": happening.member("application"),
        "purpose": happening.member("purpose"),
        "country": happening.member("country"),
        **dict.fromkeys(_OF_START, ""),
        "started": happening.at,
        "expires": 0,
        "status": Status.PENDING,
        "ended": 0,
    }


def _consents(connection: Connection, happenings: Iterable[Happening]) -> list[Consent]:
    """Return the consents that came with starts, without what was erased since."""
    came = [one for one in happenings if one.type == CONSENTED]
    if not came:
        return []
    head.lock(connection)  # an erasure is either seen here, or sees what is recorded here
    erased: dict[tuple[str, str], int] = {}
    for some in batches(list(dict.fromkeys(one.member("pseudonym") for one in came))):
        theirs = select(erasures).where(erasures.c.pseudonym.in_(some))
        for row in connection.execute(theirs.order_by(erasures.c.place)):
            erased[row.pseudonym, row.application] = row.place
    return [_consent(one, erased) for one in came]


def _consent(start: Happening, erased: Mapping[tuple[str, str], int]) -> Consent:
    number, application, place = start.member("pseudonym"), start.member("application"), int(start.member("ledger"))
    evidence = Evidence(**json.loads(start.member("consent")))
    if any(erased.get((number, whose), 0) > place for whose in (application, EVERY_APPLICATION)):
        evidence = evidence.erased
    return Consent(number, application, start.member("purpose"), evidence, place)


def _opt_outs(happenings: Iterable[Happening]) -> Iterator[tuple[Suppression, int]]:
    """Yield what gateways were told, and the place that the mirror had come to then."""
    for one in happenings:
        if one.member("opted_out"):
            yield (
                Suppression(
                    pseudonym=one.member("pseudonym"),
                    application=one.member("application"),
                    scope=SuppressionScope.ALL,
                    source=SuppressionSource.GATEWAY,
                    reason=f"opted out at {one.member('gateway')}",
                ),
                int(one.member("ledger") or 0),
            )
