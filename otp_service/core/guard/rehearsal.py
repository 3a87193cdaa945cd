"""Rules tried without Redis: the guard over states in memory.

The same decisions as the scripts make, which the tests hold against each other; and what ``otp-service guard replay``
runs a log through. Times in milliseconds.
"""

from collections import Counter
from dataclasses import dataclass

from otp_service.core.guard import bucket
from otp_service.core.guard.limits import Scope
from otp_service.core.guard.memory import Memory, Run
from otp_service.core.guard.ruleset import Ruleset
from otp_service.core.guard.sending import Sending
from otp_service.core.guard.trial import Finding, Trial, refusal

_OF_ITS_ADDRESS = frozenset({"address", "network", "provider"})


@dataclass(slots=True)
class Counted:
    """A verification as the guard remembers it."""

    application: str
    country: str
    sending: Sending
    created: int
    approved: bool
    """Whether its number was known when it started."""
    familiar: bool
    """Whether its context was."""
    new: dict[str, bool]
    """Whether number and country were new to its address."""
    sends: Counter[tuple[str, str]]
    """How often its messages were counted, by part and bucket."""


class Rehearsal:
    """The guard of an installation, in memory."""

    def __init__(self) -> None:
        self._memory = Memory()

    def start(
        self, ruleset: Ruleset, application: str, country: str, sending: Sending, now: int
    ) -> tuple[list[Finding], Counted | None]:
        """Judge a start, and count it if nothing refuses it; return what was found, and the verification."""
        trial = Trial(self._memory, ruleset, application, country, sending, "start", now)
        if not _passes(trial):
            return trial.findings, None
        counted = Counted(application, country, sending, now, trial.approved, trial.familiar, trial.new, trial.counted)
        return trial.findings, counted

    def resend(
        self, ruleset: Ruleset, counted: Counted, price: int, now: int, *, fallback: bool = False
    ) -> list[Finding]:
        """Judge a further message, and count it if nothing refuses it; return what was found."""
        first = counted.sending
        further = Sending(
            first.number, first.block, context=first.context, place=first.place, safe=first.safe, price=price
        )
        kind = "fallback" if fallback else "resend"
        trial = Trial(self._memory, ruleset, counted.application, counted.country, further, kind, now)
        if _passes(trial):
            counted.sends += trial.counted
        return trial.findings

    def guess(self, ruleset: Ruleset, counted: Counted, now: int, *, right: bool) -> list[Finding]:
        """Judge a code that is typed, and count it if nothing refuses it; return what was found."""
        trial = Trial(self._memory, ruleset, counted.application, counted.country, counted.sending, "check", now)
        trial.familiar = trial.familiar or counted.familiar
        trial.test_windows((Scope.FAILED_CHECKS,))
        trial.test_guesses()
        if refusal(trial.findings):
            return trial.findings
        self._count_check(trial, right=right)
        if right:
            self._approve(trial, counted)
        else:
            self._wrong(trial)
            trial.spend_windows((Scope.FAILED_CHECKS,))
        return trial.findings

    def _count_check(self, trial: Trial, *, right: bool) -> None:
        rule = trial.ruleset.failures
        if rule is None:
            return
        failing = self._memory.failing.get(trial.application, trial.now)
        name = "right" if right else "wrong"
        setattr(failing, name, getattr(failing, name).added(trial.now, rule.window))
        self._memory.failing.put(trial.application, failing, trial.now + trial.ruleset.lives["failures"])

    def _wrong(self, trial: Trial) -> None:
        ruleset, now, name = trial.ruleset, trial.now, (trial.application, trial.sending.number)
        guesses = self._memory.guesses.get(name, now)
        if ruleset.guess_wait:
            guesses.runs[trial.lane] = guesses.runs.get(trial.lane, Run()).longer(ruleset.guess_wait, now)
        guesses.row += 1
        if ruleset.lock and guesses.row >= ruleset.lock.after:
            guesses.ends, guesses.row = now + ruleset.lock.length, 0
        self._memory.guesses.put(name, guesses, now + ruleset.lives["guesses"])

    def _approve(self, trial: Trial, counted: Counted) -> None:
        ruleset, now, first, memory = trial.ruleset, trial.now, counted.sending, self._memory
        guesses = memory.guesses.get((trial.application, first.number), now)
        guesses.runs.pop(trial.lane, None)
        guesses.row = 0
        memory.cooldown.get(first.number, now).pop(trial.lane, None)
        standing = memory.standing.get(first.number, now)
        standing.approve(first.context, trial.application, ruleset.contexts, now)
        memory.standing.put(first.number, standing, now + ruleset.known)
        if not first.safe:
            self._give_back(trial, counted)

    def _give_back(self, trial: Trial, counted: Counted) -> None:
        back = Trial(
            self._memory, trial.ruleset, counted.application, counted.country, counted.sending, "start", trial.now
        )
        for part in ("block", "country", "address", "network", "provider"):
            spared = counted.familiar if part in _OF_ITS_ADDRESS else counted.approved
            if back.named(part) and not spared:
                _give_back_part(back, counted, part, counts=part in _OF_ITS_ADDRESS or not trial.approved)
        names = {"number": counted.sending.number, "country": counted.country}
        asked = self._memory.asked.get(counted.sending.network, trial.now)
        asked -= {names[what] for what, new in counted.new.items() if new}


def _passes(trial: Trial) -> bool:
    """Test all rules, then count the message in all or none; tell whether nothing refuses it."""
    trial.test()
    if refusal(trial.findings):
        trial.remember_breakers()
        return False
    trial.count()
    return True


def _give_back_part(back: Trial, counted: Counted, part: str, *, counts: bool) -> None:
    """Give back to a part; of one number, while it is known, one approval ``counts``."""
    own, done = back.part(part), set()
    for rule in back.ruleset.buckets:
        if rule.part != part or rule.name in done:
            continue
        bucket.give_back(own.kept, rule, counted.sends[part, rule.name])
        if counts and rule.approvals not in done:
            bucket.approve(own.kept, rule, back.now)
        done |= {rule.name, rule.approvals}
    if any(rule.part == part for rule in back.ruleset.breakers):
        own.breaker = own.breaker.at_time(back.now).approved(counted.created)
        done.add("breaker")
    if done:
        own.kept.at = own.kept.at or back.now
        back.keep(part)
