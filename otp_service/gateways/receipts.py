"""Receipts: what a provider reports of a message later, over HTTP or over a connection of the gateway's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.outcomes import FailureKind
from otp_service.gateways.request import ProviderRequest


@dataclass(frozen=True, slots=True)
class ReceiptRequest(ProviderRequest):
    """A report as it came in over HTTP."""

    dispatch_id: str
    """Which dispatch the address names."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a message, normalised, with the provider's own words beside it."""

    status: DeliveryStatus
    raw_status: str
    reason: str | None = None
    kind: FailureKind | None = None
    """Why it failed, where the provider tells: ``destination``, ``rejected`` and ``fraud`` end the delivery, after
    ``account`` another gateway may be tried, after anything else another channel."""
    opted_out: bool = False
    """Whether it failed because the number's holder told the provider to want no messages."""


class ReceiptForgedError(Exception):
    """A report that does not come from the provider, or is too old to be believed."""


@runtime_checkable
class ReportsReceipts(Protocol):
    """A capability: the provider reports to our receipts address."""

    def receipt(self, request: ReceiptRequest) -> Receipt:
        """Return the authenticated report; raise `ReceiptForgedError`. An unknown status is ``unknown``."""


@runtime_checkable
class AddressesReceipts(Protocol):
    """A capability beside `ReportsReceipts`: the gateway adds to the address that its provider reports to."""

    def receipt_address(self, url: str, dispatch_id: str) -> str:
        """Return the address with what proves that only the provider was told of it."""


class ReceiptDesk(Protocol):
    """Where a gateway hands in receipts that do not come over HTTP."""

    def hand_in(
        self,
        references: tuple[str, ...],
        receipt: Receipt,
        guesses: Sequence[tuple[str, ...]] = (),
        numbers: tuple[str, ...] = (),
    ) -> bool:
        """Record a receipt for the dispatch that was accepted under one of the ``references``, the likeliest first.

        When there is none, what ``guesses`` lead to counts if it went to one of the ``numbers`` (international, a plus
        or not). One that comes before the dispatch is known to be accepted is kept until it is. Returns whether it was
        taken: one that was not is worth sending again. Raises nothing.
        """
