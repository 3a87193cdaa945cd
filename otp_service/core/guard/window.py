"""Windows in memory, as the limits library and ``include_limits.lua`` count them. Times in milliseconds."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from otp_service.core.guard.limits import Strategy
from otp_service.core.guard.ruleset import Window


@dataclass(slots=True)
class Moving:
    """Exact: the times of the last events, newest first."""

    events: list[float] = field(default_factory=list)

    def wait(self, rule: Window, most: int, now: float) -> int:
        """Return the milliseconds until one more fits, 0 when it does now."""
        if len(self.events) < most or not most:
            return 0
        free = self.events[most - 1] + 1000 * rule.seconds - now
        return 0 if free < 0 else max(1, math.ceil(free))

    def spend(self, rule: Window, now: float) -> None:
        """Count one event."""
        self.events = [now, *self.events][: rule.amount]


@dataclass(slots=True)
class Sliding:
    """Approximate: this interval's count and the previous one's, each with the time when it expires."""

    count: int = 0
    expires: float = 0.0
    previous: int = 0
    previous_expires: float = 0.0

    def _now(self, rule: Window, now: float) -> tuple[bool, int, float, int, float]:
        """Return whether the interval is over; the present count and its remaining life, and those of the last one."""
        interval = 1000 * rule.seconds
        ttl = max(0.0, self.expires - now)
        count = self.count if ttl > 0 else 0
        if 0 < ttl < interval:
            return True, 0, ttl, count, ttl
        faded_ttl = max(0.0, self.previous_expires - now)
        return False, count, ttl - interval if ttl > 0 else interval, self.previous if faded_ttl > 0 else 0, faded_ttl

    def wait(self, rule: Window, most: int, now: float) -> int:
        """Return the milliseconds until one more fits, 0 when it does now."""
        interval = 1000 * rule.seconds
        _, count, ttl, faded, faded_ttl = self._now(rule, now)
        if math.floor(faded * faded_ttl / interval) + count + 1 <= most:
            return 0
        if count < most:
            return max(1, math.floor(faded_ttl - (most - count) * interval / faded) + 1)
        return max(1, math.floor(ttl + interval - most * interval / count) + 1)

    def spend(self, rule: Window, now: float) -> None:
        """Count one event."""
        interval = 1000 * rule.seconds
        over, _, ttl, _, _ = self._now(rule, now)
        if over:
            self.previous, self.previous_expires = self.count, self.expires
            self.count, self.expires = 1, now + ttl + interval
        elif self.expires > now:
            self.count += 1
        else:
            self.count, self.expires = 1, now + 2 * interval


def counting(rule: Window) -> Callable[[], Moving | Sliding]:
    """Return what makes an empty window of a rule."""
    return Moving if rule.strategy is Strategy.MOVING_WINDOW else Sliding
