"""Report gateways, queues and dead letters to operators, in the words of commands and console."""

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
"""Minutes that a gateway may be paused."""


class GatewayCondition(StrEnum):
    """A gateway's readiness for messages."""

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
    """A gateway's condition, and how long it lasts yet."""

    condition: GatewayCondition
    words: str
    """The end of a sentence, with ``{by}`` for the operator."""
    by: str = ""
    left: int = 0
    """Milliseconds; 0 for unknown."""

    def __str__(self) -> str:
        return self.words.format(by=self.by)


def gateway_state(health: GatewayHealth) -> GatewayState:
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
        return gateway_state(self.health)

    @property
    def in_flight(self) -> int | None:
        """Calls under way; ``None`` where they are not counted."""
        return (self.health.in_flight or 0) if self.limits.in_flight else None


def gateway_reports(context: Context) -> tuple[GatewayReport, ...]:
    healths = context.store.health.of(tuple(context.gateways))
    return tuple(GatewayReport(name, health, context.gateway_limits[name]) for name, health in healths.items())


def is_route_down(context: Context) -> bool:
    """Tell whether all gateways of any route are paused: its messages wait until their codes end."""
    health = context.store.health.of(tuple(context.gateways))
    shut = {name for name, now in health.items() if now.opened_by and now.probe_in}
    return any(shut.issuperset(route.gateways) for route in context.routes.routes)


IN_VAIN: Final = ("destination", "fraud", "policy")
"""Reasons for which another try fails too, and may cost."""
REDRIVE_WORDS: Final[Mapping[RedriveResult, str]] = {
    RedriveResult.REDRIVEN: "put back",
    RedriveResult.GONE: "not put back: its verification is gone",
    RedriveResult.UNWANTED: "not put back: {why}",
}


def matches_scope(letter: DeadLetter, reason: str | None) -> bool:
    """Tell whether a letter has a reason, or, for ``None``, any reason that another try may help."""
    word = short_reason(letter)
    return word not in IN_VAIN if reason is None else word == reason


@dataclass(frozen=True, slots=True)
class DeadLetterReport:
    """The dead letters of some applications, up to `_MAX_READ` a bucket."""

    reasons: Mapping[str, int]
    """Letters of the last day by reason, in a word."""
    newest: tuple[DeadLetter, ...]
    """Newest first."""
    young: frozenset[str]
    """Identifiers of the letters whose codes may still live."""


@dataclass(frozen=True, slots=True)
class OperationsReport:
    """The operator's overview. Times are milliseconds since the epoch, by Redis' clock."""

    now: int
    gateways: tuple[GatewayReport, ...]
    worker_age: int | None
    """Seconds since any worker was seen; ``None`` for a long time."""
    waiting: Mapping[str, int]
    """Waiting messages by application."""
    oldest: float
    """Seconds that the oldest message has waited."""
    dead_letters: DeadLetterReport
    unrecorded: int
    """Events that are not in the ledger yet."""
    mirror: MirrorStatus


_MAX_READ: Final = 200
"""Dead letters read of a bucket."""
_MAX_LISTED: Final = 50


def report_operations(context: Context, sees: Callable[[str], bool]) -> OperationsReport:
    """Return the overview, with the messages of applications that the operator ``sees``."""
    store = context.store
    now = store.decisions.now()
    waiting = {name: count for name, count in store.history.waiting_messages().items() if count and sees(name)}
    recent = store.dead_letters.since(24 * HOUR, _MAX_READ)
    letters = [letter for letter in recent if sees(letter.member("application"))]
    young = frozenset(letter.id for letter in letters if letter.at > now - 1000 * MAX_CODE_LIFE)
    return OperationsReport(
        now=now,
        gateways=gateway_reports(context),
        worker_age=store.server.worker_age(),
        waiting=dict(sorted(waiting.items())),
        oldest=store.outbox.lag(),
        dead_letters=DeadLetterReport(count_reasons(letters), tuple(letters[:_MAX_LISTED]), young),
        unrecorded=store.events.unrecorded(),
        mirror=context.mirror_sync.inspect(),
    )


def dead_letters_for_reason(context: Context, reason: str, sees: Callable[[str], bool]) -> list[DeadLetter]:
    """Return the dead letters of a reason whose codes may still live, oldest first."""
    young = context.store.dead_letters.since(1000 * MAX_CODE_LIFE)
    return [
        letter for letter in reversed(young) if matches_scope(letter, reason) and sees(letter.member("application"))
    ]


@dataclass(frozen=True, slots=True)
class GatewayTraffic:
    """Outcomes of a gateway's messages to a country."""

    gateway: str
    country: str
    messages: MessageStatsRow
    until_sent: DelayStatsRow | None
    """Delays of first messages from the start until the gateway accepted them; ``None`` without any."""
    until_delivered: DelayStatsRow | None
    """Delays until the gateway reported them as delivered."""


@dataclass(frozen=True, slots=True)
class TrafficReport:
    """Outcomes of the messages of some hours."""

    since: int
    until: int
    places: tuple[GatewayTraffic, ...]
    """By number of calls, largest first."""
    hours: tuple[MessageStatsRow, ...]
    """Of all gateways, by hour."""


def gateway_traffic(context: Context, hours: int, applications: Collection[str]) -> TrafficReport:
    """Return outcomes of messages by verifications started in the last hours, with the current hour."""
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
    places.sort(key=lambda place: -place.messages.calls)
    return TrafficReport(query.since, until, tuple(places), tuple(by_hour))
