"""Messages in a worker's hands that wait for a gateway's turn, without a thread, and without holding up other lanes."""

import threading
import time
from collections import defaultdict, deque

from otp_service.store.outbox import Job

_APART = 0.005
"""Seconds between two jobs of a lane that go on: the first one's answer tells the others how long to wait."""


class Holding:
    """The jobs that are held, by lane; the first to come is the first to go on. Used by many threads."""

    def __init__(self, most: int) -> None:
        """Let each lane have ``most`` jobs held before no more are taken from it."""
        self._most = most
        self._held: dict[str, deque[Job]] = defaultdict(deque)
        self._turn: dict[str, float] = {}
        """When the next job of a lane goes on, by the monotonic clock."""
        self._lock = threading.Lock()

    def hold(self, job: Job, milliseconds: int) -> None:
        """Hold a job, and all of its lane, for so long; one that was held before takes its place at the front again."""
        with self._lock:
            held = self._held[job.lane]
            place = next((i for i, other in enumerate(held) if job.order < other.order), len(held))
            held.insert(place, job)
            self._turn[job.lane] = max(self._turn.get(job.lane, 0.0), time.monotonic() + milliseconds / 1000)

    def due(self) -> list[Job]:
        """Return the jobs that go on now: one of each lane whose time has come."""
        now = time.monotonic()
        with self._lock:
            return [self._first(lane, now) for lane in [lane for lane, turn in self._turn.items() if turn <= now]]

    def next_in(self, lane: str) -> Job | None:
        """Return the first job of a lane, whether or not its time has come; ``None`` when none is held."""
        with self._lock:
            return self._first(lane, time.monotonic()) if lane in self._turn else None

    def _first(self, lane: str, now: float) -> Job:
        job = self._held[lane].popleft()
        self._turn[lane] = now + _APART
        if not self._held[lane]:
            del self._held[lane], self._turn[lane]
        return job

    def wait(self) -> float:
        """Return the seconds until the next job goes on; infinite when none is held."""
        with self._lock:
            return max(0.0, min(self._turn.values()) - time.monotonic()) if self._turn else float("inf")

    def full_lanes(self) -> tuple[str, ...]:
        """Return the lanes from which nothing more is to be taken.

        Where a message waits that no gateway was called for, those behind it would wait for the same: they stay in the
        outbox, in their order.
        """
        with self._lock:
            return tuple(
                lane for lane, held in self._held.items() if len(held) >= self._most or any(not j.called for j in held)
            )

    def empty(self) -> list[Job]:
        """Let go of all, and return them."""
        with self._lock:
            jobs = [job for held in self._held.values() for job in held]
            self._held.clear()
            self._turn.clear()
            return jobs
