"""A replay of what was tried under other rules, in memory."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from otp_service.domain.applications import Application
from otp_service.domain.guard import Ruleset, SendAttempt, decode_attempt
from otp_service.domain.guard_simulation import GuardSimulation, RuleHit, SimulatedVerification, refusing_hit


class AttemptKind(StrEnum):
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


_MESSAGES = frozenset({AttemptKind.START, AttemptKind.RESEND, AttemptKind.FALLBACK})


@dataclass(frozen=True, slots=True)
class Attempt:
    """An entry of the log."""

    at: int
    """Milliseconds since the epoch, by Redis' clock."""
    kind: AttemptKind
    verification: str
    refused: str
    """The rule that refused it, empty for none."""
    what: str
    """Of a start application, country and `SendAttempt`, packed; of a further message its price in millionths."""

    @property
    def application(self) -> str:
        """The caller of a start."""
        return self.what.split("|", 1)[0]

    @property
    def country(self) -> str:
        """The destination of a start."""
        return self.what.split("|", 2)[1]

    @property
    def sending(self) -> SendAttempt:
        """What the guard saw of a start."""
        return decode_attempt(self.what.split("|", 2)[2])

    @property
    def price(self) -> int:
        """The most that a message may cost, in millionths; 0 of a code."""
        if self.kind not in _MESSAGES:
            return 0
        return self.sending.price if self.kind is AttemptKind.START else int(self.what or 0)

    def checked(self) -> "Attempt":
        """Return it, when all that it says can be read; raise `ValueError` or `TypeError` otherwise."""
        texts = (self.verification, self.refused, self.what)
        if not isinstance(self.at, int) or not all(isinstance(one, str) for one in texts):
            raise TypeError("is no attempt")
        if self.kind is AttemptKind.START and self.what.count("|") < 2:  # noqa: PLR2004 - application, country and the rest
            raise ValueError("is no start")
        if self.price < 0:
            raise ValueError("is of a negative price")
        return self


@dataclass(slots=True)
class ReplayTotals:
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
        elif attempt.kind is AttemptKind.APPROVED:
            self.approved += 1


class Replay:
    """Attempts as they went, and what becomes of them under other rules, in memory; ``rulesets`` by application.

    With ``applications``, by name, a start goes where they send to and have their home, not where they did then. What
    was refused in its time and would pass now has no answer in the log: nobody typed that code in. It counts as never
    approved.
    """

    def __init__(self, rulesets: Mapping[str, Ruleset], applications: Mapping[str, Application] | None = None) -> None:
        self._simulation = GuardSimulation()
        self._rulesets = rulesets
        self._applications = applications or {}
        self._counted: dict[str, SimulatedVerification | None] = {}
        self.before = ReplayTotals()
        self.after = ReplayTotals()
        self.unknown = 0
        """Attempts of verifications that started before the log, or of applications that the rules do not name."""
        self.never_started = 0
        """Further attempts of verifications that would not have started."""
        self.people_refused = 0
        """Verifications that were approved, and would not have started."""

    def judge(self, attempt: Attempt) -> str | None:
        """Try the next attempt; return the rule that refuses it now, empty for none, ``None`` when it is not tried."""
        if attempt.kind is AttemptKind.START:
            known = attempt.application in self._rulesets
        else:
            known = attempt.verification in self._counted
        if not known:
            self.unknown += 1
            return None
        self.before.count(attempt, attempt.refused)
        rule = self._start(attempt) if attempt.kind is AttemptKind.START else self._go_on(attempt)
        if rule is None:
            self.never_started += 1
            self.people_refused += attempt.kind is AttemptKind.APPROVED
        else:
            self.after.count(attempt, rule)
        return rule

    def _start(self, attempt: Attempt) -> str:
        sending, application = attempt.sending, self._applications.get(attempt.application)
        if application:
            if not application.sends_to(attempt.country):
                self._counted[attempt.verification] = None
                return "destination.country"
            sending = replace(sending, place=application.place_of(attempt.country))
        ruleset = self._rulesets[attempt.application]
        hits, verification = self._simulation.start(ruleset, attempt.application, attempt.country, sending, attempt.at)
        self._counted[attempt.verification] = verification
        return _refused_by(hits)

    def _go_on(self, attempt: Attempt) -> str | None:
        verification = self._counted[attempt.verification]
        if verification is None:
            return None
        ruleset = self._rulesets[verification.application]
        if attempt.kind in _MESSAGES:
            fallback = attempt.kind is AttemptKind.FALLBACK
            return _refused_by(
                self._simulation.resend(ruleset, verification, attempt.price, attempt.at, fallback=fallback)
            )
        right = attempt.kind is AttemptKind.APPROVED
        return _refused_by(self._simulation.guess(ruleset, verification, attempt.at, right=right))


def _refused_by(hits: list[RuleHit]) -> str:
    refused = refusing_hit(hits)
    return refused.rule if refused else ""
