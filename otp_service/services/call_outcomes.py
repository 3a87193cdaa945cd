"""Effects of gateway calls and receipts on the message and the gateway's breaker."""

import logging
import re
from collections.abc import Iterable

from otp_service.domain.routing import BreakerState, CallResult, CountedCalls, GatewayLimits
from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import Accepted, FailureKind, GatewayError
from otp_service.services.context import Context
from otp_service.store.outbox import DispatchResult, NextStep
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)
_NEXT_GATEWAY_FAILURES = frozenset(
    {FailureKind.UNAVAILABLE, FailureKind.ERROR, FailureKind.THROTTLED, FailureKind.ACCOUNT}
)
"""Failures after which the next gateway is called."""
FINAL_FAILURES = frozenset({FailureKind.DESTINATION, FailureKind.REJECTED, FailureKind.FRAUD})


def result_after_failure(failure: GatewayError, further: str | None, cost: int) -> DispatchResult:
    """Return what follows a failed call: another gateway, the ``further`` channel, or the end of the message."""
    status = DeliveryStatus.UNKNOWN if failure.ambiguous else DeliveryStatus.FAILED
    reason = sanitize_reason(f"{failure.kind} {failure.provider_code}")
    cost = cost if failure.ambiguous else 0  # a message that may have been sent is paid for
    if failure.kind in _NEXT_GATEWAY_FAILURES:
        return DispatchResult(NextStep.NEXT, status, reason=reason, cost=cost)
    if failure.kind is FailureKind.CHANNEL and further:
        return DispatchResult(NextStep.RETRY, status, reason=reason, channel=further, cost=cost)
    return DispatchResult(NextStep.DEAD, status, reason=reason, cost=cost, opted_out=failure.opted_out)


def call_result(outcome: Accepted | GatewayError, seconds: float, allowance: GatewayLimits) -> CallResult:
    """Return the result for the breaker: a gateway that answers in time is well, whatever its answer."""
    kind = None if isinstance(outcome, Accepted) or outcome.message_specific else outcome.kind
    if kind is FailureKind.THROTTLED:
        return CallResult.THROTTLED
    ill = kind in {FailureKind.UNAVAILABLE, FailureKind.ERROR, FailureKind.ACCOUNT}
    return CallResult.BAD if ill or seconds >= allowance.slow else CallResult.WELL


def record_call_result(
    context: Context,
    gateway: str,
    dispatch_id: str,
    call: CallResult,
    throttled_for: float = 0,
    refusal: str = "",
    counted: Iterable[CountedCalls] | None = None,
) -> None:
    """Report a call or its receipt to the breaker; log and count a change.

    ``throttled_for`` is the gateway's requested pause in milliseconds, ``refusal`` its reason to refuse our account,
    ``counted`` the calls that a closed breaker counts, by default this call.
    """
    if refusal:
        metrics.gateway_account_errors.count(gateway=gateway)
        _log.error("account_refused", gateway=gateway, reason=refusal)
    changed = context.store.health.observe(gateway, dispatch_id, call, throttled_for, refusal, counted)
    if changed is not None:
        metrics.gateway_breaker_changes.count(gateway=gateway, state=changed)
        level = logging.WARNING if changed is BreakerState.OPEN else logging.INFO
        _log.log(level, f"breaker_{changed}", gateway=gateway)


def record_slow_calls(context: Context) -> None:
    """Report the calls in flight that last too long by now to their breakers."""
    for call, counted in context.gateway_calls.judge_slow():
        record_call_result(context, call.gateway, call.dispatch_id, CallResult.LATE, counted=counted)


_NOT_A_REASON = re.compile(r"[^a-z0-9_. -]")
_NOT_A_STATUS = re.compile(r"[^A-Za-z0-9_. -]")
_DIGITS = re.compile(r"[0-9](?:[_. -]*[0-9]){5,}")
"""A possible number or code, also with signs between its digits."""
_MAX_REASON = 40
_MAX_STATUS = 24


def sanitize_reason(reason: str) -> str:
    """Return a reason for a record: short, lower case, without a possible message or number."""
    return _DIGITS.sub("_", _NOT_A_REASON.sub("_", reason.lower()))[:_MAX_REASON]


def sanitize_status(raw_status: str) -> str:
    """Return a provider's own status for a record, in the same way."""
    return _DIGITS.sub("_", _NOT_A_STATUS.sub("_", raw_status))[:_MAX_STATUS]
