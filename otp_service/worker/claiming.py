"""Whose job is whose: a live worker renews its claims, a dead one's jobs are taken over."""

import threading
import time
from collections.abc import Callable

from otp_service.store.outbox import Job, Outbox


class InFlight:
    """The jobs in this worker's hands: some keep a thread busy, the others wait for their turn."""

    def __init__(self) -> None:
        self._jobs: dict[tuple[str, str], Job] = {}
        self._busy = 0
        self._changed = threading.Condition()

    @property
    def busy(self) -> int:
        """How many jobs keep a thread busy."""
        return self._busy

    def add(self, job: Job) -> bool:
        """Take a job; tell whether it is new here."""
        with self._changed:
            if (job.lane, job.entry) in self._jobs:
                return False
            self._jobs[job.lane, job.entry] = job
            self._busy += 1
            return True

    def remove(self, job: Job) -> None:
        """Let a job go that kept a thread busy."""
        with self._changed:
            del self._jobs[job.lane, job.entry]
            self._free_one()

    def pause(self, job: Job) -> None:
        """Keep a job that leaves its thread."""
        with self._changed:
            self._jobs[job.lane, job.entry] = job
            self._free_one()

    def resume(self, job: Job) -> None:
        """Give a job that was paused a thread again."""
        with self._changed:
            self._jobs[job.lane, job.entry] = job
            self._busy += 1

    def wait_below(self, limit: int, timeout: float) -> int:
        """Wait until fewer than ``limit`` jobs keep threads busy, at most ``timeout`` seconds; return how many do."""
        with self._changed:
            self._changed.wait_for(lambda: self._busy < limit, timeout)
            return self._busy

    def _free_one(self) -> None:
        self._busy -= 1
        self._changed.notify_all()

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
            self._next = now + self._seconds  # also when it fails: the other duties have their turn
            self._action()


def renew(outbox: Outbox, consumer: str, in_flight: InFlight) -> None:
    """Tell the store that this worker is alive and still busy with its jobs."""
    jobs = in_flight.jobs()
    if jobs:
        outbox.renew(consumer, jobs)
