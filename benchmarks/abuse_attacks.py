"""Attacks, as visits beside the honest ones. Deterministic by the seed, without I/O."""

import itertools
import random
from collections.abc import Iterator

from abuse_numbers import HOME, PLANS, UNLISTED, blocks, numbers_in
from abuse_people import Person, Town, fresh_addresses
from abuse_traffic import DAY, HOUR, Act, Group, Visit, What

TIMES_HONEST = 5
"""Attacking starts for each honest one."""
APPLICATIONS = ("shop", "bank", "store")
BOMBERS = 1000
"""Addresses of those who bomb one number."""
SLOW_BLOCKS = 50
SPRAYED = 10_000
"""Numbers over which one code is tried."""
SPRAY_AFTER = 5.0
GUESS_EVERY = 20.0
"""Seconds between two attempts to have a verification of the victim to guess at."""
PARALLEL = 8
"""Guesses at the same moment."""
VICTIM_VISITS = 2
"""Times a day that the one whose code is guessed wants to come in."""
EDGE, BURST = 90, 50
"""Messages that are paid for in peace, and requests at the same moment after them."""
EDGE_TYPED = 120.0
"""Seconds until these type the code in: 0.1 of ours, so that the gateway has the message, although all who come at the
same moment are answered meanwhile. What is approved before it is sent costs nothing."""


def pump(town: Town, hours: float, attacked: tuple[str, ...]) -> list[Visit]:
    """Ask for codes to all numbers of some blocks, from a fresh address each time."""
    chance = random.Random(f"{town.seed} attack")
    return _steady(town, hours, numbers_in(attacked, chance), fresh_addresses(chance), chance)


def block(town: Town, hours: float) -> list[Visit]:
    """Pump one block of the home country."""
    return pump(town, hours, town.blocks[HOME][:1])


def home_blocks(town: Town, hours: float) -> list[Visit]:
    """Pump 200 blocks of the home country."""
    return pump(town, hours, town.blocks[HOME])


def unlisted(town: Town, hours: float) -> list[Visit]:
    """Pump 200 blocks of a country that the application does not send to."""
    return pump(town, hours, blocks(UNLISTED, 200, random.Random(town.seed)))


def weapon(town: Town, hours: float) -> list[Visit]:
    """Ask for codes to numbers from all over the home country, so that it may be closed."""
    chance = random.Random(f"{town.seed} attack")
    return _steady(town, hours, _anywhere(chance), fresh_addresses(chance), chance)


def slow(town: Town, hours: float) -> list[Visit]:
    """Pump 50 blocks, one message a minute."""
    chance = random.Random(f"{town.seed} attack")
    numbers, sources = numbers_in(town.blocks[HOME][:SLOW_BLOCKS], chance), fresh_addresses(chance)
    return [_attack(60.0 * minute, next(numbers), next(sources)) for minute in range(round(60 * hours))]


def bombing(town: Town, hours: float) -> list[Visit]:
    """Have all applications send messages to one person, who is known, from a thousand addresses."""
    chance = random.Random(f"{town.seed} attack")
    sources = itertools.cycle(list(itertools.islice(fresh_addresses(chance), BOMBERS)))
    numbers = itertools.repeat(town.victim.number)
    return _steady(town, hours, numbers, sources, chance, APPLICATIONS)


def guessing(town: Town, hours: float) -> list[Visit]:
    """Guess at the code of one person: in parallel, after a resend, in new verifications, from new addresses.

    That person comes in meanwhile, with a browser that is known.
    """
    sources = fresh_addresses(random.Random(f"{town.seed} attack"))
    acts = (
        *(Act(2.0, What.GUESS) for _ in range(PARALLEL)),
        Act(35.0, What.RESEND),
        *(Act(40.0, What.GUESS) for _ in range(PARALLEL)),
    )
    attempts = [
        _attack(at, town.victim.number, next(sources), acts)
        for at in itertools.takewhile(lambda at: at < hours * HOUR, itertools.count(5.0, GUESS_EVERY))
    ]
    return [*attempts, *_victims_own(town.victim, hours)]


def spraying(town: Town, hours: float) -> list[Visit]:
    """Try the same code once with each of 10,000 numbers, all over the country."""
    chance = random.Random(f"{town.seed} attack")
    starts = min(SPRAYED, round(TIMES_HONEST * town.honest * hours / 24))
    pace = DAY / (TIMES_HONEST * town.honest)
    numbers, sources, acts = _anywhere(chance), fresh_addresses(chance), (Act(SPRAY_AFTER, What.SPRAY),)
    return [_attack(pace * place, next(numbers), next(sources), acts) for place in range(starts)]


def edge(town: Town, hours: float) -> list[Visit]:
    """Let known people come until nearly all the money is spent, and then many at the same moment."""
    approve = (Act(EDGE_TYPED, What.APPROVE),)
    burst = min(hours, 3) * HOUR - 600
    times = [burst * place / EDGE for place in range(EDGE)] + [burst] * BURST
    return [
        Visit(at, Group.HONEST, "known", one.number, one.address, one.context, approve)
        for at, one in zip(times, town.known, strict=False)
    ]


def _victims_own(person: Person, hours: float) -> list[Visit]:
    """Return the visits of the victim. Its number is in nobody else's kind, so that the table shows it apart."""
    acts = (Act(20.0, What.APPROVE),)
    gap = hours * HOUR / (VICTIM_VISITS + 1)
    return [
        Visit(gap * turn, Group.HONEST, "victim", person.number, person.address, person.context, acts)
        for turn in range(1, VICTIM_VISITS + 1)
    ]


def _steady(
    town: Town,
    hours: float,
    numbers: Iterator[str],
    sources: Iterator[str],
    chance: random.Random,
    applications: tuple[str, ...] = APPLICATIONS[:1],
) -> list[Visit]:
    """Return starts at random times, five times as many as honest ones."""
    starts = round(TIMES_HONEST * town.honest * hours / 24)
    times = sorted(chance.uniform(0, hours * HOUR) for _ in range(starts))
    callers = itertools.cycle(applications)
    return [_attack(at, next(numbers), next(sources), application=next(callers)) for at in times]


def _attack(
    at: float, number: str, address: str, acts: tuple[Act, ...] = (), application: str = APPLICATIONS[0]
) -> Visit:
    return Visit(at, Group.ATTACK, "attack", number, address, None, acts, application)


def _anywhere(chance: random.Random) -> Iterator[str]:
    while True:
        yield f"{PLANS[HOME].block(chance)}{chance.randrange(10_000):04d}"
