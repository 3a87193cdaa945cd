"""Vonage: delivery receipts, how they prove themselves and what they say.

After "Delivery receipts" and "Signing messages" of its documentation. A receipt comes as a query (GET), a form or JSON
(POST), as the account is configured. One that is signed has ``sig``, ``timestamp`` and ``nonce``; the signature covers
all members, but not the address, so that the dispatch is held against ``client-ref``, which we gave. One that is not
signed has a token of ours in its address, which covers the dispatch, but none of the members.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping

from pydantic import SecretStr

from otp_service.core.verification import DeliveryStatus
from otp_service.gateways.base import FailureKind, Receipt, ReceiptForgedError, ReceiptRequest
from otp_service.gateways.vonage.settings import SignatureMethod, VonageSettings

STATUSES = {
    **dict.fromkeys(("accepted", "buffered"), DeliveryStatus.SENT),
    "delivered": DeliveryStatus.DELIVERED,
    "expired": DeliveryStatus.EXPIRED,
    "undelivered": DeliveryStatus.UNDELIVERED,
    **dict.fromkeys(("failed", "rejected"), DeliveryStatus.FAILED),
}
FAILURES = {
    "1": FailureKind.UNAVAILABLE,  # not delivered for an unknown reason
    "2": FailureKind.UNAVAILABLE,  # absent subscriber, temporary
    "3": FailureKind.DESTINATION,  # absent subscriber, permanent: the number is no longer active
    "4": FailureKind.DESTINATION,  # call barred by the user
    "5": FailureKind.UNAVAILABLE,  # portability error
    "6": FailureKind.UNAVAILABLE,  # anti-spam rejection
    "7": FailureKind.UNAVAILABLE,  # handset busy
    "8": FailureKind.UNAVAILABLE,  # network error
    "9": FailureKind.DESTINATION,  # the user asked not to receive such messages
    "10": FailureKind.REJECTED,  # error in a parameter of the message
    "11": FailureKind.UNAVAILABLE,  # no route found
    "12": FailureKind.CHANNEL,  # no route to this number
    "13": FailureKind.CHANNEL,  # age restriction
    "14": FailureKind.CHANNEL,  # SMS not enabled on the subscriber's plan
    "15": FailureKind.CHANNEL,  # the subscriber's prepaid balance is too low
    "99": FailureKind.UNAVAILABLE,  # error in the route
}
TOLERANCE = 300
"""Seconds that a signed receipt may be off our clock."""
TOKEN_BYTES = 9
"""72 bits, which nobody guesses over a network, in 12 characters: the whole address may have a hundred."""


def token_of(dispatch_id: str, secret: SecretStr) -> str:
    """Return what the address of a dispatch ends with."""
    digest = hmac.digest(secret.get_secret_value().encode(), dispatch_id.encode(), "sha256")
    return base64.urlsafe_b64encode(digest[:TOKEN_BYTES]).decode()


def authentic_members(request: ReceiptRequest, settings: VonageSettings) -> Mapping[str, str]:
    """Return the members of a receipt; raise `ReceiptForgedError` unless one of the two proofs holds."""
    members = _members(request)
    if settings.signature_secret is not None:
        authentic = _is_signed(members, settings.signature_secret, settings.signature_method)
        if not (authentic and _is_recent(members) and members.get("client-ref") == request.dispatch_id):
            raise ReceiptForgedError
    elif settings.receipt_secret is None or not _has_token(request, settings.receipt_secret):
        raise ReceiptForgedError
    return members


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


def receipt_of(members: Mapping[str, str]) -> Receipt:
    """Return what a receipt says; its reason is an error code in our words first: ``destination 3``."""
    raw, code = members.get("status", ""), members.get("err-code", "")
    status, kind = STATUSES.get(raw, DeliveryStatus.UNKNOWN), FAILURES.get(code)
    if code == "0":
        return Receipt(status, raw)
    return Receipt(status, raw, f"{kind} {code}" if kind else code or None, kind)


def _members(request: ReceiptRequest) -> Mapping[str, str]:
    if request.form:
        return request.form
    return _document(request.body) if request.body else request.query


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


def _has_token(request: ReceiptRequest, secret: SecretStr) -> bool:
    return hmac.compare_digest(_octets(request.query.get("t", "")), _octets(token_of(request.dispatch_id, secret)))


def _octets(text: str) -> bytes:
    return text.encode(errors="surrogatepass")  # JSON may name half a character
