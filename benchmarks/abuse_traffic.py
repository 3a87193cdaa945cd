"""Honest traffic: who asks for a code when, and what becomes of it. Deterministic by the seed, without I/O.

The driver plays it over HTTP; a test may play it against the store, with a clock that it moves.
"""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from abuse_numbers import ABROAD, HOME, block_of, country_of
from abuse_people import PART_FOREIGN, Person, Town

DAY = 86_400
HOUR = 3600
CONVERSION = 0.6
MEDIAN, SIGMA = 25.0, 0.8
"""Seconds until the code is typed in, lognormal."""
TYPING_ERRORS = 0.05
CORRECTION = 8.0
"""Seconds from a wrong code to the right one."""
NEW = 0.3
NEW_INSIDE = 0.1
"""Share of the new ones whose number is in an attacked block, where there are any."""
ASK_AGAIN, ASK_AGAIN_AFTER = 0.5, 45.0
"""Share of those who never type a code in that ask for another message first, and after how many seconds."""
AWAY = 300.0
"""Seconds for which nobody who was there comes back: as long as a code lives."""
EVE = 22.5
"""Hours of honest traffic on the day before, which makes room for what is usual; then the server is saved."""
LEAD = 1.0
"""Hours of honest traffic before the day begins, so that it does not begin in a night."""
WARM_EVERY, WARM_LEAST = 2.0, 0.25
"""Seconds, on average, from one to the next of those who come once on each day before, and hours that it takes at
least: five and a half hours for ten thousand people."""
SLOW_SHARE = 0.1
"""Of that time, what goes into a slow beginning."""
WARM_APPROVAL = 5.0


class What(StrEnum):
    """What somebody does after a start."""

    APPROVE = "approve"
    MISTYPE = "mistype"
    RESEND = "resend"
    SPRAY = "spray"
    """Try the same code as with all other numbers."""
    GUESS = "guess"


class Group(StrEnum):
    """On whose side somebody is."""

    HONEST = "honest"
    ATTACK = "attack"
    LEAD = "lead"
    """Honest, but before the day: not counted."""


@dataclass(frozen=True, slots=True)
class Act:
    """What is done so many seconds after a start was answered."""

    after: float
    what: What


@dataclass(frozen=True, slots=True)
class Visit:
    """A start, and what follows when it is accepted."""

    at: float
    """Seconds since the day began."""
    group: Group
    kind: str
    """Of honest people: known or new, abroad, inside the attacked blocks."""
    number: str
    address: str
    context: str | None = None
    acts: tuple[Act, ...] = ()
    application: str = "shop"
    passes_check: bool = False
    """Whether a human check is passed, when one is asked for."""


def warm_up(town: Town, day: int) -> list[Visit]:
    """Let all who are known come once and type their code in: slowly at first, as no service begins at full speed."""
    chance = random.Random(f"{town.seed} warm-up {day}")
    people = [*town.known, *town.known_abroad, town.victim]
    chance.shuffle(people)
    span, acts = max(WARM_LEAST * HOUR, WARM_EVERY * len(people)), (Act(WARM_APPROVAL, What.APPROVE),)
    return [
        Visit(span * _eased((place + 0.5) / len(people)), Group.LEAD, "known", *identity_of(person), acts=acts)
        for place, person in enumerate(people)
    ]


def _eased(share: float) -> float:
    """Return the share of the time after which so large a share of the people has come."""
    return (1 - SLOW_SHARE) * share + SLOW_SHARE * math.sqrt(share)


def honest_traffic(town: Town, hours: float, attacked: Sequence[str] = (), day: str = "honest") -> list[Visit]:
    """Return a day's honest visits, or those of its first hours, and of the time before; ordered by time.

    Other people are new on another ``day``.
    """
    chance = random.Random(f"{town.seed} {day}")
    starts = round(town.honest * (hours + LEAD) / 24)
    times = sorted(chance.uniform(-LEAD * HOUR, hours * HOUR) for _ in range(starts))
    crowd = Crowd(town, chance, tuple(attacked))
    return [crowd.visit(at) for at in times]


class Crowd:
    """All honest people of a day."""

    def __init__(self, town: Town, chance: random.Random, attacked: tuple[str, ...]) -> None:
        self._town = town
        self._chance = chance
        self.newcomers = town.newcomers(chance)
        self._inside = {place: tuple(one for one in attacked if country_of(one) == place) for place in (HOME, ABROAD)}
        self._attacked = frozenset(attacked)
        self._seen: dict[str, float] = {}

    def visit(self, at: float) -> Visit:
        """Return the next visit."""
        abroad, new = self._chance.random() < PART_FOREIGN, self._chance.random() < NEW
        person = self._new(ABROAD if abroad else HOME) if new else self.known(at, abroad=abroad)
        words = [
            "new" if new else "known",
            *(["abroad"] if abroad else []),
            *(["inside"] if block_of(person.number) in self._attacked else []),
        ]
        group = Group.HONEST if at >= 0 else Group.LEAD
        approves = self._chance.random() < CONVERSION
        return Visit(at, group, " ".join(words), *identity_of(person), acts=acts_of(self._chance, approves=approves))

    def _new(self, country: str) -> Person:
        inside = self._inside[country]
        return self.newcomers.person(country, inside if self._chance.random() < NEW_INSIDE else ())

    def known(self, at: float, *, abroad: bool = False) -> Person:
        """Return one who is known and was not there just now."""
        people = self._town.known_abroad if abroad else self._town.known
        for _ in range(20):  # in a small town all may have been there just now
            person = self._chance.choice(people)
            if self._seen.get(person.number, -math.inf) < at - AWAY:
                break
        self._seen[person.number] = at
        return person


def acts_of(chance: random.Random, *, approves: bool) -> tuple[Act, ...]:
    """Return what somebody does who types the code in, or does not."""
    if not approves:
        return (Act(ASK_AGAIN_AFTER, What.RESEND),) if chance.random() < ASK_AGAIN else ()
    typed = chance.lognormvariate(math.log(MEDIAN), SIGMA)
    if chance.random() < TYPING_ERRORS:
        return Act(typed, What.MISTYPE), Act(typed + CORRECTION, What.APPROVE)
    return (Act(typed, What.APPROVE),)


def in_order(*sides: Iterable[Visit]) -> list[Visit]:
    """Return the visits of all, ordered by time."""
    return sorted((visit for side in sides for visit in side), key=lambda visit: visit.at)


def identity_of(person: Person) -> tuple[str, str, str]:
    """Return number, address and context of a visit."""
    return person.number, person.address, person.context
