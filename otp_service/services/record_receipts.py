"""Record what a gateway reports of a message."""

import re
from dataclasses import dataclass

from otp_service.core.errors import NotFoundError, UnauthenticatedError
from otp_service.gateways.base import ReceiptForgedError, ReceiptRequest, ReportsReceipts
from otp_service.services.context import Context
from otp_service.telemetry import metrics

_NOT_A_REASON = re.compile(r"[^a-z0-9_. -]")
_MAX_REASON = 40
_UNKNOWN = "There is no such dispatch."


@dataclass(frozen=True, slots=True)
class Expected:
    """A dispatch that its gateway may report on."""

    gateway: str
    reporter: ReportsReceipts
    bucket: str
    dispatch_id: str


def expected_receipt(context: Context, gateway: str, dispatch_id: str) -> Expected:
    """Return the dispatch that a report is about, to be asked before anything of the report is read.

    Raises `NotFoundError` when the gateway does not report, or the dispatch is not one of its own. The identifier has
    128 random bits, so a stranger gets no further than here.
    """
    reporter = context.gateways.get(gateway)
    bucket = context.keyring.bucket_of_dispatch(dispatch_id)
    if bucket is None or not isinstance(reporter, ReportsReceipts):
        raise NotFoundError(_UNKNOWN)
    if not context.store.outbox.made(bucket, dispatch_id, gateway):
        raise NotFoundError(_UNKNOWN)
    return Expected(gateway, reporter, bucket, dispatch_id)


def record_receipt(context: Context, expected: Expected, request: ReceiptRequest) -> None:
    """Authenticate a report and record it.

    Raises `UnauthenticatedError` for a forged one, `NotFoundError` when the dispatch is gone meanwhile. A report never
    approves anything, nor undoes a terminal status.
    """
    try:
        receipt = expected.reporter.receipt(request)
    except ReceiptForgedError as forged:
        raise UnauthenticatedError("The report is not authentic.") from forged
    reason = plain_reason(receipt.reason or "")
    outbox = context.store.outbox
    if not outbox.receipt(expected.bucket, expected.dispatch_id, expected.gateway, receipt.status, reason):
        raise NotFoundError(_UNKNOWN)
    metrics.record_receipt(expected.gateway, receipt.status)


def receipt_url(public_url: str, gateway: str, dispatch_id: str) -> str:
    """Return the address that a gateway reports a dispatch to: part of what it signs."""
    return f"{public_url}/v1/receipts/{gateway}/{dispatch_id}"


def plain_reason(reason: str) -> str:
    """Return a reason as a record may keep it: short, lower case, nothing that could hold a message."""
    return _NOT_A_REASON.sub("_", reason.lower())[:_MAX_REASON]
