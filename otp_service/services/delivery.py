"""Deliver a message: ask policies, compose, call gateways, back off, record what came of it."""

import logging
import secrets
import time
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from otp_service.domain.codes import derive_code, unseal_destination, unseal_details
from otp_service.domain.keyring import SealBrokenError, new_dispatch_id
from otp_service.domain.messages import Message, MessageContent, render_message, stated_minutes
from otp_service.domain.routing import CallResult, CountedCalls
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
from otp_service.policies.base import MessageKey, PolicyRunner, Question, Ruling, Verdict
from otp_service.services.call_outcomes import (
    call_result,
    record_call_result,
    sanitize_reason,
    settlement_after_failure,
)
from otp_service.services.context import Context
from otp_service.services.gateway_calls import TrackedCall
from otp_service.services.pricing import message_cost
from otp_service.services.receipts import link_reference, receipt_url
from otp_service.services.sender_registrations import today
from otp_service.services.verifications import count_refusal, next_channel
from otp_service.store.mirror import MirrorQuery
from otp_service.store.outbox import (
    NEVER,
    Candidate,
    Dispatched,
    Dropped,
    Job,
    LeaseLost,
    MirrorBehind,
    NextStep,
    NoGatewayFree,
    Settlement,
    SettleResult,
)
from otp_service.telemetry import metrics, tracing
from otp_service.telemetry.logging import get_logger, log_context

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    """Why policies do not let a message out, and where it may go instead."""

    reason: str
    """Why: ``policy NAME``, or ``no_verdict NAME`` where it is denied because that policy did not know."""
    channel: str | None
    """By which it may go on; ``None`` when it is to be given up."""
    slot: str
    """Where the record shows it as waiting; empty when it does not."""


_ACCEPTED_STATUSES = frozenset({DeliveryStatus.SENT, DeliveryStatus.DELIVERED})
_SETTLE_RETRY_DELAY = 0.5
"""Seconds between two attempts to record what a gateway accepted."""
_STALE_MIRROR_DELAY = 200
"""Milliseconds until a message is tried again that the mirror was too stale to let go."""
_NO_PLACE_DELAY = 100
"""The same where as many wait for policies as may."""
MAX_DEFER = 1000
"""The longest that a job is held, milliseconds."""
_MIN_BACKOFF_ROOM = 1000
"""The least room that a back-off may take, milliseconds, however little is left of the code's life."""
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
"""Reasons to drop a message silently; with any other it becomes a dead letter."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a message is tried again, and how long is waited between."""

    max_ambiguous: int
    """How many times it goes on after a call that may have sent the message although it failed."""
    backoff: tuple[float, ...]
    """The least seconds after the first, second … round through the gateways; the last one repeats."""


@dataclass(frozen=True, slots=True)
class DeferredJob:
    """A job that its worker keeps, to try again after some milliseconds."""

    job: Job
    milliseconds: int
    gateways: frozenset[str] = frozenset()
    """Those that may take it: it goes on sooner when a call to one of them ends."""


def deliver(context: Context, job: Job, retry_policy: RetryPolicy) -> DeferredJob | None:
    """Deliver one job, put it back for later, or give it up; return it where the worker is to hold it.

    Raises `StoreUnavailableError` when the outcome cannot be recorded: the job then stays in the outbox, and is
    taken up again.
    """
    try:
        application = context.access_cache.find(job.application)
    except LedgerUnavailableError:  # it may be a new one, that nobody here has heard of
        return DeferredJob(job, MAX_DEFER)
    route = context.routes.gateways_for(job.country, job.purpose, job.channel)
    if application is None or not route:
        _drop(context, job, Dropped("no_route" if application else "no_application", job.first_slot))
        return None
    try:
        mirror_query = context.mirror_sync.query(application.consent_for_resend)
    except LedgerUnavailableError:
        return DeferredJob(job, MAX_DEFER)
    if policies := _policies_to_ask(context, job):
        if not context.policies.enter():
            return DeferredJob(job, _NO_PLACE_DELAY, frozenset(route))
        try:
            stopped = _ask_policies(context, job, policies, mirror_query)
        finally:
            context.policies.leave()
        if stopped:
            _obey_policies(context, job, stopped)
            return None
    return _try_gateways(context, job, route, mirror_query, retry_policy)


def _obey_policies(context: Context, job: Job, stopped: PolicyDecision) -> None:
    """Give a message up, or send it on by another channel, as policies say."""
    if stopped.channel is None:
        _give_up(context, job, stopped.slot, stopped.reason)
        return
    settled = context.store.dispatches.settle(job, "", Settlement(NextStep.RETRY, channel=stopped.channel))
    if settled is SettleResult.SETTLED:
        _log.info("message_redirected", verification=job.id, message=job.message, channel=stopped.channel)


def _try_gateways(
    context: Context, job: Job, route: Collection[str], mirror_query: MirrorQuery, retry_policy: RetryPolicy
) -> DeferredJob | None:
    """Call gateways until one accepts the message or none may be called now."""
    following = NextStep.NEXT
    while following is NextStep.NEXT:
        found = _dispatch(context, job, route, mirror_query, retry_policy)
        match found:
            case LeaseLost():
                _log.info("message_overtaken", verification=job.id, message=job.message)
                return None
            case MirrorBehind():
                return DeferredJob(job, _STALE_MIRROR_DELAY)
            case Dropped():
                _drop(context, job, found)
                return None
            case NoGatewayFree():
                return _hold_or_back_off(context, job, route, found, retry_policy)
            case Dispatched():
                job = replace(job, called=job.called | {found.gateway})
                try:
                    with log_context(dispatch=found.dispatch_id):
                        following = _call_gateway(context, job, found)
                finally:
                    context.gateway_calls.leave(found.gateway)
    return None


def _dispatch(
    context: Context, job: Job, route: Collection[str], mirror_query: MirrorQuery, retry_policy: RetryPolicy
) -> Dispatched | NoGatewayFree | Dropped | LeaseLost | MirrorBehind:
    """Choose a gateway among those for whose call this worker has a thread, and keep its place."""
    rooms = context.gateway_calls.reserve(name for name in route if name not in job.called)
    candidates = [Candidate(name, context.gateway_limits[name], rooms.get(name)) for name in route]
    chosen = None
    try:
        outcome = context.store.dispatches.dispatch(
            job,
            new_dispatch_id(job.bucket),
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
    """Call one gateway and record the outcome; return what follows."""
    message = _compose_or_give_up(context, job, dispatched)
    if message is None:
        return NextStep.DONE
    gateway, allowance = context.gateways[dispatched.gateway], context.gateway_limits[dispatched.gateway]
    # Before the call: nothing may fail between it and its record.
    cost = message_cost(context, dispatched.gateway, message, job.country)
    call, began = context.gateway_calls.begin(dispatched.gateway, dispatched.dispatch_id), time.perf_counter()
    with tracing.span("send", "client", gateway=dispatched.gateway, verification=job.id):
        tracing.annotate(dispatch=dispatched.dispatch_id, dispatch_number=dispatched.number)
        outcome = _send(gateway, message)
        tracing.annotate(failed=not isinstance(outcome, Accepted), outcome=_outcome_name(outcome))
    seconds = time.perf_counter() - began
    result = call_result(outcome, seconds, allowance)
    counted = context.gateway_calls.end(call, result)
    metrics.dispatches.count(gateway=dispatched.gateway, outcome=_outcome_name(outcome))
    metrics.dispatch_duration.observe(seconds, gateway=dispatched.gateway)
    if isinstance(outcome, Accepted) and isinstance(gateway, SupportsConnections):
        link_reference(
            context, dispatched.gateway, outcome.reference, dispatched.dispatch_id
        )  # its receipts do not wait
    settlement = replace(_settlement_of(context, job, dispatched, outcome), template=str(message.template or ""))
    if isinstance(outcome, Accepted) or outcome.ambiguous:  # what may have been sent is paid for
        settlement = replace(settlement, cost=cost)
    settled = _record_outcome(context, job, dispatched, settlement)
    following = settlement.next if settled is SettleResult.SETTLED else NextStep.DONE
    _update_breaker(context, call, result, counted, outcome, settlement.reason)
    _log_call(job, dispatched, settlement, following)
    return following


def _compose_or_give_up(context: Context, job: Job, dispatched: Dispatched) -> Message | None:
    """Return the message; where there can never be one, give the job up and return ``None``."""
    try:
        return compose_message(context, job, dispatched)
    except SealBrokenError:  # its root key is gone from the configuration
        reason = "unreadable"
    except MessageNotAllowedError as refused:
        reason = refused.violation
    except Exception as defect:  # noqa: BLE001 - whatever it is, nothing was sent
        reason = "defect"
        _log.error("composition_defect", error=type(defect).__name__)  # its text may hold the number
    context.store.health.observe(dispatched.gateway, dispatched.dispatch_id, CallResult.NONE)
    _give_up(context, job, dispatched.slot, reason, dispatched.gateway)
    return None


def compose_message(context: Context, job: Job, dispatched: Dispatched) -> Message:
    """Return the message of a dispatch.

    Raises `SealBrokenError` when its root key is gone from the configuration, and `MessageNotAllowedError` when the
    rules of the country do not let it go out.
    """
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
    return Message(
        to=unseal_destination(keyring, verification),
        text=words.text,
        channel=job.channel,
        locale=words.locale,
        expires_in=remaining,
        dispatch_id=dispatched.dispatch_id,
        receipt_url=_receipt_url(context, dispatched),
        verification_id=verification.id,
        application=application.name,
        variables=words.variables,
        sender=sender,
        template=words.template,
    )


def _receipt_url(context: Context, dispatched: Dispatched) -> str | None:
    gateway = context.gateways[dispatched.gateway]
    if context.public_url is None or not isinstance(gateway, SupportsReceipts):
        return None
    url = receipt_url(context.public_url, dispatched.gateway, dispatched.dispatch_id)
    return (
        gateway.sign_receipt_url(url, dispatched.dispatch_id) if isinstance(gateway, SupportsSignedReceiptUrl) else url
    )


def _send(gateway: Gateway, message: Message) -> Accepted | GatewayError:
    try:
        return Accepted(reference_of(gateway.send(message).reference, message))
    except GatewayError as failure:
        return failure
    except Exception as defect:  # noqa: BLE001 - a stranger's gateway must not take the worker down
        _log.error("gateway_defect", error=type(defect).__name__)  # its text may hold the message
        return GatewayError(FailureKind.UNAVAILABLE, "defect", ambiguous=True)


def _outcome_name(outcome: Accepted | GatewayError) -> str:
    return "accepted" if isinstance(outcome, Accepted) else outcome.kind


def _settlement_of(context: Context, job: Job, dispatched: Dispatched, outcome: Accepted | GatewayError) -> Settlement:
    if isinstance(outcome, Accepted):
        return Settlement(NextStep.DONE, DeliveryStatus.SENT, reference=outcome.reference)
    verification = dispatched.verification
    further = next_channel(context, verification.purpose, verification.country, job.channel)
    return settlement_after_failure(outcome, further)


def _record_outcome(context: Context, job: Job, dispatched: Dispatched, settlement: Settlement) -> SettleResult:
    """Record an outcome; return whether the job was still ours.

    What a gateway accepted is recorded again and again while Redis is away, as long as the code lives: forgotten, the
    message would be sent twice. To record it twice does no harm.
    """
    end = time.monotonic() + (dispatched.verification.expires - dispatched.now) / 1000
    while True:
        try:
            return context.store.dispatches.settle(job, dispatched.slot, settlement, dispatched.gateway)
        except StoreUnavailableError:
            if settlement.status is not DeliveryStatus.SENT or time.monotonic() > end:
                raise
            time.sleep(_SETTLE_RETRY_DELAY)


def _update_breaker(
    context: Context,
    call: TrackedCall,
    result: CallResult,
    counted: Iterable[CountedCalls],
    outcome: Accepted | GatewayError,
    reason: str,
) -> None:
    """Tell the breaker how the call went; while Redis is away it learns from the next call."""
    asked, refusal = 0.0, ""
    if isinstance(outcome, GatewayError):
        asked = 0.0 if outcome.message_specific else outcome.retry_after
        refusal = reason if outcome.our_fault else ""
    with suppress(StoreUnavailableError):
        record_call_result(context, call.gateway, call.dispatch_id, result, 1000 * asked, refusal, counted)


def _log_call(job: Job, dispatched: Dispatched, settlement: Settlement, following: NextStep) -> None:
    if following is NextStep.DEAD:
        metrics.dead_letters.count(reason=settlement.reason.partition(" ")[0])
    _log.log(
        logging.INFO if settlement.status is DeliveryStatus.SENT else logging.WARNING,
        "message_dispatched",
        verification=job.id,
        message=job.message,
        dispatch_number=dispatched.number,
        gateway=dispatched.gateway,
        choice=dispatched.choice,
        status=str(settlement.status),
        reason=settlement.reason,
        following=str(following),
    )


def _hold_or_back_off(
    context: Context, job: Job, route: Collection[str], blocked: NoGatewayFree, retry_policy: RetryPolicy
) -> DeferredJob | None:
    """Hold a message until a gateway is free; after a round through all, put it back for the back-off."""
    delay = backoff_delay(blocked, job, retry_policy)
    if delay is None:
        return DeferredJob(job, max(1, min(blocked.wait, MAX_DEFER)), frozenset(route) - job.called)
    if blocked.now + delay >= blocked.verification.expires:
        _give_up(context, job, "", "no_gateway")
        return None
    context.store.dispatches.settle(job, "", Settlement(NextStep.RETRY, delay=delay))
    _log.info("message_put_back", verification=job.id, message=job.message, delay=delay)
    return None


def backoff_delay(blocked: NoGatewayFree, job: Job, retry_policy: RetryPolicy) -> int | None:
    """Return the milliseconds of back-off after a round through all gateways; ``None`` while one is free sooner.

    Up to a quarter is added by chance, so that messages which failed together do not come back together. It is no
    longer than half of what is left of the code's life.
    """
    if not job.called:
        return None
    calls = Counter(
        one.gateway
        for one in blocked.verification.deliveries
        if one.message == job.message and one.channel == job.channel and one.gateway
    )
    rounds = max(calls.values(), default=1)
    backoff = round(1000 * retry_policy.backoff[min(rounds, len(retry_policy.backoff)) - 1])
    left = blocked.verification.expires - blocked.now
    delay = min(backoff + secrets.randbelow(backoff // 4 + 1), max(left // 2, _MIN_BACKOFF_ROOM))
    return delay if blocked.wait == NEVER or blocked.wait > delay else None


def _drop(context: Context, job: Job, dropped: Dropped) -> None:
    if dropped.rule:
        count_refusal(job.application, job.country, dropped.rule)
    if dropped.reason not in _SILENT_DROP_REASONS:
        _give_up(context, job, dropped.slot, dropped.reason)
        return
    context.store.dispatches.settle(job, dropped.slot, Settlement(NextStep.DONE, reason=dropped.reason))
    _log.info("message_dropped", verification=job.id, message=job.message, reason=dropped.reason)


def _give_up(context: Context, job: Job, slot: str, reason: str, gateway: str = "") -> None:
    status = DeliveryStatus.EXPIRED if reason == Status.EXPIRED else DeliveryStatus.FAILED
    settled = context.store.dispatches.settle(job, slot, Settlement(NextStep.DEAD, status, reason=reason), gateway)
    if settled is SettleResult.SETTLED:
        metrics.dead_letters.count(reason=reason.partition(" ")[0])
        _log.error("message_given_up", verification=job.id, message=job.message, reason=reason)


def _policies_to_ask(context: Context, job: Job) -> tuple[PolicyRunner, ...]:
    """Return the policies that a message has to pass: they are asked once for a message and a channel."""
    concerned = context.policies.applicable(job.application, job.purpose, job.channel)
    return () if concerned and context.policies.has_passed(_passing(job)) else concerned


def _passing(job: Job) -> MessageKey:
    return job.id, job.message, job.channel


def _ask_policies(
    context: Context, job: Job, policies: tuple[PolicyRunner, ...], mirror_query: MirrorQuery
) -> PolicyDecision | None:
    """Return why policies refuse a message; ``None`` when it may go, or is not wanted any more.

    Policies learn the number, so they are not asked where its holder wants no messages; the dispatch refuses that.
    """
    verification = context.store.verifications.read(job.bucket, job.id)
    if verification is None or not _needs_asking(verification, job):
        return None
    if not context.store.dispatches.is_allowed(job, mirror_query):
        return None
    try:
        number = unseal_destination(context.keyring, verification)
    except SealBrokenError:  # no message can be composed either, and that is reported
        return None
    question = Question(
        number=number,
        country=verification.country,
        application=verification.application,
        purpose=verification.purpose.name,
        channel=job.channel,
        verification_id=verification.id,
    )
    stopped = _ask_in_turn(context, policies, question, verification, job)
    if stopped is None:
        context.policies.remember(_passing(job))
    return stopped


def _needs_asking(verification: Verification, job: Job) -> bool:
    """Tell whether a message is still wanted, and no gateway was called for it through this channel."""
    calls = [one for one in verification.deliveries if one.message == job.message and one.gateway]
    return (
        verification.status is Status.PENDING
        and verification.generation == job.generation
        and not any(one.channel == job.channel or one.status in _ACCEPTED_STATUSES for one in calls)
    )


def _ask_in_turn(
    context: Context, policies: tuple[PolicyRunner, ...], question: Question, verification: Verification, job: Job
) -> PolicyDecision | None:
    """Ask policies in turn: the first that denies decides; each may narrow the channels that are left."""
    slot = _waiting_slot(verification, job)
    channels, reason = frozenset(map(str, Channel)), ""
    for policy in policies:
        verdict = _ask_policy(policy, question, job)
        if not policy.is_enforced:
            continue
        if verdict.ruling is Ruling.DENY:
            return PolicyDecision(_refusal_reason("policy", policy), None, slot)
        if verdict.ruling is Ruling.UNKNOWN and policy.denies_unknown:
            return PolicyDecision(_refusal_reason("no_verdict", policy), None, slot)
        if verdict.ruling is Ruling.ANOTHER_CHANNEL:
            channels &= verdict.channels
            reason = reason or ("" if job.channel in verdict.channels else _refusal_reason("policy", policy))
    if job.channel in channels:
        return None
    further = next_channel(context, verification.purpose, verification.country, job.channel, among=channels)
    return PolicyDecision(reason, further, slot)


def _refusal_reason(word: str, policy: PolicyRunner) -> str:
    return sanitize_reason(f"{word} {policy.name}")


def _ask_policy(policy: PolicyRunner, question: Question, job: Job) -> Verdict:
    verdict = policy.ask(question)
    metrics.policy_verdicts.count(policy=policy.name, verdict=verdict.ruling)
    _log.log(
        logging.WARNING if verdict.ruling is Ruling.UNKNOWN else logging.INFO,
        "policy_asked",
        policy=policy.name,
        verdict=str(verdict.ruling),
        reason=sanitize_reason(verdict.reason),
        enforced=policy.is_enforced,
        channel=job.channel,
        verification=job.id,
        message=job.message,
    )
    return verdict


def _waiting_slot(verification: Verification, job: Job) -> str:
    waits = any(
        one.message == job.message and one.status is DeliveryStatus.QUEUED and not one.gateway
        for one in verification.deliveries
    )
    return job.first_slot if waits else ""
