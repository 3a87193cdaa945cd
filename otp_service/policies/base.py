"""The interface of a policy, which allows or denies each message before it is sent."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from otp_service.domain.verification import Channel
from otp_service.gateways.base import CountryCode
from otp_service.plugins import PluginKinds


class VerdictKind(StrEnum):
    """The kinds of verdict on a message."""

    ALLOW = "allow"
    DENY = "deny"
    """The message is not sent by any channel."""
    ANOTHER_CHANNEL = "another_channel"
    """The message may go only by the channels that the verdict names."""
    UNKNOWN = "unknown"
    """No answer: the policy failed or timed out."""


_ALL_CHANNELS = frozenset(map(str, Channel))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a policy: one of `ALLOW`, `DENY`, `only_by` and `not_by`."""

    kind: VerdictKind
    channels: frozenset[str] = _ALL_CHANNELS
    """Channels by which the message may go."""
    reason: str = ""
    """Why the kind is *unknown*; empty for every other kind."""


ALLOW = Verdict(VerdictKind.ALLOW)
DENY = Verdict(VerdictKind.DENY)


def only_by(*channels: str) -> Verdict:
    """Return the verdict that a message may go by these channels only."""
    return Verdict(VerdictKind.ANOTHER_CHANNEL, frozenset(channels))


def not_by(*channels: str) -> Verdict:
    """Return the verdict that a message may go by any channel except these."""
    return Verdict(VerdictKind.ANOTHER_CHANNEL, _ALL_CHANNELS - frozenset(channels))


class PolicyError(Exception):
    """The policy has no answer. The text says why, in a word or two. It is logged and never contains a number."""


class PolicyMode(StrEnum):
    """How a verdict is applied."""

    ENFORCE = "enforce"
    RECORD_ONLY = "record_only"
    """Verdicts are counted and logged, and change nothing."""
    OFF = "off"
    """The policy does not judge."""


class UnknownAction(StrEnum):
    """The verdict when a policy has no answer."""

    ALLOW = "allow"
    DENY = "deny"


class PolicySettings(BaseModel):
    """Settings of every policy; each kind adds its own. An empty list stands for all."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, serialize_by_alias=True)

    mode: PolicyMode = PolicyMode.ENFORCE
    unknown: UnknownAction
    """The verdict when it fails or times out: ``allow`` or ``deny``."""
    timeout: float = Field(default=1.0, gt=0, le=5)
    """Seconds that a message waits for the verdict."""
    purposes: tuple[str, ...] = ()
    """The policy judges messages of these purposes, applications and channels only."""
    applications: tuple[str, ...] = ()
    channels: tuple[Channel, ...] = ()
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which the policy handles numbers, for ``residency``."""


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """A message about to be sent. The ``repr`` does not show the number."""

    number: str = field(repr=False)
    """E.164."""
    country: str
    """ISO 3166-1, of the number."""
    application: str
    purpose: str
    channel: str
    verification_id: str


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """The name and environment of a policy."""

    name: str
    """Name in the configuration; policies of the same kind have different names."""
    production: bool


class Policy(Protocol):
    """A site's own rule. The name of its entry point is its ``kind``."""

    kind: ClassVar[str]
    Settings: ClassVar[type[PolicySettings]]

    def __init__(self, settings: Any, context: PolicyContext) -> None:  # noqa: ANN401 - its own Settings
        """Prepare to judge; opens no connection. Every process makes one, only workers use it."""

    def judge(self, request: PolicyRequest) -> Verdict:
        """Return the verdict; called by many threads. Any exception, `PolicyError` or not, means *unknown*."""


# Not a pool of ``concurrent.futures``: at exit the interpreter would wait for its threads, for ever if a thread hangs.

Result = TypeVar("Result")


class TimeLimitedExecutor(Generic[Result]):
    """A bounded pool of threads, which are started when needed and keep their connections."""

    def __init__(self, name: str, max_threads: int) -> None:
        """Prepare for at most ``max_threads`` threads; starts none yet."""
        self._name = name
        self._max_threads = max_threads
        self._threads = 0
        self._idle = 0
        self._waiting: deque[tuple[Future[Result], Callable[[], Result]]] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def run(self, work: Callable[[], Result], seconds: float) -> Result:
        """Return or raise the outcome of ``work``; raise `TimeoutError` when it takes longer.

        Work that no thread has begun by then is dropped. Raises `RuntimeError` when a thread cannot be started.
        """
        outcome: Future[Result] = Future()
        entry = (outcome, work)
        try:
            with self._changed:
                self._waiting.append(entry)
                if len(self._waiting) > self._idle and self._threads < self._max_threads:
                    threading.Thread(target=self._run, name=self._name, daemon=True).start()
                    self._threads += 1
                self._changed.notify()
            return outcome.result(seconds)
        finally:
            with self._changed:
                if entry in self._waiting:  # while all threads hang, no thread removes it
                    self._waiting.remove(entry)

    def shutdown(self) -> None:
        """Let the threads end after their current work; waiting work is not begun."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        while entry := self._next():
            outcome, work = entry
            try:
                outcome.set_result(work())
            except BaseException as raised:  # noqa: BLE001 - the caller gets it, and this thread goes on
                outcome.set_exception(raised)

    def _next(self) -> tuple[Future[Result], Callable[[], Result]] | None:
        """Wait for the next work and return it; ``None`` after shutdown."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._idle -= 1
            return None if self._closed else self._waiting.popleft()


_MAX_PASSED = 10_000
"""Maximum of remembered messages that passed; more than a worker handles at a time."""

MessageKey = tuple[str, int, str]
"""Verification, number of the message in it, and channel."""


class PolicyRunner:
    """Applies the time limit and the conditions of the settings to a policy."""

    def __init__(self, name: str, policy: Policy, settings: PolicySettings, threads: int) -> None:
        self.name = name
        self._policy = policy
        self._settings = settings
        self._executor: TimeLimitedExecutor[Verdict] = TimeLimitedExecutor(f"policy {name}", threads)

    @property
    def is_enforced(self) -> bool:
        """Whether its verdicts are applied; otherwise they are only counted."""
        return self._settings.mode is PolicyMode.ENFORCE

    @property
    def denies_unknown(self) -> bool:
        """Whether a message is refused when the verdict is *unknown*."""
        return self._settings.unknown is UnknownAction.DENY

    def applies_to(self, application: str, purpose: str, channel: str) -> bool:
        """Whether the policy judges messages of an application, purpose and channel."""
        settings = self._settings
        return settings.mode is not PolicyMode.OFF and all(
            not listed or name in listed
            for name, listed in (
                (application, settings.applications),
                (purpose, settings.purposes),
                (channel, settings.channels),
            )
        )

    def judge(self, request: PolicyRequest) -> Verdict:
        """Return the verdict; *unknown*, with a reason, if the policy fails or exceeds its time-out. Raises nothing."""
        try:
            return self._executor.run(lambda: self._judge(request), self._settings.timeout)
        except TimeoutError:
            return _unknown_verdict("timeout")
        except RuntimeError:  # the host has no thread left
            return _unknown_verdict("no thread")

    def close(self) -> None:
        """End the threads; no request may follow."""
        self._executor.shutdown()

    def _judge(self, request: PolicyRequest) -> Verdict:
        try:
            return _checked_verdict(self._policy.judge(request))
        except PolicyError as failure:
            return _unknown_verdict(failure.args[0] if failure.args and isinstance(failure.args[0], str) else "")
        except BaseException as defect:  # noqa: BLE001 - a site's policy must not end the worker
            return _unknown_verdict(f"defect {type(defect).__name__}")  # its text may contain the number


def _checked_verdict(verdict: object) -> Verdict:
    """Return a verdict with members of the right types; *unknown* if a policy returned anything else."""
    if not isinstance(verdict, Verdict):
        return _unknown_verdict("no verdict")
    try:
        return Verdict(VerdictKind(verdict.kind), frozenset(map(str, verdict.channels)), str(verdict.reason))
    except (TypeError, ValueError):
        return _unknown_verdict("no verdict")


def _unknown_verdict(reason: str) -> Verdict:
    return Verdict(VerdictKind.UNKNOWN, reason=reason)


class Policies:
    """All policies of an installation in their order, and the messages that recently passed them.

    A message waits for its policies in a thread of the worker. At most half of the threads may wait: while a policy
    hangs, messages that it does not judge go on.
    """

    def __init__(self, runners: Iterable[PolicyRunner], threads: int) -> None:
        """``threads``: the worker's."""
        self._runners = tuple(runners)
        self._places = threading.BoundedSemaphore(max(1, threads // 2))
        self._passed: dict[MessageKey, None] = {}
        self._lock = threading.Lock()

    def applicable(self, application: str, purpose: str, channel: str) -> tuple[PolicyRunner, ...]:
        """Return the policies that judge messages of an application, purpose and channel."""
        return tuple(runner for runner in self._runners if runner.applies_to(application, purpose, channel))

    def enter(self) -> bool:
        """Take a place for a message that waits for policies; return whether a place was free."""
        return self._places.acquire(blocking=False)

    def leave(self) -> None:
        """Give back the place."""
        self._places.release()

    def close(self) -> None:
        """End all threads; no request may follow."""
        for runner in self._runners:
            runner.close()

    def remember(self, message: MessageKey) -> None:
        """Remember that a message passed: it is not judged again while it waits for a gateway."""
        with self._lock:
            self._passed[message] = None
            if len(self._passed) > _MAX_PASSED:
                del self._passed[next(iter(self._passed))]

    def has_passed(self, message: MessageKey) -> bool:
        """Whether a message passed recently."""
        return message in self._passed


POLICY_ENTRY_POINTS = "otp_service.policies"
POLICY_KINDS: Final[PluginKinds[Policy]] = PluginKinds(POLICY_ENTRY_POINTS, "policy", ("kind", "Settings", "judge"))
