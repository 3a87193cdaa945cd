"""Deliver a message: derive the code, render the text, hand it to a gateway, record what became of it."""

import time
from dataclasses import dataclass

from otp_service.core.errors import StoreUnavailableError
from otp_service.core.keyring import SealBrokenError, new_dispatch_id
from otp_service.core.message import Message
from otp_service.core.verification import DeliveryStatus, Status
from otp_service.gateways.base import Accepted, FailureKind, Gateway, GatewayError
from otp_service.services.compose import compose
from otp_service.services.context import Context
from otp_service.services.record_receipts import plain_reason
from otp_service.store.outbox import Dispatched, Dropped, Job, Next, Settlement
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)

_PATIENCE = 0.5
"""Seconds between two attempts to record what was handed over."""

_NOT_WANTED = frozenset({Status.APPROVED, Status.CANCELED, Status.MAX_ATTEMPTS_REACHED, Status.FAILED, "superseded"})
"""Reasons to drop a message that nobody misses; any other one is reported as a dead letter."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How persistently a message is delivered."""

    max_dispatches: int
    """Calls for one message, over all gateways."""
    backoff: tuple[float, ...]
    """Seconds to wait after the first, second … round through the gateways; the last one repeats."""


def deliver(context: Context, job: Job, policy: Policy) -> None:
    """Bring one job to an end: handed over, put back for later, or given up with a reason.

    Raises `StoreUnavailableError` when the outcome cannot be recorded: the job then stays in the outbox, and is
    taken up again.
    """
    if job.application not in context.applications:
        return _drop(context, job, Dropped("no_application", job.first_slot))
    gateways = context.routes.gateways_for(job.country, job.purpose, job.channel)
    if not gateways:
        return _drop(context, job, Dropped("no_route", job.first_slot))
    following = Next.NEXT
    while following is Next.NEXT:
        dispatched = context.store.outbox.dispatch(job, new_dispatch_id(job.bucket), gateways, policy.max_dispatches)
        if isinstance(dispatched, Dropped):
            return _drop(context, job, dispatched)
        try:
            message = compose(context, job, dispatched)
        except SealBrokenError:  # its root key is gone from the configuration
            return _give_up(context, job, dispatched, "unreadable")
        settlement = _hand_over(context.gateways[dispatched.gateway], message, dispatched, gateways, policy)
        ours = _settle(context, job, dispatched, settlement)
        _report(job, dispatched, settlement)
        following = settlement.next if ours else Next.DONE
    return None


def _settle(context: Context, job: Job, dispatched: Dispatched, settlement: Settlement) -> bool:
    """Record an outcome; return whether the job is still ours.

    What was handed over is recorded again and again while Redis is away, as long as the code lives: forgotten, the
    message would be sent a second time. To record it twice does no harm.
    """
    end = time.monotonic() + (dispatched.verification.expires - dispatched.now) / 1000
    while True:
        try:
            return context.store.outbox.settle(job, dispatched, settlement)
        except StoreUnavailableError:
            if settlement.status is not DeliveryStatus.SENT or time.monotonic() > end:
                raise
            time.sleep(_PATIENCE)


def _drop(context: Context, job: Job, dropped: Dropped) -> None:
    if dropped.reason not in _NOT_WANTED:
        _give_up(context, job, dropped, dropped.reason)
        return
    context.store.outbox.settle(job, dropped, Settlement(Next.DONE, reason=dropped.reason))
    _log.info("message_dropped", verification=job.id, message=job.message, reason=dropped.reason)


def _give_up(context: Context, job: Job, ended: Dispatched | Dropped, reason: str) -> None:
    status = DeliveryStatus.EXPIRED if reason == Status.EXPIRED else DeliveryStatus.FAILED
    context.store.outbox.settle(job, ended, Settlement(Next.DEAD, status, reason=reason))
    metrics.record_dead_letter(reason)
    _log.error("message_given_up", verification=job.id, message=job.message, reason=reason)


def _hand_over(
    gateway: Gateway, message: Message, dispatched: Dispatched, gateways: tuple[str, ...], policy: Policy
) -> Settlement:
    """Call the gateway once and decide what follows."""
    began = time.perf_counter()
    outcome = _send(gateway, message)
    kind = "accepted" if isinstance(outcome, Accepted) else outcome.kind
    metrics.record_gateway_call(dispatched.gateway, kind, time.perf_counter() - began)
    if isinstance(outcome, Accepted):
        return Settlement(Next.DONE, DeliveryStatus.SENT, reference=outcome.reference)
    return follow_up(outcome, dispatched, len(gateways), policy)


def _send(gateway: Gateway, message: Message) -> Accepted | GatewayError:
    try:
        return gateway.send(message)
    except GatewayError as failure:
        return failure
    except Exception as defect:  # noqa: BLE001 - a stranger's gateway must not take the worker down
        _log.error("gateway_defect", error=type(defect).__name__)  # its text may hold the message
        return GatewayError(FailureKind.UNAVAILABLE, "defect", ambiguous=True)


def follow_up(failure: GatewayError, dispatched: Dispatched, gateways: int, policy: Policy) -> Settlement:
    """Decide what follows a failed call; ``gateways`` is the number of gateways that the route names.

    Only *unavailable* and *throttled* go on: to the next gateway at once, or, after a round through all of them,
    later. A call that may have been sent all the same lets delivery go on once, not twice. Nothing goes on for
    longer than the code lives.
    """
    status = DeliveryStatus.UNKNOWN if failure.ambiguous else DeliveryStatus.FAILED
    reason = plain_reason(f"{failure.kind} {failure.provider_code}")
    over = Settlement(Next.DEAD, status, reason=reason)
    if (
        failure.kind not in {FailureKind.UNAVAILABLE, FailureKind.THROTTLED}
        or dispatched.number >= policy.max_dispatches
    ):
        return over
    if failure.ambiguous and _was_ambiguous(dispatched):
        return over
    if dispatched.number % gateways:
        return Settlement(Next.NEXT, status, reason=reason)
    rounds = dispatched.number // gateways
    delay = round(1000 * policy.backoff[min(rounds, len(policy.backoff)) - 1])
    if dispatched.now + delay >= dispatched.verification.expires:
        return over
    return Settlement(Next.RETRY, status, reason=reason, delay=delay)


def _was_ambiguous(dispatched: Dispatched) -> bool:
    """Tell whether an earlier call for the same message may have been sent although it failed."""
    return any(
        one.message == dispatched.message and one.dispatch < dispatched.number and one.status is DeliveryStatus.UNKNOWN
        for one in dispatched.verification.deliveries
    )


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
        status=str(settlement.status),
        reason=settlement.reason,
        following=str(settlement.next),
    )
