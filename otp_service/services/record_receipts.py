"""Record what a gateway reports of a message."""

import re

from otp_service.core.errors import UnauthenticatedError, VerificationNotFoundError
from otp_service.gateways.base import ReceiptForgedError, ReceiptRequest, ReportsReceipts
from otp_service.services.context import Context
from otp_service.telemetry import metrics

_NOT_A_REASON = re.compile(r"[^a-z0-9_. -]")
_MAX_REASON = 40


def record_receipt(context: Context, gateway: str, dispatch_id: str, request: ReceiptRequest) -> None:
    """Authenticate a report and record it.

    Raises `UnauthenticatedError` for a forged one, `VerificationNotFoundError` when the gateway does not report
    or the dispatch is not one of its own. A report never approves anything, nor undoes a terminal status.
    """
    reporter = context.gateways.get(gateway)
    bucket = context.keyring.bucket_of_dispatch(dispatch_id)
    if bucket is None or not isinstance(reporter, ReportsReceipts):
        raise VerificationNotFoundError("There is no such dispatch.")
    try:
        receipt = reporter.receipt(request)
    except ReceiptForgedError as forged:
        raise UnauthenticatedError("The report is not authentic.") from forged
    reason = plain_reason(receipt.reason or "")
    if not context.store.outbox.receipt(bucket, dispatch_id, gateway, receipt.status, reason):
        raise VerificationNotFoundError("There is no such dispatch.")
    metrics.record_receipt(gateway, receipt.status)


def plain_reason(reason: str) -> str:
    """Return a reason as a record may keep it: short, lower case, nothing that could hold a message."""
    return _NOT_A_REASON.sub("_", reason.lower())[:_MAX_REASON]
