"""Proof of ``http`` gateways: how a request of a provider is believed, and where its values stand, by configuration."""

import hmac
from ipaddress import ip_address
from typing import Annotated, Self
from urllib.parse import urlencode

from pydantic import Field, IPvAnyNetwork, SecretStr, model_validator

from otp_service.gateways.base import ProviderRequest
from otp_service.gateways.http.dotted import value_at
from otp_service.gateways.http.verdict import Part

TOKEN = "token"  # noqa: S105 - a name
"""Parameter of an address that holds the proof."""
_PROOF_CHARACTERS = 32
"""Of the hexadecimal HMAC: 128 bits, which RFC 2104 (section 5) allows, since some providers bound addresses."""


class Place(Part):
    """Where in a request a value stands: one of the three."""

    query: str | None = Field(default=None, min_length=1)
    form: str | None = Field(default=None, min_length=1)
    path: str | None = Field(default=None, alias="json", min_length=1)
    """Dotted path in a body of JSON."""

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if sum(place is not None for place in (self.query, self.form, self.path)) != 1:
            raise ValueError("needs either query, form or json")
        return self

    def of(self, request: ProviderRequest) -> str:
        """Return what stands there, as text; empty when there is nothing."""
        if self.query is not None:
            return request.query.get(self.query, "")
        if self.form is not None:
            return request.form.get(self.form, "")
        return value_at(request.body, self.path or "") or ""


class ProofSettings(Part):
    """How requests are believed: by a ``secret``, by ``allow_from`` or by both."""

    secret: Annotated[SecretStr, Field(min_length=16)] | None = None
    """Key of the token that our address carries."""
    allow_from: tuple[IPvAnyNetwork, ...] = ()
    """Networks that the provider calls from."""

    @model_validator(mode="after")
    def _proves_something(self) -> Self:
        if self.secret is None and not self.allow_from:
            raise ValueError("needs secret or allow_from: anybody could report")
        if any(network.prefixlen == 0 for network in self.allow_from):
            raise ValueError("allow_from has a network of all addresses, which proves nothing")
        if any(network.version == 6 and network.network_address.ipv4_mapped for network in self.allow_from):  # noqa: PLR2004 - IPv6
            raise ValueError("allow_from has an IPv4 network written as IPv6; write it as IPv4")
        return self


class Proof:
    """Believes requests as a section says."""

    def __init__(self, settings: ProofSettings) -> None:
        self._settings = settings

    def address(self, url: str, subject: str) -> str:
        """Return the address for the provider, with the proof. It ends within a query: more is added with ``&``."""
        token = self._token(subject)
        return f"{url}?{urlencode({TOKEN: token})}" if token else f"{url}?"

    def holds(self, request: ProviderRequest, subject: str) -> bool:
        """Tell whether a request to the address that was made for a ``subject`` is the provider's."""
        given, expected = request.query.get(TOKEN, ""), self._token(subject)
        proven = hmac.compare_digest(given.encode(), expected.encode()) or not expected
        return proven and self._is_allowed(request.peer)

    def _token(self, subject: str) -> str:
        secret = self._settings.secret
        if secret is None:
            return ""
        key = secret.get_secret_value().encode()
        return hmac.digest(key, subject.encode(), "sha256").hex()[:_PROOF_CHARACTERS]

    def _is_allowed(self, peer: str) -> bool:
        networks = self._settings.allow_from
        try:
            address = ip_address(peer)
        except ValueError:
            return not networks
        address = getattr(address, "ipv4_mapped", None) or address
        return not networks or any(address in network for network in networks)
