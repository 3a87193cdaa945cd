"""Whose job is whose: a live worker renews its claims, a dead one's jobs are taken over."""

import threading
import time
from collections.abc import Callable

from otp_service.store.jobs import Job
from otp_service.store.outbox import Outbox


class InFlight:
    """The jobs that this worker is busy with."""

    def __init__(self) -> None:
        self._jobs: dict[tuple[str, str], Job] = {}
        self._changed = threading.Condition()

    def add(self, job: Job) -> bool:
        """Take a job; tell whether it is new here."""
        with self._changed:
            new = (job.lane, job.entry) not in self._jobs
            self._jobs[job.lane, job.entry] = job
            return new

    def remove(self, job: Job) -> None:
        """Let a job go."""
        with self._changed:
            self._jobs.pop((job.lane, job.entry), None)
            self._changed.notify_all()

    def wait_below(self, limit: int, timeout: float) -> int:
        """Wait until fewer than ``limit`` jobs are in flight, at most ``timeout`` seconds; return how many are."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._jobs) < limit, timeout)
            return len(self._jobs)

    def jobs(self) -> list[Job]:
        """Return the jobs as they are now."""
        with self._changed:
            return list(self._jobs.values())


class Every:
    """Does something at most once in a number of seconds."""

    def __init__(self, seconds: float, action: Callable[[], None]) -> None:
        self._seconds = seconds
        self._action = action
        self._next = 0.0

    def tick(self) -> None:
        """Do it if its time has come."""
        now = time.monotonic()
        if now >= self._next:
            self._action()
            self._next = now + self._seconds


def renew(outbox: Outbox, consumer: str, in_flight: InFlight) -> None:
    """Tell the store that this worker is alive and still busy with its jobs."""
    jobs = in_flight.jobs()
    if jobs:
        outbox.renew(consumer, jobs)
