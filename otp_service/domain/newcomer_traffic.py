"""The usual traffic of unknown numbers, learnt from events, and deviations from it: alarms, suspicion, bounded growth.

An *unknown* number has no approval that the guard remembers. The share of unknown numbers that approve is learnt for
each application and country, and for each number prefix in it (calling code and three digits), by hour of the week;
the tests of `detection` compare each minute with it. Minutes are those of Redis' clock.
"""

import math
import struct
from dataclasses import astuple, dataclass, field, replace
from enum import StrEnum
from itertools import chain
from typing import Any, Final

from otp_service.domain.detection import (
    HIGHEST,
    LOWEST,
    REMAINING,
    THRESHOLD,
    Alarm,
    ChangeTest,
    DailyTest,
    Finding,
    Run,
    Slot,
)

MINUTE: Final = 60_000  # milliseconds
RIPE_AFTER: Final = 5
"""Minutes after which a start without an approval counts as unapproved. With the usual delays (half within 25 s,
97.5 % within two minutes) one in a thousand comes later."""
_KEPT: Final = RIPE_AFTER + 1
_MAX_IN_A_MINUTE: Final = 65_535

HOURS: Final = 168
"""Of a week, which begins at the epoch's hour."""
_DAY: Final = 24
FADES: Final = 5 / 6
"""The weight of a week one week later."""
_PRIOR_SHARE, _PRIOR_STARTS = 0.5, 20.0
"""The assumed share before any data, and the starts after which data weigh as much."""
_SHRINK: Final = 200.0
"""Starts after which an hour, or a number prefix, weighs as much as the days, or the country, that it is a part of."""
SPREAD: Final = 0.02
"""The assumed standard deviation of a share from hour to hour."""
_MIN_SPREAD, _MAX_SPREAD = 0.005, 0.08
_KNOWN_SPREAD: Final = 2 * SPREAD
"""The same of known numbers, of which one share is learnt for all hours."""
_SPREAD_WEIGHT: Final = 100_000.0
"""Pairs of starts in an hour after which data weigh as much as `SPREAD`: ten hours of a hundred starts."""
SLACK: Final = 1.5
"""Standard deviations, of learning and of spread, by which a usual share may be lower."""
MAX_LEARNT: Final = 2.0
"""An hour counts as at most so many times its usual starts, plus `_ALWAYS_LEARNT`."""
_ALWAYS_LEARNT: Final = 20.0
DOUBTFUL: Final = THRESHOLD / 2
"""Evidence, in nats, from which an hour is not learnt."""
LASTING: Final = 7 * 24 * 60
"""Minutes after which an alarm ends in any case."""
UNSEEN: Final = 24 * 60
"""Minutes without an attempt after which an alarm ends."""
_SAME: Final = 0.97
"""The part of the usual share above which those that passed the check, or the trickle, have not changed."""
_MIN_REBASED: Final = 0.5
"""The smallest part of the usual share that a lasting change leaves."""

GROWTH: Final = 2.0
"""A bucket grows by at most so many times the growth of usual approvals. With two messages for each approval, and 60 %
approved, that is six times the unapproved messages of a usual day: a sale with five times the traffic fits."""
BLOCK_MEMORY: Final = 7 * 24 * 60 * MINUTE
"""Milliseconds of a block's approvals that count as usual: a week, so that a hundred unknown numbers a day where
none came before are not refused. With two weeks they would be, for as long, since a refused number cannot approve."""
LEARNT_FROM: Final = 1.0
"""Weeks of a country before human checks. Earlier data may come from people who tried a site out, and their share
predicts nothing for its opening."""
CHECK_FROM: Final = 0.1
"""The unusual share of attempts from which a human check is required: below it checks harm more than they save."""
_TRICKLE_OF_APPROVALS: Final = 0.25
_MIN_TRICKLE, _MAX_TRICKLE = 12, 100
WIDENED: Final = 24 * 60
"""Minutes after which an alarm lets the usual number of unknown numbers pass: honest people who changed wait no longer,
and the cost is the usual one."""
UNAPPROVED_AT_HOME, UNAPPROVED_ABROAD = 3, 2
"""Messages in a row without an approval, after which a known number is a stranger to the rules on fraud."""
DELIVERY_EVIDENCE: Final = 7.0
"""Nats for a fall among known numbers that blame the delivery for a fall among unknown ones."""
LOCALIZED: Final = 0.7
"""The part of a country's unusual messages in one number prefix that moves the alarm to the prefix."""


# --- Usual traffic -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UsualShare:
    """The share of unknown numbers that approve, at an hour of the week."""

    share: float
    variance: float
    """Of learning it."""
    spread: float
    """Standard deviation from hour to hour."""
    overall: float
    """The share over all hours."""

    @property
    def floor(self) -> float:
        """The lowest usual share; in steps of a thousandth, rounded down."""
        lowest = self.share - SLACK * math.sqrt(self.variance + self.spread**2)
        return max(LOWEST, math.floor(lowest * 1000) / 1000)


def _within(share: float) -> float:
    return min(HIGHEST, max(LOWEST, share))


@dataclass(slots=True)
class UsualTraffic:
    """Starts and approvals of unknown numbers, by hour of the week, faded over weeks."""

    started: list[float] = field(default_factory=lambda: [0.0] * HOURS)
    approved: list[float] = field(default_factory=lambda: [0.0] * HOURS)
    first: int = 0
    """The first learnt hour, since the epoch."""
    hour: int = 0
    """The hour that is being counted."""
    hour_started: int = 0
    hour_approved: int = 0
    doubtful: bool = False
    """Whether an alarm stood in this hour, or nearly: then it is not learnt."""
    wandered: float = 0.0
    """Squares of the deviations beyond chance; `pairs` are their pairs of starts."""
    pairs: float = 0.0
    _cached: tuple[tuple[int, UsualShare | None], UsualShare] | None = field(default=None, compare=False, repr=False)

    def count(self, slot: Slot, base: UsualShare | None, *, doubtful: bool) -> None:
        """Count a ripe slot, and learn the hour before when it is over."""
        hour = slot.minute // 60
        if hour != self.hour:
            self._learn(hour, base)
        self.hour_started += slot.attempts
        self.hour_approved += slot.approvals
        self.doubtful = self.doubtful or doubtful

    def _learn(self, hour: int, base: UsualShare | None) -> None:
        """Learn the hour that was counted, and the empty hours up to ``hour``."""
        if self.first == 0:
            self.first = self.hour or hour
        if self.hour:
            starts, approvals = float(self.hour_started), float(self.hour_approved)
            if self.doubtful:  # it counts as a usual one: nothing is learnt, and nothing unlearnt
                starts, approvals = self.starts(self.hour), self.approvals(self.hour)
            else:
                usual, faded = self.share(self.hour, base).share, FADES ** (1 / HOURS)
                beyond = (approvals - starts * usual) ** 2 - starts * usual * (1 - usual)
                self.wandered = self.wandered * faded + beyond
                self.pairs = self.pairs * faded + starts * (starts - 1)
                if self.weeks(self.hour) > 1 and starts:  # at first all is learnt, so that a new site is known soon
                    part = min(1.0, (MAX_LEARNT * self.starts(self.hour) + _ALWAYS_LEARNT) / starts)
                    starts, approvals = part * starts, part * approvals
            self._fade(self.hour % HOURS)
            self.started[self.hour % HOURS] += starts
            self.approved[self.hour % HOURS] += approvals
        for empty in range(max(self.hour + 1, hour - 8 * HOURS) if self.hour else hour, hour):
            self._fade(empty % HOURS)
        self.hour, self.hour_started, self.hour_approved, self.doubtful = hour, 0, 0, False
        self._cached = None

    def _fade(self, place: int) -> None:
        self.started[place] *= FADES
        self.approved[place] *= FADES

    def weeks(self, hour: int) -> float:
        """Return the weeks learnt at an hour."""
        return max(0, hour - self.first) / HOURS if self.first else 0.0

    def _weight(self, place: int) -> float:
        """Return the faded number of weeks in which an hour of the week was learnt."""
        times = -((self.first + (place - self.first) % HOURS - self.hour) // HOURS)
        return (1 - FADES**times) / (1 - FADES) if self.first and times > 0 else 0.0

    def starts(self, hour: int) -> float:
        """Return the usual starts of an hour (since the epoch)."""
        return self._mean(self.started, hour)

    def approvals(self, hour: int) -> float:
        """Return the usual approvals of an hour's starts."""
        return self._mean(self.approved, hour)

    def _mean(self, sums: list[float], hour: int) -> float:
        """Return the mean of an hour of the week, which weighs as much as the same hour of all days after a week."""
        place = hour % HOURS
        weight = sum(self._weight(hour) for hour in range(place % _DAY, HOURS, _DAY))
        daily = sum(sums[place % _DAY :: _DAY]) / weight if weight else 0.0
        return (sums[place] + daily) / (self._weight(place) + 1)

    def daily_approvals(self) -> float:
        """Return the usual approvals of a day, over the week."""
        return self._daily(sum(self.approved))

    def hourly_unapproved(self, hour: int) -> float:
        """Return the usual unapproved starts of an hour (since the epoch)."""
        return self.starts(hour) - self.approvals(hour)

    def daily_unapproved(self) -> float:
        """Return the usual unapproved starts of a day, over the week."""
        return self._daily(sum(self.started) - sum(self.approved))

    def _daily(self, count: float) -> float:
        weight = sum(self._weight(place) for place in range(HOURS))
        return _DAY * count / weight if weight else 0.0

    def share(self, hour: int, base: UsualShare | None = None) -> UsualShare:
        """Return the usual share at an hour (since the epoch), cached; the ``base`` of a prefix is its country's."""
        place = hour % HOURS
        if self._cached and self._cached[0] == (place, base):
            return self._cached[1]
        started, approved = sum(self.started), sum(self.approved)
        if base is None:
            share = overall = (approved + _PRIOR_STARTS * _PRIOR_SHARE) / (started + _PRIOR_STARTS)
            variance = share * (1 - share) / (started + _PRIOR_STARTS)
        else:
            overall = (approved + _SHRINK * base.overall) / (started + _SHRINK)
            share = _within(base.share * overall / base.overall)
            variance = base.variance + share * (1 - share) / (started + _SHRINK)
        day = slice(place % _DAY, None, _DAY)  # the hour of the week shrinks to that of the day, and that to all hours
        share, variance = _shrunk(share, variance, sum(self.started[day]), sum(self.approved[day]))
        share, variance = _shrunk(share, variance, self.started[place], self.approved[place])
        wandered = (self.wandered + _SPREAD_WEIGHT * SPREAD**2) / (self.pairs + _SPREAD_WEIGHT)
        spread = min(_MAX_SPREAD, math.sqrt(max(_MIN_SPREAD**2, wandered)))
        usual = UsualShare(_within(share), variance, spread, _within(overall))
        self._cached = (place, base), usual
        return usual

    def rebase(self, remaining: float) -> None:
        """Multiply every share by the part that remains after a lasting change."""
        self.approved = [approved * remaining for approved in self.approved]
        self._cached = None


def _shrunk(share: float, variance: float, started: float, approved: float) -> tuple[float, float]:
    """Return a share and its variance after so many starts, shrunk towards the earlier ones."""
    before = _SHRINK / (started + _SHRINK)
    chance = share * (1 - share) * started / (started + _SHRINK) ** 2
    return (approved + _SHRINK * share) / (started + _SHRINK), chance + variance * before**2


# --- Outcomes of one kind ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Outcomes:
    """Outcomes of one kind at one place: those that are not ripe yet, the test, and the alarm while it stands."""

    newest: int = 0
    """The latest minute with an outcome."""
    pending: list[list[int]] = field(default_factory=lambda: [[0, 0, 0, 0] for _ in range(_KEPT)])
    """Attempts, messages, approvals and money of the last minutes, by minute modulo their number."""
    surplus: int = 0
    """Approvals of a minute beyond its attempts, where the clock moved: they count in the next one."""
    unsent: int = 0
    """Attempts of the last judged minute without a message: they may pass in the next one."""
    test: ChangeTest = field(default_factory=ChangeTest)
    alarm: Alarm | None = None
    raised: int = 0
    """The minute of the last alarm, 0 for none."""
    ended: int = 0
    """The minute in which it ended, 0 for not yet."""
    waiting: int = 0
    """Attempts and messages that are not ripe."""

    def start(self, minute: int, attempts: int, messages: int, money: int) -> None:
        """Count attempts of a minute whose `ripe` slots were taken; a clock set back counts in the newest minute."""
        if not self.waiting and minute != self.newest:
            self._empty(minute)
        self.waiting += attempts + messages
        slot = self.pending[self.newest % _KEPT]
        slot[0] += attempts
        slot[1] += messages
        slot[3] += money

    def _empty(self, minute: int) -> None:
        self.pending, self.newest, self.waiting = [[0, 0, 0, 0] for _ in range(_KEPT)], minute, 0

    def approve(self, started: int, count: int = 1) -> None:
        """Count approvals by the minute of their start; late ones do not count."""
        if started > self.newest - _KEPT:
            self.pending[min(started, self.newest) % _KEPT][2] += count

    def ripe(self, minute: int) -> list[Slot]:
        """Return the ripe slots when a minute begins, in order; a clock that was set far back empties all."""
        if minute <= self.newest - _KEPT:
            self._empty(minute)
        if minute <= self.newest:
            return []
        before, self.newest = self.newest, minute
        slots = []
        for due in range(before - RIPE_AFTER, min(before, minute - _KEPT) + 1):
            attempts, messages, approvals, money = self.pending[due % _KEPT]
            if not any((attempts, messages, approvals, money)):
                continue
            self.pending[due % _KEPT] = [0, 0, 0, 0]
            self.waiting -= attempts + messages
            unsent, self.unsent = self.unsent, min(_MAX_IN_A_MINUTE, max(0, attempts - messages))
            attempts = max(attempts, messages - unsent)  # a check that nothing required is an attempt too
            approved = min(max(attempts, messages), approvals + self.surplus)
            self.surplus = min(RIPE_AFTER, approvals + self.surplus - approved)
            slots.append(Slot(due, attempts, messages, approved, money))
        return slots

    def judge(self, slot: Slot, usual: UsualShare) -> Finding | None:
        """Compare a ripe slot with the usual share."""
        if self.alarm is None:
            if not self.test.add(slot, usual.share, usual.floor):
                return None
            self.raise_alarm(usual.share)
            return Finding.ALARM
        if not self.alarm.add(slot, usual.share):
            return None
        self.end_alarm()
        return Finding.USUAL_AGAIN

    def raise_alarm(self, usual: float) -> None:
        """Raise the alarm of the leading run, where the share is ``usual``."""
        self.raised, self.ended = self.newest, 0
        self.alarm = Alarm.of(self.test.leading, self.raised, usual)
        self.test.forget()

    def end_alarm(self) -> None:
        """End the alarm."""
        self.alarm, self.ended = None, self.newest

    def forget(self) -> None:
        """End the alarm; drop the evidence and the outcomes that are not ripe."""
        self.test.forget()
        self._empty(self.newest)
        if self.alarm:
            self.end_alarm()

    def ended_unseen(self, minute: int) -> Finding | None:
        """End an alarm that has no further starts to judge."""
        if self.alarm is None or self.waiting or minute - self.newest < UNSEEN:
            return None
        self.newest = minute
        self.end_alarm()
        return Finding.USUAL_AGAIN

    def alarmed_at(self, minute: int) -> bool:
        """Tell whether starts of a minute came during the last alarm, or were not ripe when it was raised."""
        return bool(self.raised) and self.raised - RIPE_AFTER <= minute and (not self.ended or minute < self.ended)

    def take_out(self, other: "Outcomes") -> None:
        """Subtract the pending outcomes of a part."""
        for own, taken in zip(self.pending, other.pending, strict=True):
            own[:] = [max(0, count - less) for count, less in zip(own, taken, strict=True)]
        self.waiting = sum(slot[0] + slot[1] for slot in self.pending)


# --- A place: an application's country, or a number prefix in it ---------------------------------------------------


@dataclass(frozen=True, slots=True)
class Suspicion:
    """The treatment of unknown numbers at a place."""

    level: float = 0.0
    """The unusual share of their attempts, 0 to 1; 0 without an alarm."""
    ask: bool = False
    """Whether they need a human check, or get the trickle where the application has none."""
    trickle: int = 0
    """Numbers that pass in an hour without a check."""
    checked_too: bool = False
    """Whether numbers that passed a human check get the trickle as well: their share has fallen, too."""


class Cause(StrEnum):
    """The likely cause of an alarm."""

    UNKNOWN_NUMBERS = "unknown_numbers"
    """Unknown numbers approve less, known numbers as ever: an attacker sends messages for nothing."""
    DELIVERY = "delivery"
    """Known numbers approve less as well: look at the gateway first. No human check is requested."""


class NumberGroup(StrEnum):
    """The group of numbers of a finding."""

    UNKNOWN_NUMBERS = "unknown_numbers"
    CHECKED = "checked"
    """Numbers that passed a human check."""
    KNOWN = "known numbers"


@dataclass(frozen=True, slots=True)
class Passed:
    """Unapproved messages to unknown numbers, of about an hour and of about a day: a third is left after each."""

    minute: int = 0
    hour: float = 0.0
    hour_money: float = 0.0
    day: float = 0.0
    day_money: float = 0.0

    def at(self, minute: int) -> "Passed":
        """Return it faded to a minute; a clock set back fades nothing."""
        passed = max(0, minute - self.minute)
        hour, day = math.exp(-passed / 60), math.exp(-passed / (_DAY * 60))
        amounts = self.hour * hour, self.hour_money * hour, self.day * day, self.day_money * day
        return Passed(max(minute, self.minute), *amounts)

    def add(self, slot: Slot) -> "Passed":
        """Return it with the unapproved messages of a slot."""
        now, more = self.at(slot.minute), max(0, slot.messages - slot.approvals)
        cost = slot.money * more / slot.messages if slot.messages else 0.0
        return Passed(now.minute, now.hour + more, now.hour_money + cost, now.day + more, now.day_money + cost)


@dataclass(slots=True)
class PlaceTraffic:
    """Unknown and known numbers of an application in a country or with a number prefix."""

    usual: UsualTraffic = field(default_factory=UsualTraffic)
    newcomers: Outcomes = field(default_factory=Outcomes)
    """All attempts of unknown numbers, also those that required a human check."""
    checked: Outcomes = field(default_factory=Outcomes)
    """Messages to unknown numbers that passed a human check."""
    known: Outcomes = field(default_factory=Outcomes)
    daily: DailyTest = field(default_factory=DailyTest)
    """Of a whole country only."""
    known_started: float = 0.0
    """Messages to known numbers, faded by hours to a half in four weeks."""
    known_approved: float = 0.0
    known_hour: int = 0
    passed_approved: float = 0.0
    """Approvals of unknown numbers while an alarm stands; `passed_usual` would be usual."""
    passed_usual: float = 0.0
    passed: Passed = Passed()

    @property
    def kinds(self) -> tuple[Outcomes, Outcomes, Outcomes]:
        """Unknown numbers, those of them that passed a human check, and known numbers."""
        return self.newcomers, self.checked, self.known

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """The alarms that stand, in the order of `kinds`."""
        return tuple(kind.alarm for kind in self.kinds if kind.alarm)

    @property
    def is_live(self) -> bool:
        """Whether outcomes wait for a judgement, or an alarm stands."""
        return any(kind.waiting or kind.alarm for kind in self.kinds)

    def advance(
        self, minute: int, base: UsualShare | None = None, *, judged: bool = True
    ) -> list[tuple[Finding, NumberGroup]]:
        """Judge the ripe slots when a minute begins; return the findings with their groups.

        A place that is not ``judged``, because an alarm stands above it, is not learnt either.
        """
        findings = []
        if self.newcomers.waiting:
            slots = self.newcomers.ripe(minute)
            findings += [(self._judge(slot, base, judged=judged), NumberGroup.UNKNOWN_NUMBERS) for slot in slots]
        if self.checked.waiting:
            for slot in self.checked.ripe(minute):
                usual = self.usual.share(slot.minute // 60, base)
                findings.append((self.checked.judge(slot, usual), NumberGroup.CHECKED))
        if self.known.waiting:
            findings += [(self._judge_known(slot), NumberGroup.KNOWN) for slot in self.known.ripe(minute)]
        groups = zip(self.kinds, NumberGroup, strict=True)
        findings += [(outcomes.ended_unseen(minute), group) for outcomes, group in groups]
        return [(finding, group) for finding, group in findings if finding]

    def _judge(self, slot: Slot, base: UsualShare | None, *, judged: bool) -> Finding | None:
        usual, finding = self.usual.share(slot.minute // 60, base), None
        self.passed = self.passed.add(slot)
        if judged or self.newcomers.alarm:
            finding = self.newcomers.judge(slot, usual)
        alarmed = self.newcomers.alarm is not None or not judged
        if base is None:
            daily = self.daily.add(slot, usual.share, usual.variance, doubtful=alarmed)
            if daily is Finding.REBASED:
                self.usual.rebase(max(_MIN_REBASED, self.daily.remaining))
                self.daily.forget()
            finding = daily or finding
        doubtful = alarmed or self.newcomers.test.evidence > DOUBTFUL or self.daily.doubts
        self.usual.count(slot, base, doubtful=doubtful)
        if self.newcomers.alarm is None:
            self.passed_approved = self.passed_usual = 0.0
            return finding
        self.passed_approved += min(slot.approvals, slot.messages)
        self.passed_usual += slot.messages * usual.share
        return self._rebase(slot) or finding

    def _rebase(self, slot: Slot) -> Finding | None:
        """End an alarm that lasts; the usual share changes if those that passed have changed as well.

        Otherwise an attack that goes on raises the alarm again; people that only drop out at their human check do not.
        """
        alarm = self.newcomers.alarm
        if alarm is None or slot.minute - alarm.raised < LASTING:
            return None
        remaining = self.passed_approved / self.passed_usual if self.passed_usual else 1.0
        self.newcomers.end_alarm()
        if remaining >= _SAME:
            return Finding.USUAL_AGAIN
        self.usual.rebase(max(_MIN_REBASED, remaining))
        return Finding.REBASED

    def _judge_known(self, slot: Slot) -> Finding | None:
        started = self.known_started + _PRIOR_STARTS
        share = _within((self.known_approved + _PRIOR_STARTS * _PRIOR_SHARE) / started)
        usual = UsualShare(share, share * (1 - share) / started, _KNOWN_SPREAD, share)
        finding = self.known.judge(slot, usual)
        if self.known.alarm is None and self.known.test.evidence <= DOUBTFUL:
            hours = max(0, slot.minute // 60 - self.known_hour)
            faded = 0.5 ** (min(hours, 4 * HOURS) / (4 * HOURS))
            self.known_hour = max(self.known_hour, slot.minute // 60)
            self.known_started = self.known_started * faded + slot.messages
            self.known_approved = self.known_approved * faded + slot.approvals
        return finding

    def cause(self, level: float) -> Cause:
        """Return the cause of an alarm of a level: the delivery, when known numbers fell at least half as far."""
        run, alarm = self.known.test.leading, self.known.alarm
        fell = alarm.level if alarm else run.level if run.evidence >= DELIVERY_EVIDENCE else 0.0
        return Cause.DELIVERY if fell and fell >= level / 2 else Cause.UNKNOWN_NUMBERS

    def suspicion(self, minute: int) -> Suspicion:
        """Return the treatment of unknown numbers in this minute."""
        alarm = self.newcomers.alarm
        if alarm is None:
            return Suspicion()
        level = alarm.level
        ask = level >= CHECK_FROM and self.cause(level) is Cause.UNKNOWN_NUMBERS
        return Suspicion(level, ask, self.trickle(minute), self.checked.alarm is not None)

    def trickle(self, minute: int) -> int:
        """Return the numbers that pass in an hour: a quarter of usual approvals, or usual starts after `WIDENED`."""
        alarm = self.newcomers.alarm
        if alarm and minute - alarm.raised >= WIDENED:
            return max(_MIN_TRICKLE, round(self.usual.starts(minute // 60)))
        usual = round(_TRICKLE_OF_APPROVALS * self.usual.approvals(minute // 60))
        return min(_MAX_TRICKLE, max(_MIN_TRICKLE, usual))


# --- A country with its number prefixes ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Notice:
    """A finding of a place."""

    minute: int
    finding: Finding
    group: NumberGroup
    number_prefix: str
    """Empty for the whole country."""
    cause: Cause


@dataclass(slots=True)
class CountryTraffic:
    """An application's country and its number prefixes: an alarm is raised for the smallest place that explains it.

    The country does not count a prefix under an alarm; under the country's alarm, prefixes are neither judged nor
    learnt.
    """

    whole: PlaceTraffic = field(default_factory=PlaceTraffic)
    ranges: dict[str, PlaceTraffic] = field(default_factory=dict)
    minute: int = 0

    def start(self, at: int, number_prefix: str, money: int, count: int = 1) -> list[Notice]:
        """Count messages to unknown numbers at a time (ms), and their total cost (millionths)."""
        notices = self.advance(at)
        for place in self._places(at // MINUTE, number_prefix):
            place.newcomers.start(at // MINUTE, count, count, money)
        return notices

    def require_check(self, at: int, number_prefix: str, count: int = 1) -> list[Notice]:
        """Count attempts that required a human check: unapproved until the code is typed."""
        notices = self.advance(at)
        for place in self._places(at // MINUTE, number_prefix):
            place.newcomers.start(at // MINUTE, count, 0, 0)
        return notices

    def passed_check(self, at: int, number_prefix: str, money: int, count: int = 1, repeated: int = 0) -> list[Notice]:
        """Count messages to unknown numbers that passed a required human check.

        The ``repeated`` ones count as attempts, since only the first of their address was counted by `require_check`.
        """
        notices = self.advance(at)
        for place in self._places(at // MINUTE, number_prefix):
            place.newcomers.start(at // MINUTE, repeated, count, money)
            place.checked.start(at // MINUTE, count, count, money)
        return notices

    def approve(self, started: int, number_prefix: str, count: int = 1, *, checked: bool = False) -> None:
        """Count approvals of unknown numbers by the time (ms) of their start, or of their first required check."""
        for place in self._places(started // MINUTE, number_prefix):
            place.newcomers.approve(started // MINUTE, count)
            if checked:
                place.checked.approve(started // MINUTE, count)

    def known_start(self, at: int, money: int, count: int = 1) -> list[Notice]:
        """Count messages to known numbers."""
        notices = self.advance(at)
        self.whole.known.start(at // MINUTE, count, count, money)
        return notices

    def known_approve(self, started: int, count: int = 1) -> None:
        """Count approvals of known numbers by the time (ms) of their start."""
        self.whole.known.approve(started // MINUTE, count)

    def _places(self, minute: int, number_prefix: str) -> list[PlaceTraffic]:
        """Return the places that count a start: the prefix, and the country unless the prefix had an alarm then."""
        own = self.ranges.get(number_prefix)
        if own is None:
            own = self.ranges[number_prefix] = PlaceTraffic()
        return [own] if own.newcomers.alarmed_at(minute) else [own, self.whole]

    def advance(self, at: int) -> list[Notice]:
        """Judge the ripe slots at a time (ms) and return the notices; quiet minutes need it as well."""
        minute = at // MINUTE
        if self.minute - _KEPT < minute <= self.minute:
            return []
        self.minute = minute
        base, judged = self._base(minute), self.whole.newcomers.alarm is None
        notices = []
        for name, place in self.ranges.items():
            if place.newcomers.waiting or place.newcomers.alarm or place.checked.alarm:
                notices += [self._notice(*finding, name) for finding in place.advance(minute, base, judged=judged)]
        for finding, group in self.whole.advance(minute):
            unknown_alarm = finding is Finding.ALARM and group is NumberGroup.UNKNOWN_NUMBERS
            notices.append(self._notice(finding, group, self._concentrated() if unknown_alarm else ""))
        return notices

    def _notice(self, finding: Finding, group: NumberGroup, name: str) -> Notice:
        """Return the notice; the country stops counting a prefix that has a new alarm."""
        place = self.ranges[name] if name else self.whole
        if name and finding is Finding.ALARM and group is NumberGroup.UNKNOWN_NUMBERS:
            self.whole.newcomers.test.forget()
            self.whole.newcomers.take_out(place.newcomers)
        alarm = place.newcomers.alarm
        return Notice(self.minute, finding, group, name, self.whole.cause(alarm.level if alarm else 1.0))

    def live_ranges(self) -> list[str]:
        """Return the prefixes that wait for a judgement or have an alarm."""
        return [name for name, place in self.ranges.items() if place.is_live]

    def lift(self) -> None:
        """End all alarms, and drop the evidence, after an operator found nothing wrong."""
        for place in (self.whole, *self.ranges.values()):
            place.newcomers.forget()
            place.checked.forget()
            place.daily.forget()

    def _base(self, minute: int) -> UsualShare:
        return self.whole.usual.share((minute - _KEPT) // 60)

    def _concentrated(self) -> str:
        """Move an alarm to the prefix that has nearly all of it, if any, and return the prefix."""
        alarm = self.whole.newcomers.alarm
        if alarm is None:
            return ""
        for name, place in self.ranges.items():
            run = place.newcomers.test.leading
            if run.evidence > DOUBTFUL and run.unusual >= LOCALIZED * alarm.unusual:
                place.newcomers.raise_alarm(
                    place.usual.share((self.minute - _KEPT) // 60, self._base(self.minute)).share
                )
                self.whole.newcomers.alarm, self.whole.newcomers.raised = None, 0
                return name
        return ""

    def suspicion(self, number_prefix: str) -> Suspicion:
        """Return the treatment of a prefix by its own alarm, or the country's; none in the first week."""
        if self.whole.usual.weeks(self.minute // 60) < LEARNT_FROM:
            return Suspicion()
        own = self.ranges.get(number_prefix)
        suspicion = own.suspicion(self.minute) if own and own.newcomers.alarm else self.whole.suspicion(self.minute)
        if suspicion.ask and self.whole.cause(suspicion.level) is Cause.DELIVERY:
            return replace(suspicion, ask=False)
        return suspicion


# --- Growth, and known numbers -------------------------------------------------------------------------------------


def bounded_capacity(amount: float, factor: float, approvals: float, usual: float) -> float:
    """Return how many unapproved messages a bucket holds, after so many approvals of unknown numbers in its window.

    It grows with the approvals, by at most `GROWTH` times the growth of the ``usual`` ones in such a window, or by the
    ``amount`` where that is more: attackers that verify their own numbers for a day gain no more.
    """
    return amount + min(factor * approvals, max(GROWTH * factor * usual, amount))


# --- The packed row of a place -------------------------------------------------------------------------------------

VERSION: Final = 1
_FINE: Final = 3000.0
"""Sums by hour are stored as 3000 times the logarithm of the sum plus one: to 0.02 %, up to 3e9."""
_HOURS_ROW: Final = struct.Struct(f"<{2 * HOURS}H")
_USUAL_ROW: Final = struct.Struct("<IIII?ff")
_OUTCOMES_ROW: Final = struct.Struct("<IHHII" + "HHHf" * _KEPT)
_RUN_ROW: Final = struct.Struct("<fIIf")
_DAILY_ROW: Final = struct.Struct("<IIIff?fffIff")
_ALARM_ROW: Final = struct.Struct("<Iffffff")
_PLACE_ROW: Final = struct.Struct("<BBffIffIffff")


class _Reader:
    """Reads one row after the other."""

    def __init__(self, packed: bytes) -> None:
        self._packed, self._at = packed, 0

    def take(self, row: struct.Struct) -> tuple[Any, ...]:
        self._at += row.size
        return row.unpack_from(self._packed, self._at - row.size)


def _pack_outcomes(outcomes: Outcomes) -> bytes:
    counted = (outcomes.newest, outcomes.surplus, outcomes.unsent, outcomes.raised, outcomes.ended)
    pending = ((*(min(_MAX_IN_A_MINUTE, count) for count in slot[:3]), slot[3]) for slot in outcomes.pending)
    runs = (_RUN_ROW.pack(*astuple(run)) for run in outcomes.test.runs)
    alarm = _ALARM_ROW.pack(*astuple(outcomes.alarm)) if outcomes.alarm else b""
    return b"".join((_OUTCOMES_ROW.pack(*counted, *chain.from_iterable(pending)), *runs, alarm))


def _unpack_outcomes(reader: _Reader, *, alarmed: bool) -> Outcomes:
    newest, surplus, unsent, raised, ended, *pending = map(int, reader.take(_OUTCOMES_ROW))
    slots = [pending[place : place + 4] for place in range(0, 4 * _KEPT, 4)]
    runs = [Run(*reader.take(_RUN_ROW)) for _ in REMAINING]
    alarm = Alarm(*reader.take(_ALARM_ROW)) if alarmed else None
    waiting = sum(slot[0] + slot[1] for slot in slots)
    return Outcomes(newest, slots, surplus, unsent, ChangeTest(runs), alarm, raised, ended, waiting)


def pack_place(place: PlaceTraffic) -> bytes:
    """Return a place in one row of 739 bytes, and 140 for each kind of outcomes that came.

    Under an alarm each has 28 more; a whole country has 45 for its days.
    """
    kinds = place.kinds
    flags = sum(1 << bit for bit, kind in enumerate(kinds) if kind != Outcomes(kind.newest))
    flags |= sum(8 << bit for bit, kind in enumerate(kinds) if kind.alarm)
    flags |= 64 if place.daily.day else 0
    known = (place.known_started, place.known_approved, place.known_hour)
    head = _PLACE_ROW.pack(VERSION, flags, *known, place.passed_approved, place.passed_usual, *astuple(place.passed))
    usual = place.usual
    sums = (min(65_535, round(_FINE * math.log1p(amount))) for amount in (*usual.started, *usual.approved))
    counted = (usual.first, usual.hour, usual.hour_started, usual.hour_approved, usual.doubtful)
    hours = _HOURS_ROW.pack(*sums) + _USUAL_ROW.pack(*counted, usual.wandered, usual.pairs)
    daily = _DAILY_ROW.pack(*astuple(place.daily)) if place.daily.day else b""
    return b"".join((head, hours, daily, *(_pack_outcomes(kind) for kind in kinds if kind != Outcomes(kind.newest))))


def unpack_place(packed: bytes) -> PlaceTraffic:
    """Return a place from its row; raise `ValueError` for a row of another version."""
    reader = _Reader(packed)
    version, flags, *counted = reader.take(_PLACE_ROW)
    if version != VERSION:
        raise ValueError(f"A row of traffic has version {version}, not {VERSION}.")
    sums = [math.expm1(amount / _FINE) for amount in reader.take(_HOURS_ROW)]
    usual = UsualTraffic(sums[:HOURS], sums[HOURS:], *reader.take(_USUAL_ROW))
    daily = DailyTest(*reader.take(_DAILY_ROW)) if flags & 64 else DailyTest()
    unknown, checked, known = (
        _unpack_outcomes(reader, alarmed=bool(flags & 8 << bit)) if flags & 1 << bit else Outcomes() for bit in range(3)
    )
    place = PlaceTraffic(usual, unknown, checked, known, daily, *counted[:5])
    place.passed = Passed(*counted[5:])
    return place
