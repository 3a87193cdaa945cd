"""The people of a simulation: who has which number, address and browser. Without I/O."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count

from abuse_numbers import ABROAD, BLOCK, HOME, PLANS, blocks

SHARED = 20
"""Addresses of carriers, behind each of which are many people."""
BEHIND_SHARED, IN_FAMILIES = 0.5, 0.1
"""Shares of the people behind those, and of those who live in families on one IPv6 /64. The others are alone."""
FAMILY = 4
KNOWN_OF_HONEST = 0.5
"""People who are known before the day begins, for each honest start of a day."""
FEWEST = 200
"""People who are known in the smallest town."""
PART_FOREIGN = 0.005
"""Share of the people who have a number of the allowed foreign country."""
KNOWN_INSIDE = 0.02
"""Share of those known who have a number in the blocks that are to be attacked: more than there are by chance."""
ATTACKED = 200
"""Blocks of each country that are to be attacked."""
_NETWORKS = 16
"""IPv6 /48s over which families are spread."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a phone."""

    number: str
    address: str
    context: str


def addresses(chance: random.Random, side: int) -> Iterator[str]:
    """Yield addresses of one person after the other; ``side`` keeps those of one source apart from another's."""
    own, members = count(), count()
    while True:
        where = chance.random()
        if where < BEHIND_SHARED:
            yield f"203.0.113.{1 + chance.randrange(SHARED)}"
        elif where < BEHIND_SHARED + IN_FAMILIES:
            family, member = divmod(next(members), FAMILY)
            network, household = family % _NETWORKS, family // _NETWORKS
            yield f"2400:adc{side}:{network:x}:{household % 256:x}00::{member + 1:x}"
        else:
            place = next(own)
            yield f"39.{32 * side + place // 65536 % 32}.{place // 256 % 256}.{place % 256}"


def fresh_addresses(chance: random.Random) -> Iterator[str]:
    """Yield addresses of strangers, none of which came before."""
    places, step = chance.randrange(1 << 24), 2 * chance.randrange(1 << 22) + 1
    while True:
        yield f"{60 + places % 16}.{places >> 16 & 255}.{places >> 8 & 255}.{places & 255}"
        places = (places + step) % (1 << 24)


class Town:
    """Those who are known, and the blocks that are to be attacked; the same for all scenarios of a run."""

    def __init__(self, seed: int, honest: int) -> None:
        """Make the town that has so many honest starts a day; the same ``seed``, the same town."""
        self.seed = seed
        self.honest = honest
        chance = random.Random(seed)
        self.blocks = {country: blocks(country, ATTACKED, chance) for country in (HOME, ABROAD)}
        people = max(FEWEST, round(KNOWN_OF_HONEST * honest))
        newcomers = Newcomers(self.blocks, chance, side=0)
        abroad = max(1, round(PART_FOREIGN * people))
        self.known = tuple(newcomers.known(HOME) for _ in range(people - abroad))
        self.known_abroad = tuple(newcomers.known(ABROAD) for _ in range(abroad))
        self.victim = newcomers.person(HOME)
        """Known too, but in no crowd: comes in where a scenario says so."""
        self._taken = frozenset(newcomers.taken)

    def newcomers(self, chance: random.Random) -> "Newcomers":
        """Return people whom this town has not seen."""
        return Newcomers(self.blocks, chance, side=1, taken=self._taken)


class Newcomers:
    """People whom nobody has seen before, one after the other."""

    def __init__(
        self,
        attacked: Mapping[str, tuple[str, ...]],
        chance: random.Random,
        *,
        side: int,
        taken: frozenset[str] = frozenset(),
    ) -> None:
        """Take the blocks, by country, that are to be attacked, and the numbers that others have."""
        self.taken = set(taken)
        self._attacked = attacked
        self._sets = {country: frozenset(one) for country, one in attacked.items()}
        self._chance = chance
        self._addresses = addresses(chance, side)

    def known(self, country: str) -> Person:
        """Return one whose number may be in an attacked block."""
        inside = self._chance.random() < KNOWN_INSIDE
        return self.person(country, self._attacked[country] if inside else ())

    def person(self, country: str, within: tuple[str, ...] = ()) -> Person:
        """Return one with a number in these blocks, or else in one that is not attacked."""
        while (number := self._number(country, within)) in self.taken:
            pass
        self.taken.add(number)
        return Person(number, next(self._addresses), f"browser-{self._chance.getrandbits(64):016x}")

    def _number(self, country: str, within: tuple[str, ...]) -> str:
        last = f"{self._chance.randrange(BLOCK):04d}"
        if within:
            return self._chance.choice(within) + last
        while (block := PLANS[country].block(self._chance)) in self._sets[country]:
            pass
        return block + last
