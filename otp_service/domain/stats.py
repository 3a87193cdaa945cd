"""Hourly counts of verifications, deliveries and refusals, for plots, reports and dashboards.

They hold no personal data. Events count in the hour in which their verification **started**, so that no rate passes
one; a verification without an end has expired.
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
_IN_REPORTS: Final = {"delivery.failed": "delivery.undelivered", SENT: "", "delivery.unknown": ""}
"""The same results in a gateway's later report; empty where they do not count."""
FAILED_OVER: Final = "message.failed_over"
"""A call after the first gateway failed; it counts beside that call's result."""
ENDINGS: Final = frozenset(f"verification.{end}" for end in Status if end not in {Status.PENDING, Status.EXPIRED})
COUNTED: Final = ENDINGS | {
    *(STARTED, "verification.resent", "check.failed", "message.given_up", FAILED_OVER),
    *(*_OF_CALLS, DELIVERED, "delivery.undelivered", "delivery.expired"),
}
"""Types of events that count, and `FAILED_OVER`."""
REFUSED: Final = "refused."
WOULD_BE_REFUSED: Final = "would_be_refused."
"""Prefixes of the kind of message."""
OTHER: Final = "other"
REASONS: Final = frozenset(
    {
        *("unavailable", "error", "throttled", "account", "rejected", "destination", "channel", "fraud"),
        *("no_route", "no_application", "no_gateway", "too_many_errors", "too_many_ambiguous", "interrupted"),
        *("unreadable", "defect", "policy", "no_verdict", "spend_ceiling", "expired", "gone", "suppressed", "frozen"),
        *("consent-required", "consent-outdated", "canceled", "superseded", "wrong_code", "transaction_changed"),
    }
)
"""First words of reasons with their own counts; all others are `OTHER`."""
DELAYS: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 0)
"""Upper bounds in seconds; 0: longer."""
MIN_SHOWN_COUNT: Final = 10
"""Smaller counts may identify a person, so they are shown as smaller only, except where exact counts are needed."""


class StatsKey(NamedTuple):
    """The key of a count; ``hour`` is its beginning in milliseconds since the epoch."""

    hour: int
    application: str
    purpose: str
    country: str
    number_prefix: str
    """Empty for known numbers."""
    channel: str
    """The message's, else the verification's first."""
    gateway: str
    standing: str
    """``unknown``, ``checked`` (unknown, with a passed human check) or ``known``: of the number at the start, of
    refusals of the device."""
    event: str
    """Type of an event, or `REFUSED` or `WOULD_BE_REFUSED` and what was."""
    reason: str
    """One of `REASONS`, or the refusing rule; empty for none."""


class StatsCount(NamedTuple):
    """A number of events, and their cost in millionths."""

    times: int
    amount: int


class DelayKey(NamedTuple):
    """The key of a count of delays."""

    hour: int
    application: str
    country: str
    channel: str
    gateway: str
    event: str
    """The event that ends the delay, from the start: `SENT`, `DELIVERED` or `APPROVED`."""
    at_most: int


@dataclass(frozen=True, slots=True)
class VerificationStart:
    """The members of a verification for stats. Times are milliseconds since the epoch; ``ended`` may be 0."""

    application: str
    purpose: str
    country: str
    number_prefix: str
    channel: str
    standing: str
    at: int
    status: str
    ended: int


def stats_of(events: Iterable[tuple[VerificationStart, Event]]) -> dict[StatsKey, StatsCount]:
    """Return the counts of events."""
    times: Counter[StatsKey] = Counter()
    amounts: Counter[StatsKey] = Counter()
    for start, event in events:
        is_message = event.type.startswith("delivery.")
        if not _counts(start, event) or (is_message and not event.member("gateway")):  # given up before any call
            continue
        is_report = event.member("raw_status") != ""
        counted_as = _IN_REPORTS.get(event.type, event.type) if is_report else event.type
        if not counted_as:
            continue
        word = event.member("reason").partition(" ")[0]
        key = StatsKey(
            hour_of(start.at),
            *(start.application, start.purpose, start.country, start.number_prefix),
            channel=(event.member("channel") if is_message else "") or start.channel,
            gateway=event.member("gateway") if is_message else "",
            standing=start.standing,
            event=counted_as,
            reason=word if not word or word in REASONS else OTHER,
        )
        times[key] += 1
        amounts[key] += int(event.member("cost") or 0)
        if counted_as in _OF_CALLS and event.member("choice") == GatewayChoice.FAIL_OVER:
            times[key._replace(event=FAILED_OVER, reason="")] += 1
    return {key: StatsCount(count, amounts[key]) for key, count in times.items()}


def delays_of(events: Iterable[tuple[VerificationStart, Event]]) -> Counter[DelayKey]:
    """Return the delays of first messages, and of approvals, from the start of their verification."""
    return Counter(
        DelayKey(
            hour_of(start.at),
            *(start.application, start.country, event.member("channel") or start.channel, event.member("gateway")),
            event=event.type,
            at_most=next(bound for bound in DELAYS if not bound or event.at - start.at <= 1000 * bound),
        )
        for start, event in events
        if _counts(start, event)
        and (event.type == APPROVED or (event.type in {SENT, DELIVERED} and event.member("slot").startswith("d1.")))
    )


def hour_of(at: int) -> int:
    """Return the beginning of an hour."""
    return at - at % HOUR


def _counts(start: VerificationStart, event: Event) -> bool:
    """Tell whether an event counts; of several ends, as after a restored backup, only the recorded one does."""
    if event.type in ENDINGS:
        return (event.type, event.at) == (f"verification.{start.status}", start.ended)
    return event.type in COUNTED


def refusal(kind: str, *, enforced: bool) -> str:
    """Return the type of a refused ``start``, ``resend``, ``fallback``, ``check`` or ``dispatch``."""
    return f"{REFUSED if enforced else WOULD_BE_REFUSED}{kind}"
