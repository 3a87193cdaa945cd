"""Verifications, deliveries and inbound messages in the ledger."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    LedgerPart,
    add_rows,
    find_rows,
    insert_rows,
    lock_head,
    read_head,
    rows_among,
    update_rows,
)
from otp_service.ledger.factors import note_steps, of_subject
from otp_service.ledger.partitions import make_partitions, near
from otp_service.ledger.schema import erasures, events, inbound, verifications
from otp_service.ledger.stats import read_event, read_events, record_stats
from otp_service.ledger.webhooks import record_webhooks

_ENDINGS: Final = {f"verification.{status}": status for status in Status if status is not Status.PENDING}
_START_FIELDS: Final = ("pseudonym", "payment", "payment_reference")
"""Members that only the event of a start has."""
_OF_STARTS: Final = (*_START_FIELDS, "started", "expires", "channel", "number_prefix", "standing")
"""Columns that only a start fills."""
_REPLAY_FIELDS: Final = ("attempt", "price", "rule", "guard", "created")
"""Members that only the guard reads, from the stream: addresses and contexts are not for the ledger."""
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
    """The result of recording some events."""

    new: int
    opt_outs: tuple[Suppression, ...] = ()
    """New opt-outs that holders of numbers made at gateways."""
    place: LedgerPosition | None = None
    """Place that the mirror must reach for new opt-outs and consents; ``None`` without any."""
    mirrored: tuple[str, ...] = ()
    """Pseudonyms of the numbers that these are of."""


@dataclass(frozen=True, slots=True)
class RecordedVerification:
    """A verification in the ledger. Times are milliseconds since the epoch."""

    id: str
    application: str
    purpose: str
    country: str
    started: int
    status: str
    ended: int
    """0 until its end is known."""
    events: tuple[Mapping[str, Any], ...] = ()
    """Its events, oldest first: ``type``, ``at`` and details."""
    number_prefix: str = ""
    """First digits of the number, those of a carrier."""
    standing: str = ""
    """``unknown``, ``checked`` or ``known``."""
    channel: str = ""
    expires: int = 0


class VerificationLedger(LedgerPart):
    """Verifications and their events."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
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
            new_consents: list[Consent] = []
            if consents := _consents(connection, events):
                new_consents, _ = record_consent(connection, consents)
            opt_outs = tuple(entry for entry, since in _opt_outs(new) if record_opt_out(connection, entry, since))
            place = read_head(connection) if new_consents or opt_outs else None
            record_webhooks(connection, filter(None, map(webhook_of, new)))
        mirrored = (*(consent.pseudonym for consent in new_consents), *(entry.pseudonym for entry in opt_outs))
        return EventsRecorded(len(new), opt_outs, place, mirrored)

    def keep(self, events: Sequence[Event]) -> None:
        """Record events alone, with all members but those of replays."""
        rows = [_event(event, left_out=_REPLAY_FIELDS) for event in events]
        self._make_partitions(rows)
        with self._database.write() as connection:
            self._insert(connection, rows)

    def _insert(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> set[str]:
        """Insert new events, and their entries in the audit chain; return their names."""
        statement = self._database.insert(events).on_conflict_do_nothing()
        new = set(insert_rows(connection, statement, rows, events.c.id, staged=len(rows) >= MANY))
        append_entry(connection, events, [row for row in rows if row["id"] in new])
        if len(new) < len(rows):
            lock_head(connection)  # a write, whose commit waits for the replicas that must have the earlier rows
        return new

    def _make_partitions(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Make partitions for the days of some events, and ahead of them; a purge may have dropped past days."""
        if self._database.kind != POSTGRESQL:
            return
        recently = now() // DAY - 1
        for day in sorted({row["at"] // DAY for row in rows}):
            if day >= recently and day in self._days_made:
                continue
            with self._database.write() as connection:
                make_partitions(connection, day)
            self._days_made.add(day)

    def last_sender(self, pseudonym: str, gateway: str, since: int) -> tuple[str, int] | None:
        """Return the application whose message a number got last through a gateway, since a time, and when it started.

        By the start of the verification: receipts may be late. ``None`` without a message.
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

    def latest(
        self, pseudonym: str, limit: int, applications: Collection[str] = ()
    ) -> tuple[RecordedVerification, ...]:
        """Return a number's last verifications, of some applications or all, newest first; without their events."""
        mine = select(verifications).where(verifications.c.pseudonym == pseudonym)
        if applications:
            mine = mine.where(verifications.c.application.in_(sorted(applications)))
        return self._find(mine.order_by(desc(verifications.c.started)).limit(limit))

    def unapproved(
        self, since: int, until: int, limit: int, **only: Collection[str]
    ) -> tuple[RecordedVerification, ...]:
        """Return verifications that started from a time to before another (ms) and were not approved, newest first.

        ``only`` filters by column: ``country=["PK"]``. Without their events.
        """
        columns = verifications.c
        statement = select(verifications).where(
            columns.started >= since,
            columns.started < until,
            columns.pseudonym != "",
            columns.status != Status.APPROVED,
        )
        for name, values in only.items():
            statement = statement.where(columns[name].in_(sorted(values)))
        return self._find(statement.order_by(desc(columns.started)).limit(limit))

    def find(self, verification: str) -> RecordedVerification | None:
        """Return a verification, without its events; ``None`` for an unknown one."""
        mine = select(verifications).where(verifications.c.id == verification)
        return next(iter(self._find(mine)), None)

    def _find(self, statement: Select[Any]) -> tuple[RecordedVerification, ...]:
        with self._database.read() as connection:
            return tuple(map(_recorded, connection.execute(statement)))

    def events_of(self, ids: Sequence[str]) -> dict[str, tuple[Event, ...]]:
        """Return the events of some verifications, by verification, in their order."""
        with self._database.read() as connection:
            by_verification = _events_of(connection, ids)
        return {name: tuple(sorted(events, key=attrgetter("place"))) for name, events in by_verification.items()}

    def verifications_with(self, member: str, value: str, since: int, until: int | None, limit: int) -> tuple[str, ...]:
        """Return verifications with an event whose ``member`` has a value, newest first.

        Reads all events from a time to another (ms); ``None`` for no end.
        """
        text = f'"{member}":{json.dumps(value)}'
        mine = select(events.c.verification).where(events.c.at >= since)
        if until is not None:
            mine = mine.where(events.c.at <= until)
        mine = mine.where(events.c.details.contains(text, autoescape=True)).order_by(desc(events.c.at)).limit(limit)
        with self._database.read() as connection:
            return tuple(dict.fromkeys(connection.execute(mine).scalars()))

    def pseudonym_of(self, verification: str) -> str | None:
        """Return the number of a verification; ``None`` for an unknown one, empty until its start is recorded."""
        statement = select(verifications.c.pseudonym).where(verifications.c.id == verification)
        with self._database.read() as connection:
            return connection.execute(statement).scalar()


def _events_of(connection: Connection, ids: Sequence[str]) -> dict[str, list[Event]]:
    by_verification: dict[str, list[Event]] = {name: [] for name in ids}
    for event in read_events(connection, ids):
        by_verification[event.member("id")].append(event)
    return by_verification


def _note_verifications(connection: Connection, new: Sequence[Event]) -> dict[str, dict[str, Any]]:
    """Note starts and ends, in any order; return the rows of all verifications that are counted, by id.

    The first end stays: a Redis restored from a backup may end a verification again. The head's lock, which new events
    take, keeps other writers from these rows. Few verifications last a day, and a start seldom has a row, so only ends
    are looked for in all partitions.
    """
    counted = [event for event in new if event.type in COUNTED or event.type in _ENDINGS]
    if not counted:
        return {}
    starts = {event.member("id"): event for event in counted if event.type == STARTED}
    then = near(verifications.c.started, (event.at for event in counted))
    names, key = {event.member("id") for event in counted}, verifications.c.id
    present = find_rows(connection, select(verifications), key, names, then, names - starts.keys())
    rows = {str(row["id"]): dict(row) for row in present}
    was = {name: row["started"] for name, row in rows.items()}
    for name, event in starts.items():
        standing, number_prefix = standing_of(event)
        rows[name] = rows.get(name, _verification(event)) | {
            **{field: event.member(field) for field in _START_FIELDS},
            "started": event.at,
            "expires": int(event.member("expires") or 0),
            "channel": event.member("channel"),
            "number_prefix": number_prefix,
            "standing": standing.name.lower() if standing else "",
        }
    ended = set()
    for event in counted:
        if event.type in _ENDINGS:
            row = rows.setdefault(event.member("id"), _verification(event))
            if row["status"] == Status.PENDING:
                row |= {"status": _ENDINGS[event.type], "ended": event.at}
                ended.add(row["id"])
    add_rows(connection, verifications, [row for name, row in sorted(rows.items()) if name not in was])
    for changed, columns in ((ended, ("status", "ended")), (starts.keys(), _OF_STARTS)):
        updates = [
            {"of": name, "was": was[name], **{column: rows[name][column] for column in columns}}
            for name in sorted(was.keys() & changed)
        ]
        update_rows(connection, verifications.c.started, updates)
    append_entry(connection, verifications, [rows[name] for name in sorted(starts)])
    return rows


def read_verifications(
    connection: Connection, pseudonym: str, application: str | None
) -> tuple[RecordedVerification, ...]:
    """Return a number's verifications, of one application or of all, oldest first."""
    mine = select(verifications).where(of_subject(verifications, pseudonym, application))
    rows = connection.execute(mine.order_by(verifications.c.started)).all()
    by_verification = _events_of(connection, [row.id for row in rows])
    return tuple(
        _recorded(row, tuple(map(_members, sorted(by_verification[row.id], key=attrgetter("at", "id")))))
        for row in rows
    )


def read_user_events(connection: Connection, user: str) -> tuple[Mapping[str, Any], ...]:
    """Return the events of an application's user (the pseudonym) and of their factors, oldest first."""
    factor = user_id(user).replace("us_", "fa_", 1)  # the identifiers of all of the user's factors begin with it
    subject = events.c.verification
    theirs = or_(subject == user, subject.between(factor, f"{factor}g") & subject.startswith(factor, autoescape=True))
    rows = connection.execute(select(events).where(theirs).order_by(events.c.at, events.c.id))
    return tuple({**_members(read_event(row)), "factor": row.verification.removeprefix(user)} for row in rows)


def _members(event: Event) -> dict[str, Any]:
    fields = {name: value for name, value in event.fields.items() if name != "id" and value}
    return {"type": event.type, "at": event.at, **fields}


def _recorded(row: Row[Any], happened: tuple[Mapping[str, Any], ...] = ()) -> RecordedVerification:
    status, ended = row.status, row.ended
    if status == Status.PENDING and 0 < row.expires <= now():  # most expire without an event
        status, ended = Status.EXPIRED, row.expires
    return RecordedVerification(
        *(row.id, row.application, row.purpose, row.country, row.started, status, ended, happened),
        *(row.number_prefix, row.standing, row.channel, row.expires),
    )


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


def _consents(connection: Connection, events: Iterable[Event]) -> list[Consent]:
    """Return the consents that came with starts; those erased since come without the erased evidence."""
    starts = [event for event in events if event.type == CONSENT_GIVEN]
    if not starts:
        return []
    lock_head(connection)  # either this sees an erasure, or the erasure sees these consents
    erased: dict[tuple[str, str], int] = {}
    pseudonyms = [start.member("pseudonym") for start in starts]
    for row in rows_among(connection, select(erasures).order_by(erasures.c.place), erasures.c.pseudonym, pseudonyms):
        erased[row.pseudonym, row.application] = row.place
    consents = []
    for start in starts:
        pseudonym, application = start.member("pseudonym"), start.member("application")
        evidence, place = ConsentEvidence(**json.loads(start.member("consent"))), int(start.member("ledger"))
        if max(erased.get((pseudonym, scope), 0) for scope in (application, EVERY_APPLICATION)) > place:
            evidence = evidence.erased
        consents.append(Consent(pseudonym, application, start.member("purpose"), evidence, place))
    return consents


def _opt_outs(events: Iterable[Event]) -> Iterator[tuple[Suppression, int]]:
    """Yield opt-outs at gateways, each with the mirror's place in the ledger then."""
    for event in events:
        if event.member("opted_out"):
            suppression = Suppression(
                pseudonym=event.member("pseudonym"),
                application=event.member("application"),
                scope=SuppressionScope.ALL,
                source=SuppressionSource.GATEWAY,
                reason=f"opted out at {event.member('gateway')}",
            )
            yield suppression, int(event.member("ledger") or 0)


class Inbound(LedgerPart):
    """Recorded inbound messages."""

    def known(self, name: str) -> bool:
        """Tell whether a message is recorded already, by all replicas that commits wait for."""
        with self._database.read() as connection:
            if connection.execute(select(inbound.c.id).where(inbound.c.id == name)).first() is None:
                return False
        with self._database.write() as connection:
            lock_head(connection)  # a write, whose commit waits for the replicas that must have the message
        return True

    def record(self, name: str, pseudonym: str, application: str, gateway: str, meaning: Meaning) -> bool:
        """Record a message under its name; return whether it is new.

        ``application``: whose message it answers, empty when unknown.
        """
        with self._database.write() as connection:
            return self._insert(connection, name, pseudonym, application, gateway, meaning)

    def record_start(
        self, name: str, gateway: str, entry: Suppression, sources: Collection[SuppressionSource]
    ) -> tuple[bool, Added | None]:
        """Record a START message, and lift suppressions from some sources, both or neither.

        Returns whether it is new, and what was lifted: a repetition lifts nothing.
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
