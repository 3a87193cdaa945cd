"""Hourly stats: what is counted of verifications, deliveries and refusals, for plots, reports and dashboards.

They hold nothing of a person. Everything counts in the hour in which its verification **started**, so that no rate
passes one; a verification that nobody ended has expired.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from otp_service.domain.audit import Event
from otp_service.domain.guard import HOUR
from otp_service.domain.verification import GatewayChoice, Status

STARTED: Final = "verification.started"
APPROVED: Final = "verification.approved"
SENT: Final = "delivery.sent"
DELIVERED: Final = "delivery.delivered"
_OF_CALLS: Final = frozenset({SENT, "delivery.failed", "delivery.unknown"})
"""What a call of a gateway may lead to."""
_IN_REPORTS: Final = {"delivery.failed": "delivery.undelivered", SENT: "", "delivery.unknown": ""}
"""What the same counts as where a gateway reports it later: that is no further call. Empty for nothing."""
FAILED_OVER: Final = "message.failed_over"
"""That a gateway was called since the first one had failed: of that call, beside what became of it."""
ENDINGS: Final = frozenset(f"verification.{one}" for one in Status if one not in {Status.PENDING, Status.EXPIRED})
"""Events that end a verification; of one that expires there may be none."""
COUNTED: Final = ENDINGS | {
    *(STARTED, "verification.resent", "check.failed", "message.given_up", FAILED_OVER),
    *(*_OF_CALLS, DELIVERED, "delivery.undelivered", "delivery.expired"),
}
"""What is counted of verifications: types of events, and `FAILED_OVER`."""
REFUSED: Final = "refused."
WOULD_BE_REFUSED: Final = "would_be_refused."
"""Before the kind of what a rule refused, or would have refused if it did not only record."""
OTHER: Final = "other"
REASONS: Final = frozenset(
    {
        *("unavailable", "error", "throttled", "account", "rejected", "destination", "channel", "fraud"),
        *("no_route", "no_application", "no_gateway", "too_many_errors", "too_many_ambiguous", "interrupted"),
        *("unreadable", "defect", "policy", "no_verdict", "spend_ceiling", "expired", "gone", "suppressed", "frozen"),
        *("consent-required", "consent-outdated", "canceled", "superseded", "wrong_code", "transaction_changed"),
    }
)
"""First words of reasons that are counted apart; all others are `OTHER`: a provider's own words have no end."""
DELAYS: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 0)
"""Seconds that delays are counted by, each with what took at most so long; 0: longer."""
MIN_SHOWN_COUNT: Final = 10
"""Smaller counts may tell who it is: who needs no exact ones sees only that they are smaller."""


class StatsKey(NamedTuple):
    """What one figure is of."""

    hour: int
    """When it began: milliseconds since the epoch."""
    application: str
    purpose: str
    country: str
    number_prefix: str
    """The first digits of the numbers; empty where they do not matter."""
    channel: str
    """Of a message its own, else the first one of the verification."""
    gateway: str
    standing: str
    """``unknown``, ``checked`` (unknown, but a human check was passed) or ``known``, as the number was at the start; of
    what was refused ``known`` or ``unknown``, as the device was."""
    what: str
    """Type of an event, or `REFUSED` or `WOULD_BE_REFUSED` and what was."""
    reason: str
    """One of `REASONS`, or the rule that refused; empty where there is none."""


class StatsCount(NamedTuple):
    """How often something happened, and what it cost in millionths."""

    times: int
    amount: int


class DelayKey(NamedTuple):
    """What one count of delays is of."""

    hour: int
    application: str
    country: str
    channel: str
    gateway: str
    what: str
    """What it lasted until, from the start: `SENT`, `DELIVERED` or `APPROVED`."""
    at_most: int
    """One of `DELAYS`."""


@dataclass(frozen=True, slots=True)
class VerificationStart:
    """What stats have to know of the verification that an event is of."""

    application: str
    purpose: str
    country: str
    number_prefix: str
    channel: str
    standing: str
    at: int
    """Milliseconds since the epoch, as are all times here."""
    status: str
    ended: int
    """0 while nobody ended it."""


def stats_of(events: Iterable[tuple[VerificationStart, Event]]) -> dict[StatsKey, StatsCount]:
    """Return what is counted of some events."""
    times: Counter[StatsKey] = Counter()
    amounts: Counter[StatsKey] = Counter()
    for start, one in events:
        what = _what(one) if _counts(start, one) else ""
        if not what:
            continue
        is_message = one.type.startswith("delivery.")
        key = StatsKey(
            hour_of(start.at),
            *(start.application, start.purpose, start.country, start.number_prefix),
            channel=(one.member("channel") if is_message else "") or start.channel,
            gateway=one.member("gateway") if is_message else "",
            standing=start.standing,
            what=what,
            reason=_reason(one.member("reason")),
        )
        times[key] += 1
        amounts[key] += int(one.member("cost") or 0)
        if what in _OF_CALLS and one.member("choice") == GatewayChoice.FAIL_OVER:
            times[key._replace(what=FAILED_OVER, reason="")] += 1
    return {key: StatsCount(count, amounts[key]) for key, count in times.items()}


def delays_of(events: Iterable[tuple[VerificationStart, Event]]) -> Counter[DelayKey]:
    """Return how long some first messages, and approvals, took from the start of their verification."""
    return Counter(
        DelayKey(
            hour_of(start.at),
            *(start.application, start.country, one.member("channel") or start.channel, one.member("gateway")),
            what=one.type,
            at_most=next(most for most in DELAYS if not most or one.at - start.at <= 1000 * most),
        )
        for start, one in events
        if _counts(start, one) and _is_timed(one)
    )


def hour_of(at: int) -> int:
    """Return when the hour of a time began."""
    return at - at % HOUR


def _counts(start: VerificationStart, event: Event) -> bool:
    """Tell whether an event counts: of several ends, as after a restored backup, the first one does."""
    if event.type in ENDINGS:
        return (event.type, event.at) == (f"verification.{start.status}", start.ended)
    return event.type in COUNTED


def _what(event: Event) -> str:
    """Return what an event counts as; empty for nothing, as where a message was given up before a gateway was called.

    Only reports have a status in the gateway's own words.
    """
    if event.type.startswith("delivery.") and not event.member("gateway"):
        return ""
    return _IN_REPORTS.get(event.type, event.type) if event.member("raw_status") else event.type


def _is_timed(event: Event) -> bool:
    first_message = event.member("slot").startswith("d1.")
    return event.type == APPROVED or (event.type in {SENT, DELIVERED} and first_message)


def _reason(text: str) -> str:
    word = text.partition(" ")[0]
    return word if not word or word in REASONS else OTHER


def refusal(kind: str, *, enforced: bool) -> str:
    """Return what a refusal is counted as: of a ``start``, ``resend``, ``fallback``, ``check`` or ``dispatch``."""
    return f"{REFUSED if enforced else WOULD_BE_REFUSED}{kind}"
