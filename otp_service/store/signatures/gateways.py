"""Signatures of the scripts that judge gateways."""

from typing import NamedTuple

from otp_service.store.signatures.signature import Signature


class GatewayObserveKeys(NamedTuple):
    """A gateway."""

    health: str
    in_flight: str
    """Its calls in flight."""


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


GATEWAY_OBSERVE: Signature[GatewayObserveKeys, GatewayObserveArguments, Opened | Closed | Unchanged] = Signature(
    "gateway_observe", GatewayObserveKeys, GatewayObserveArguments, Opened, Closed, Unchanged
)
