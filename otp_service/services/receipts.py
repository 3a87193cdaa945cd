"""Record gateways' receipts, and fall back to the next channel after an undelivered message."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from otp_service.domain.keyring import SealBrokenError
from otp_service.domain.numbers import ANY_TYPE, parse_destination
from otp_service.domain.routing import CallResult
from otp_service.domain.verification import MAX_CODE_LIFE, RECORD_GRACE, DeliveryStatus, Status
from otp_service.errors import (
    MIRROR_IS_BEHIND,
    InvalidNumberError,
    LedgerUnavailableError,
    NotFoundError,
    NumberTypeNotAllowedError,
    StoreUnavailableError,
    UnauthenticatedError,
)
from otp_service.gateways.base import (
    FailureKind,
    ForgedRequestError,
    ProviderRequest,
    Receipt,
    ReceiptRequest,
    SupportsReceipts,
    SupportsSharedReceipts,
    is_same_secret,
)
from otp_service.services.call_outcomes import FINAL_FAILURES, record_call_result, sanitize_reason, sanitize_status
from otp_service.services.context import Context
from otp_service.services.pricing import max_resend_price
from otp_service.services.verifications import count_record_only, count_refusal, next_channel
from otp_service.store.outbox import ReportResult
from otp_service.store.verifications import FurtherMessage, Queued, Refusal, RefusedByRule
from otp_service.telemetry import metrics, tracing
from otp_service.telemetry.logging import current_request, get_logger, log_context

_log = get_logger(__name__)


def receipt_url(public_url: str, gateway: str, dispatch_id: str) -> str:
    """Return the address of a dispatch's receipts; gateways sign it."""
    return f"{public_url}/v1/receipts/{gateway}/{dispatch_id}"


_NO_DISPATCH = "There is no such dispatch."
_MAX_TRIES = 3
_RETRY_DELAY = 1.0
"""Seconds between two tries: the mirror is rarely stale for longer."""
_REFERENCE_LIFE = (MAX_CODE_LIFE + RECORD_GRACE) * 1000
"""Milliseconds: the longest life of a record."""
_NOT_ARRIVED = frozenset({DeliveryStatus.UNDELIVERED, DeliveryStatus.FAILED})


@dataclass(frozen=True, slots=True)
class ExpectedReceipt:
    """A dispatch with an expected receipt."""

    gateway: str
    reporter: SupportsReceipts
    dispatch_id: str
    verification: str
    """The verification's identifier."""


def expect_receipt(context: Context, gateway: str, dispatch_id: str) -> ExpectedReceipt:
    """Return the dispatch of a receipt; to be called before the receipt is read, so that strangers get no further.

    Raises `NotFoundError` for a gateway without receipts, and for a dispatch that is not its own.
    """
    reporter = context.gateways.get(gateway)
    bucket = context.keyring.bucket_of_dispatch(dispatch_id)
    if bucket is None or context.public_url is None or not isinstance(reporter, SupportsReceipts):
        raise NotFoundError(_NO_DISPATCH)
    verification = context.store.dispatches.verification_of(bucket, dispatch_id, gateway)
    if verification is None:
        raise NotFoundError(_NO_DISPATCH)
    return ExpectedReceipt(gateway, reporter, dispatch_id, verification)


@contextmanager
def _forged_is_unauthenticated() -> Iterator[None]:
    try:
        yield
    except ForgedRequestError as forged:
        raise UnauthenticatedError("The report is not authentic.") from forged


def receive_receipt(context: Context, expected: ExpectedReceipt, request: ReceiptRequest) -> None:
    """Authenticate a receipt and record it; it never approves anything, nor changes a final status.

    Raises `UnauthenticatedError` for a forged receipt, and `NotFoundError` for a dispatch that is gone meanwhile.
    """
    with _forged_is_unauthenticated():
        receipt = expected.reporter.parse_receipt(request)
    if not record_receipt(context, expected.gateway, expected.dispatch_id, receipt):
        raise NotFoundError(_NO_DISPATCH)


def is_address_token(context: Context, gateway: str, token: str) -> bool:
    """Tell whether a token is that of the gateway's shared addresses."""
    expected = context.keyring.address_token(gateway)
    return context.public_url is not None and is_same_secret(token, expected)


def shared_receipt_url(context: Context, gateway: str) -> str:
    """Return the address of all receipts of a gateway; gateways sign it."""
    return f"{context.public_url}/v1/receipts/{gateway}/all/{context.keyring.address_token(gateway)}"


def require_reporter(context: Context, gateway: str, token: str) -> SupportsSharedReceipts:
    """Return a gateway that reports all dispatches to an address; raises `NotFoundError`, also for a wrong token."""
    reporter = context.gateways.get(gateway)
    if not is_address_token(context, gateway, token) or not isinstance(reporter, SupportsSharedReceipts):
        raise NotFoundError("No gateway uses this callback address.")
    return reporter


def answer_challenge(reporter: SupportsSharedReceipts, request: ProviderRequest) -> str:
    """Return the proof for a provider that the address is ours; raises `UnauthenticatedError` for other callers."""
    with _forged_is_unauthenticated():
        return reporter.answer_challenge(request)


def receive_receipts(
    context: Context, gateway: str, reporter: SupportsSharedReceipts, request: ProviderRequest
) -> None:
    """Authenticate a provider's request and record its receipts; raises `UnauthenticatedError`. Safe to repeat."""
    with _forged_is_unauthenticated():
        receipts = reporter.parse_receipts(request)
    for dispatch_id, receipt in receipts:
        record_receipt(context, gateway, dispatch_id, receipt)


class ReceiptRecorder:
    """The `ReceiptSink` of a gateway."""

    def __init__(self, context: Context, gateway: str) -> None:
        self._context = context
        self._gateway = gateway

    def accept(
        self,
        references: tuple[str, ...],
        receipt: Receipt,
        candidates: Sequence[tuple[str, ...]] = (),
        numbers: tuple[str, ...] = (),
    ) -> bool:
        """Record a receipt as `ReceiptSink.accept` describes, or store it until its reference is linked."""
        dispatch: str | None = None
        try:
            recipients = tuple(self._pseudonyms(numbers)) if candidates else ()
            dispatch = self._dispatch_or_store(references, receipt, candidates if recipients else (), recipients)
            if dispatch is not None:
                record_receipt(self._context, self._gateway, dispatch, receipt)
        except StoreUnavailableError:
            metrics.store_errors.count(operation="receipt")
        except LedgerUnavailableError:
            metrics.ledger_errors.count(operation="receipt")
        except Exception as defect:  # noqa: BLE001 - ours, and no reason to lose the receipt
            _log.error("receipt_defect", gateway=self._gateway, dispatch=dispatch, error=type(defect).__name__)
        else:
            return True
        _log.warning("receipt_not_taken", gateway=self._gateway, dispatch=dispatch)
        return False

    def _dispatch_or_store(
        self,
        references: tuple[str, ...],
        receipt: Receipt,
        candidates: Sequence[tuple[str, ...]],
        recipients: tuple[str, ...],
    ) -> str | None:
        """Return the dispatch of a receipt; store the receipt under all its references for an unknown dispatch."""
        store = self._context.store.references
        for group in (references, *candidates) if candidates else ():
            dispatch = store.known(self._gateway, group)
            if dispatch and (group is references or _was_sent_to(self._context, dispatch, recipients)):
                return dispatch
        dispatch = store.dispatch_of(self._gateway, references, _receipt_to_json(receipt, ()))
        for group in () if dispatch else candidates:
            store.dispatch_of(self._gateway, group, _receipt_to_json(receipt, recipients))
        return dispatch

    def _pseudonyms(self, numbers: Iterable[str]) -> Iterator[str]:
        for number in numbers:
            with suppress(InvalidNumberError, NumberTypeNotAllowedError):
                to = parse_destination(f"+{number.lstrip('+0')}", None, ANY_TYPE)
                yield self._context.keyring.pseudonym(to.e164)


def link_reference(context: Context, gateway: str, reference: str, dispatch_id: str) -> None:
    """Store a dispatch's provider reference, and record the receipts that came before it."""
    try:
        early = context.store.references.remember(gateway, reference, dispatch_id, _REFERENCE_LIFE)
    except StoreUnavailableError:
        metrics.store_errors.count(operation="receipt")
        _log.warning("reference_lost", gateway=gateway, dispatch=dispatch_id)
        return
    for text in early:
        _record_early(context, gateway, dispatch_id, text)


def _record_early(context: Context, gateway: str, dispatch_id: str, text: str) -> None:
    """Record a stored receipt (JSON); it was acknowledged, so the gateway does not send it again."""
    status, raw_status, reason, kind, opted_out, *recipients = json.loads(text)
    receipt = Receipt(DeliveryStatus(status), raw_status, reason, FailureKind(kind) if kind else None, opted_out)
    for left in reversed(range(_MAX_TRIES)):
        try:
            if not recipients or _was_sent_to(context, dispatch_id, recipients):
                record_receipt(context, gateway, dispatch_id, receipt)
        except (StoreUnavailableError, LedgerUnavailableError):
            if left:
                time.sleep(_RETRY_DELAY)
        else:
            return
    metrics.store_errors.count(operation="receipt")
    _log.warning("receipt_lost", gateway=gateway, dispatch=dispatch_id)


def _was_sent_to(context: Context, dispatch_id: str, recipients: Sequence[str]) -> bool:
    bucket = context.keyring.bucket_of_dispatch(dispatch_id)
    return bucket is not None and context.store.dispatches.pseudonym_of(bucket, dispatch_id) in recipients


def _receipt_to_json(receipt: Receipt, recipients: tuple[str, ...]) -> str:
    """Return an early receipt as JSON, with the pseudonyms of possible recipients."""
    status, kind = receipt.status, receipt.kind
    return json.dumps([status, receipt.raw_status, receipt.reason, kind, receipt.opted_out, *recipients])


def record_receipt(context: Context, gateway: str, dispatch_id: str, receipt: Receipt) -> bool:
    """Record an authentic receipt and fall back where need be; return whether the dispatch is the gateway's."""
    bucket = context.keyring.bucket_of_dispatch(dispatch_id)
    if bucket is None:
        return False
    reason, raw_status = sanitize_reason(receipt.reason or ""), sanitize_status(receipt.raw_status)
    span = tracing.span("receipt", "consumer", gateway=gateway, dispatch=dispatch_id)
    with log_context(dispatch=dispatch_id), span:
        reported = context.store.dispatches.report(
            bucket,
            dispatch_id,
            gateway,
            receipt.status,
            reason,
            raw_status,
            opted_out=receipt.opted_out,
            last_word=receipt.kind in FINAL_FAILURES,
            refunded=receipt.refunded,
        )
        if reported is None:
            return False
        verification = reported.verification.id
        tracing.annotate(verification=verification, outcome=receipt.status)
        tracing.link(reported.trace)
        with log_context(verification=verification):
            event = "receipt_recorded" if reported.news else "receipt_ignored"
            _log.info(event, gateway=gateway, status=str(receipt.status), raw_status=raw_status, reason=reason)
            if reported.news:
                metrics.receipts.count(gateway=gateway, status=receipt.status)
                if receipt.kind is FailureKind.ACCOUNT:
                    record_call_result(context, gateway, dispatch_id, CallResult.BAD, refusal=reason or receipt.kind)
            fall_back(context, bucket, reported, receipt)
        return True


def fall_back(context: Context, bucket: str, reported: ReportResult, receipt: Receipt) -> None:
    """Queue a further message of the verification with the same code, through its next channel, if that may help.

    After a refused account, another gateway of the same channel comes first. The message counts like a resend, without
    its delay. A repeated receipt sends once: only the last call of the last message falls back, and a worker that
    still delivers that message stops.
    """
    channel = _fall_back_channel(context, reported, receipt)
    application = context.access_cache.get(reported.verification.application) if channel else None
    if channel is None or application is None:
        return
    verification = reported.verification
    mirror_query = context.mirror_sync.query(bucket, application.consent_for_resend)
    try:
        price = max_resend_price(context, verification, channel)
    except SealBrokenError:  # no worker could write the message
        _log.info("no_fallback", channel=channel)
        return
    outcome = context.store.verifications.resend(
        bucket,
        verification,
        FurtherMessage(
            channel,
            price=price,
            falls_back_from=reported.message,
            after_dispatch=reported.dispatch,
            trace=tracing.traceparent(),
            request=current_request(),
        ),
        mirror_query,
        context.rulesets[verification.application],
    )
    match outcome:
        case Refusal.MIRROR_BEHIND:
            raise LedgerUnavailableError(MIRROR_IS_BEHIND)
        case Queued(record_only_rules=record_only_rules):
            count_record_only(verification.application, verification.country, record_only_rules)
        case RefusedByRule(rule):
            count_refusal(verification.application, verification.country, rule)
    event = "fell_back" if isinstance(outcome, Queued) else "no_fallback"
    _log.info(event, channel=channel)


def _fall_back_channel(context: Context, reported: ReportResult, receipt: Receipt) -> str | None:
    """Return the channel to try now; ``None`` unless the last call of the last message did not arrive."""
    verification = reported.verification
    last = max(verification.deliveries, key=lambda delivery: (delivery.message, delivery.dispatch))
    is_last = (last.message, last.dispatch) == (reported.message, reported.dispatch)
    did_not_arrive = is_last and last.status == receipt.status and receipt.status in _NOT_ARRIVED
    if not did_not_arrive or verification.status is not Status.PENDING or receipt.kind in FINAL_FAILURES:
        return None
    purpose, country = verification.purpose, verification.country
    if receipt.kind is FailureKind.ACCOUNT:
        called = {delivery.gateway for delivery in verification.deliveries if delivery.channel == last.channel}
        if not called.issuperset(context.routes.gateways_for(country, purpose.name, last.channel)):
            return last.channel
    return next_channel(context, purpose, country, last.channel)
