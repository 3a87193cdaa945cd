"""Why a code did or did not arrive: what is known of a verification's messages, and the rule that sums it up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from otp_service.domain.verification import Delivery, DeliveryStatus, GatewayHealth, Status


@dataclass(frozen=True, slots=True)
class Story:
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
class Surroundings:
    """What else matters to a message that has not arrived yet."""

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
class Explanation:
    """The answer, and what it is about."""

    why: Why
    delivery: Delivery | None = None
    """The dispatch that it is about, or the message that waits."""
    failures: tuple[Delivery, ...] = ()
    """The calls for the last message that failed."""


_KINDS = {
    "destination": Why.DESTINATION,
    "rejected": Why.REJECTED,
    "fraud": Why.FRAUD,
    "channel": Why.CHANNEL,
    "suppressed": Why.SUPPRESSED,
    "frozen": Why.FROZEN,
    "consent-required": Why.NO_CONSENT,
}
_GIVEN_UP = {
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
_WHATEVER_FAILED = frozenset({Why.DEFECT, Why.NO_ROUTE, Why.POLICY, Why.SPENT, Why.UNREADABLE})
"""Reasons to give a message up that matter more than the calls that failed before."""
_ENDED = frozenset(Status) - {Status.PENDING, Status.EXPIRED}
_FAILED = frozenset({DeliveryStatus.FAILED, DeliveryStatus.UNKNOWN})


def explain(story: Story, around: Surroundings) -> Explanation:
    """Return why a code did or did not arrive: the best that happened, otherwise what became of the last message."""
    if not story.deliveries:
        return Explanation(Why.CHECKED if story.status is Status.APPROVED else Why.FORGOTTEN)
    arrived = next((one for one in story.deliveries if one.status is DeliveryStatus.DELIVERED), None)
    if arrived:
        return Explanation(Why.DELIVERED, arrived)
    last = story.deliveries[-1]
    if story.status is Status.APPROVED:
        return Explanation(Why.CHECKED, last)
    calls = (one for one in story.deliveries if one.message == last.message and one.gateway)
    failures = tuple(one for one in calls if one.status in _FAILED)
    return Explanation(_why(story, last, failures, around), last, failures)


def _why(story: Story, last: Delivery, failures: tuple[Delivery, ...], around: Surroundings) -> Why:
    match last.status:
        case DeliveryStatus.SENT:
            return Why.TAKEN
        case DeliveryStatus.UNDELIVERED:
            return Why.UNDELIVERED
        case DeliveryStatus.EXPIRED:
            return Why.TOO_LATE_THERE if last.gateway else Why.TOO_LATE
        case DeliveryStatus.QUEUED:
            return _why_in_hand(story, last) if last.gateway else _why_waiting(story, last, around)
        case _:
            return _why_failed(story, last, failures)


def _lives_on(story: Story, last: Delivery) -> bool:
    """Tell whether its message may still be sent."""
    return story.status is Status.PENDING and last.message not in story.given_up


def _why_in_hand(story: Story, last: Delivery) -> Why:
    return Why.IN_HAND if _lives_on(story, last) else Why.NOBODY_KNOWS


def _why_waiting(story: Story, last: Delivery, around: Surroundings) -> Why:
    if last.message in story.given_up:
        return _given_up(story.given_up[last.message])
    if story.status is not Status.PENDING:
        return Why.TOO_LATE if story.status in {Status.EXPIRED, None} else Why.ENDED_FIRST
    if not around.route:
        return Why.NO_ROUTE
    if not around.worker:
        return Why.NO_WORKER
    return Why.BLOCKED if all(one.opens_in or one.paused for one in around.route.values()) else Why.WAITS


def _given_up(reason: str) -> Why:
    return _GIVEN_UP.get(reason.partition(" ")[0], Why.ALL_FAILED)


def _why_failed(story: Story, last: Delivery, failures: tuple[Delivery, ...]) -> Why:
    """Tell what a failure means: a call's begins with its kind, a message's says why it was given up or dropped."""
    word, lives_on = (last.reason or "").partition(" ")[0], _lives_on(story, last)
    if word in _KINDS and not (word == Why.CHANNEL and lives_on):  # the next channel is tried
        return _KINDS[word]
    if last.raw_status:
        return Why.NOBODY_KNOWS if last.status is DeliveryStatus.UNKNOWN else Why.UNDELIVERED
    if word in _ENDED:
        return Why.ENDED_FIRST
    if lives_on:
        return Why.TRIED_AGAIN
    given_up = _given_up(story.given_up.get(last.message, "" if last.gateway else word))
    if given_up in _WHATEVER_FAILED or not failures:
        return given_up
    perhaps = any(one.status is DeliveryStatus.UNKNOWN for one in failures)
    return Why.NOBODY_KNOWS if perhaps else Why.ALL_FAILED
