"""Breakers on conversion: where hardly anybody who gets a code types it in, the codes are not asked for by people.

The same as ``include_conversions.lua``, in memory. Times in milliseconds.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

SLOT: Final = 60_000
"""What was sent in this slot or the one before is not judged yet: people are still typing."""
KEPT: Final = 0.93
"""How much of what is judged still counts a slot later: half after ten minutes."""
FORGOTTEN: Final = 120
"""Slots after which nothing of it counts any more."""


class State(StrEnum):
    """How a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"
    """Its time is over; a trickle shows whether it is better now."""


@dataclass(frozen=True, slots=True)
class ConversionRule:
    """Opens when, of at least ``sends`` verifications, less than a ``rate`` was approved."""

    sends: int
    rate: float
    closed_for: int
    """How long it closes a place at first; the time doubles each time that it was no better."""
    closed_for_at_most: int
    flows: bool
    """Whether traffic goes on while it is open, so that it is judged by that."""
    probe: int = field(init=False)
    """How many verifications tell whether it is better afterwards: half as many, for a trickle brings no more."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "probe", -(-self.sends // 2))


@dataclass(frozen=True, slots=True)
class Conversion:
    """What one breaker has seen: sends and approvals of this slot, of the one before, and of all before that."""

    slot: int = 0
    sends: int = 0
    approvals: int = 0
    sends_before: int = 0
    approvals_before: int = 0
    ripe_sends: float = 0.0
    ripe_approvals: float = 0.0
    until: int = 0
    """When it is tried again; 0 while the breaker is closed."""
    times: int = 0
    """How often it was opened since it was last seen to be well: the next time it is open for longer."""
    since: int = 0
    """What was started before is forgotten: when it opened last, 0 where all counts."""

    def at_time(self, now: int) -> "Conversion":
        """Return it as it is now, its slots moved on."""
        seen = self
        for _ in range(min(now // SLOT - self.slot, FORGOTTEN)):
            seen = seen._next_slot()
        return replace(seen, slot=max(self.slot, now // SLOT))  # a clock that was set back does not age it twice

    def _next_slot(self) -> "Conversion":
        return replace(
            self,
            sends=0,
            approvals=0,
            sends_before=self.sends,
            approvals_before=self.approvals,
            ripe_sends=self.ripe_sends * KEPT + self.sends_before,
            ripe_approvals=self.ripe_approvals * KEPT + self.approvals_before,
        )

    def judged(self, now: int, rule: ConversionRule) -> "tuple[Conversion, State]":
        """Return it, at its time, with what follows from what it has seen, and how it stands then."""
        if now < self.until:
            return self, State.OPEN
        ripe = self.ripe_sends >= (rule.probe if self.until else rule.sends)
        bad = self.ripe_approvals < rule.rate * self.ripe_sends
        if ripe and bad:
            return self._opened(now, rule), State.OPEN
        if ripe:
            return replace(self, until=0, times=0), State.CLOSED
        if self.until and not rule.flows:
            return self, State.PROBING
        if self.until and bad and self.ripe_sends >= 1:  # too little to tell, and nothing good
            return self, State.OPEN
        return replace(self, until=0), State.CLOSED

    def _opened(self, now: int, rule: ConversionRule) -> "Conversion":
        closed_for = rule.closed_for
        for _ in range(min(self.times, 30)):
            closed_for = min(2 * closed_for, rule.closed_for_at_most)
        if rule.flows:  # what passes goes on telling
            return replace(self, until=now + closed_for, times=self.times + 1)
        return Conversion(self.slot, until=now + closed_for, times=self.times + 1, since=now)

    def sent(self) -> "Conversion":
        """Return it with one verification more."""
        return replace(self, sends=self.sends + 1)

    def approved(self, created: int) -> "Conversion":
        """Return it with one approval more, of a verification that was started at ``created``."""
        age = self.slot - created // SLOT
        if created < self.since:
            return self
        if age <= 0:
            return replace(self, approvals=self.approvals + 1)
        if age == 1:
            return replace(self, approvals_before=self.approvals_before + 1)
        weight = 1.0
        for _ in range(min(age - 2, FORGOTTEN)):
            weight *= KEPT
        return replace(self, ripe_approvals=self.ripe_approvals + weight)
