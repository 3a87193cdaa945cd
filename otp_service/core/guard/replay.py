"""A log of attempts, tried again under other rules: what would have been refused, and what the rest would have cost."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from otp_service.core.application import Application
from otp_service.core.guard.rehearsal import Counted, Rehearsal
from otp_service.core.guard.ruleset import Ruleset
from otp_service.core.guard.sending import Sending, unpacked
from otp_service.core.guard.trial import refusal


class Kind(StrEnum):
    """What was tried."""

    START = "start"
    RESEND = "resend"
    FALLBACK = "fallback"
    APPROVED = "approved"
    """A right code that was compared."""
    WRONG = "wrong"
    """A wrong one."""
    CHECK = "check"
    """A code that was not compared: a rule refused it."""


_MESSAGES = frozenset({Kind.START, Kind.RESEND, Kind.FALLBACK})


@dataclass(frozen=True, slots=True)
class Attempt:
    """An entry of the log."""

    at: int
    """Milliseconds since the epoch, by Redis' clock."""
    kind: Kind
    verification: str
    refused: str
    """The rule that refused it, empty for none."""
    what: str
    """Of a start application, country and `Sending`, packed; of a further message its price in millionths."""

    @property
    def application(self) -> str:
        """The caller of a start."""
        return self.what.split("|", 1)[0]

    @property
    def country(self) -> str:
        """The destination of a start."""
        return self.what.split("|", 2)[1]

    @property
    def sending(self) -> Sending:
        """What the guard saw of a start."""
        return unpacked(self.what.split("|", 2)[2])

    @property
    def price(self) -> int:
        """The most that a message may cost, in millionths; 0 of a code."""
        if self.kind not in _MESSAGES:
            return 0
        return self.sending.price if self.kind is Kind.START else int(self.what or 0)

    def checked(self) -> "Attempt":
        """Return it, when all that it says can be read; raise `ValueError` or `TypeError` otherwise."""
        texts = (self.verification, self.refused, self.what)
        if not isinstance(self.at, int) or not all(isinstance(one, str) for one in texts):
            raise TypeError("is no attempt")
        if self.kind is Kind.START and self.what.count("|") < 2:  # noqa: PLR2004 - application, country and the rest
            raise ValueError("is no start")
        if self.price < 0:
            raise ValueError("is of a negative price")
        return self


@dataclass(slots=True)
class Tally:
    """What became of the attempts."""

    messages: int = 0
    """Messages that went out."""
    cost: int = 0
    """The most that they may have cost, in millionths."""
    refused: Counter[str] = field(default_factory=Counter)
    """Attempts by the rule that refused them."""
    approved: int = 0

    def count(self, attempt: Attempt, rule: str) -> None:
        """Count an attempt that a rule refused, or none (empty)."""
        if rule:
            self.refused[rule] += 1
        elif attempt.kind in _MESSAGES:
            self.messages += 1
            self.cost += attempt.price
        elif attempt.kind is Kind.APPROVED:
            self.approved += 1


@dataclass(slots=True)
class Replayed:
    """The same attempts as they went, and under other rules."""

    before: Tally = field(default_factory=Tally)
    after: Tally = field(default_factory=Tally)
    unknown: int = 0
    """Attempts of verifications that started before the log, or of applications that the rules do not name."""
    never_started: int = 0
    """Further attempts of verifications that would not have started."""
    people_refused: int = 0
    """Verifications that were approved, and would not have started."""
    differing: list[tuple[Attempt, str]] = field(default_factory=list)
    """Attempts with another outcome, and the rule that would refuse them now (empty for none)."""


def replay(
    attempts: Iterable[Attempt], rulesets: Mapping[str, Ruleset], applications: Mapping[str, Application] | None = None
) -> Replayed:
    """Run attempts, in the order in which they were made, through rules in memory; ``rulesets`` by application.

    With ``applications``, by name, a start goes where they send to and have their home, not where they did then. What
    was refused in its time and would pass now has no answer in the log: nobody typed that code in. It counts as never
    approved.
    """
    rehearsal, found = Rehearsal(), Replayed()
    counted: dict[str, Counted | None] = {}
    for attempt in attempts:
        if attempt.kind is not Kind.START and attempt.verification not in counted:
            found.unknown += 1
            continue
        if attempt.kind is Kind.START and attempt.application not in rulesets:
            found.unknown += 1
            continue
        rule = _again(rehearsal, attempt, rulesets, applications or {}, counted)
        found.before.count(attempt, attempt.refused)
        if rule is None:
            found.never_started += 1
            found.people_refused += attempt.kind is Kind.APPROVED
            continue
        found.after.count(attempt, rule)
        if rule != attempt.refused:
            found.differing.append((attempt, rule))
    return found


def _again(
    rehearsal: Rehearsal,
    attempt: Attempt,
    rulesets: Mapping[str, Ruleset],
    applications: Mapping[str, Application],
    counted: dict[str, Counted | None],
) -> str | None:
    """Return the rule that refuses an attempt, empty for none; ``None`` when its verification never started."""
    if attempt.kind is Kind.START:
        ruleset, application = rulesets[attempt.application], applications.get(attempt.application)
        sending = attempt.sending
        if application:
            if not application.sends_to(attempt.country):
                counted[attempt.verification] = None
                return "destination.country"
            sending = replace(sending, place=application.place_of(attempt.country))
        findings, verification = rehearsal.start(ruleset, attempt.application, attempt.country, sending, attempt.at)
        counted[attempt.verification] = verification
    else:
        verification = counted[attempt.verification]
        if verification is None:
            return None
        ruleset = rulesets[verification.application]
        if attempt.kind in _MESSAGES:
            fallback = attempt.kind is Kind.FALLBACK
            findings = rehearsal.resend(ruleset, verification, attempt.price, attempt.at, fallback=fallback)
        else:
            findings = rehearsal.guess(ruleset, verification, attempt.at, right=attempt.kind is Kind.APPROVED)
    refused = refusal(findings)
    return refused.rule if refused else ""
