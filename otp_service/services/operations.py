"""Gateways, queues and dead letters as operators see them; commands and console have the words from here."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from otp_service.domain.guard import HOUR
from otp_service.domain.routing import BreakerState, GatewayHealth, GatewayLimits
from otp_service.domain.verification import MAX_CODE_LIFE
from otp_service.services.context import Context
from otp_service.services.mirror import MirrorStatus
from otp_service.services.stats import DelayStatsRow, MessageStatsRow, StatsQuery, count_delays, count_messages
from otp_service.store.guard import MAX_MANUAL_OPEN
from otp_service.store.outbox import DeadLetter, RedriveResult, count_reasons, short_reason

MINUTE: Final = 60_000
LONGEST_PAUSE: Final = MAX_MANUAL_OPEN // MINUTE
"""Of a gateway, in minutes."""


class GatewayCondition(StrEnum):
    """Whether a gateway takes messages."""

    PAUSED = "paused"
    """By an operator."""
    RESTING = "resting"
    """Its breaker opened by itself."""
    THROTTLED = "throttled"
    TRYING = "trying"
    TAKING_MESSAGES = "taking_messages"


GATEWAY_WORDS: Final[Mapping[GatewayCondition, str]] = {
    GatewayCondition.PAUSED: "paused by {by}",
    GatewayCondition.RESTING: "resting after failures",
    GatewayCondition.THROTTLED: "waiting, as its provider asked,",
    GatewayCondition.TRYING: "to be tried with the next message",
    GatewayCondition.TAKING_MESSAGES: "taking messages",
}
REFUSED_ACCOUNT: Final = "resting since it refuses our account"


@dataclass(frozen=True, slots=True)
class GatewayState:
    """How a gateway is, and for how long yet."""

    condition: GatewayCondition
    words: str
    """A sentence's end; ``{by}`` stands for who paused it."""
    by: str = ""
    left: int = 0
    """Milliseconds; 0 where nobody knows."""

    def __str__(self) -> str:
        return self.words.format(by=self.by)


def gateway_state(health: GatewayHealth) -> GatewayState:
    """Return the state of a gateway."""
    if health.state is BreakerState.OPEN:
        if health.opened_by:
            return _state(GatewayCondition.PAUSED, health.probe_in, health.opened_by)
        if health.refusal:
            return GatewayState(GatewayCondition.RESTING, REFUSED_ACCOUNT, left=health.probe_in)
        return _state(GatewayCondition.RESTING, health.probe_in)
    if health.throttled_for:
        return _state(GatewayCondition.THROTTLED, health.throttled_for)
    if health.state is BreakerState.HALF_OPEN:
        return _state(GatewayCondition.TRYING)
    return _state(GatewayCondition.TAKING_MESSAGES)


def _state(condition: GatewayCondition, left: int = 0, by: str = "") -> GatewayState:
    return GatewayState(condition, GATEWAY_WORDS[condition], by, left)


@dataclass(frozen=True, slots=True)
class GatewayReport:
    """A gateway at this moment, as all workers see it."""

    name: str
    health: GatewayHealth
    limits: GatewayLimits

    @property
    def state(self) -> GatewayState:
        """Whether it takes messages."""
        return gateway_state(self.health)

    @property
    def in_flight(self) -> int | None:
        """Calls at this moment; ``None`` where they are not counted."""
        return (self.health.in_flight or 0) if self.limits.in_flight else None


def gateway_reports(context: Context) -> tuple[GatewayReport, ...]:
    """Return how each gateway is. Raises `StoreUnavailableError`."""
    found = context.store.health.of(tuple(context.gateways))
    return tuple(GatewayReport(name, health, context.gateway_limits[name]) for name, health in found.items())


def is_route_down(context: Context) -> bool:
    """Tell whether all gateways of a route are paused: its messages wait until their codes end."""
    health = context.store.health.of(tuple(context.gateways))
    shut = {name for name, now in health.items() if now.opened_by and now.probe_in}
    return any(shut.issuperset(route.gateways) for route in context.routes.routes)


IN_VAIN: Final = ("destination", "fraud", "policy")
"""Reasons that no operator can mend: another try fails too, and may cost."""
REDRIVE_WORDS: Final[Mapping[RedriveResult, str]] = {
    RedriveResult.REDRIVEN: "put back",
    RedriveResult.GONE: "not put back: its verification is gone",
    RedriveResult.UNWANTED: "not put back: {why}",
}
"""What became of a dead letter."""


def matches_scope(letter: DeadLetter, reason: str | None) -> bool:
    """Tell whether a letter is put back with all of a reason; of no reason, with all that another try may help."""
    word = short_reason(letter)
    return word not in IN_VAIN if reason is None else word == reason


@dataclass(frozen=True, slots=True)
class DeadLetterReport:
    """Dead letters of some applications, as far as they are looked at."""

    reasons: Mapping[str, int]
    """How many of the last day have each reason, in a word."""
    newest: tuple[DeadLetter, ...]
    """Newest first."""
    young: frozenset[str]
    """The identifiers of those whose codes may still live."""


@dataclass(frozen=True, slots=True)
class OperationsReport:
    """What an operator looks at first. Times are milliseconds since the epoch, by Redis' clock."""

    now: int
    gateways: tuple[GatewayReport, ...]
    worker_age: int | None
    """Seconds since any worker was seen; ``None`` when none was recently."""
    waiting: Mapping[str, int]
    """Messages that wait, by application."""
    oldest: float
    """Seconds for which the oldest of all waits."""
    dead_letters: DeadLetterReport
    unrecorded: int
    """Events that are not in the ledger yet."""
    mirror: MirrorStatus


_LOOKED_AT: Final = 200
"""Dead letters of a bucket."""
_LISTED: Final = 50


def report_operations(context: Context, sees: Callable[[str], bool]) -> OperationsReport:
    """Return what there is to see; of messages, those of applications that one ``sees``.

    Raises `StoreUnavailableError` and `LedgerUnavailableError`.
    """
    store = context.store
    now = store.decisions.now()
    waiting = {name: count for name, count in store.history.waiting_messages().items() if count and sees(name)}
    return OperationsReport(
        now=now,
        gateways=gateway_reports(context),
        worker_age=store.server.worker_age(),
        waiting=dict(sorted(waiting.items())),
        oldest=store.outbox.lag(),
        dead_letters=_dead_letters(context, sees, now),
        unrecorded=store.events.unrecorded(),
        mirror=context.mirror_sync.inspect(),
    )


def _dead_letters(context: Context, sees: Callable[[str], bool], now: int) -> DeadLetterReport:
    found = context.store.dead_letters.since(24 * HOUR, _LOOKED_AT)
    letters = [one for one in found if sees(one.member("application"))]
    young = frozenset(one.id for one in letters if one.at > now - 1000 * MAX_CODE_LIFE)
    return DeadLetterReport(count_reasons(letters), tuple(letters[:_LISTED]), young)


def dead_letters_for_reason(context: Context, reason: str, sees: Callable[[str], bool]) -> list[DeadLetter]:
    """Return the dead letters of a reason whose codes may still live, oldest first."""
    young = context.store.dead_letters.since(1000 * MAX_CODE_LIFE)
    return [one for one in reversed(young) if matches_scope(one, reason) and sees(one.member("application"))]


@dataclass(frozen=True, slots=True)
class GatewayTraffic:
    """What became of a gateway's messages to a country."""

    gateway: str
    country: str
    messages: MessageStatsRow
    until_sent: DelayStatsRow | None
    """How long the first messages took from the start until the gateway had them; ``None`` where it took none."""
    until_delivered: DelayStatsRow | None
    """How long until handsets had them, as the gateway told."""


@dataclass(frozen=True, slots=True)
class TrafficReport:
    """What became of the messages of some hours."""

    since: int
    until: int
    places: tuple[GatewayTraffic, ...]
    """Those with the most calls first."""
    hours: tuple[MessageStatsRow, ...]
    """Of all gateways, by hour."""


def gateway_traffic(context: Context, hours: int, applications: Collection[str]) -> TrafficReport:
    """Return what became of messages whose verifications started in the last hours, this one among them.

    Raises `StoreUnavailableError` and `LedgerUnavailableError`.
    """
    until = (context.store.decisions.now() // HOUR + 1) * HOUR
    query = StatsQuery(until - hours * HOUR, until, ("gateway", "country"), {"application": applications})
    delays = {(row.gateway, row.country, row.until): row for row in count_delays(context, query)}
    places = []
    for row in count_messages(context, query):
        if row.gateway:  # messages that were given up before a call have none
            until_sent, until_delivered = (
                delays.get((row.gateway, row.country, until)) for until in ("sent", "delivered")
            )
            places.append(GatewayTraffic(row.gateway, row.country or "", row, until_sent, until_delivered))
    by_hour = count_messages(context, replace(query, by=("hour",)))
    places.sort(key=lambda one: -one.messages.calls)
    return TrafficReport(query.since, until, tuple(places), tuple(by_hour))
