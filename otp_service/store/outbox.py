"""The outbox as a worker sees it: lanes that it takes jobs from in turn, by a consumer group. Nothing is lost."""

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping

import redis

from otp_service.store import keys
from otp_service.store.connection import answered
from otp_service.store.jobs import GROUP, Job, job_of, unreadable_job
from otp_service.store.retention import Retention
from otp_service.store.scripts import ScriptRunner

FAR = 3_600_000
"""Milliseconds: no retry waits."""
RETRY = "retry"
"""Kind of the lanes of what was tried before; the others are those of fresh messages, by the purpose's kind."""
_TURNS = 1 << 20
_COARSE = 100
"""Milliseconds by which the server may end a wait too late: it looks at those who wait ten times a second."""


class Outbox:
    """The messages that are to be delivered, over all buckets of numbers."""

    def __init__(
        self,
        client: redis.Redis,
        scripts: ScriptRunner,
        retention: Retention,
        buckets: tuple[str, ...],
        bury: Callable[[Job, str], None],
    ) -> None:
        """Take what reads; ``bury`` is told of a job that cannot be read, and why."""
        self._client = client
        self._scripts = scripts
        self._kept = retention
        self._buckets = buckets
        self._lanes = tuple(map(keys.lanes, buckets))
        self._ready = tuple(map(keys.ready, buckets))
        self._wake = tuple(map(keys.wake, buckets))
        self._bury = bury

    def take(self, consumer: str, count: int, leave: Collection[str] = ()) -> list[Job]:
        """Return up to ``count`` new jobs for a consumer, the lanes in turn, at once; none of those to ``leave``."""
        turn = secrets.randbelow(_TURNS)
        taken = self._scripts.run("take", self._ready + self._wake, (GROUP, consumer, count, turn, *leave))
        return list(self._jobs(consumer, taken))

    def wait(self, milliseconds: int) -> None:
        """Return when there may be something to take, or the time is over, or nearly."""
        if milliseconds <= _COARSE:
            time.sleep(milliseconds / 1000)
            return
        with answered():
            self._client.blpop(self._wake, (milliseconds - _COARSE) / 1000)

    def claim(self, consumer: str, count: int, idle: int) -> list[Job]:
        """Return up to ``count`` jobs that others hold for longer than ``idle`` milliseconds: they died."""
        claimed = self._scripts.run("claim", self._lanes + self._ready, (GROUP, consumer, count, idle))
        return list(self._jobs(consumer, claimed))

    def lag(self) -> float:
        """Return the age of the oldest message that is in a lane, in seconds; 0 when none is.

        A message leaves its lane when a gateway has it, when it is given up, and while it rests between two rounds.
        """
        with answered(), self._client.pipeline(transaction=False) as pipeline:
            pipeline.time()
            for names in self._lanes:
                pipeline.hkeys(names)
            (now, _), *known = pipeline.execute()
            lanes = sorted(lane.decode() for names in known for lane in names)
            for lane in lanes:
                pipeline.xrange(lane, count=1)
            oldest = pipeline.execute(raise_on_error=False)
        found = [entries[0][1] for entries in filter(_is_lane, oldest) if entries]
        queued = [int(fields.get(b"queued", 0)) // 1000 or now for fields in found]
        return float(max(0, now - min(queued))) if queued else 0.0

    def renew(self, consumer: str, jobs: Iterable[Job]) -> None:
        """Tell that a consumer still works on these jobs; those that others have by now stay theirs."""
        self._show(consumer, tuple(jobs), 0)

    def hand_back(self, consumer: str, jobs: Iterable[Job]) -> None:
        """Let others claim these jobs at once."""
        self._show(consumer, tuple(jobs), FAR)

    def _show(self, consumer: str, jobs: tuple[Job, ...], silent: int) -> None:
        """Have a consumer's jobs count as silent for so many milliseconds."""
        lanes, entries = tuple(job.lane for job in jobs), (job.entry for job in jobs)
        self._scripts.run("renew", lanes, (GROUP, consumer, silent, *entries))

    def sweep(self, idle: int) -> None:
        """Forget lanes that are empty, and consumers that hold nothing and are silent for ``idle`` milliseconds."""
        for names, ready in zip(self._lanes, self._ready, strict=True):
            self._scripts.run("sweep", (names, ready), (GROUP, idle))

    def requeue(self, most: int = 100) -> int:
        """Put up to ``most`` retries of each bucket that are due back; return the milliseconds until the next."""
        waits = [self._requeue(bucket, most) for bucket in self._buckets]
        return min((wait for wait in waits if wait >= 0), default=FAR)

    def _requeue(self, bucket: str, most: int) -> int:
        _, wait = self._scripts.run(
            "requeue",
            (keys.delayed(bucket), keys.lanes(bucket), keys.ready(bucket), keys.wake(bucket)),
            (most, self._kept.milliseconds, keys.lanes_of(bucket, RETRY)),
        )
        return int(wait)

    def _jobs(self, consumer: str, entries: Iterable[tuple[bytes, bytes, list[bytes]]]) -> Iterable[Job]:
        """Yield the jobs of entries; one that cannot be read goes to the dead letters, and stops nobody."""
        for name, entry, parts in entries:
            lane, fields = name.decode(), dict(zip(parts[::2], parts[1::2], strict=True))
            bucket = lane.partition("{")[2].partition("}")[0]
            try:
                yield job_of(bucket, lane, entry.decode(), consumer, _text(fields))
            except (KeyError, ValueError):
                self._bury(unreadable_job(bucket, lane, entry.decode(), consumer, fields), "unreadable")


def _text(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in fields.items()}


def _is_lane(answer: object) -> bool:
    """Tell whether an answer is a stream's: a key of another type that stands in the way is left alone."""
    if isinstance(answer, Exception) and "WRONGTYPE" not in str(answer):
        raise answer
    return not isinstance(answer, Exception)
