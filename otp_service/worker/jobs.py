"""The jobs that a worker holds: in flight, or waiting for their gateway's turn.

Another worker claims them after `Settings.claim_after`.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable

from otp_service.store.outbox import Job


class InFlight:
    """All jobs that this worker has claimed: some occupy a thread, the others wait."""

    def __init__(self) -> None:
        self._jobs: dict[tuple[str, str], Job] = {}
        self._busy = 0
        self._changed = threading.Condition()

    @property
    def busy(self) -> int:
        """The number of jobs that occupy a thread."""
        return self._busy

    def add(self, job: Job) -> bool:
        """Add a job that occupies a thread; return whether it is new."""
        with self._changed:
            if (job.queue, job.entry) in self._jobs:
                return False
            self._jobs[job.queue, job.entry] = job
            self._busy += 1
            return True

    def remove(self, job: Job) -> None:
        """Remove a job that occupied a thread."""
        with self._changed:
            del self._jobs[job.queue, job.entry]
            self._free_one()

    def pause(self, job: Job) -> None:
        """Keep a job that no longer occupies a thread."""
        with self._changed:
            self._jobs[job.queue, job.entry] = job
            self._free_one()

    def drop(self, jobs: Iterable[Job]) -> None:
        """Remove jobs that were paused: they are no longer renewed."""
        with self._changed:
            for job in jobs:
                del self._jobs[job.queue, job.entry]

    def resume(self, job: Job) -> None:
        """Count a thread for a job that was paused."""
        with self._changed:
            self._jobs[job.queue, job.entry] = job
            self._busy += 1

    def wait_below(self, limit: int, timeout: float) -> int:
        """Wait until fewer than ``limit`` jobs occupy threads, at most ``timeout`` seconds; return their number."""
        with self._changed:
            self._changed.wait_for(lambda: self._busy < limit, timeout)
            return self._busy

    def _free_one(self) -> None:
        self._busy -= 1
        self._changed.notify_all()

    def jobs(self) -> list[Job]:
        with self._changed:
            return list(self._jobs.values())


class Periodic:
    """Runs an action at most once in so many seconds."""

    def __init__(self, seconds: float, action: Callable[..., None]) -> None:
        self._seconds = seconds
        self._action = action
        self._next = 0.0

    def run_if_due(self, **arguments: object) -> None:
        """Run the action, with arguments, if its time has come."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._seconds  # also when it fails: the other duties have their turn
            self._action(**arguments)


_RELEASE_INTERVAL = 0.005
"""Seconds between the releases of two jobs of a queue: the gateway's answer to the first sets the others' wait."""


class DeferredJobs:
    """Held jobs, by queue, first in first out; no more are taken from a queue with ``limit`` held jobs. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[str, deque[Job]] = defaultdict(deque)
        """The queue of a job that `take_next` returns moves to the end."""
        self._gateways: dict[str, frozenset[str]] = {}
        """Gateways for the job that was held last in each queue."""
        self._next_turn: dict[str, float] = {}
        """Time of a queue's next release, by the monotonic clock."""
        self._lock = threading.Lock()

    def hold(self, job: Job, milliseconds: int, gateways: frozenset[str] = frozenset()) -> None:
        """Hold a job that ``gateways`` may take, and its whole queue; a job held before returns to its place."""
        with self._lock:
            self._gateways[job.queue] = gateways
            held = self._held[job.queue]
            place = next((i for i, other in enumerate(held) if job.order < other.order), len(held))
            held.insert(place, job)
            self._next_turn[job.queue] = max(
                self._next_turn.get(job.queue, 0.0), time.monotonic() + milliseconds / 1000
            )

    def take_due(self) -> list[Job]:
        """Remove and return the first job of each queue whose time has come."""
        now = time.monotonic()
        with self._lock:
            due = [queue for queue, turn in self._next_turn.items() if turn <= now]
            return [self._take_first(queue, now) for queue in due]

    def take_next(self, gateways: Collection[str]) -> Job | None:
        """Remove and return the first job of a queue that one of these may take, even before its time.

        The queues take turns. ``None`` if no job matches.
        """
        with self._lock:
            queue = next((queue for queue in self._held if not self._gateways[queue].isdisjoint(gateways)), None)
            if queue is None:
                return None
            self._held[queue] = self._held.pop(queue)
            return self._take_first(queue, time.monotonic())

    def _take_first(self, queue: str, now: float) -> Job:
        job = self._held[queue].popleft()
        self._next_turn[queue] = now + _RELEASE_INTERVAL
        if not self._held[queue]:
            del self._held[queue], self._next_turn[queue], self._gateways[queue]
        return job

    def seconds_to_next(self) -> float:
        """Return the seconds until the next release; infinite when no job is held."""
        with self._lock:
            return max(0.0, min(self._next_turn.values()) - time.monotonic()) if self._next_turn else float("inf")

    def full_queues(self) -> tuple[str, ...]:
        """Return the queues from which no more jobs are to be taken.

        Behind a message that no gateway was called for yet, others would wait for the same gateway: they stay in the
        outbox, in their order.
        """
        with self._lock:
            return tuple(
                queue
                for queue, held in self._held.items()
                if len(held) >= self._limit or any(not j.called for j in held)
            )

    def take_all(self) -> list[Job]:
        """Remove and return all jobs."""
        with self._lock:
            jobs = [job for held in self._held.values() for job in held]
            self._held.clear()
            self._next_turn.clear()
            self._gateways.clear()
            return jobs
