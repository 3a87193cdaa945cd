"""What a call to a gateway, or a receipt for it, means for the message and for the gateway's breaker."""

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
    """Decide what follows a failed call; ``further`` is the next channel, if any.

    *unavailable*, *error*, *throttled* and *account* go on to another gateway, as long as the code lives; *channel*
    goes on through the next channel; nothing else does. The next dispatch is refused when too many calls may have been
    sent although they failed, and calls no gateway that answered the message with too many errors.
    """
    status = DeliveryStatus.UNKNOWN if failure.ambiguous else DeliveryStatus.FAILED
    reason = sanitize_reason(f"{failure.kind} {failure.provider_code}")
    cost = cost if failure.ambiguous else 0  # a message that may have been sent is paid for
    if failure.kind in _NEXT_GATEWAY_FAILURES:
        return DispatchResult(NextStep.NEXT, status, reason=reason, cost=cost)
    if failure.kind is FailureKind.CHANNEL and further:
        return DispatchResult(NextStep.RETRY, status, reason=reason, channel=further, cost=cost)
    return DispatchResult(NextStep.DEAD, status, reason=reason, cost=cost, opted_out=failure.opted_out)


def call_result(outcome: Accepted | GatewayError, seconds: float, allowance: GatewayLimits) -> CallResult:
    """Return how a gateway did: one that answers in time is well, whatever it says of the message."""
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
    """Tell the breaker of a call or of a receipt for it; log and count what changes.

    ``throttled_for``: milliseconds for which the gateway wants no calls. ``refusal``: why it refuses our account.
    ``counted``: the calls that a closed breaker counts; by default this one. Raises `StoreUnavailableError`.
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
    """Tell the breakers of the calls in flight that last too long by now. Raises `StoreUnavailableError`."""
    for call, counted in context.gateway_calls.judge_slow():
        record_call_result(context, call.gateway, call.dispatch_id, CallResult.LATE, counted=counted)


_NOT_A_REASON = re.compile(r"[^a-z0-9_. -]")
_NOT_A_STATUS = re.compile(r"[^A-Za-z0-9_. -]")
_DIGITS = re.compile(r"[0-9](?:[_. -]*[0-9]){5,}")
"""What could be a number or a code: signs may stand between its digits."""
_MAX_REASON = 40
_MAX_STATUS = 24


def sanitize_reason(reason: str) -> str:
    """Return a reason as a record may keep it: short, lower case, nothing that could hold a message or a number."""
    return _DIGITS.sub("_", _NOT_A_REASON.sub("_", reason.lower()))[:_MAX_REASON]


def sanitize_status(raw_status: str) -> str:
    """Return a provider's own status as a record may keep it, in the same way."""
    return _DIGITS.sub("_", _NOT_A_STATUS.sub("_", raw_status))[:_MAX_STATUS]
