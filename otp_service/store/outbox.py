"""The outbox as a worker sees it: claimed by a consumer group, dispatched, settled. Nothing is lost in between."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import redis
from redis.exceptions import ResponseError

from otp_service.core.verification import DeliveryStatus, Verification
from otp_service.store import keys
from otp_service.store.connection import answered
from otp_service.store.records import VERSION, pairs, slot_of, verification_of
from otp_service.store.retention import Retention
from otp_service.store.scripts import Argument, ScriptRunner

GROUP = "workers"
FAR = 3_600_000
"""Milliseconds: no retry waits."""


@dataclass(frozen=True, slots=True)
class Job:
    """One message to deliver, as it was queued. Holds nothing personal: the record has the sealed number."""

    bucket: str
    """The number's; it chooses the outbox."""
    entry: str
    """Its place in the outbox."""
    id: str
    """The verification's."""
    application: str
    purpose: str
    country: str
    channel: str
    message: int
    """Number of the message within the verification, from 1."""
    generation: int
    expires: int
    """Milliseconds by Redis' clock."""
    fields: tuple[Argument, ...]
    """Everything as it was queued, for another try."""

    @property
    def first_slot(self) -> str:
        """Where the record shows the message while it waits for its first dispatch."""
        return slot_of(self.message, 1)


@dataclass(frozen=True, slots=True)
class Dropped:
    """The message is no longer wanted."""

    reason: str
    slot: str = ""
    """Where the record still shows it as waiting; empty when it does not."""


@dataclass(frozen=True, slots=True)
class Dispatched:
    """The call that is to be made now."""

    dispatch_id: str
    message: int
    number: int
    """Which call for this message it is, from 1."""
    gateway: str
    now: int
    """Milliseconds by Redis' clock."""
    verification: Verification

    @property
    def slot(self) -> str:
        """Where the record keeps its outcome."""
        return slot_of(self.message, self.number)


class Next(StrEnum):
    """What follows for a job after a dispatch."""

    DONE = "done"
    NEXT = "next"
    RETRY = "retry"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a dispatch, and what follows."""

    next: Next
    status: DeliveryStatus = DeliveryStatus.FAILED
    reason: str = ""
    reference: str = ""
    delay: int = 0
    """Milliseconds until a retry."""


class Outbox:
    """The messages that are to be delivered, over all buckets of numbers."""

    def __init__(
        self, client: redis.Redis, scripts: ScriptRunner, retention: Retention, buckets: tuple[str, ...]
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._kept = retention
        self._buckets = buckets

    def read(self, consumer: str, count: int, wait: int) -> list[Job]:
        """Return up to ``count`` new jobs for a consumer, after at most ``wait`` milliseconds."""
        streams: Any = {keys.outbox(bucket): ">" for bucket in self._buckets}
        with answered():
            try:
                found: Any = self._client.xreadgroup(GROUP, consumer, streams, count=count, block=wait)
            except ResponseError as missing:
                self._make_groups(missing)
                return []
        return [job for stream, entries in found or () for job in self._jobs(_bucket_of(stream), entries)]

    def claim(self, consumer: str, count: int, idle: int) -> list[Job]:
        """Return up to ``count`` jobs that others hold for longer than ``idle`` milliseconds: they died."""
        claimed: list[Job] = []
        with answered():
            for bucket in self._buckets:
                try:
                    found: Any = self._client.xautoclaim(keys.outbox(bucket), GROUP, consumer, idle, "0-0", count=count)
                except ResponseError as missing:
                    self._make_groups(missing)
                    return []
                claimed.extend(self._jobs(bucket, found[1]))
        return claimed

    def lag(self) -> float:
        """Return the age of the oldest message that waits, in seconds; 0 when none does."""
        with answered():
            now = self._client.time()[0]
            oldest: list[Any] = [self._client.xrange(keys.outbox(bucket), count=1) for bucket in self._buckets]
        queued = [int(entries[0][0].partition(b"-")[0]) / 1000 for entries in oldest if entries]
        return max(0.0, now - min(queued)) if queued else 0.0

    def renew(self, consumer: str, jobs: Iterable[Job]) -> None:
        """Tell that a consumer still works on these jobs."""
        with answered(), self._client.pipeline(transaction=False) as pipeline:
            for job in jobs:
                pipeline.xclaim(keys.outbox(job.bucket), GROUP, consumer, 0, (job.entry,), justid=True)
            pipeline.execute()

    def leave(self, consumer: str) -> None:
        """Take a consumer that holds nothing out of the group."""
        with answered():
            for bucket in self._buckets:
                stream = keys.outbox(bucket)
                if not self._client.xpending_range(stream, GROUP, "-", "+", 1, consumername=consumer):
                    self._client.xgroup_delconsumer(stream, GROUP, consumer)

    def dispatch(self, job: Job, dispatch_id: str, gateways: tuple[str, ...], most: int) -> Dispatched | Dropped:
        """Record that a message is about to be handed over, unless it is no longer wanted."""
        answer = self._scripts.run(
            "dispatch",
            (keys.record(job.bucket, job.id), keys.dispatch(job.bucket, dispatch_id)),
            (job.application, job.message, job.generation, most, *gateways),
        )
        match answer:
            case [b"dispatched", now, number, gateway, found]:
                verification = verification_of(job.id, pairs(found), now)
                return Dispatched(dispatch_id, job.message, number, gateway.decode(), now, verification)
            case [b"dropped", reason, slot]:
                return Dropped(reason.decode(), slot.decode())
            case _:
                raise ValueError(f"unknown answer of dispatch.lua: {answer[:1]!r}")

    def settle(self, job: Job, ended: Dispatched | Dropped, settlement: Settlement) -> bool:
        """Record the outcome; acknowledge and delete the job unless another dispatch follows.

        Return whether the job is still ours: when another worker has dispatched it meanwhile, only the outcome is
        recorded, and what follows is that worker's to decide.
        """
        dispatch_id = ended.dispatch_id if isinstance(ended, Dispatched) else ""
        answer = self._scripts.run(
            "settle",
            (
                keys.record(job.bucket, job.id),
                keys.dispatch(job.bucket, dispatch_id),
                keys.outbox(job.bucket),
                keys.delayed(job.bucket),
                keys.dead_letters(job.bucket),
                keys.events(job.bucket),
            ),
            (
                ended.slot,
                settlement.status,
                settlement.reason,
                settlement.reference,
                settlement.next,
                GROUP,
                job.entry,
                settlement.delay,
                self._kept.events,
                self._kept.milliseconds,
                *job.fields,
            ),
        )
        return bool(answer[0] == b"settled")

    def requeue(self, most: int = 100) -> int:
        """Put up to ``most`` retries of each bucket that are due back; return the milliseconds until the next."""
        waits = [self._requeue(bucket, most) for bucket in self._buckets]
        return min((wait for wait in waits if wait >= 0), default=FAR)

    def _requeue(self, bucket: str, most: int) -> int:
        _, wait = self._scripts.run(
            "requeue",
            (keys.delayed(bucket), keys.outbox(bucket)),
            (most, self._kept.milliseconds),
        )
        return int(wait)

    def made(self, bucket: str, dispatch_id: str, gateway: str) -> bool:
        """Tell whether a dispatch of a gateway is known."""
        with answered():
            return self._client.hget(keys.dispatch(bucket, dispatch_id), "gateway") == gateway.encode()

    def receipt(self, bucket: str, dispatch_id: str, gateway: str, status: DeliveryStatus, reason: str) -> bool:
        """Record a gateway's report; return whether such a dispatch of this gateway is known."""
        answer = self._scripts.run(
            "receipt",
            (keys.dispatch(bucket, dispatch_id), keys.events(bucket)),
            (gateway, status, reason, self._kept.events, self._kept.milliseconds),
        )
        return bool(answer[0] != b"not-found")

    def _jobs(self, bucket: str, entries: Iterable[tuple[bytes, dict[bytes, bytes] | None]]) -> Iterable[Job]:
        """Yield the jobs of entries; one that cannot be read goes to the dead letters, and stops nobody."""
        for entry, fields in entries:
            if fields is None:  # trimmed while it was claimed
                continue
            try:
                yield _job(bucket, entry.decode(), {name.decode(): value.decode() for name, value in fields.items()})
            except (KeyError, ValueError):
                self._bury(bucket, entry, fields)

    def _bury(self, bucket: str, entry: bytes, fields: Mapping[bytes, bytes]) -> None:
        raw = (part for pair in fields.items() for part in pair)
        unreadable = Settlement(Next.DEAD, reason="unreadable")
        job = Job(bucket, entry.decode(), "", "", "", "", "", 0, 0, 0, tuple(raw))
        self.settle(job, Dropped(unreadable.reason), unreadable)

    def forget_idle(self, idle: int) -> None:
        """Take consumers out of the group that hold nothing and were not seen for ``idle`` milliseconds: they died."""
        with answered():
            for bucket in self._buckets:
                stream = keys.outbox(bucket)
                for one in self._consumers(stream):
                    if not one["pending"] and one["idle"] > idle:
                        self._client.xgroup_delconsumer(stream, GROUP, one["name"])

    def _consumers(self, stream: str) -> Any:  # noqa: ANN401 - redis-py's own
        try:
            return self._client.xinfo_consumers(stream, GROUP)
        except ResponseError:  # there is no group yet
            return ()

    def _make_groups(self, missing: ResponseError) -> None:
        """Make the groups, from the beginning of the streams: what was queued before they existed counts."""
        if not str(missing).startswith("NOGROUP"):
            raise missing
        for bucket in self._buckets:
            try:
                self._client.xgroup_create(keys.outbox(bucket), GROUP, id="0", mkstream=True)
            except ResponseError as exists:
                if not str(exists).startswith("BUSYGROUP"):
                    raise


def _bucket_of(stream: bytes) -> str:
    return stream.decode().partition("{")[2].partition("}")[0]


def _job(bucket: str, entry: str, fields: Mapping[str, str]) -> Job:
    """Return a job of this release's format; raise `KeyError` or `ValueError` for any other."""
    if fields["v"] != VERSION:
        raise ValueError(f"a job of format {fields['v']}")
    return Job(
        bucket=bucket,
        entry=entry,
        id=fields["id"],
        application=fields["application"],
        purpose=fields["purpose"],
        country=fields["country"],
        channel=fields["channel"],
        message=int(fields["message"]),
        generation=int(fields["generation"]),
        expires=int(fields["expires"]),
        fields=tuple(part for pair in fields.items() for part in pair),
    )
