"""Routes, and the health of gateways."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


@dataclass(frozen=True, slots=True)
class Route:
    """Gateways for the messages that match; an empty set matches all."""

    gateways: tuple[str, ...]
    """The preferred gateway first."""
    countries: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()

    def matches(self, country: str, purpose: str, channel: str) -> bool:
        """Tell whether the route carries such a message."""
        values = ((country, self.countries), (purpose, self.purposes), (channel, self.channels))
        return all(not allowed or value in allowed for value, allowed in values)


@dataclass(frozen=True, slots=True)
class Routes:
    """The routing table; the first route that matches decides."""

    routes: tuple[Route, ...]
    channels_of: dict[str, frozenset[str]]

    def gateways_for(self, country: str, purpose: str, channel: str) -> tuple[str, ...]:
        """Return the gateways that may carry a message, the preferred one first; empty when there is none."""
        for route in self.routes:
            if route.matches(country, purpose, channel):
                return tuple(name for name in route.gateways if channel in self.channels_of[name])
        return ()


MAX_RETRY_AFTER: Final = 3600.0
"""In seconds."""


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """Limits of a gateway's calls, over all workers; 0 is no limit."""

    per_second: float
    """Messages."""
    in_flight: int
    lease: int
    """Milliseconds after which a call without an end does not count."""
    slow: float
    """Seconds of a slow call."""


@dataclass(frozen=True, slots=True)
class BreakerThresholds:
    """Thresholds of a gateway's breaker. Times in milliseconds.

    A call is bad when the gateway failed (*unavailable*, *error*), refused our account or answered slowly. All other
    answers are well, whatever the result for the message.
    """

    run: int
    calls: int
    """Minimum calls of a window for `percent`."""
    percent: int
    window: int
    open_for: int
    """At first; the time doubles with each failed probe."""
    max_open_for: int
    throttled_for: int
    """At first, after *throttled*; the time doubles too."""
    max_throttled_for: int


class CallResult(StrEnum):
    """The result of a call for its gateway's health."""

    WELL = "well"
    BAD = "bad"
    LATE = "late"
    """It lasts longer than the gateway's `slow`, and goes on."""
    THROTTLED = "throttled"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class CountedCalls:
    """Successive calls with the same result, for a breaker."""

    result: CallResult
    calls: int
    age: int
    """Milliseconds since the first began."""


class Room(StrEnum):
    """Whether a gateway has room for another call of this process."""

    FREE = "free"
    FULL = "full"
    """At its maximum, and answers: a message waits."""
    SILENT = "silent"
    """At its maximum without an answer: the next gateway is called."""


class BreakerState(StrEnum):
    """The state of a gateway's breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class GatewayHealth:
    """A gateway's present health. Times are milliseconds."""

    state: BreakerState
    opened_by: str = ""
    probe_in: int = 0
    open_for: int = 0
    calls: int = 0
    bad: int = 0
    in_flight: int | None = None
    """``None`` where calls are not counted."""
    throttled_for: int = 0
    refusal: str = ""
    """Its code for refusing our account; empty when its last answer did not."""
    refused: int = 0
    """Milliseconds since the last refusal."""
