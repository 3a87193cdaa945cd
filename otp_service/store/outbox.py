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
from typing import Any, Final, cast

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
from otp_service.store.signatures.common import Elsewhere, KeyList, MirrorBehind, NotFound, VerificationKeys
from otp_service.store.signatures.mirror import MIRROR_ALLOWS, MirrorAllowsArguments
from otp_service.store.signatures.signature import ArgumentsT, Signature
from otp_service.store.streams import StreamLimits, entry_id, entry_values, parse_entry_id
from otp_service.store.verifications import VERSION, delivery_slot, parse_verification, record_values

CONSUMER_GROUP = "workers"
"""The consumer group of all queues."""


@dataclass(frozen=True, slots=True)
class Job:
    """A message to deliver, as it was queued. The record that it names has the sealed number."""

    bucket: str
    """The number's; it chooses the outbox."""
    queue: str
    """Key of the queue that it was taken from."""
    entry: str
    consumer: str
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
    """The ``traceparent`` of the queueing call; empty without traces."""
    queued: int = 0
    """When the message was accepted: milliseconds by Redis' clock."""
    called: frozenset[str] = frozenset()
    """The gateways that were called since the job was taken."""

    @property
    def order(self) -> tuple[int, ...]:
        """Sort key within the queue: acceptance, then place."""
        return (self.queued, *map(int, self.entry.split("-")))

    @property
    def first_slot(self) -> str:
        """The record's field for the message until its first dispatch."""
        return delivery_slot(self.message, 1)

    def with_channel(self, channel: str) -> "Job":
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
    """Return a job with nothing but the fields of an entry in an unknown format."""
    parts = tuple(part for pair in fields.items() for part in pair)
    return Job(bucket, queue, entry, consumer, "", "", "", "", "", 0, 0, 0, parts)


LONG_TIME = 3_600_000
"""Milliseconds of silence after which any worker may claim a job."""
RETRY = "retry"
"""Kind of the queues for retries; other queues have the purpose's kind."""
_TURN_RANGE = 1 << 20
_BLPOP_DELAY = 0.1
"""Seconds by which the server may end a wait too late: it looks at blocked clients ten times a second."""
_LOOK_AGAIN = 0.1
"""Seconds until the next call to a bucket whose server is away, or which has skipped queues."""
_LOOKS_PER_SECOND = 16
"""A worker's calls to quiet buckets of a cluster, in sum: a wake-up is lost with the worker that got it."""
_NAP = 0.01
"""Seconds between two looks for a message where a wait is too short to block."""


def _await_wakes(bucket: str) -> tuple[Argument, ...]:
    """Return the command that waits for a bucket's wake-ups and takes them all: a full worker wakes another worker."""
    return "BLMPOP", MAX_WAIT, 1, keys.wake(bucket), "LEFT", "COUNT", 64


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
        """Take ``give_up``, called with an unreadable job and the reason."""
        self._client = client
        self._scripts = scripts
        self._limits = limits
        self._buckets = buckets
        self.share = BucketShare(scripts, "deliver", buckets)
        self._give_up = give_up
        self._wakes = scripts.blocked_commands(keys.wake, _await_wakes)
        """Waits at each bucket of a cluster."""
        self._look_interval = len(buckets) / _LOOKS_PER_SECOND if self._wakes else LONG_TIME / 1000
        """Seconds between two looks at a bucket that sends no wake-up."""
        self._due: dict[str, float] = {}
        """Next look at each bucket, by the monotonic clock."""
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
        """Return up to ``count`` new or due jobs, the queues in turn, except the queues to ``leave``.

        The ``buckets`` are by default the whole share. Raises `StoreUnavailableError` if no server of the share
        answers.
        """
        turn = secrets.randbelow(_TURN_RANGE)

        def call(buckets: Sequence[str], max_jobs: int) -> tuple[KeyList, signed.JobsTakeArguments]:
            prefixes = (keys.queue.beginning(bucket, RETRY) for bucket in buckets)
            names = _of_each(buckets, keys.ready, keys.wake, keys.queues, keys.delayed)
            return KeyList(names), signed.JobsTakeArguments(
                CONSUMER_GROUP, consumer, max_jobs, turn, (*prefixes, *leave)
            )

        jobs: list[Job] = []
        buckets = self.share.buckets if buckets is None else buckets
        for group, reply in self._gather(signed.JOBS_TAKE, call, buckets, count):
            jobs += self._jobs(consumer, reply.jobs)
            if reply.jobs:
                continue
            seconds = self._look_interval
            if reply.next_retry >= 0:
                seconds = min(seconds, reply.next_retry / 1000)
            for bucket in group:
                has_more = self._wakes is not None and any(f"{{{bucket}}}" in queue for queue in leave)
                self._due[bucket] = time.monotonic() + (min(seconds, _LOOK_AGAIN) if has_more else seconds)
        return jobs

    def _gather(
        self,
        script: Signature[KeyList, ArgumentsT, signed.JobsTaken],
        call: Callable[[Sequence[str], int], tuple[KeyList, ArgumentsT]],
        buckets: Sequence[str],
        count: int,
    ) -> Iterator[tuple[Sequence[str], signed.JobsTaken]]:
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
        """Return when a bucket may have a job, or when the time is over or nearly over."""
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
        """Wake other workers, because this worker is busy."""
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
        """Return up to ``count`` jobs that dead workers hold for longer than ``idle`` milliseconds.

        On a cluster each call covers another part of the share.
        """

        def call(buckets: Sequence[str], max_jobs: int) -> tuple[KeyList, signed.JobsClaimArguments]:
            names = _of_each(buckets, keys.queues, keys.ready)
            return KeyList(names), signed.JobsClaimArguments(CONSUMER_GROUP, consumer, max_jobs, idle)

        buckets = self.share.next(_LOOKS_PER_SECOND) if self._wakes else self.share.buckets
        replies = self._gather(signed.JOBS_CLAIM, call, buckets, count)
        return [job for _, reply in replies for job in self._jobs(consumer, reply.jobs)]

    def lag(self) -> float:
        """Return the age of the oldest message in a queue, in seconds; 0 without a message.

        A message leaves its queue when a gateway has it, when it is given up, and while it waits for a retry.
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
        queued = [now]
        for entries in oldest:
            if isinstance(entries, Exception):
                if "WRONGTYPE" not in str(entries):  # a key of another type in the place of a queue is skipped
                    raise entries
            elif entries:
                queued.append(int(entry_values(entries[0][1]).get("queued", 0)) // 1000 or now)
        return float(now - min(queued))

    def renew(self, consumer: str, jobs: Iterable[Job]) -> None:
        """Keep these jobs for a consumer; jobs that other consumers have by now stay theirs."""
        self._set_silence(consumer, tuple(jobs), 0)

    def requeue_job(self, consumer: str, jobs: Iterable[Job]) -> None:
        """Let other consumers claim these jobs at once."""
        self._set_silence(consumer, tuple(jobs), LONG_TIME)

    def _set_silence(self, consumer: str, jobs: tuple[Job, ...], silent: int) -> None:
        """Have a consumer's jobs count as silent for so many milliseconds."""
        for buckets in self._scripts.spread(self._buckets):
            if own := [job for job in jobs if job.bucket in buckets]:
                queues, entries = tuple(job.queue for job in own), tuple(job.entry for job in own)
                arguments = signed.JobsRenewArguments(CONSUMER_GROUP, consumer, silent, entries)
                self._scripts.call(signed.JOBS_RENEW, KeyList(queues), arguments)

    def sweep(self, idle: int) -> None:
        """Delete old jobs, empty queues, and consumers without jobs that are silent for ``idle`` milliseconds."""
        for bucket in self.share.buckets:
            names = signed.QueuesSweepKeys(keys.queues(bucket), keys.ready(bucket))
            arguments = signed.QueuesSweepArguments(CONSUMER_GROUP, idle, self._limits.milliseconds)
            self._scripts.call(signed.QUEUES_SWEEP, names, arguments)

    def _jobs(self, consumer: str, entries: Iterable[signed.TakenJob]) -> Iterable[Job]:
        """Yield the jobs of entries; an unreadable entry goes to the dead letters."""
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


NEVER = -1
"""In place of milliseconds: every gateway has been called."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """The message is no longer wanted."""

    reason: str
    slot: str = ""
    """The record's field that still shows the message as waiting; empty for none."""
    rule: str = ""
    """The rule of the guard that refused the message; empty for none."""


@dataclass(frozen=True, slots=True)
class NoGatewayFree:
    """No gateway takes the message now."""

    wait: int
    """Milliseconds until a gateway may; `NEVER` when all have been called already."""
    now: int
    """Milliseconds by Redis' clock."""
    verification: Verification


@dataclass(frozen=True, slots=True)
class Dispatched:
    """The call to make now."""

    dispatch_id: str
    message: int
    number: int
    """Number of the call among those of the message, from 1."""
    gateway: str
    choice: str
    """Why this gateway: ``configured``, ``fail_over``, ``already_tried``, ``breaker`` …"""
    now: int
    """Milliseconds by Redis' clock."""
    verification: Verification

    @property
    def slot(self) -> str:
        """The record's field for the outcome."""
        return delivery_slot(self.message, self.number)


DispatchOutcome = Dispatched | NoGatewayFree | Dropped | signed.LeaseLost | MirrorBehind


def _outcome(job: Job, dispatch_id: str, reply: signed.DispatchDecision) -> DispatchOutcome:
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
    """Whether this worker may call the gateway; ``None`` when it was called since the job was taken."""

    def for_script(self, state: bytes = b"") -> signed.RouteGateway:
        """Return the arguments of `dispatch.lua` for the gateway, with its state if it is in another slot."""
        limits = self.allowance
        rate = f"{limits.per_second:g}"
        return signed.RouteGateway(self.name, rate, limits.in_flight, limits.lease, self.room or "called", state)


class FinishResult(StrEnum):
    """The result of finishing a dispatch."""

    FINISHED = "finished"
    """The requested next step follows."""
    ARRIVED = "arrived"
    """A receipt arrived meanwhile: the gateway has the message, or the next step is decided. Nothing more is sent."""
    LEASE_LOST = "lease-lost"
    """Another worker has the job by now, and decides what follows."""


class NextStep(StrEnum):
    """The next step of a job after a dispatch."""

    DONE = "done"
    NEXT = "next"
    """Another dispatch at once."""
    RETRY = "retry"
    """Another round, after a pause."""
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class DispatchResult:
    """The outcome of a dispatch, and the next step."""

    next: NextStep
    status: DeliveryStatus = DeliveryStatus.FAILED
    reason: str = ""
    reference: str = ""
    delay: int = 0
    """Milliseconds until a retry."""
    channel: str | None = None
    """Channel of a retry; ``None`` for the same."""
    cost: int = 0
    """Cost of the call in millionths."""
    opted_out: bool = False
    """Whether the number's holder opted out at the provider: the ledger learns it from the event."""
    template: str = ""
    """Template of the message: id, version and digest, with blanks between."""


@dataclass(frozen=True, slots=True)
class ReportResult:
    """The result of a receipt."""

    news: bool
    """Whether the receipt changed the record: a repeated or late receipt does not."""
    message: int
    dispatch: int
    now: int
    verification: Verification
    trace: str = ""
    """The ``traceparent`` of the dispatch; empty without traces."""


class Dispatches:
    """Calls to gateways, recorded in their verifications."""

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
    ) -> DispatchOutcome:
        """Choose a gateway of the route, which must not be empty, and record that it is about to be called.

        The message is dropped once more than ``max_ambiguous`` of its dispatches may have been sent although they
        failed; a call that a dead worker left open counts among them. Receipts link to the ``trace``.
        """
        candidates = tuple(route)
        gateway_keys, elsewhere = list[str](), dict[str, GatewayLimits]()
        if self._scripts.is_cluster:
            elsewhere = {candidate.name: candidate.allowance for candidate in candidates if candidate.room}
        else:
            gateway_keys = [key for candidate in candidates for key in self._scripts.gateway_keys(candidate.name)]
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
            rest=tuple(gateway_keys),
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
            gateways = (candidate.for_script(states.get(candidate.name, b"")) for candidate in candidates)
            call = arguments._replace(rest=tuple(part for gateway in gateways for part in gateway))
            while isinstance(reply := self._scripts.call(signed.DISPATCH, names, call, self._ruleset(job)), Elsewhere):
                call = call._replace(elsewhere=revocation(self._scripts, job.application, reply))
            return reply

        return _outcome(job, dispatch_id, GatewayCall(self._scripts, dispatch_id, elsewhere).decide(ask))

    def is_allowed(self, job: Job, mirror_query: MirrorQuery) -> bool:
        """Return whether the mirror of the ledger allows a message; `dispatch` checks again."""
        names = VerificationKeys(keys.record(job.bucket, job.id), keys.mirror(job.bucket))
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

        ``slot`` is the record's field for it, empty for none; ``gateway`` is the gateway that was called, empty for
        none: then a worker that has lost the job does nothing.
        """
        names = signed.DispatchFinishKeys(
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
        arguments = signed.DispatchFinishArguments(
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
            rest=(job.with_channel(result.channel) if result.channel else job).fields,
        )
        reply = self._scripts.call(signed.DISPATCH_FINISH, names, arguments, self._ruleset(job))
        return FinishResult(reply.decode())

    def _ruleset(self, job: Job) -> CompiledRuleset:
        """Return the rules of a job's application; none for an application that left the configuration."""
        return self._rulesets.get(job.application, NO_RULES)

    def give_up(self, job: Job, reason: str) -> None:
        """Move a job without a known record to the dead letters."""
        self.finish(job, "", DispatchResult(NextStep.DEAD, reason=reason))

    def verification_of(self, bucket: str, dispatch_id: str, gateway: str | None = None) -> str | None:
        """Return the verification of a dispatch, of any ``gateway`` by default; ``None`` when it is unknown or gone."""
        with translate_errors():
            values: Any = self._client.hmget(keys.dispatch(bucket, dispatch_id), "record", "gateway")
        record, through = values
        if record is None or (gateway is not None and through != gateway.encode()):
            return None
        return str(record.decode()).rpartition(":")[2]

    def pseudonym_of(self, bucket: str, dispatch_id: str) -> str | None:
        """Return the pseudonym of a dispatch's number; ``None`` when it is unknown or gone."""
        with translate_errors():
            record = cast("bytes | None", self._client.hget(keys.dispatch(bucket, dispatch_id), "record"))
            fields: Any = self._client.hgetall(record.decode()) if record else {}
        pseudonym = record_values({name.decode(): value for name, value in fields.items()}).get("pseudonym")
        return pseudonym.decode() if pseudonym else None

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
        """Record a gateway's report; return ``None`` for an unknown dispatch or another gateway's.

        After a report with ``last_word`` no further delivery is tried. With ``refunded`` the event has no cost.
        """
        names = signed.ReceiptKeys(keys.dispatch(bucket, dispatch_id), keys.events(bucket), keys.mirror(bucket))
        arguments = signed.ReceiptArguments(
            gateway=gateway,
            status=status,
            reason=reason,
            raw_status=raw_status,
            opted_out=int(opted_out),
            is_last=int(last_word),
            refunded=int(refunded),
        )
        reply = self._scripts.call(signed.RECEIPT, names, arguments)
        if isinstance(reply, NotFound):
            return None
        message, _, dispatch = reply.slot.decode().removeprefix("d").partition(".")
        verification = parse_verification(reply.id.decode(), pairs_to_dict(reply.record), reply.now)
        place = int(message), int(dispatch)
        return ReportResult(reply.recorded == 1, *place, reply.now, verification, reply.trace.decode())


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up. Members are empty where the job is unreadable."""

    bucket: str
    entry: str
    """Place among the dead letters of the bucket."""
    at: int
    """When the message was given up, in milliseconds by Redis' clock."""
    reason: str
    fields: Mapping[str, str]
    """The job as it was queued."""

    @property
    def id(self) -> str:
        """The identifier that operators use."""
        return entry_id(self.bucket, self.entry)

    def member(self, name: str) -> str:
        """Return a member of the job."""
        return self.fields.get(name, "")


class RedriveResult(StrEnum):
    """The result of redriving a dead letter."""

    REDRIVEN = "redriven"
    GONE = "gone"
    """The letter or its verification is gone."""
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
        with translate_errors(), self._client.pipeline(transaction=False) as pipeline:
            for bucket in self._buckets:
                pipeline.xlen(keys.dead_letters(bucket))
            return sum(pipeline.execute())

    def newest(self, max_letters: int) -> list[DeadLetter]:
        """Return the newest letters, newest first."""
        return self._newest("-", max_letters)[:max_letters]

    def since(self, milliseconds: int, max_letters: int | None = None) -> list[DeadLetter]:
        """Return the letters of the last ``milliseconds``, newest first; up to ``max_letters`` of each bucket."""
        with translate_errors():
            begin = str(server_time(self._client) - milliseconds)
        return self._newest(begin, max_letters)

    def _newest(self, begin: str, max_letters: int | None) -> list[DeadLetter]:
        letters = [letter for bucket in self._buckets for letter in self._read(bucket, begin, "+", max_letters)]
        return sorted(letters, key=lambda letter: letter.at, reverse=True)

    def find(self, letter_id: str) -> DeadLetter | None:
        """Return a letter by its `DeadLetter.id`."""
        if not (place := parse_entry_id(letter_id, self._buckets)):
            return None
        bucket, entry = place
        return next(self._read(bucket, entry, entry, 1), None)

    def _read(self, bucket: str, begin: str, end: str, max_letters: int | None) -> Iterator[DeadLetter]:
        with translate_errors():
            entries: Any = self._client.xrevrange(keys.dead_letters(bucket), end, begin, count=max_letters)
        for entry, raw in entries:
            fields = entry_values(raw)
            reason, at = fields.pop("reason", ""), int(entry.partition(b"-")[0])
            yield DeadLetter(bucket, entry.decode(), at, reason, fields)

    def redrive(self, letter: DeadLetter) -> tuple[RedriveResult, str]:
        """Put a letter's message into the queue of retries; return the result, and the reason if it is unwanted.

        The message has a new budget of dispatches; no limit counts it again.
        """
        try:
            job = parse_job(letter.bucket, "", "", "", letter.fields)
        except (KeyError, ValueError):
            return RedriveResult.UNWANTED, "unreadable"
        queue, queues, ready, wake = keys.queue_keys(letter.bucket, RETRY, job.application, job.country, job.channel)
        names = signed.DeadLetterRedriveKeys(
            dead_letters=keys.dead_letters(letter.bucket),
            record=keys.record(letter.bucket, job.id),
            queue=queue,
            queues=queues,
            ready=ready,
            wake=wake,
            events=keys.events(letter.bucket),
        )
        arguments = signed.DeadLetterRedriveArguments(
            letter.entry, job.application, job.message, job.generation, job.fields
        )
        match self._scripts.call(signed.DEAD_LETTER_REDRIVE, names, arguments):
            case signed.Redriven():
                return RedriveResult.REDRIVEN, ""
            case signed.Gone():
                return RedriveResult.GONE, ""
            case signed.Unwanted(reason):
                return RedriveResult.UNWANTED, reason.decode()


def short_reason(letter: DeadLetter) -> str:
    """Return the reason in a word, a gateway's own code left out."""
    return letter.reason.partition(" ")[0]


def count_reasons(letters: list[DeadLetter]) -> Counter[str]:
    """Return how many letters have each reason, in a word."""
    return Counter(map(short_reason, letters))


EARLY_RECEIPT_LIFE: Final = 1000 * keys.early_receipts.seconds
"""Milliseconds for which a receipt with an unknown reference is stored."""
MAX_EARLY_RECEIPTS = 10
"""Receipts stored for an unknown reference."""


class References:
    """Hashes of gateways' references, and receipts that came before their reference was known."""

    def __init__(self, client: redis.Redis, scripts: ScriptRunner) -> None:
        self._client = client
        self._scripts = scripts

    def remember(self, gateway: str, reference: str, dispatch_id: str, milliseconds: int) -> list[str]:
        """Remember a dispatch by its reference; return the receipts that came before, unchanged."""
        names = signed.ReferencePutKeys(*self._places(gateway, reference))
        early = self._scripts.call(signed.REFERENCE_PUT, names, signed.ReferencePutArguments(dispatch_id, milliseconds))
        return [receipt.decode() for receipt in early]

    def known(self, gateway: str, references: tuple[str, ...]) -> str | None:
        """Return the dispatch of the first known reference; store nothing."""
        with translate_errors():
            places = [self._places(gateway, reference)[0] for reference in references]
            stored = cast("list[bytes | None]", self._client.mget(places))
        return next((dispatch.decode() for dispatch in stored if dispatch), None)

    def dispatch_of(self, gateway: str, references: tuple[str, ...], receipt: str) -> str | None:
        """Return the dispatch of a known reference; otherwise store the ``receipt`` until `remember` returns it."""
        places = tuple(place for reference in references for place in self._places(gateway, reference))
        arguments = signed.ReferenceFindArguments(receipt, EARLY_RECEIPT_LIFE, MAX_EARLY_RECEIPTS)
        reply = self._scripts.call(signed.REFERENCE_FIND, KeyList(places), arguments)
        return reply.dispatch.decode() if isinstance(reply, signed.ReferenceFound) else None

    def _places(self, gateway: str, reference: str) -> tuple[str, str]:
        """Return the keys of a reference, and of receipts that come before it is known."""
        hashed = hashlib.sha256(reference.encode()).hexdigest()[:32]
        of = self._scripts.of_gateway
        return of(keys.reference, gateway, hashed), of(keys.early_receipts, gateway, hashed)


REPLY_INTERVAL: Final = keys.replied.seconds
"""Seconds between two replies of a kind, by an application to a number."""
WAITING_REPLY_LIFE: Final = keys.replies.seconds
"""Seconds after which a waiting reply is not sent any more."""
MAX_WAITING_REPLIES: Final = 1000
"""Replies that may wait; the oldest are dropped."""


class Replies:
    """The replies that wait. Raises `StoreUnavailableError` when Redis does not answer in time."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def reserve(self, bucket: str, application: str, pseudonym: str, meaning: str) -> bool:
        """Return whether a number may get an application's reply of a kind; if so, it gets no other for a day."""
        place = keys.replied(bucket, application, meaning, pseudonym)
        with translate_errors():
            return bool(self._client.set(place, 1, nx=True, ex=REPLY_INTERVAL))

    def put(self, entry: bytes) -> None:
        with translate_errors(), self._client.pipeline(transaction=True) as pipeline:
            stamp = server_time(self._client)
            pipeline.lpush(keys.REPLIES, b"%d " % stamp + entry)
            pipeline.ltrim(keys.REPLIES, 0, MAX_WAITING_REPLIES - 1)
            pipeline.expire(keys.REPLIES, WAITING_REPLY_LIFE)
            pipeline.execute()

    def take(self) -> bytes | None:
        """Remove and return the reply that waits longest; ``None`` when none waits."""
        with translate_errors():
            while reply := cast("bytes | None", self._client.rpop(keys.REPLIES)):
                stamp, _, entry = reply.partition(b" ")
                if server_time(self._client) - int(stamp) < 1000 * WAITING_REPLY_LIFE:
                    return entry
        return None
