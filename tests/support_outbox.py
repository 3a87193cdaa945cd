"""The outbox as tests look at it, gateways that answer as they are told, and a worker without threads."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import redis
from support_caller import Caller
from support_records import entries_of

from otp_service.domain.consents import ConsentMode
from otp_service.domain.keyring import new_dispatch_id
from otp_service.domain.messages import Message
from otp_service.domain.routing import GatewayLimits, Room
from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import Accepted, FailureKind, GatewayError, GatewaySettings
from otp_service.services.context import Context
from otp_service.services.delivery import DeferredJob, RetryPolicy, deliver
from otp_service.store import keys
from otp_service.store.connection import server_time
from otp_service.store.outbox import (
    CONSUMER_GROUP,
    Candidate,
    Dispatched,
    DispatchResult,
    Dropped,
    FinishResult,
    Job,
    NoGatewayFree,
    ReportResult,
)
from otp_service.store.signatures.outbox import LeaseLost

BUCKET = "00"
EVENTS, DEAD, DELAYED = keys.events(BUCKET), keys.dead_letters(BUCKET), keys.delayed(BUCKET)
FREE = GatewayLimits(per_second=0, in_flight=0, lease=2000, slow=1.0)
"""A gateway without bounds whose calls are waited for two seconds."""
POLICY = RetryPolicy(max_ambiguous=1, backoff=(1.0,))

Script = Iterable[Accepted | GatewayError | Callable[[], None]]


def queue(application: str = "shop", kind: str = "possession", country: str = "PK", channel: str = "sms") -> str:
    """Return the key of a queue."""
    return keys.queue(BUCKET, kind, application, country, channel)


def queues(client: redis.Redis) -> list[str]:
    """Return the keys of all queues that exist, whether or not they are on a list."""
    return sorted(name.decode() for name in client.scan_iter("otp:{*}:outbox:*", count=10_000))


def forget_queues(client: redis.Redis) -> None:
    """Delete all queues, as if workers had delivered what is there."""
    for name in queues(client):
        client.delete(name)


def waiting(client: redis.Redis) -> int:
    """Return how many messages all queues hold, those in the hands of workers too."""
    return sum(client.xlen(name) for name in queues(client))


def pending(client: redis.Redis, name: str | None = None) -> int:
    """Return how many messages of a queue are in the hands of workers."""
    return int(client.xpending(name or queue(), CONSUMER_GROUP)["pending"])


def jobs_of(context: Context, consumer: str = "worker", count: int = 100) -> list[Job]:
    """Take what is new, as a worker does."""
    return context.store.outbox.take(consumer, count)


def requeue(context: Context, *applications: str) -> None:
    """Put up to 100 retries that are due back into their queues, and take nothing."""
    kinds = ("transaction", "possession", "retry")
    context.store.outbox.take("another", 1, [queue(name, kind) for name in applications or ("shop",) for kind in kinds])


def next_retry(client: redis.Redis) -> int | None:
    """Return the milliseconds until the next retry, by the server's clock; ``None`` where none waits."""
    delayed: Any = client.zrange(DELAYED, 0, 0, withscores=True)
    return int(delayed[0][1]) - server_time(client) if delayed else None


def deliver_all(context: Context) -> int:
    """Bring to an end what waits, as a worker does; return how many messages that were."""
    jobs = jobs_of(context, count=1000)
    for job in jobs:
        deliver(context, job, POLICY)
    return len(jobs)


def dispatch(
    context: Context,
    job: Job,
    gateways: Iterable[str] = ("first", "second"),
    *,
    called: Iterable[str] = (),
    rooms: Mapping[str, Room] | None = None,
    max_ambiguous: int = 20,
    **gateway_limits: GatewayLimits,
) -> Dispatched | NoGatewayFree | Dropped | LeaseLost:
    """Choose a gateway for a job; ``gateway_limits`` are those of gateways that have bounds, ``rooms`` not free."""
    rooms_of = {name: Room.FREE for name in gateways if name not in set(called)} | dict(rooms or {})
    candidates = [Candidate(name, gateway_limits.get(name, FREE), rooms_of.get(name)) for name in gateways]
    mirror_query = context.mirror_sync.query("00", ConsentMode.OFF)
    return context.store.dispatches.dispatch(job, new_dispatch_id(job.bucket), candidates, mirror_query, max_ambiguous)


def dispatched(context: Context, job: Job, *gateways: str, **members: Any) -> Dispatched:
    """The same for a job that is certain to be dispatched."""
    found = dispatch(context, job, gateways or ("first", "second"), **members)
    assert isinstance(found, Dispatched), found
    return found


def settle(context: Context, job: Job, where: Dispatched | Dropped, result: DispatchResult) -> FinishResult:
    """Record an outcome where it belongs; return what that has led to."""
    gateway = where.gateway if isinstance(where, Dispatched) else ""
    return context.store.dispatches.finish(job, where.slot, result, gateway)


def report(
    context: Context, made: Dispatched, status: str, *, gateway: str = "first", reason: str = "", raw: str = ""
) -> ReportResult | None:
    """Record what a gateway reports of a dispatch."""
    store = context.store.dispatches
    return store.report(BUCKET, made.dispatch_id, gateway, DeliveryStatus(status), reason, raw)


def story(caller: Caller, one: str) -> list[tuple[Any, ...]]:
    """Return message, dispatch, gateway, status and reason of each dispatch of a verification."""
    deliveries = caller.read(one).verification.deliveries
    return [(each.message, each.dispatch, each.gateway, str(each.status), each.reason) for each in deliveries]


def choices(caller: Caller, one: str) -> list[tuple[str | None, str]]:
    """Return gateway and choice of each dispatch of a verification."""
    return [(each.gateway, str(each.choice)) for each in caller.read(one).verification.deliveries]


def events(client: redis.Redis) -> list[str]:
    return [event["type"] for event in entries_of(client, EVENTS)]


def letters(client: redis.Redis) -> list[str]:
    """Return the reasons of the dead letters."""
    return [letter["reason"] for letter in entries_of(client, DEAD)]


def refused(kind: str, code: str = "http 503", **members: Any) -> GatewayError:
    return GatewayError(FailureKind(kind), code, **members)


def timed_out() -> GatewayError:
    """Return what a gateway says that did not answer: the message may have been sent all the same."""
    return refused("unavailable", "timeout", ambiguous=True)


class Scripted:
    """A gateway that gives the answers it is told, one after the other, and then accepts whatever comes."""

    kind = "scripted"
    channels: ClassVar[frozenset[str]] = frozenset({"sms", "voice", "whatsapp"})
    development_only = False
    Settings = GatewaySettings

    def __init__(self, *script: Accepted | GatewayError | Callable[[], None]) -> None:
        self.script = list(script)
        self.sent: list[Message] = []

    def send(self, message: Message) -> Accepted:
        self.sent.append(message)
        answer = self.script.pop(0) if self.script else Accepted("SM1")
        if callable(answer):
            answer()
            answer = Accepted("SM1")
        if isinstance(answer, GatewayError):
            raise answer
        return answer


class Sender:
    """A worker of an installation whose gateways answer as they are told; it has no threads and no clock."""

    def __init__(self, caller: Caller, **gateways: Scripted) -> None:
        self.caller = caller
        self.context = caller.context
        self.gateways = gateways
        self.context.gateways.update(gateways)  # type: ignore[attr-defined] # filled once by the composition root
        self.held: list[DeferredJob] = []

    def deliver(self, policy: RetryPolicy = POLICY) -> int:
        """Bring to an end what is new or due, or hold it; return how many jobs that were."""
        jobs = jobs_of(self.context)
        for job in jobs:
            self.hand_over(job, policy)
        return len(jobs)

    def hand_over(self, job: Job, policy: RetryPolicy = POLICY) -> DeferredJob | None:
        """Bring one job to an end, or hold it."""
        held = deliver(self.context, job, policy)
        if held is not None:
            self.held.append(held)
        return held

    def go_on(self, policy: RetryPolicy = POLICY) -> None:
        """Let what is held go on."""
        held, self.held = self.held, []
        for one in held:
            self.hand_over(one.job, policy)

    def sent(self) -> list[str]:
        """Return the names of the gateways that were called, each as often as it was."""
        return [name for name, gateway in self.gateways.items() for _ in gateway.sent]


def paced(**bounds: Any) -> GatewayLimits:
    """Return an allowance with some bounds."""
    return replace(FREE, **bounds)
