"""Configured policies: where each is asked, for how long, and what counts as its answer."""

import threading
from collections.abc import Iterable

from otp_service.policies.base import (
    Policy,
    PolicyError,
    PolicyMode,
    PolicySettings,
    Question,
    Ruling,
    Unknown,
    Verdict,
)
from otp_service.policies.patience import Patience

_REMEMBERED = 10_000
"""Messages of which it is remembered that they passed: more than a worker has in its hands."""

Passing = tuple[str, int, str]
"""A message by its verification, its number in it, and the channel."""


class AskedPolicy:
    """One policy under its name."""

    def __init__(self, name: str, policy: Policy, settings: PolicySettings, threads: int) -> None:
        """Let it answer as many as ``threads`` questions at a time."""
        self.name = name
        self._policy = policy
        self._settings = settings
        self._patience: Patience[Verdict] = Patience(f"policy {name}", threads)

    @property
    def binds(self) -> bool:
        """Whether what it says is done; otherwise it is but counted."""
        return self._settings.mode is PolicyMode.ENFORCE

    @property
    def denies_unknown(self) -> bool:
        """Whether a message is not sent of which it knows nothing."""
        return self._settings.unknown is Unknown.DENY

    def concerns(self, application: str, purpose: str, channel: str) -> bool:
        """Tell whether it is asked about such a message."""
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
        """Return its verdict; *unknown*, with the reason, when it fails or is not ready in time. Raises nothing."""
        try:
            return self._patience.wait_for(lambda: self._judged(question), self._settings.timeout)
        except TimeoutError:
            return _unknown("timeout")
        except RuntimeError:  # the host has no thread left to give
            return _unknown("no thread")

    def close(self) -> None:
        """Let its threads end; it is not asked any more."""
        self._patience.end()

    def _judged(self, question: Question) -> Verdict:
        try:
            return _understood(self._policy.judge(question))
        except PolicyError as failure:
            return _unknown(failure.args[0] if failure.args and isinstance(failure.args[0], str) else "")
        except BaseException as defect:  # noqa: BLE001 - a stranger's policy must not take the worker down
            return _unknown(f"defect {type(defect).__name__}")  # its text may hold the number


def _understood(verdict: object) -> Verdict:
    """Return a verdict whose members are what they are to be; *unknown* where a stranger put something else."""
    if not isinstance(verdict, Verdict):
        return _unknown("no verdict")
    try:
        return Verdict(Ruling(verdict.ruling), frozenset(map(str, verdict.channels)), str(verdict.reason))
    except (TypeError, ValueError):
        return _unknown("no verdict")


def _unknown(reason: str) -> Verdict:
    return Verdict(Ruling.UNKNOWN, reason=reason)


class Policies:
    """All policies of an installation, in the order in which they are asked; and what passed them lately."""

    def __init__(self, asked: Iterable[AskedPolicy] = ()) -> None:
        self._asked = tuple(asked)
        self._passed: dict[Passing, None] = {}
        self._lock = threading.Lock()

    def concerning(self, application: str, purpose: str, channel: str) -> tuple[AskedPolicy, ...]:
        """Return those that are asked about such a message."""
        return tuple(one for one in self._asked if one.concerns(application, purpose, channel))

    def close(self) -> None:
        """Let all threads end; nobody is asked any more."""
        for one in self._asked:
            one.close()

    def remember(self, message: Passing) -> None:
        """Note that a message has passed: it is not asked about again while it waits here for a gateway's turn."""
        with self._lock:
            self._passed[message] = None
            if len(self._passed) > _REMEMBERED:
                del self._passed[next(iter(self._passed))]

    def has_passed(self, message: Passing) -> bool:
        """Tell whether a message has passed here lately."""
        return message in self._passed
