"""Vonage: how what it sends us proves itself.

After "Delivery receipts", "Inbound SMS" and "Signing messages" of its documentation. A request comes as a query (GET),
a form or JSON (POST), as the account is configured. One that is signed has ``sig``, ``timestamp`` and ``nonce``; the
signature covers all members, but not the address. One that is not signed has a token of ours in its address, which
covers what the address was made for, but none of the members.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping

from pydantic import SecretStr

from otp_service.gateways.base import ProviderRequest
from otp_service.gateways.vonage.settings import SignatureMethod, VonageSettings

TOLERANCE = 300
"""Seconds that a signed request may be off our clock."""
TOKEN_BYTES = 9
"""72 bits, which nobody guesses over a network, in 12 characters: the whole address may have a hundred."""


def token_of(subject: str, secret: SecretStr) -> str:
    """Return what an address ends with: ``subject`` is a dispatch, or what else the address is for."""
    digest = hmac.digest(secret.get_secret_value().encode(), subject.encode(), "sha256")
    return base64.urlsafe_b64encode(digest[:TOKEN_BYTES]).decode()


def members_of(request: ProviderRequest) -> Mapping[str, str]:
    """Return the members of a request, proven or not."""
    if request.form:
        return request.form
    return _document(request.body) if request.body else request.query


def is_proven(request: ProviderRequest, members: Mapping[str, str], settings: VonageSettings, subject: str) -> bool:
    """Tell whether one of the two proofs holds; a signature says nothing of the ``subject``."""
    if settings.signature_secret is not None:
        return _is_signed(members, settings.signature_secret, settings.signature_method) and _is_recent(members)
    return settings.receipt_secret is not None and _has_token(request, subject, settings.receipt_secret)


def signature(members: Mapping[str, str], secret: str, method: SignatureMethod) -> str:
    """Return the signature of members, in hexadecimal digits of lower case."""
    signed = "".join(
        f"&{name}={value.replace('&', '_').replace('=', '_')}"
        for name, value in sorted(members.items())
        if name != "sig"
    )
    if method == "md5hash":
        return hashlib.md5(_octets(signed + secret)).hexdigest()  # noqa: S324 - the account's choice
    return hmac.digest(_octets(secret), _octets(signed), method).hex()


def _document(body: bytes) -> dict[str, str]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in document.items()}


def _is_signed(members: Mapping[str, str], secret: SecretStr, method: SignatureMethod) -> bool:
    if any("&" in name or "=" in name for name in members):  # they would hide members, under the same signature
        return False
    expected = signature(members, secret.get_secret_value(), method)
    return hmac.compare_digest(_octets(members.get("sig", "").lower()), _octets(expected))


def _is_recent(members: Mapping[str, str]) -> bool:
    stamp = members.get("timestamp", "")
    plain = stamp.isascii() and stamp.isdecimal() and len(stamp) < len("10000000000")
    return plain and abs(time.time() - int(stamp)) <= TOLERANCE


def _has_token(request: ProviderRequest, subject: str, secret: SecretStr) -> bool:
    return hmac.compare_digest(_octets(request.query.get("t", "")), _octets(token_of(subject, secret)))


def _octets(text: str) -> bytes:
    return text.encode(errors="surrogatepass")  # JSON may name half a character
