"""Tell a verification whose record has gone from what the event stream says of it."""

import re
from dataclasses import replace

from otp_service.core.story import Story
from otp_service.domain.verification import Choice, Delivery, DeliveryStatus, Status
from otp_service.store.events import Event, Past, Started

_SLOT = re.compile(r"d(\d+)\.(\d+)")
_STARTED, _RESENT = "verification.started", "verification.resent"
_GIVEN_UP, _REDRIVEN = "message.given_up", "message.redriven"
_OUTCOME, _DELIVERY = "verification.", "delivery."
_COMPARED = frozenset({"check.failed", "verification.approved", "verification.max_attempts_reached"})
"""Events of codes that were compared."""

_Slots = dict[tuple[int, int], Delivery]


def retold(started: Started, past: Past, mask: str) -> Story:
    """Return what the events tell of a verification that started then; it is over, whatever they say."""
    events = past.of(started.id)
    about = next((event for event in events if event.member("application")), Event(0, "", {}))
    end = next((event for event in reversed(events) if _status_of(event)), None)
    begun = any(event.type == _STARTED for event in events)
    unended = Status.EXPIRED if begun and past.complete else None
    return Story(
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
    """Return what became of each message: one that nothing is told of still waits, as far as is known."""
    slots: _Slots = {}
    messages = 0
    for event in events:
        if event.type in {_STARTED, _RESENT}:
            messages += 1
            slots[messages, 1] = _waiting(event, messages)
        elif event.type.startswith(_DELIVERY):
            _note(slots, event)
    return tuple(_as_far_as_known(slots, place) for place in sorted(slots))


def _as_far_as_known(slots: _Slots, place: tuple[int, int]) -> Delivery:
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


def _note(slots: _Slots, event: Event) -> None:
    """Take an event of a dispatch into its slot; what it does not say stays as it was."""
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
        choice=Choice(choice) if choice in Choice.__members__.values() else known.choice,
        begun=known.begun if known.gateway else event.at,
        raw_status=event.member("raw_status") or known.raw_status,
        reference=event.member("reference") or known.reference,
    )
