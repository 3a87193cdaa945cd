"""Leaky buckets of unapproved sends, whose size follows the traffic that is approved.

The same as ``include_buckets.lua``, over states in memory. Times in milliseconds.
"""

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BucketRule:
    """At most ``amount`` unapproved sends in a ``window``, or ``factor`` times as many as were approved in one."""

    name: str
    amount: int
    window: int
    factor: float

    @property
    def approvals(self) -> str:
        """Name of the approvals that it follows: buckets of one window share them."""
        return f"a{self.window // 1000}"


@dataclass(slots=True)
class Kept:
    """What is kept of an address, a block of numbers or a country."""

    at: int = 0
    """When the levels were so."""
    levels: dict[str, float] = field(default_factory=dict)
    """Sends that were not approved, and have not leaked away, by bucket."""
    approvals: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """By window: number of the interval, approvals in it, and in the one before."""


def capacity(kept: Kept, rule: BucketRule, now: int) -> float:
    """Return how many unapproved sends a bucket holds.

    The approvals of the interval before fade out while the present one grows, as in a sliding window counter.
    """
    interval, approved, before = kept.approvals.get(rule.approvals, (-2, 0, 0))
    passed = now // rule.window - interval
    if passed > 1:
        return float(rule.amount)
    if passed == 1:
        approved, before = 0, approved
    faded = before * (1 - (now % rule.window) / rule.window)
    return max(float(rule.amount), rule.factor * (approved + faded))


def level(kept: Kept, rule: BucketRule, now: int) -> float:
    """Return how much a bucket holds, leaked since it was seen last."""
    leaked = capacity(kept, rule, now) / rule.window * max(0, now - kept.at)
    return max(0.0, kept.levels.get(rule.name, 0.0) - leaked)


def wait(held: float, most: float, rule: BucketRule) -> int:
    """Return the milliseconds until one more fits into a bucket that may hold so many, 0 when it does now."""
    excess = held + 1 - max(1.0, most)
    return max(1, math.ceil(excess * rule.window / most)) if excess > 0 else 0


def approve(kept: Kept, rule: BucketRule, now: int) -> None:
    """Count an approval in a window."""
    interval, approved, before = kept.approvals.get(rule.approvals, (0, 0, 0))
    present = now // rule.window
    if present != interval:
        approved, before = 0, approved if present == interval + 1 else 0
    kept.approvals[rule.approvals] = (present, approved + 1, before)
