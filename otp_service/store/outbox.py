"""The outbox as a worker sees it: lanes that it takes jobs from in turn, by a consumer group. Nothing is lost."""

import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import redis
from redis.exceptions import ResponseError

from otp_service.core.purpose import PurposeKind
from otp_service.store import keys
from otp_service.store.connection import answered
from otp_service.store.jobs import GROUP, Job, job_of, unreadable_job
from otp_service.store.retention import Retention
from otp_service.store.scripts import ScriptRunner

FAR = 3_600_000
"""Milliseconds: no retry waits."""
RETRY = "retry"
"""Kind of the lanes of what was tried before; the others are those of fresh messages, by the purpose's kind."""
KINDS = (PurposeKind.TRANSACTION.value, PurposeKind.POSSESSION.value, RETRY)
"""Kinds of lanes; workers turn to the first ones more often."""
_TURNS = 1 << 20

Entry = tuple[bytes, dict[bytes, bytes] | None]


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
        self._bury = bury
        self._lanes: tuple[str, ...] = ()

    def look_around(self, applications: Iterable[str]) -> None:
        """Learn of lanes: those of these applications, and those of any other that ever sent a message."""
        own = {keys.lane(bucket, kind, name) for bucket in self._buckets for kind in KINDS for name in applications}
        with answered(), self._client.pipeline(transaction=False) as pipeline:
            for bucket in self._buckets:
                pipeline.smembers(keys.lanes(bucket))
            known = {lane.decode() for lanes in pipeline.execute() for lane in lanes}
        self._lanes = tuple(sorted(own | known, key=lambda lane: (KINDS.index(_kind_of(lane)), lane)))

    def take(self, consumer: str, count: int) -> list[Job]:
        """Return up to ``count`` new jobs for a consumer, the lanes in turn, at once."""
        if not self._lanes:
            return []
        kinds = [_kind_of(lane) for lane in self._lanes]
        taken = self._scripts.run(
            "take",
            self._lanes,
            (GROUP, consumer, count, secrets.randbelow(_TURNS), *map(kinds.count, KINDS)),
        )
        return [
            job
            for lane, entry, fields in taken
            for job in self._jobs(lane.decode(), [(entry, dict(zip(fields[::2], fields[1::2], strict=True)))])
        ]

    def await_one(self, consumer: str, wait: int) -> list[Job]:
        """Return the next new jobs for a consumer, one of each lane at most, within ``wait`` milliseconds."""
        if not self._lanes:
            return []
        streams: Any = dict.fromkeys(self._lanes, ">")
        with answered():
            try:
                found: Any = self._client.xreadgroup(GROUP, consumer, streams, count=1, block=wait)
            except ResponseError as missing:  # Redis came back empty: `take` makes the groups again
                if not _is_missing(missing):
                    raise
                return []
        return [job for lane, entries in found or () for job in self._jobs(lane.decode(), entries)]

    def claim(self, consumer: str, count: int, idle: int) -> list[Job]:
        """Return jobs that others hold for longer than ``idle`` milliseconds, about ``count``: they died."""
        claimed: list[Job] = []
        for lane, found in self._of_each_lane(
            lambda pipeline, lane: pipeline.xautoclaim(lane, GROUP, consumer, idle, "0-0", count=count)
        ):
            claimed.extend(self._jobs(lane, found[1]))
        return claimed

    def lag(self) -> float:
        """Return the age of the oldest message that waits, in seconds; 0 when none does."""
        with answered():
            now = self._client.time()[0]
        oldest = self._of_each_lane(lambda pipeline, lane: pipeline.xrange(lane, count=1))
        queued = [int(entries[0][0].partition(b"-")[0]) / 1000 for _, entries in oldest if entries]
        return max(0.0, now - min(queued)) if queued else 0.0

    def renew(self, consumer: str, jobs: Iterable[Job]) -> None:
        """Tell that a consumer still works on these jobs."""
        with answered(), self._client.pipeline(transaction=False) as pipeline:
            for job in jobs:
                pipeline.xclaim(job.lane, GROUP, consumer, 0, (job.entry,), justid=True)
            pipeline.execute()

    def leave(self, consumer: str) -> None:
        """Take a consumer that holds nothing out of the groups."""
        held = self._of_each_lane(
            lambda pipeline, lane: pipeline.xpending_range(lane, GROUP, "-", "+", 1, consumername=consumer)
        )
        with answered(), self._client.pipeline(transaction=False) as pipeline:
            for lane, pending in held:
                if not pending:
                    pipeline.xgroup_delconsumer(lane, GROUP, consumer)
            pipeline.execute()

    def forget_idle(self, idle: int) -> None:
        """Take consumers out of the groups that hold nothing and were not seen for ``idle`` milliseconds: they died."""
        groups = self._of_each_lane(lambda pipeline, lane: pipeline.xinfo_consumers(lane, GROUP))
        with answered(), self._client.pipeline(transaction=False) as pipeline:
            for lane, consumers in groups:
                for one in consumers:
                    if not one["pending"] and one["idle"] > idle:
                        pipeline.xgroup_delconsumer(lane, GROUP, one["name"])
            pipeline.execute()

    def requeue(self, most: int = 100) -> int:
        """Put up to ``most`` retries of each bucket that are due back; return the milliseconds until the next."""
        waits = [self._requeue(bucket, most) for bucket in self._buckets]
        return min((wait for wait in waits if wait >= 0), default=FAR)

    def _requeue(self, bucket: str, most: int) -> int:
        _, wait = self._scripts.run(
            "requeue",
            (keys.delayed(bucket), keys.lanes(bucket)),
            (most, self._kept.milliseconds, keys.lane(bucket, RETRY, "")),
        )
        return int(wait)

    def _of_each_lane(self, ask: Callable[[Any, str], object]) -> list[tuple[str, Any]]:
        """Return the answer of each lane to a question; lanes that have no group yet are left out."""
        with answered(), self._client.pipeline(transaction=False) as pipeline:
            for lane in self._lanes:
                ask(pipeline, lane)
            answers = pipeline.execute(raise_on_error=False)
            for answer in answers:
                if isinstance(answer, Exception) and not _is_missing(answer):
                    raise answer
        return [pair for pair in zip(self._lanes, answers, strict=True) if not isinstance(pair[1], Exception)]

    def _jobs(self, lane: str, entries: Iterable[Entry]) -> Iterable[Job]:
        """Yield the jobs of entries; one that cannot be read goes to the dead letters, and stops nobody."""
        bucket = lane.partition("{")[2].partition("}")[0]
        for entry, fields in entries:
            if fields is None:  # trimmed while it was claimed
                continue
            try:
                yield job_of(bucket, lane, entry.decode(), _text(fields))
            except (KeyError, ValueError):
                self._bury(unreadable_job(bucket, lane, entry.decode(), fields), "unreadable")


def _text(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in fields.items()}


def _kind_of(lane: str) -> str:
    return lane.split(":", 4)[3]


def _is_missing(error: Exception) -> bool:
    """Tell whether an error says that a stream or its group does not exist (yet)."""
    return isinstance(error, ResponseError) and ("NOGROUP" in str(error) or "no such key" in str(error))
