"""Receipts of ``http`` gateways: how a report is believed and read, by configuration alone."""

import re
from typing import Literal, Self

from pydantic import Field, model_validator

from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import FailureKind, Receipt, ReceiptForgedError, ReceiptRequest
from otp_service.gateways.http.dotted import Scalar, as_text
from otp_service.gateways.http.proof import Place, Proof, ProofSettings

_PLAIN = re.compile(r"(?!.*[0-9]{6})[\w.:/ -]{1,40}", re.ASCII)
"""Words of a provider that may be kept: too short for a text, and nothing that could be a code or a number."""
Reported = Literal[
    DeliveryStatus.SENT,
    DeliveryStatus.DELIVERED,
    DeliveryStatus.UNDELIVERED,
    DeliveryStatus.FAILED,
    DeliveryStatus.EXPIRED,
]
_GOOD = frozenset({DeliveryStatus.SENT, DeliveryStatus.DELIVERED})


class ReceiptSettings(ProofSettings):
    """How reports are believed, and how they are read."""

    status: Place
    statuses: dict[Reported, tuple[Scalar, ...]] = Field(min_length=1)
    """The provider's words for each status, in any case of letters; any other word is ``unknown``."""
    reason: Place | None = None
    """A short code, never a text; shown of what was not delivered."""
    kinds: dict[FailureKind, tuple[Scalar, ...]] = Field(default_factory=dict)
    """What the codes mean, as far as they are known."""

    @model_validator(mode="after")
    def _is_unequivocal(self) -> Self:
        for name, table in (("statuses", self.statuses), ("kinds", self.kinds)):
            words = [_folded(word) for listed in table.values() for word in listed]
            if len(words) > len(set(words)):
                raise ValueError(f"{name} has a word twice")
        if self.kinds and self.reason is None:
            raise ValueError("kinds needs reason")
        return self


class ConfiguredReceipts:
    """Reads reports as a section says."""

    def __init__(self, settings: ReceiptSettings) -> None:
        self._settings, self._proof = settings, Proof(settings)
        self._statuses = {_folded(word): status for status, words in settings.statuses.items() for word in words}
        self._kinds = {_folded(word): kind for kind, words in settings.kinds.items() for word in words}

    def address(self, url: str, dispatch_id: str) -> str:
        """Return the address for the provider, with the proof. It ends within a query: more is added with ``&``."""
        return self._proof.address(url, dispatch_id)

    def read(self, report: ReceiptRequest) -> Receipt:
        """Return what a report says; raise `ReceiptForgedError`. Nothing but the two places is looked at."""
        settings = self._settings
        if not self._proof.holds(report, report.dispatch_id):
            raise ReceiptForgedError
        word = settings.status.of(report)
        status = self._statuses.get(_folded(word), DeliveryStatus.UNKNOWN)
        code = settings.reason.of(report) if settings.reason and status not in _GOOD else ""
        kind = self._kinds.get(_folded(code))
        told = " ".join(filter(None, (kind, _plain(code))))
        return Receipt(status, _plain(word), told or None, kind)


def _folded(word: Scalar) -> str:
    return as_text(word).strip().casefold()


def _plain(word: str) -> str:
    return word if _PLAIN.fullmatch(word) else ""
