"""Verifications, deliveries and inbound messages in the ledger."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, desc, exists, or_, select

from otp_service.clock import now
from otp_service.domain.audit import CONSENT_GIVEN, Event
from otp_service.domain.consents import (
    EVERY_APPLICATION,
    Consent,
    ConsentEvidence,
    LedgerPosition,
    Suppression,
    SuppressionScope,
    SuppressionSource,
)
from otp_service.domain.guard import DAY
from otp_service.domain.inbound import Meaning
from otp_service.domain.keyring import user_id
from otp_service.domain.stats import COUNTED, STARTED
from otp_service.domain.tallies import standing_of
from otp_service.domain.verification import Status
from otp_service.domain.webhooks import webhook_of
from otp_service.ledger.audit import append_entry
from otp_service.ledger.consents import Added, lift_if_only_from, record_consent, record_opt_out
from otp_service.ledger.database import (
    MANY,
    POSTGRESQL,
    Database,
    add_rows,
    batches,
    find_rows,
    in_batches,
    insert_rows,
    lock_head,
    read_head,
    update_rows,
)
from otp_service.ledger.factors import note_steps
from otp_service.ledger.partitions import make_partitions, near
from otp_service.ledger.schema import erasures, events, inbound, verifications
from otp_service.ledger.stats import record_stats
from otp_service.ledger.webhooks import record_webhooks

_ENDINGS: Final = {f"verification.{status}": status for status in Status if status is not Status.PENDING}
_START_FIELDS: Final = ("pseudonym", "payment", "payment_reference")
"""What only the event of a start says of a verification."""
_OF_STARTS: Final = (*_START_FIELDS, "started", "expires", "channel", "number_prefix", "standing")
"""Columns that only a start fills."""
_REPLAY_FIELDS: Final = ("attempt", "price", "rule", "guard", "created")
"""What only the guard reads, from the stream: addresses and contexts are not for the ledger."""
_NOT_IN_DETAILS: Final = frozenset(
    {
        *("type", "id", "application", "purpose", "country", "gateway", "expires", "consent", "ledger", "known"),
        *_START_FIELDS,
        *_REPLAY_FIELDS,
    }
)
"""Members that are in columns, in other tables, or nowhere in the ledger."""


@dataclass(frozen=True, slots=True)
class EventsRecorded:
    """What recording some events has led to."""

    new: int
    """How many were not in the ledger before."""
    opt_outs: tuple[Suppression, ...] = ()
    """What gateways were told by the holders of numbers, and we did not know."""
    place: LedgerPosition | None = None
    """What the mirror has to come to for opt-outs, and consents that came with starts; ``None`` without any."""
    mirrored: tuple[str, ...] = ()
    """Pseudonyms of the numbers that these are of."""


@dataclass(frozen=True, slots=True)
class RecordedVerification:
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
    number_prefix: str = ""
    """First digits of the number, those of a carrier."""
    standing: str = ""
    """``unknown``, ``checked`` or ``known``."""
    channel: str = ""
    """Of its first message."""
    expires: int = 0
    """When its code does."""


class VerificationLedger:
    """Verifications and their events. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._days_made: set[int] = set()

    def record(self, events: Sequence[Event]) -> EventsRecorded:
        """Record events, and the webhooks that report them, all or nothing; skip those already recorded."""
        if not events:
            return EventsRecorded(0)
        rows = [_event(event) for event in events if event.type != CONSENT_GIVEN]
        self._make_partitions(rows)
        with self._database.write() as connection:
            inserted = self._insert(connection, rows)
            new = [*{event.id: event for event in events if event.id in inserted}.values()]
            record_stats(connection, self._database, new, _note_verifications(connection, new))
            note_steps(connection, events)
            given: list[Consent] = []
            if consents := _consents(connection, events):  # of a repeated one nothing is new
                given, _ = record_consent(connection, consents)
            opt_outs = tuple(entry for entry, since in _opt_outs(new) if record_opt_out(connection, entry, since))
            place = read_head(connection) if given or opt_outs else None
            record_webhooks(connection, filter(None, map(webhook_of, new)))
        mirrored = (*(consent.pseudonym for consent in given), *(entry.pseudonym for entry in opt_outs))
        return EventsRecorded(len(new), opt_outs, place, mirrored)

    def keep(self, events: Sequence[Event]) -> None:
        """Keep events with all that they say, but for what replays read, and nothing that follows from it."""
        rows = [_event(one, left_out=_REPLAY_FIELDS) for one in events]
        self._make_partitions(rows)
        with self._database.write() as connection:
            self._insert(connection, rows)

    def _insert(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> set[str]:
        """Insert events that are not there yet, and their entries in the audit chain; return their names."""
        statement = self._database.insert(events).on_conflict_do_nothing()
        fresh = set(insert_rows(connection, statement, rows, events.c.id, staged=len(rows) >= MANY))
        append_entry(connection, events, [row for row in rows if row["id"] in fresh])
        if len(fresh) < len(rows):
            lock_head(connection)  # a write, whose commit waits for the replicas that must have what was there already
        return fresh

    def _make_partitions(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Make partitions for the days of some events, and ahead of them; those of days long ago may be gone again."""
        if self._database.kind != POSTGRESQL:
            return
        days = {row["at"] // DAY for row in rows}
        recently = now() // DAY - 1
        for day in sorted(one for one in days if one < recently or one not in self._days_made):
            with self._database.write() as connection:
                make_partitions(connection, day)
            self._days_made.add(day)

    def last_sender(self, pseudonym: str, gateway: str, since: int) -> tuple[str, int] | None:
        """Return the application whose message a number got last through a gateway, from a time on, and when.

        By the start of the verification: a late receipt says nothing of what came last. Else ``None``.
        """
        kinds = ("delivery.sent", "delivery.delivered", "delivery.unknown")
        through = exists().where(
            events.c.verification == verifications.c.id, events.c.type.in_(kinds), events.c.gateway == gateway
        )
        sent = (
            select(verifications.c.application, verifications.c.started)
            .where(verifications.c.pseudonym == pseudonym, verifications.c.started >= since)
            .where(through)
            .order_by(desc(verifications.c.started))
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(sent).one_or_none()
        return (row.application, row.started) if row else None

    def latest(self, pseudonym: str, most: int, applications: Collection[str] = ()) -> tuple[RecordedVerification, ...]:
        """Return a number's last verifications, of some applications or all, newest first; without their events."""
        mine = select(verifications).where(verifications.c.pseudonym == pseudonym)
        if applications:
            mine = mine.where(verifications.c.application.in_(sorted(applications)))
        return self._find(mine.order_by(desc(verifications.c.started)).limit(most))

    def unapproved(
        self, since: int, until: int, most: int, **only: Collection[str]
    ) -> tuple[RecordedVerification, ...]:
        """Return verifications that started from a time to before another (ms) and were not approved, newest first.

        ``only`` says which, by column: ``country=["PK"]``. Without their events.
        """
        wanted = select(verifications).where(
            verifications.c.started >= since, verifications.c.started < until, verifications.c.pseudonym != ""
        )
        wanted = wanted.where(verifications.c.status != Status.APPROVED)
        for name, values in only.items():
            wanted = wanted.where(verifications.c[name].in_(sorted(values)))
        return self._find(wanted.order_by(desc(verifications.c.started)).limit(most))

    def find(self, verification: str) -> RecordedVerification | None:
        """Return a verification, without its events; ``None`` when it is not here."""
        mine = select(verifications).where(verifications.c.id == verification)
        return next(iter(self._find(mine)), None)

    def _find(self, wanted: Select[Any]) -> tuple[RecordedVerification, ...]:
        with self._database.read() as connection:
            return tuple(map(_recorded, connection.execute(wanted)))

    def events_of(self, wanted: Sequence[str]) -> dict[str, tuple[Event, ...]]:
        """Return the events of some verifications, by verification, in the order in which they happened."""
        found: dict[str, list[Event]] = {one: [] for one in wanted}
        with self._database.read() as connection:
            for event in _events_of(connection, wanted):
                found[event.member("id")].append(event)
        return {one: tuple(sorted(happened, key=attrgetter("place"))) for one, happened in found.items()}

    def verifications_with(self, member: str, value: str, since: int, until: int | None, limit: int) -> tuple[str, ...]:
        """Return verifications with an event whose ``member`` has a value, newest first, at most so many.

        The events happened from a time to another (ms); ``None`` for no end. All of that time is read.
        """
        text = f'"{member}":{json.dumps(value)}'
        mine = select(events.c.verification).where(events.c.at >= since)
        if until is not None:
            mine = mine.where(events.c.at <= until)
        mine = mine.where(events.c.details.contains(text, autoescape=True)).order_by(desc(events.c.at)).limit(limit)
        with self._database.read() as connection:
            return tuple(dict.fromkeys(connection.execute(mine).scalars()))

    def pseudonym_of(self, verification: str) -> str | None:
        """Return whose a verification is; ``None`` when it is not here, empty where only its end is."""
        wanted = select(verifications.c.pseudonym).where(verifications.c.id == verification)
        with self._database.read() as connection:
            return connection.execute(wanted).scalar()


def _events_of(connection: Connection, wanted: Sequence[str]) -> Iterator[Event]:
    """Yield the events of some verifications."""
    for some in batches(wanted):
        yield from map(_read_event, connection.execute(select(events).where(events.c.verification.in_(some))))


def _read_event(row: Row[Any]) -> Event:
    fields = {**json.loads(row.details), "id": row.verification, "gateway": row.gateway}
    return Event(row.id, row.at, row.type, fields)


def _note_verifications(connection: Connection, new: Sequence[Event]) -> dict[str, dict[str, Any]]:
    """Note starts and ends, in whichever order they come; return the rows of all verifications that are counted, by id.

    The first end stays: a Redis whose backup was restored may end once more what had ended. Nobody else changes rows
    meanwhile: who has new events has the head's lock. Few verifications last a day, and of a start there is seldom a
    row, so only what ends is looked for everywhere.
    """
    about = [one for one in new if one.type in COUNTED or one.type in _ENDINGS]
    if not about:
        return {}
    starts = {one.member("id"): one for one in about if one.type == STARTED}
    then = near(verifications.c.started, (one.at for one in about))
    names, key = {one.member("id") for one in about}, verifications.c.id
    found = find_rows(connection, select(verifications), key, names, then, names - starts.keys())
    rows = {str(row["id"]): dict(row) for row in found}
    was = {name: row["started"] for name, row in rows.items()}
    for name, one in starts.items():
        rows[name] = rows.get(name, _verification(one)) | _start(one)
    ended = set()
    for one in about:
        if one.type in _ENDINGS:
            row = rows.setdefault(one.member("id"), _verification(one))
            if row["status"] == Status.PENDING:
                row |= {"status": _ENDINGS[one.type], "ended": one.at}
                ended.add(row["id"])
    add_rows(connection, verifications, [row for name, row in sorted(rows.items()) if name not in was])
    for changed, columns in ((ended, ("status", "ended")), (starts.keys(), _OF_STARTS)):
        told = [
            {"of": name, "was": was[name], **{column: rows[name][column] for column in columns}}
            for name in sorted(was.keys() & changed)
        ]
        update_rows(connection, verifications.c.started, told)
    append_entry(connection, verifications, [rows[name] for name in sorted(starts)])
    return rows


def read_verifications(
    connection: Connection, pseudonym: str, application: str | None
) -> tuple[RecordedVerification, ...]:
    """Return a number's verifications, of one application or of all, oldest first."""
    wanted = verifications.c.pseudonym == pseudonym
    if application is not None:
        wanted &= verifications.c.application == application
    rows = connection.execute(select(verifications).where(wanted).order_by(verifications.c.started)).all()
    happened: dict[str, list[Event]] = {row.id: [] for row in rows}
    for one in _events_of(connection, list(happened)):
        happened[one.member("id")].append(one)
    return tuple(
        _recorded(row, tuple(map(_told, sorted(happened[row.id], key=attrgetter("at", "id"))))) for row in rows
    )


def read_user_events(connection: Connection, user: str) -> tuple[Mapping[str, Any], ...]:
    """Return what happened to an application's user (the pseudonym), whom events name, or a factor: oldest first."""
    factor = user_id(user).replace("us_", "fa_", 1)  # what the identifiers of all of the user's factors begin with
    subject = events.c.verification
    theirs = or_(subject == user, subject.between(factor, f"{factor}g") & subject.startswith(factor, autoescape=True))
    happened = map(_read_event, connection.execute(select(events).where(theirs).order_by(events.c.at, events.c.id)))
    return tuple({**_told(event), "factor": event.member("id").removeprefix(user)} for event in happened)


def _told(event: Event) -> dict[str, Any]:
    fields = {name: value for name, value in event.fields.items() if name != "id" and value}
    return {"type": event.type, "at": event.at, **fields}


def _recorded(row: Row[Any], happened: tuple[Mapping[str, Any], ...] = ()) -> RecordedVerification:
    about = (row.id, row.application, row.purpose, row.country, row.started)
    return RecordedVerification(
        *about, *_ending(row), happened, row.number_prefix, row.standing, row.channel, row.expires
    )


def _ending(row: Row[Any]) -> tuple[str, int]:
    """Return how a verification ended, and when; 0 while it lives. Most that nobody ends expire without an event."""
    if row.status == Status.PENDING and 0 < row.expires <= now():
        return Status.EXPIRED, row.expires
    return row.status, row.ended


def _event(event: Event, left_out: Collection[str] = _NOT_IN_DETAILS) -> dict[str, Any]:
    details = {name: value for name, value in event.fields.items() if value and name not in left_out}
    return {
        "id": event.id,
        "verification": event.member("id"),
        "type": event.type,
        "at": event.at,
        "gateway": event.member("gateway"),
        "details": json.dumps(details, separators=(",", ":"), sort_keys=True),
    }


def _verification(event: Event) -> dict[str, Any]:
    return {
        "id": event.member("id"),
        "application": event.member("application"),
        "purpose": event.member("purpose"),
        "country": event.member("country"),
        **dict.fromkeys(_START_FIELDS, ""),
        "started": event.at,
        "expires": 0,
        "status": Status.PENDING,
        "ended": 0,
        **dict.fromkeys(("channel", "number_prefix", "standing"), ""),
    }


def _start(event: Event) -> dict[str, Any]:
    """Return the columns that only a start fills."""
    standing, number_prefix = standing_of(event)
    return {
        **{name: event.member(name) for name in _START_FIELDS},
        "started": event.at,
        "expires": int(event.member("expires") or 0),
        "channel": event.member("channel"),
        "number_prefix": number_prefix,
        "standing": standing.name.lower() if standing else "",
    }


def _consents(connection: Connection, events: Iterable[Event]) -> list[Consent]:
    """Return the consents that came with starts, without what was erased since."""
    came = [one for one in events if one.type == CONSENT_GIVEN]
    if not came:
        return []
    lock_head(connection)  # an erasure is either seen here, or sees what is recorded here
    erased: dict[tuple[str, str], int] = {}
    for some in in_batches(list(dict.fromkeys(one.member("pseudonym") for one in came))):
        theirs = select(erasures).where(erasures.c.pseudonym.in_(some))
        for row in connection.execute(theirs.order_by(erasures.c.place)):
            erased[row.pseudonym, row.application] = row.place
    return [_consent(one, erased) for one in came]


def _consent(start: Event, erased: Mapping[tuple[str, str], int]) -> Consent:
    number, application, place = start.member("pseudonym"), start.member("application"), int(start.member("ledger"))
    evidence = ConsentEvidence(**json.loads(start.member("consent")))
    if any(erased.get((number, whose), 0) > place for whose in (application, EVERY_APPLICATION)):
        evidence = evidence.erased
    return Consent(number, application, start.member("purpose"), evidence, place)


def _opt_outs(events: Iterable[Event]) -> Iterator[tuple[Suppression, int]]:
    """Yield what gateways were told, and the place that the mirror had come to then."""
    for one in events:
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


class Inbound:
    """Recorded inbound messages. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self, name: str) -> bool:
        """Tell whether a message is recorded already, by all replicas that commits wait for."""
        with self._database.read() as connection:
            if connection.execute(select(inbound.c.id).where(inbound.c.id == name)).first() is None:
                return False
        with self._database.write() as connection:
            lock_head(connection)  # a write, whose commit waits for the replicas that must have what was there already
        return True

    def record(self, name: str, pseudonym: str, application: str, gateway: str, meaning: Meaning) -> bool:
        """Record a message under its name; return whether it is new.

        ``application`` is the one that it answered, empty when that is not known.
        """
        with self._database.write() as connection:
            return self._insert(connection, name, pseudonym, application, gateway, meaning)

    def record_start(
        self, name: str, gateway: str, entry: Suppression, sources: Collection[SuppressionSource]
    ) -> tuple[bool, Added | None]:
        """Record a message that asks for messages again, and lift what comes from some sources, both or neither.

        Returns whether it is new, and what that has led to: a repetition lifts nothing, however late.
        """
        with self._database.write() as connection:
            if not self._insert(connection, name, entry.pseudonym, entry.application, gateway, Meaning.START):
                return False, None
            return True, lift_if_only_from(connection, entry, sources)

    def _insert(
        self, connection: Connection, name: str, pseudonym: str, application: str, gateway: str, meaning: Meaning
    ) -> bool:
        row = {
            "id": name,
            "pseudonym": pseudonym,
            "application": application,
            "gateway": gateway,
            "meaning": meaning,
            "received": now(),
        }
        statement = self._database.insert(inbound).values(row).on_conflict_do_nothing().returning(inbound.c.id)
        is_new = connection.execute(statement).first() is not None
        if is_new:
            append_entry(connection, inbound, [row])
        else:
            lock_head(connection)  # as in `known`
        return is_new
