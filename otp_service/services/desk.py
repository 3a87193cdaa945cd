"""Receipts that name a dispatch by the gateway's own reference: they come over its connection, not over HTTP."""

import json
import time

from otp_service.core.errors import LedgerUnavailableError, StoreUnavailableError
from otp_service.core.purpose import LONGEST_LIFE
from otp_service.core.verification import GRACE, DeliveryStatus
from otp_service.gateways.base import FailureKind, Receipt
from otp_service.services.context import Context
from otp_service.services.record_receipts import record
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)

_TRIES = 3
_PAUSE = 1.0
"""Seconds between two tries: the mirror of the ledger is rarely behind for longer."""
_REMEMBERED = (LONGEST_LIFE + GRACE) * 1000
"""Milliseconds: the longest life of a record."""


class Desk:
    """Where one gateway hands its receipts in."""

    def __init__(self, context: Context, gateway: str) -> None:
        self._context = context
        self._gateway = gateway

    def hand_in(self, references: tuple[str, ...], receipt: Receipt) -> bool:
        """Record a receipt for the dispatch that was accepted under a reference; return whether it was taken.

        One that comes before the dispatch is known to be accepted is kept until `refer` tells of it.
        """
        try:
            found = self._context.store.references.dispatch_of(self._gateway, references, _written(receipt))
            if found is not None:
                record(self._context, self._gateway, found, receipt)
        except StoreUnavailableError:
            metrics.record_store_error("receipt")
        except LedgerUnavailableError:
            metrics.record_ledger_error("receipt")
        except Exception as defect:  # noqa: BLE001 - ours, and no reason to lose the receipt
            _log.error("receipt_defect", gateway=self._gateway, error=type(defect).__name__)
        else:
            return True
        _log.warning("receipt_not_taken", gateway=self._gateway)
        return False


def refer(context: Context, gateway: str, reference: str, dispatch_id: str) -> None:
    """Remember under which reference a dispatch was accepted, and record the receipts that were faster."""
    try:
        early = context.store.references.remember(gateway, reference, dispatch_id, _REMEMBERED)
    except StoreUnavailableError:
        metrics.record_store_error("receipt")
        _log.warning("reference_lost", gateway=gateway)
        return
    for receipt in early:
        _record_early(context, gateway, dispatch_id, _read(receipt))


def _record_early(context: Context, gateway: str, dispatch_id: str, receipt: Receipt) -> None:
    """Record a receipt that nobody sends again: it was acknowledged when it came."""
    for left in reversed(range(_TRIES)):
        try:
            record(context, gateway, dispatch_id, receipt)
        except (StoreUnavailableError, LedgerUnavailableError):
            if left:
                time.sleep(_PAUSE)
        else:
            return
    metrics.record_store_error("receipt")
    _log.warning("receipt_lost", gateway=gateway)


def _written(receipt: Receipt) -> str:
    return json.dumps([receipt.status, receipt.raw_status, receipt.reason, receipt.kind, receipt.opted_out])


def _read(text: str) -> Receipt:
    """Return a receipt as it was kept; an earlier release wrote four members."""
    status, raw_status, reason, kind, *later = json.loads(text)
    return Receipt(DeliveryStatus(status), raw_status, reason, FailureKind(kind) if kind else None, any(later))
