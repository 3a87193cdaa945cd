"""Receipts of ``http`` gateways: how a report is believed and read, by configuration alone."""

import hmac
import re
from ipaddress import ip_address
from typing import Annotated, Literal, Self
from urllib.parse import urlencode

from pydantic import Field, IPvAnyNetwork, SecretStr, model_validator

from otp_service.core.verification import DeliveryStatus
from otp_service.gateways.base import FailureKind, Receipt, ReceiptForgedError, ReceiptRequest
from otp_service.gateways.http.dotted import Scalar, as_text, value_at
from otp_service.gateways.http.verdict import Part

TOKEN = "token"  # noqa: S105 - a name
"""Parameter of the receipts address that holds the proof."""
_PROOF_CHARACTERS = 32
"""Of the hexadecimal HMAC: 128 bits, which RFC 2104 (section 5) allows, since some providers bound addresses."""
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


class Place(Part):
    """Where in a report a value stands: one of the three."""

    query: str | None = Field(default=None, min_length=1)
    form: str | None = Field(default=None, min_length=1)
    path: str | None = Field(default=None, alias="json", min_length=1)
    """Dotted path in a body of JSON."""

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if sum(place is not None for place in (self.query, self.form, self.path)) != 1:
            raise ValueError("needs either query, form or json")
        return self

    def of(self, report: ReceiptRequest) -> str:
        """Return what stands there, as text; empty when there is nothing."""
        if self.query is not None:
            return report.query.get(self.query, "")
        if self.form is not None:
            return report.form.get(self.form, "")
        return value_at(report.body, self.path or "") or ""


class ReceiptSettings(Part):
    """How reports are believed, by a ``secret``, by ``allow_from`` or by both, and how they are read."""

    secret: Annotated[SecretStr, Field(min_length=16)] | None = None
    """Key of the token that the receipts address carries."""
    allow_from: tuple[IPvAnyNetwork, ...] = ()
    """Networks that the provider reports from."""
    status: Place
    statuses: dict[Reported, tuple[Scalar, ...]] = Field(min_length=1)
    """The provider's words for each status, in any case of letters; any other word is ``unknown``."""
    reason: Place | None = None
    """A short code, never a text; shown of what was not delivered."""
    kinds: dict[FailureKind, tuple[Scalar, ...]] = Field(default_factory=dict)
    """What the codes mean, as far as they are known."""

    @model_validator(mode="after")
    def _proves_something(self) -> Self:
        if self.secret is None and not self.allow_from:
            raise ValueError("needs secret or allow_from: anybody could report")
        if any(network.prefixlen == 0 for network in self.allow_from):
            raise ValueError("allow_from has a network of all addresses, which proves nothing")
        if any(network.version == 6 and network.network_address.ipv4_mapped for network in self.allow_from):  # noqa: PLR2004 - IPv6
            raise ValueError("allow_from has an IPv4 network written as IPv6; write it as IPv4")
        return self

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
        self._settings = settings
        self._statuses = {_folded(word): status for status, words in settings.statuses.items() for word in words}
        self._kinds = {_folded(word): kind for kind, words in settings.kinds.items() for word in words}

    def address(self, url: str, dispatch_id: str) -> str:
        """Return the address for the provider, with the proof. It ends within a query: more is added with ``&``."""
        proof = self._proof(dispatch_id)
        return f"{url}?{urlencode({TOKEN: proof})}" if proof else f"{url}?"

    def read(self, report: ReceiptRequest) -> Receipt:
        """Return what a report says; raise `ReceiptForgedError`. Nothing but the two places is looked at."""
        settings = self._settings
        if not self._is_allowed(report.peer) or not self._is_proven(report):
            raise ReceiptForgedError
        word = settings.status.of(report)
        status = self._statuses.get(_folded(word), DeliveryStatus.UNKNOWN)
        code = settings.reason.of(report) if settings.reason and status not in _GOOD else ""
        kind = self._kinds.get(_folded(code))
        told = " ".join(filter(None, (kind, _plain(code))))
        return Receipt(status, _plain(word), told or None, kind)

    def _is_proven(self, report: ReceiptRequest) -> bool:
        given, expected = report.query.get(TOKEN, ""), self._proof(report.dispatch_id)
        return hmac.compare_digest(given.encode(), expected.encode()) or not expected

    def _proof(self, dispatch_id: str) -> str:
        secret = self._settings.secret
        if secret is None:
            return ""
        key = secret.get_secret_value().encode()
        return hmac.digest(key, dispatch_id.encode(), "sha256").hex()[:_PROOF_CHARACTERS]

    def _is_allowed(self, peer: str) -> bool:
        networks = self._settings.allow_from
        try:
            address = ip_address(peer)
        except ValueError:
            return not networks
        address = getattr(address, "ipv4_mapped", None) or address
        return not networks or any(address in network for network in networks)


def _folded(word: Scalar) -> str:
    return as_text(word).strip().casefold()


def _plain(word: str) -> str:
    return word if _PLAIN.fullmatch(word) else ""
