"""Replay recorded attempts through other rules: nothing is sent, counted or changed."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from otp_service.domain.applications import Application
from otp_service.domain.guard import Mode, Ruleset
from otp_service.domain.guard_replay import Attempt, Replay, ReplayTotals
from otp_service.domain.phrases import Phrase
from otp_service.services.context import Context
from otp_service.services.newcomer_traffic import usual_approvals
from otp_service.settings.schema import GuardSettings

_COUNTRY_RULE: Final = "destination.country"


@dataclass(frozen=True, slots=True)
class TriedRules:
    """The rules to try, by application."""

    rulesets: Mapping[str, Ruleset]
    applications: Mapping[str, Application]

    @classmethod
    def of(cls, context: Context, guard: GuardSettings) -> "TriedRules":
        """Return the rules of an installation, which may be wired for this alone."""
        rulesets = {name: compiled.ruleset for name, compiled in context.rulesets.items()}
        applications = context.applications
        if guard.mode(_COUNTRY_RULE) is not Mode.ENFORCE:
            applications = {name: replace(application, countries=None) for name, application in applications.items()}
        return cls(rulesets, applications)


@dataclass(frozen=True, slots=True)
class RefusedPeople:
    """People who approved, and would have been refused."""

    application: str
    country: str
    count: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Outcomes of attempts, as they were and under the tried rules."""

    refused_people: tuple[RefusedPeople, ...]
    """By application and country, largest first."""
    before: ReplayTotals
    after: ReplayTotals
    never_started: int
    unknown: int

    @property
    def people_refused(self) -> int:
        return sum(refused.count for refused in self.refused_people)


def compare(
    attempts: Iterable[Attempt], tried: TriedRules, usual: Mapping[str, float] | None, counted: Collection[str] = ()
) -> Comparison:
    """Run attempts, oldest first, through rules; count those of some applications or all; ``usual`` may be unknown."""
    replay = Replay(tried.rulesets, tried.applications, usual, counted)
    for attempt in attempts:
        replay.judge(attempt)
    people = sorted(replay.refused_people.items(), key=lambda entry: (-entry[1], entry[0]))
    return Comparison(
        tuple(RefusedPeople(*place, count) for place, count in people),
        replay.before,
        replay.after,
        replay.never_started,
        replay.unknown,
    )


def what_if(context: Context, tried: TriedRules, counted: Collection[str] = ()) -> Comparison:
    """Run the attempts in Redis through rules, as `compare` does."""
    return compare(context.store.attempts.all(), tried, usual_approvals(context), counted)


MESSAGES: Final = Phrase("messages")
COST: Final = Phrase("cost at most, {currency}")
APPROVED: Final = Phrase("approved")
REFUSED_BY: Final = Phrase("refused by {rule}")


def notes(comparison: Comparison) -> Iterator[Phrase]:
    before, after = comparison.before.refused, comparison.after.refused
    if any(after[rule] > before[rule] for rule in after if rule.startswith("spend.")):
        yield Phrase(
            "Ceilings refuse more here than they did: nothing is settled in a replay. Leave them out: spend.* = off."
        )
    people = Phrase("People who were approved and would have been refused: {count}.")
    yield people.filled(count=comparison.people_refused)
    if comparison.never_started:
        further = Phrase("Resends and codes of verifications that would not have started: {count}.")
        yield further.filled(count=comparison.never_started)
    if comparison.unknown:
        untried = Phrase("Not tried, because they began before the log or belong to no application: {count}.")
        yield untried.filled(count=comparison.unknown)
