"""What other rules would have done with what happened: nothing is sent, counted or changed."""

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
    """Where they send to."""

    @classmethod
    def of(cls, context: Context, guard: GuardSettings) -> "TriedRules":
        """Return those of an installation, which may be one that was wired for this alone."""
        rulesets = {name: one.ruleset for name, one in context.rulesets.items()}
        applications = context.applications
        if guard.mode(_COUNTRY_RULE) is not Mode.ENFORCE:
            applications = {name: replace(one, countries=None) for name, one in applications.items()}
        return cls(rulesets, applications)


@dataclass(frozen=True, slots=True)
class RefusedPeople:
    """Those who approved, and would have been refused."""

    application: str
    country: str
    count: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of the attempts, and what would have."""

    refused_people: tuple[RefusedPeople, ...]
    """First, for they decide: by application and country, most first."""
    before: ReplayTotals
    after: ReplayTotals
    never_started: int
    unknown: int

    @property
    def people_refused(self) -> int:
        """How many were approved, and would have been refused."""
        return sum(one.count for one in self.refused_people)


def compare(
    attempts: Iterable[Attempt], tried: TriedRules, usual: Mapping[str, float] | None, counted: Collection[str] = ()
) -> Comparison:
    """Run attempts, in the order in which they were made, through rules; count those of some applications, or of all.

    ``usual`` is how many newcomers approve in a usual day (`usual_approvals`); ``None`` where that is not known.
    """
    replay = Replay(tried.rulesets, tried.applications, usual, counted)
    for attempt in attempts:
        replay.judge(attempt)
    people = sorted(replay.refused_people.items(), key=lambda one: (-one[1], one[0]))
    return Comparison(
        tuple(RefusedPeople(*place, count) for place, count in people),
        replay.before,
        replay.after,
        replay.never_started,
        replay.unknown,
    )


def what_if(context: Context, tried: TriedRules, counted: Collection[str] = ()) -> Comparison:
    """Run what Redis remembers through rules, and count as `compare` does; raises `StoreUnavailableError`."""
    return compare(context.store.attempts.all(), tried, usual_approvals(context), counted)


MESSAGES: Final = Phrase("messages")
COST: Final = Phrase("cost at most, {currency}")
APPROVED: Final = Phrase("approved")
REFUSED_BY: Final = Phrase("refused by {rule}")


def notes(found: Comparison) -> Iterator[Phrase]:
    """Yield what to know of a comparison."""
    before, after = found.before.refused, found.after.refused
    if any(after[rule] > before[rule] for rule in after if rule.startswith("spend.")):
        yield Phrase(
            "Ceilings refuse more here than they did: nothing is settled in a replay. Leave them out: spend.* = off."
        )
    people = Phrase("People who were approved and would have been refused: {count}.")
    yield people.filled(count=found.people_refused)
    if found.never_started:
        further = Phrase("Resends and codes of verifications that would not have started: {count}.")
        yield further.filled(count=found.never_started)
    if found.unknown:
        untried = Phrase("Not tried, because they began before the log or belong to no application: {count}.")
        yield untried.filled(count=found.unknown)
