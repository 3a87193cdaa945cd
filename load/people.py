"""Who calls: honest people with phones, addresses, languages and browsers, and the numbers that are attacked."""

import random
import unicodedata
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

HOME_HEADS = tuple(f"+923{head:02d}" for head in (*range(30), *range(40, 45)))
PUMPED_HEADS = ("+92345", "+92346")
VICTIMS_HEADS = ("+92347", "+92348", "+92349")
"""Beginnings of the numbers that are pumped, and of those that are bombed and guessed: apart from honest people's."""
ABROAD_HEADS = tuple(f"+447{head}" for head in range(710, 740))
ABROAD = 0.03
"""Share of honest people who have a British number."""
LANGUAGES = ("ur-PK", "ur-PK", "ur-Latn", "en", "en-GB")
RETURNING = 0.4
"""Share of those who came in before, on the same browser."""
VISITS = 3
"""How often one person comes in at most: a number has limits of its own."""
CARRIERS = tuple(f"{network}.{host}" for network in ("203.0.113", "198.51.100") for host in range(1, 255))
"""Addresses of carriers, behind which half of all people are."""
FEWEST_CARRIERS = 40
_URDU = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")


@dataclass(frozen=True)
class Person:
    """Somebody with a phone and a browser."""

    number: str
    address: str
    locale: str
    context: str
    visits: int = 0

    def later(self) -> "Person":
        """Return the same person, after one more visit."""
        return Person(self.number, self.address, self.locale, self.context, self.visits + 1)

    def typed(self, code: str) -> str:
        """Return a code as this person types it."""
        return code.translate(_URDU) if self.locale == "ur-PK" else code


class Town:
    """All honest people, and the carriers of everybody; the same ``seed``, the same town."""

    def __init__(self, seed: int, users: int = 0) -> None:
        """Make the town that so many users at a time come from: it has a carrier's address for each of them."""
        self.chance = random.Random(seed)
        self._carriers = CARRIERS[: max(FEWEST_CARRIERS, users)]
        self._taken: set[str] = set()
        self._known: deque[Person] = deque()

    def visitor(self) -> Person:
        """Return somebody, known or new, who is nobody's visitor at the moment."""
        if self._known and self.chance.random() < RETURNING:
            return self._known.popleft()
        chance = self.chance
        return Person(
            self._number(), self.address(chance), chance.choice(LANGUAGES), f"browser-{chance.getrandbits(64):x}"
        )

    def came_in(self, person: Person) -> None:
        """Remember one who was approved, unless there were visits enough."""
        if person.visits + 1 < VISITS:
            self._known.append(person.later())

    def address(self, chance: random.Random) -> str:
        """Return an end user's address: a carrier's that many share, a household's IPv6, or one's own."""
        where = chance.random()
        if where < 0.5:  # noqa: PLR2004 - half of all
            return chance.choice(self._carriers)
        if where < 0.6:  # noqa: PLR2004 - a tenth
            return f"2400:adc1:{chance.randrange(1 << 16):x}:{chance.randrange(1 << 16):x}::1"
        return f"39.{chance.randrange(1, 255)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"

    def _number(self) -> str:
        heads = ABROAD_HEADS if self.chance.random() < ABROAD else HOME_HEADS
        while (number := number_in(self.chance.choice(heads), self.chance)) in self._taken:
            pass
        self._taken.add(number)
        return number


def number_in(head: str, chance: random.Random) -> str:
    """Return a number that begins so, as long as its country's are."""
    length = len("+923001234567") if head.startswith("+92") else len("+447912345678")
    return head + "".join(chance.choice("0123456789") for _ in range(length - len(head)))


def block(chance: random.Random) -> Iterator[str]:
    """Yield numbers of one block of 10,000 that is pumped, in a row."""
    head, first = f"{chance.choice(PUMPED_HEADS)}{chance.randrange(1000):03d}", chance.randrange(10_000)
    for place in range(10_000):
        yield f"{head}{(first + place) % 10_000:04d}"


def victim(chance: random.Random) -> str:
    """Return a number that is bombed or guessed."""
    return number_in(chance.choice(VICTIMS_HEADS), chance)


def code_in(text: str) -> str:
    """Return the code in a message, in plain digits, whatever script it is written in; empty when there is none."""
    runs = "".join(str(unicodedata.digit(one)) if one.isdigit() else " " for one in text).split()
    return next((run for run in runs if len(run) == 6), "")  # noqa: PLR2004 - the purposes' code_length


def other_than(code: str) -> str:
    """Return a wrong code."""
    return f"{(int(code) + 1) % 1_000_000:06d}"
