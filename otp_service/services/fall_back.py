"""Fall back to the next channel, or gateway, when a gateway reports that a message did not arrive."""

from otp_service.domain.keyring import SealBrokenError
from otp_service.domain.verification import DeliveryStatus, Status
from otp_service.errors import LedgerUnavailableError
from otp_service.gateways.base import FailureKind, Receipt
from otp_service.services.channels import next_channel
from otp_service.services.context import Context
from otp_service.services.price import price_of_further
from otp_service.store.outbox import Reported
from otp_service.store.verifications import Further, Queued, Refusal, RefusedByRule
from otp_service.telemetry import metrics, tracing
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)

_DID_NOT_ARRIVE = frozenset({DeliveryStatus.UNDELIVERED, DeliveryStatus.FAILED})
ENDS_THE_DELIVERY = frozenset({FailureKind.DESTINATION, FailureKind.REJECTED, FailureKind.FRAUD})


def fall_back(context: Context, bucket: str, reported: Reported, receipt: Receipt) -> None:
    """Queue a further message of the verification, through its next channel and with the same code, if that may help.

    Where the gateway refuses our account, another one of the same channel comes first.

    It counts as a message of the verification and of the number, like one that a caller asks for; only the delay
    before it is not waited for. A receipt that comes twice sends once: only the last call of the last message is fallen
    back from; and whoever still has that message at hand, for the gateway's answer came later or was a time-out, stops.

    Raises `LedgerUnavailableError` while it cannot be told whether a message may go: the receipt has to come again.
    """
    channel = _channel_after(context, reported, receipt)
    application = context.applications.get(reported.verification.application)
    if channel is None or application is None:
        return
    verification = reported.verification
    permission = context.reflection.permission(application.withdrawals)
    try:
        price = price_of_further(context, verification, channel)
    except SealBrokenError:  # nobody could write the message
        _log.info("no_fallback", verification=verification.id, channel=channel)
        return
    outcome = context.store.verifications.resend(
        bucket,
        verification,
        Further(
            channel,
            price=price,
            falls_back_from=reported.message,
            after_dispatch=reported.dispatch,
            trace=tracing.traceparent(),
        ),
        permission,
        context.rulesets[verification.application],
    )
    match outcome:
        case Refusal.MIRROR_BEHIND:
            raise LedgerUnavailableError("The mirror of the ledger is behind.")
        case Queued(noted=noted):
            metrics.record_noted(verification.application, verification.country, noted)
        case RefusedByRule(rule):
            metrics.record_refusal(verification.application, verification.country, rule)
    event = "fell_back" if isinstance(outcome, Queued) else "no_fallback"
    _log.info(event, verification=verification.id, channel=channel)


def _channel_after(context: Context, reported: Reported, receipt: Receipt) -> str | None:
    """Return the channel to try now; ``None`` unless the last call of the last message did not arrive."""
    verification = reported.verification
    last = max(verification.deliveries, key=lambda one: (one.message, one.dispatch))
    is_last = (last.message, last.dispatch) == (reported.message, reported.dispatch)
    did_not_arrive = is_last and last.status == receipt.status and receipt.status in _DID_NOT_ARRIVE
    if not did_not_arrive or verification.status is not Status.PENDING or receipt.kind in ENDS_THE_DELIVERY:
        return None
    purpose, country = verification.purpose, verification.country
    if receipt.kind is FailureKind.ACCOUNT:
        called = {one.gateway for one in verification.deliveries if one.channel == last.channel}
        if not called.issuperset(context.routes.gateways_for(country, purpose.name, last.channel)):
            return last.channel
    return next_channel(context, purpose, country, last.channel)
