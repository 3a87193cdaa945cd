"""What traffic of newcomers is usual, learnt from events, and what is not: alarms, suspicion, bounded growth.

A *newcomer* has a number that the guard does not know. The share of newcomers that approve is learnt for each
application and country, and for each carrier range in it (calling code and three digits), by hour of the week; what
has happened is compared with that, minute by minute, by the tests of `detection`. Minutes are those of Redis' clock.
"""

import math
import struct
from dataclasses import astuple, dataclass, field, replace
from enum import StrEnum
from itertools import chain
from typing import Final

from otp_service.domain.detection import (
    HIGHEST,
    LOWEST,
    REMAINING,
    THRESHOLD,
    Alarm,
    ChangeTest,
    Daily,
    DailyTest,
    Run,
    Slot,
)

MINUTE: Final = 60_000
"""Milliseconds."""
RIPE_AFTER: Final = 5
"""Minutes after which a start without an approval counts as unapproved. With the usual delays (half within 25 s,
97.5 % within two minutes) one in a thousand comes later."""
_KEPT: Final = RIPE_AFTER + 1
_MOST_IN_A_MINUTE: Final = 65_535

HOURS: Final = 168
"""Of a week; the first is the one in which the epoch began."""
_DAY: Final = 24
FADES: Final = 5 / 6
"""What a week still counts a week later."""
_PRIOR_SHARE, _PRIOR_STARTS = 0.5, 20.0
"""What is assumed of a share before anything is known, and after how many starts data weigh as much as that."""
_SHRINK: Final = 200.0
"""Starts after which an hour, or a carrier range, weighs as much as the days, or the country, that it is a part of."""
SPREAD: Final = 0.02
"""How much a share wanders from hour to hour when nothing is known of that: its standard deviation."""
_LEAST_SPREAD, _MOST_SPREAD = 0.005, 0.08
_KNOWN_SPREAD: Final = 2 * SPREAD
"""The same of known numbers, of which one share is learnt for all hours."""
_SPREAD_WEIGHT: Final = 100_000.0
"""Pairs of starts in an hour after which data weigh as much as `SPREAD`: ten hours of a hundred starts."""
SLACK: Final = 1.5
"""Standard deviations, of learning and of wandering, by which a share may be lower and is still usual."""
MOST_LEARNT: Final = 2.0
"""An hour counts as at most so many times what was usual for it, and `_ALWAYS_LEARNT` starts."""
_ALWAYS_LEARNT: Final = 20.0
DOUBTFUL: Final = THRESHOLD / 2
"""Evidence, in nats, with which an hour is not learnt any more."""
LASTING: Final = 7 * 24 * 60
"""Minutes after which an alarm ends in any case."""
UNSEEN: Final = 24 * 60
"""Minutes without an attempt, after which an alarm ends as well."""
_SAME: Final = 0.97
"""What remains of the usual share of those who passed the check, or the trickle, above which it has not changed."""
_LEAST_REBASED: Final = 0.5
"""What remains of the usual share at least, each time that a lasting change is taken for usual."""

GROWTH: Final = 2.0
"""How many times what usual approvals give a bucket grows by, at most. With two messages for each approval, and 60 %
who approve, that is six times the unapproved messages of a usual day: a sale with five times the traffic fits."""
BLOCK_MEMORY: Final = 7 * 24 * 60 * MINUTE
"""Milliseconds of a block's approvals that tell what is usual there: a week, so that a hundred newcomers a day where
none came before are not refused. With two weeks they would be, for as long, since a refused number cannot approve."""
LEARNT_FROM: Final = 1.0
"""Weeks of a country after which newcomers may be asked. Before, those who tried a site out may be all that is known:
their share says nothing of the people who come when it opens."""
ASKED_FROM: Final = 0.1
"""The share of attempts that must be unusual before newcomers are asked: below it asking harms more than it saves."""
_TRICKLE_OF_APPROVALS: Final = 0.25
_LEAST_TRICKLE, _MOST_TRICKLE = 12, 100
WIDENED: Final = 24 * 60
"""Minutes after which an alarm lets as many newcomers pass as usually come: honest people who changed wait no longer,
and what all cost is what is usual."""
UNAPPROVED_AT_HOME, UNAPPROVED_ABROAD = 3, 2
"""Messages in a row without an approval, after which a known number is a stranger to the rules on fraud."""
DELIVERY_EVIDENCE: Final = 7.0
"""Nats for a fall among known numbers, with which a fall among newcomers is the delivery's."""
LOCALIZED: Final = 0.7
"""The part of what is unusual in a country that is in one carrier range, if the alarm is told of that alone."""


# --- What is usual -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UsualShare:
    """The share of newcomers that approve, at an hour of the week."""

    share: float
    variance: float
    """Of learning it."""
    spread: float
    """Standard deviation with which it wanders from hour to hour."""
    overall: float
    """The same over all hours."""

    @property
    def floor(self) -> float:
        """The lowest share that is still usual; in steps of a thousandth, rounded down."""
        lowest = self.share - SLACK * math.sqrt(self.variance + self.spread**2)
        return max(LOWEST, math.floor(lowest * 1000) / 1000)


def _within(share: float) -> float:
    return min(HIGHEST, max(LOWEST, share))


@dataclass(slots=True)
class UsualTraffic:
    """How many newcomers start and approve, by hour of the week, faded over weeks."""

    started: list[float] = field(default_factory=lambda: [0.0] * HOURS)
    approved: list[float] = field(default_factory=lambda: [0.0] * HOURS)
    first: int = 0
    """The hour (since the epoch) that was learnt first."""
    hour: int = 0
    """The hour that is being counted."""
    hour_started: int = 0
    hour_approved: int = 0
    doubtful: bool = False
    """Whether an alarm stood in this hour, or nearly: then it is not learnt."""
    wandered: float = 0.0
    """Squares of what hours had beyond chance, and in the next the pairs of starts that they are of."""
    pairs: float = 0.0
    _cached: tuple[tuple[int, UsualShare | None], UsualShare] | None = field(default=None, compare=False, repr=False)

    def count(self, slot: Slot, base: UsualShare | None, *, doubtful: bool) -> None:
        """Count a ripe slot, and learn the hour before when it is over."""
        hour = slot.minute // 60
        if hour != self.hour:
            self._close(hour, base)
        self.hour_started += slot.attempts
        self.hour_approved += slot.approvals
        self.doubtful = self.doubtful or doubtful

    def _close(self, hour: int, base: UsualShare | None) -> None:
        """Learn the hour that was counted, and the empty hours up to ``hour``."""
        if self.first == 0:
            self.first = self.hour or hour
        if self.hour and self.doubtful:  # it counts as a usual one: nothing is learnt, and nothing unlearnt
            self._add(self.starts(self.hour), self.approvals(self.hour))
        elif self.hour:
            self._learn(base)
        for empty in range(max(self.hour + 1, hour - 8 * HOURS) if self.hour else hour, hour):
            self._fade(empty % HOURS)
        self.hour, self.hour_started, self.hour_approved, self.doubtful = hour, 0, 0, False
        self._cached = None

    def _learn(self, base: UsualShare | None) -> None:
        starts, approvals = float(self.hour_started), float(self.hour_approved)
        self._learn_spread(starts, approvals, base)
        if self.weeks(self.hour) > 1:  # at first all is learnt, so that a new site is known soon
            most = MOST_LEARNT * self.starts(self.hour) + _ALWAYS_LEARNT
            part = min(1.0, most / starts) if starts else 1.0
            starts, approvals = part * starts, part * approvals
        self._add(starts, approvals)

    def _add(self, starts: float, approvals: float) -> None:
        place = self.hour % HOURS
        self._fade(place)
        self.started[place] += starts
        self.approved[place] += approvals

    def _fade(self, place: int) -> None:
        self.started[place] *= FADES
        self.approved[place] *= FADES

    def _learn_spread(self, starts: float, approvals: float, base: UsualShare | None) -> None:
        usual, kept = self.share(self.hour, base).share, FADES ** (1 / HOURS)
        beyond = (approvals - starts * usual) ** 2 - starts * usual * (1 - usual)
        self.wandered = self.wandered * kept + beyond
        self.pairs = self.pairs * kept + starts * (starts - 1)

    def weeks(self, hour: int) -> float:
        """Return how many weeks have been learnt at an hour."""
        return max(0, hour - self.first) / HOURS if self.first else 0.0

    def _weight(self, place: int) -> float:
        """Return the faded number of weeks in which an hour of the week was learnt."""
        times = -((self.first + (place - self.first) % HOURS - self.hour) // HOURS)
        return (1 - FADES**times) / (1 - FADES) if self.first and times > 0 else 0.0

    def starts(self, hour: int) -> float:
        """Return how many newcomers usually start in an hour (since the epoch)."""
        return self._mean(self.started, hour)

    def approvals(self, hour: int) -> float:
        """Return how many newcomers who start in an hour (since the epoch) usually approve."""
        return self._mean(self.approved, hour)

    def _mean(self, sums: list[float], hour: int) -> float:
        """Return the mean of an hour of the week; it and the same hour of all days speak as loudly after a week."""
        place = hour % HOURS
        weight = sum(self._weight(hour) for hour in range(place % _DAY, HOURS, _DAY))
        daily = sum(sums[place % _DAY :: _DAY]) / weight if weight else 0.0
        return (sums[place] + daily) / (self._weight(place) + 1)

    def daily_approvals(self) -> float:
        """Return how many newcomers usually approve in a day, over the week."""
        return self._daily(sum(self.approved))

    def hourly_unapproved(self, hour: int) -> float:
        """Return how many newcomers who start in an hour (since the epoch) usually do not approve."""
        return self.starts(hour) - self.approvals(hour)

    def daily_unapproved(self) -> float:
        """Return how many newcomers usually do not approve in a day, over the week."""
        return self._daily(sum(self.started) - sum(self.approved))

    def _daily(self, count: float) -> float:
        weight = sum(self._weight(place) for place in range(HOURS))
        return _DAY * count / weight if weight else 0.0

    def share(self, hour: int, base: UsualShare | None = None) -> UsualShare:
        """Return the usual share at an hour (since the epoch); a carrier range has its country's as the ``base``."""
        key = hour % HOURS, base
        if self._cached is None or self._cached[0] != key:
            self._cached = key, self._share(hour % HOURS, base)
        return self._cached[1]

    def _share(self, place: int, base: UsualShare | None) -> UsualShare:
        """Shrink the hour of the week to the hour of the day, and that to all hours."""
        started, approved = sum(self.started), sum(self.approved)
        if base is None:
            share = overall = (approved + _PRIOR_STARTS * _PRIOR_SHARE) / (started + _PRIOR_STARTS)
            variance = share * (1 - share) / (started + _PRIOR_STARTS)
        else:
            overall = (approved + _SHRINK * base.overall) / (started + _SHRINK)
            share = _within(base.share * overall / base.overall)
            variance = base.variance + share * (1 - share) / (started + _SHRINK)
        day = slice(place % _DAY, None, _DAY)
        share, variance = _shrunk(share, variance, sum(self.started[day]), sum(self.approved[day]))
        share, variance = _shrunk(share, variance, self.started[place], self.approved[place])
        return UsualShare(_within(share), variance, self._spread(), _within(overall))

    def _spread(self) -> float:
        variance = (self.wandered + _SPREAD_WEIGHT * SPREAD**2) / (self.pairs + _SPREAD_WEIGHT)
        return min(_MOST_SPREAD, math.sqrt(max(_LEAST_SPREAD**2, variance)))

    def rebase(self, remaining: float) -> None:
        """Take a lasting change for usual: so much remains of every share."""
        self.approved = [approved * remaining for approved in self.approved]
        self._cached = None


def _shrunk(share: float, variance: float, started: float, approved: float) -> tuple[float, float]:
    """Return a share, and its variance, after so many starts, shrunk towards what was known before."""
    before = _SHRINK / (started + _SHRINK)
    chance = share * (1 - share) * started / (started + _SHRINK) ** 2
    return (approved + _SHRINK * share) / (started + _SHRINK), chance + variance * before**2


# --- Outcomes of one kind ------------------------------------------------------------------------------------------


class Finding(StrEnum):
    """What follows from a minute."""

    ALARM = "alarm"
    SMALL_FALL = "small fall"
    """The share of whole days is a little lower than usual: too little for an alarm or a human check."""
    USUAL_AGAIN = "usual again"
    REBASED = "rebased"
    """An alarm ended because the change lasts, and what is usual was learnt anew."""


@dataclass(slots=True)
class Outcomes:
    """Outcomes of one kind at one place: those that are not ripe yet, the test, and the alarm while it stands."""

    newest: int = 0
    """The last minute of which something came."""
    pending: list[list[int]] = field(default_factory=lambda: [[0, 0, 0, 0] for _ in range(_KEPT)])
    """Attempts, messages, approvals and money of the last minutes, by minute modulo their number."""
    surplus: int = 0
    """Approvals of a minute beyond its attempts, where the clock moved: they are of the next one."""
    asked: int = 0
    """Attempts of the last minute that was judged for which no message was sent then: they may pass in the next one."""
    test: ChangeTest = field(default_factory=ChangeTest)
    alarm: Alarm | None = None
    raised: int = 0
    """The minute in which the last alarm was raised, and in the next in which it ended; 0 for none, or not yet."""
    ended: int = 0
    waiting: int = 0
    """Attempts and messages that are not ripe."""

    def start(self, minute: int, attempts: int, messages: int, money: int) -> None:
        """Count attempts of a minute; what is ripe before it was taken. A clock set back counts in the newest one."""
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
        """Count approvals of what was started in a minute; those that come too late count no more."""
        if started > self.newest - _KEPT:
            self.pending[min(started, self.newest) % _KEPT][2] += count

    def ripe(self, minute: int) -> list[Slot]:
        """Return what is ripe when a minute begins, in order. Where the clock was set far back, all starts anew."""
        if minute <= self.newest - _KEPT:
            self._empty(minute)
        if minute <= self.newest:
            return []
        before, self.newest = self.newest, minute
        due = range(before - RIPE_AFTER, min(before, minute - _KEPT) + 1)
        return [self._take(minute) for minute in due if any(self.pending[minute % _KEPT])]

    def _take(self, minute: int) -> Slot:
        attempts, messages, approvals, money = self.pending[minute % _KEPT]
        self.pending[minute % _KEPT] = [0, 0, 0, 0]
        self.waiting -= attempts + messages
        before, self.asked = self.asked, min(_MOST_IN_A_MINUTE, max(0, attempts - messages))
        attempts = max(attempts, messages - before)  # a check that came without being asked for is an attempt too
        approved = min(max(attempts, messages), approvals + self.surplus)
        self.surplus = min(RIPE_AFTER, approvals + self.surplus - approved)
        return Slot(minute, attempts, messages, approved, money)

    def judge(self, slot: Slot, usual: UsualShare) -> Finding | None:
        """Compare a ripe slot with what is usual."""
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
        """Tell what the test has found, where the share is ``usual``."""
        self.raised, self.ended = self.newest, 0
        self.alarm = Alarm.of(self.test.leading, self.raised, usual)
        self.test.forget()

    def end_alarm(self) -> None:
        """End it."""
        self.alarm, self.ended = None, self.newest

    def forget(self) -> None:
        """End the alarm, and forget the evidence for another one, also what is not ripe."""
        self.test.forget()
        self._empty(self.newest)
        if self.alarm:
            self.end_alarm()

    def ended_unseen(self, minute: int) -> Finding | None:
        """End an alarm without further starts, which nothing else would end."""
        if self.alarm is None or self.waiting or minute - self.newest < UNSEEN:
            return None
        self.newest = minute
        self.end_alarm()
        return Finding.USUAL_AGAIN

    def alarmed_at(self, minute: int) -> bool:
        """Tell whether what started in a minute was not ripe when the last alarm was told, or came while it stood."""
        return bool(self.raised) and self.raised - RIPE_AFTER <= minute and (not self.ended or minute < self.ended)

    def take_out(self, other: "Outcomes") -> None:
        """Take what is not ripe of a part of this out of it."""
        for own, taken in zip(self.pending, other.pending, strict=True):
            own[:] = [max(0, count - less) for count, less in zip(own, taken, strict=True)]
        self.waiting = sum(slot[0] + slot[1] for slot in self.pending)


# --- A place: an application's country, or a carrier range in it ---------------------------------------------------


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What newcomers at a place meet."""

    level: float = 0.0
    """The share of their attempts that is not usual, 0 to 1; 0 without an alarm."""
    ask: bool = False
    """Whether they are asked for a human check, or get the trickle where the application cannot ask."""
    trickle: int = 0
    """How many of them pass in an hour without a check."""
    checked_too: bool = False
    """Whether those who passed a human check get the trickle as well: their share has fallen, too."""


class Cause(StrEnum):
    """What an alarm looks like."""

    UNKNOWN_NUMBERS = "unknown_numbers"
    """Newcomers approve less, known numbers as ever: an attacker sends messages for nothing."""
    DELIVERY = "delivery"
    """Known numbers approve less as well: look at the gateway first. No human check is requested."""


class Whose(StrEnum):
    """Whose outcomes something is told of."""

    UNKNOWN_NUMBERS = "unknown_numbers"
    CHECKED = "checked"
    """Those who passed a human check."""
    KNOWN = "known numbers"


@dataclass(frozen=True, slots=True)
class Passed:
    """Unapproved messages of newcomers that passed, of about an hour and of about a day: a third is left after each."""

    minute: int = 0
    hour: float = 0.0
    hour_money: float = 0.0
    """What those of the hour cost, in millionths."""
    day: float = 0.0
    day_money: float = 0.0

    def at(self, minute: int) -> "Passed":
        """Return it as it is in a minute; a clock set back fades nothing."""
        passed = max(0, minute - self.minute)
        hour, day = math.exp(-passed / 60), math.exp(-passed / (_DAY * 60))
        amounts = self.hour * hour, self.hour_money * hour, self.day * day, self.day_money * day
        return Passed(max(minute, self.minute), *amounts)

    def add(self, slot: Slot) -> "Passed":
        """Return it with what a slot brought."""
        now, more = self.at(slot.minute), max(0, slot.messages - slot.approvals)
        cost = slot.money * more / slot.messages if slot.messages else 0.0
        return Passed(now.minute, now.hour + more, now.hour_money + cost, now.day + more, now.day_money + cost)


@dataclass(slots=True)
class PlaceTraffic:
    """Newcomers and known numbers of an application in a country or in a carrier range."""

    usual: UsualTraffic = field(default_factory=UsualTraffic)
    newcomers: Outcomes = field(default_factory=Outcomes)
    """All attempts, also those that were asked for a human check."""
    checked: Outcomes = field(default_factory=Outcomes)
    """Messages of newcomers who passed a human check."""
    known: Outcomes = field(default_factory=Outcomes)
    """Messages of known numbers."""
    daily: DailyTest = field(default_factory=DailyTest)
    """Of a whole country only."""
    known_started: float = 0.0
    """Messages of known numbers, and in the next how many were approved, faded by hours to a half in four weeks."""
    known_approved: float = 0.0
    known_hour: int = 0
    passed_approved: float = 0.0
    """Approvals of newcomers while an alarm stands, and in the next those that are usual."""
    passed_usual: float = 0.0
    passed: Passed = Passed()
    """To be shown beside what is usual, whether an alarm stands or not."""

    @property
    def kinds(self) -> tuple[Outcomes, Outcomes, Outcomes]:
        """Newcomers, those of them who passed a human check, and known numbers."""
        return self.newcomers, self.checked, self.known

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """The alarms that stand, in the order of `kinds`."""
        return tuple(kind.alarm for kind in self.kinds if kind.alarm)

    @property
    def is_live(self) -> bool:
        """Whether something is still to be judged, or an alarm stands."""
        return any(kind.waiting or kind.alarm for kind in self.kinds)

    def advance(
        self, minute: int, base: UsualShare | None = None, *, judged: bool = True
    ) -> list[tuple[Finding, Whose]]:
        """Judge what is ripe when a minute begins; return what is to be told, and of whom.

        A place that is not ``judged``, because an alarm stands above it, is not learnt either.
        """
        findings = []
        if self.newcomers.waiting:
            slots = self.newcomers.ripe(minute)
            findings += [(self._judge(slot, base, judged=judged), Whose.UNKNOWN_NUMBERS) for slot in slots]
        if self.checked.waiting:
            findings += [(self._judge_checked(slot, base), Whose.CHECKED) for slot in self.checked.ripe(minute)]
        if self.known.waiting:
            findings += [(self._judge_known(slot), Whose.KNOWN) for slot in self.known.ripe(minute)]
        kinds = ((self.newcomers, Whose.UNKNOWN_NUMBERS), (self.checked, Whose.CHECKED), (self.known, Whose.KNOWN))
        findings += [(outcomes.ended_unseen(minute), whose) for outcomes, whose in kinds if outcomes.alarm]
        return [(finding, whose) for finding, whose in findings if finding]

    def _judge_checked(self, slot: Slot, base: UsualShare | None) -> Finding | None:
        return self.checked.judge(slot, self.usual.share(slot.minute // 60, base))

    def _judge(self, slot: Slot, base: UsualShare | None, *, judged: bool) -> Finding | None:
        usual, finding = self.usual.share(slot.minute // 60, base), None
        self.passed = self.passed.add(slot)
        if judged or self.newcomers.alarm:
            finding = self.newcomers.judge(slot, usual)
        alarmed = self.newcomers.alarm is not None or not judged
        if base is None:
            finding = self._judge_day(slot, usual, doubtful=alarmed) or finding
        doubtful = alarmed or self.newcomers.test.evidence > DOUBTFUL or self.daily.doubts
        self.usual.count(slot, base, doubtful=doubtful)
        if self.newcomers.alarm is None:
            self.passed_approved = self.passed_usual = 0.0
            return finding
        self.passed_approved += min(slot.approvals, slot.messages)
        self.passed_usual += slot.messages * usual.share
        return self._rebase(slot) or finding

    def _judge_day(self, slot: Slot, usual: UsualShare, *, doubtful: bool) -> Finding | None:
        daily = self.daily.add(slot, usual.share, usual.variance, doubtful=doubtful)
        if daily is Daily.LASTS:
            self.usual.rebase(max(_LEAST_REBASED, self.daily.remaining))
            self.daily.forget()
        findings = {
            Daily.FELL: Finding.SMALL_FALL,
            Daily.LASTS: Finding.REBASED,
            Daily.USUAL_AGAIN: Finding.USUAL_AGAIN,
        }
        return findings[daily] if daily else None

    def _rebase(self, slot: Slot) -> Finding | None:
        """End an alarm that lasts. If those who passed have changed as well, then the people have, or the site.

        Otherwise it is tried without: an attack that goes on is told again; people who only do not come back from
        their human check are not.
        """
        alarm = self.newcomers.alarm
        if alarm is None or slot.minute - alarm.raised < LASTING:
            return None
        remaining = self.passed_approved / self.passed_usual if self.passed_usual else 1.0
        self.newcomers.end_alarm()
        if remaining >= _SAME:
            return Finding.USUAL_AGAIN
        self.usual.rebase(max(_LEAST_REBASED, remaining))
        return Finding.REBASED

    def known_share(self) -> UsualShare:
        """Return the share of messages to known numbers that is usually approved."""
        started = self.known_started + _PRIOR_STARTS
        share = _within((self.known_approved + _PRIOR_STARTS * _PRIOR_SHARE) / started)
        return UsualShare(share, share * (1 - share) / started, _KNOWN_SPREAD, share)

    def _judge_known(self, slot: Slot) -> Finding | None:
        finding = self.known.judge(slot, self.known_share())
        if self.known.alarm is None and self.known.test.evidence <= DOUBTFUL:
            self._learn_known(slot)
        return finding

    def _learn_known(self, slot: Slot) -> None:
        hours = max(0, slot.minute // 60 - self.known_hour)
        kept = 0.5 ** (min(hours, 4 * HOURS) / (4 * HOURS))
        self.known_hour = max(self.known_hour, slot.minute // 60)
        self.known_started = self.known_started * kept + slot.messages
        self.known_approved = self.known_approved * kept + slot.approvals

    def cause(self, level: float) -> Cause:
        """Tell what an alarm of a level looks like: the delivery's, when known numbers fell at least half as far."""
        run, alarm = self.known.test.leading, self.known.alarm
        fell = alarm.level if alarm else run.level if run.evidence >= DELIVERY_EVIDENCE else 0.0
        return Cause.DELIVERY if fell and fell >= level / 2 else Cause.UNKNOWN_NUMBERS

    def suspicion(self, minute: int) -> Suspicion:
        """Return what newcomers meet in this minute."""
        alarm = self.newcomers.alarm
        if alarm is None:
            return Suspicion()
        level = alarm.level
        ask = level >= ASKED_FROM and self.cause(level) is Cause.UNKNOWN_NUMBERS
        return Suspicion(level, ask, self.trickle(minute), self.checked.alarm is not None)

    def trickle(self, minute: int) -> int:
        """Return how many newcomers pass in an hour under suspicion.

        A quarter of those who usually approve; once the alarm has stood for a day, as many as usually come.
        """
        alarm = self.newcomers.alarm
        if alarm and minute - alarm.raised >= WIDENED:
            return max(_LEAST_TRICKLE, round(self.usual.starts(minute // 60)))
        usual = round(_TRICKLE_OF_APPROVALS * self.usual.approvals(minute // 60))
        return min(_MOST_TRICKLE, max(_LEAST_TRICKLE, usual))


# --- A country with its carrier ranges -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to be told."""

    minute: int
    finding: Finding
    whose: Whose
    number_prefix: str
    """The beginning of the numbers; empty for the whole country."""
    cause: Cause


@dataclass(slots=True)
class CountryTraffic:
    """An application's country and its carrier ranges: an alarm is told of the smallest place that explains it.

    What a range does while its alarm stands is not counted in the country; while the country's stands, ranges are
    neither judged nor learnt.
    """

    whole: PlaceTraffic = field(default_factory=PlaceTraffic)
    ranges: dict[str, PlaceTraffic] = field(default_factory=dict)
    minute: int = 0

    def start(self, at: int, number_prefix: str, money: int, count: int = 1) -> list[Notice]:
        """Count messages of newcomers at a time (ms), and what all of them cost (millionths)."""
        notices = self.advance(at)
        for place in self._places(at // MINUTE, number_prefix):
            place.newcomers.start(at // MINUTE, count, count, money)
        return notices

    def asked(self, at: int, number_prefix: str, count: int = 1) -> list[Notice]:
        """Count attempts that were asked for a human check: unapproved until the code is typed."""
        notices = self.advance(at)
        for place in self._places(at // MINUTE, number_prefix):
            place.newcomers.start(at // MINUTE, count, 0, 0)
        return notices

    def passed_check(self, at: int, number_prefix: str, money: int, count: int = 1, repeated: int = 0) -> list[Notice]:
        """Count messages of newcomers who passed the human check for which they were asked.

        That the ``repeated`` ones were asked is not counted: others of their addresses were.
        """
        notices = self.advance(at)
        for place in self._places(at // MINUTE, number_prefix):
            place.newcomers.start(at // MINUTE, repeated, count, money)
            place.checked.start(at // MINUTE, count, count, money)
        return notices

    def approve(self, started: int, number_prefix: str, count: int = 1, *, checked: bool = False) -> None:
        """Count approvals of newcomers by when they ``started``, or were first asked for a check."""
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
        """Count approvals of known numbers by when they ``started``."""
        self.whole.known.approve(started // MINUTE, count)

    def _places(self, minute: int, number_prefix: str) -> list[PlaceTraffic]:
        """Return what counts a start of a minute: the range, and the country unless an alarm stood in the range."""
        own = self.ranges.get(number_prefix)
        if own is None:
            own = self.ranges[number_prefix] = PlaceTraffic()
        return [own] if own.newcomers.alarmed_at(minute) else [own, self.whole]

    def advance(self, at: int) -> list[Notice]:
        """Judge what is ripe at a time (ms); return what is to be told. To be called in quiet minutes as well."""
        minute = at // MINUTE
        if self.minute - _KEPT < minute <= self.minute:
            return []
        self.minute = minute
        base, judged = self._base(minute), self.whole.newcomers.alarm is None
        notices = []
        for name, place in self.ranges.items():
            if place.newcomers.waiting or place.newcomers.alarm or place.checked.alarm:
                notices += [self._notice(*finding, name) for finding in place.advance(minute, base, judged=judged)]
        for finding, whose in self.whole.advance(minute):
            unknown_alarm = finding is Finding.ALARM and whose is Whose.UNKNOWN_NUMBERS
            notices.append(self._notice(finding, whose, self._concentrated() if unknown_alarm else ""))
        return notices

    def _notice(self, finding: Finding, whose: Whose, name: str) -> Notice:
        """Return what is to be told; what a range under an alarm does is none of the country's from now on."""
        place = self.ranges[name] if name else self.whole
        if name and finding is Finding.ALARM and whose is Whose.UNKNOWN_NUMBERS:
            self.whole.newcomers.test.forget()
            self.whole.newcomers.take_out(place.newcomers)
        alarm = place.newcomers.alarm
        return Notice(self.minute, finding, whose, name, self.whole.cause(alarm.level if alarm else 1.0))

    def live_ranges(self) -> list[str]:
        """Return the ranges in which something is still to be judged, or an alarm stands."""
        return [name for name, place in self.ranges.items() if place.is_live]

    def lift(self) -> None:
        """End all alarms, and forget the evidence: an operator says that nothing is wrong."""
        for place in (self.whole, *self.ranges.values()):
            place.newcomers.forget()
            place.checked.forget()
            place.daily.forget()

    def _base(self, minute: int) -> UsualShare:
        return self.whole.usual.share((minute - _KEPT) // 60)

    def _concentrated(self) -> str:
        """Move an alarm to the range in which nearly all of it is, if there is one, and return its name."""
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
        """Return what newcomers in a range meet: by its own alarm, or the country's; nothing in the first week."""
        if self.whole.usual.weeks(self.minute // 60) < LEARNT_FROM:
            return Suspicion()
        own = self.ranges.get(number_prefix)
        suspicion = own.suspicion(self.minute) if own and own.newcomers.alarm else self.whole.suspicion(self.minute)
        if suspicion.ask and self.whole.cause(suspicion.level) is Cause.DELIVERY:
            return replace(suspicion, ask=False)
        return suspicion


# --- Growth, and known numbers -------------------------------------------------------------------------------------


def bounded_capacity(amount: float, factor: float, approvals: float, usual: float) -> float:
    """Return how many unapproved messages a bucket holds, after so many approvals of newcomers in its window.

    It grows with the approvals, by `GROWTH` times what the ``usual`` ones in such a window give at most, or by the
    ``amount`` where that is more: an attacker who verifies own numbers for a day gains no more than that.
    """
    return amount + min(factor * approvals, max(GROWTH * factor * usual, amount))


# --- The packed row of a place -------------------------------------------------------------------------------------

VERSION: Final = 1
_FINE: Final = 3000.0
"""Sums by hour are kept as 3000 times the logarithm of one more than they are: to 0.02 %, up to 3e9."""
_HOURS_ROW: Final = struct.Struct(f"<{2 * HOURS}H")
_USUAL_ROW: Final = struct.Struct("<IIIIBff")
_OUTCOMES_ROW: Final = struct.Struct("<IHHII" + "HHHf" * _KEPT)
_RUN_ROW: Final = struct.Struct("<fIIf")
_DAILY_ROW: Final = struct.Struct("<IIIffBfffIff")
_ALARM_ROW: Final = struct.Struct("<Iffffff")
_PLACE_ROW: Final = struct.Struct("<BBffIffIffff")
_Number = int | float


class _Reader:
    """Reads one row after the other."""

    def __init__(self, packed: bytes) -> None:
        self._packed, self._at = packed, 0

    def take(self, row: struct.Struct) -> tuple[_Number, ...]:
        self._at += row.size
        return row.unpack_from(self._packed, self._at - row.size)


def _pack_usual(usual: UsualTraffic) -> bytes:
    sums = (min(65_535, round(_FINE * math.log1p(amount))) for amount in (*usual.started, *usual.approved))
    counted = (usual.first, usual.hour, usual.hour_started, usual.hour_approved, usual.doubtful)
    return _HOURS_ROW.pack(*sums) + _USUAL_ROW.pack(*counted, usual.wandered, usual.pairs)


def _unpack_usual(reader: _Reader) -> UsualTraffic:
    sums = [math.expm1(amount / _FINE) for amount in reader.take(_HOURS_ROW)]
    usual = UsualTraffic(sums[:HOURS], sums[HOURS:])
    first, hour, started, approved, doubtful, usual.wandered, usual.pairs = reader.take(_USUAL_ROW)
    usual.first, usual.hour, usual.doubtful = int(first), int(hour), bool(doubtful)
    usual.hour_started, usual.hour_approved = int(started), int(approved)
    return usual


def _pack_daily(daily: DailyTest) -> bytes:
    counted = (daily.day, daily.attempts, daily.approvals, daily.expected, daily.chance, daily.doubtful)
    tested = (daily.evidence, daily.wandered, daily.days, daily.raised, daily.found, daily.usual)
    return _DAILY_ROW.pack(*counted, *tested)


def _unpack_daily(reader: _Reader) -> DailyTest:
    day, attempts, approvals, expected, chance, doubtful, evidence, wandered, days, raised, *rest = reader.take(
        _DAILY_ROW
    )
    counted = (int(day), int(attempts), int(approvals), expected, chance, bool(doubtful))
    return DailyTest(*counted, evidence, wandered, days, int(raised), *rest)


def _pack_outcomes(one: Outcomes) -> bytes:
    pending = ((*(min(_MOST_IN_A_MINUTE, count) for count in slot[:3]), slot[3]) for slot in one.pending)
    row = _OUTCOMES_ROW.pack(one.newest, one.surplus, one.asked, one.raised, one.ended, *chain.from_iterable(pending))
    runs = (_RUN_ROW.pack(run.evidence, run.messages, run.approvals, run.unusual) for run in one.test.runs)
    return b"".join((row, *runs, _pack_alarm(one.alarm) if one.alarm else b""))


def _pack_alarm(one: Alarm) -> bytes:
    recently = one.recently_expected, one.recently_found
    return _ALARM_ROW.pack(one.raised, one.unusual, one.recovery, one.expected, one.found, *recently)


def _unpack_outcomes(reader: _Reader, *, alarmed: bool) -> Outcomes:
    newest, surplus, asked, raised, ended, *pending = map(int, reader.take(_OUTCOMES_ROW))
    slots = [pending[place : place + 4] for place in range(0, 4 * _KEPT, 4)]
    runs = [_unpack_run(reader) for _ in REMAINING]
    alarm = _unpack_alarm(reader) if alarmed else None
    waiting = sum(slot[0] + slot[1] for slot in slots)
    return Outcomes(newest, slots, surplus, asked, ChangeTest(runs), alarm, raised, ended, waiting)


def _unpack_run(reader: _Reader) -> Run:
    evidence, messages, approvals, unusual = reader.take(_RUN_ROW)
    return Run(evidence, int(messages), int(approvals), unusual)


def _unpack_alarm(reader: _Reader) -> Alarm:
    raised, *rest = reader.take(_ALARM_ROW)
    return Alarm(int(raised), *rest)


def pack_place(place: PlaceTraffic) -> bytes:
    """Return a place in one row of 739 bytes, and 140 for each kind of outcomes that came.

    Under an alarm each has 28 more; a whole country has 45 for its days.
    """
    kinds = place.kinds
    present = sum(1 << bit for bit, kind in enumerate(kinds) if kind != Outcomes(kind.newest))
    alarmed = sum(8 << bit for bit, kind in enumerate(kinds) if kind.alarm)
    known = (place.known_started, place.known_approved, place.known_hour)
    passed = (place.passed_approved, place.passed_usual)
    shown = astuple(place.passed)
    daily = _pack_daily(place.daily) if place.daily.day else b""
    head = _PLACE_ROW.pack(VERSION, present | alarmed | (64 if daily else 0), *known, *passed, *shown)
    return b"".join(
        (head, _pack_usual(place.usual), daily, *(_pack_outcomes(one) for one in kinds if one != Outcomes(one.newest)))
    )


def unpack_place(packed: bytes) -> PlaceTraffic:
    """Return what `pack_place` made; raise `ValueError` for a row of another version."""
    reader = _Reader(packed)
    version, flags, started, approved, hour, *passed = reader.take(_PLACE_ROW)
    if version != VERSION:
        raise ValueError(f"A row of traffic has version {version}, not {VERSION}.")
    usual = _unpack_usual(reader)
    daily = _unpack_daily(reader) if int(flags) & 64 else DailyTest()
    kinds = [
        _unpack_outcomes(reader, alarmed=bool(int(flags) & 8 << bit)) if int(flags) & 1 << bit else Outcomes()
        for bit in range(3)
    ]
    newcomers, checked, known_numbers = kinds
    place = PlaceTraffic(usual, newcomers, checked, known_numbers, daily, started, approved, int(hour))
    place.passed_approved, place.passed_usual, minute, *shown = passed
    place.passed = Passed(int(minute), *shown)
    return place
