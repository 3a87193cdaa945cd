"""Sequential tests on outcomes: when a share has fallen below its past, and when it is back. Pure statistics.

Each test compares outcomes with two shares, by the logarithm of their likelihoods (nats), and never lets the sum
fall below zero: Page's test, or CUSUM (Page, Continuous inspection schemes, Biometrika 41, 1954). It is judged
after each slot, from the first on.

**False alarms.** The product of the ratios since one slot is, while the share is at least `floor`, at most 1
in the mean, whatever the traffic, and also when the share wanders above the floor. The test's statistic is the
largest of those products, so at most their sum, which grows by at most 1 in each slot: therefore
``E[slots until a false alarm] >= exp(threshold)`` (Lorden, Procedures for reacting to a change in distribution,
Annals of Mathematical Statistics 42, 1971; without independence: Shin, Ramdas and Rinaldo, E-detectors, New England
Journal of Statistics in Data Science, 2023). Several tests on the same outcomes share the rate: the logarithm of
their number is added to the threshold.

**Delay.** About ``threshold / I`` outcomes, where ``I`` is the Kullback-Leibler divergence of the present share from
the usual one; no test with that rate of false alarms can be faster by more than a constant (Lorden 1971; Siegmund,
Sequential Analysis, 1985).
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final

SLOTS_UNTIL_FALSE_ALARM: Final = 2_000_000
"""The minimum mean number of judged slots between false alarms."""
REMAINING: Final = (0.95, 0.8, 0.5, 0.1)
"""The remaining part of the usual share in each of the tests: beside an attack of a twentieth of honest traffic, a
quarter, as much, ten times as much."""
THRESHOLD: Final = math.log(SLOTS_UNTIL_FALSE_ALARM) + math.log(len(REMAINING))
"""Evidence, in nats, that raises an alarm."""
LARGEST_STEP: Final = 5.0
"""Maximum nats of one slot, so that one odd minute is not enough. The cut only makes false alarms rarer."""
USUAL_AGAIN: Final = 5.0
"""Nats that end an alarm. It ends too early once in ``exp(5)`` slots or more; then it is raised again."""
TOWARDS_USUAL: Final = 1 / 3
"""Where the boundary lies between the attacked share and the usual one."""
MEMORY: Final = 0.98
"""The weight of an alarm's slot one slot later: half after 34."""
LEAST_FALL: Final = 0.03
"""An alarm ends when the share is back above this much less than usual, however small the fall was."""
LOWEST, HIGHEST = 0.02, 0.98
"""Bounds of shares: no outcome is impossible."""


class Finding(StrEnum):
    """The result of a judged minute or day."""

    ALARM = "alarm"
    SMALL_FALL = "small fall"
    """The share of whole days is a little lower than usual: too little for an alarm or a human check."""
    USUAL_AGAIN = "usual again"
    REBASED = "rebased"
    """A fall lasts, so that the usual share is learnt anew."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Ripe outcomes of the starts of a minute."""

    minute: int
    """Since the epoch."""
    attempts: int
    """Starts, also those that wait for a human check and sent nothing yet."""
    messages: int
    approvals: int
    money: int


@lru_cache(maxsize=4096)
def _steps(usual: float, now: float) -> tuple[float, float]:
    """Return the nats that an approval and a missing one add for the share ``now`` against the ``usual`` one."""
    return math.log(now / usual), math.log((1 - now) / (1 - usual))


@dataclass(slots=True)
class Run:
    """A test of Page against one share, with the outcomes since its evidence was last zero."""

    evidence: float = 0.0
    messages: int = 0
    approvals: int = 0
    unusual: float = 0.0
    """Messages beyond those that would bring the approvals at the usual share."""

    @property
    def level(self) -> float:
        """The unusual part of the messages, 0 to 1."""
        return max(0.0, self.unusual) / self.messages if self.messages else 0.0

    def add(self, slot: Slot, step: float, usual: float) -> None:
        """Count a slot that adds ``step`` nats."""
        evidence = self.evidence + min(step, LARGEST_STEP)
        if evidence <= 0.0:
            if self.evidence:
                self.evidence, self.messages, self.approvals, self.unusual = 0.0, 0, 0, 0.0
            return
        self.evidence = evidence
        self.messages += slot.messages
        self.approvals += slot.approvals
        self.unusual += slot.messages - slot.approvals / usual


@dataclass(slots=True)
class ChangeTest:
    """Tests of a fall of a share, one for each of `REMAINING`."""

    runs: list[Run] = field(default_factory=lambda: [Run() for _ in REMAINING])

    @property
    def leading(self) -> Run:
        """The run with the most evidence."""
        return max(self.runs, key=lambda run: run.evidence)

    @property
    def evidence(self) -> float:
        """Nats for a fall, of `THRESHOLD`."""
        return max(run.evidence for run in self.runs)

    def add(self, slot: Slot, usual: float, floor: float) -> bool:
        """Count a slot; tell whether the share has fallen below the ``floor``, the lowest usual share."""
        unapproved, fell = slot.attempts - slot.approvals, False
        for run, remaining in zip(self.runs, REMAINING, strict=True):
            approved_step, unapproved_step = _steps(floor, remaining * floor)
            run.add(slot, slot.approvals * approved_step + unapproved * unapproved_step, usual)
            fell = fell or run.evidence >= THRESHOLD
        return fell

    def forget(self) -> None:
        """Drop the evidence."""
        self.runs = [Run() for _ in REMAINING]


@dataclass(slots=True)
class Alarm:
    """A share that has fallen, and has not come back."""

    raised: int
    unusual: float = 0.0
    """Messages since the fall began beyond the usual number for their approvals."""
    recovery: float = 0.0
    """Nats for its end, of `USUAL_AGAIN`."""
    expected: float = 0.0
    """Usual approvals of the attempts without evidence for the end, faded by slots."""
    approved: float = 0.0
    """Approvals of the same attempts."""
    recently_expected: float = 0.0
    """Usual approvals of all attempts, faded by slots."""
    recently_approved: float = 0.0

    @classmethod
    def of(cls, run: Run, raised: int, usual: float) -> "Alarm":
        """Return the alarm of a run that has enough evidence, where the share is ``usual``."""
        approved, expected = float(run.approvals), run.approvals + usual * max(0.0, run.unusual)
        return cls(raised, run.unusual, 0.0, expected, approved, expected, approved)

    @property
    def level(self) -> float:
        """The unusual part of the attempts of the last half hour or so, 0 to 1."""
        return max(0.0, 1 - self.recently_approved / self.recently_expected) if self.recently_expected else 0.0

    def add(self, slot: Slot, usual: float) -> bool:
        """Count a slot; tell whether the share is usual again."""
        self.unusual += slot.messages - slot.approvals / usual
        self.recently_expected = self.recently_expected * MEMORY + slot.attempts * usual
        self.recently_approved = self.recently_approved * MEMORY + slot.approvals
        if not self.recovery:  # without evidence for the end, these are the attack's outcomes
            self.expected = self.expected * MEMORY + slot.attempts * usual
            self.approved = self.approved * MEMORY + slot.approvals
        # nats for the usual share, against a share that is a third of the way from the attack's to it
        remaining = min(1.0, self.approved / self.expected) if self.expected else 1.0
        remaining = min(1 - LEAST_FALL, remaining + TOWARDS_USUAL * (1 - remaining))
        approved_step, unapproved_step = _steps(max(LOWEST / 2, round(remaining * usual, 3)), usual)
        step = slot.approvals * approved_step + (slot.attempts - slot.approvals) * unapproved_step
        self.recovery = max(0.0, self.recovery + min(step, LARGEST_STEP / 2))
        return self.recovery >= USUAL_AGAIN


# --- Days: falls that are too small to show in minutes -------------------------------------------------------------

ALLOWED_DAILY: Final = 0.5
"""Standard deviations by which a day's share may repeatedly be too low without evidence."""
DAILY_THRESHOLD: Final = 5.0
"""Evidence, in standard deviations, of a small fall. For independent, normal days a false one comes every 938 days in
the mean: ``(exp(2 k b) - 2 k b - 1) / (2 k k)``, with `ALLOWED_DAILY` as ``k``, the threshold plus 1.166 as ``b``
(Siegmund 1985). A fall of two standard deviations takes ``5 / (2 - 0.5)``, three to four days."""
_LARGEST_DAY: Final = 3.0
DAILY_SPREAD: Final = 0.015
"""The assumed standard deviation of a day's share."""
_SPREAD_DAYS, _MIN_DAILY_SPREAD, _DAILY_MEMORY = 10.0, 0.005, 0.975
"""Days after which data weigh as much as `DAILY_SPREAD`, the smallest spread, and the weight of a day a day later."""
LASTING_DAYS: Final = 7
"""Days after which a small fall counts as usual: it may be an honest change, and it is bounded."""


@dataclass(slots=True)
class DailyTest:
    """A test of Page on the share of whole days, for falls that are smaller than the share's wandering in an hour."""

    day: int = 0
    """The day that is being counted, since the epoch."""
    attempts: int = 0
    approvals: int = 0
    expected: float = 0.0
    chance: float = 0.0
    """Variance of the approvals by chance alone."""
    doubtful: bool = False
    """Whether an alarm stood on this day: then it is not judged."""
    evidence: float = 0.0
    wandered: float = 0.0
    """Squared deviations of the shares of so many `days`, beyond chance; faded."""
    days: float = 0.0
    raised: int = 0
    """The day that ended in the present fall; 0 for none."""
    approved: float = 0.0
    """Approvals since the evidence was last zero; `usual` would be usual."""
    usual: float = 0.0

    @property
    def doubts(self) -> bool:
        """Whether the evidence is too strong to learn the day."""
        return bool(self.raised) or self.evidence > DAILY_THRESHOLD / 2

    @property
    def remaining(self) -> float:
        """The remaining part of the usual share since the fall began."""
        return self.approved / self.usual if self.usual else 1.0

    def add(self, slot: Slot, share: float, variance: float, *, doubtful: bool) -> Finding | None:
        """Count a slot where a ``share`` is usual, known to a ``variance``; judge the day before when it is over."""
        day, result = slot.minute // 1440, None
        if day != self.day:
            result = self._close(variance)
            self.day, self.attempts, self.approvals, self.expected, self.chance = day, 0, 0, 0.0, 0.0
            self.doubtful = False
        self.attempts += slot.attempts
        self.approvals += slot.approvals
        self.expected += slot.attempts * share
        self.chance += slot.attempts * share * (1 - share)
        self.doubtful = self.doubtful or doubtful
        return result

    def _close(self, variance: float) -> Finding | None:
        if self.doubtful or not self.attempts:
            return None
        missed = self.approvals - self.expected
        wandered = (self.wandered + _SPREAD_DAYS * DAILY_SPREAD**2) / (self.days + _SPREAD_DAYS)
        spread = max(_MIN_DAILY_SPREAD**2, wandered) + variance
        deviations = -missed / math.sqrt(self.chance + self.attempts**2 * spread)
        self.evidence = max(0.0, self.evidence + min(deviations, _LARGEST_DAY) - ALLOWED_DAILY)
        if not self.evidence:
            self.approved = self.usual = 0.0
        else:
            self.approved, self.usual = self.approved + self.approvals, self.usual + self.expected
        if not self.doubts:
            self.wandered = self.wandered * _DAILY_MEMORY + (missed**2 - self.chance) / self.attempts**2
            self.days = self.days * _DAILY_MEMORY + 1
        if not self.raised and self.evidence >= DAILY_THRESHOLD:
            self.raised = self.day
            return Finding.SMALL_FALL
        if self.raised and self.evidence < DAILY_THRESHOLD / 2:
            self.forget()
            return Finding.USUAL_AGAIN
        return Finding.REBASED if self.raised and self.day - self.raised >= LASTING_DAYS else None

    def forget(self) -> None:
        """Drop the evidence; the spread of days stays."""
        self.raised, self.evidence, self.approved, self.usual = 0, 0.0, 0.0, 0.0
