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
    Ceiling,
    ConversionBreaker,
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


class AttemptKind(StrEnum):
    """The kind of a recorded attempt."""

    START = "start"
    RESEND = "resend"
    FALLBACK = "fallback"
    APPROVED = "approved"
    """A right code that was compared."""
    WRONG = "wrong"
    CHECK = "check"
    """A code that a rule refused, so it was not compared."""


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
    details: str
    """Application, country and `SendAttempt` of a start, packed; the price of a further message in millionths."""

    @property
    def application(self) -> str:
        """The application that made the start."""
        return self.details.split("|", 1)[0]

    @property
    def country(self) -> str:
        """The destination of a start."""
        return self.details.split("|", 2)[1]

    @property
    def send_attempt(self) -> SendAttempt:
        """The guard's view of a start."""
        return decode_attempt(self.details.split("|", 2)[2])

    @property
    def price(self) -> int:
        """The maximum cost of a message, in millionths; 0 of a code."""
        if self.kind not in _MESSAGES:
            return 0
        return self.send_attempt.price if self.kind is AttemptKind.START else int(self.details or 0)

    def checked(self) -> "Attempt":
        """Return it if all its fields can be read; raise `ValueError` or `TypeError` otherwise."""
        texts = (self.verification, self.refused, self.details)
        if not isinstance(self.at, int) or not all(isinstance(text, str) for text in texts):
            raise TypeError("is no attempt")
        if self.kind is AttemptKind.START and self.details.count("|") < 2:  # noqa: PLR2004 - application, country and the rest
            raise ValueError("is no start")
        if self.price < 0:
            raise ValueError("is of a negative price")
        return self


@dataclass(frozen=True, slots=True)
class FadingCounter:
    """The count of an interval, and of the one before, which fades out while the present one grows."""

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
        """Return it plus one; a clock that was set back counts in the newest interval."""
        present = max(now // window, self.interval)
        if present == self.interval:
            return FadingCounter(present, self.count + 1, self.before)
        return FadingCounter(present, 1, self.count if present == self.interval + 1 else 0)


# The same as ``include_conversions.lua``, in memory. Times in milliseconds.

CONVERSION_SLOT: Final = 60_000
"""Sends of this slot and the one before are not judged yet: people are still typing."""
SLOT_DECAY: Final = 0.93
"""The weight of judged sends one slot later: half after ten minutes."""
MAX_SLOTS: Final = 120
"""Slots after which nothing counts any more."""


class ConversionState(StrEnum):
    """The state of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"
    """Its time is over; a trickle shows whether the rate has recovered."""


@dataclass(frozen=True, slots=True)
class ConversionRecord:
    """Sends and approvals of one breaker: of this slot, of the one before, and of all before that."""

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
    """Openings since the rate was last good: each next one is longer."""
    since: int = 0
    """When it opened last: earlier verifications do not count. 0 where all count."""

    def at_time(self, now: int) -> "ConversionRecord":
        """Return it with its slots moved on to this time."""
        record = self
        for _ in range(min(now // CONVERSION_SLOT - self.slot, MAX_SLOTS)):
            record = replace(
                record,
                sends=0,
                approvals=0,
                sends_before=record.sends,
                approvals_before=record.approvals,
                ripe_sends=record.ripe_sends * SLOT_DECAY + record.sends_before,
                ripe_approvals=record.ripe_approvals * SLOT_DECAY + record.approvals_before,
            )
        # a clock that was set back does not age it twice
        return replace(record, slot=max(self.slot, now // CONVERSION_SLOT))

    def judge(self, now: int, rule: ConversionBreaker) -> "tuple[ConversionRecord, ConversionState]":
        """Return the judged record and its state; slots must be moved on before."""
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
        if self.until and bad and self.ripe_sends >= 1:  # too little to judge, and nothing good
            return self, ConversionState.OPEN
        return replace(self, until=0), ConversionState.CLOSED

    def _opened(self, now: int, rule: ConversionBreaker) -> "ConversionRecord":
        closed_for = rule.closed_for
        for _ in range(min(self.times, 30)):
            closed_for = min(2 * closed_for, rule.max_closed_for)
        if rule.passes_while_open:  # passing messages keep the record current
            return replace(self, until=now + closed_for, times=self.times + 1)
        return ConversionRecord(self.slot, until=now + closed_for, times=self.times + 1, since=now)

    def sent(self) -> "ConversionRecord":
        """Return it with one more verification."""
        return replace(self, sends=self.sends + 1)

    def approved(self, created: int) -> "ConversionRecord":
        """Return it with one more approval, of a verification that started at ``created``."""
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


# The same as ``include_buckets.lua``, over states in memory. Times in milliseconds.


@dataclass(slots=True)
class PartState:
    """The counters of an address, a block of numbers or a country."""

    at: int = 0
    """The time of the levels."""
    levels: dict[str, float] = field(default_factory=dict)
    """Unapproved sends that have not leaked away, by bucket."""
    approvals: dict[int, FadingCounter] = field(default_factory=dict)
    """By window."""
    usual: float = 0.0
    """Approvals of unknown numbers in a usual day, where a worker has learnt that."""
    breaker: ConversionRecord = ConversionRecord()

    def capacity(self, rule: Bucket, now: int) -> float:
        """Return how many unapproved sends a bucket holds."""
        approved = self._approved(rule.window, now)
        if rule.max_growth is None:
            return rule.amount + rule.factor * approved
        span = rule.usual_window
        usual = DAY / span * self._approved(span, now) if span else self.usual
        return bounded_capacity(rule.amount, rule.factor, approved, usual * max(rule.window, DAY // 4) / DAY)

    def level(self, rule: Bucket, now: int) -> float:
        """Return the leaked level of a bucket; a bucket that shrank because approvals faded is full, not more."""
        if rule.name not in self.levels:
            return 0.0
        capacity = self.capacity(rule, now)
        leaked = capacity / rule.window * max(0, now - self.at)
        return max(0.0, min(self.levels[rule.name], capacity) - leaked)

    def roll_back(self, rule: Bucket, sends: int) -> None:
        """Take sends out of a bucket; it leaks afterwards."""
        if rule.name in self.levels:
            self.levels[rule.name] = max(0.0, self.levels[rule.name] - sends)

    def count_approval(self, window: int, now: int) -> None:
        """Count an approval in a window."""
        self.approvals[window] = self.approvals.get(window, FadingCounter()).added(now, window)

    def _approved(self, window: int, now: int) -> float:
        return self.approvals.get(window, FadingCounter()).value(now, window)


def bucket_wait(level: float, capacity: float, rule: Bucket) -> int:
    """Return the milliseconds until one more send fits, 0 when it does now."""
    excess = level + 1 - max(1.0, capacity)
    return max(1, math.ceil(excess * rule.window / capacity)) if excess > 0 else 0


@dataclass(slots=True)
class MovingWindow:
    """Exact: the times of the last events, newest first."""

    events: list[float] = field(default_factory=list)

    def wait(self, rule: Window, limit: int, now: float) -> int:
        """Return the milliseconds until one more fits, 0 when it does now."""
        if len(self.events) < limit or not limit:
            return 0
        free = self.events[limit - 1] + 1000 * rule.seconds - now
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

    def wait(self, rule: Window, limit: int, now: float) -> int:
        """Return the milliseconds until one more fits, 0 when it does now."""
        interval = 1000 * rule.seconds
        _, count, ttl, faded, faded_ttl = self._now(rule, now)
        if math.floor(faded * faded_ttl / interval) + count + 1 <= limit:
            return 0
        if count < limit:
            return max(1, math.floor(faded_ttl - (limit - count) * interval / faded) + 1)
        return max(1, math.floor(ttl + interval - limit * interval / count) + 1)

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


Item = TypeVar("Item")


class ExpiringItems(Generic[Item]):
    """Items by name, each kept until a time."""

    def __init__(self, make: Callable[[], Item]) -> None:
        self._make = make
        self._items: dict[Hashable, tuple[Item, int]] = {}

    def get(self, name: Hashable, now: int) -> Item:
        """Return the item, or a new one, which is not stored yet."""
        item, expires = self._items.get(name, (None, 0))
        return item if item is not None and now < expires else self._make()

    def put(self, name: Hashable, item: Item, expires: int) -> None:
        """Keep an item until a time."""
        self._items[name] = (item, expires)


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
        """Return it with one more event."""
        over = now - self.last >= rule.reset_after
        return Streak(1 if over else self.length + 1, now)


@dataclass(slots=True)
class Reputation:
    """When a number was approved last: from any device, from one of an application's, and from each."""

    approved: int | None = None
    anywhere: int | None = None
    applications: dict[str, int] = field(default_factory=dict)
    devices: dict[str, dict[str, int]] = field(default_factory=dict)
    """By application."""
    unapproved: int = 0
    """Messages of verifications that began since it was approved."""

    def approve(self, device: str, application: str, max_devices: int, now: int) -> None:
        """Note an approval; the latest devices of an application are kept."""
        self.approved, self.unapproved = now, 0
        if not device:
            return
        own = self.devices.setdefault(application, {})
        self.anywhere = self.applications[application] = own[device] = now
        while len(own) > max_devices:
            del own[min(own, key=own.__getitem__)]


@dataclass(slots=True)
class _WrongCodes:
    """Wrong codes for a number in an application."""

    runs: dict[bool, Streak] = field(default_factory=dict)
    """By whether the device is known."""
    row: int = 0
    ends: int = 0


@dataclass(slots=True)
class _CheckedCodes:
    """Codes that an application checked."""

    wrong: FadingCounter = field(default_factory=FadingCounter)
    right: FadingCounter = field(default_factory=FadingCounter)

    def wait(self, rule: Failures, now: int) -> int:
        """Return the milliseconds until the interval ends, when too many fail."""
        wrong, right = self.wrong.value(now, rule.window), self.right.value(now, rule.window)
        high = wrong >= rule.wrong and wrong > rule.share * (wrong + right)
        return rule.window - now % rule.window if high else 0


class _GuardState:
    """The guard's counters, each under the name of its key in Redis."""

    def __init__(self, usual: Mapping[str, float] | None) -> None:
        self.usual = usual
        self.reputation: ExpiringItems[Reputation] = ExpiringItems(Reputation)
        self.cooldown: ExpiringItems[dict[bool, Streak]] = ExpiringItems(dict)
        self.guesses: ExpiringItems[_WrongCodes] = ExpiringItems(_WrongCodes)
        self.targets: ExpiringItems[set[str]] = ExpiringItems(set)
        self.parts: ExpiringItems[PartState] = ExpiringItems(PartState)
        self.failing: ExpiringItems[_CheckedCodes] = ExpiringItems(_CheckedCodes)
        self.spent: dict[tuple[str, str], tuple[int, int]] = {}
        self._windows: dict[tuple[str, str, int], MovingWindow | SlidingWindow] = {}

    def window(self, rule: Window, name: str) -> MovingWindow | SlidingWindow:
        """Return a window of a number, address or application."""
        kind = MovingWindow if STRATEGY_OF[rule.scope] is Strategy.MOVING_WINDOW else SlidingWindow
        return self._windows.setdefault((rule.scope, name, rule.seconds), kind())

    def spending(
        self, ruleset: Ruleset, application: str, country: str, now: int
    ) -> Iterator[tuple[Ceiling, tuple[str, str], int, int]]:
        """Yield ceilings with counter, interval and amount; a clock set back a little stays in the stored interval."""
        named = [(ceiling, (application, ceiling.name)) for ceiling in ruleset.ceilings]
        named += [(ceiling, (f"{application}/{country}", ceiling.name)) for ceiling in ruleset.ceilings_of(country)]
        for ceiling, name in named:
            interval, amount = self.spent.get(name, (-1, 0))
            present = now // ceiling.interval
            if interval in {present, present + 1}:
                yield ceiling, name, interval, amount
            else:
                yield ceiling, name, present, 0


# The same as ``include_guard.lua`` and ``include_fraud.lua``. Times in milliseconds.


@dataclass(slots=True)
class _Evaluation:
    """The rules' judgement of one message, or of one typed code."""

    state: _GuardState
    ruleset: Ruleset
    application: str
    country: str
    send_attempt: SendAttempt
    kind: AttemptKind
    now: int
    refused_by: str = ""
    """The refusing rule with the longest wait, empty for none."""
    new: dict[str, bool] = field(default_factory=dict)
    approved: bool = field(init=False)
    known_device: bool = field(init=False)
    _wait: int = 0
    _has_devices: bool = field(init=False)
    _has_own_devices: bool = field(init=False)
    _parts: dict[str, PartState] = field(default_factory=dict)
    _breaker_states: dict[str, ConversionState] = field(default_factory=dict)
    _changed: set[str] = field(default_factory=set)
    _counted: list[tuple[Bucket, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        reputation, known = self.state.reputation.get(self.send_attempt.number, self.now), self.ruleset.known

        def recently(at: int | None) -> bool:
            return at is not None and self.now - at < known

        devices = reputation.devices.get(self.application, {})
        self.known_device = bool(self.send_attempt.device) and recently(devices.get(self.send_attempt.device))
        is_stranger = reputation.unapproved >= self.ruleset.known_messages[self.send_attempt.zone]
        self.approved = self.known_device or (recently(reputation.approved) and not is_stranger)
        self._has_devices = recently(reputation.anywhere)
        self._has_own_devices = recently(reputation.applications.get(self.application))
        if self._network:
            targets = self.state.targets.get(self.send_attempt.ip_prefix, self.now)
            self.new = {"number": self.send_attempt.number not in targets, "country": self.country not in targets}

    @property
    def counted(self) -> Counter[tuple[str, str]]:
        """The buckets that counted it, by part and name."""
        return Counter((rule.part, rule.name) for rule, _ in self._counted)

    def part(self, part: str) -> PartState:
        if part not in self._parts:
            key = self.part_key(part)
            self._parts[part] = self.state.parts.get((part, key), self.now)
            usual = self.state.usual
            self._parts[part].usual = _NO_BOUND if usual is None else usual.get(key, 0.0)
        return self._parts[part]

    def keep(self, part: str) -> None:
        self.state.parts.put((part, self.part_key(part)), self.part(part), self.now + self.ruleset.lifetimes[part])

    @property
    def _network(self) -> str:
        """The address that counts a message, if any: a passed human check counts at none."""
        starts = self.kind is AttemptKind.START
        return self.send_attempt.ip_prefix if starts and not self.send_attempt.checked else ""

    def part_key(self, part: str) -> str:
        """Return the key of a part; empty where it does not count."""
        return {
            "block": self.send_attempt.block,
            "country": f"{self.application}/{self.country}",
            "address": self._network,
            "network": self._network and self.send_attempt.prefix_48,
            "provider": self._network and self.send_attempt.prefix_32,
        }[part]

    def passes(self) -> bool:
        """Test all rules for a message, then count it in all or none; tell whether it passes."""
        self._test()
        if self.refused_by:
            for part in self._changed:  # a refused message stores only breakers that opened or closed
                self._settle_levels(part)
                self.keep(part)
            return False
        self._count()
        return True

    def _test(self) -> None:
        self.test_windows(self._scopes())
        rule = self.ruleset.cooldown
        if rule and self.kind is AttemptKind.START:
            run = self.state.cooldown.get(self.send_attempt.number, self.now).get(self.known_device, Streak())
            self._refuse(rule.rule, run.left(rule, self.now), records=rule.record_only)
        self.test_guesses()
        failures = self.ruleset.failures
        if failures and not self.known_device:
            wait = self.state.failing.get(self.application, self.now).wait(failures, self.now)
            self._refuse(failures.rule, wait, records=failures.record_only)
        for ceiling, _, _, spent in self.state.spending(self.ruleset, self.application, self.country, self.now):
            if spent + self.send_attempt.price > ceiling.amount:
                wait = ceiling.interval - self.now % ceiling.interval
                self._refuse(ceiling.rule, wait, records=ceiling.record_only)
        self._test_breakers()
        self._test_buckets()

    def test_windows(self, scopes: tuple[LimitScope, ...]) -> None:
        for rule, name in self._windows(scopes):
            has_devices = self._has_own_devices if rule.scope is LimitScope.FAILED_CHECKS else self._has_devices
            unknown = not self.known_device and has_devices
            limit = rule.for_unknown if unknown and rule.for_unknown is not None else rule.amount
            wait = self.state.window(rule, name).wait(rule, limit, self.now)
            if self.known_device and rule.for_known:
                wait = min(wait, self._own_window(rule).wait(rule, rule.for_known, self.now))
            self._refuse(rule.rule, wait, records=rule.record_only)

    def test_guesses(self) -> None:
        guesses = self.state.guesses.get((self.application, self.send_attempt.number), self.now)
        if rule := self.ruleset.guess_wait:
            run = guesses.runs.get(self.known_device, Streak())
            self._refuse(rule.rule, run.left(rule, self.now), records=rule.record_only)
        if lock := self.ruleset.lock:
            self._refuse(lock.rule, guesses.ends - self.now, records=lock.record_only)

    def _test_breakers(self) -> None:
        for rule in self.ruleset.breakers:
            if not self._applies(rule):
                continue
            part = self.part(rule.part)
            before = part.breaker
            part.breaker, state = before.at_time(self.now).judge(self.now, rule)
            self._breaker_states[rule.part] = state
            if part.breaker.until != before.until:
                self._changed.add(rule.part)
            refuses = state is ConversionState.OPEN and not rule.passes_while_open
            if refuses and not (rule.asks and self.send_attempt.checked):
                self._refuse(rule.rule, part.breaker.until - self.now, records=rule.record_only)

    def _test_buckets(self) -> None:
        for rule in self.ruleset.buckets:
            stands = rule.breaker is None or self._breaker_states.get(rule.breaker) == rule.breaker_state
            checked = self.send_attempt.checked
            matches = not (rule.asks and checked) and (rule.checked != "yes" or checked)
            late = rule.starts and self.kind is not AttemptKind.START
            new = rule.new is None or self.new.get(rule.new, False)
            if stands and matches and new and not late and self._applies(rule):
                part = self.part(rule.part)
                level = part.level(rule, self.now)
                wait = bucket_wait(level, part.capacity(rule, self.now), rule)
                self._refuse(rule.rule, wait, records=rule.record_only)
                self._counted.append((rule, level))

    def _applies(self, rule: Bucket | ConversionBreaker) -> bool:
        """Tell whether a rule against fraud counts this message."""
        known = self.approved if rule.exempts == "approved" else self.known_device
        in_zone = rule.zone is None or rule.zone == self.send_attempt.zone
        return in_zone and not known and not self.send_attempt.allowlisted and bool(self.part_key(rule.part))

    def _refuse(self, rule: str, wait: int, *, records: bool) -> None:
        if wait > self._wait and not records:
            self.refused_by, self._wait = rule, wait

    def _count(self) -> None:
        """Count the message in everything that was tested."""
        self.spend_windows(tuple(scope for scope in self._scopes() if scope is not LimitScope.FAILED_CHECKS))
        number, rule = self.send_attempt.number, self.ruleset.cooldown
        if rule and self.kind is not AttemptKind.FALLBACK:
            runs = self.state.cooldown.get(number, self.now)
            runs[self.known_device] = runs.get(self.known_device, Streak()).longer(rule, self.now)
            self.state.cooldown.put(number, runs, self.now + rule.reset_after)
        spending = self.state.spending(self.ruleset, self.application, self.country, self.now)
        self.state.spent |= {name: (interval, spent + self.send_attempt.price) for _, name, interval, spent in spending}
        parts = {rule.part for rule, _ in self._counted}
        for part in parts:
            self._settle_levels(part)
        for bucket, level in self._counted:
            self.part(bucket.part).levels[bucket.name] = level + 1
        for part in parts | self._breaker_states.keys():
            own = self.part(part)
            if part in self._breaker_states and self.kind is AttemptKind.START:
                own.breaker = own.breaker.sent()
            self.keep(part)
        if any(self.new.values()):
            targets = self.state.targets.get(self.send_attempt.ip_prefix, self.now)
            if not targets:
                expires = self.now + self.ruleset.lifetimes["asked"]
                self.state.targets.put(self.send_attempt.ip_prefix, targets, expires)
            targets |= {number, self.country}

    def spend_windows(self, scopes: tuple[LimitScope, ...]) -> None:
        for rule, name in self._windows(scopes):
            self.state.window(rule, name).spend(rule, self.now)
            if self.known_device and rule.for_known:
                self._own_window(rule).spend(rule, self.now)

    def _own_window(self, rule: Window) -> MovingWindow | SlidingWindow:
        """Return the use of a number's window by the application's known devices."""
        return self.state.window(rule, f"{self.application}/{self.send_attempt.number}")

    def _settle_levels(self, part: str) -> None:
        """Leak all buckets of a part before it is stored."""
        own = self.part(part)
        for rule in self.ruleset.buckets:
            if rule.part == part and rule.name in own.levels and rule.zone in {None, str(self.send_attempt.zone)}:
                own.levels[rule.name] = own.level(rule, self.now)
        own.at = self.now

    def _scopes(self) -> tuple[LimitScope, ...]:
        address = (LimitScope.IP,) if self._network and not self.known_device else ()
        own = (LimitScope.APPLICATION,) if self.kind is not AttemptKind.FALLBACK else ()
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
class _Verification:
    """A verification as the guard remembers it."""

    application: str
    country: str
    send_attempt: SendAttempt
    created: int
    approved: bool
    """Whether its number was known when it started."""
    known_device: bool
    new: dict[str, bool]
    """Whether number and country were new to its address."""
    sends: Counter[tuple[str, str]]
    """How often its messages were counted, by part and bucket."""


@dataclass(slots=True)
class ReplayTotals:
    """The outcomes of the attempts."""

    messages: int = 0
    cost: int = 0
    """The maximum cost of the messages, in millionths."""
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
    """Recorded attempts, judged again under other rules, in memory; ``rulesets`` by application.

    The destinations and home of ``applications``, by name, replace the recorded ones. A start that was refused and
    passes now counts as never approved, since its code was never typed in. ``usual``: approvals of unknown numbers in a
    usual day, by application and country (``shop/PK``); with ``None`` buckets grow without bound. All attempts are
    tried, since rules count across applications; the totals are of the ``counted`` applications, or of all.
    """

    def __init__(
        self,
        rulesets: Mapping[str, Ruleset],
        applications: Mapping[str, Application] | None = None,
        usual: Mapping[str, float] | None = MappingProxyType({}),
        counted: Collection[str] = (),
    ) -> None:
        self._state = _GuardState(usual)
        self._rulesets = rulesets
        self._applications = applications or {}
        self._verifications: dict[str, tuple[str, str, _Verification | None]] = {}
        """Application, country, and the verification if it would have started."""
        self._counted = frozenset(counted or rulesets)
        self.before = ReplayTotals()
        self.after = ReplayTotals()
        self.unknown = 0
        """Attempts of verifications that started before the log, or of applications that the rules do not name."""
        self.never_started = 0
        """Further attempts of verifications that would not have started."""
        self.refused_people: Counter[tuple[str, str]] = Counter()
        """Approved verifications that would not have started, by application and country."""

    def judge(self, attempt: Attempt) -> str | None:
        """Try the next attempt; return the rule that refuses it now, empty for none, ``None`` when it is not tried."""
        starts = attempt.kind is AttemptKind.START
        if not (attempt.application in self._rulesets if starts else attempt.verification in self._verifications):
            self.unknown += 1
            return None
        if starts:
            self._verifications[attempt.verification], rule = self._start(attempt)
        application, country, verification = self._verifications[attempt.verification]
        if not starts:
            rule = self._continue(attempt, verification) if verification else None
        if application not in self._counted:
            return rule
        self.before.count(attempt, attempt.refused)
        if rule is None:
            self.never_started += 1
            self.refused_people[application, country] += attempt.kind is AttemptKind.APPROVED
        else:
            self.after.count(attempt, rule)
        return rule

    def _start(self, attempt: Attempt) -> tuple[tuple[str, str, _Verification | None], str | None]:
        name, country, send_attempt = attempt.application, attempt.country, attempt.send_attempt
        if application := self._applications.get(name):
            if not application.sends_to(country):
                return (name, country, None), "destination.country"
            send_attempt = replace(send_attempt, zone=application.zone_of(country))
        start = _Evaluation(
            self._state, self._rulesets[name], name, country, send_attempt, AttemptKind.START, attempt.at
        )
        if not start.passes():
            return (name, country, None), start.refused_by
        verification = _Verification(
            name, country, send_attempt, attempt.at, start.approved, start.known_device, start.new, start.counted
        )
        self._note_message(verification, attempt.at)
        return (name, country, verification), ""

    def _continue(self, attempt: Attempt, verification: _Verification) -> str:
        is_message = attempt.kind in _MESSAGES
        send_attempt = verification.send_attempt
        if is_message:
            send_attempt = SendAttempt(
                send_attempt.number, send_attempt.block, device=send_attempt.device, zone=send_attempt.zone,
                allowlisted=send_attempt.allowlisted, price=attempt.price, checked=send_attempt.checked,
            )  # fmt: skip
        evaluation = _Evaluation(
            self._state,
            self._rulesets[verification.application],
            verification.application,
            verification.country,
            send_attempt,
            attempt.kind,
            attempt.at,
        )
        if not is_message:
            self._check(evaluation, verification, right=attempt.kind is AttemptKind.APPROVED)
        elif evaluation.passes():
            verification.sends += evaluation.counted
            self._note_message(verification, attempt.at)
        return evaluation.refused_by

    def _note_message(self, verification: _Verification, now: int) -> None:
        reputation = self._state.reputation.get(verification.send_attempt.number, now)
        reputation.unapproved += verification.created > (reputation.approved or 0)

    def _check(self, evaluation: _Evaluation, verification: _Verification, *, right: bool) -> None:
        """Judge a typed code, and count it if nothing refuses it."""
        evaluation.known_device = evaluation.known_device or verification.known_device
        evaluation.test_windows((LimitScope.FAILED_CHECKS,))
        evaluation.test_guesses()
        if evaluation.refused_by:
            return
        application, now, ruleset = evaluation.application, evaluation.now, evaluation.ruleset
        if rule := ruleset.failures:
            failing = self._state.failing.get(application, now)
            name = "right" if right else "wrong"
            setattr(failing, name, getattr(failing, name).added(now, rule.window))
            self._state.failing.put(application, failing, now + ruleset.lifetimes["failures"])
        if right:
            self._approve(evaluation, verification)
            return
        key = (application, evaluation.send_attempt.number)
        guesses = self._state.guesses.get(key, now)
        if ruleset.guess_wait:
            run = guesses.runs.get(evaluation.known_device, Streak())
            guesses.runs[evaluation.known_device] = run.longer(ruleset.guess_wait, now)
        guesses.row += 1
        if ruleset.lock and guesses.row >= ruleset.lock.after:
            guesses.ends, guesses.row = now + ruleset.lock.length, 0
        self._state.guesses.put(key, guesses, now + ruleset.lifetimes["guesses"])
        evaluation.spend_windows((LimitScope.FAILED_CHECKS,))

    def _approve(self, evaluation: _Evaluation, verification: _Verification) -> None:
        ruleset, now, first, state = evaluation.ruleset, evaluation.now, verification.send_attempt, self._state
        guesses = state.guesses.get((evaluation.application, first.number), now)
        guesses.runs.pop(evaluation.known_device, None)
        guesses.row = 0
        state.cooldown.get(first.number, now).pop(evaluation.known_device, None)
        reputation = state.reputation.get(first.number, now)
        reputation.approve(first.device, evaluation.application, ruleset.devices, now)
        state.reputation.put(first.number, reputation, now + ruleset.known)
        if first.allowlisted:
            return
        back = _Evaluation(state, ruleset, evaluation.application, evaluation.country, first, AttemptKind.START, now)
        # nothing was counted of a known number, which may become unknown by further messages
        is_exempt = verification.approved and all(part in _OF_ITS_ADDRESS for part, _ in verification.sends)
        for part in ("block", "country", "address", "network", "provider"):
            spared = verification.known_device if part in _OF_ITS_ADDRESS else is_exempt
            if back.part_key(part) and not spared:
                counts = part in _OF_ITS_ADDRESS or not evaluation.approved
                _roll_back_part(back, verification, part, counts=counts)
        names = {"number": first.number, "country": verification.country}
        targets = state.targets.get(first.ip_prefix, now)
        targets -= {names[target] for target, new in verification.new.items() if new}


def _roll_back_part(back: _Evaluation, verification: _Verification, part: str, *, counts: bool) -> None:
    """Take the sends of an approved verification back; one approval of a known number ``counts`` once."""
    own = back.part(part)
    rules = {rule.name: rule for rule in back.ruleset.buckets if rule.part == part}
    for rule in rules.values():
        own.roll_back(rule, verification.sends[part, rule.name])
    for window in {window for rule in rules.values() for window in rule.approval_windows} if counts else ():
        own.count_approval(window, back.now)
    judged = any(rule.part == part for rule in back.ruleset.breakers) and not verification.approved
    if judged:
        own.breaker = own.breaker.at_time(back.now).approved(verification.created)
    if rules or judged:
        own.at = own.at or back.now
        back.keep(part)
