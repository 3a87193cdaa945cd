"""The last verifications of a number, from records, the ledger and events, and why a code did or did not arrive."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from operator import attrgetter
from typing import Final

from otp_service.domain.audit import Event
from otp_service.domain.codes import unseal_mask
from otp_service.domain.keyring import SealBrokenError
from otp_service.domain.numbers import Destination
from otp_service.domain.routing import GatewayHealth
from otp_service.domain.verification import Delivery, DeliveryStatus, GatewayChoice, Status, Verification
from otp_service.errors import LedgerUnavailableError
from otp_service.gateways.base import REPORTS_OVER_HTTP, SupportsConnections
from otp_service.ledger.verifications import RecordedVerification
from otp_service.services.context import Context
from otp_service.store.events import EventHistory


@dataclass(frozen=True, slots=True)
class VerificationHistory:
    """What is known of a verification. Times are milliseconds since the epoch, by Redis' clock."""

    id: str
    application: str
    """Empty, like purpose and country, when nothing but the start is remembered."""
    purpose: str
    country: str
    mask: str
    started: int
    status: Status | None
    """``None`` when it is not known how it ended."""
    checks: int
    """Codes that were compared."""
    deliveries: tuple[Delivery, ...]
    """By message and dispatch. ``channel`` is empty where it is no longer known."""
    given_up: Mapping[int, str] = field(default_factory=dict)
    """Reasons for which messages became dead letters, by the message's number."""


@dataclass(frozen=True, slots=True)
class DeliveryConditions:
    """Workers and gateways at the moment, for a message that has not arrived yet."""

    worker: bool
    """Whether a worker was seen lately."""
    route: Mapping[str, GatewayHealth]
    """The gateways that may carry the last message, and how they are."""


class Why(StrEnum):
    """Why a code did or did not arrive."""

    DELIVERED = "delivered"
    """The gateway reported that the handset has it."""
    CHECKED = "checked"
    """Nobody reported it, but the right code was typed."""
    TAKEN = "taken"
    """A gateway took it, and reported nothing final."""
    UNDELIVERED = "undelivered"
    """The gateway reported that the handset does not get it."""
    TOO_LATE_THERE = "too_late_there"
    """The gateway reported that it became too old on its way."""
    DESTINATION = "destination"
    REJECTED = "rejected"
    FRAUD = "fraud"
    CHANNEL = "channel"
    ALL_FAILED = "all_failed"
    """No gateway took it while it was worth anything."""
    TRIED_AGAIN = "tried_again"
    """All that were asked failed; they will be asked again."""
    NOBODY_KNOWS = "nobody_knows"
    """It may have been sent."""
    IN_HAND = "in_hand"
    """A worker hands it over at this moment."""
    WAITS = "waits"
    NO_WORKER = "no_worker"
    BLOCKED = "blocked"
    """All gateways of its route are left alone."""
    NO_ROUTE = "no_route"
    POLICY = "policy"
    """A rule of the site's own kept it back."""
    SPENT = "spent"
    """A further call would have passed a spending ceiling."""
    SUPPRESSED = "suppressed"
    """The number's holder, or an operator, wanted no messages by then."""
    FROZEN = "frozen"
    """Fraud was reported, and the number was frozen by then."""
    NO_CONSENT = "no_consent"
    """The consent was withdrawn meanwhile."""
    TOO_LATE = "too_late"
    """Nobody took it while its code lived."""
    ENDED_FIRST = "ended_first"
    """It was not sent, for the verification had ended."""
    UNREADABLE = "unreadable"
    """Its key or its application has left the configuration, or a newer release wrote it."""
    DEFECT = "defect"
    """This service could not write the message."""
    FORGOTTEN = "forgotten"
    """The events no longer reach back so far."""


@dataclass(frozen=True, slots=True)
class DeliveryExplanation:
    """Why a code did or did not arrive, and the dispatch that this is about."""

    why: Why
    delivery: Delivery | None = None
    """The dispatch that it is about, or the message that waits."""
    failures: tuple[Delivery, ...] = ()
    """The calls for the last message that failed."""


_WHY_REFUSED = {
    "destination": Why.DESTINATION,
    "rejected": Why.REJECTED,
    "fraud": Why.FRAUD,
    "channel": Why.CHANNEL,
    "suppressed": Why.SUPPRESSED,
    "frozen": Why.FROZEN,
    "consent-required": Why.NO_CONSENT,
}
_WHY_GIVEN_UP = {
    "no_route": Why.NO_ROUTE,
    "policy": Why.POLICY,
    "no_verdict": Why.POLICY,
    "spend_ceiling": Why.SPENT,
    "no_gateway": Why.ALL_FAILED,
    "too_many_errors": Why.ALL_FAILED,
    "unreadable": Why.UNREADABLE,
    "no_application": Why.UNREADABLE,
    "defect": Why.DEFECT,
    "too_many_ambiguous": Why.NOBODY_KNOWS,
    "expired": Why.TOO_LATE,
    "gone": Why.TOO_LATE,
}
_OUTWEIGHS_FAILED_CALLS = frozenset({Why.DEFECT, Why.NO_ROUTE, Why.POLICY, Why.SPENT, Why.UNREADABLE})
"""Reasons to give a message up that matter more than the calls that failed before."""
_ENDED = frozenset(Status) - {Status.PENDING, Status.EXPIRED}
_FAILED = frozenset({DeliveryStatus.FAILED, DeliveryStatus.UNKNOWN})


def explain(history: VerificationHistory, conditions: DeliveryConditions) -> DeliveryExplanation:
    """Return why a code did or did not arrive: the best that happened, otherwise what became of the last message."""
    if not history.deliveries:
        return DeliveryExplanation(Why.CHECKED if history.status is Status.APPROVED else Why.FORGOTTEN)
    arrived = next((one for one in history.deliveries if one.status is DeliveryStatus.DELIVERED), None)
    if arrived:
        return DeliveryExplanation(Why.DELIVERED, arrived)
    last = history.deliveries[-1]
    if history.status is Status.APPROVED:
        return DeliveryExplanation(Why.CHECKED, last)
    calls = (one for one in history.deliveries if one.message == last.message and one.gateway)
    failures = tuple(one for one in calls if one.status in _FAILED)
    return DeliveryExplanation(_why(history, last, failures, conditions), last, failures)


def _why(
    history: VerificationHistory, last: Delivery, failures: tuple[Delivery, ...], conditions: DeliveryConditions
) -> Why:
    match last.status:
        case DeliveryStatus.SENT:
            return Why.TAKEN
        case DeliveryStatus.UNDELIVERED:
            return Why.UNDELIVERED
        case DeliveryStatus.EXPIRED:
            return Why.TOO_LATE_THERE if last.gateway else Why.TOO_LATE
        case DeliveryStatus.QUEUED:
            return _why_in_hand(history, last) if last.gateway else _why_waiting(history, last, conditions)
        case _:
            return _why_failed(history, last, failures)


def _lives_on(history: VerificationHistory, last: Delivery) -> bool:
    """Tell whether its message may still be sent."""
    return history.status is Status.PENDING and last.message not in history.given_up


def _why_in_hand(history: VerificationHistory, last: Delivery) -> Why:
    return Why.IN_HAND if _lives_on(history, last) else Why.NOBODY_KNOWS


def _why_waiting(history: VerificationHistory, last: Delivery, conditions: DeliveryConditions) -> Why:
    if last.message in history.given_up:
        return _why_given_up(history.given_up[last.message])
    if history.status is not Status.PENDING:
        return Why.TOO_LATE if history.status in {Status.EXPIRED, None} else Why.ENDED_FIRST
    if not conditions.route:
        return Why.NO_ROUTE
    if not conditions.worker:
        return Why.NO_WORKER
    return Why.BLOCKED if all(one.probe_in or one.throttled_for for one in conditions.route.values()) else Why.WAITS


def _why_given_up(reason: str) -> Why:
    return _WHY_GIVEN_UP.get(reason.partition(" ")[0], Why.ALL_FAILED)


def _why_failed(history: VerificationHistory, last: Delivery, failures: tuple[Delivery, ...]) -> Why:
    """Tell what a failure means: a call's begins with its kind, a message's says why it was given up or dropped."""
    word, lives_on = (last.reason or "").partition(" ")[0], _lives_on(history, last)
    if word in _WHY_REFUSED and not (word == Why.CHANNEL and lives_on):  # the next channel is tried
        return _WHY_REFUSED[word]
    if last.raw_status:
        return Why.NOBODY_KNOWS if last.status is DeliveryStatus.UNKNOWN else Why.UNDELIVERED
    if word in _ENDED:
        return Why.ENDED_FIRST
    if lives_on:
        return Why.TRIED_AGAIN
    given_up = _why_given_up(history.given_up.get(last.message, "" if last.gateway else word))
    if given_up in _OUTWEIGHS_FAILED_CALLS or not failures:
        return given_up
    perhaps = any(one.status is DeliveryStatus.UNKNOWN for one in failures)
    return Why.NOBODY_KNOWS if perhaps else Why.ALL_FAILED


_SLOT = re.compile(r"d(\d+)\.(\d+)")
_STARTED, _RESENT = "verification.started", "verification.resent"
_GIVEN_UP, _REDRIVEN = "message.given_up", "message.redriven"
_OUTCOME, _DELIVERY = "verification.", "delivery."
_COMPARED = frozenset({"check.failed", "verification.approved", "verification.max_attempts_reached"})
"""Events of codes that were compared."""
_Slots = dict[tuple[int, int], Delivery]


@dataclass(frozen=True, slots=True)
class _Found:
    """What is known of a verification, in Redis and the ledger."""

    id: str
    started: int
    record: Verification | None
    row: RecordedVerification | None
    events: tuple[Event, ...]
    complete: bool
    """Whether all of its events were read."""


def _history_from_events(found: _Found, mask: str) -> VerificationHistory:
    """Rebuild the history of a verification whose record is gone from its events."""
    about = next((event for event in found.events if event.member("application")), Event("", 0, "", {}))
    end = next((event for event in reversed(found.events) if _status_of(event)), None)
    begun = found.row is not None or any(event.type == _STARTED for event in found.events)
    unended = Status.EXPIRED if begun and found.complete else None
    return VerificationHistory(
        id=found.id,
        application=found.row.application if found.row else about.member("application"),
        purpose=found.row.purpose if found.row else about.member("purpose"),
        country=found.row.country if found.row else about.member("country"),
        mask=mask,
        started=found.started,
        status=_status_of(end) if end else unended,
        checks=sum(event.type in _COMPARED for event in found.events),
        deliveries=_deliveries(found.events),
        given_up=_given_up(found.events),
    )


def _status_of(event: Event) -> Status | None:
    word = event.type.removeprefix(_OUTCOME)
    return Status(word) if event.type != word and word in Status.__members__.values() else None


def _given_up(events: tuple[Event, ...]) -> dict[int, str]:
    """Return why messages were given up, by their number; those that were put back since are not."""
    reasons: dict[int, str] = {}
    for event in events:
        number = event.member("message")
        message = int(number) if number.isdigit() else 0
        if event.type == _GIVEN_UP:
            reasons[message] = event.member("reason")
        elif event.type == _REDRIVEN:
            reasons.pop(message, None)
    return reasons


def _deliveries(events: tuple[Event, ...]) -> tuple[Delivery, ...]:
    """Return what became of each message; one without events of its own still waits."""
    slots: _Slots = {}
    messages = 0
    for event in events:
        if event.type in {_STARTED, _RESENT}:
            messages += 1
            slots[messages, 1] = _waiting(event, messages)
        elif event.type.startswith(_DELIVERY):
            _apply_event(slots, event)
    return tuple(_delivery_in(slots, place) for place in sorted(slots))


def _delivery_in(slots: _Slots, place: tuple[int, int]) -> Delivery:
    """Return a slot; a call without an outcome that was followed by another one was broken off by a worker's death."""
    message, dispatch = place
    if slots[place].status is DeliveryStatus.QUEUED and (message, dispatch + 1) in slots:
        return replace(slots[place], status=DeliveryStatus.UNKNOWN, reason="interrupted")
    return slots[place]


def _waiting(event: Event, message: int) -> Delivery:
    return Delivery(
        message=message,
        dispatch=1,
        channel=event.member("channel"),
        gateway=None,
        status=DeliveryStatus.QUEUED,
        at=event.at,
        reason=None,
        begun=event.at,
    )


def _apply_event(slots: _Slots, event: Event) -> None:
    """Apply an event to the delivery in its slot; members that it lacks stay as they were."""
    slot, word = _SLOT.fullmatch(event.member("slot")), event.type.removeprefix(_DELIVERY)
    if not slot or word not in DeliveryStatus.__members__.values():
        return
    place = (int(slot[1]), int(slot[2]))
    known = slots.get(place) or replace(_waiting(event, place[0]), dispatch=place[1])
    choice = event.member("choice")
    if not event.member("status"):  # otherwise a report was faster, and outweighs it
        known = replace(known, status=DeliveryStatus(word), at=event.at, reason=event.member("reason") or None)
    slots[place] = replace(
        known,
        channel=event.member("channel") or known.channel,
        gateway=event.member("gateway") or known.gateway,
        choice=GatewayChoice(choice) if choice in GatewayChoice.__members__.values() else known.choice,
        begun=known.begun if known.gateway else event.at,
        raw_status=event.member("raw_status") or known.raw_status,
        reference=event.member("reference") or known.reference,
        dispatch_id=event.member("dispatch") or known.dispatch_id,
    )


_ARRIVED = frozenset({DeliveryStatus.DELIVERED, DeliveryStatus.SENT})
_MOST_RECENT: Final = 20
"""Verifications that are told of a number: as many as Redis remembers."""
_UNRECORDED_PAGES: Final = 20
"""Pages of events that are read for what the ledger lacks: a recorder is seconds behind, unless it does not run."""
_TOLD: Final = (
    *("channel", "gateway", "slot", "message", "choice", "status", "reason", "raw_status", "reference"),
    *("dispatch", "request"),
)
"""Members of events that are passed on: no pseudonym, nothing that the guard counts by."""


@dataclass(frozen=True, slots=True)
class ExplainedVerification:
    """One verification, and why its code did or did not arrive."""

    history: VerificationHistory
    explanation: DeliveryExplanation
    route: Mapping[str, GatewayHealth]
    """The gateways that may carry its last message, and how they are."""
    again_in: int = 0
    """Milliseconds until a new code may be asked for, as far as its own delays are concerned."""
    events: tuple[Event, ...] = ()
    """What happened, oldest first: all of it where it was asked for by its identifier."""


@dataclass(frozen=True, slots=True)
class NumberHistory:
    """The last verifications of a number, or the one of an identifier."""

    verifications: tuple[ExplainedVerification, ...]
    """Newest first."""
    complete: bool
    """Whether all events were read that are about them."""
    reporting: frozenset[str]
    """Gateways that are asked to report what becomes of a message."""
    from_ledger: bool = True
    """Whether the ledger was read; while it is away there is only what Redis remembers."""


def find_number_history(context: Context, to: Destination, applications: Collection[str] = ()) -> NumberHistory:
    """Return the last verifications of a number, of some applications or all; nothing is written.

    What has a record is read from it; of the others the ledger tells, and the event stream what is not recorded yet.
    """
    pseudonym = context.keyring.pseudonym(to.e164)
    bucket = context.keyring.bucket(pseudonym)
    started: dict[str, int | None] = {one.id: one.at for one in context.store.history.recent(bucket, pseudonym)}
    found = _find(
        context,
        bucket,
        started,
        lambda: context.ledger.verifications.latest(pseudonym, _MOST_RECENT, applications),
        to.mask,
    )
    if not applications:
        return found
    seen = tuple(one for one in found.verifications if one.history.application in applications)
    return replace(found, verifications=seen)


def find_verification(context: Context, verification_id: str) -> NumberHistory:
    """Return a verification with all that happened to it; none when nobody knows it. Nothing is written."""
    bucket = context.keyring.bucket_of_id(verification_id, retired=True)
    if bucket is None:  # anything may be typed in
        return NumberHistory((), complete=True, reporting=frozenset())
    ledger = context.ledger.verifications
    return _find(context, bucket, {verification_id: None}, lambda: filter(None, [ledger.find(verification_id)]))


def find_pseudonym(context: Context, verification_id: str) -> str:
    """Return whose a verification is; empty when nobody knows. Raises `LedgerUnavailableError`."""
    bucket = context.keyring.bucket_of_id(verification_id, retired=True)
    record = context.store.verifications.read(bucket, verification_id) if bucket else None
    return record.pseudonym if record else context.ledger.verifications.pseudonym_of(verification_id) or ""


def _find(
    context: Context,
    bucket: str,
    started: Mapping[str, int | None],
    ask_ledger: Callable[[], Iterable[RecordedVerification]],
    mask: str | None = None,
) -> NumberHistory:
    """Return the newest of what Redis knows (when each ``started``) and the ledger.

    Without a ``mask`` one was asked for by its identifier: all that happened is wanted.
    """
    begin = context.store.events.unrecorded_from(bucket)  # first: what is recorded from now on is read twice
    recorded = _ask_ledger(context, started, ask_ledger)
    times = _starts(started, recorded or _Recorded())
    newest = sorted(times, key=lambda one: times[one] or math.inf, reverse=True)[:_MOST_RECENT]
    records = {one: context.store.verifications.read_at(bucket, one) for one in newest}
    times |= {one: record.created for one, (_, record) in records.items() if record}
    since = {one: times[one] for one in newest} if mask is None else _events_needed(times, records)
    past = (
        context.store.history.events_of(bucket, since, begin, _UNRECORDED_PAGES)
        if recorded
        else context.store.history.events_of(bucket, since)
    )
    known = (_join(one, times[one], records[one][1], recorded or _Recorded(), past) for one in newest)
    found = [one for one in known if mask is not None or one.record or one.events or one.row]
    health = context.store.health.of(tuple(context.gateways))
    worker = context.store.server.worker_age() is not None
    return NumberHistory(
        verifications=tuple(
            _explained(context, one, records[one.id][0], mask, DeliveryConditions(worker, health)) for one in found
        ),
        complete=past.complete,
        reporting=frozenset(_reporting_gateways(context)),
        from_ledger=recorded is not None,
    )


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What the ledger knows, by verification."""

    rows: Mapping[str, RecordedVerification] = field(default_factory=dict)
    events: Mapping[str, tuple[Event, ...]] = field(default_factory=dict)


def _starts(known: Mapping[str, int | None], recorded: _Recorded) -> dict[str, int | None]:
    """Return when verifications started; a row whose start is not recorded yet has the time of its end."""
    begun = (name for name in recorded.rows if any(one.type == _STARTED for one in recorded.events[name]))
    told = {name: recorded.rows[name].started for name in begun}
    return {name: known.get(name) or told.get(name) for name in {**known, **recorded.rows}}


def _ask_ledger(
    context: Context, known: Iterable[str], ask: Callable[[], Iterable[RecordedVerification]]
) -> _Recorded | None:
    """Return what the ledger knows of verifications, and of what is asked for; ``None`` while it is away."""
    try:
        rows = {one.id: one for one in ask()}
        return _Recorded(rows, context.ledger.verifications.events_of(list({**dict.fromkeys(known), **rows})))
    except LedgerUnavailableError:
        return None


def _events_needed(
    times: Mapping[str, int | None], records: Mapping[str, tuple[int, Verification | None]]
) -> dict[str, int | None]:
    """Return from when on events are needed: all without a record; with one, what followed a call that failed."""
    since = {}
    for name, (_, record) in records.items():
        if record is None:
            since[name] = times[name]
        elif record.deliveries and record.deliveries[-1].status not in _ARRIVED:
            since[name] = record.deliveries[-1].at
    return since


def _join(
    name: str, started: int | None, record: Verification | None, recorded: _Recorded, past: EventHistory
) -> _Found:
    """Return all that is known of a verification; an event that was just recorded is in both, under one name."""
    events = {one.id: one for one in (*recorded.events.get(name, ()), *past.of(name))}
    in_order = sorted(events.values(), key=attrgetter("place"))
    begun = started or (in_order[0].at if in_order else 0)
    return _Found(name, begun, record, recorded.rows.get(name), tuple(in_order), past.complete)


def _history(found: _Found, mask: str) -> VerificationHistory:
    told, record = _history_from_events(found, mask), found.record
    if record is None:
        return told
    return VerificationHistory(
        id=record.id,
        application=record.application,
        purpose=record.purpose.name,
        country=record.country,
        mask=mask,
        started=record.created,
        status=record.status,
        checks=record.checks,
        deliveries=record.deliveries,
        given_up=told.given_up,
    )


def _explained(
    context: Context, found: _Found, now: int, mask: str | None, conditions: DeliveryConditions
) -> ExplainedVerification:
    """Explain a verification; the route of the conditions has all gateways, of which its own are picked."""
    history = _history(found, _mask_of(context, found.record) if mask is None else mask)
    last: Delivery | None = history.deliveries[-1] if history.deliveries else None
    names = context.routes.gateways_for(history.country, history.purpose, last.channel) if last else ()
    route = {name: conditions.route[name] for name in names}
    told = ({name: one.fields[name] for name in _TOLD if one.member(name)} for one in found.events)
    events = tuple(replace(one, fields=fields) for one, fields in zip(found.events, told, strict=True))
    return ExplainedVerification(
        history, explain(history, replace(conditions, route=route)), route, _again_in(found.record, now), events
    )


def _mask_of(context: Context, record: Verification | None) -> str:
    """Return the mask that a record holds; the ledger has none."""
    try:
        return unseal_mask(context.keyring, record) if record else ""
    except SealBrokenError:  # its root key has left the configuration
        return ""


def _again_in(record: Verification | None, now: int) -> int:
    """Return how long a further code has to wait: for the next message of its own, or for the end when none is left."""
    if record is None or record.status is not Status.PENDING:
        return 0
    return max(0, (record.resend_after or record.expires) - now)


def _reporting_gateways(context: Context) -> Iterable[str]:
    """Yield the gateways that report: over HTTP where they can reach us, or over a connection of their own."""
    for name, gateway in context.gateways.items():
        over_http = isinstance(gateway, REPORTS_OVER_HTTP) and context.public_url is not None
        if over_http or isinstance(gateway, SupportsConnections):
            yield name
