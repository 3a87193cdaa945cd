"""Which gateways carry a message, and how well each works."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


@dataclass(frozen=True, slots=True)
class Route:
    """Gateways for the messages that match; an empty set matches all."""

    gateways: tuple[str, ...]
    """Names, the preferred one first."""
    countries: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()

    def matches(self, country: str, purpose: str, channel: str) -> bool:
        """Tell whether the route serves such a message."""
        return (
            (not self.countries or country in self.countries)
            and (not self.purposes or purpose in self.purposes)
            and (not self.channels or channel in self.channels)
        )


@dataclass(frozen=True, slots=True)
class Routes:
    """The routing table; the first route that matches decides."""

    routes: tuple[Route, ...]
    channels_of: dict[str, frozenset[str]]
    """What each gateway can carry, by its name."""

    def gateways_for(self, country: str, purpose: str, channel: str) -> tuple[str, ...]:
        """Return the gateways that may carry a message, the preferred one first; empty when there is none."""
        for route in self.routes:
            if route.matches(country, purpose, channel):
                return tuple(name for name in route.gateways if channel in self.channels_of[name])
        return ()


MAX_RETRY_AFTER: Final = 3600.0
"""Maximum of a Retry-After that is obeyed, in seconds."""


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """What a gateway may be asked to do, over all workers."""

    per_second: float
    """Messages a second; 0 for any number."""
    in_flight: int
    """Calls at the same time; 0 for any number."""
    lease: int
    """Milliseconds after which a call without an end no longer counts."""
    slow: float
    """Seconds from which on a call counts as slow."""


@dataclass(frozen=True, slots=True)
class BreakerThresholds:
    """When a gateway is left alone, and for how long. Times in milliseconds.

    A call is bad when the gateway failed (*unavailable*, *error*), refused our account or answered slowly. One that
    answers in time is well, whatever it says of the message.
    """

    run: int
    """Bad calls in a row that open the breaker."""
    calls: int
    """Calls of a window from which on the share of bad ones counts."""
    percent: int
    """Share of bad calls that opens it."""
    window: int
    open_for: int
    """How long it is open at first; the time doubles with each probe that fails."""
    max_open_for: int
    throttled_for: int
    """How long a gateway is left alone that was *throttled*, at first; the time doubles too."""
    max_throttled_for: int


class CallResult(StrEnum):
    """What a call tells of its gateway."""

    WELL = "well"
    BAD = "bad"
    LATE = "late"
    """It is bad, and goes on: it lasts longer than the gateway's `slow`."""
    THROTTLED = "throttled"
    NONE = "none"
    """There was none: what was prepared for it is given back."""


@dataclass(frozen=True, slots=True)
class CountedCalls:
    """Calls alike that a breaker counts: they began one after the other."""

    result: CallResult
    """Well or bad."""
    calls: int
    age: int
    """Milliseconds since the first of them began."""


class Room(StrEnum):
    """Whether a gateway may have a further call of this process."""

    FREE = "free"
    FULL = "full"
    """It has as many as it may have, and answers: a message waits."""
    SILENT = "silent"
    """It has as many as it may have, and does not answer: the next gateway is called."""


class BreakerState(StrEnum):
    """Whether messages go through a gateway."""

    CLOSED = "closed"
    """They do."""
    OPEN = "open"
    """They do not, for a while."""
    HALF_OPEN = "half_open"
    """One does, to try it."""


@dataclass(frozen=True, slots=True)
class GatewayHealth:
    """How a gateway is at this moment."""

    state: BreakerState
    opened_by: str = ""
    """Who opened the breaker; empty when it opened by itself."""
    probe_in: int = 0
    """Milliseconds until an open breaker lets a probe through."""
    open_for: int = 0
    """Milliseconds for which it opened last."""
    calls: int = 0
    """Of the present window."""
    bad: int = 0
    in_flight: int | None = None
    """Calls at this moment; ``None`` where they are not counted."""
    throttled_for: int = 0
    """Milliseconds for which it is left alone because it throttled, or asked for it."""
    refusal: str = ""
    """Why it refuses our account, in its own code; empty when its last answer did not."""
    refused: int = 0
    """Milliseconds since it last did."""
