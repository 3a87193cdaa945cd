"""A worker in simulated time: it has no threads, and when it waits, the clock moves instead."""

import heapq
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from support_frozen import START, FrozenValkey
from support_outbox import Scripted, next_retry

from otp_service.bootstrap import Installation
from otp_service.domain.messages import Message
from otp_service.gateways.base import Accepted
from otp_service.worker.worker import Worker


class Clocked(Scripted):
    """A gateway that remembers when it was called, by the simulated clock: in seconds from the beginning."""

    def __init__(self, valkey: FrozenValkey, *script: Any) -> None:
        super().__init__(*script)
        self._valkey = valkey
        self.calls: list[tuple[str, float]] = []

    def send(self, message: Message) -> Accepted:
        self.calls.append((message.verification_id, (self._valkey.now - START) / 1000))
        return super().send(message)

    @property
    def times(self) -> list[float]:
        return [at for _, at in self.calls]


class Simulation:
    """A worker over an installation, and what else happens meanwhile, each at its time."""

    def __init__(self, valkey: FrozenValkey, installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = SimpleNamespace(monotonic=lambda: valkey.now / 1000)
        monkeypatch.setattr("otp_service.worker.jobs.time", clock)
        monkeypatch.setattr(installation.context.store.outbox, "wait", self._wait)
        self._valkey = valkey
        self._events: list[tuple[int, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self.worker = Worker(installation, _Unstoppable())
        self.worker._pool = _AtOnce()

    @property
    def seconds(self) -> float:
        """Return the time since the beginning."""
        return (self._valkey.now - START) / 1000

    def at(self, seconds: float, act: Callable[[], object]) -> None:
        """Let something happen so many seconds after the beginning."""
        heapq.heappush(self._events, (START + round(1000 * seconds), next(self._order), act))

    def each_second(self, times: float, until: float, act: Callable[[], object]) -> None:
        """Let something happen so many times a second, at equal distances, from the beginning on."""
        for place in range(round(times * until)):
            self.at(place / times, act)

    def run(self, until: float) -> None:
        """Let the worker work until a time."""
        while self.seconds < until:
            while self._events and self._events[0][0] <= self._valkey.now:
                heapq.heappop(self._events)[2]()
            self.worker._run_once()

    def _wait(self, milliseconds: int) -> None:
        """Move the clock by so much, but not beyond what happens next, or the next retry, as an outbox waits."""
        retry = next_retry(self._valkey.client)
        after = self._valkey.now + (milliseconds if retry is None else min(milliseconds, max(0, retry)))
        self._valkey.move_to(max(self._valkey.now + 1, min(after, self._events[0][0]) if self._events else after))


class _Unstoppable(threading.Event):
    """A stop event that a worker waits for after a defect only."""

    def wait(self, _timeout: float | None = None) -> bool:
        raise AssertionError("the worker met a defect: see its log")


class _AtOnce(ThreadPoolExecutor):
    """A pool of threads that needs none: what is submitted is done at once."""

    def __init__(self) -> None:
        super().__init__(1)

    def submit(self, act: Callable[..., Any], /, *given: Any) -> Any:  # type: ignore[override]
        return act(*given)
