"""The last verifications of a number, from records, the ledger and events, and why a code arrived or not."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
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


@dataclass(frozen=True, slots=True)
class VerificationHistory:
    """The history of a verification. Times are milliseconds since the epoch, by Redis' clock."""

    id: str
    application: str
    """Empty, like purpose and country, if only the start is stored."""
    purpose: str
    country: str
    mask: str
    started: int
    status: Status | None
    """``None`` if its end is unknown."""
    checks: int
    """Codes compared."""
    deliveries: tuple[Delivery, ...]
    """By message and dispatch. ``channel`` is empty if no longer known."""
    given_up: Mapping[int, str] = field(default_factory=dict)
    """Reasons for which messages became dead letters, by the message's number."""


@dataclass(frozen=True, slots=True)
class DeliveryConditions:
    """Current state of workers and gateways, for a message that has not arrived yet."""

    worker: bool
    """Whether a worker was seen recently."""
    route: Mapping[str, GatewayHealth]
    """Gateways that may carry the last message, and their health."""


class Why(StrEnum):
    """Why a code arrived or not; `explanations.SENTENCES` has the words."""

    DELIVERED = "delivered"
    CHECKED = "checked"
    TAKEN = "taken"
    UNDELIVERED = "undelivered"
    TOO_LATE_THERE = "too_late_there"
    DESTINATION = "destination"
    REJECTED = "rejected"
    FRAUD = "fraud"
    CHANNEL = "channel"
    ALL_FAILED = "all_failed"
    TRIED_AGAIN = "tried_again"
    NOBODY_KNOWS = "nobody_knows"
    IN_HAND = "in_hand"
    WAITS = "waits"
    NO_WORKER = "no_worker"
    BLOCKED = "blocked"
    NO_ROUTE = "no_route"
    POLICY = "policy"
    SPENT = "spent"
    SUPPRESSED = "suppressed"
    FROZEN = "frozen"
    NO_CONSENT = "no_consent"
    TOO_LATE = "too_late"
    ENDED_FIRST = "ended_first"
    UNREADABLE = "unreadable"
    DEFECT = "defect"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class DeliveryExplanation:
    """Why a code arrived or not, and the dispatch that decided it."""

    why: Why
    delivery: Delivery | None = None
    """The dispatch that decided, or the queued message."""
    failures: tuple[Delivery, ...] = ()
    """Failed calls for the last message."""


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
"""Reasons to give a message up that outweigh earlier failed calls."""
_ENDED = frozenset(Status) - {Status.PENDING, Status.EXPIRED}
_FAILED = frozenset({DeliveryStatus.FAILED, DeliveryStatus.UNKNOWN})


def explain(history: VerificationHistory, conditions: DeliveryConditions) -> DeliveryExplanation:
    """Return why a code arrived or not: a delivery if there is one, otherwise the fate of the last message."""
    if not history.deliveries:
        return DeliveryExplanation(Why.CHECKED if history.status is Status.APPROVED else Why.FORGOTTEN)
    arrived = next((each for each in history.deliveries if each.status is DeliveryStatus.DELIVERED), None)
    if arrived:
        return DeliveryExplanation(Why.DELIVERED, arrived)
    last = history.deliveries[-1]
    if history.status is Status.APPROVED:
        return DeliveryExplanation(Why.CHECKED, last)
    calls = (delivery for delivery in history.deliveries if delivery.message == last.message and delivery.gateway)
    failures = tuple(call for call in calls if call.status in _FAILED)
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
            if last.gateway:
                return Why.IN_HAND if _may_be_sent(history, last) else Why.NOBODY_KNOWS
            return _why_waiting(history, last, conditions)
        case _:
            return _why_failed(history, last, failures)


def _may_be_sent(history: VerificationHistory, last: Delivery) -> bool:
    return history.status is Status.PENDING and last.message not in history.given_up


def _why_waiting(history: VerificationHistory, last: Delivery, conditions: DeliveryConditions) -> Why:
    if last.message in history.given_up:
        return _why_given_up(history.given_up[last.message])
    if history.status is not Status.PENDING:
        return Why.TOO_LATE if history.status in {Status.EXPIRED, None} else Why.ENDED_FIRST
    if not conditions.route:
        return Why.NO_ROUTE
    if not conditions.worker:
        return Why.NO_WORKER
    is_blocked = all(health.probe_in or health.throttled_for for health in conditions.route.values())
    return Why.BLOCKED if is_blocked else Why.WAITS


def _why_given_up(reason: str) -> Why:
    return _WHY_GIVEN_UP.get(reason.partition(" ")[0], Why.ALL_FAILED)


def _why_failed(history: VerificationHistory, last: Delivery, failures: tuple[Delivery, ...]) -> Why:
    # The reason of a call begins with its failure kind; that of a message is why it was given up or dropped.
    word, may_be_sent = (last.reason or "").partition(" ")[0], _may_be_sent(history, last)
    if word in _WHY_REFUSED and not (word == Why.CHANNEL and may_be_sent):  # the next channel is tried
        return _WHY_REFUSED[word]
    if last.raw_status:
        return Why.NOBODY_KNOWS if last.status is DeliveryStatus.UNKNOWN else Why.UNDELIVERED
    if word in _ENDED:
        return Why.ENDED_FIRST
    if may_be_sent:
        return Why.TRIED_AGAIN
    given_up = _why_given_up(history.given_up.get(last.message, "" if last.gateway else word))
    if given_up in _OUTWEIGHS_FAILED_CALLS or not failures:
        return given_up
    is_ambiguous = any(failure.status is DeliveryStatus.UNKNOWN for failure in failures)
    return Why.NOBODY_KNOWS if is_ambiguous else Why.ALL_FAILED


_SLOT = re.compile(r"d(\d+)\.(\d+)")
_STARTED, _RESENT = "verification.started", "verification.resent"
_GIVEN_UP, _REDRIVEN = "message.given_up", "message.redriven"
_DELIVERY = "delivery."
_COMPARED = frozenset({"check.failed", "verification.approved", "verification.max_attempts_reached"})
"""Events of compared codes."""
_ARRIVED = frozenset({DeliveryStatus.DELIVERED, DeliveryStatus.SENT})
_MAX_VERIFICATIONS: Final = 20
"""Verifications of a number: as many as Redis stores."""
_UNRECORDED_PAGES: Final = 20
"""Pages of events read for what the ledger lacks: recorders are seconds behind, unless none runs."""
_SHOWN: Final = (
    *("channel", "gateway", "slot", "message", "choice", "status", "reason", "raw_status", "reference"),
    *("dispatch", "request"),
)
"""Members of events that are shown: no pseudonym, and nothing that the guard counts by."""


def _history(
    name: str,
    started: int,
    record: Verification | None,
    row: RecordedVerification | None,
    events: tuple[Event, ...],
    mask: str,
    *,
    complete: bool,
) -> VerificationHistory:
    """Return the history of a verification, from its row and events if its record is gone."""
    given_up: dict[int, str] = {}
    for event in events:
        number = event.member("message")
        message = int(number) if number.isdigit() else 0
        if event.type == _GIVEN_UP:
            given_up[message] = event.member("reason")
        elif event.type == _REDRIVEN:
            given_up.pop(message, None)
    if record:
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
            given_up=given_up,
        )
    described = next((event for event in events if event.member("application")), Event("", 0, "", {}))
    end = next((status for event in reversed(events) if (status := _status_of(event))), None)
    has_started = row is not None or any(event.type == _STARTED for event in events)
    return VerificationHistory(
        id=name,
        application=row.application if row else described.member("application"),
        purpose=row.purpose if row else described.member("purpose"),
        country=row.country if row else described.member("country"),
        mask=mask,
        started=started,
        status=end or (Status.EXPIRED if has_started and complete else None),
        checks=sum(event.type in _COMPARED for event in events),
        deliveries=_deliveries(events),
        given_up=given_up,
    )


def _status_of(event: Event) -> Status | None:
    word = event.type.removeprefix("verification.")
    return Status(word) if event.type != word and word in Status.__members__.values() else None


def _deliveries(events: tuple[Event, ...]) -> tuple[Delivery, ...]:
    """Return the deliveries of each message; a message without events of its own is still queued."""
    slots: dict[tuple[int, int], Delivery] = {}
    messages = 0
    for event in events:
        if event.type in {_STARTED, _RESENT}:
            messages += 1
            slots[messages, 1] = _queued(event, messages, 1)
        elif event.type.startswith(_DELIVERY):
            _apply_event(slots, event)
    for (message, dispatch), delivery in slots.items():
        if delivery.status is DeliveryStatus.QUEUED and (message, dispatch + 1) in slots:  # its worker died
            slots[message, dispatch] = replace(delivery, status=DeliveryStatus.UNKNOWN, reason="interrupted")
    return tuple(slots[place] for place in sorted(slots))


def _queued(event: Event, message: int, dispatch: int) -> Delivery:
    return Delivery(
        message=message,
        dispatch=dispatch,
        channel=event.member("channel"),
        gateway=None,
        status=DeliveryStatus.QUEUED,
        at=event.at,
        reason=None,
        begun=event.at,
    )


def _apply_event(slots: dict[tuple[int, int], Delivery], event: Event) -> None:
    """Update the delivery in an event's slot with the members that the event has."""
    slot, word = _SLOT.fullmatch(event.member("slot")), event.type.removeprefix(_DELIVERY)
    if not slot or word not in DeliveryStatus.__members__.values():
        return
    place = (int(slot[1]), int(slot[2]))
    known = slots.get(place) or _queued(event, *place)
    choice = event.member("choice")
    if not event.member("status"):  # otherwise a receipt came first and outweighs it
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


@dataclass(frozen=True, slots=True)
class ExplainedVerification:
    """A verification, and why its code arrived or not."""

    history: VerificationHistory
    explanation: DeliveryExplanation
    route: Mapping[str, GatewayHealth]
    """Gateways that may carry its last message, and their health."""
    again_in: int = 0
    """Milliseconds until a new code may be requested, by its own resend delays."""
    events: tuple[Event, ...] = ()
    """Oldest first; all of them if it was requested by its identifier."""


@dataclass(frozen=True, slots=True)
class NumberHistory:
    """The last verifications of a number, or the verification of an identifier."""

    verifications: tuple[ExplainedVerification, ...]
    """Newest first."""
    complete: bool
    """Whether all of their events were read."""
    reporting: frozenset[str]
    """Gateways that report deliveries."""
    from_ledger: bool = True
    """Whether the ledger was read; otherwise there is only what Redis stores."""


def find_number_history(context: Context, to: Destination, applications: Collection[str] = ()) -> NumberHistory:
    """Return the last verifications of a number, of some applications or all, from Redis and ledger."""
    pseudonym = context.keyring.pseudonym(to.e164)
    bucket = context.keyring.bucket(pseudonym)
    started: dict[str, int | None] = {past.id: past.at for past in context.store.history.recent(bucket, pseudonym)}
    history = _find(
        context,
        bucket,
        started,
        lambda: context.ledger.verifications.latest(pseudonym, _MAX_VERIFICATIONS, applications),
        to.mask,
    )
    if not applications:
        return history
    shown = tuple(each for each in history.verifications if each.history.application in applications)
    return replace(history, verifications=shown)


def find_verification(context: Context, verification_id: str) -> NumberHistory:
    """Return a verification with all of its events; empty if it is unknown."""
    bucket = context.keyring.bucket_of_id(verification_id, retired=True)
    if bucket is None:  # the text may be anything
        return NumberHistory((), complete=True, reporting=frozenset())
    ledger = context.ledger.verifications
    return _find(context, bucket, {verification_id: None}, lambda: filter(None, [ledger.find(verification_id)]))


def find_pseudonym(context: Context, verification_id: str) -> str:
    """Return the pseudonym of a verification's number, empty if unknown."""
    bucket = context.keyring.bucket_of_id(verification_id, retired=True)
    record = context.store.verifications.read(bucket, verification_id) if bucket else None
    return record.pseudonym if record else context.ledger.verifications.pseudonym_of(verification_id) or ""


def _find(
    context: Context,
    bucket: str,
    started: Mapping[str, int | None],
    read_rows: Callable[[], Iterable[RecordedVerification]],
    mask: str | None = None,
) -> NumberHistory:
    """Return the newest verifications of Redis (by time ``started``) and ledger; without ``mask`` with all events."""
    store = context.store
    begin = store.events.unrecorded_from(bucket)  # first: what is recorded from now on is read twice
    rows: dict[str, RecordedVerification] = {}
    recorded: Mapping[str, tuple[Event, ...]] = {}
    try:
        rows = {row.id: row for row in read_rows()}
        recorded = context.ledger.verifications.events_of(list({**started, **rows}))
        from_ledger = True
    except LedgerUnavailableError:
        rows, from_ledger = {}, False
    times = dict(started)
    for name, row in rows.items():  # a row whose start is not recorded yet has the time of its end
        if not times.setdefault(name, None) and any(event.type == _STARTED for event in recorded[name]):
            times[name] = row.started
    newest = sorted(times, key=lambda name: times[name] or math.inf, reverse=True)[:_MAX_VERIFICATIONS]
    records = {name: store.verifications.read_at(bucket, name) for name in newest}
    times |= {name: record.created for name, (_, record) in records.items() if record}
    since = {name: times[name] for name in newest} if mask is None else _events_needed(times, records)
    unrecorded = (begin, _UNRECORDED_PAGES) if from_ledger else ()
    past = store.history.events_of(bucket, since, *unrecorded)
    conditions = DeliveryConditions(store.server.worker_age() is not None, store.health.of(tuple(context.gateways)))
    verifications = []
    for name in newest:
        now, record = records[name]
        by_id = {event.id: event for event in (*recorded.get(name, ()), *past.of(name))}  # some are in both
        events = tuple(sorted(by_id.values(), key=attrgetter("place")))
        if mask is not None or record or events or name in rows:
            begun, shown = times[name] or (events[0].at if events else 0), mask or ""
            if mask is None and record:  # the ledger has no mask
                with suppress(SealBrokenError):  # its root key is no longer configured
                    shown = unseal_mask(context.keyring, record)
            case = _history(name, begun, record, rows.get(name), events, shown, complete=past.complete)
            verifications.append(_explained(context, case, record, now, events, conditions))
    reporting = frozenset(
        name
        for name, gateway in context.gateways.items()
        if isinstance(gateway, SupportsConnections)
        or (isinstance(gateway, REPORTS_OVER_HTTP) and context.public_url is not None)
    )
    return NumberHistory(tuple(verifications), past.complete, reporting, from_ledger)


def _events_needed(
    times: Mapping[str, int | None], records: Mapping[str, tuple[int, Verification | None]]
) -> dict[str, int | None]:
    """Return when to read events from: the start without a record, with one the last call if it failed."""
    since = {}
    for name, (_, record) in records.items():
        if record is None:
            since[name] = times[name]
        elif record.deliveries and record.deliveries[-1].status not in _ARRIVED:
            since[name] = record.deliveries[-1].at
    return since


def _explained(
    context: Context,
    history: VerificationHistory,
    record: Verification | None,
    now: int,
    events: tuple[Event, ...],
    conditions: DeliveryConditions,
) -> ExplainedVerification:
    """Explain a verification; ``conditions`` are those of all gateways."""
    last = history.deliveries[-1] if history.deliveries else None
    names = context.routes.gateways_for(history.country, history.purpose, last.channel) if last else ()
    route = {name: conditions.route[name] for name in names}
    shown = tuple(
        replace(event, fields={name: event.fields[name] for name in _SHOWN if event.member(name)}) for event in events
    )
    again_in = 0
    if record and record.status is Status.PENDING:  # until a resend, or until the end without sends
        again_in = max(0, (record.resend_after or record.expires) - now)
    explanation = explain(history, replace(conditions, route=route))
    return ExplainedVerification(history, explanation, route, again_in, shown)
