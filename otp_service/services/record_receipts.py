"""Record what a gateway reports of a message."""

import re
from dataclasses import dataclass

from otp_service.domain.verification import Call
from otp_service.errors import NotFoundError, UnauthenticatedError
from otp_service.gateways.base import FailureKind, Receipt, ReceiptForgedError, ReceiptRequest, ReportsReceipts
from otp_service.services.breaker import observe
from otp_service.services.context import Context
from otp_service.services.fall_back import ENDS_THE_DELIVERY, fall_back
from otp_service.telemetry import metrics

_NOT_A_REASON = re.compile(r"[^a-z0-9_. -]")
_NOT_A_STATUS = re.compile(r"[^A-Za-z0-9_. -]")
_DIGITS = re.compile(r"[0-9](?:[_. -]*[0-9]){5,}")
"""What could be a number or a code: signs may stand between its digits."""
_MAX_REASON = 40
_MAX_STATUS = 24
_UNKNOWN = "There is no such dispatch."


@dataclass(frozen=True, slots=True)
class Expected:
    """A dispatch that its gateway may report on."""

    gateway: str
    reporter: ReportsReceipts
    dispatch_id: str


def expected_receipt(context: Context, gateway: str, dispatch_id: str) -> Expected:
    """Return the dispatch that a report is about, to be asked before anything of the report is read.

    Raises `NotFoundError` when the gateway does not report here, or the dispatch is not one of its own. The identifier
    has 128 random bits, so a stranger gets no further than here.
    """
    reporter = context.gateways.get(gateway)
    bucket = context.keyring.bucket_of_dispatch(dispatch_id)
    if bucket is None or context.public_url is None or not isinstance(reporter, ReportsReceipts):
        raise NotFoundError(_UNKNOWN)
    if not context.store.dispatches.made(bucket, dispatch_id, gateway):
        raise NotFoundError(_UNKNOWN)
    return Expected(gateway, reporter, dispatch_id)


def record_receipt(context: Context, expected: Expected, request: ReceiptRequest) -> None:
    """Authenticate a report and record it.

    Raises `UnauthenticatedError` for a forged one, `NotFoundError` when the dispatch is gone meanwhile, and
    `StoreUnavailableError` or `LedgerUnavailableError` when it has to come again. A report never approves anything, nor
    undoes a terminal status.
    """
    try:
        receipt = expected.reporter.receipt(request)
    except ReceiptForgedError as forged:
        raise UnauthenticatedError("The report is not authentic.") from forged
    if not record(context, expected.gateway, expected.dispatch_id, receipt):
        raise NotFoundError(_UNKNOWN)


def record(context: Context, gateway: str, dispatch_id: str, receipt: Receipt) -> bool:
    """Record an authentic report on a dispatch, and what follows from it; return whether the gateway made it.

    Raises `StoreUnavailableError`; and `LedgerUnavailableError` when it is recorded, and what follows is not known now.
    """
    bucket = context.keyring.bucket_of_dispatch(dispatch_id)
    if bucket is None:
        return False
    reason, raw_status = plain_reason(receipt.reason or ""), plain_status(receipt.raw_status)
    reported = context.store.dispatches.report(
        bucket,
        dispatch_id,
        gateway,
        receipt.status,
        reason,
        raw_status,
        opted_out=receipt.opted_out,
        last_word=receipt.kind in ENDS_THE_DELIVERY,
    )
    if reported is None:
        return False
    if reported.news:
        metrics.record_receipt(gateway, receipt.status)
        if receipt.kind is FailureKind.ACCOUNT:
            observe(context, gateway, dispatch_id, Call.BAD, refusal=reason or receipt.kind)
    fall_back(context, bucket, reported, receipt)
    return True


def receipt_url(public_url: str, gateway: str, dispatch_id: str) -> str:
    """Return the address that a gateway reports a dispatch to: part of what it signs."""
    return f"{public_url}/v1/receipts/{gateway}/{dispatch_id}"


def plain_reason(reason: str) -> str:
    """Return a reason as a record may keep it: short, lower case, nothing that could hold a message or a number."""
    return _DIGITS.sub("_", _NOT_A_REASON.sub("_", reason.lower()))[:_MAX_REASON]


def plain_status(raw_status: str) -> str:
    """Return a provider's own status as a record may keep it, in the same way."""
    return _DIGITS.sub("_", _NOT_A_STATUS.sub("_", raw_status))[:_MAX_STATUS]
