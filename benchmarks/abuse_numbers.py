"""Phone numbers of a simulation: countries, blocks, and what a message costs there. Without I/O."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import count

from otp_service.domain.newcomer_traffic import UNAPPROVED_ABROAD, UNAPPROVED_AT_HOME

HOME, ABROAD, UNLISTED = "PK", "GB", "KE"
"""Where the application is at home, where it sends to besides, and where it does not send to."""
PRICES = {HOME: Decimal("2.50"), ABROAD: Decimal("12.00"), UNLISTED: Decimal("40.00")}
"""Of one message, in rupees."""
LAST = 4
"""Digits that a block leaves open."""
BLOCK = 10**LAST
"""Numbers in a block."""
_STRIDES = (3, 7, 1111, 3701, 4243, 7919)
"""They have no divisor in common with the size of a block."""


@dataclass(frozen=True)
class Plan:
    """Mobile numbers of a country: one of the heads, three digits more, which make the block, and the last four."""

    heads: tuple[str, ...]

    def block(self, chance: random.Random) -> str:
        """Return any block."""
        return f"{chance.choice(self.heads)}{chance.randrange(1000):03d}"


PLANS = {
    HOME: Plan(tuple(f"+923{head:02d}" for head in (*range(30), *range(40, 50)))),
    ABROAD: Plan(tuple(f"+447{head}" for head in range(10, 40))),
    UNLISTED: Plan(tuple(f"+2547{head}" for head in range(3))),
}
_CALLING = {"+92": HOME, "+44": ABROAD, "+254": UNLISTED}


def is_still_known(unapproved: int, country: str) -> bool:
    """Tell whether a number that was known still is, after so many messages in a row that nobody approved."""
    return unapproved < (UNAPPROVED_AT_HOME if country == HOME else UNAPPROVED_ABROAD)


def country_of(number: str) -> str:
    """Return the country of a number of the simulation."""
    return next(country for code, country in _CALLING.items() if number.startswith(code))


def block_of(number: str) -> str:
    """Return a number without its last four digits."""
    return number[:-LAST]


def blocks(country: str, count: int, chance: random.Random) -> tuple[str, ...]:
    """Return so many different blocks."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[PLANS[country].block(chance)] = None
    return tuple(found)


def numbers_in(within: tuple[str, ...], chance: random.Random) -> Iterator[str]:
    """Yield numbers of these blocks, all in turn; each number of a block comes once before any comes again."""
    walks = {block: (chance.randrange(BLOCK), chance.choice(_STRIDES)) for block in within}
    for turn in count():
        for block in chance.sample(within, len(within)):
            first, stride = walks[block]
            yield f"{block}{(first + turn * stride) % BLOCK:04d}"
