"""The guard's rules in Python, to replay recorded starts under other rules; tests hold them equal to the scripts."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Generic, TypeVar

from otp_service.domain.applications import Application
from otp_service.domain.guard import (
    DAY,
    STRATEGY_OF,
    BackoffRule,
    Bucket,
    BucketRule,
    Ceiling,
    ConversionBreaker,
    ConversionRule,
    Failures,
    LimitScope,
    Ruleset,
    SendAttempt,
    Strategy,
    Window,
    decode_attempt,
)
from otp_service.domain.newcomer_traffic import bounded_capacity

_NO_BOUND: Final = 1e12


@dataclass(frozen=True, slots=True)
class FadingCounter:
    """What was counted in an interval, and in the one before, which fades out while the present one grows."""

    interval: int = -2
    count: int = 0
    before: int = 0

    def value(self, now: int, window: int) -> float:
        """Return the count at this time."""
        passed = now // window - self.interval
        if passed > 1:
            return 0.0
        count, before = (0, self.count) if passed == 1 else (self.count, self.before)
        return count + before * (1 - (now % window) / window)

    def added(self, now: int, window: int) -> "FadingCounter":
        """Return it with one more. A clock that was set back counts on where it was."""
        present = max(now // window, self.interval)
        if present == self.interval:
            return FadingCounter(present, self.count + 1, self.before)
        return FadingCounter(present, 1, self.count if present == self.interval + 1 else 0)


# The same as ``include_buckets.lua``, over states in memory. Times in milliseconds.


@dataclass(slots=True)
class BucketState:
    """What is kept of an address, a block of numbers or a country."""

    at: int = 0
    """When the levels were so."""
    levels: dict[str, float] = field(default_factory=dict)
    """Sends that were not approved, and have not leaked away, by bucket."""
    approvals: dict[int, FadingCounter] = field(default_factory=dict)
    """By window."""
    usual: float = 0.0
    """Approvals of newcomers in a usual day, where a worker has learnt that."""

    def approved(self, window: int, now: int) -> float:
        """Return how many approvals a window has."""
        return self.approvals.get(window, FadingCounter()).value(now, window)


def bucket_capacity(kept: BucketState, rule: BucketRule, now: int) -> float:
    """Return how many unapproved sends a bucket holds."""
    approved = kept.approved(rule.window, now)
    if rule.most_growth is None:
        return rule.amount + rule.factor * approved
    span = rule.usual_window
    usual = DAY / span * kept.approved(span, now) if span else kept.usual
    return bounded_capacity(rule.amount, rule.factor, approved, usual * max(rule.window, DAY // 4) / DAY)


def bucket_level(kept: BucketState, rule: BucketRule, now: int) -> float:
    """Return how much a bucket holds, leaked since it was seen last.

    What got smaller since, because approvals faded, is full and not more.
    """
    if rule.name not in kept.levels:
        return 0.0
    most = bucket_capacity(kept, rule, now)
    leaked = most / rule.window * max(0, now - kept.at)
    return max(0.0, min(kept.levels[rule.name], most) - leaked)


def bucket_wait(held: float, most: float, rule: BucketRule) -> int:
    """Return the milliseconds until one more fits into a bucket that may hold so many, 0 when it does now."""
    excess = held + 1 - max(1.0, most)
    return max(1, math.ceil(excess * rule.window / most)) if excess > 0 else 0


def roll_back_bucket(kept: BucketState, rule: BucketRule, sends: int) -> None:
    """Give sends back; the bucket leaks afterwards."""
    if rule.name in kept.levels:
        kept.levels[rule.name] = max(0.0, kept.levels[rule.name] - sends)


def count_approval(kept: BucketState, window: int, now: int) -> None:
    """Count an approval in a window."""
    kept.approvals[window] = kept.approvals.get(window, FadingCounter()).added(now, window)


# The same as ``include_conversions.lua``, in memory. Times in milliseconds.

CONVERSION_SLOT: Final = 60_000
"""What was sent in this slot or the one before is not judged yet: people are still typing."""
SLOT_DECAY: Final = 0.93
"""How much of what is judged still counts a slot later: half after ten minutes."""
MAX_SLOTS: Final = 120
"""Slots after which nothing of it counts any more."""


class ConversionState(StrEnum):
    """How a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"
    """Its time is over; a trickle shows whether it is better now."""


@dataclass(frozen=True, slots=True)
class ConversionRecord:
    """What one breaker has seen: sends and approvals of this slot, of the one before, and of all before that."""

    slot: int = 0
    sends: int = 0
    approvals: int = 0
    sends_before: int = 0
    approvals_before: int = 0
    ripe_sends: float = 0.0
    ripe_approvals: float = 0.0
    until: int = 0
    """When it is tried again; 0 while the breaker is closed."""
    times: int = 0
    """How often it was opened since it was last seen to be well: the next time it is open for longer."""
    since: int = 0
    """What was started before is forgotten: when it opened last, 0 where all counts."""

    def at_time(self, now: int) -> "ConversionRecord":
        """Return it as it is now, its slots moved on."""
        seen = self
        for _ in range(min(now // CONVERSION_SLOT - self.slot, MAX_SLOTS)):
            seen = seen._next_slot()
        return replace(
            seen, slot=max(self.slot, now // CONVERSION_SLOT)
        )  # a clock that was set back does not age it twice

    def _next_slot(self) -> "ConversionRecord":
        return replace(
            self,
            sends=0,
            approvals=0,
            sends_before=self.sends,
            approvals_before=self.approvals,
            ripe_sends=self.ripe_sends * SLOT_DECAY + self.sends_before,
            ripe_approvals=self.ripe_approvals * SLOT_DECAY + self.approvals_before,
        )

    def judge(self, now: int, rule: ConversionRule) -> "tuple[ConversionRecord, ConversionState]":
        """Return it, at its time, with what follows from what it has seen, and how it stands then."""
        if now < self.until:
            return self, ConversionState.OPEN
        ripe = self.ripe_sends >= (rule.probe if self.until else rule.sends)
        bad = self.ripe_approvals < rule.rate * self.ripe_sends
        if ripe and bad:
            return self._opened(now, rule), ConversionState.OPEN
        if ripe:
            return replace(self, until=0, times=0), ConversionState.CLOSED
        if self.until and not rule.passes_while_open:
            return self, ConversionState.PROBING
        if self.until and bad and self.ripe_sends >= 1:  # too little to tell, and nothing good
            return self, ConversionState.OPEN
        return replace(self, until=0), ConversionState.CLOSED

    def _opened(self, now: int, rule: ConversionRule) -> "ConversionRecord":
        closed_for = rule.closed_for
        for _ in range(min(self.times, 30)):
            closed_for = min(2 * closed_for, rule.max_closed_for)
        if rule.passes_while_open:  # what passes goes on telling
            return replace(self, until=now + closed_for, times=self.times + 1)
        return ConversionRecord(self.slot, until=now + closed_for, times=self.times + 1, since=now)

    def sent(self) -> "ConversionRecord":
        """Return it with one verification more."""
        return replace(self, sends=self.sends + 1)

    def approved(self, created: int) -> "ConversionRecord":
        """Return it with one approval more, of a verification that was started at ``created``."""
        age = self.slot - created // CONVERSION_SLOT
        if created < self.since:
            return self
        if age <= 0:
            return replace(self, approvals=self.approvals + 1)
        if age == 1:
            return replace(self, approvals_before=self.approvals_before + 1)
        weight = 1.0
        for _ in range(min(age - 2, MAX_SLOTS)):
            weight *= SLOT_DECAY
        return replace(self, ripe_approvals=self.ripe_approvals + weight)


@dataclass(slots=True)
class MovingWindow:
    """Exact: the times of the last events, newest first."""

    events: list[float] = field(default_factory=list)

    def wait(self, rule: Window, most: int, now: float) -> int:
        """Return the milliseconds until one more fits, 0 when it does now."""
        if len(self.events) < most or not most:
            return 0
        free = self.events[most - 1] + 1000 * rule.seconds - now
        return 0 if free < 0 else max(1, math.ceil(free))

    def spend(self, rule: Window, now: float) -> None:
        """Count one event."""
        self.events = [now, *self.events][: rule.amount]


@dataclass(slots=True)
class SlidingWindow:
    """Approximate: this interval's count and the previous one's, each with the time when it expires."""

    count: int = 0
    expires: float = 0.0
    previous: int = 0
    previous_expires: float = 0.0

    def _now(self, rule: Window, now: float) -> tuple[bool, int, float, int, float]:
        """Return whether the interval is over; the present count and its remaining life, and those of the last one."""
        interval = 1000 * rule.seconds
        ttl = max(0.0, self.expires - now)
        count = self.count if ttl > 0 else 0
        if 0 < ttl < interval:
            return True, 0, ttl, count, ttl
        faded_ttl = max(0.0, self.previous_expires - now)
        return False, count, ttl - interval if ttl > 0 else interval, self.previous if faded_ttl > 0 else 0, faded_ttl

    def wait(self, rule: Window, most: int, now: float) -> int:
        """Return the milliseconds until one more fits, 0 when it does now."""
        interval = 1000 * rule.seconds
        _, count, ttl, faded, faded_ttl = self._now(rule, now)
        if math.floor(faded * faded_ttl / interval) + count + 1 <= most:
            return 0
        if count < most:
            return max(1, math.floor(faded_ttl - (most - count) * interval / faded) + 1)
        return max(1, math.floor(ttl + interval - most * interval / count) + 1)

    def spend(self, rule: Window, now: float) -> None:
        """Count one event."""
        interval = 1000 * rule.seconds
        over, _, ttl, _, _ = self._now(rule, now)
        if over:
            self.previous, self.previous_expires = self.count, self.expires
            self.count, self.expires = 1, now + ttl + interval
        elif self.expires > now:
            self.count += 1
        else:
            self.count, self.expires = 1, now + 2 * interval


def empty_window(rule: Window) -> Callable[[], MovingWindow | SlidingWindow]:
    """Return what makes an empty window of a rule."""
    return MovingWindow if STRATEGY_OF[rule.scope] is Strategy.MOVING_WINDOW else SlidingWindow


KNOWN: Final = "known"
UNKNOWN: Final = "unknown"
Item = TypeVar("Item")


class ExpiringItems(Generic[Item]):
    """Things by name, each kept for a time; one that is not kept again is forgotten."""

    def __init__(self, make: Callable[[], Item]) -> None:
        self._make = make
        self._things: dict[Hashable, tuple[Item, int]] = {}

    def get(self, name: Hashable, now: int) -> Item:
        """Return what is there, or a new one, which is not there yet."""
        item, expires = self._things.get(name, (None, 0))
        return item if item is not None and now < expires else self._make()

    def put(self, name: Hashable, thing: Item, expires: int) -> None:
        """Keep a thing until a time."""
        self._things[name] = (thing, expires)


@dataclass(frozen=True, slots=True)
class Streak:
    """Events in a row."""

    length: int = 0
    last: int = 0

    def left(self, rule: BackoffRule, now: int) -> int:
        """Return the milliseconds to wait now."""
        if not self.length or now - self.last >= rule.reset_after:
            return 0
        return max(0, self.last + rule.waits[min(self.length, len(rule.waits)) - 1] - now)

    def longer(self, rule: BackoffRule, now: int) -> "Streak":
        """Return it with one event more."""
        over = now - self.last >= rule.reset_after
        return Streak(1 if over else self.length + 1, now)


@dataclass(slots=True)
class Reputation:
    """When a number was approved last, from any device, from one of an application's, and from each."""

    approved: int | None = None
    anywhere: int | None = None
    applications: dict[str, int] = field(default_factory=dict)
    devices: dict[str, dict[str, int]] = field(default_factory=dict)
    """By application."""
    unapproved: int = 0
    """Messages of verifications that began since it was approved."""

    def approve(self, device: str, application: str, most: int, now: int) -> None:
        """Note an approval; of an application's devices the last ones are kept."""
        self.approved, self.unapproved = now, 0
        if not device:
            return
        own = self.devices.setdefault(application, {})
        self.anywhere = self.applications[application] = own[device] = now
        while len(own) > most:
            del own[min(own, key=lambda one: own[one])]


@dataclass(slots=True)
class WrongCodes:
    """Wrong codes for a number in an application."""

    runs: dict[str, Streak] = field(default_factory=dict)
    row: int = 0
    ends: int = 0


@dataclass(slots=True)
class PartState:
    """What is kept of an address, a block or a country."""

    kept: BucketState = field(default_factory=BucketState)
    breaker: ConversionRecord = field(default_factory=ConversionRecord)


@dataclass(slots=True)
class CheckedCodes:
    """Codes that an application checked."""

    wrong: FadingCounter = field(default_factory=FadingCounter)
    right: FadingCounter = field(default_factory=FadingCounter)

    def wait(self, rule: Failures, now: int) -> int:
        """Return the milliseconds until the interval ends, when more fail than may."""
        wrong, right = self.wrong.value(now, rule.window), self.right.value(now, rule.window)
        high = wrong >= rule.wrong and wrong > rule.share * (wrong + right)
        return rule.window - now % rule.window if high else 0


class GuardState:
    """All of it, each under the name that its key has in Redis."""

    def __init__(self, usual: Mapping[str, float] | None) -> None:
        """Take how many newcomers approve in a usual day, by application and country (``shop/PK``)."""
        self._usual = usual
        self.reputation: ExpiringItems[Reputation] = ExpiringItems(Reputation)
        self.cooldown: ExpiringItems[dict[str, Streak]] = ExpiringItems(dict)
        self.guesses: ExpiringItems[WrongCodes] = ExpiringItems(WrongCodes)
        self.asked: ExpiringItems[set[str]] = ExpiringItems(set)
        self.parts: ExpiringItems[PartState] = ExpiringItems(PartState)
        self.failing: ExpiringItems[CheckedCodes] = ExpiringItems(CheckedCodes)
        self._spent: dict[tuple[str, str], tuple[int, int]] = {}
        self._windows: dict[tuple[str, str, int], MovingWindow | SlidingWindow] = {}

    def usual_in_a_day(self, country: str) -> float:
        """Return how many newcomers of an application's country approve in a usual day."""
        return _NO_BOUND if self._usual is None else self._usual.get(country, 0.0)

    def window(self, rule: Window, name: str) -> MovingWindow | SlidingWindow:
        """Return a window of a number, address or application."""
        return self._windows.setdefault((rule.scope, name, rule.seconds), empty_window(rule)())

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


# The same as ``include_guard.lua`` and ``include_fraud.lua``. Times in milliseconds.


@dataclass(frozen=True, slots=True)
class RuleHit:
    """A rule that refuses for so long, or only records that it would."""

    rule: str
    wait: int
    records: bool


def refusing_hit(hits: list[RuleHit]) -> RuleHit | None:
    """Return the rule hit that refuses a message, ``None`` when none does: the one with the longest wait."""
    refusing = [hit for hit in hits if not hit.records]
    return max(refusing, key=lambda hit: hit.wait, default=None)


@dataclass(slots=True)
class Evaluation:
    """One message, or one code that is typed."""

    memory: GuardState
    ruleset: Ruleset
    application: str
    country: str
    send_attempt: SendAttempt
    kind: str
    now: int
    hits: list[RuleHit] = field(default_factory=list)
    new: dict[str, bool] = field(default_factory=dict)
    approved: bool = field(init=False)
    known_device: bool = field(init=False)
    _some: bool = field(init=False)
    _here: bool = field(init=False)
    _parts: dict[str, PartState] = field(default_factory=dict)
    _breaker_states: dict[str, ConversionState] = field(default_factory=dict)
    _changed: set[str] = field(default_factory=set)
    _counted: list[tuple[Bucket, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        reputation, known = self.memory.reputation.get(self.send_attempt.number, self.now), self.ruleset.known

        def recently(at: int | None) -> bool:
            return at is not None and self.now - at < known

        devices = reputation.devices.get(self.application, {})
        self.known_device = bool(self.send_attempt.device) and recently(devices.get(self.send_attempt.device))
        is_stranger = reputation.unapproved >= self.ruleset.known_messages[self.send_attempt.zone]
        self.approved = self.known_device or (recently(reputation.approved) and not is_stranger)
        self._some, self._here = recently(reputation.anywhere), recently(reputation.applications.get(self.application))
        if self._network:
            targets = self.memory.asked.get(self.send_attempt.ip_prefix, self.now)
            self.new = {"number": self.send_attempt.number not in targets, "country": self.country not in targets}

    @property
    def counted(self) -> Counter[tuple[str, str]]:
        """In which buckets it was counted, by part and name."""
        return Counter((rule.part, rule.name) for rule, _ in self._counted)

    @property
    def trust(self) -> str:
        """Whose runs and shares it counts in."""
        return KNOWN if self.known_device else UNKNOWN

    def part(self, part: str) -> PartState:
        """Return what is kept of a part, under its `part_key`."""
        if part not in self._parts:
            key = self.part_key(part)
            self._parts[part] = self.memory.parts.get((part, key), self.now)
            self._parts[part].kept.usual = self.memory.usual_in_a_day(key)
        return self._parts[part]

    def keep(self, part: str) -> None:
        """Keep a part as it is."""
        self.memory.parts.put((part, self.part_key(part)), self.part(part), self.now + self.ruleset.lifetimes[part])

    @property
    def _network(self) -> str:
        """Return the address that a message counts at, if any: who passed a human check counts at none."""
        return self.send_attempt.ip_prefix if self.kind == "start" and not self.send_attempt.checked else ""

    def part_key(self, part: str) -> str:
        """Return what a part is kept under; empty where it does not count."""
        return {
            "block": self.send_attempt.block,
            "country": f"{self.application}/{self.country}",
            "address": self._network,
            "network": self._network and self.send_attempt.prefix_48,
            "provider": self._network and self.send_attempt.prefix_32,
        }[part]

    # --- testing ----------------------------------------------------------------------------------------------

    def test(self) -> None:
        """Test all rules for a message."""
        self.test_windows(self._scopes())
        if self.ruleset.cooldown and self.kind == "start":
            run = self.memory.cooldown.get(self.send_attempt.number, self.now).get(self.trust, Streak())
            rule = self.ruleset.cooldown
            self._add_hit(rule.rule, run.left(rule, self.now), records=rule.record_only)
        self.test_guesses()
        if self.ruleset.failures and not self.known_device:
            wait = self.memory.failing.get(self.application, self.now).wait(self.ruleset.failures, self.now)
            self._add_hit(self.ruleset.failures.rule, wait, records=self.ruleset.failures.record_only)
        over = self.memory.over(self.ruleset, self.application, self.country, self.send_attempt.price, self.now)
        for ceiling, wait in over:
            self._add_hit(ceiling.rule, wait, records=ceiling.record_only)
        self._test_breakers()
        self._test_buckets()

    def test_windows(self, scopes: tuple[LimitScope, ...]) -> None:
        """Test the windows that count by one of the scopes."""
        for rule, name in self._windows(scopes):
            some = self._here if rule.scope is LimitScope.FAILED_CHECKS else self._some
            unknown = self.trust == UNKNOWN and some
            most = rule.for_unknown if unknown and rule.for_unknown is not None else rule.amount
            wait = self.memory.window(rule, name).wait(rule, most, self.now)
            if self.known_device and rule.for_known:
                wait = min(wait, self._own_window(rule).wait(rule, rule.for_known, self.now))
            self._add_hit(rule.rule, wait, records=rule.record_only)

    def test_guesses(self) -> None:
        """Test the wait after a wrong code, and the lock."""
        guesses = self.memory.guesses.get((self.application, self.send_attempt.number), self.now)
        if self.ruleset.guess_wait:
            rule = self.ruleset.guess_wait
            self._add_hit(
                rule.rule, guesses.runs.get(self.trust, Streak()).left(rule, self.now), records=rule.record_only
            )
        if self.ruleset.lock:
            lock = self.ruleset.lock
            self._add_hit(lock.rule, guesses.ends - self.now, records=lock.record_only)

    def _test_breakers(self) -> None:
        for rule in self.ruleset.breakers:
            if not self._applies(rule):
                continue
            part = self.part(rule.part)
            before = part.breaker
            part.breaker, stands = before.at_time(self.now).judge(self.now, rule)
            self._breaker_states[rule.part] = stands
            if part.breaker.until != before.until:
                self._changed.add(rule.part)
            refuses = stands is ConversionState.OPEN and not rule.passes_while_open
            if refuses and not (rule.asks and self.send_attempt.checked):
                self._add_hit(rule.rule, part.breaker.until - self.now, records=rule.record_only)

    def _test_buckets(self) -> None:
        for rule in self.ruleset.buckets:
            stands = rule.breaker is None or self._breaker_states.get(rule.breaker) == rule.breaker_state
            checked = not (rule.asks and self.send_attempt.checked) and (
                rule.checked != "yes" or self.send_attempt.checked
            )
            late = rule.starts and self.kind != "start"
            new = rule.new is None or self.new.get(rule.new, False)
            if stands and checked and new and not late and self._applies(rule):
                kept = self.part(rule.part).kept
                level = bucket_level(kept, rule, self.now)
                wait = bucket_wait(level, bucket_capacity(kept, rule, self.now), rule)
                self._add_hit(rule.rule, wait, records=rule.record_only)
                self._counted.append((rule, level))

    def _applies(self, rule: Bucket | ConversionBreaker) -> bool:
        """Tell whether a rule against fraud looks at this message."""
        known = self.approved if rule.exempts == "approved" else self.known_device
        in_zone = rule.zone is None or rule.zone == self.send_attempt.zone
        return in_zone and not known and not self.send_attempt.allowlisted and bool(self.part_key(rule.part))

    def _add_hit(self, rule: str, wait: int, *, records: bool) -> None:
        if wait > 0:
            self.hits.append(RuleHit(rule, wait, records))

    # --- counting ---------------------------------------------------------------------------------------------

    def count(self) -> None:
        """Count the message in everything that was tested."""
        self.spend_windows(tuple(scope for scope in self._scopes() if scope is not LimitScope.FAILED_CHECKS))
        self._count_cooldown()
        self.memory.spend(self.ruleset, self.application, self.country, self.send_attempt.price, self.now)
        touched = {rule.part for rule, _ in self._counted} | self._breaker_states.keys()
        for part in {rule.part for rule, _ in self._counted}:
            self._settle_levels(part)
        for rule, level in self._counted:
            self.part(rule.part).kept.levels[rule.name] = level + 1
        for part in self._breaker_states:
            own = self.part(part)
            own.breaker = own.breaker.sent() if self.kind == "start" else own.breaker
        for part in touched:
            self.keep(part)
        if any(self.new.values()):
            self._count_asked()

    def spend_windows(self, scopes: tuple[LimitScope, ...]) -> None:
        """Count one event in the windows that count by one of the scopes."""
        for rule, name in self._windows(scopes):
            self.memory.window(rule, name).spend(rule, self.now)
            if self.known_device and rule.for_known:
                self._own_window(rule).spend(rule, self.now)

    def _own_window(self, rule: Window) -> MovingWindow | SlidingWindow:
        """Return what the application's known devices used of a number's window."""
        return self.memory.window(rule, f"{self.application}/{self.send_attempt.number}")

    def remember_breakers(self) -> None:
        """Keep the breakers that opened or closed, of a message that is refused."""
        for part in self._changed:
            self._settle_levels(part)
            self.keep(part)

    def _count_cooldown(self) -> None:
        rule, number = self.ruleset.cooldown, self.send_attempt.number
        if rule and self.kind != "fallback":
            runs = self.memory.cooldown.get(number, self.now)
            runs[self.trust] = runs.get(self.trust, Streak()).longer(rule, self.now)
            self.memory.cooldown.put(number, runs, self.now + rule.reset_after)

    def _count_asked(self) -> None:
        ip_prefix = self.send_attempt.ip_prefix
        targets = self.memory.asked.get(ip_prefix, self.now)
        first = not targets
        targets |= {self.send_attempt.number, self.country}
        if first:
            self.memory.asked.put(ip_prefix, targets, self.now + self.ruleset.lifetimes["asked"])

    def _settle_levels(self, part: str) -> None:
        """Let all buckets of a part leak before it is kept as it is now."""
        kept = self.part(part).kept
        for rule in self.ruleset.buckets:
            if rule.part == part and rule.name in kept.levels and rule.zone in {None, str(self.send_attempt.zone)}:
                kept.levels[rule.name] = bucket_level(kept, rule, self.now)
        kept.at = self.now

    def _scopes(self) -> tuple[LimitScope, ...]:
        address = (LimitScope.IP,) if self._network and not self.known_device else ()
        own = (LimitScope.APPLICATION,) if self.kind != "fallback" else ()
        return (LimitScope.FAILED_CHECKS, LimitScope.NUMBER, *address, *own)

    def _windows(self, scopes: tuple[LimitScope, ...]) -> Iterator[tuple[Window, str]]:
        names = {
            LimitScope.NUMBER: self.send_attempt.number,
            LimitScope.FAILED_CHECKS: f"{self.application}/{self.send_attempt.number}",
            LimitScope.IP: self.send_attempt.ip_prefix,
            LimitScope.APPLICATION: self.application,
        }
        for rule in self.ruleset.windows:
            if rule.scope in scopes:
                yield rule, names[rule.scope]


_OF_ITS_ADDRESS = frozenset({"address", "network", "provider"})


@dataclass(slots=True)
class SimulatedVerification:
    """A verification as the guard remembers it."""

    application: str
    country: str
    send_attempt: SendAttempt
    created: int
    approved: bool
    """Whether its number was known when it started."""
    known_device: bool
    """Whether its device was."""
    new: dict[str, bool]
    """Whether number and country were new to its address."""
    sends: Counter[tuple[str, str]]
    """How often its messages were counted, by part and bucket."""

    @property
    def is_exempt(self) -> bool:
        """Whether nothing was counted of a known number, which may become a stranger by further messages."""
        return self.approved and all(part in _OF_ITS_ADDRESS for part, _ in self.sends)


class GuardSimulation:
    """The guard of an installation, in memory."""

    def __init__(self, usual: Mapping[str, float] | None = MappingProxyType({})) -> None:
        """Take how many newcomers approve in a usual day, by application and country (``shop/PK``)."""
        self._memory = GuardState(usual)

    def start(
        self, ruleset: Ruleset, application: str, country: str, send_attempt: SendAttempt, now: int
    ) -> tuple[list[RuleHit], SimulatedVerification | None]:
        """Judge a start, and count it if nothing refuses it; return what was found, and the verification."""
        evaluation = Evaluation(self._memory, ruleset, application, country, send_attempt, "start", now)
        if not _passes(evaluation):
            return evaluation.hits, None
        counted = SimulatedVerification(
            application,
            country,
            send_attempt,
            now,
            evaluation.approved,
            evaluation.known_device,
            evaluation.new,
            evaluation.counted,
        )
        self._note_message(counted, now)
        return evaluation.hits, counted

    def resend(
        self, ruleset: Ruleset, counted: SimulatedVerification, price: int, now: int, *, fallback: bool = False
    ) -> list[RuleHit]:
        """Judge a further message, and count it if nothing refuses it; return what was found."""
        first = counted.send_attempt
        further = SendAttempt(
            first.number, first.block, device=first.device, zone=first.zone, allowlisted=first.allowlisted, price=price,
            checked=first.checked,
        )  # fmt: skip
        kind = "fallback" if fallback else "resend"
        evaluation = Evaluation(self._memory, ruleset, counted.application, counted.country, further, kind, now)
        if _passes(evaluation):
            counted.sends += evaluation.counted
            self._note_message(counted, now)
        return evaluation.hits

    def _note_message(self, counted: SimulatedVerification, now: int) -> None:
        reputation = self._memory.reputation.get(counted.send_attempt.number, now)
        reputation.unapproved += counted.created > (reputation.approved or 0)

    def guess(self, ruleset: Ruleset, counted: SimulatedVerification, now: int, *, right: bool) -> list[RuleHit]:
        """Judge a code that is typed, and count it if nothing refuses it; return what was found."""
        evaluation = Evaluation(
            self._memory, ruleset, counted.application, counted.country, counted.send_attempt, "check", now
        )
        evaluation.known_device = evaluation.known_device or counted.known_device
        evaluation.test_windows((LimitScope.FAILED_CHECKS,))
        evaluation.test_guesses()
        if refusing_hit(evaluation.hits):
            return evaluation.hits
        self._count_check(evaluation, right=right)
        if right:
            self._approve(evaluation, counted)
        else:
            self._wrong(evaluation)
            evaluation.spend_windows((LimitScope.FAILED_CHECKS,))
        return evaluation.hits

    def _count_check(self, evaluation: Evaluation, *, right: bool) -> None:
        rule = evaluation.ruleset.failures
        if rule is None:
            return
        failing = self._memory.failing.get(evaluation.application, evaluation.now)
        name = "right" if right else "wrong"
        setattr(failing, name, getattr(failing, name).added(evaluation.now, rule.window))
        self._memory.failing.put(
            evaluation.application, failing, evaluation.now + evaluation.ruleset.lifetimes["failures"]
        )

    def _wrong(self, evaluation: Evaluation) -> None:
        ruleset, now, name = (
            evaluation.ruleset,
            evaluation.now,
            (evaluation.application, evaluation.send_attempt.number),
        )
        guesses = self._memory.guesses.get(name, now)
        if ruleset.guess_wait:
            guesses.runs[evaluation.trust] = guesses.runs.get(evaluation.trust, Streak()).longer(
                ruleset.guess_wait, now
            )
        guesses.row += 1
        if ruleset.lock and guesses.row >= ruleset.lock.after:
            guesses.ends, guesses.row = now + ruleset.lock.length, 0
        self._memory.guesses.put(name, guesses, now + ruleset.lifetimes["guesses"])

    def _approve(self, evaluation: Evaluation, counted: SimulatedVerification) -> None:
        ruleset, now, first, memory = evaluation.ruleset, evaluation.now, counted.send_attempt, self._memory
        guesses = memory.guesses.get((evaluation.application, first.number), now)
        guesses.runs.pop(evaluation.trust, None)
        guesses.row = 0
        memory.cooldown.get(first.number, now).pop(evaluation.trust, None)
        reputation = memory.reputation.get(first.number, now)
        reputation.approve(first.device, evaluation.application, ruleset.devices, now)
        memory.reputation.put(first.number, reputation, now + ruleset.known)
        if not first.allowlisted:
            self._roll_back(evaluation, counted)

    def _roll_back(self, evaluation: Evaluation, counted: SimulatedVerification) -> None:
        back = Evaluation(
            self._memory,
            evaluation.ruleset,
            counted.application,
            counted.country,
            counted.send_attempt,
            "start",
            evaluation.now,
        )
        for part in ("block", "country", "address", "network", "provider"):
            spared = counted.known_device if part in _OF_ITS_ADDRESS else counted.is_exempt
            if back.part_key(part) and not spared:
                _roll_back_part(back, counted, part, counts=part in _OF_ITS_ADDRESS or not evaluation.approved)
        names = {"number": counted.send_attempt.number, "country": counted.country}
        targets = self._memory.asked.get(counted.send_attempt.ip_prefix, evaluation.now)
        targets -= {names[target] for target, new in counted.new.items() if new}


def _passes(evaluation: Evaluation) -> bool:
    """Test all rules, then count the message in all or none; tell whether nothing refuses it."""
    evaluation.test()
    if refusing_hit(evaluation.hits):
        evaluation.remember_breakers()
        return False
    evaluation.count()
    return True


def _roll_back_part(back: Evaluation, counted: SimulatedVerification, part: str, *, counts: bool) -> None:
    """Give back to a part; of one number, while it is known, one approval ``counts``."""
    own = back.part(part)
    rules = {rule.name: rule for rule in back.ruleset.buckets if rule.part == part}
    for rule in rules.values():
        roll_back_bucket(own.kept, rule, counted.sends[part, rule.name])
    for window in {window for rule in rules.values() for window in rule.approval_windows} if counts else ():
        count_approval(own.kept, window, back.now)
    judged = any(rule.part == part for rule in back.ruleset.breakers) and not counted.approved
    if judged:
        own.breaker = own.breaker.at_time(back.now).approved(counted.created)
    if rules or judged:
        own.kept.at = own.kept.at or back.now
        back.keep(part)


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
    def send_attempt(self) -> SendAttempt:
        """What the guard saw of a start."""
        return decode_attempt(self.what.split("|", 2)[2])

    @property
    def price(self) -> int:
        """The most that a message may cost, in millionths; 0 of a code."""
        if self.kind not in _MESSAGES:
            return 0
        return self.send_attempt.price if self.kind is AttemptKind.START else int(self.what or 0)

    def checked(self) -> "Attempt":
        """Return it, when all that it says can be read; raise `ValueError` or `TypeError` otherwise."""
        texts = (self.verification, self.refused, self.what)
        if not isinstance(self.at, int) or not all(isinstance(text, str) for text in texts):
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
    was refused in its time and would pass now has no answer in the log, since its code was never typed in. It
    counts as never approved. ``usual`` is how many newcomers approve in a usual day, by application and country
    (``shop/PK``); ``None`` when that is not known: then buckets grow without bound. All attempts are tried, for rules
    count those of all applications; with ``counted`` only those of some are counted.
    """

    def __init__(
        self,
        rulesets: Mapping[str, Ruleset],
        applications: Mapping[str, Application] | None = None,
        usual: Mapping[str, float] | None = MappingProxyType({}),
        counted: Collection[str] = (),
    ) -> None:
        self._simulation = GuardSimulation(usual)
        self._rulesets = rulesets
        self._applications = applications or {}
        self._verifications: dict[str, SimulatedVerification | None] = {}
        self._counted = frozenset(counted or rulesets)
        self.before = ReplayTotals()
        self.after = ReplayTotals()
        self.unknown = 0
        """Attempts of verifications that started before the log, or of applications that the rules do not name."""
        self.never_started = 0
        """Further attempts of verifications that would not have started."""
        self.refused_people: Counter[tuple[str, str]] = Counter()
        """Verifications that were approved, and would not have started, by application and country."""
        self._places: dict[str, tuple[str, str]] = {}
        """Application and country of those that would not have started."""

    def judge(self, attempt: Attempt) -> str | None:
        """Try the next attempt; return the rule that refuses it now, empty for none, ``None`` when it is not tried."""
        if attempt.kind is AttemptKind.START:
            known = attempt.application in self._rulesets
        else:
            known = attempt.verification in self._verifications
        if not known:
            self.unknown += 1
            return None
        rule = self._start(attempt) if attempt.kind is AttemptKind.START else self._go_on(attempt)
        if attempt.kind is AttemptKind.START and rule:
            self._places[attempt.verification] = attempt.application, attempt.country
        if self._application_of(attempt) in self._counted:
            self._count(attempt, rule)
        return rule

    def _application_of(self, attempt: Attempt) -> str:
        if attempt.kind is AttemptKind.START:
            return attempt.application
        started = self._verifications[attempt.verification]
        return started.application if started else self._places[attempt.verification][0]

    def _count(self, attempt: Attempt, rule: str | None) -> None:
        self.before.count(attempt, attempt.refused)
        if rule is None:
            self.never_started += 1
            self.refused_people[self._places[attempt.verification]] += attempt.kind is AttemptKind.APPROVED
        else:
            self.after.count(attempt, rule)

    def _start(self, attempt: Attempt) -> str:
        send_attempt, application = attempt.send_attempt, self._applications.get(attempt.application)
        if application:
            if not application.sends_to(attempt.country):
                self._verifications[attempt.verification] = None
                return "destination.country"
            send_attempt = replace(send_attempt, zone=application.zone_of(attempt.country))
        ruleset = self._rulesets[attempt.application]
        hits, verification = self._simulation.start(
            ruleset, attempt.application, attempt.country, send_attempt, attempt.at
        )
        self._verifications[attempt.verification] = verification
        return _refused_by(hits)

    def _go_on(self, attempt: Attempt) -> str | None:
        verification = self._verifications[attempt.verification]
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
