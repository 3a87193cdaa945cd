"""Days of `abuse_memory` over HTTP: its newcomers and attackers as visits, and what came of them as its book.

What is usual is learnt in memory, by the service's own code (`otp_service.domain.newcomer_traffic`): four weeks and
three days of the same honest newcomers. A worker goes on with it on a Thursday; on Friday at ten something
happens.
"""

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from abuse_clock import Clock
from abuse_memory import (
    ASKED_A_DAY,
    AT,
    BEGINNING,
    FOREIGN_BUCKET,
    FOREIGN_NEWCOMERS,
    FOREIGN_NUMBERS,
    FOREIGN_RANGES,
    KNOWN_PER_NEWCOMER,
    MINUTES_A_DAY,
    PASSES_CHECK,
    SHARE,
    SITES,
    Attack,
    Book,
    Honest,
    Scenario,
    is_alarm,
    poisson,
)
from abuse_numbers import ABROAD, HOME, PRICES
from abuse_people import Newcomers, Person, Town, fresh_addresses
from abuse_scenarios import MOST_KNOWN_REFUSED, Expectation
from abuse_tally import NO_DECISION, Met, Tally
from abuse_traffic import DAY, Act, Crowd, Group, Visit, What, acts_of, identity_of
from rig import percentile

from otp_service.domain.detection import Finding
from otp_service.domain.newcomer_traffic import Cause, Notice, NumberGroup

WARM_DAY, EVE, FRIDAY = (BEGINNING + day * MINUTES_A_DAY for day in (29, 31, 32))
"""When all who are known come, when honest traffic begins, and the day of the scenario, in minutes since the epoch."""
LEARNT_DAYS = 31
OPENS, AFTER = 8 * 60, 120
"""When a scenario's day begins, in minutes, two hours before the attack; and for how long it goes on after it."""
EVE_LASTS = MINUTES_A_DAY + OPENS - 30
"""Until nearly then."""
LEAST_KNOWN, KNOWN_PART = 2000, 0.5
"""Visits of known people in a day, and for each newcomer where that is more: fewer than in life, to save time."""
CEILING = 2
"""How many times what a day's honest messages cost an application may spend that cannot ask."""
LATE = 60.0
"""Simulated seconds by which an answer in a hundred may be late; otherwise the clock is too fast for the machine."""


def known_a_day(site: str) -> int:
    """Return how many known people come in a day."""
    return max(LEAST_KNOWN, round(KNOWN_PART * SITES[site]))


def town_of(site: str, seed: int) -> Town:
    """Return the people of a site: three times as many are known as come in a day, so that few come often in a sale."""
    return Town(seed, 6 * known_a_day(site))


def ceiling(site: str) -> Decimal:
    """Return what an application that cannot ask may spend in a day."""
    return CEILING * PRICES[HOME] * (SITES[site] + known_a_day(site))


def over_http(site: str, scenario: Scenario, town: Town) -> list[Visit]:
    """Return the visits of Friday, by seconds since its midnight."""
    first, span = FRIDAY + OPENS, span_of(scenario)

    def times(minute: int) -> float:
        return scenario.times if span[0] <= minute < span[1] else 1.0

    honest = honest_visits(site, town, f"{town.seed} {scenario.name}", first, span[1] + AFTER - first, times)
    return sorted([*honest, *_attack(scenario.attack, span, town)], key=lambda visit: visit.at)


def eve_visits(site: str, town: Town) -> list[Visit]:
    """Return the visits of Thursday and of the next night, by seconds since its midnight."""
    visits = honest_visits(site, town, f"{town.seed} eve", EVE, EVE_LASTS)
    return sorted(visits, key=lambda visit: visit.at)


def span_of(scenario: Scenario) -> tuple[int, int]:
    """Return when it begins and ends, in minutes since the epoch."""
    return FRIDAY + AT, FRIDAY + AT + scenario.lasts


def honest_visits(
    site: str, town: Town, seed: str, first: int, minutes: int, times: Callable[[int], float] = lambda _: 1
) -> Iterator[Visit]:
    """Yield visits of newcomers and of people who are known, minute by minute from the ``first`` one on."""
    honest, chance = Honest(SITES[site], seed), random.Random(f"{seed} {site}")
    midnight = first // MINUTES_A_DAY * MINUTES_A_DAY
    crowd = Crowd(town, chance, ())
    for minute in range(first, first + minutes):
        many, at = times(minute), 60.0 * (minute - midnight)
        for number_prefix, approves in honest.newcomers(minute, many):
            person = crowd.newcomers.person(HOME, (_block(number_prefix, chance),))
            yield Visit(
                at + chance.uniform(0, 60), Group.HONEST, "new", *identity_of(person),
                acts_of(chance, approves=approves), passes_check=chance.random() < PASSES_CHECK,
            )  # fmt: skip
        for _ in range(poisson(chance, known_a_day(site) / SITES[site] * honest.rates[minute // 60 % 168] * many)):
            moment = at + chance.uniform(0, 60)
            acts = acts_of(chance, approves=chance.random() < honest.now)
            yield Visit(
                moment, Group.HONEST, "known", *identity_of(crowd.known(moment)), acts,
                passes_check=chance.random() < PASSES_CHECK,
            )  # fmt: skip


def _attack(attack: Attack | None, span: tuple[int, int], town: Town) -> Iterator[Visit]:
    if attack is None:
        return
    chance = random.Random(f"{town.seed} patient attack")
    sources = fresh_addresses(chance)
    if attack.addresses:
        sources = itertools.cycle(list(itertools.islice(sources, attack.addresses)))
    for minute in range(*span):
        for number_prefix, approves in attack.attempts(chance):
            number = f"{_block(number_prefix, chance)}{chance.randrange(10_000):04d}"
            acts = acts_of(chance, approves=True)[-1:] if approves else ()
            yield Visit(
                60.0 * (minute - FRIDAY) + chance.uniform(0, 60), Group.ATTACK, "attack", number, next(sources), None,
                acts, passes_check=attack.solves,
            )  # fmt: skip


# --- Forty foreign numbers -----------------------------------------------------------------------------------------

FOREIGN_SITE = "foreign numbers"
FOREIGN_KNOWN = 100
"""People of the foreign country who are known."""
FOREIGN_KNOWN_VISITS = KNOWN_PER_NEWCOMER * FOREIGN_NEWCOMERS
"""Of those who are known, in a day."""
FOREIGN_DAYS = 2
"""Days of the attack, after one without it."""


class Foreign:
    """People with numbers of a country with little traffic, and forty numbers whose owner has them verified once."""

    def __init__(self, seed: int) -> None:
        """Make them; the same ``seed``, the same people."""
        self._chance = random.Random(f"{seed} foreign")
        self._people = Newcomers({ABROAD: ()}, self._chance, side=0)
        self._known = [self._person(self._chance.choice(FOREIGN_RANGES)) for _ in range(FOREIGN_KNOWN)]
        self._forty = [self._person(FOREIGN_RANGES[place % 4]) for place in range(FOREIGN_NUMBERS)]
        self._sources = fresh_addresses(self._chance)

    def _person(self, number_prefix: str) -> Person:
        return self._people.person(ABROAD, (_block(number_prefix, self._chance),))

    def warm_up(self) -> list[Visit]:
        """Let all come once and type their code in: a minute from one to the next."""
        people = [*self._known, *self._forty]
        acts = (Act(10.0, What.APPROVE),)
        return [
            Visit(60.0 * place, Group.LEAD, "known", *identity_of(one), acts) for place, one in enumerate(people)
        ]  # fmt: skip

    def visits(self) -> list[Visit]:
        """Return the visits of Thursday and of the days after it, on which the forty are asked for."""
        days, chance = 1 + FOREIGN_DAYS, self._chance
        found = [
            Visit(at, Group.HONEST, kind, *identity_of(self._who(kind)), acts_of(chance, approves=self._approves()),
                  passes_check=chance.random() < PASSES_CHECK)
            for kind, a_day in (("new abroad", FOREIGN_NEWCOMERS), ("known abroad", FOREIGN_KNOWN_VISITS))
            for at in (chance.uniform(0, days * DAY) for _ in range(round(a_day * days)))
        ]  # fmt: skip
        found += [
            Visit(
                DAY + 180.0 * place + DAY / ASKED_A_DAY * turn, Group.ATTACK, "attack", one.number, next(self._sources)
            )
            for place, one in enumerate(self._forty)
            for turn in range(ASKED_A_DAY * FOREIGN_DAYS)
        ]
        return sorted(found, key=lambda visit: visit.at)

    def _who(self, kind: str) -> Person:
        known = kind.startswith("known")
        return self._chance.choice(self._known) if known else self._person(self._chance.choice(FOREIGN_RANGES))

    def _approves(self) -> bool:
        return self._chance.random() < SHARE


def foreign_expectations(tally: Tally) -> list[Expectation]:
    """Compare the days of the forty numbers with the objective."""
    sent = (one.visit for one in tally.outcomes if one.visit.group is Group.ATTACK and one.met is Met.SENT)
    days = Counter(int(visit.at // DAY) for visit in sent)
    new = tally.total(Group.HONEST, lambda kind: kind == "new abroad")
    return [
        Expectation(
            f"messages to the forty on the first day: {days[1]}, on the last: {days[FOREIGN_DAYS]}, at most "
            f"{FOREIGN_BUCKET}", days[FOREIGN_DAYS] <= FOREIGN_BUCKET,
        ),
        Expectation(f"honest newcomers there: {new.asked} asked, {new.refused} refused of {new.visits}", None),
    ]  # fmt: skip


def _block(number_prefix: str, chance: random.Random) -> str:
    return f"+{number_prefix}{chance.randrange(1000):03d}"


# --- What came of it -----------------------------------------------------------------------------------------------


def notices_in(log: Path, clock: Clock) -> Iterator[Notice]:
    """Yield what a worker told in its log of newcomers at home, by the server's clock."""
    for line in log.read_text().splitlines():
        if '"unknown_numbers_' not in line:
            continue
        told = json.loads(line)
        minute = int(clock.at(datetime.fromisoformat(told["timestamp"]).timestamp())) // 60
        group, cause = NumberGroup(told["whose"]), Cause(told["cause"])
        yield Notice(minute, Finding(told["why"]), group, told["number_prefix"], cause)


def book_of(scenario: Scenario, tally: Tally, notices: list[Notice]) -> Book:
    """Return the book of a day, as `abuse_memory` keeps it."""
    book, (first, end) = Book(notices), span_of(scenario)
    told = min((one.minute for one in notices if is_alarm(one) and first <= one.minute < end), default=None)
    for one in sorted(tally.outcomes, key=lambda outcome: outcome.visit.at):
        minute = FRIDAY + int(one.visit.at // 60)
        attacked = scenario.attack is not None and first <= minute < end
        if told is not None and minute >= told:
            book.first_told = told
        if attacked and book.first_asked is None and tally.is_suspected(one):
            book.first_asked = minute
        if one.visit.kind in {"new", "attack"}:
            who = "honest" if one.visit.group is Group.HONEST else "attack"
            inside = "inside" if first <= minute < end + AFTER else "outside"
            book.note(who, inside, one.met, approves=one.visit.group is Group.ATTACK and bool(one.visit.acts))
    if book.first_asked is not None:
        book.asked_minutes = end - book.first_asked
    return book


def beside(site: str, scenario: Scenario, tally: Tally) -> list[Expectation]:
    """Compare what only a day over HTTP tells: known devices, spending, and whether the driver kept up."""
    known = tally.total(Group.HONEST, lambda kind: kind == "known")
    full = sum(count[Group.HONEST, "known"] for rule, count in tally.by_rule().items() if rule.startswith(NO_DECISION))
    touched = (known.refused + known.asked) / known.visits
    lapsed, late = tally.total(Group.HONEST, lambda kind: kind == "lapsed"), percentile(tally.lags, 0.99)
    found = [
        Expectation(
            f"known devices refused or asked: {known.refused + known.asked} of {known.visits:,} ({touched:.2%}), "
            f"under {MOST_KNOWN_REFUSED:.1%}", touched < MOST_KNOWN_REFUSED,
        ),
        Expectation(f"of them because too much waited, as when the clock is too fast for this machine: {full}", None),
        Expectation(
            f"numbers that took three codes in a row in vain: {lapsed.refused + lapsed.asked} of {lapsed.visits:,} "
            f"refused or asked", None,
        ),
        Expectation(f"the driver kept up: 99 % of answers within {late:.0f} s, at most {LATE:.0f}", late <= LATE),
    ]  # fmt: skip
    if not scenario.can_ask:
        spent, most = Decimal(max(tally.spent.values(), default=0)) / 100, ceiling(site)
        found.append(Expectation(f"spent in a day: {spent:,} PKR, ceiling {most:,}", spent <= most))
    return found
