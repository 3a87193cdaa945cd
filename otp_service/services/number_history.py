"""The last verifications of a number, from their records or rebuilt from events, and why no code came."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from otp_service.domain.audit import Event
from otp_service.domain.numbers import Destination
from otp_service.domain.routing import GatewayHealth
from otp_service.domain.verification import Delivery, DeliveryStatus, GatewayChoice, Status, Verification
from otp_service.gateways.base import REPORTS_OVER_HTTP, SupportsConnections
from otp_service.services.context import Context
from otp_service.store.events import EventHistory, RecentVerification


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


def history_from_events(started: RecentVerification, past: EventHistory, mask: str) -> VerificationHistory:
    """Rebuild the history of a verification whose record is gone from its events."""
    events = past.of(started.id)
    about = next((event for event in events if event.member("application")), Event("", 0, "", {}))
    end = next((event for event in reversed(events) if _status_of(event)), None)
    begun = any(event.type == _STARTED for event in events)
    unended = Status.EXPIRED if begun and past.complete else None
    return VerificationHistory(
        id=started.id,
        application=about.member("application"),
        purpose=about.member("purpose"),
        country=about.member("country"),
        mask=mask,
        started=started.at,
        status=_status_of(end) if end else unended,
        checks=sum(event.type in _COMPARED for event in events),
        deliveries=_deliveries(events),
        given_up=_given_up(events),
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
    )


_ARRIVED = frozenset({DeliveryStatus.DELIVERED, DeliveryStatus.SENT})


@dataclass(frozen=True, slots=True)
class ExplainedVerification:
    """One verification, and why its code did or did not arrive."""

    history: VerificationHistory
    explanation: DeliveryExplanation
    route: Mapping[str, GatewayHealth]
    """The gateways that may carry its last message, and how they are."""


@dataclass(frozen=True, slots=True)
class NumberHistory:
    """The last verifications of a number."""

    verifications: tuple[ExplainedVerification, ...]
    """Newest first."""
    complete: bool
    """Whether all events were read that are about them."""
    reporting: frozenset[str]
    """Gateways that are asked to report what becomes of a message."""


def find_number_history(context: Context, to: Destination) -> NumberHistory:
    """Return the last verifications of a number, of all applications.

    What has a record is read from it; of the others the event stream tells. Nothing is written.
    """
    recorded, keyring = context.store.history, context.keyring
    pseudonym = keyring.pseudonym(to.e164)
    bucket = keyring.bucket(pseudonym)
    recent = recorded.recent(bucket, pseudonym)
    records = {one.id: context.store.verifications.read(bucket, one.id) for one in recent}
    past = recorded.events_of(bucket, _events_needed(recent, records))
    histories = [_history(one, records[one.id], past, to.mask) for one in recent]
    health = context.store.health.of(tuple(context.gateways))
    worker = context.store.server.worker_age() is not None
    return NumberHistory(
        verifications=tuple(_explained(context, history, health, worker=worker) for history in histories),
        complete=past.complete,
        reporting=frozenset(_reporting_gateways(context)),
    )


def _events_needed(recent: Iterable[RecentVerification], records: Mapping[str, Verification | None]) -> dict[str, int]:
    """Return from when on events are needed: all without a record; with one, what followed a call that failed."""
    since = {}
    for one in recent:
        record = records[one.id]
        if record is None:
            since[one.id] = one.at
        elif record.deliveries and record.deliveries[-1].status not in _ARRIVED:
            since[one.id] = record.deliveries[-1].at
    return since


def _history(
    started: RecentVerification, record: Verification | None, past: EventHistory, mask: str
) -> VerificationHistory:
    told = history_from_events(started, past, mask)
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
    context: Context, history: VerificationHistory, health: Mapping[str, GatewayHealth], *, worker: bool
) -> ExplainedVerification:
    last: Delivery | None = history.deliveries[-1] if history.deliveries else None
    names = context.routes.gateways_for(history.country, history.purpose, last.channel) if last else ()
    route = {name: health[name] for name in names}
    return ExplainedVerification(history, explain(history, DeliveryConditions(worker, route)), route)


def _reporting_gateways(context: Context) -> Iterable[str]:
    """Yield the gateways that report: over HTTP where they can reach us, or over a connection of their own."""
    for name, gateway in context.gateways.items():
        over_http = isinstance(gateway, REPORTS_OVER_HTTP) and context.public_url is not None
        if over_http or isinstance(gateway, SupportsConnections):
            yield name
