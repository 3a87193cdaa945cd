"""What the guard's statistics tell of attacks, in memory: alarms, what passes, who is asked, false alarms in a month.

Honest newcomers come to three sites by hour of the week; the share of them that approve wanders. An attack comes beside
them. All is played minute by minute through `otp_service.domain.newcomer_traffic`, without a server. Ends with 1 when
an objective is missed.
"""

import argparse
import itertools
import math
import random
import sys
import time
from bisect import bisect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from abuse_numbers import ABROAD, is_still_known
from abuse_scenarios import Expectation

from otp_service.domain.detection import SLOTS_UNTIL_FALSE_ALARM, Finding
from otp_service.domain.newcomer_traffic import (
    MINUTE,
    Cause,
    CountryTraffic,
    Notice,
    NumberGroup,
    bounded_capacity,
    pack_place,
    unpack_place,
)

MINUTES_A_DAY = 1440
BEGINNING = 29_923_200 // MINUTES_A_DAY * MINUTES_A_DAY
"""A midnight in November 2026, in minutes."""
SITES = {"small": 500, "middle": 6000, "large": 20_000}
"""Honest newcomers a day."""
RANGES = tuple(f"923{head:02d}" for head in (*range(30), *range(40, 50)))
SHARE = 0.6
NIGHT, NIGHT_SHARE = range(2, 6), -0.04
"""Hours in which so much less of them approve."""
WANDER, WANDER_HOURS = 0.015, 12.0
"""Standard deviation of the share's wandering, and the hours in which it forgets itself (Ornstein-Uhlenbeck)."""
OF_RANGE, DAY_TO_DAY = 0.02, 0.1
"""Standard deviations: of a range's share, and of the logarithm of a day's newcomers."""
IN_TIME = 0.999
"""Approvals that come before a start is ripe: lognormal delays, median 25 s, sigma 0.8."""
KNOWN_PER_NEWCOMER = 7 / 3
"""Messages of known numbers for each honest newcomer."""
PASSES_CHECK = 0.95
"""Honest newcomers who pass a human check."""
PRICE = 2_500_000
HOURLY = (
    0.35, 0.2, 0.12, 0.1, 0.1, 0.15, 0.3, 0.6, 0.9, 1.1, 1.3, 1.4,
    1.4, 1.35, 1.3, 1.3, 1.4, 1.5, 1.6, 1.7, 1.7, 1.5, 1.1, 0.7,
)  # fmt: skip
"""How many come in each hour of the day, and in the next on each day of the week from Thursday on, of the mean."""
DAILY = (1.0, 1.0, 1.05, 1.1, 1.15, 0.9, 0.8)


def poisson(chance: random.Random, mean: float) -> int:
    """Return how many come."""
    if mean > 50:  # noqa: PLR2004 - where both are alike
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    count, passed = 0, chance.expovariate(1.0)
    while passed < mean:
        count += 1
        passed += chance.expovariate(1.0)
    return count


class Honest:
    """The honest newcomers of a site."""

    def __init__(self, a_day: int, seed: str) -> None:
        self.chance = random.Random(f"{seed} honest")
        self._a_day = a_day
        self._wander = 0.0
        self.now = SHARE
        self._day = 1.0
        weights = [1 / (2 + place % 10) for place in range(len(RANGES))]
        self._weights = list(accumulate(weights))
        of_ranges = random.Random("ranges")  # the same on all days
        self._of_range = [of_ranges.gauss(0, OF_RANGE) for _ in RANGES]
        mean = sum(HOURLY) / 24 * sum(DAILY) / 7
        self.rates = [
            a_day / MINUTES_A_DAY * HOURLY[hour % 24] * DAILY[hour // 24] / mean for hour in range(168)
        ]  # fmt: skip

    def rate(self, minute: int) -> float:
        """Return how many come in a minute."""
        if minute % MINUTES_A_DAY == 0:
            self._day = math.exp(self.chance.gauss(0, DAY_TO_DAY))
        return self.rates[minute // 60 % 168] * self._day

    def share(self, minute: int) -> float:
        """Return the share that approve in a minute, before that of the range."""
        if minute % 60 == 0:
            kept = math.exp(-1 / WANDER_HOURS)
            self._wander = self._wander * kept + self.chance.gauss(0, WANDER * math.sqrt(1 - kept * kept))
        self.now = SHARE + self._wander + (NIGHT_SHARE if minute // 60 % 24 in NIGHT else 0.0)
        return self.now

    def number_prefix(self) -> int:
        """Return the place of somebody's range."""
        return bisect(self._weights, self.chance.random() * self._weights[-1])

    def newcomers(self, minute: int, times: float) -> list[tuple[str, bool]]:
        """Return the range of each who comes, and whether she approves in time."""
        share, chance, people = self.share(minute), self.chance, []
        for _ in range(poisson(chance, self.rate(minute) * times)):
            place = self.number_prefix()
            approves = chance.random() < (share + self._of_range[place]) * IN_TIME
            people.append((RANGES[place], approves))
        return people


@dataclass
class Attack:
    """Attempts of an attacker."""

    a_minute: float
    verifies: float = 0.0
    within: str = ""
    solves: bool = False
    """Whether he passes human checks."""
    addresses: int = 0
    """How many he asks from over HTTP; none stands for another one each time."""

    def attempts(self, chance: random.Random) -> list[tuple[str, bool]]:
        """Return the attempts of a minute."""
        return [
            (self.within or chance.choice(RANGES), chance.random() < self.verifies)
            for _ in range(poisson(chance, self.a_minute))
        ]


@dataclass
class Book:
    """What came of a run."""

    notices: list[Notice] = field(default_factory=list)
    passed_before_told: int = 0
    passed_before_asked: int = 0
    passed_after_asked: int = 0
    asked_minutes: int = 0
    first_told: int | None = None
    first_asked: int | None = None
    attack_messages: int = 0
    attack_unapproved: int = 0
    honest: dict[str, list[int]] = field(default_factory=lambda: {one: [0, 0, 0] for one in ("inside", "outside")})
    """Newcomers, asked, refused: inside the attack and the two hours after it, and outside."""

    @property
    def an_hour(self) -> float:
        """Return how many messages of the attack pass in an hour after newcomers are asked, or the trickle began."""
        return self.passed_after_asked / max(1, self.asked_minutes) * 60

    def note(self, who: str, inside: str, what: str, *, approves: bool) -> None:
        """Count what a newcomer or the attack met: sent, asked, checked (asked, then sent), trickled or refused."""
        if who == "honest":
            row = self.honest[inside]
            row[0] += 1
            row[1] += what in {"asked", "checked"}
            row[2] += what == "refused"
            return
        if what in {"asked", "refused"}:
            return
        self.attack_messages += 1
        self.attack_unapproved += not approves
        self.passed_before_told += self.first_told is None
        self.passed_before_asked += self.first_asked is None
        self.passed_after_asked += self.first_asked is not None


def is_alarm(notice: Notice) -> bool:
    """Tell whether newcomers come under suspicion."""
    return notice.finding is Finding.ALARM and notice.group is NumberGroup.UNKNOWN_NUMBERS


class Play:
    """Plays a site through the guard's statistics."""

    def __init__(self, site: str, seed: str, *, can_ask: bool, country: CountryTraffic | None = None) -> None:
        self.honest = Honest(SITES[site], f"{site} {seed}")
        self.chance = random.Random(f"{site} {seed} attack")
        self.country = country or CountryTraffic()
        self.can_ask = can_ask
        self._trickle: dict[str, tuple[int, int]] = {}

    def run(
        self, first: int, minutes: int, attack: Attack | None = None, span: tuple[int, int] = (0, 0),
        *, times: Callable[[int], float] = lambda _: 1,
        delivered: Callable[[int], float] = lambda _: 1,
    ) -> Book:  # fmt: skip
        """Play so many minutes, with an attack in a span of them; of messages the part ``delivered`` arrives."""
        book, country = Book(), self.country
        for minute in range(first, first + minutes):
            at, attacked = minute * MINUTE, bool(attack) and span[0] <= minute < span[1]
            self._tell(book, country.advance(at), attacked=attacked)
            share = delivered(minute)
            people = [
                (one, "honest", approves and (share == 1 or self.chance.random() < share))
                for one, approves in self.honest.newcomers(minute, times(minute))
            ]
            if attack and attacked:
                people += [(one, "attack", approves) for one, approves in attack.attempts(self.chance)]
                self.chance.shuffle(people)
            inside = "inside" if span[0] <= minute < span[1] + 120 else "outside"
            asking = False
            for number_prefix, who, approves in people:
                solves = who == "honest" or (attack is not None and attack.solves)
                what = self._come(minute, number_prefix, solves=solves, approves=approves)
                asking = asking or what != "sent"
                book.note(who, inside, what, approves=approves)
            if attacked and book.first_asked is not None:
                book.asked_minutes += 1
            if asking and attacked and book.first_asked is None:
                book.first_asked = minute
            self._known(at, times(minute), share, minute)
        return book

    def _known(self, at: int, times: float, delivered: float, minute: int) -> None:
        count = poisson(self.honest.chance, KNOWN_PER_NEWCOMER * self.honest.rates[minute // 60 % 168] * times)
        approved = sum(self.honest.chance.random() < self.honest.now * IN_TIME * delivered for _ in range(count))
        if count:
            self.country.known_start(at, count * PRICE, count)
            self.country.known_approve(at, approved)

    def _come(self, minute: int, number_prefix: str, *, solves: bool, approves: bool) -> str:
        """Let a newcomer come; return what she met: sent, asked, checked (asked, then sent) or refused."""
        country, at = self.country, minute * MINUTE
        found = country.suspicion(number_prefix)
        if not found.ask:
            country.start(at, number_prefix, PRICE)
            if approves:
                country.approve(at, number_prefix)
            return "sent"
        if self.can_ask and not found.checked_too:
            country.require_check(at, number_prefix)
            if not solves or self.chance.random() >= PASSES_CHECK:
                return "asked"
            country.passed_check(at, number_prefix, PRICE)
            if approves:
                country.approve(at, number_prefix, checked=True)
            return "checked"
        if not self._trickles(minute, number_prefix, found.trickle):
            return "refused"
        (country.passed_check if found.checked_too else country.start)(at, number_prefix, PRICE)
        if approves:
            country.approve(at, number_prefix, checked=found.checked_too)
        return "trickled"

    def _trickles(self, minute: int, number_prefix: str, an_hour: int) -> bool:
        """Tell whether one more passes: of an hour, spread over its quarters."""
        own = self.country.ranges.get(number_prefix)
        name = number_prefix if own and own.newcomers.alarm else ""
        quarter, count = self._trickle.get(name, (0, 0))
        count = count if quarter == minute // 15 else 0
        if count >= max(1, an_hour // 4):
            return False
        self._trickle[name] = minute // 15, count + 1
        return True

    @staticmethod
    def _tell(book: Book, notices: Iterable[Notice], *, attacked: bool) -> None:
        for one in notices:
            book.notices.append(one)
            if is_alarm(one) and attacked and book.first_told is None:
                book.first_told = one.minute


# --- Scenarios -----------------------------------------------------------------------------------------------------

LEARNT = 28
"""Days of honest traffic before each of them."""
AT, LASTS = 10 * 60, MINUTES_A_DAY
"""When an attack begins, in minutes of the day, by which most honest newcomers come; and how long it lasts."""


@dataclass(frozen=True)
class Scenario:
    """Something that happens for a while."""

    name: str
    attack: Attack | None = None
    can_ask: bool = True
    lasts: int = LASTS
    times: float = 1.0
    delivered: float = 1.0
    sites: tuple[str, ...] = tuple(SITES)
    http: tuple[str, ...] = ()
    """The sites on which ``make abuse`` plays it too."""
    before_asked: int | None = None
    """Messages of the attack that may pass before it is told, and before newcomers are asked; then 100 an hour."""


_OF_SCENARIO = {"can_ask", "lasts", "sites", "http", "before_asked"}


def _attack(name: str, a_minute: float, **how: Any) -> Scenario:
    of_attack = {word: how.pop(word) for word in {*how} - _OF_SCENARIO}
    return Scenario(name, Attack(a_minute, **of_attack), **how)


_ALL, _MIDDLE, _OTHERS = tuple(SITES), ("middle",), ("small", "large")
_TOLD_SOON: Any = {"before_asked": 600}
SCENARIOS = (
    _attack("8.3 a minute from 10,000 addresses", 8.3, addresses=10_000, sites=_MIDDLE, http=_MIDDLE, **_TOLD_SOON),
    _attack(
        "8.3 a minute from 10,000 addresses, no asking", 8.3, addresses=10_000, can_ask=False, sites=_MIDDLE,
        http=_MIDDLE, **_TOLD_SOON,
    ),
    _attack("0.5 a minute", 0.5, http=_ALL),
    _attack("0.5 a minute, six days", 0.5, lasts=6 * LASTS, sites=("middle", "large")),
    _attack("2 a minute", 2, http=_ALL),
    _attack("2 a minute, no asking", 2, can_ask=False, http=_MIDDLE),
    _attack("8 a minute, an address for each", 8, http=_ALL, **_TOLD_SOON),
    _attack("12 a minute", 12, http=_ALL, **_TOLD_SOON),
    _attack("8 a minute, no asking", 8, can_ask=False, http=_OTHERS, **_TOLD_SOON),
    _attack("12 a minute, no asking", 12, can_ask=False, http=_MIDDLE, **_TOLD_SOON),
    _attack("2 a minute in one range", 2, within=RANGES[0]),
    _attack("8 a minute in one range", 8, within=RANGES[0], http=_MIDDLE, **_TOLD_SOON),
    _attack("8 a minute, verifies 10 %", 8, verifies=0.10, http=_MIDDLE),
    _attack("8 a minute, verifies 34 %", 8, verifies=0.34, http=_MIDDLE),
    _attack("8 a minute, verifies 34 %, no asking", 8, verifies=0.34, can_ask=False, sites=_MIDDLE, http=_MIDDLE),
    _attack("8 a minute, verifies 55 %", 8, verifies=0.55, http=_MIDDLE),
    _attack("8 a minute, verifies 55 %, six days", 8, verifies=0.55, lasts=6 * LASTS, sites=("small", "middle")),
    _attack("8 a minute, passes checks", 8, solves=True),
    Scenario("Friday sale, five times as many", lasts=14 * 60, times=5.0, http=("small", "middle")),
    Scenario("the gateway loses 40 %", lasts=10 * 60, delivered=0.6),
)  # fmt: skip


def quiet_days(site: str, seed: int, days: int = LEARNT) -> tuple[Book, CountryTraffic]:
    """Play honest traffic from nothing."""
    play = Play(site, str(seed), can_ask=True)
    return play.run(BEGINNING, days * MINUTES_A_DAY), play.country


def copied(country: CountryTraffic) -> CountryTraffic:
    """Return a country as it is after it was packed."""
    ranges = {name: unpack_place(pack_place(one)) for name, one in country.ranges.items()}
    return CountryTraffic(unpack_place(pack_place(country.whole)), ranges)


def least_messages(honest: float, attack: Attack, share: float = SHARE) -> float:
    """Return how many messages of an attack any test needs, were the usual share known and no other ever came.

    The logarithm of the slots until a false alarm, by the Kullback-Leibler divergence of an outcome (Lorden 1971).
    """
    mixed = (honest * share + attack.a_minute * attack.verifies) / (honest + attack.a_minute)
    divergence = mixed * math.log(mixed / share) + (1 - mixed) * math.log((1 - mixed) / (1 - share))
    return math.log(SLOTS_UNTIL_FALSE_ALARM) / divergence * attack.a_minute / (honest + attack.a_minute)


def play_scenario(site: str, scenario: Scenario, learnt: CountryTraffic, seed: int) -> tuple[Book, int]:
    """Play a scenario, the hours before it and a day after it; return the book, and when it began."""
    play = Play(site, f"{scenario.name} {seed}", can_ask=scenario.can_ask, country=copied(learnt))
    first = BEGINNING + LEARNT * MINUTES_A_DAY
    span = first + AT, first + AT + scenario.lasts

    def times(minute: int) -> float:
        return scenario.times if span[0] <= minute < span[1] else 1.0

    def delivered(minute: int) -> float:
        return scenario.delivered if span[0] <= minute < span[1] else 1.0

    minutes = AT + scenario.lasts + MINUTES_A_DAY
    return play.run(first, minutes, scenario.attack, span, times=times, delivered=delivered), span[0]


# --- Report --------------------------------------------------------------------------------------------------------


def _hours(minute: int | None, began: int) -> str:
    return "never" if minute is None else f"{(minute - began) / 60:.1f} h"


def _part(row: list[int], place: int) -> float:
    return row[place] / row[0] if row[0] else 0.0


def _told(book: Book, began: int) -> str:
    words = {
        Finding.ALARM: "alarm",
        Finding.USUAL_AGAIN: "end",
        Finding.SMALL_FALL: "small fall",
        Finding.REBASED: "rebased",
    }
    told = [
        f"{words[one.finding]}{' ' + one.number_prefix if one.number_prefix else ''} {(one.minute - began) / 60:.1f}"
        f"{' (delivery)' if one.finding is Finding.ALARM and one.cause is Cause.DELIVERY else ''}"
        f"{'' if one.group is NumberGroup.UNKNOWN_NUMBERS else f' of {one.group}'}"
        for one in book.notices
    ]
    return ", ".join([*told[:6], *(["…"] if told[6:] else [])]) or "nothing"


HEAD = (
    "| scenario | site | least possible | passes before told | before asked | an hour after | in all "
    "| PKR unapproved | honest inside: asked | refused | outside: asked | refused | told, hours after it began |\n"
    + "|---" * 13 + "|"
)  # fmt: skip


def row_of(site: str, scenario: Scenario, book: Book, began: int) -> str:
    """Return a row of the table."""
    inside, outside = book.honest["inside"], book.honest["outside"]
    attack = ["", "", "", "", "", ""]
    if scenario.attack:
        honest = Honest(SITES[site], "").rates[began // 60 % 168]
        attack = [
            f"{least_messages(honest, scenario.attack):,.0f}",
            f"{book.passed_before_told:,} ({_hours(book.first_told, began)})",
            f"{book.passed_before_asked:,}",
            f"{book.an_hour:.0f}" if book.asked_minutes else "",
            f"{book.attack_messages:,}",
            f"{book.attack_unapproved * PRICE / 1e6:,.0f}",
        ]
    honest_parts = [f"{_part(row, place):.1%}" for row in (inside, outside) for place in (1, 2)]
    return "| " + " | ".join([scenario.name, site, *attack, *honest_parts, _told(book, began)]) + " |"


MOST_AN_HOUR, MOST_OF_TWO_A_MINUTE = 100, 500
MOST_REFUSED, MOST_ASKED, MOST_OF_A_SALE = 0.01, 0.10, 0.01


def expectations(site: str, scenario: Scenario, book: Book, began: int) -> list[Expectation]:
    """Compare a day with the objectives."""
    inside, outside, most = book.honest["inside"], book.honest["outside"], scenario.before_asked
    found = [_at_most(_part(outside, 1), MOST_ASKED, "of honest newcomers asked outside")]
    if most is not None:
        found += [
            Expectation(f"{book.passed_before_told} pass before it is told, at most {most}", _told_of(book, most)),
            Expectation(
                f"{book.passed_before_asked} pass before newcomers are asked or get the trickle, at most {most}",
                book.passed_before_asked <= most,
            ),
            Expectation(f"{book.an_hour:.0f} an hour pass after that, at most 100", book.an_hour <= MOST_AN_HOUR),
        ]
    if scenario.name.startswith("2 a minute") and not (scenario.attack and scenario.attack.within):
        most = MINUTES_A_DAY * 2 if site == "large" else MOST_OF_TWO_A_MINUTE
        sentence = f"{book.passed_before_told} pass before it is told, at most {most}, {_hours(book.first_told, began)}"
        found.append(Expectation(sentence, _told_of(book, most)))
    if scenario.can_ask and not (scenario.attack and scenario.attack.solves):
        refused = (inside[2] + outside[2]) / (inside[0] + outside[0])
        found.append(_at_most(refused, MOST_REFUSED, "of honest newcomers refused"))
    if scenario.times > 1:
        touched = _part(inside, 1) + _part(inside, 2)
        found.append(_at_most(touched, MOST_OF_A_SALE, "of a sale's newcomers asked or refused"))
        last = [one for one in book.notices if one.group is NumberGroup.UNKNOWN_NUMBERS][-1:]
        found.append(Expectation("no alarm of a sale stays", not any(map(is_alarm, last))))
    return found


def _told_of(book: Book, most: int) -> bool:
    return book.first_told is not None and book.passed_before_told <= most


def _at_most(part: float, most: float, what: str) -> Expectation:
    return Expectation(f"{part:.2%} {what}, under {most:.0%}", part < most)


def attacks(sites: Iterable[str], seeds: int, only: str) -> list[str]:
    """Play all scenarios and print a table; return what was missed."""
    missed = []
    print(f"\n{HEAD}")
    for site in sites:
        learnt = quiet_days(site, 0)[1]
        for scenario, seed in itertools.product(SCENARIOS, range(1, seeds + 1)):
            if site in scenario.sites and only in scenario.name:
                book, began = play_scenario(site, scenario, learnt, seed)
                print(row_of(site, scenario, book, began), flush=True)
                judged = expectations(site, scenario, book, began)
                missed += [f"{scenario.name}, {site}: {one.sentence}" for one in judged if not one.met]
    return missed


def quiet(sites: Iterable[str], seeds: int) -> list[str]:
    """Print the false alarms of quiet months; return what was missed."""
    missed = []
    print("\n| site | newcomers | false alarms, by seed | mean | small falls | asked |\n|---|---:|---|---:|---:|---:|")
    for site in sites:
        alarms, falls, asked, newcomers = [], 0, 0, 0
        for seed in range(seeds):
            book, _ = quiet_days(site, seed)
            alarms.append(sum(one.finding is Finding.ALARM for one in book.notices))
            falls += sum(one.finding is Finding.SMALL_FALL for one in book.notices)
            asked += book.honest["outside"][1]
            newcomers += book.honest["outside"][0]
        mean = (sum(alarms) + falls) / seeds
        print(
            f"| {site} | {newcomers:,} | {' '.join(map(str, alarms))} | {mean:.1f} | {falls} "
            f"| {asked / newcomers:.3%} |", flush=True,
        )  # fmt: skip
        missed += [f"{site}: {mean:.1f} false alarms a month"] * (mean > 1)
    return missed


# --- Forty foreign numbers -----------------------------------------------------------------------------------------

FOREIGN_NUMBERS, ASKED_A_DAY, FOREIGN_DAYS = 40, 10, 90
FOREIGN_NEWCOMERS = 30
"""Honest ones a day in that country."""
FOREIGN_BUCKET = 20
FOREIGN_RANGES = tuple(f"447{head}" for head in range(10, 40))


def foreign_numbers() -> list[str]:
    """Play forty foreign numbers that were verified once and are asked for ten times a day; return what was missed."""
    chance, level = random.Random("foreign"), 0.0
    first, unapproved, days = BEGINNING + LEARNT * MINUTES_A_DAY, [0] * FOREIGN_NUMBERS, [0] * FOREIGN_DAYS
    country = quiet_foreign_days(LEARNT)
    notices: list[Notice] = []
    before = 0
    for minute in range(first, first + FOREIGN_DAYS * MINUTES_A_DAY):
        notices += _foreign_minute(country, minute, chance)
        usual = country.whole.usual.daily_approvals()
        capacity = bounded_capacity(FOREIGN_BUCKET, 2.0, usual, usual)
        level = max(0.0, level - capacity / MINUTES_A_DAY)
        for place in range(FOREIGN_NUMBERS):
            if (minute - 3 * place) % (MINUTES_A_DAY // ASKED_A_DAY):
                continue  # each at its own time
            known = is_still_known(unapproved[place], ABROAD)
            own = FOREIGN_RANGES[place % 4]  # a few ranges, in which honest people are too
            if passes := _foreign_attempt(country, minute, own, known=known, fits=level + 1 <= capacity):
                level += not known
            unapproved[place] += passes
            days[(minute - first) // MINUTES_A_DAY] += passes
            before += passes and not notices
    after = sum(days[1:]) / (FOREIGN_DAYS - 1)
    print(
        f"\nForty foreign numbers, ten times a day for 90 days: {sum(days):,} messages of "
        f"{FOREIGN_NUMBERS * ASKED_A_DAY * FOREIGN_DAYS:,}; {days[0]} on the first day, then {after:.1f} a day; "
        f"{before} before it is told; {len(notices)} notices."
    )
    return [f"foreign numbers: {after:.0f} a day"] * (after > FOREIGN_BUCKET)


def quiet_foreign_days(days: int) -> CountryTraffic:
    """Play honest traffic of that country from nothing."""
    chance, country = random.Random("quiet foreign"), CountryTraffic()
    for minute in range(BEGINNING, BEGINNING + days * MINUTES_A_DAY):
        _foreign_minute(country, minute, chance)
    return country


def _foreign_minute(country: CountryTraffic, minute: int, chance: random.Random) -> list[Notice]:
    notices = country.advance(minute * MINUTE)
    for known, rate in ((False, FOREIGN_NEWCOMERS), (True, FOREIGN_NEWCOMERS * KNOWN_PER_NEWCOMER)):
        for _ in range(poisson(chance, rate / MINUTES_A_DAY)):
            _foreign_honest(country, minute, chance, known=known)
    return notices


def _foreign_attempt(country: CountryTraffic, minute: int, own: str, *, known: bool, fits: bool) -> bool:
    """Tell whether a message to one of the forty passes, and count it."""
    if known:
        country.known_start(minute * MINUTE, PRICE)
        return True
    if country.suspicion(own).ask:
        country.require_check(minute * MINUTE, own)
        return False
    if fits:
        country.start(minute * MINUTE, own, PRICE)
    return fits


def _foreign_honest(country: CountryTraffic, minute: int, chance: random.Random, *, known: bool) -> None:
    at, approvals = minute * MINUTE, int(chance.random() < SHARE)
    if known:
        country.known_start(at, PRICE)
        country.known_approve(at, approvals)
        return
    own = chance.choice(FOREIGN_RANGES)
    country.start(at, own, PRICE)
    country.approve(at, own, approvals)


def main() -> int:
    """Play and print; return 1 when an objective is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site", action="append", choices=list(SITES), help="may be given again; all without it")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each scenario")
    parser.add_argument("--months", type=int, default=10, help="quiet months of each site, 0 for none")
    parser.add_argument("--only", default="", help="scenarios whose name has this in it")
    options = parser.parse_args()
    began, sites = time.monotonic(), options.site or list(SITES)
    missed = attacks(sites, options.seeds, options.only) + foreign_numbers()
    if options.months:
        missed += quiet(sites, options.months)
    for one in missed:
        print(f"MISSED {one}", file=sys.stderr)
    found = f"{len(missed)} objectives missed" if missed else "Every objective is met"
    print(f"\n{found}; {time.monotonic() - began:.0f} s, of which this process {time.process_time():.0f} s.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
