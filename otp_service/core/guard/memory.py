"""What the guard keeps, in memory: the rehearsal's Redis. Times in milliseconds."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from otp_service.core.guard.bucket import Kept
from otp_service.core.guard.conversion import Conversion
from otp_service.core.guard.counter import Counter
from otp_service.core.guard.ruleset import Ceiling, Failures, Ruleset, Waits, Window
from otp_service.core.guard.window import Moving, Sliding, counting

KNOWN: Final = "known"
STRANGE: Final = "strange"
Thing = TypeVar("Thing")


class Shelf(Generic[Thing]):
    """Things by name, each kept for a time; one that is not kept again is forgotten."""

    def __init__(self, make: Callable[[], Thing]) -> None:
        self._make = make
        self._things: dict[Hashable, tuple[Thing, int]] = {}

    def get(self, name: Hashable, now: int) -> Thing:
        """Return what is there, or a new one, which is not there yet."""
        thing, expires = self._things.get(name, (None, 0))
        return thing if thing is not None and now < expires else self._make()

    def put(self, name: Hashable, thing: Thing, expires: int) -> None:
        """Keep a thing until a time."""
        self._things[name] = (thing, expires)


@dataclass(frozen=True, slots=True)
class Run:
    """Events in a row."""

    length: int = 0
    last: int = 0

    def left(self, rule: Waits, now: int) -> int:
        """Return the milliseconds to wait now."""
        if not self.length or now - self.last >= rule.forgotten:
            return 0
        return max(0, self.last + rule.waits[min(self.length, len(rule.waits)) - 1] - now)

    def longer(self, rule: Waits, now: int) -> "Run":
        """Return it with one event more."""
        over = now - self.last >= rule.forgotten
        return Run(1 if over else self.length + 1, now)


@dataclass(slots=True)
class Standing:
    """When a number was approved last, from any context, from one of an application's, and from each."""

    approved: int | None = None
    anywhere: int | None = None
    applications: dict[str, int] = field(default_factory=dict)
    contexts: dict[str, int] = field(default_factory=dict)

    def approve(self, context: str, application: str, most: int, now: int) -> None:
        """Note an approval; of the contexts the last ones are kept."""
        self.approved = now
        if not context:
            return
        self.anywhere = self.applications[application] = self.contexts[context] = now
        while len(self.contexts) > most:
            del self.contexts[min(self.contexts, key=lambda one: self.contexts[one])]


@dataclass(slots=True)
class Guesses:
    """Wrong codes for a number in an application."""

    runs: dict[str, Run] = field(default_factory=dict)
    row: int = 0
    ends: int = 0


@dataclass(slots=True)
class Part:
    """What is kept of an address, a block or a country."""

    kept: Kept = field(default_factory=Kept)
    breaker: Conversion = field(default_factory=Conversion)


@dataclass(slots=True)
class Failing:
    """Codes that an application checked."""

    wrong: Counter = field(default_factory=Counter)
    right: Counter = field(default_factory=Counter)

    def wait(self, rule: Failures, now: int) -> int:
        """Return the milliseconds until the interval ends, when more fail than may."""
        wrong, right = self.wrong.value(now, rule.window), self.right.value(now, rule.window)
        high = wrong >= rule.wrong and wrong > rule.share * (wrong + right)
        return rule.window - now % rule.window if high else 0


class Memory:
    """All of it, each under the name that its key has in Redis."""

    def __init__(self) -> None:
        self.standing: Shelf[Standing] = Shelf(Standing)
        self.cooldown: Shelf[dict[str, Run]] = Shelf(dict)
        self.guesses: Shelf[Guesses] = Shelf(Guesses)
        self.asked: Shelf[set[str]] = Shelf(set)
        self.parts: Shelf[Part] = Shelf(Part)
        self.failing: Shelf[Failing] = Shelf(Failing)
        self._spent: dict[tuple[str, str], tuple[int, int]] = {}
        self._windows: dict[tuple[str, str, int], Moving | Sliding] = {}

    def window(self, rule: Window, name: str) -> Moving | Sliding:
        """Return a window of somebody."""
        return self._windows.setdefault((rule.scope, name, rule.seconds), counting(rule)())

    def over(
        self, ruleset: Ruleset, application: str, country: str, price: int, now: int
    ) -> Iterator[tuple[Ceiling, int]]:
        """Yield the ceilings that a price would pass, and the milliseconds until their interval ends."""
        for ceiling, name in _ceilings(ruleset, application, country):
            interval, amount = self._spent.get(name, (-1, 0))
            spent = amount if interval == _interval(interval, ceiling, now) else 0
            if spent + price > ceiling.amount:
                yield ceiling, (now // ceiling.interval + 1) * ceiling.interval - now

    def spend(self, ruleset: Ruleset, application: str, country: str, price: int, now: int) -> None:
        """Add a price to all ceilings."""
        for ceiling, name in _ceilings(ruleset, application, country):
            interval, amount = self._spent.get(name, (-1, 0))
            present = _interval(interval, ceiling, now)
            self._spent[name] = (present, (amount if interval == present else 0) + price)


def _interval(kept: int, ceiling: Ceiling, now: int) -> int:
    """Return the interval that counts: a clock that was set back a little counts on in the one that was kept."""
    present = now // ceiling.interval
    return kept if kept == present + 1 else present


def _ceilings(ruleset: Ruleset, application: str, country: str) -> Iterator[tuple[Ceiling, tuple[str, str]]]:
    for ceiling in ruleset.ceilings:
        yield ceiling, (application, ceiling.name)
    for ceiling in ruleset.ceilings_of(country):
        yield ceiling, (f"{application}/{country}", ceiling.name)
