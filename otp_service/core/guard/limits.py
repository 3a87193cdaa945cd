"""Limits as data: which windows a request is counted in, before any is spent.

A limit is written in the notation of the ``limits`` library (``"5/10 minutes"``) and parsed by it; the store's
evaluator tests all windows of a request and then spends them all, or none.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from limits import parse

from otp_service.core.errors import ConfigurationError


class Scope(StrEnum):
    """What a limit counts by."""

    NUMBER = "number"
    """Messages to one number, all applications together."""
    IP = "ip"
    """Starts from one end-user network."""
    APPLICATION = "application"
    """Starts and resends of one application."""
    FAILED_CHECKS = "failed_checks"
    """Wrong codes for one number, per application, across verifications."""


class Strategy(StrEnum):
    """How a window counts; the words of the ``limits`` library."""

    MOVING_WINDOW = "moving-window"
    """Exact: never more than the amount in any interval of the window's length."""
    SLIDING_WINDOW_COUNTER = "sliding-window-counter"
    """Approximate in constant memory: the previous interval's count fades out."""


STRATEGY_OF = {
    Scope.NUMBER: Strategy.MOVING_WINDOW,
    Scope.FAILED_CHECKS: Strategy.MOVING_WINDOW,
    Scope.IP: Strategy.SLIDING_WINDOW_COUNTER,
    Scope.APPLICATION: Strategy.SLIDING_WINDOW_COUNTER,
}
"""What concerns a person is exact; what can be large is counted in constant memory."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``amount`` events in ``seconds``."""

    scope: Scope
    amount: int
    seconds: int

    @property
    def strategy(self) -> Strategy:
        """How this limit counts."""
        return STRATEGY_OF[self.scope]

    @property
    def name(self) -> str:
        """Scope and window: what the limit's keys are called, whatever its amount."""
        return f"{self.scope}/{self.seconds}"


def cautious(limit: Limit) -> Limit:
    """Return a limit as it is for an hour after the store was fenced: half as many messages, wrong codes as always."""
    if limit.scope is Scope.FAILED_CHECKS:
        return limit
    return replace(limit, amount=max(1, limit.amount // 2))


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits of an installation, each scope ordered from the narrowest window to the widest."""

    number: tuple[Limit, ...]
    ip: tuple[Limit, ...]
    application: tuple[Limit, ...]
    failed_checks: tuple[Limit, ...]


def parse_limits(scope: Scope, notations: tuple[str, ...]) -> tuple[Limit, ...]:
    """Return the limits of a scope, the narrowest window first; raise `ConfigurationError` for a bad notation."""
    limits = sorted((_parse_limit(scope, notation) for notation in notations), key=lambda limit: limit.seconds)
    windows = [limit.seconds for limit in limits]
    if len(set(windows)) < len(windows):
        raise ConfigurationError(f"limits.{scope}: two limits have the same window.")
    return tuple(limits)


def _parse_limit(scope: Scope, notation: str) -> Limit:
    return Limit(scope, *parse_notation(f"limits.{scope}", notation))


def parse_notation(name: str, notation: str) -> tuple[int, int]:
    """Return amount and seconds of a notation; raise `ConfigurationError`, which tells the name of what it is for."""
    try:
        item = parse(notation)
    except ValueError as malformed:
        raise ConfigurationError(f"{name}: {notation!r} is not a limit such as '5/10 minutes'.") from malformed
    if item.amount < 1:
        raise ConfigurationError(f"{name}: {notation!r} allows nothing; leave the limit out or raise it.")
    return item.amount, item.get_expiry()


def whole_seconds(milliseconds: int) -> int:
    """Return whole seconds, rounded up and at least 1: after them the wait is over."""
    return max(1, -(-milliseconds // 1000))


_LONGEST_TOLD = 86_400
"""Seconds."""


def coarse_retry_after(milliseconds: int) -> int:
    """Return whole seconds to wait, rounded up so far that they do not tell when others asked for the number.

    Up to a minute in steps of 10 s, up to an hour in minutes, above that in hours, and a day at most: more would
    tell that the number is locked.
    """
    seconds = whole_seconds(milliseconds)
    step = 10 if seconds <= 60 else 60 if seconds <= 3600 else 3600  # noqa: PLR2004 - the steps named above
    return min(-(-seconds // step) * step, _LONGEST_TOLD)
