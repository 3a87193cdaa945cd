"""Sequential tests on outcomes: when a share has fallen below its past, and when it is back. Pure statistics.

Each test compares what comes with two shares, by the logarithm of their likelihoods (nats), and never lets the sum
fall below nothing: Page's test, or CUSUM (Page, Continuous inspection schemes, Biometrika 41, 1954). It is judged
after each slot, from the first one on.

**How often it is wrong.** The product of the ratios since one slot is, while the share is at least `floor`, at most 1
in the mean, whatever the traffic, and also when the share wanders above the floor. The test's statistic is the
largest of those products, so at most their sum, which grows by at most 1 in each slot: therefore
``E[slots until a false alarm] >= exp(threshold)`` (Lorden, Procedures for reacting to a change in distribution,
Annals of Mathematical Statistics 42, 1971; without independence: Shin, Ramdas and Rinaldo, E-detectors, New England
Journal of Statistics in Data Science, 2023). Of several tests on the same outcomes each gets a part: their number's
logarithm is added to the threshold.

**How soon it is right.** After about ``threshold / I`` outcomes, where ``I`` is the Kullback-Leibler divergence of the
share that came from the one that is usual; no test with that rate of false alarms can be faster by more than a
constant (Lorden 1971; Siegmund, Sequential Analysis, 1985).
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final

SLOTS_UNTIL_FALSE_ALARM: Final = 2_000_000
"""At least so many judged slots pass, in the mean, from one false alarm to the next."""
REMAINING: Final = (0.95, 0.8, 0.5, 0.1)
"""What remains of the usual share, in each of the tests: beside an attack of a twentieth of honest traffic, a quarter,
as much, ten times as much."""
THRESHOLD: Final = math.log(SLOTS_UNTIL_FALSE_ALARM) + math.log(len(REMAINING))
"""Evidence, in nats, with which a change is told."""
LARGEST_STEP: Final = 5.0
"""Nats that one slot can add, so that one odd minute is not enough. What is cut off only makes false alarms rarer."""
USUAL_AGAIN: Final = 5.0
"""Nats with which an alarm ends. It ends too early once in ``exp(5)`` slots or more; then it is told again."""
TOWARDS_USUAL: Final = 1 / 3
"""Where between the attacked share and the usual one those two are told apart."""
MEMORY: Final = 0.98
"""What a slot of an alarm still counts one slot later: half after 34."""
LEAST_FALL: Final = 0.03
"""An alarm ends when the share is back above this much less than usual, however small the fall was."""
LOWEST, HIGHEST = 0.02, 0.98
"""Shares are kept between these: no outcome is impossible."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Outcomes of the starts of a minute, once they are ripe."""

    minute: int
    """Since the epoch."""
    attempts: int
    """Starts of newcomers, also those that were asked for a human check and sent nothing yet."""
    messages: int
    """Those of them for which a message was sent."""
    approvals: int
    money: int
    """What the messages cost, in millionths."""


@lru_cache(maxsize=4096)
def _steps(usual: float, now: float) -> tuple[float, float]:
    """Return the nats that an approval and a missing one add for the share ``now`` against the ``usual`` one."""
    return math.log(now / usual), math.log((1 - now) / (1 - usual))


@dataclass(slots=True)
class Run:
    """A test of Page against one share, and what was seen since its evidence was last zero."""

    evidence: float = 0.0
    messages: int = 0
    approvals: int = 0
    unusual: float = 0.0
    """Messages that are more than the approvals account for, where the usual share is approved."""

    @property
    def level(self) -> float:
        """The part of the messages that is not usual, 0 to 1."""
        return max(0.0, self.unusual) / self.messages if self.messages else 0.0

    def add(self, slot: Slot, step: float, usual: float) -> None:
        """Count a slot that is worth so many nats."""
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
    """Whether a share has fallen, by any of what may remain of it."""

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
        """Count a slot; tell whether the share has fallen below the ``floor``, the lowest that is still usual."""
        unapproved, fell = slot.attempts - slot.approvals, False
        for run, remaining in zip(self.runs, REMAINING, strict=True):
            approved_step, unapproved_step = _steps(floor, remaining * floor)
            run.add(slot, slot.approvals * approved_step + unapproved * unapproved_step, usual)
            fell = fell or run.evidence >= THRESHOLD
        return fell

    def forget(self) -> None:
        """Begin anew."""
        self.runs = [Run() for _ in REMAINING]


@dataclass(slots=True)
class Alarm:
    """A share that has fallen, and has not come back."""

    raised: int
    """The minute in which it was raised."""
    unusual: float = 0.0
    """Messages since the fall began that are more than usual for so many approvals."""
    recovery: float = 0.0
    """Nats for its end, of `USUAL_AGAIN`."""
    expected: float = 0.0
    """Approvals that so many attempts usually bring, faded by slots, while nothing spoke for the end."""
    found: float = 0.0
    """Approvals that came instead."""
    recently_expected: float = 0.0
    """The same, but whatever speaks for the end: what is now."""
    recently_found: float = 0.0

    @classmethod
    def of(cls, run: Run, raised: int, usual: float) -> "Alarm":
        """Return the alarm of a run that has enough evidence, where the share is ``usual``."""
        alarm = cls(raised, run.unusual)
        alarm.found, alarm.expected = float(run.approvals), run.approvals + usual * max(0.0, run.unusual)
        alarm.recently_found, alarm.recently_expected = alarm.found, alarm.expected
        return alarm

    @property
    def remaining(self) -> float:
        """What remained of the usual share while nothing spoke for the end, 0 to 1."""
        return min(1.0, self.found / self.expected) if self.expected else 1.0

    @property
    def level(self) -> float:
        """The part of the attempts of the last half hour or so that is not usual, 0 to 1."""
        return max(0.0, 1 - self.recently_found / self.recently_expected) if self.recently_expected else 0.0

    def add(self, slot: Slot, usual: float) -> bool:
        """Count a slot; tell whether the share is usual again."""
        self.unusual += slot.messages - slot.approvals / usual
        self.recently_expected = self.recently_expected * MEMORY + slot.attempts * usual
        self.recently_found = self.recently_found * MEMORY + slot.approvals
        if not self.recovery:  # nothing speaks for the end: this is what the attack looks like
            self.expected = self.expected * MEMORY + slot.attempts * usual
            self.found = self.found * MEMORY + slot.approvals
        self.recovery = max(0.0, self.recovery + min(self._step(slot, usual), LARGEST_STEP / 2))
        return self.recovery >= USUAL_AGAIN

    def _step(self, slot: Slot, usual: float) -> float:
        """Return the nats for the usual share, against one that is a third of the way from the attack's to it."""
        remaining = min(1 - LEAST_FALL, self.remaining + TOWARDS_USUAL * (1 - self.remaining))
        attacked = max(LOWEST / 2, round(remaining * usual, 3))
        approved_step, unapproved_step = _steps(attacked, usual)
        return slot.approvals * approved_step + (slot.attempts - slot.approvals) * unapproved_step


# --- Days: what is too little to show in minutes -------------------------------------------------------------------

ALLOWED_DAILY: Final = 0.5
"""Standard deviations by which a day's share may be too low, again and again, without evidence."""
DAILY_THRESHOLD: Final = 5.0
"""Evidence, in standard deviations, with which a small fall is told. For independent, normal days a false one comes
every 938 days in the mean: ``(exp(2 k b) - 2 k b - 1) / (2 k k)``, ``k`` what is allowed, ``b`` the threshold and
1.166 (Siegmund 1985). A fall of two standard deviations is told after ``5 / (2 - 0.5)``, three to four days."""
_LARGEST_DAY: Final = 3.0
DAILY_SPREAD: Final = 0.015
"""How much a day's share wanders when nothing is known of that: its standard deviation."""
_SPREAD_DAYS, _LEAST_DAILY_SPREAD, _KEPT_DAILY = 10.0, 0.005, 0.975
"""Days after which data weigh as much as `DAILY_SPREAD`, the least that is taken for true, and what a day still counts
a day later."""
LASTING_DAYS: Final = 7
"""Days after which a small fall that stands is taken for usual: it may be an honest change, and it is bounded."""


class Daily(StrEnum):
    """What follows from a day."""

    FELL = "fell"
    USUAL_AGAIN = "usual again"
    LASTS = "lasts"


@dataclass(slots=True)
class DailyTest:
    """A test of Page on the share of whole days, for falls that are smaller than the share's wandering in an hour."""

    day: int = 0
    """Since the epoch; the one that is being counted."""
    attempts: int = 0
    approvals: int = 0
    expected: float = 0.0
    chance: float = 0.0
    """Variance of the approvals by chance alone."""
    doubtful: bool = False
    """Whether an alarm stood on this day: it is not judged, for it was told."""
    evidence: float = 0.0
    wandered: float = 0.0
    """Squares by which shares of days missed what is usual, beyond chance, and in the next the days; faded."""
    days: float = 0.0
    raised: int = 0
    """The day after which the fall was told that stands; 0 for none."""
    found: float = 0.0
    """Approvals since the evidence was last zero, and in the next those that would have been usual."""
    usual: float = 0.0

    @property
    def doubts(self) -> bool:
        """Whether there is so much evidence that nothing is to be learnt."""
        return bool(self.raised) or self.evidence > DAILY_THRESHOLD / 2

    @property
    def remaining(self) -> float:
        """What remains of the usual share since the fall began."""
        return self.found / self.usual if self.usual else 1.0

    def add(self, slot: Slot, share: float, variance: float, *, doubtful: bool) -> Daily | None:
        """Count a slot where a ``share`` is usual, known to a ``variance``; judge the day before when it is over."""
        day = slot.minute // 1440
        finding = self._close(variance) if day != self.day else None
        if day != self.day:
            self.day, self.attempts, self.approvals, self.expected, self.chance = day, 0, 0, 0.0, 0.0
            self.doubtful = False
        self.attempts += slot.attempts
        self.approvals += slot.approvals
        self.expected += slot.attempts * share
        self.chance += slot.attempts * share * (1 - share)
        self.doubtful = self.doubtful or doubtful
        return finding

    def _close(self, variance: float) -> Daily | None:
        if self.doubtful or not self.attempts:
            return None
        missed = self.approvals - self.expected
        spread = max(_LEAST_DAILY_SPREAD**2, self._wandering()) + variance
        deviations = -missed / math.sqrt(self.chance + self.attempts**2 * spread)
        self.evidence = max(0.0, self.evidence + min(deviations, _LARGEST_DAY) - ALLOWED_DAILY)
        if not self.evidence:
            self.found = self.usual = 0.0
        else:
            self.found, self.usual = self.found + self.approvals, self.usual + self.expected
        if not self.doubts:
            self.wandered = self.wandered * _KEPT_DAILY + (missed**2 - self.chance) / self.attempts**2
            self.days = self.days * _KEPT_DAILY + 1
        return self._tell()

    def _wandering(self) -> float:
        return (self.wandered + _SPREAD_DAYS * DAILY_SPREAD**2) / (self.days + _SPREAD_DAYS)

    def _tell(self) -> Daily | None:
        if not self.raised and self.evidence >= DAILY_THRESHOLD:
            self.raised = self.day
            return Daily.FELL
        if self.raised and self.evidence < DAILY_THRESHOLD / 2:
            self.forget()
            return Daily.USUAL_AGAIN
        if self.raised and self.day - self.raised >= LASTING_DAYS:
            return Daily.LASTS
        return None

    def forget(self) -> None:
        """Begin anew, but for how much days wander."""
        self.raised, self.evidence, self.found, self.usual = 0, 0.0, 0.0, 0.0
