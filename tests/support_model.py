"""A plain model of a verification's life, written from the design and not from the scripts.

Times are milliseconds. It has no processes, no keys and no expiry: it remembers everything that ever happened, and
works each answer out from that.
"""

from collections import defaultdict
from dataclasses import dataclass, field

GRACE = 600_000
KEPT = 24 * 3600 * 1000

Window = tuple[int, int]
"""Amount, seconds."""


@dataclass(frozen=True)
class Policy:
    """What a purpose allows."""

    ttl: int
    max_checks: int
    max_sends: int
    resend_delays: tuple[int, ...]
    new_code: bool = False
    transaction: bool = False


@dataclass(frozen=True)
class Rules:
    """The limits of an installation."""

    number: tuple[Window, ...]
    failed_checks: tuple[Window, ...]
    application: tuple[Window, ...]


@dataclass
class Refused(Exception):  # noqa: N818 - an answer like any other
    """An error: its code, the wait in milliseconds if it has one, whether the application's quota refused.

    ``quota`` is ``None`` where two waits are as good as equal.
    """

    code: str
    wait: int | None = None
    quota: bool | None = False


@dataclass(frozen=True)
class Shown:
    """A verification as a caller sees it."""

    status: str
    created: int
    expires: int
    checks_left: int
    sends_left: int
    resend_after: int | None
    messages: tuple[str, ...]
    """What became of each message."""


@dataclass(frozen=True)
class Checked:
    status: str
    valid: bool
    checks_left: int
    reason: str | None


@dataclass
class Message:
    """A message of a verification: which code it carries, since when it waits, and what became of it."""

    generation: int
    queued: int
    status: str = "queued"


@dataclass
class Verification:
    id: str
    application: str
    number: str
    purpose: str
    policy: Policy
    transaction: str | None
    created: int
    status: str = "pending"
    checks: int = 0
    sends: int = 1
    last_send: int = 0
    generation: int = 0
    fenced: int | None = None
    """The last fence that was put after the start."""
    messages: list[Message] = field(default_factory=list)

    @property
    def queue(self) -> tuple[str, bool]:
        """Return what messages share that wait for one another; country and channel are the same for all here."""
        return self.application, self.policy.transaction

    @property
    def ends(self) -> int:
        """Return when the code's own life ends; the record is there for the grace after it."""
        return self.created + self.policy.ttl * 1000

    def expires_at(self, now: int) -> int:
        return self.ends if self.fenced is None else min(self.ends, self.fenced, now)

    @property
    def next_send(self) -> int:
        delays = self.policy.resend_delays
        return self.last_send + 1000 * delays[min(self.sends, len(delays)) - 1]

    def status_at(self, now: int) -> str:
        return "expired" if self.status == "pending" and now >= self.expires_at(now) else self.status

    def shown(self, now: int) -> Shown:
        status = self.status_at(now)
        pending = status == "pending"
        sends_left = self.policy.max_sends - self.sends if pending else 0
        return Shown(
            status=status,
            created=self.created,
            expires=self.expires_at(now),
            checks_left=self.policy.max_checks - self.checks if pending else 0,
            sends_left=sends_left,
            resend_after=self.next_send if sends_left else None,
            messages=tuple(message.status for message in self.messages),
        )


@dataclass
class Counter:
    """A sliding window counter: the last interval's count fades out while this one's grows."""

    start: int = 0
    count: int = 0
    faded: int = 0

    def at(self, now: int, interval: int) -> "Counter":
        if now < self.start + interval:
            return self
        if now < self.start + 2 * interval:
            return Counter(self.start + interval, 0, self.count)
        return Counter(now, 0, 0)

    def used(self, now: int, interval: int) -> int:
        seen = self.at(now, interval)
        return seen.faded * (seen.start + interval - now) // interval + seen.count


@dataclass
class Memory:
    """What an idempotency key stands for."""

    request: tuple[object, ...]
    until: int
    verification: Verification
    first: Checked | None = None


@dataclass
class Model:
    """Everything that happened so far."""

    rules: Rules
    policies: dict[str, Policy]
    now: int
    buckets: dict[str, str]
    """By number. Keys and queues are of a bucket."""
    verifications: dict[str, Verification] = field(default_factory=dict)
    sends: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    wrong: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    counters: dict[tuple[str, int], Counter] = field(default_factory=lambda: defaultdict(Counter))
    memories: dict[tuple[str, str, str], Memory] = field(default_factory=dict)
    events: list[tuple[str, str]] = field(default_factory=list)
    waiting: list[tuple[str, int]] = field(default_factory=list)
    """Messages that no worker has seen: the verification's identifier, and the message's number from 1."""
    fenced: int = 0
    """The fence that stands: when it was put, or a moment later, so that each differs from those before it."""

    # --- what an operator does -------------------------------------------------------------------------------

    def fence(self) -> None:
        """End the life of all that was started so far."""
        self.fenced = max(self.now, self.fenced + 1)
        for one in self.verifications.values():
            one.fenced = self.fenced

    # --- what a caller asks ----------------------------------------------------------------------------------

    def start(
        self, identifier: str, application: str, number: str, purpose: str, transaction: str | None, key: str | None
    ) -> Verification:
        """Return the verification that is started, or was by the first request with the same key."""
        policy = self.policies[purpose]
        if policy.transaction != (transaction is not None):
            raise Refused("invalid-transaction")
        request = ("start", number, purpose, transaction)
        memory = self._recall(application, self.buckets[number], key, request)
        if memory:
            return memory.verification
        made = Verification(identifier, application, number, purpose, policy, transaction, self.now, last_send=self.now)
        self._require_open_door(made)
        self._count_send(application, number)
        self.verifications[identifier] = made
        self._remember(application, key, request, made, self.now + KEPT)
        self._queue("verification.started", made)
        return made

    def resend(self, identifier: str, application: str, key: str | None) -> Shown:
        found = self._find(identifier, application)
        request = ("resend", identifier)
        if self._recall(application, self.buckets[found.number], key, request):
            return found.shown(self.now)
        self._require_pending(found)
        if found.sends >= found.policy.max_sends:
            raise Refused("no-sends-left")
        if self.now < found.next_send:
            raise Refused("resend-too-soon", found.next_send - self.now)
        self._require_open_door(found)
        self._count_send(application, found.number)
        found.sends += 1
        found.last_send = self.now
        found.generation += found.policy.new_code
        self._remember(application, key, request, found, found.ends + GRACE)
        self._queue("verification.resent", found)
        return found.shown(self.now)

    def check(
        self,
        identifier: str,
        application: str,
        code: str,
        transaction: str | None,
        key: str | None,
        number: str | None = None,
    ) -> Checked:
        """Answer a check; ``code`` is ``right``, ``old`` (the last generation's), ``wrong``, ``short`` or ``long``."""
        if code == "short":
            raise Refused("invalid-code")
        found = self._find(identifier, application)
        if number not in {None, found.number}:
            raise Refused("number-mismatch")
        request = ("check", identifier, code, transaction, number)
        memory = self._recall(application, self.buckets[found.number], key, request)
        if memory and memory.first:
            first = memory.first
            return Checked(found.status_at(self.now), first.valid, first.checks_left, first.reason)
        was_final = found.status != "pending"
        answer = self._judge(found, code, transaction)
        if not was_final:
            self._remember(application, key, request, found, found.ends + GRACE, answer)
        return answer

    def cancel(self, identifier: str, application: str, key: str | None) -> Shown:
        found = self._find(identifier, application)
        request = ("cancel", identifier)
        if not self._recall(application, self.buckets[found.number], key, request):
            if found.status != "canceled":
                self._require_pending(found)
                self._finish(found, "canceled")
            self._remember(application, key, request, found, found.ends + GRACE)
        return found.shown(self.now)

    def read(self, identifier: str, application: str) -> Shown:
        return self._find(identifier, application).shown(self.now)

    # --- what a worker does ----------------------------------------------------------------------------------

    def deliver(self, identifier: str, number: int) -> None:
        """Bring a message to an end, through a gateway that takes it."""
        self.waiting.remove((identifier, number))
        found = self.verifications[identifier]
        if self.is_gone(found):
            self.events.append(("message.given_up", identifier))
            return
        message, status = found.messages[number - 1], found.status_at(self.now)
        wanted = status == "pending" and message.generation == found.generation
        message.status = "sent" if wanted else "expired" if status == "expired" else "failed"
        self.events.append((f"delivery.{message.status}", identifier))
        if message.status == "expired":
            self.events.append(("message.given_up", identifier))

    # --- how it is decided -----------------------------------------------------------------------------------

    def is_gone(self, verification: Verification) -> bool:
        return self.now > verification.ends + GRACE

    def _find(self, identifier: str, application: str) -> Verification:
        found = self.verifications[identifier]
        if found.application != application or self.is_gone(found):
            raise Refused("not-found")
        return found

    def _require_pending(self, found: Verification) -> None:
        if found.status_at(self.now) != "pending":
            raise Refused("conflict")

    def _require_open_door(self, found: Verification) -> None:
        """Refuse what would wait behind a message that has waited for most of what its own code still lives."""
        for identifier, number in self.waiting:
            other = self.verifications[identifier]
            waited = self.now - other.messages[number - 1].queued
            is_ahead = other.queue == found.queue and self.buckets[other.number] == self.buckets[found.number]
            if is_ahead and waited >= 0.75 * (found.ends - self.now):
                raise Refused("backlog-full")

    def _judge(self, found: Verification, code: str, transaction: str | None) -> Checked:
        status = found.status_at(self.now)
        if status == "expired" and found.status == "pending":
            self._finish(found, "expired")
        if status != "pending":
            return Checked(status, False, 0, "already_approved" if status == "approved" else status)
        if code == "long":
            raise Refused("invalid-code")
        if found.policy.transaction != (transaction is not None):
            raise Refused("invalid-transaction")
        if transaction != found.transaction:
            self._finish(found, "failed")
            return Checked("failed", False, 0, "transaction_changed")
        return self._guess(found, code)

    def _guess(self, found: Verification, code: str) -> Checked:
        wrong = self.wrong[found.application, found.number]
        left = found.policy.max_checks - found.checks
        if self._wait(wrong, self.rules.failed_checks):
            self.events.append(("check.refused", found.id))
            return Checked("pending", False, left, "number_locked")
        found.checks += 1
        if self._is_right(found, code):
            self._finish(found, "approved")
            return Checked("approved", True, left - 1, None)
        wrong.append(self.now)
        if left > 1:
            self.events.append(("check.failed", found.id))
        else:
            self._finish(found, "max_attempts_reached")
        return Checked(found.status, False, left - 1, "wrong_code")

    def _is_right(self, found: Verification, code: str) -> bool:
        return code == "right" or (code == "old" and found.generation == 0)

    def _finish(self, found: Verification, status: str) -> None:
        found.status = status
        self.events.append((f"verification.{status}", found.id))

    def _queue(self, event: str, found: Verification) -> None:
        found.messages.append(Message(found.generation, self.now))
        self.waiting.append((found.id, len(found.messages)))
        self.events.append((event, found.id))

    # --- idempotency keys ------------------------------------------------------------------------------------

    def _recall(self, application: str, bucket: str, key: str | None, request: tuple[object, ...]) -> Memory | None:
        memory = self.memories.get((application, bucket, key)) if key else None
        if memory is None or self.now > memory.until:
            return None
        if memory.request != request:
            raise Refused("idempotency-mismatch")
        return memory

    def _remember(
        self,
        application: str,
        key: str | None,
        request: tuple[object, ...],
        verification: Verification,
        until: int,
        first: Checked | None = None,
    ) -> None:
        if key and until > self.now:
            self.memories[application, self.buckets[verification.number], key] = Memory(
                request, until, verification, first
            )

    # --- limits ----------------------------------------------------------------------------------------------

    def _count_send(self, application: str, number: str) -> None:
        """Count a message everywhere, or refuse it and count it nowhere."""
        locked = self._wait(self.wrong[application, number], self.rules.failed_checks)
        if locked:
            raise Refused("rate-limited", locked)
        of_number = max(self._window_wait(self.sends[number], *one) for one in self.rules.number)
        quotas = (self._quota_wait(application, *one) for one in self.rules.application)
        of_application = max(quotas, default=0)
        if of_number or of_application:
            tied = abs(of_number - of_application) <= 2
            quota = None if tied else of_application > of_number
            raise Refused("rate-limited", max(of_number, of_application), quota)
        self.sends[number].append(self.now)
        for _, seconds in self.rules.application:
            counter = self.counters[application, seconds].at(self.now, seconds * 1000)
            counter = Counter(counter.start, counter.count + 1, counter.faded)
            self.counters[application, seconds] = counter

    def _wait(self, times: list[int], windows: tuple[Window, ...]) -> int:
        """Return how long until every window has room for one more, 0 when each has."""
        return max((self._window_wait(times, *one) for one in windows), default=0)

    def _window_wait(self, times: list[int], amount: int, seconds: int) -> int:
        inside = [time for time in times if time >= self.now - 1000 * seconds]
        return inside[-amount] + 1000 * seconds - self.now if len(inside) >= amount else 0

    def quota_left(self, application: str) -> int | None:
        """Return what is left of an application's narrowest window."""
        if not self.rules.application:
            return None
        amount, seconds = min(self.rules.application, key=lambda one: one[1])
        return max(0, amount - self.counters[application, seconds].used(self.now, seconds * 1000))

    def _quota_wait(self, application: str, amount: int, seconds: int) -> int:
        """Return the first moment at which the counter has room, found by trying."""
        counter, interval = self.counters[application, seconds], seconds * 1000
        if counter.used(self.now, interval) < amount:
            return 0
        low, high = 0, 2 * interval + 1
        while low + 1 < high:
            middle = (low + high) // 2
            full = counter.used(self.now + middle, interval) >= amount
            low, high = (middle, high) if full else (low, middle)
        return high
