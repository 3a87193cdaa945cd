"""The outbox: messages that wait, are delayed, under way, or given up; and replies to inbound messages.

The scripts that accept a message queue it in the same step: `start.lua` and `resend.lua`, by `streams.put`.
"""

import hashlib
import math
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, Protocol, TypeVar, cast

import redis

from otp_service.domain.routing import GatewayLimits, Room
from otp_service.domain.verification import DeliveryStatus, Verification
from otp_service.errors import StoreUnavailableError
from otp_service.store import keys
from otp_service.store.blocked_commands import MAX_WAIT
from otp_service.store.claims import revocation
from otp_service.store.connection import Argument, server_time, translate_errors
from otp_service.store.gateway_calls import GatewayCall
from otp_service.store.leases import BucketShare
from otp_service.store.mirror import MirrorQuery
from otp_service.store.rulesets import NO_RULES, CompiledRuleset
from otp_service.store.script_runner import ScriptRunner, pairs_to_dict
from otp_service.store.signatures import outbox as signed
from otp_service.store.signatures.common import Elsewhere, MirrorBehind, NotFound
from otp_service.store.signatures.mirror import MIRROR_ALLOWS, MirrorAllowsArguments, MirrorAllowsKeys
from otp_service.store.signatures.outbox import (
    DEAD_LETTER_REDRIVE,
    DISPATCH,
    DISPATCH_FINISH,
    JOBS_CLAIM,
    JOBS_RENEW,
    JOBS_TAKE,
    QUEUES_SWEEP,
    RECEIPT,
    REFERENCE_FIND,
    REFERENCE_PUT,
    DeadLetterRedriveArguments,
    DeadLetterRedriveKeys,
    DispatchFinishArguments,
    DispatchFinishKeys,
    Gone,
    JobsClaimArguments,
    JobsClaimKeys,
    JobsRenewArguments,
    JobsRenewKeys,
    JobsTakeArguments,
    JobsTakeKeys,
    LeaseLost,
    QueuesSweepArguments,
    QueuesSweepKeys,
    ReceiptArguments,
    ReceiptKeys,
    Redriven,
    ReferenceFindArguments,
    ReferenceFindKeys,
    ReferenceFound,
    ReferencePutArguments,
    ReferencePutKeys,
    Unwanted,
)
from otp_service.store.signatures.signature import ArgumentsT, KeysT, Signature
from otp_service.store.streams import StreamLimits, entry_id, entry_values, parse_entry_id
from otp_service.store.verifications import VERSION, delivery_slot, parse_verification, record_values

CONSUMER_GROUP = "workers"
"""The consumer group of all queues."""


@dataclass(frozen=True, slots=True)
class Job:
    """One message to deliver, as it was queued. The record that it names has the sealed number."""

    bucket: str
    """The number's; it chooses the outbox."""
    queue: str
    """Key of the queue that it was taken from."""
    entry: str
    """Its place in the queue."""
    consumer: str
    """Who took it."""
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
    """Everything as it was queued, for another try: name and value in turn."""
    trace: str = ""
    """The ``traceparent`` of the call that queued it; empty without traces."""
    queued: int = 0
    """When its message was accepted: milliseconds by Redis' clock."""
    called: frozenset[str] = frozenset()
    """The gateways that were called since it was taken."""

    @property
    def order(self) -> tuple[int, ...]:
        """Sort key within the queue: when it was queued, then its place."""
        return (self.queued, *map(int, self.entry.split("-")))

    @property
    def first_slot(self) -> str:
        """Where the record shows the message while it waits for its first dispatch."""
        return delivery_slot(self.message, 1)

    def with_channel(self, channel: str) -> "Job":
        """Return the job as it goes on through another channel."""
        names = iter(self.fields)
        fields = {str(name): value for name, value in zip(names, names, strict=True)} | {"channel": channel}
        return replace(self, channel=channel, fields=tuple(part for pair in fields.items() for part in pair))


def parse_job(bucket: str, queue: str, entry: str, consumer: str, fields: Mapping[str, str]) -> Job:
    """Return a job of this release's format; raise `KeyError` or `ValueError` for any other."""
    if fields["v"] != VERSION:
        raise ValueError(f"a job of format {fields['v']}")
    return Job(
        bucket=bucket,
        queue=queue,
        entry=entry,
        consumer=consumer,
        id=fields["id"],
        application=fields["application"],
        purpose=fields["purpose"],
        country=fields["country"],
        channel=fields["channel"],
        message=int(fields["message"]),
        generation=int(fields["generation"]),
        expires=int(fields["expires"]),
        fields=tuple(part for pair in sorted(fields.items()) for part in pair),
        trace=fields.get("trace", ""),
        queued=int(fields["queued"]),
    )


def unreadable_job(bucket: str, queue: str, entry: str, consumer: str, fields: Mapping[bytes, bytes]) -> Job:
    """Return an entry that is not a job of this release's format, with nothing known of it but its fields."""
    parts = tuple(part for pair in fields.items() for part in pair)
    return Job(bucket, queue, entry, consumer, "", "", "", "", "", 0, 0, 0, parts)


LONG_TIME = 3_600_000
"""Milliseconds of silence after which any worker may claim a job."""
RETRY = "retry"
"""Kind of the queues of what was tried before; the others are those of fresh messages, by the purpose's kind."""
_TURN_RANGE = 1 << 20
_BLPOP_DELAY = 0.1
"""Seconds by which the server may end a wait too late: it looks at blocked clients ten times a second."""
_LOOK_AGAIN = 0.1
"""Seconds until the next call to a bucket whose server is away, or which has queues that were left out."""
_LOOKS_PER_SECOND = 16
"""Calls of a worker to quiet buckets of a cluster, in sum: a wake-up is lost with the worker that got it."""
_NAP = 0.01
"""Seconds between two looks for a new message where a wait is too short for that."""


def _await_wakes(bucket: str) -> tuple[Argument, ...]:
    """Return the command that waits for a wake-up of a bucket, and takes all: a worker that is full wakes another."""
    return "BLMPOP", MAX_WAIT, 1, keys.wake(bucket), "LEFT", "COUNT", 64


class _Taken(Protocol):
    """A reply with jobs."""

    @property
    def jobs(self) -> list[tuple[bytes, bytes, list[bytes]]]: ...


TakenT = TypeVar("TakenT", bound=_Taken)


class Outbox:
    """The messages that are to be delivered, over all buckets of numbers."""

    def __init__(
        self,
        client: redis.Redis,
        scripts: ScriptRunner,
        limits: StreamLimits,
        buckets: tuple[str, ...],
        give_up: Callable[[Job, str], None],
    ) -> None:
        """Take ``give_up`` for a job that cannot be read, with the reason."""
        self._client = client
        self._scripts = scripts
        self._limits = limits
        self._buckets = buckets
        self.share = BucketShare(scripts, "deliver", buckets)
        """Whose messages are taken, taken over and tidied up."""
        self._give_up = give_up
        self._wakes = scripts.blocked_commands(keys.wake, _await_wakes)
        """Waits at each bucket of a cluster."""
        self._look_interval = len(buckets) / _LOOKS_PER_SECOND if self._wakes else LONG_TIME / 1000
        """Seconds after which a bucket is looked at also if nothing woke this worker."""
        self._due: dict[str, float] = {}
        """When buckets are to be looked at again, by the monotonic clock."""
        self._away = set[str]()
        """Buckets whose servers did not answer."""

    def due_buckets(self) -> Sequence[str]:
        """Return the buckets of the share that may have something to take now."""
        if self._wakes is None:
            return self.share.buckets
        now = time.monotonic()
        return [bucket for bucket in self.share.buckets if self._due.get(bucket, now) <= now]

    def take(
        self, consumer: str, count: int, leave: Collection[str] = (), buckets: Sequence[str] | None = None
    ) -> list[Job]:
        """Return up to ``count`` new or due jobs for a consumer, the queues in turn; none of those to ``leave``.

        They are of some ``buckets``, by default of all of the share. Raises `StoreUnavailableError` if no server of the
        share answers.
        """
        turn = secrets.randbelow(_TURN_RANGE)

        def call(buckets: Sequence[str], max_jobs: int) -> tuple[JobsTakeKeys, JobsTakeArguments]:
            prefixes = (keys.queue.beginning(bucket, RETRY) for bucket in buckets)
            names = _of_each(buckets, keys.ready, keys.wake, keys.queues, keys.delayed)
            return JobsTakeKeys(names), JobsTakeArguments(CONSUMER_GROUP, consumer, max_jobs, turn, (*prefixes, *leave))

        jobs: list[Job] = []
        for group, reply in self._gather(JOBS_TAKE, call, self.share.buckets if buckets is None else buckets, count):
            jobs += self._jobs(consumer, reply.jobs)
            if not reply.jobs:
                self._postpone(group, reply.next_retry, leave)
        return jobs

    def _postpone(self, buckets: Sequence[str], next_retry: int, leave: Collection[str]) -> None:
        """Look at buckets again when a retry is due, and in any case after the usual time."""
        now, seconds = time.monotonic(), self._look_interval
        if next_retry >= 0:
            seconds = min(seconds, next_retry / 1000)
        for bucket in buckets:
            has_more = self._wakes is not None and any(f"{{{bucket}}}" in queue for queue in leave)
            self._due[bucket] = now + (min(seconds, _LOOK_AGAIN) if has_more else seconds)

    def _gather(
        self,
        script: Signature[KeysT, ArgumentsT, TakenT],
        call: Callable[[Sequence[str], int], tuple[KeysT, ArgumentsT]],
        buckets: Sequence[str],
        count: int,
    ) -> Iterator[tuple[Sequence[str], TakenT]]:
        """Yield the replies of a script with up to ``count`` jobs, and their buckets, beginning with others each time.

        A cluster's buckets are called together, as many as may each have a job. Buckets that return as many jobs as
        requested are called again, and buckets whose server is away are skipped. Raises `StoreUnavailableError` if all
        servers of the share are away.
        """
        groups = self._scripts.spread(buckets) if buckets else []
        turn, failure, has_answered = secrets.randbelow(max(1, len(groups))), None, False
        groups = [*groups[turn:], *groups[:turn]]
        while groups and count > 0:
            called, groups = groups[:count], groups[count:]
            each = count // len(called)
            replies = self._scripts.call_all(script, [call(group, each) for group in called])
            for group, reply in zip(called, replies, strict=True):
                if isinstance(reply, StoreUnavailableError):
                    failure = reply
                    self._away.update(group)
                    self._due.update(dict.fromkeys(group, time.monotonic() + _LOOK_AGAIN))
                    continue
                has_answered = True
                self._away.difference_update(group)
                count -= len(reply.jobs)
                if len(reply.jobs) == each:
                    groups.append(group)
                yield group, reply
        if failure and not has_answered and self._away.issuperset(self.share.buckets):
            raise failure

    def wait(self, milliseconds: int) -> None:
        """Return when there may be something to take, or the time is over, or nearly."""
        now, unknown = time.monotonic(), 0.0 if self._wakes else math.inf
        first_due = min(self._due.get(bucket, unknown) for bucket in self.share.buckets)
        seconds = max(0.001, min(milliseconds / 1000, first_due - now))
        if self._wakes:
            self._due |= dict.fromkeys(self._wakes.collect(self.share.buckets, seconds), now)
            return
        wakes, end = list(map(keys.wake, self.share.buckets)), now + seconds
        with translate_errors():
            if seconds > _BLPOP_DELAY:
                self._client.blpop(wakes, seconds - _BLPOP_DELAY)
                return
            while (left := end - time.monotonic()) > 0 and not self._client.lmpop(len(wakes), *wakes, direction="LEFT"):
                time.sleep(min(left, _NAP))

    def pass_on(self) -> None:
        """Wake other workers in place of this worker, which is busy."""
        if self._wakes and (buckets := self._wakes.collect((), 0)):
            self._due |= dict.fromkeys(buckets, 0.0)
            self._wake(buckets)

    def release(self, consumer: str) -> None:
        """Release the share to others, and end all waits."""
        self.share.release(consumer)
        if self._wakes:
            self._wake(bucket for bucket, answers in self._wakes.end().items() if any(answers))

    def _wake(self, buckets: Iterable[str]) -> None:
        with translate_errors(), self._client.pipeline(transaction=True) as pipeline:
            for wake in map(keys.wake, buckets):
                pipeline.lpush(wake, "")
                pipeline.expire(wake, keys.wake.seconds)
            pipeline.execute()

    def claim(self, consumer: str, count: int, idle: int) -> list[Job]:
        """Return up to ``count`` jobs that others hold for longer than ``idle`` milliseconds: they died.

        On a cluster each call covers another part of the share.
        """

        def call(buckets: Sequence[str], max_jobs: int) -> tuple[JobsClaimKeys, JobsClaimArguments]:
            names = _of_each(buckets, keys.queues, keys.ready)
            return JobsClaimKeys(names), JobsClaimArguments(CONSUMER_GROUP, consumer, max_jobs, idle)

        buckets = self.share.next(_LOOKS_PER_SECOND) if self._wakes else self.share.buckets
        replies = self._gather(JOBS_CLAIM, call, buckets, count)
        return [job for _, reply in replies for job in self._jobs(consumer, reply.jobs)]

    def lag(self) -> float:
        """Return the age of the oldest message that is in a queue, in seconds; 0 when none is.

        A message leaves its queue when a gateway has it, when it is given up, and while it rests between two rounds.
        """
        with translate_errors(), self._client.pipeline(transaction=False) as pipeline:
            pipeline.time()
            for bucket in self._buckets:
                pipeline.hkeys(keys.queues(bucket))
            (now, _), *known = pipeline.execute()
            queues = sorted(queue.decode() for names in known for queue in names)
            for queue in queues:
                pipeline.xrange(queue, count=1)
            oldest = pipeline.execute(raise_on_error=False)
        found = [entries[0][1] for entries in filter(_is_queue, oldest) if entries]
        queued = [int(entry_values(fields).get("queued", 0)) // 1000 or now for fields in found]
        return float(max(0, now - min(queued))) if queued else 0.0

    def renew(self, consumer: str, jobs: Iterable[Job]) -> None:
        """Tell that a consumer still works on these jobs; those that others have by now stay theirs."""
        self._show(consumer, tuple(jobs), 0)

    def requeue_job(self, consumer: str, jobs: Iterable[Job]) -> None:
        """Let others claim these jobs at once."""
        self._show(consumer, tuple(jobs), LONG_TIME)

    def _show(self, consumer: str, jobs: tuple[Job, ...], silent: int) -> None:
        """Have a consumer's jobs count as silent for so many milliseconds."""
        for buckets in self._scripts.spread(self._buckets):
            if own := [job for job in jobs if job.bucket in buckets]:
                queues, entries = tuple(job.queue for job in own), tuple(job.entry for job in own)
                arguments = JobsRenewArguments(CONSUMER_GROUP, consumer, silent, entries)
                self._scripts.call(JOBS_RENEW, JobsRenewKeys(queues), arguments)

    def sweep(self, idle: int) -> None:
        """Forget old jobs, empty queues, and consumers that hold nothing and are silent for ``idle`` milliseconds."""
        for bucket in self.share.buckets:
            names = QueuesSweepKeys(keys.queues(bucket), keys.ready(bucket))
            arguments = QueuesSweepArguments(CONSUMER_GROUP, idle, self._limits.milliseconds)
            self._scripts.call(QUEUES_SWEEP, names, arguments)

    def _jobs(self, consumer: str, entries: Iterable[tuple[bytes, bytes, list[bytes]]]) -> Iterable[Job]:
        """Yield the jobs of entries; one that cannot be read goes to the dead letters, and stops nobody."""
        for name, entry, parts in entries:
            queue, fields = name.decode(), dict(zip(parts[::2], parts[1::2], strict=True))
            bucket = queue.partition("{")[2].partition("}")[0]
            try:
                yield parse_job(bucket, queue, entry.decode(), consumer, entry_values(fields))
            except (KeyError, ValueError):
                self._give_up(unreadable_job(bucket, queue, entry.decode(), consumer, fields), "unreadable")


def _of_each(buckets: Sequence[str], *kinds: keys.Key) -> tuple[str, ...]:
    """Return the keys of buckets, all of a kind together."""
    return tuple(kind(bucket) for kind in kinds for bucket in buckets)


def _is_queue(answer: object) -> bool:
    """Tell whether an answer is a stream's: a key of another type that stands in the way is left alone."""
    if isinstance(answer, Exception) and "WRONGTYPE" not in str(answer):
        raise answer
    return not isinstance(answer, Exception)


NEVER = -1
"""Instead of milliseconds: nobody will be free, all have been called."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """The message is no longer wanted."""

    reason: str
    slot: str = ""
    """Where the record still shows it as waiting; empty when it does not."""
    rule: str = ""
    """The rule of the guard that refused it; empty when none did."""


@dataclass(frozen=True, slots=True)
class NoGatewayFree:
    """No gateway takes the message now."""

    wait: int
    """Milliseconds until one may; `NEVER` when all have been called already."""
    now: int
    """Milliseconds by Redis' clock."""
    verification: Verification


@dataclass(frozen=True, slots=True)
class Dispatched:
    """The call that is to be made now."""

    dispatch_id: str
    message: int
    number: int
    """Which call for this message it is, from 1."""
    gateway: str
    choice: str
    """Why this gateway: ``configured``, ``fail_over``, ``already_tried``, ``breaker`` …"""
    now: int
    """Milliseconds by Redis' clock."""
    verification: Verification

    @property
    def slot(self) -> str:
        """Where the record keeps its outcome."""
        return delivery_slot(self.message, self.number)


def _outcome(
    job: Job, dispatch_id: str, reply: signed.DispatchDecision
) -> Dispatched | NoGatewayFree | Dropped | LeaseLost | MirrorBehind:
    match reply:
        case signed.Dispatched(number, gateway, choice, now, record):
            verification = parse_verification(job.id, pairs_to_dict(record), now)
            return Dispatched(dispatch_id, job.message, number, gateway.decode(), choice.decode(), now, verification)
        case signed.NoGatewayFree(wait, now, record):
            return NoGatewayFree(wait, now, parse_verification(job.id, pairs_to_dict(record), now))
        case signed.Dropped(reason, slot, rule):
            return Dropped(reason.decode(), slot.decode(), rule.decode())
    return reply


@dataclass(frozen=True, slots=True)
class Candidate:
    """A gateway of the route."""

    name: str
    allowance: GatewayLimits
    room: Room | None
    """Whether this worker may call it; ``None`` when it was called for this message since the job was taken."""

    def for_script(self, state: bytes = b"") -> signed.RouteGateway:
        """Return the gateway as `dispatch.lua` reads it, with its state where it is in another slot."""
        limits = self.allowance
        rate = f"{limits.per_second:g}"
        return signed.RouteGateway(self.name, rate, limits.in_flight, limits.lease, self.room or "called", state)


class FinishResult(StrEnum):
    """The result of finishing a dispatch."""

    FINISHED = "finished"
    """The requested next step follows."""
    ARRIVED = "arrived"
    """A receipt said meanwhile that the gateway has the message, or decided what follows: nothing more is sent."""
    LEASE_LOST = "lease-lost"
    """Another worker has the job by now: what follows is for that one to decide."""


class NextStep(StrEnum):
    """What follows for a job after a dispatch."""

    DONE = "done"
    NEXT = "next"
    """Another dispatch at once."""
    RETRY = "retry"
    """Another round, after a pause."""
    DEAD = "dead"
    """It is given up."""


@dataclass(frozen=True, slots=True)
class DispatchResult:
    """What became of a dispatch, and what follows."""

    next: NextStep
    status: DeliveryStatus = DeliveryStatus.FAILED
    reason: str = ""
    reference: str = ""
    delay: int = 0
    """Milliseconds until a retry."""
    channel: str | None = None
    """Through which a retry goes on; ``None`` for the same."""
    cost: int = 0
    """What the call cost, in millionths."""
    opted_out: bool = False
    """Whether the number's holder told the provider that they want none: the ledger learns it from the event."""
    template: str = ""
    """Of which template the message was made: id, version and digest, with blanks between."""


@dataclass(frozen=True, slots=True)
class ReportResult:
    """A receipt that was understood."""

    news: bool
    """Whether it changed anything: one that comes again, or too late, does not."""
    message: int
    dispatch: int
    now: int
    verification: Verification
    trace: str = ""
    """The ``traceparent`` that the dispatch was recorded with; empty without traces."""


class Dispatches:
    """The calls to gateways, in the records of their verifications."""

    def __init__(
        self,
        client: redis.Redis,
        scripts: ScriptRunner,
        limits: StreamLimits,
        rulesets: Mapping[str, CompiledRuleset],
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._limits = limits
        self._rulesets = rulesets

    def dispatch(
        self,
        job: Job,
        dispatch_id: str,
        route: Iterable[Candidate],
        mirror_query: MirrorQuery,
        max_ambiguous: int,
        trace: str = "",
    ) -> Dispatched | NoGatewayFree | Dropped | LeaseLost | MirrorBehind:
        """Choose a gateway of the route, which must not be empty, and record that it is about to be called.

        The message is dropped once more than ``max_ambiguous`` of its dispatches may have been sent although they
        failed. What a worker that died left open is told as one of these. Receipts link to the ``trace``.
        """
        candidates = tuple(route)
        here, elsewhere = list[str](), dict[str, GatewayLimits]()
        if self._scripts.is_cluster:
            elsewhere = {one.name: one.allowance for one in candidates if one.room}
        else:
            here = [key for one in candidates for key in self._scripts.gateway_keys(one.name)]
        names = signed.DispatchKeys(
            record=keys.record(job.bucket, job.id),
            dispatch=keys.dispatch(job.bucket, dispatch_id),
            queue=job.queue,
            decisions=keys.decisions(job.bucket),
            mirror=keys.mirror(job.bucket),
            events=keys.events(job.bucket),
            calls=keys.calls(job.bucket),
            application=keys.application(job.bucket, job.application),
            country=keys.country(job.bucket, job.application, job.country),
            rest=tuple(here),
        )
        arguments = signed.DispatchArguments(
            application=job.application,
            message=job.message,
            generation=job.generation,
            channel=job.channel,
            max_ambiguous=max_ambiguous,
            dispatch=dispatch_id,
            group=CONSUMER_GROUP,
            consumer=job.consumer,
            entry=job.entry,
            max_decisions=self._limits.decisions,
            max_age=self._limits.milliseconds,
            identity=mirror_query.identity,
            min_sequence=mirror_query.min_sequence,
            consent=mirror_query.consent_mode,
            mirrored=keys.mirrored.beginning(job.bucket),
            trace=trace,
        )

        def ask(states: Mapping[str, bytes]) -> signed.DispatchDecision | signed.GatewayNeeded:
            gateways = tuple(part for one in candidates for part in one.for_script(states.get(one.name, b"")))
            asked = arguments._replace(rest=gateways)
            while isinstance(reply := self._scripts.call(DISPATCH, names, asked, self._ruleset(job)), Elsewhere):
                asked = asked._replace(elsewhere=revocation(self._scripts, job.application, reply))
            return reply

        return _outcome(job, dispatch_id, GatewayCall(self._scripts, dispatch_id, elsewhere).decide(ask))

    def is_allowed(self, job: Job, mirror_query: MirrorQuery) -> bool:
        """Tell whether a message may go, as far as the mirror of the ledger tells; `dispatch` looks again."""
        names = MirrorAllowsKeys(keys.record(job.bucket, job.id), keys.mirror(job.bucket))
        arguments = MirrorAllowsArguments(
            application=job.application,
            identity=mirror_query.identity,
            min_sequence=mirror_query.min_sequence,
            consent=mirror_query.consent_mode,
            mirrored=keys.mirrored.beginning(job.bucket),
        )
        return bool(self._scripts.call(MIRROR_ALLOWS, names, arguments))

    def finish(self, job: Job, slot: str, result: DispatchResult, gateway: str = "") -> FinishResult:
        """Record the outcome; acknowledge and delete the job unless another dispatch follows.

        ``slot`` is where the record keeps it, empty for nowhere; ``gateway`` is the one that was called, empty for
        none: then nothing is done by whom the job was claimed from.
        """
        following = job.with_channel(result.channel) if result.channel else job
        names = DispatchFinishKeys(
            record=keys.record(job.bucket, job.id),
            queue=job.queue,
            delayed=keys.delayed(job.bucket),
            wake=keys.wake(job.bucket),
            dead_letters=keys.dead_letters(job.bucket),
            events=keys.events(job.bucket),
            mirror=keys.mirror(job.bucket),
            calls=keys.calls(job.bucket),
            application=keys.application(job.bucket, job.application),
            country=keys.country(job.bucket, job.application, job.country),
        )
        arguments = DispatchFinishArguments(
            slot=slot,
            status=result.status,
            reason=result.reason,
            gateway=gateway,
            reference=result.reference,
            next=result.next,
            group=CONSUMER_GROUP,
            entry=job.entry,
            consumer=job.consumer,
            delay=result.delay,
            max_letters=self._limits.events,
            max_age=self._limits.milliseconds,
            cost=result.cost,
            opted_out=int(result.opted_out),
            template=result.template,
            rest=following.fields,
        )
        reply = self._scripts.call(DISPATCH_FINISH, names, arguments, self._ruleset(job))
        return FinishResult(reply.decode())

    def _ruleset(self, job: Job) -> CompiledRuleset:
        """Return the rules of a job's application; none when the configuration has lost it."""
        return self._rulesets.get(job.application, NO_RULES)

    def give_up(self, job: Job, reason: str) -> None:
        """Move a job to the dead letters that no record is known of."""
        self.finish(job, "", DispatchResult(NextStep.DEAD, reason=reason))

    def verification_of(self, bucket: str, dispatch_id: str, gateway: str | None = None) -> str | None:
        """Return the verification of a dispatch, of one gateway or any; ``None`` when it is not known (any more)."""
        with translate_errors():
            values: Any = self._client.hmget(keys.dispatch(bucket, dispatch_id), "record", "gateway")
        record, through = values
        if record is None or (gateway is not None and through != gateway.encode()):
            return None
        return str(record.decode()).rpartition(":")[2]

    def pseudonym_of(self, bucket: str, dispatch_id: str) -> str | None:
        """Return whom a dispatch went to, as a pseudonym; ``None`` when it is not known (any more)."""
        with translate_errors():
            record = cast("bytes | None", self._client.hget(keys.dispatch(bucket, dispatch_id), "record"))
            fields: Any = self._client.hgetall(record.decode()) if record else {}
        found = record_values({name.decode(): value for name, value in fields.items()}).get("pseudonym")
        return found.decode() if found else None

    def report(  # noqa: PLR0913 - all of it comes with one report
        self,
        bucket: str,
        dispatch_id: str,
        gateway: str,
        status: DeliveryStatus,
        reason: str,
        raw_status: str,
        *,
        opted_out: bool = False,
        last_word: bool = False,
        refunded: bool = False,
    ) -> ReportResult | None:
        """Record a gateway's report; ``None`` when no such dispatch of this gateway is known.

        After the ``last_word`` on a message nothing more is tried for it. The event of one that is ``refunded`` tells
        that it cost nothing.
        """
        names = ReceiptKeys(keys.dispatch(bucket, dispatch_id), keys.events(bucket), keys.mirror(bucket))
        arguments = ReceiptArguments(
            gateway=gateway,
            status=status,
            reason=reason,
            raw_status=raw_status,
            opted_out=int(opted_out),
            is_last=int(last_word),
            refunded=int(refunded),
        )
        read = self._scripts.call(RECEIPT, names, arguments)
        if isinstance(read, NotFound):
            return None
        message, _, dispatch = read.slot.decode().removeprefix("d").partition(".")
        verification = parse_verification(read.id.decode(), pairs_to_dict(read.record), read.now)
        place = int(message), int(dispatch)
        return ReportResult(read.recorded == 1, *place, read.now, verification, read.trace.decode())


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message that was given up. Members are empty where the job could not be read."""

    bucket: str
    entry: str
    """Its place among the dead letters of its bucket."""
    at: int
    """When it was given up, in milliseconds by Redis' clock."""
    reason: str
    fields: Mapping[str, str]
    """The job as it was queued."""

    @property
    def id(self) -> str:
        """Under which an operator names it."""
        return entry_id(self.bucket, self.entry)

    def member(self, name: str) -> str:
        """Return a member of the job."""
        return self.fields.get(name, "")


class RedriveResult(StrEnum):
    """What became of a dead letter that was to be put back."""

    REDRIVEN = "redriven"
    GONE = "gone"
    """The letter, or its verification, is no longer there."""
    UNWANTED = "unwanted"
    """The verification has ended, or a newer code is on its way."""


class DeadLetters:
    """The dead letters of all buckets of numbers."""

    def __init__(
        self, client: redis.Redis, scripts: ScriptRunner, limits: StreamLimits, buckets: tuple[str, ...]
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._limits = limits
        self._buckets = buckets

    def count(self) -> int:
        """Return how many letters there are."""
        with translate_errors(), self._client.pipeline(transaction=False) as pipeline:
            for bucket in self._buckets:
                pipeline.xlen(keys.dead_letters(bucket))
            return sum(pipeline.execute())

    def newest(self, most: int) -> list[DeadLetter]:
        """Return the newest letters, newest first."""
        letters = [letter for bucket in self._buckets for letter in self._read(bucket, "-", "+", most)]
        return sorted(letters, key=lambda letter: letter.at, reverse=True)[:most]

    def since(self, milliseconds: int, most: int | None = None) -> list[DeadLetter]:
        """Return the letters of the last ``milliseconds``, newest first; of each bucket the newest ``most``."""
        with translate_errors():
            begin = str(server_time(self._client) - milliseconds)
        letters = [letter for bucket in self._buckets for letter in self._read(bucket, begin, "+", most)]
        return sorted(letters, key=lambda letter: letter.at, reverse=True)

    def find(self, letter_id: str) -> DeadLetter | None:
        """Return a letter by its `DeadLetter.id`."""
        if not (place := parse_entry_id(letter_id, self._buckets)):
            return None
        bucket, entry = place
        return next(self._read(bucket, entry, entry, 1), None)

    def _read(self, bucket: str, begin: str, end: str, most: int | None) -> Iterator[DeadLetter]:
        with translate_errors():
            entries: Any = self._client.xrevrange(keys.dead_letters(bucket), end, begin, count=most)
        for entry, fields in entries:
            yield _letter(bucket, entry.decode(), fields)

    def redrive(self, letter: DeadLetter) -> tuple[RedriveResult, str]:
        """Put a letter's message back into the outbox; return what became of it, and why not.

        It goes into the queue of retries, with a new budget of dispatches; no limit counts it again.
        """
        try:
            job = parse_job(letter.bucket, "", "", "", letter.fields)
        except (KeyError, ValueError):
            return RedriveResult.UNWANTED, "unreadable"
        queue, queues, ready, wake = keys.queue_keys(letter.bucket, RETRY, job.application, job.country, job.channel)
        names = DeadLetterRedriveKeys(
            dead_letters=keys.dead_letters(letter.bucket),
            record=keys.record(letter.bucket, job.id),
            queue=queue,
            queues=queues,
            ready=ready,
            wake=wake,
            events=keys.events(letter.bucket),
        )
        arguments = DeadLetterRedriveArguments(letter.entry, job.application, job.message, job.generation, job.fields)
        match self._scripts.call(DEAD_LETTER_REDRIVE, names, arguments):
            case Redriven():
                return RedriveResult.REDRIVEN, ""
            case Gone():
                return RedriveResult.GONE, ""
            case Unwanted(reason):
                return RedriveResult.UNWANTED, reason.decode()


def short_reason(letter: DeadLetter) -> str:
    """Return the reason in a word, a gateway's own code left out."""
    return letter.reason.partition(" ")[0]


def count_reasons(letters: list[DeadLetter]) -> Counter[str]:
    """Return how many letters have each reason, in a word."""
    return Counter(map(short_reason, letters))


def _letter(bucket: str, entry: str, raw: Mapping[bytes, bytes]) -> DeadLetter:
    fields = entry_values(raw)
    reason = fields.pop("reason", "")
    return DeadLetter(bucket, entry, int(entry.partition("-")[0]), reason, fields)


EARLY_RECEIPT_LIFE: Final = 1000 * keys.early_receipts.seconds
"""Milliseconds for which a receipt is kept whose reference nobody knows yet."""
MAX_EARLY_RECEIPTS = 10
"""Receipts kept for one such reference."""


class References:
    """References of gateways, and receipts that overtook them. What is kept of a reference is a hash."""

    def __init__(self, client: redis.Redis, scripts: ScriptRunner) -> None:
        self._client = client
        self._scripts = scripts

    def remember(self, gateway: str, reference: str, dispatch_id: str, milliseconds: int) -> list[str]:
        """Remember a dispatch by its reference; return the receipts that were faster, as they were handed in."""
        names = ReferencePutKeys(*self._places(gateway, reference))
        early = self._scripts.call(REFERENCE_PUT, names, ReferencePutArguments(dispatch_id, milliseconds))
        return [receipt.decode() for receipt in early.receipts]

    def known(self, gateway: str, references: tuple[str, ...]) -> str | None:
        """Return the dispatch that was taken over under the first of the references that is known; keep nothing."""
        with translate_errors():
            places = [self._places(gateway, one)[0] for one in references]
            found = cast("list[bytes | None]", self._client.mget(places))
        return next((one.decode() for one in found if one), None)

    def dispatch_of(self, gateway: str, references: tuple[str, ...], receipt: str) -> str | None:
        """Return the dispatch that was taken over under one of the references.

        When none is known the ``receipt`` is kept, and `remember` will return it.
        """
        places = tuple(place for reference in references for place in self._places(gateway, reference))
        arguments = ReferenceFindArguments(receipt, EARLY_RECEIPT_LIFE, MAX_EARLY_RECEIPTS)
        reply = self._scripts.call(REFERENCE_FIND, ReferenceFindKeys(places), arguments)
        return reply.dispatch.decode() if isinstance(reply, ReferenceFound) else None

    def _places(self, gateway: str, reference: str) -> tuple[str, str]:
        """Return the keys of a reference, and of receipts that come before it is known."""
        hashed = _hash(reference)
        of = self._scripts.of_gateway
        return of(keys.reference, gateway, hashed), of(keys.early_receipts, gateway, hashed)


def _hash(reference: str) -> str:
    return hashlib.sha256(reference.encode()).hexdigest()[:32]


REPLY_INTERVAL: Final = keys.replied.seconds
"""Seconds from one reply of a kind, by an application to a number, to the next."""
WAITING_REPLY_LIFE: Final = keys.replies.seconds
"""Seconds after which a reply that waits is not sent any more."""
MAX_WAITING_REPLIES: Final = 1000
"""Replies that wait at most; older ones go."""


class Replies:
    """The replies that wait. Raises `StoreUnavailableError` when Redis does not answer in time."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def reserve(self, bucket: str, application: str, pseudonym: str, meaning: str) -> bool:
        """Tell whether a number may get an application's reply of a kind, and then none for a day, come what may."""
        place = keys.replied(bucket, application, meaning, pseudonym)
        with translate_errors():
            return bool(self._client.set(place, 1, nx=True, ex=REPLY_INTERVAL))

    def put(self, entry: bytes) -> None:
        """Let a reply wait for a worker."""
        with translate_errors(), self._client.pipeline(transaction=True) as pipeline:
            stamp = server_time(self._client)
            pipeline.lpush(keys.REPLIES, b"%d " % stamp + entry)
            pipeline.ltrim(keys.REPLIES, 0, MAX_WAITING_REPLIES - 1)
            pipeline.expire(keys.REPLIES, WAITING_REPLY_LIFE)
            pipeline.execute()

    def take(self) -> bytes | None:
        """Return the reply that waits longest, which nobody else gets; ``None`` when none waits."""
        with translate_errors():
            while found := cast("bytes | None", self._client.rpop(keys.REPLIES)):
                stamp, _, entry = found.partition(b" ")
                if server_time(self._client) - int(stamp) < 1000 * WAITING_REPLY_LIFE:
                    return entry
        return None
