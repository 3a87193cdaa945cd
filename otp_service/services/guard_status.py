"""Recent decisions of the guard, closed countries and blocks, and the use of ceilings."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from otp_service.domain.guard import Mode
from otp_service.domain.phrases import Phrase
from otp_service.domain.prices import ANY_COUNTRY
from otp_service.services.context import Context
from otp_service.services.operator_actions import BLOCK_RULE
from otp_service.store.events import LIFTED, Decision
from otp_service.store.guard import CeilingUse

MAX_DECISIONS: Final = 100_000
"""Decisions that a command reads, which takes seconds."""
_MAX_CHANGES: Final = 20

MODES: Final = {
    Mode.ENFORCE: Phrase("enforce"),
    Mode.RECORD_ONLY: Phrase("record only"),
    Mode.OFF: Phrase("off"),
}
LIMITED: Final = Phrase("No more than {most} decisions are kept or looked at (guard.decisions), since {at}.")
REFUSED: Final = Phrase("Refused in the last {span}, or would have been")
CHANGED: Final = Phrase("Breakers and alarms")
PASSED: Final = Phrase("Passed unapproved to first-time numbers, about")
BUSIEST: Final = Phrase("Blocks of 10,000 numbers that most passed to unapproved")
CLOSED: Final = Phrase("Closed now")
SPENT: Final = Phrase("Spent")
NOTHING: Final = Phrase("{title}: nothing.")
TRICKLE: Final = Phrase("now, a trickle")
UP_TO: Final = Phrase("up to {span}")


@dataclass(frozen=True, slots=True)
class RefusalCount:
    """The refusals of a rule in a country, also of record-only rules."""

    rule: str
    mode: str
    application: str
    country: str
    times: int
    last: Decision


def count_refusals(decisions: Iterable[Decision]) -> list[RefusalCount]:
    """Return refusals by rule, mode, application and country, the largest count first."""
    last: dict[tuple[str, str, str, str], Decision] = {}
    times: Counter[tuple[str, str, str, str]] = Counter()
    for decision in decisions:
        if decision.kind != "change":
            name = (decision.rule, decision.mode, decision.application, decision.country)
            times[name] += 1
            last[name] = max(last.get(name, decision), decision, key=lambda either: either.at)
    return [RefusalCount(*name, count, last[name]) for name, count in times.most_common()]


def last_changes(decisions: Iterable[Decision], since: int, now: int) -> list[Decision]:
    """Return the last changes of breakers and alarms, newest first: those since a time, or still in force."""
    changes = [decision for decision in decisions if decision.kind == "change"]
    relevant = [change for change in changes if change.at >= since or change.until > now]
    return sorted(relevant, key=lambda change: change.at, reverse=True)[:_MAX_CHANGES]


@dataclass(frozen=True, slots=True)
class ClosedCountry:
    """A country that the guard has closed to an application, or reopened to a trickle on trial."""

    application: str
    country: str
    left: int
    """Milliseconds until it is tried again; 0 during the trial."""
    times: int
    """Closings in a row."""


Place = tuple[str, str]
"""An application, and a country that it sends to."""


def closed_countries(context: Context, places: Iterable[Place]) -> list[ClosedCountry]:
    now = context.store.decisions.now()
    breakers = ((*place, context.store.guard.stop(*place)) for place in sorted(places))
    return [
        ClosedCountry(name, country, max(0, breaker.ends - now), breaker.times)
        for name, country, breaker in breakers
        if breaker
    ]


def closed_blocks(context: Context, decisions: Iterable[Decision]) -> list[int]:
    """Return the remaining milliseconds of closed blocks; a lift, which names no block, ends the last closing."""
    now = context.store.decisions.now()
    closed: list[int] = []
    changes = (decision for decision in decisions if decision.rule == BLOCK_RULE)
    for change in sorted(changes, key=lambda change: change.at):
        if change.mode == "open" and change.until > now:
            closed.append(change.until - now)
        elif change.mode == LIFTED and closed:
            closed.pop()
    return closed


@dataclass(frozen=True, slots=True)
class Spending:
    """The use of a ceiling."""

    application: str
    country: str
    """Empty for all."""
    use: CeilingUse


def spending(context: Context, places: Collection[Place]) -> list[Spending]:
    """Return the use of ceilings, in some countries and in those with a ceiling of their own."""
    used: list[Spending] = []
    for name, loaded in context.rulesets.items():
        own = {country for country in loaded.ruleset.ceilings_of_countries if country != ANY_COUNTRY}
        countries = own | {country for application, country in places if application == name and country}
        for country in ("", *sorted(countries)):
            used += (Spending(name, country, use) for use in context.store.guard.spent(loaded.ruleset, name, country))
    return used
