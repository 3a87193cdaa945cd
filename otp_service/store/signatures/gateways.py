"""Signatures of the scripts of gateways: their health, and their calls in flight."""

from typing import NamedTuple

from otp_service.store.signatures.signature import Signature


class GatewayKeys(NamedTuple):
    health: str
    in_flight: str


class GatewayEnterArguments(NamedTuple):
    """A call, and what its gateway is allowed: 0 for any."""

    dispatch: str
    per_second: str
    max_in_flight: int
    lease: int
    """Milliseconds that the call may take."""
    last_resort: int
    """1 where no other gateway is left: an open breaker is passed now and then."""


GATEWAY_ENTER = Signature[GatewayKeys, GatewayEnterArguments, bytes]("gateway_enter")
"""Returns the gateway's state, with blanks between: what kept the call out (``breaker``, ``limit`` or nothing); for how
many milliseconds; those until it is passed as the last resort, or ``-``; and 1 where the call was let in, else 0."""


class GatewayLeaveArguments(NamedTuple):
    dispatch: str


GATEWAY_LEAVE = Signature[GatewayKeys, GatewayLeaveArguments, bytes]("gateway_leave")


class GatewayObserveArguments(NamedTuple):
    """A call, and the thresholds of the breaker. Times in milliseconds."""

    dispatch: str
    result: str
    """``well``; ``bad``, failed or slow; ``late``, slow and not over; ``throttled``; ``none`` without a call."""
    throttled_for: int
    """How long a pause the gateway asked for; 0 where it named none."""
    refusal: str
    """Why it refuses our account; or empty."""
    max_run: int
    """Bad calls in a row that open the breaker."""
    min_calls: int
    """Calls of a window from which on their share counts."""
    percent: int
    """Share of bad calls that opens it."""
    window: int
    min_open: int
    max_open: int
    min_pause: int
    """After throttling."""
    max_pause: int
    rest: tuple[str | int, ...]
    """Calls that a closed breaker counts, by when they began: ``well`` or ``bad``, how many in a row, and the time
    since the first began."""


class Opened(NamedTuple):
    """The breaker opens."""


class Closed(NamedTuple):
    """The breaker closes."""


class Unchanged(NamedTuple):
    """The breaker stays as it is."""


GATEWAY_OBSERVE = Signature[GatewayKeys, GatewayObserveArguments, Opened | Closed | Unchanged]("gateway_observe")
