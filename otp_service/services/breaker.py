"""Tell a gateway's breaker how a call went, and everybody what that changed."""

import logging

from otp_service.domain.verification import BreakerState, Call
from otp_service.services.context import Context
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


def observe(
    context: Context, gateway: str, dispatch_id: str, call: Call, leave_alone: float = 0, refusal: str = ""
) -> None:
    """Tell of a call, or of a report on it; ``refusal`` is the reason why it refuses our account, empty if it does not.

    ``leave_alone`` are the milliseconds that it asked for. Raises `StoreUnavailableError`.
    """
    if refusal:
        metrics.record_account_refusal(gateway)
        _log.error("account_refused", gateway=gateway, reason=refusal)
    changed = context.store.health.observe(gateway, dispatch_id, call, leave_alone, refusal)
    if changed is not None:
        metrics.record_breaker(gateway, changed)
        level = logging.WARNING if changed is BreakerState.OPEN else logging.INFO
        _log.log(level, f"breaker_{changed}", gateway=gateway)
