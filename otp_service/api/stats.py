"""Statistics: what became of an application's verifications, for its own dashboards."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from otp_service.api.exchange import Exchange
from otp_service.api.requests import read_moment, read_query_lists
from otp_service.api.routes import COMMON_PROBLEMS, Parameter, Resource, query_parameter
from otp_service.api.schemas import TIMESTAMP_PATTERN, Time, rfc3339
from otp_service.clock import now
from otp_service.domain.applications import KeyScope
from otp_service.domain.prices import format_micros
from otp_service.errors import Fault, InvalidRequestError
from otp_service.services import stats as service
from otp_service.services.stats import DelayStats, MessageStats, Of, RefusalStats, StatsQuery, VerificationStats

# Members that say what a row is of come first; those that were not asked by are null, as are those with no value.


@dataclass(frozen=True, slots=True)
class VerificationStatsRow:
    """What became of verifications, all by the hour in which they started."""

    hour: Time | None
    """When it began. Each of these first members is null where `by` does not name it, or there is no value."""
    day: Time | None
    """When it began, in UTC."""
    purpose: str | None
    country: str | None
    carrier_range: str | None
    """First digits of the numbers, those of a carrier before numbers were ported; null where no rule needs them."""
    channel: str | None
    """Of money the message's own, of all else the first one of the verification."""
    lane: str | None
    """`newcomer`, `checked` (a newcomer who passed a human check) or `known`, as the number was at the start."""
    started: int
    approved: int
    canceled: int
    max_attempts_reached: int
    failed: int
    expired: int
    """Those that nobody ended; while the row is unfinished some of them are pending."""
    unapproved: int
    """All that are not approved."""
    sent: int | None
    """Of how many a gateway took the first message; null by purpose, carrier range or lane."""
    delivered: int | None
    """Of how many the gateway told that the first message was delivered; null as `sent`."""
    amount: str
    """What all their messages cost."""
    estimated_unapproved_amount: str
    """About what the unapproved ones cost: as much each as all of the row in the mean."""
    unfinished: bool
    """Whether it may still change."""


@dataclass(frozen=True, slots=True)
class VerificationStatsAnswer:
    """What became of verifications."""

    currency: str
    """Of all amounts (ISO 4217)."""
    rows: tuple[VerificationStatsRow, ...]
    """In the order of what was asked by; where nothing started there is no row."""


@dataclass(frozen=True, slots=True)
class MessageStatsRow:
    """What became of messages, by the hour in which their verifications started."""

    hour: Time | None
    """When it began. Each of these first members is null where `by` does not name it, or there is no value."""
    day: Time | None
    """When it began, in UTC."""
    purpose: str | None
    country: str | None
    channel: str | None
    gateway: str | None
    """Null also for what no gateway was asked for."""
    reason: str | None
    """Of a failure: the first word of what `deliveries` of a verification shows, or `other`; null of what has none."""
    sent: int
    """How many a gateway took."""
    delivered: int
    undelivered: int
    failed: int
    expired: int
    unknown: int
    """Of these the answer told nothing: they may have been sent."""
    failed_over: int
    """Calls that were made since the route's first gateway had failed."""
    given_up: int
    """Messages after which nothing more was tried."""
    amount: str
    """What they cost."""
    unfinished: bool
    """Whether it may still change."""


@dataclass(frozen=True, slots=True)
class MessageStatsAnswer:
    """What became of messages."""

    currency: str
    """Of all amounts (ISO 4217)."""
    rows: tuple[MessageStatsRow, ...]
    """In the order of what was asked by."""


@dataclass(frozen=True, slots=True)
class RefusalStatsRow:
    """What rules refused."""

    hour: Time | None
    """When it began. Each of these first members is null where `by` does not name it, or there is no value."""
    day: Time | None
    """When it began, in UTC."""
    purpose: str | None
    country: str | None
    carrier_range: str | None
    """First digits of the numbers, as of verifications."""
    lane: str | None
    """`known` or `unknown`: whether the context was known to the number; null where it makes no difference."""
    rule: str | None
    """Such as `number.sends`."""
    refused: Mapping[str, int]
    """By kind: `start`, `resend`, `fallback` (another channel), `check`, `dispatch` (another gateway)."""
    would_be_refused: Mapping[str, int]
    """The same of rules that only record."""
    unfinished: bool
    """Whether it may still change."""


@dataclass(frozen=True, slots=True)
class RefusalStatsAnswer:
    """What rules refused."""

    rows: tuple[RefusalStatsRow, ...]
    """In the order of what was asked by."""


@dataclass(frozen=True, slots=True)
class WithinAnswer:
    """How many took at most so long."""

    at_most_ms: int
    """Milliseconds."""
    times: int


@dataclass(frozen=True, slots=True)
class DelayStatsRow:
    """How long it took from the start of verifications."""

    hour: Time | None
    """When it began. Each of these first members is null where `by` does not name it, or there is no value."""
    day: Time | None
    """When it began, in UTC."""
    country: str | None
    channel: str | None
    gateway: str | None
    """Null also of approvals."""
    until: Literal["sent", "delivered", "approved"]
    """Until the first message was sent, or delivered; or until the approval."""
    times: int
    """How many there were."""
    within: tuple[WithinAnswer, ...]
    """How many of them took at most 1, 2, 5, 10, 20, 30, 60, 120 and 300 seconds."""
    p50_ms: int | None
    """The least of these bounds, in milliseconds, that half of them kept to; null where that took longer than all."""
    p95_ms: int | None
    """The same of 95 %."""
    unfinished: bool
    """Whether it may still change."""


@dataclass(frozen=True, slots=True)
class DelayStatsAnswer:
    """How long it took from the start of verifications."""

    rows: tuple[DelayStatsRow, ...]
    """In the order of what was asked by."""


_NOTE = (
    "Counts of the key's application, exact and in whole hours: those that begin at `from` or later, and before "
    f"`until`; at most {service.MAX_DAYS_BY_HOUR} days by hour, else {service.MAX_DAYS}. They are there within "
    "seconds, or when the ledger is back."
)
_MOMENT = {"type": "string", "format": "date-time", "pattern": TIMESTAMP_PATTERN}

stats = Resource(
    "stats",
    "Statistics",
    KeyScope.STATS,
    problems=(*COMMON_PROBLEMS, "invalid-time"),
    note=_NOTE,
    asks_ledger=True,
)


def _asked_by(by: tuple[str, ...]) -> tuple[Parameter, ...]:
    """Return the parameters of a query; whose stats they are the key says."""
    names = [name for name in by if name != "application"]
    choices = {"type": "array", "items": {"type": "string", "enum": names}}
    return (
        query_parameter("from", "RFC 3339 in UTC.", _MOMENT, required=True),
        query_parameter("until", "RFC 3339 in UTC. Default: now.", _MOMENT),
        query_parameter("by", "What gets rows of its own, repeated or with commas. Default: one row of all.", choices),
    )


_VERIFICATIONS = _asked_by(service.BY_VERIFICATION)
_MESSAGES = _asked_by(service.BY_MESSAGE)
_REFUSALS = _asked_by(service.BY_REFUSAL)
_DELAYS = _asked_by(service.BY_DELAY)


@stats.route("GET /v1/stats/verifications", {200: "The statistics."}, query=_VERIFICATIONS, endpoint="verifications")
def count_verifications(exchange: Exchange) -> VerificationStatsAnswer:
    """Count verifications.

    How many started and were approved, what they cost, and how many of the first messages were sent and delivered.
    """
    rows = service.count_verifications(exchange.context, _query(exchange, service.BY_VERIFICATION))
    return VerificationStatsAnswer(_currency(exchange), tuple(map(_verifications, rows)))


@stats.route("GET /v1/stats/messages", {200: "The statistics."}, query=_MESSAGES, endpoint="messages")
def count_messages(exchange: Exchange) -> MessageStatsAnswer:
    """Count messages.

    What became of each call of a gateway, and what it cost. One message may be tried at several.
    """
    rows = service.count_messages(exchange.context, _query(exchange, service.BY_MESSAGE))
    return MessageStatsAnswer(_currency(exchange), tuple(map(_messages, rows)))


@stats.route("GET /v1/stats/refusals", {200: "The statistics."}, query=_REFUSALS, endpoint="refusals")
def count_refusals(exchange: Exchange) -> RefusalStatsAnswer:
    """Count refusals.

    What the rules against abuse refused, or would have refused if they did not only record.
    """
    rows = service.count_refusals(exchange.context, _query(exchange, service.BY_REFUSAL))
    return RefusalStatsAnswer(tuple(map(_refusals, rows)))


@stats.route("GET /v1/stats/delays", {200: "The statistics."}, query=_DELAYS, endpoint="delays")
def count_delays(exchange: Exchange) -> DelayStatsAnswer:
    """Count delays.

    How long it took until first messages were sent and delivered, and until codes were approved.
    """
    rows = service.count_delays(exchange.context, _query(exchange, service.BY_DELAY))
    return DelayStatsAnswer(tuple(map(_delays, rows)))


def _query(exchange: Exchange, known: tuple[str, ...]) -> StatsQuery:
    given = read_query_lists(exchange, "from", "until", repeated=("by",))
    by = tuple(name for text in given.pop("by", []) for name in text.split(","))
    if not set(by) <= {*known} - {"application"}:
        raise InvalidRequestError("The parameter by has a name that is not known.", (Fault("", "by is not known"),))
    moments = {name: texts[0] for name, texts in given.items()}
    since, until = read_moment(moments, "from"), read_moment(moments, "until")
    if since is None:
        raise InvalidRequestError("The parameter from is missing.", (Fault("", "from is missing"),))
    return StatsQuery(since, now() if until is None else until, by, {"application": [exchange.application.name]})


def _currency(exchange: Exchange) -> str:
    return exchange.settings.guard.currency


def _of(of: Of, *names: str) -> dict[str, Any]:
    """Return the members that say what a row is of."""
    times = {name: rfc3339(int(of[name])) if name in of else None for name in ("hour", "day")}
    return times | {name: of.get(name) or None for name in names}


def _verifications(row: VerificationStats) -> VerificationStatsRow:
    return VerificationStatsRow(
        **_of(row.of, "purpose", "country", "carrier_range", "channel", "lane"),
        started=row.started,
        approved=row.approved,
        canceled=row.canceled,
        max_attempts_reached=row.max_attempts_reached,
        failed=row.failed,
        expired=row.expired,
        unapproved=row.unapproved,
        sent=row.sent,
        delivered=row.delivered,
        amount=format_micros(row.amount),
        estimated_unapproved_amount=format_micros(row.estimated_unapproved_amount),
        unfinished=row.is_unfinished,
    )


def _messages(row: MessageStats) -> MessageStatsRow:
    return MessageStatsRow(
        **_of(row.of, "purpose", "country", "channel", "gateway", "reason"),
        sent=row.sent,
        delivered=row.delivered,
        undelivered=row.undelivered,
        failed=row.failed,
        expired=row.expired,
        unknown=row.unknown,
        failed_over=row.failed_over,
        given_up=row.given_up,
        amount=format_micros(row.amount),
        unfinished=row.is_unfinished,
    )


def _refusals(row: RefusalStats) -> RefusalStatsRow:
    return RefusalStatsRow(
        **_of(row.of, "purpose", "country", "carrier_range", "lane", "rule"),
        refused=row.refused,
        would_be_refused=row.would_be_refused,
        unfinished=row.is_unfinished,
    )


def _delays(row: DelayStats) -> DelayStatsRow:
    return DelayStatsRow(
        **_of(row.of, "country", "channel", "gateway"),
        until=row.until,
        times=row.times,
        within=tuple(WithinAnswer(bound, times) for bound, times in row.within.items()),
        p50_ms=row.quantile(0.5),
        p95_ms=row.quantile(0.95),
        unfinished=row.is_unfinished,
    )
