"""Leaky buckets of unapproved sends, whose size follows the traffic that is approved.

The same as ``include_buckets.lua``, over states in memory. Times in milliseconds.
"""

import math
from dataclasses import dataclass, field

from otp_service.core.guard.counter import Counter


@dataclass(frozen=True, slots=True)
class BucketRule:
    """At most ``amount`` unapproved sends in a ``window``, and ``factor`` more for each that was approved in one."""

    name: str
    amount: int
    window: int
    factor: float
    approvals: str = field(init=False)
    """Name of the approvals that it follows: buckets of one window share them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "approvals", f"a{self.window // 1000}")


@dataclass(slots=True)
class Kept:
    """What is kept of an address, a block of numbers or a country."""

    at: int = 0
    """When the levels were so."""
    levels: dict[str, float] = field(default_factory=dict)
    """Sends that were not approved, and have not leaked away, by bucket."""
    approvals: dict[str, Counter] = field(default_factory=dict)
    """By window."""


def capacity(kept: Kept, rule: BucketRule, now: int) -> float:
    """Return how many unapproved sends a bucket holds."""
    approved = kept.approvals.get(rule.approvals, Counter()).value(now, rule.window)
    return rule.amount + rule.factor * approved


def level(kept: Kept, rule: BucketRule, now: int) -> float:
    """Return how much a bucket holds, leaked since it was seen last.

    What got smaller since, because approvals faded, is full and not more.
    """
    if rule.name not in kept.levels:
        return 0.0
    most = capacity(kept, rule, now)
    leaked = most / rule.window * max(0, now - kept.at)
    return max(0.0, min(kept.levels[rule.name], most) - leaked)


def wait(held: float, most: float, rule: BucketRule) -> int:
    """Return the milliseconds until one more fits into a bucket that may hold so many, 0 when it does now."""
    excess = held + 1 - max(1.0, most)
    return max(1, math.ceil(excess * rule.window / most)) if excess > 0 else 0


def give_back(kept: Kept, rule: BucketRule, sends: int) -> None:
    """Give sends back; the bucket leaks afterwards."""
    if rule.name in kept.levels:
        kept.levels[rule.name] = max(0.0, kept.levels[rule.name] - sends)


def approve(kept: Kept, rule: BucketRule, now: int) -> None:
    """Count an approval in a window."""
    kept.approvals[rule.approvals] = kept.approvals.get(rule.approvals, Counter()).added(now, rule.window)
