"""Receipts that name a dispatch by the gateway's own reference: they come over its connection, not over HTTP."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from otp_service.domain.numbers import NumberType, parse_destination
from otp_service.domain.verification import GRACE, LONGEST_LIFE, DeliveryStatus
from otp_service.errors import (
    InvalidNumberError,
    LedgerUnavailableError,
    NumberTypeNotAllowedError,
    StoreUnavailableError,
)
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

    def hand_in(
        self,
        references: tuple[str, ...],
        receipt: Receipt,
        guesses: Sequence[tuple[str, ...]] = (),
        numbers: tuple[str, ...] = (),
    ) -> bool:
        """Record a receipt for the dispatch that was accepted under a reference; return whether it was taken.

        One that comes before the dispatch is known to be accepted is kept until `refer` tells of it. A guess counts for
        a dispatch to one of the numbers only.
        """
        try:
            whom = tuple(self._pseudonyms(numbers)) if guesses else ()
            found = self._found(references, receipt, guesses if whom else (), whom)
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

    def _found(
        self, references: tuple[str, ...], receipt: Receipt, guesses: Sequence[tuple[str, ...]], whom: tuple[str, ...]
    ) -> str | None:
        """Return the dispatch that a receipt is about; keep one that nobody knows yet, by its guesses too."""
        known = self._context.store.references
        for group in (references, *guesses) if guesses else ():
            found = known.known(self._gateway, group)
            if found and (group is references or _went_to(self._context, found, whom)):
                return found
        found = known.dispatch_of(self._gateway, references, _written(receipt, ()))
        for group in () if found else guesses:
            known.dispatch_of(self._gateway, group, _written(receipt, whom))
        return found

    def _pseudonyms(self, numbers: Iterable[str]) -> Iterator[str]:
        for number in numbers:
            with suppress(InvalidNumberError, NumberTypeNotAllowedError):
                to = parse_destination(f"+{number.lstrip('+0')}", None, tuple(NumberType))
                yield self._context.keyring.pseudonym(to.e164)


def refer(context: Context, gateway: str, reference: str, dispatch_id: str) -> None:
    """Remember under which reference a dispatch was accepted, and record the receipts that were faster."""
    try:
        early = context.store.references.remember(gateway, reference, dispatch_id, _REMEMBERED)
    except StoreUnavailableError:
        metrics.record_store_error("receipt")
        _log.warning("reference_lost", gateway=gateway)
        return
    for receipt in early:
        _record_early(context, gateway, dispatch_id, *_read(receipt))


def _record_early(context: Context, gateway: str, dispatch_id: str, receipt: Receipt, whom: tuple[str, ...]) -> None:
    """Record a receipt that nobody sends again: it was acknowledged when it came."""
    for left in reversed(range(_TRIES)):
        try:
            if not whom or _went_to(context, dispatch_id, whom):
                record(context, gateway, dispatch_id, receipt)
        except (StoreUnavailableError, LedgerUnavailableError):
            if left:
                time.sleep(_PAUSE)
        else:
            return
    metrics.record_store_error("receipt")
    _log.warning("receipt_lost", gateway=gateway)


def _went_to(context: Context, dispatch_id: str, whom: tuple[str, ...]) -> bool:
    bucket = context.keyring.bucket_of_dispatch(dispatch_id)
    return bucket is not None and context.store.dispatches.pseudonym_of(bucket, dispatch_id) in whom


def _written(receipt: Receipt, whom: tuple[str, ...]) -> str:
    """Return a receipt as it is kept, with the pseudonyms of whom a guess at its message has to have gone to."""
    return json.dumps([receipt.status, receipt.raw_status, receipt.reason, receipt.kind, receipt.opted_out, *whom])


def _read(text: str) -> tuple[Receipt, tuple[str, ...]]:
    """Return a receipt and those pseudonyms as they were kept."""
    status, raw_status, reason, kind, opted_out, *whom = json.loads(text)
    receipt = Receipt(DeliveryStatus(status), raw_status, reason, FailureKind(kind) if kind else None, opted_out)
    return receipt, tuple(whom)
