"""The interface of a policy: asked before each message whether it may go."""

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
from otp_service.gateways.plugins import PluginKinds


class Ruling(StrEnum):
    """What a policy says of a message."""

    ALLOW = "allow"
    DENY = "deny"
    """It is not sent, by no channel."""
    ANOTHER_CHANNEL = "another_channel"
    """Not by every channel: it may go by those that the verdict names."""
    UNKNOWN = "unknown"
    """Nothing: the policy failed, or was not ready in time."""


_EVERY = frozenset(map(str, Channel))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a policy: one of `ALLOW`, `DENY`, `only_by` and `not_by`."""

    ruling: Ruling
    channels: frozenset[str] = _EVERY
    """Those by which the message may go."""
    reason: str = ""
    """Why nothing is known; empty when something is."""


ALLOW = Verdict(Ruling.ALLOW)
DENY = Verdict(Ruling.DENY)


def only_by(*channels: str) -> Verdict:
    """Return the verdict that a message may go by these channels and by no other one."""
    return Verdict(Ruling.ANOTHER_CHANNEL, frozenset(channels))


def not_by(*channels: str) -> Verdict:
    """Return the verdict that a message may go by any channel but these."""
    return Verdict(Ruling.ANOTHER_CHANNEL, _EVERY - frozenset(channels))


class PolicyError(Exception):
    """The policy does not know. Its text says why, in a word or two: it is logged, and never holds a number."""


class PolicyMode(StrEnum):
    """What becomes of a verdict."""

    ENFORCE = "enforce"
    RECORD_ONLY = "record_only"
    """It is counted and logged, and changes nothing."""
    OFF = "off"
    """The policy is not asked."""


class UnknownAction(StrEnum):
    """What holds when a policy does not know."""

    ALLOW = "allow"
    DENY = "deny"


class PolicySettings(BaseModel):
    """Settings that every policy has; each adds its own in its file. A list that is left out stands for all."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, serialize_by_alias=True)

    mode: PolicyMode = PolicyMode.ENFORCE
    unknown: UnknownAction
    """What holds when it fails, or is not ready in time: ``allow`` or ``deny``."""
    timeout: float = Field(default=1.0, gt=0, le=5)
    """Seconds that a message waits for the answer."""
    purposes: tuple[str, ...] = ()
    """Where it is asked."""
    applications: tuple[str, ...] = ()
    channels: tuple[Channel, ...] = ()
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which the policy handles numbers, for ``residency``."""


@dataclass(frozen=True, slots=True)
class Question:
    """A message that is about to be sent. The ``repr`` does not show the number."""

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
    """What the composition root gives a policy."""

    name: str
    """Its name in the configuration; several policies of one kind have different names."""
    production: bool


class Policy(Protocol):
    """One rule. A class; the entry point names it, its ``kind`` is the entry point's name."""

    kind: ClassVar[str]
    Settings: ClassVar[type[PolicySettings]]

    def __init__(self, settings: Any, context: PolicyContext) -> None:  # noqa: ANN401 - its own Settings
        """Prepare to answer; opens no connection. Made in every process, asked in workers only."""

    def judge(self, question: Question) -> Verdict:
        """Answer, in many threads at a time. Whatever it raises, `PolicyError` or not, is *unknown*."""


# Not the pools of ``concurrent.futures``: the interpreter waits for their threads when it ends, for ever if one hangs.

Result = TypeVar("Result")


class TimeLimitedExecutor(Generic[Result]):
    """Threads for one kind of work, no more than a bound, made as they are needed and kept with their connections."""

    def __init__(self, name: str, max_threads: int) -> None:
        """Prepare for as many as ``max_threads`` threads; none is started yet."""
        self._name = name
        self._max_threads = max_threads
        self._threads = 0
        self._idle = 0
        self._waiting: deque[tuple[Future[Result], Callable[[], Result]]] = deque()
        self._changed = threading.Condition()
        self._over = False

    def run(self, work: Callable[[], Result], seconds: float) -> Result:
        """Return what the work returns, or raise what it raises; `TimeoutError` when it is not done in time.

        Work that no thread was free for is not begun after that. `RuntimeError` when a thread cannot be made.
        """
        outcome: Future[Result] = Future()
        entry = (outcome, work)
        try:
            self._hand_over(entry)
            return outcome.result(seconds)
        finally:
            self._forget(entry)

    def shutdown(self) -> None:
        """Let the threads end, one that works when it has done; no more work is begun."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _hand_over(self, entry: tuple[Future[Result], Callable[[], Result]]) -> None:
        with self._changed:
            self._waiting.append(entry)
            if len(self._waiting) > self._idle and self._threads < self._max_threads:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
                self._threads += 1
            self._changed.notify()

    def _forget(self, entry: tuple[Future[Result], Callable[[], Result]]) -> None:
        """Take back what was not begun: where all threads hang, nobody else would."""
        with self._changed:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def _run(self) -> None:
        while entry := self._next():
            outcome, work = entry
            try:
                outcome.set_result(work())
            except BaseException as raised:  # noqa: BLE001 - it belongs to who waits, and this thread goes on
                outcome.set_exception(raised)

    def _next(self) -> tuple[Future[Result], Callable[[], Result]] | None:
        """Return what is to be done next, as soon as there is something; ``None`` at the end."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._waiting or self._over)
            self._idle -= 1
            return None if self._over else self._waiting.popleft()


_REMEMBERED = 10_000
"""Messages that passed and are remembered at most; more than a worker holds at a time."""

MessageKey = tuple[str, int, str]
"""A message by its verification, its number in it, and the channel."""


class PolicyRunner:
    """Asks one policy under the time limit and the conditions of its settings."""

    def __init__(self, name: str, policy: Policy, settings: PolicySettings, threads: int) -> None:
        """Keep the policy under its name in the configuration; ``threads`` questions may run at the same time."""
        self.name = name
        self._policy = policy
        self._settings = settings
        self._executor: TimeLimitedExecutor[Verdict] = TimeLimitedExecutor(f"policy {name}", threads)

    @property
    def is_enforced(self) -> bool:
        """Whether its verdicts are carried out; otherwise they are only counted."""
        return self._settings.mode is PolicyMode.ENFORCE

    @property
    def denies_unknown(self) -> bool:
        """Whether a message is refused when the verdict is *unknown*."""
        return self._settings.unknown is UnknownAction.DENY

    def applies_to(self, application: str, purpose: str, channel: str) -> bool:
        """Tell whether the policy is asked about a message of an application, purpose and channel."""
        settings = self._settings
        return settings.mode is not PolicyMode.OFF and all(
            not listed or one in listed
            for one, listed in (
                (application, settings.applications),
                (purpose, settings.purposes),
                (channel, settings.channels),
            )
        )

    def ask(self, question: Question) -> Verdict:
        """Return the verdict; *unknown*, with a reason, if the policy fails or exceeds its time-out. Raises nothing."""
        try:
            return self._executor.run(lambda: self._judge(question), self._settings.timeout)
        except TimeoutError:
            return _unknown_verdict("timeout")
        except RuntimeError:  # the host has no thread left to give
            return _unknown_verdict("no thread")

    def close(self) -> None:
        """End the threads; the policy must not be asked afterwards."""
        self._executor.shutdown()

    def _judge(self, question: Question) -> Verdict:
        try:
            return _checked_verdict(self._policy.judge(question))
        except PolicyError as failure:
            return _unknown_verdict(failure.args[0] if failure.args and isinstance(failure.args[0], str) else "")
        except BaseException as defect:  # noqa: BLE001 - a stranger's policy must not take the worker down
            return _unknown_verdict(f"defect {type(defect).__name__}")  # its text may hold the number


def _checked_verdict(verdict: object) -> Verdict:
    """Return a verdict with members of the right types; *unknown* if a policy of a site's own returned others."""
    if not isinstance(verdict, Verdict):
        return _unknown_verdict("no verdict")
    try:
        return Verdict(Ruling(verdict.ruling), frozenset(map(str, verdict.channels)), str(verdict.reason))
    except (TypeError, ValueError):
        return _unknown_verdict("no verdict")


def _unknown_verdict(reason: str) -> Verdict:
    return Verdict(Ruling.UNKNOWN, reason=reason)


class Policies:
    """All policies of an installation, in the order of asking, and the messages that lately passed them.

    A message waits for its policies in a thread of the worker. At most half of the threads may: while a policy hangs,
    messages that it does not concern go on.
    """

    def __init__(self, runners: Iterable[PolicyRunner], threads: int) -> None:
        """Keep what asks each policy; ``threads`` are the worker's."""
        self._runners = tuple(runners)
        self._places = threading.BoundedSemaphore(max(1, threads // 2))
        self._passed: dict[MessageKey, None] = {}
        self._lock = threading.Lock()

    def applicable(self, application: str, purpose: str, channel: str) -> tuple[PolicyRunner, ...]:
        """Return the policies that are asked about a message of an application, purpose and channel."""
        return tuple(runner for runner in self._runners if runner.applies_to(application, purpose, channel))

    def enter(self) -> bool:
        """Take a place for a message that waits for policies; return whether one was left."""
        return self._places.acquire(blocking=False)

    def leave(self) -> None:
        """Give back the place."""
        self._places.release()

    def close(self) -> None:
        """End all threads; no policy must be asked afterwards."""
        for runner in self._runners:
            runner.close()

    def remember(self, message: MessageKey) -> None:
        """Note that a message has passed: it is not asked about again while it waits here for a gateway's turn."""
        with self._lock:
            self._passed[message] = None
            if len(self._passed) > _REMEMBERED:
                del self._passed[next(iter(self._passed))]

    def has_passed(self, message: MessageKey) -> bool:
        """Tell whether a message has passed here lately."""
        return message in self._passed


POLICY_ENTRY_POINTS = "otp_service.policies"
POLICY_KINDS: Final[PluginKinds[Policy]] = PluginKinds(POLICY_ENTRY_POINTS, "policy", ("kind", "Settings", "judge"))
