"""Deliver a message: hand it to a gateway of its route, learn from how that went, decide what follows."""

import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from otp_service.core.errors import StoreUnavailableError
from otp_service.core.health import BreakerState, Call, Pace
from otp_service.core.keyring import SealBrokenError, new_dispatch_id
from otp_service.core.message import Message
from otp_service.core.verification import DeliveryStatus, Status, Verification
from otp_service.gateways.base import Accepted, FailureKind, Gateway, GatewayError, HoldsConnections
from otp_service.services.channels import next_channel
from otp_service.services.compose import compose
from otp_service.services.context import Context
from otp_service.services.desk import refer
from otp_service.services.record_receipts import plain_reason
from otp_service.store.dispatches import NEVER, Blocked, Candidate, Dispatched, Dropped, Next, Settlement
from otp_service.store.jobs import Job
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)

_PATIENCE = 0.5
"""Seconds between two attempts to record what was handed over."""
_SOON = 1000
"""Milliseconds: a message that may not wait in a thread for its gateway's turn comes back after about so many."""
_DOUBLINGS = 3
"""How often that time doubles, so that a long backlog does not go round and round."""

_NOT_WANTED = frozenset({
    Status.APPROVED, Status.CANCELED, Status.MAX_ATTEMPTS_REACHED, Status.FAILED, "superseded", "delivered",
})  # fmt: skip
"""Reasons to drop a message that nobody misses; any other one is reported as a dead letter."""
_GOES_ON = frozenset({FailureKind.UNAVAILABLE, FailureKind.THROTTLED})
"""Failures after which another gateway is asked."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How persistently a message is delivered."""

    max_dispatches: int
    """Calls for one message, over all gateways."""
    max_ambiguous: int
    """How often it goes on after a call that may have been sent all the same."""
    backoff: tuple[float, ...]
    """Seconds to wait after the first, second … round through the gateways; the last one repeats."""


Wait = Callable[[str, int], bool]
"""Waits in place for a gateway's turn: for an application's message, so many milliseconds. Returns whether it did: it
does not when that is too long, or too many messages of the application wait already."""


def deliver(context: Context, job: Job, policy: Policy, wait: Wait) -> None:
    """Bring one job to an end: handed over, put back for later, or given up with a reason.

    Raises `StoreUnavailableError` when the outcome cannot be recorded: the job then stays in the outbox, and is
    taken up again.
    """
    if job.application not in context.applications:
        return _drop(context, job, Dropped("no_application", job.first_slot))
    route = context.routes.gateways_for(job.country, job.purpose, job.channel)
    if not route:
        return _drop(context, job, Dropped("no_route", job.first_slot))
    called: set[str] = set()
    following = Next.NEXT
    while following is Next.NEXT:
        candidates = [Candidate(name, context.paces[name], name in called) for name in route]
        found = context.store.dispatches.dispatch(job, new_dispatch_id(job.bucket), candidates, policy.max_dispatches)
        match found:
            case Dropped():
                return _drop(context, job, found)
            case Blocked():
                if not wait(job.application, found.wait):
                    return _put_back(context, job, found, policy)
            case Dispatched():
                called.add(found.gateway)
                following = _attempt(context, job, found, policy)
    return None


def _attempt(context: Context, job: Job, dispatched: Dispatched, policy: Policy) -> Next:
    """Make one call and record what became of it; return what follows here."""
    try:
        message = compose(context, job, dispatched)
    except SealBrokenError:  # its root key is gone from the configuration
        _give_up(context, job, dispatched.slot, "unreadable", dispatched.gateway)
        return Next.DONE
    gateway, pace = context.gateways[dispatched.gateway], context.paces[dispatched.gateway]
    outcome, call = _hand_over(gateway, message, dispatched.gateway, pace)
    settlement = _follow_up(context, job, dispatched, outcome, policy)
    ours = _settle(context, job, dispatched, settlement)
    _learn(context, dispatched, call, outcome)
    if isinstance(outcome, Accepted) and isinstance(gateway, HoldsConnections):
        refer(context, dispatched.gateway, outcome.reference, dispatched.dispatch_id)
    _report(job, dispatched, settlement)
    return settlement.next if ours else Next.DONE


def _hand_over(gateway: Gateway, message: Message, name: str, pace: Pace) -> tuple[Accepted | GatewayError, Call]:
    """Call the gateway once; return its answer, and what that tells of the gateway."""
    began = time.perf_counter()
    outcome = _send(gateway, message)
    seconds = time.perf_counter() - began
    kind = "accepted" if isinstance(outcome, Accepted) else outcome.kind
    metrics.record_gateway_call(name, kind, seconds)
    if kind == FailureKind.THROTTLED:
        return outcome, Call.THROTTLED
    return outcome, Call.BAD if kind == FailureKind.UNAVAILABLE or seconds >= pace.slow else Call.WELL


def _send(gateway: Gateway, message: Message) -> Accepted | GatewayError:
    try:
        return gateway.send(message)
    except GatewayError as failure:
        return failure
    except Exception as defect:  # noqa: BLE001 - a stranger's gateway must not take the worker down
        _log.error("gateway_defect", error=type(defect).__name__)  # its text may hold the message
        return GatewayError(FailureKind.UNAVAILABLE, "defect", ambiguous=True)


def _follow_up(
    context: Context, job: Job, dispatched: Dispatched, outcome: Accepted | GatewayError, policy: Policy
) -> Settlement:
    if isinstance(outcome, Accepted):
        return Settlement(Next.DONE, DeliveryStatus.SENT, reference=outcome.reference)
    verification = dispatched.verification
    further = next_channel(context, verification.purpose, verification.country, job.channel)
    return follow_up(outcome, dispatched, policy, further)


def follow_up(failure: GatewayError, dispatched: Dispatched, policy: Policy, further: str | None) -> Settlement:
    """Decide what follows a failed call; ``further`` is the next channel, if there is one.

    *unavailable* and *throttled* go on to another gateway, *channel* goes on through the next channel; nothing else
    does. A call that may have been sent all the same lets delivery go on as often as the policy says, not more.
    """
    status = DeliveryStatus.UNKNOWN if failure.ambiguous else DeliveryStatus.FAILED
    reason = plain_reason(f"{failure.kind} {failure.provider_code}")
    if not dispatched.left or (failure.ambiguous and _ambiguous(dispatched) >= policy.max_ambiguous):
        return Settlement(Next.DEAD, status, reason=reason)
    if failure.kind in _GOES_ON:
        return Settlement(Next.NEXT, status, reason=reason)
    if failure.kind is FailureKind.CHANNEL and further:
        return Settlement(Next.RETRY, status, reason=reason, channel=further)
    return Settlement(Next.DEAD, status, reason=reason)


def _put_back(context: Context, job: Job, blocked: Blocked, policy: Policy) -> None:
    """Let a message come back when a gateway may take it: after a back-off when all were called, and never dead."""
    delay = _delay(blocked, job, policy)
    if blocked.now + delay < blocked.verification.expires:
        context.store.dispatches.settle(job.again(), "", Settlement(Next.RETRY, delay=delay))
        _log.info("message_put_back", verification=job.id, message=job.message, delay=delay)
        return
    called = any(one.message == job.message and one.gateway for one in blocked.verification.deliveries)
    _give_up(context, job, "" if called else job.first_slot, "no_gateway")


def _delay(blocked: Blocked, job: Job, policy: Policy) -> int:
    """Return the milliseconds until a message comes back."""
    rounds = max(_calls(blocked.verification, job).values(), default=0)
    if not rounds:
        soon = _SOON << min(job.put_back, _DOUBLINGS)
        return max(blocked.wait, soon // 2 + secrets.randbelow(soon))  # not all at once
    backoff = round(1000 * policy.backoff[min(rounds, len(policy.backoff)) - 1])
    return backoff if blocked.wait == NEVER else min(blocked.wait, backoff)


def _calls(verification: Verification, job: Job) -> Counter[str]:
    """Return how often each gateway was called for a message through its present channel."""
    return Counter(
        one.gateway
        for one in verification.deliveries
        if one.message == job.message and one.channel == job.channel and one.gateway
    )


def _ambiguous(dispatched: Dispatched) -> int:
    """Return how many earlier calls for the same message may have been sent although they failed."""
    return sum(
        one.message == dispatched.message and one.dispatch < dispatched.number and one.status is DeliveryStatus.UNKNOWN
        for one in dispatched.verification.deliveries
    )


def _settle(context: Context, job: Job, dispatched: Dispatched, settlement: Settlement) -> bool:
    """Record an outcome; return whether the job is still ours.

    What was handed over is recorded again and again while Redis is away, as long as the code lives: forgotten, the
    message would be sent a second time. To record it twice does no harm.
    """
    end = time.monotonic() + (dispatched.verification.expires - dispatched.now) / 1000
    while True:
        try:
            return context.store.dispatches.settle(job, dispatched.slot, settlement, dispatched.gateway)
        except StoreUnavailableError:
            if settlement.status is not DeliveryStatus.SENT or time.monotonic() > end:
                raise
            time.sleep(_PATIENCE)


def _learn(context: Context, dispatched: Dispatched, call: Call, outcome: Accepted | GatewayError) -> None:
    """Tell the breaker how the call went. What it does not learn now it learns from the next call."""
    leave_alone = 0 if isinstance(outcome, Accepted) else round(1000 * outcome.retry_after)
    try:
        changed = context.store.health.observe(dispatched.gateway, dispatched.dispatch_id, call, leave_alone)
    except StoreUnavailableError:
        return
    if changed is not None:
        metrics.record_breaker(dispatched.gateway, changed)
        _log.log(30 if changed is BreakerState.OPEN else 20, f"breaker_{changed}", gateway=dispatched.gateway)


def _drop(context: Context, job: Job, dropped: Dropped) -> None:
    if dropped.reason not in _NOT_WANTED:
        _give_up(context, job, dropped.slot, dropped.reason)
        return
    context.store.dispatches.settle(job, dropped.slot, Settlement(Next.DONE, reason=dropped.reason))
    _log.info("message_dropped", verification=job.id, message=job.message, reason=dropped.reason)


def _give_up(context: Context, job: Job, slot: str, reason: str, gateway: str = "") -> None:
    status = DeliveryStatus.EXPIRED if reason == Status.EXPIRED else DeliveryStatus.FAILED
    context.store.dispatches.settle(job, slot, Settlement(Next.DEAD, status, reason=reason), gateway)
    metrics.record_dead_letter(reason)
    _log.error("message_given_up", verification=job.id, message=job.message, reason=reason)


def _report(job: Job, dispatched: Dispatched, settlement: Settlement) -> None:
    if settlement.next is Next.DEAD:
        metrics.record_dead_letter(settlement.reason.partition(" ")[0])
    _log.log(
        20 if settlement.status is DeliveryStatus.SENT else 30,
        "message_dispatched",
        verification=job.id,
        message=job.message,
        dispatch=dispatched.number,
        gateway=dispatched.gateway,
        choice=dispatched.choice,
        status=str(settlement.status),
        reason=settlement.reason,
        following=str(settlement.next),
    )
