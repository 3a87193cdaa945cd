"""Deliver a message: ask policies, compose, call gateways, back off, record the outcome."""

import logging
import secrets
import time
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace

from otp_service.domain.codes import derive_code, unseal_destination, unseal_details
from otp_service.domain.keyring import SealBrokenError, byte_of_id, new_dispatch_id
from otp_service.domain.messages import Message, MessageContent, render_message, stated_minutes
from otp_service.domain.routing import CallResult
from otp_service.domain.verification import Channel, DeliveryStatus, Status, Verification
from otp_service.errors import LedgerUnavailableError, MessageNotAllowedError, StoreUnavailableError
from otp_service.gateways.base import (
    Accepted,
    FailureKind,
    Gateway,
    GatewayError,
    SupportsConnections,
    SupportsReceipts,
    SupportsSignedReceiptUrl,
)
from otp_service.gateways.http_client import reference_of
from otp_service.policies.base import PolicyRequest, PolicyRunner, VerdictKind
from otp_service.services.call_outcomes import call_result, record_call_result, result_after_failure, sanitize_reason
from otp_service.services.context import Context
from otp_service.services.pricing import message_cost
from otp_service.services.receipts import link_reference, receipt_url
from otp_service.services.sender_registrations import today
from otp_service.services.verifications import count_refusal, next_channel
from otp_service.store.mirror import MirrorQuery
from otp_service.store.outbox import (
    NEVER,
    Candidate,
    Dispatched,
    DispatchOutcome,
    DispatchResult,
    Dropped,
    FinishResult,
    Job,
    NextStep,
    NoGatewayFree,
)
from otp_service.store.signatures.common import MirrorBehind
from otp_service.store.signatures.outbox import LeaseLost
from otp_service.telemetry import metrics, tracing
from otp_service.telemetry.logging import get_logger, log_context

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    """The decision of policies that a message may not go through its channel."""

    reason: str
    """``policy NAME``, or ``no_verdict NAME`` for a policy that gave no verdict and has ``unknown = "deny"``."""
    channel: str | None
    """Channel to continue with; ``None`` to give the message up."""
    slot: str
    """Slot of the record that shows the message as queued; empty for none."""


_ACCEPTED_STATUSES = frozenset({DeliveryStatus.SENT, DeliveryStatus.DELIVERED})
_SETTLE_RETRY_DELAY = 0.5
"""Seconds between attempts to record an accepted message."""
_STALE_MIRROR_DELAY = 200
"""Milliseconds until the next attempt after a stale mirror, which is synchronised each second."""
_NO_PLACE_DELAY = 100
"""Milliseconds until the next attempt while no thread is free for policies."""
MAX_DEFER = 1000
"""Maximum milliseconds that a worker holds a message."""
_MIN_BACKOFF_ROOM = 1000
"""Milliseconds that a back-off may always take, even if more than half of the code's remaining life."""
_SILENT_DROP_REASONS = frozenset(
    {
        Status.APPROVED,
        Status.CANCELED,
        Status.MAX_ATTEMPTS_REACHED,
        Status.FAILED,
        "superseded",
        "sent",
        "reported",
        "suppressed",
        "frozen",
        "consent-required",
    }
)
"""Reasons to drop a message; with any other it becomes a dead letter."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Limits and delays of repeated calls for a message."""

    max_ambiguous: int
    """Maximum number of failed calls that may have sent the message; one more ends its delivery."""
    backoff: tuple[float, ...]
    """Minimum seconds after the first, second … round through the gateways; the last repeats."""


@dataclass(frozen=True, slots=True)
class DeferredJob:
    """A job that its worker holds for some milliseconds."""

    job: Job
    milliseconds: int
    gateways: frozenset[str] = frozenset()
    """Gateways that may take the message: the end of a call to any of them ends the delay."""


def deliver(context: Context, job: Job, retry_policy: RetryPolicy) -> DeferredJob | None:
    """Deliver a job, put it back for later, or give it up; return it if the worker is to hold it."""
    route = context.routes.gateways_for(job.country, job.purpose, job.channel)
    try:
        application = context.access_cache.find(job.application)
        if application is None or not route:
            _drop(context, job, Dropped("no_route" if application else "no_application", job.first_slot))
            return None
        mirror_query = context.mirror_sync.query(job.bucket, application.consent_for_resend)
    except LedgerUnavailableError:  # the application may be new
        return DeferredJob(job, MAX_DEFER)
    following = _apply_policies(context, job, route, mirror_query)
    while following is NextStep.NEXT:
        outcome = _dispatch(context, job, route, mirror_query, retry_policy)
        match outcome:
            case MirrorBehind():
                return DeferredJob(job, _STALE_MIRROR_DELAY)
            case LeaseLost() | Dropped():
                _drop(context, job, outcome)
                return None
            case NoGatewayFree():
                return _hold_or_back_off(context, job, route, outcome, retry_policy)
        job = replace(job, called=job.called | {outcome.gateway})
        try:
            with log_context(dispatch=outcome.dispatch_id):
                following = _call_gateway(context, job, outcome)
        finally:
            context.gateway_calls.leave(outcome.gateway)
    return following if isinstance(following, DeferredJob) else None


def _dispatch(
    context: Context, job: Job, route: Collection[str], mirror_query: MirrorQuery, retry_policy: RetryPolicy
) -> DispatchOutcome:
    """Choose a gateway that this worker has a free thread for, and reserve the thread."""
    rooms = context.gateway_calls.reserve(name for name in route if name not in job.called)
    candidates = [Candidate(name, context.gateway_limits[name], rooms.get(name)) for name in route]
    chosen = None
    try:
        outcome = context.store.dispatches.dispatch(
            job,
            new_dispatch_id(byte_of_id(job.id)),
            candidates,
            mirror_query,
            retry_policy.max_ambiguous,
            tracing.traceparent(),
        )
        chosen = outcome.gateway if isinstance(outcome, Dispatched) else None
    finally:
        context.gateway_calls.keep(rooms, chosen)
    return outcome


def _call_gateway(context: Context, job: Job, dispatched: Dispatched) -> NextStep:
    message = _compose_or_give_up(context, job, dispatched)
    if message is None:
        return NextStep.DONE
    name, verification = dispatched.gateway, dispatched.verification
    gateway = context.gateways[name]
    cost = message_cost(context, name, message, job.country)  # nothing may fail between the call and its record
    call, began = context.gateway_calls.begin(name, dispatched.dispatch_id), time.perf_counter()
    with tracing.span("send", "client", gateway=name, verification=job.id):
        tracing.annotate(dispatch=dispatched.dispatch_id, dispatch_number=dispatched.number)
        outcome = _send(gateway, message)
        outcome_name = "accepted" if isinstance(outcome, Accepted) else outcome.kind
        tracing.annotate(failed=not isinstance(outcome, Accepted), outcome=outcome_name)
    seconds = time.perf_counter() - began
    observed = call_result(outcome, seconds, context.gateway_limits[name])
    counted = context.gateway_calls.end(call, observed)
    metrics.dispatches.count(gateway=name, outcome=outcome_name)
    metrics.dispatch_duration.observe(seconds, gateway=name)
    throttled_for, refusal = 0.0, ""
    if isinstance(outcome, Accepted):
        if isinstance(gateway, SupportsConnections):  # its receipts do not wait
            link_reference(context, name, outcome.reference, dispatched.dispatch_id)
        result = DispatchResult(NextStep.DONE, DeliveryStatus.SENT, reference=outcome.reference, cost=cost)
    else:
        further = next_channel(context, verification.purpose, verification.country, job.channel)
        result = result_after_failure(outcome, further, cost)
        throttled_for = 0.0 if outcome.message_specific else 1000 * outcome.retry_after
        refusal = result.reason if outcome.our_fault else ""
    result = replace(result, template=str(message.template or ""))
    finished = _record_outcome(context, job, dispatched, result)
    following = result.next if finished is FinishResult.FINISHED else NextStep.DONE
    with suppress(StoreUnavailableError):  # the breaker learns from the next call
        record_call_result(context, name, call.dispatch_id, observed, throttled_for, refusal, counted)
    if following is NextStep.DEAD:
        metrics.dead_letters.count(reason=result.reason.partition(" ")[0])
    _log.log(
        logging.INFO if result.status is DeliveryStatus.SENT else logging.WARNING,
        "message_dispatched",
        verification=job.id,
        message=job.message,
        dispatch_number=dispatched.number,
        gateway=name,
        choice=dispatched.choice,
        status=str(result.status),
        reason=result.reason,
        following=str(following),
    )
    return following


def _compose_or_give_up(context: Context, job: Job, dispatched: Dispatched) -> Message | None:
    """Return the message, or give the job up and return ``None``."""
    try:
        return compose_message(context, job, dispatched)
    except SealBrokenError:  # its root key is no longer configured
        reason = "unreadable"
    except MessageNotAllowedError as refused:
        reason = refused.violation
    except Exception as defect:  # noqa: BLE001 - nothing was sent, whatever failed
        reason = "defect"
        _log.error("composition_defect", error=type(defect).__name__)  # its text may hold the number
    context.store.health.observe(dispatched.gateway, dispatched.dispatch_id, CallResult.NONE)
    _give_up(context, job, dispatched.slot, reason, dispatched.gateway)
    return None


def compose_message(context: Context, job: Job, dispatched: Dispatched) -> Message:
    """Return the message of a dispatch; raises `SealBrokenError` and `MessageNotAllowedError`."""
    verification, keyring = dispatched.verification, context.keyring
    application = context.applications[verification.application]
    transaction = unseal_details(keyring, verification).transaction
    digest = keyring.transaction_digest(verification.id, transaction)
    remaining = max(1, (verification.expires - dispatched.now) // 1000)
    content = MessageContent(
        application=application,
        purpose=verification.purpose,
        channel=Channel(job.channel),
        locale=verification.locale,
        code=derive_code(keyring, verification, job.generation, digest),
        minutes=stated_minutes(remaining),
        transaction=transaction,
        languages=context.sending_rules.rules_of(verification.country).languages,
    )
    words = render_message(context.templates, content)
    sender = context.sending_rules.sender_for(
        verification.country, job.channel, application.name, words.template, today(), dispatched.gateway
    )
    gateway, url = context.gateways[dispatched.gateway], None
    if context.public_url is not None and isinstance(gateway, SupportsReceipts):
        url = receipt_url(context.public_url, dispatched.gateway, dispatched.dispatch_id)
        if isinstance(gateway, SupportsSignedReceiptUrl):
            url = gateway.sign_receipt_url(url, dispatched.dispatch_id)
    return Message(
        to=unseal_destination(keyring, verification),
        text=words.text,
        channel=job.channel,
        locale=words.locale,
        expires_in=remaining,
        dispatch_id=dispatched.dispatch_id,
        receipt_url=url,
        verification_id=verification.id,
        application=application.name,
        variables=words.variables,
        sender=sender,
        template=words.template,
    )


def _send(gateway: Gateway, message: Message) -> Accepted | GatewayError:
    try:
        return Accepted(reference_of(gateway.send(message).reference, message))
    except GatewayError as failure:
        return failure
    except Exception as defect:  # noqa: BLE001 - a stranger's gateway must not take the worker down
        _log.error("gateway_defect", error=type(defect).__name__)  # its text may hold the message
        return GatewayError(FailureKind.UNAVAILABLE, "defect", ambiguous=True)


def _record_outcome(context: Context, job: Job, dispatched: Dispatched, result: DispatchResult) -> FinishResult:
    """Record an outcome. For an accepted message, wait while Redis is away: otherwise it would be sent twice."""
    end = time.monotonic() + (dispatched.verification.expires - dispatched.now) / 1000
    while True:
        try:
            return context.store.dispatches.finish(job, dispatched.slot, result, dispatched.gateway)
        except StoreUnavailableError:
            if result.status is not DeliveryStatus.SENT or time.monotonic() > end:
                raise
            time.sleep(_SETTLE_RETRY_DELAY)


def _hold_or_back_off(
    context: Context, job: Job, route: Collection[str], blocked: NoGatewayFree, retry_policy: RetryPolicy
) -> DeferredJob | None:
    """Hold a message until a gateway is free; after a round through all gateways put it back."""
    delay = backoff_delay(blocked, job, retry_policy)
    if delay is None:
        return DeferredJob(job, max(1, min(blocked.wait, MAX_DEFER)), frozenset(route) - job.called)
    if blocked.now + delay >= blocked.verification.expires:
        _give_up(context, job, "", "no_gateway")
        return None
    context.store.dispatches.finish(job, "", DispatchResult(NextStep.RETRY, delay=delay))
    _log.info("message_put_back", verification=job.id, message=job.message, delay=delay)
    return None


def backoff_delay(blocked: NoGatewayFree, job: Job, retry_policy: RetryPolicy) -> int | None:
    """Return the back-off after a round through all gateways, in milliseconds; ``None`` if a gateway is free sooner.

    Up to a quarter is added at random, so that messages that failed together do not return together; the maximum is
    half of the code's remaining life.
    """
    if not job.called:
        return None
    calls = Counter(
        delivery.gateway
        for delivery in blocked.verification.deliveries
        if delivery.message == job.message and delivery.channel == job.channel and delivery.gateway
    )
    rounds = max(calls.values(), default=1)
    backoff = round(1000 * retry_policy.backoff[min(rounds, len(retry_policy.backoff)) - 1])
    left = blocked.verification.expires - blocked.now
    delay = min(backoff + secrets.randbelow(backoff // 4 + 1), max(left // 2, _MIN_BACKOFF_ROOM))
    return delay if blocked.wait == NEVER or blocked.wait > delay else None


def _drop(context: Context, job: Job, dropped: LeaseLost | Dropped) -> None:
    """Leave a job to the worker that took it over, or end it: silently if the message is no longer wanted."""
    if isinstance(dropped, LeaseLost):
        _log.info("message_overtaken", verification=job.id, message=job.message)
        return
    if dropped.rule:
        count_refusal(job.application, job.country, dropped.rule)
    if dropped.reason not in _SILENT_DROP_REASONS:
        _give_up(context, job, dropped.slot, dropped.reason)
        return
    context.store.dispatches.finish(job, dropped.slot, DispatchResult(NextStep.DONE, reason=dropped.reason))
    _log.info("message_dropped", verification=job.id, message=job.message, reason=dropped.reason)


def _give_up(context: Context, job: Job, slot: str, reason: str, gateway: str = "") -> None:
    status = DeliveryStatus.EXPIRED if reason == Status.EXPIRED else DeliveryStatus.FAILED
    finished = context.store.dispatches.finish(job, slot, DispatchResult(NextStep.DEAD, status, reason=reason), gateway)
    if finished is FinishResult.FINISHED:
        metrics.dead_letters.count(reason=reason.partition(" ")[0])
        _log.error("message_given_up", verification=job.id, message=job.message, reason=reason)


def _apply_policies(
    context: Context, job: Job, route: Collection[str], mirror_query: MirrorQuery
) -> NextStep | DeferredJob:
    """Ask the policies once for a message and a channel, and apply their decision; `NextStep.NEXT` lets it go."""
    key = job.id, job.message, job.channel
    policies = context.policies.applicable(job.application, job.purpose, job.channel)
    if not policies or context.policies.has_passed(key):
        return NextStep.NEXT
    if not context.policies.enter():
        return DeferredJob(job, _NO_PLACE_DELAY, frozenset(route))
    try:
        decision = _ask_policies(context, job, policies, mirror_query)
    finally:
        context.policies.leave()
    if decision is None:
        return NextStep.NEXT
    if decision.channel is None:
        _give_up(context, job, decision.slot, decision.reason)
        return NextStep.DONE
    finished = context.store.dispatches.finish(job, "", DispatchResult(NextStep.RETRY, channel=decision.channel))
    if finished is FinishResult.FINISHED:
        _log.info("message_redirected", verification=job.id, message=job.message, channel=decision.channel)
    return NextStep.DONE


def _ask_policies(
    context: Context, job: Job, policies: tuple[PolicyRunner, ...], mirror_query: MirrorQuery
) -> PolicyDecision | None:
    """Return why policies refuse a message; ``None`` if it may go, or is no longer wanted.

    Policies get the number, so they are not asked if its holder wants no messages: the dispatch refuses that.
    """
    verification = context.store.verifications.read(job.bucket, job.id)
    if verification is None or verification.status is not Status.PENDING or verification.generation != job.generation:
        return None
    calls = [delivery for delivery in verification.deliveries if delivery.message == job.message and delivery.gateway]
    if any(call.channel == job.channel or call.status in _ACCEPTED_STATUSES for call in calls):
        return None
    if not context.store.dispatches.is_allowed(job, mirror_query):
        return None
    try:
        number = unseal_destination(context.keyring, verification)
    except SealBrokenError:  # no message can be composed either, and that is reported
        return None
    request = PolicyRequest(
        number=number,
        country=verification.country,
        application=verification.application,
        purpose=verification.purpose.name,
        channel=job.channel,
        verification_id=verification.id,
    )
    decision = _ask_in_turn(context, policies, request, verification, job)
    if decision is None:
        context.policies.remember((job.id, job.message, job.channel))
    return decision


def _ask_in_turn(
    context: Context, policies: tuple[PolicyRunner, ...], request: PolicyRequest, verification: Verification, job: Job
) -> PolicyDecision | None:
    """Ask policies in turn: the first denial decides, and each may narrow the channels."""
    is_queued = any(
        delivery.message == job.message and delivery.status is DeliveryStatus.QUEUED and not delivery.gateway
        for delivery in verification.deliveries
    )
    slot = job.first_slot if is_queued else ""
    channels, reason = frozenset(map(str, Channel)), ""
    for policy in policies:
        verdict = policy.judge(request)
        metrics.policy_verdicts.count(policy=policy.name, verdict=verdict.kind)
        _log.log(
            logging.WARNING if verdict.kind is VerdictKind.UNKNOWN else logging.INFO,
            "policy_asked",
            policy=policy.name,
            verdict=str(verdict.kind),
            reason=sanitize_reason(verdict.reason),
            enforced=policy.is_enforced,
            channel=job.channel,
            verification=job.id,
            message=job.message,
        )
        if not policy.is_enforced:
            continue
        denial = sanitize_reason(f"policy {policy.name}")
        if verdict.kind is VerdictKind.DENY:
            return PolicyDecision(denial, None, slot)
        if verdict.kind is VerdictKind.UNKNOWN and policy.denies_unknown:
            return PolicyDecision(sanitize_reason(f"no_verdict {policy.name}"), None, slot)
        if verdict.kind is VerdictKind.ANOTHER_CHANNEL:
            channels &= verdict.channels
            reason = reason or ("" if job.channel in verdict.channels else denial)
    if job.channel in channels:
        return None
    further = next_channel(context, verification.purpose, verification.country, job.channel, among=channels)
    return PolicyDecision(reason, further, slot)
