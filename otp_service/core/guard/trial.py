"""One message before the guard, in memory: what its rules find, and what counts when nothing refuses it.

The same as ``include_guard.lua`` and ``include_fraud.lua``. Times in milliseconds.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from otp_service.core.guard import bucket
from otp_service.core.guard.conversion import State
from otp_service.core.guard.limits import Scope
from otp_service.core.guard.memory import KNOWN, STRANGE, Memory, Part, Run
from otp_service.core.guard.ruleset import Breaker, Bucket, Ruleset, Window
from otp_service.core.guard.sending import Sending


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that refuses for so long, or only records that it would."""

    rule: str
    wait: int
    records: bool


def refusal(findings: list[Finding]) -> Finding | None:
    """Return the finding that refuses a message, ``None`` when none does: the one with the longest wait."""
    refusing = [one for one in findings if not one.records]
    return max(refusing, key=lambda one: one.wait, default=None)


@dataclass(slots=True)
class Trial:
    """One message, or one code that is typed."""

    memory: Memory
    ruleset: Ruleset
    application: str
    country: str
    sending: Sending
    kind: str
    now: int
    findings: list[Finding] = field(default_factory=list)
    new: dict[str, bool] = field(default_factory=dict)
    approved: bool = field(init=False)
    familiar: bool = field(init=False)
    _some: bool = field(init=False)
    _here: bool = field(init=False)
    _parts: dict[str, Part] = field(default_factory=dict)
    _stands: dict[str, State] = field(default_factory=dict)
    _changed: set[str] = field(default_factory=set)
    _counted: list[tuple[Bucket, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        standing, known = self.memory.standing.get(self.sending.number, self.now), self.ruleset.known

        def lately(at: int | None) -> bool:
            return at is not None and self.now - at < known

        self.approved, self._some = lately(standing.approved), lately(standing.anywhere)
        self._here = lately(standing.applications.get(self.application))
        self.familiar = bool(self.sending.context) and lately(standing.contexts.get(self.sending.context))
        if self.kind == "start" and self.sending.network:
            asked = self.memory.asked.get(self.sending.network, self.now)
            self.new = {"number": self.sending.number not in asked, "country": self.country not in asked}

    @property
    def counted(self) -> Counter[tuple[str, str]]:
        """In which buckets it was counted, by part and name."""
        return Counter((rule.part, rule.name) for rule, _ in self._counted)

    @property
    def lane(self) -> str:
        """Whose runs and shares it counts in."""
        return KNOWN if self.familiar else STRANGE

    def part(self, part: str) -> Part:
        """Return what is kept of a part that `named`."""
        if part not in self._parts:
            self._parts[part] = self.memory.parts.get((part, self.named(part)), self.now)
        return self._parts[part]

    def keep(self, part: str) -> None:
        """Keep a part as it is."""
        self.memory.parts.put((part, self.named(part)), self.part(part), self.now + self.ruleset.lives[part])

    def named(self, part: str) -> str:
        """Return what a part is kept under; empty where it does not count."""
        first = self.kind == "start"
        return {
            "block": self.sending.block,
            "country": f"{self.application}/{self.country}",
            "address": self.sending.network if first else "",
            "network": self.sending.wide_network if first else "",
            "provider": self.sending.provider if first else "",
        }[part]

    # --- testing ----------------------------------------------------------------------------------------------

    def test(self) -> None:
        """Test all rules for a message."""
        self.test_windows(self._scopes())
        if self.ruleset.cooldown and self.kind == "start":
            run = self.memory.cooldown.get(self.sending.number, self.now).get(self.lane, Run())
            rule = self.ruleset.cooldown
            self._note(rule.rule, run.left(rule, self.now), records=rule.record_only)
        self.test_guesses()
        if self.ruleset.failures:
            wait = self.memory.failing.get(self.application, self.now).wait(self.ruleset.failures, self.now)
            self._note(self.ruleset.failures.rule, wait, records=self.ruleset.failures.record_only)
        over = self.memory.over(self.ruleset, self.application, self.country, self.sending.price, self.now)
        for ceiling, wait in over:
            self._note(ceiling.rule, wait, records=ceiling.record_only)
        self._test_breakers()
        self._test_buckets()

    def test_windows(self, scopes: tuple[Scope, ...]) -> None:
        """Test the windows that count by one of the scopes."""
        for rule, name in self._windows(scopes):
            some = self._here if rule.scope is Scope.FAILED_CHECKS else self._some
            stranger = self.lane == STRANGE and some
            most = rule.strangers if stranger and rule.strangers is not None else rule.amount
            self._note(rule.rule, self.memory.window(rule, name).wait(rule, most, self.now), records=rule.record_only)

    def test_guesses(self) -> None:
        """Test the wait after a wrong code, and the lock."""
        guesses = self.memory.guesses.get((self.application, self.sending.number), self.now)
        if self.ruleset.guess_wait:
            rule = self.ruleset.guess_wait
            self._note(rule.rule, guesses.runs.get(self.lane, Run()).left(rule, self.now), records=rule.record_only)
        if self.ruleset.lock:
            lock = self.ruleset.lock
            self._note(lock.rule, guesses.ends - self.now, records=lock.record_only)

    def _test_breakers(self) -> None:
        for rule in self.ruleset.breakers:
            if not self._applies(rule):
                continue
            part = self.part(rule.part)
            before = part.breaker
            part.breaker, stands = before.at_time(self.now).judged(self.now, rule)
            self._stands[rule.part] = stands
            if part.breaker.until != before.until:
                self._changed.add(rule.part)
            if stands is State.OPEN and not rule.flows:
                self._note(rule.rule, part.breaker.until - self.now, records=rule.record_only)

    def _test_buckets(self) -> None:
        for rule in self.ruleset.buckets:
            stands = rule.breaker is None or self._stands.get(rule.breaker) == rule.stands
            late = rule.starts and self.kind != "start"
            new = rule.new is None or self.new.get(rule.new, False)
            if stands and new and not late and self._applies(rule):
                kept = self.part(rule.part).kept
                level = bucket.level(kept, rule, self.now)
                wait = bucket.wait(level, bucket.capacity(kept, rule, self.now), rule)
                self._note(rule.rule, wait, records=rule.record_only)
                self._counted.append((rule, level))

    def _applies(self, rule: Bucket | Breaker) -> bool:
        """Tell whether a rule against fraud looks at this message."""
        known = self.approved if rule.spares == "approved" else self.familiar
        here = rule.place is None or rule.place == self.sending.place
        return here and not known and not self.sending.safe and bool(self.named(rule.part))

    def _note(self, rule: str, wait: int, *, records: bool) -> None:
        if wait > 0:
            self.findings.append(Finding(rule, wait, records))

    # --- counting ---------------------------------------------------------------------------------------------

    def count(self) -> None:
        """Count the message in everything that was tested."""
        self.spend_windows(tuple(one for one in self._scopes() if one is not Scope.FAILED_CHECKS))
        self._count_cooldown()
        self.memory.spend(self.ruleset, self.application, self.country, self.sending.price, self.now)
        touched = {rule.part for rule, _ in self._counted} | self._stands.keys()
        for part in {rule.part for rule, _ in self._counted}:
            self._settle_levels(part)
        for rule, level in self._counted:
            self.part(rule.part).kept.levels[rule.name] = level + 1
        for part in self._stands:
            own = self.part(part)
            own.breaker = own.breaker.sent() if self.kind == "start" else own.breaker
        for part in touched:
            self.keep(part)
        if any(self.new.values()):
            self._count_asked()

    def spend_windows(self, scopes: tuple[Scope, ...]) -> None:
        """Count one event in the windows that count by one of the scopes."""
        for rule, name in self._windows(scopes):
            self.memory.window(rule, name).spend(rule, self.now)

    def remember_breakers(self) -> None:
        """Keep the breakers that opened or closed, of a message that is refused."""
        for part in self._changed:
            self._settle_levels(part)
            self.keep(part)

    def _count_cooldown(self) -> None:
        rule, number = self.ruleset.cooldown, self.sending.number
        if rule and self.kind != "fallback":
            runs = self.memory.cooldown.get(number, self.now)
            runs[self.lane] = runs.get(self.lane, Run()).longer(rule, self.now)
            self.memory.cooldown.put(number, runs, self.now + rule.forgotten)

    def _count_asked(self) -> None:
        network = self.sending.network
        asked = self.memory.asked.get(network, self.now)
        first = not asked
        asked |= {self.sending.number, self.country}
        if first:
            self.memory.asked.put(network, asked, self.now + self.ruleset.lives["asked"])

    def _settle_levels(self, part: str) -> None:
        """Let all buckets of a part leak before it is kept as it is now."""
        kept = self.part(part).kept
        for rule in self.ruleset.buckets:
            if rule.part == part and rule.name in kept.levels and rule.place in {None, str(self.sending.place)}:
                kept.levels[rule.name] = bucket.level(kept, rule, self.now)
        kept.at = self.now

    def _scopes(self) -> tuple[Scope, ...]:
        address = (Scope.IP,) if self.kind == "start" and self.sending.network else ()
        own = (Scope.APPLICATION,) if self.kind != "fallback" else ()
        return (Scope.FAILED_CHECKS, Scope.NUMBER, *address, *own)

    def _windows(self, scopes: tuple[Scope, ...]) -> Iterator[tuple[Window, str]]:
        names = {
            Scope.NUMBER: self.sending.number,
            Scope.FAILED_CHECKS: f"{self.application}/{self.sending.number}",
            Scope.IP: self.sending.network,
            Scope.APPLICATION: self.application,
        }
        for rule in self.ruleset.windows:
            if rule.scope in scopes:
                yield rule, names[rule.scope]
