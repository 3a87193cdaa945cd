"""The gateway of Vonage."""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import requests
from pydantic import Field, SecretStr, model_validator

from otp_service.domain.messages import Message
from otp_service.domain.templates import Encoding, encoding_of
from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import (
    Accepted,
    FailureKind,
    GatewayContext,
    GatewayError,
    InboundForgedError,
    InboundMessage,
    ProviderRequest,
    Receipt,
    ReceiptForgedError,
    ReceiptRequest,
)
from otp_service.gateways.http_client import GatewayClient, HttpResponse, failure_of_status, reference_of
from otp_service.gateways.settings import GatewaySettings

SignatureMethod = Literal["md5hash", "md5", "sha1", "sha256", "sha512"]


class VonageSettings(GatewaySettings):
    """An account, who its messages come from, and how its receipts prove that they are Vonage's."""

    api_key: str = Field(min_length=1)
    api_secret: SecretStr = Field(min_length=1)
    from_: str = Field(alias="from", min_length=1, max_length=15)
    """Number (without plus) or name of the sender."""
    signature_secret: SecretStr | None = Field(default=None, min_length=1)
    """Of the account, where Vonage signs what it sends us; either this or ``receipt_secret``, or no receipts."""
    signature_method: SignatureMethod = "sha256"
    """As the account is configured: ``md5hash`` is a hash, the others are HMAC."""
    receipt_secret: SecretStr | None = Field(default=None, min_length=16)
    """Of our own making: with it our addresses have a token, where Vonage does not sign."""
    base_url: str = Field(default="https://rest.nexmo.com", pattern=r"^https?://[^/@?#\\\s]+[^?#\\\s]*$")

    @property
    def sets_sender(self) -> bool:
        """Whether a message can name its sender: each can."""
        return True

    @property
    def takes_receipts(self) -> bool:
        """Whether a receipt could prove that it is Vonage's."""
        return self.signature_secret is not None or self.receipt_secret is not None

    @property
    def takes_messages(self) -> bool:
        """Whether an inbound message could prove that it is Vonage's: in the same ways."""
        return self.takes_receipts

    @model_validator(mode="after")
    def _has_one_proof(self) -> Self:
        if self.signature_secret is not None and self.receipt_secret is not None:
            raise ValueError("has either signature_secret or receipt_secret")
        return self


# After "Delivery receipts", "Inbound SMS" and "Signing messages" of its documentation. A request comes as a query
# (GET), a form or JSON (POST), as the account is configured. One that is signed has ``sig``, ``timestamp`` and
# ``nonce``; the signature covers all members, but not the address. One that is not signed has a token of ours in its
# address, which covers what the address was made for, but none of the members.

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


# After "Delivery receipts" and "Messaging Opted-out Numbers" of its documentation. The signature of a receipt does not
# cover its address, so that the dispatch is held against ``client-ref``, which we gave.

STATUSES = {
    **dict.fromkeys(("accepted", "buffered"), DeliveryStatus.SENT),
    "delivered": DeliveryStatus.DELIVERED,
    "expired": DeliveryStatus.EXPIRED,
    "undelivered": DeliveryStatus.UNDELIVERED,
    **dict.fromkeys(("failed", "rejected"), DeliveryStatus.FAILED),
}
RECEIPT_FAILURES = {
    "1": FailureKind.UNAVAILABLE,  # not delivered for an unknown reason
    "2": FailureKind.UNAVAILABLE,  # absent subscriber, temporary
    "3": FailureKind.DESTINATION,  # absent subscriber, permanent: the number is no longer active
    "4": FailureKind.DESTINATION,  # call barred by the user
    "5": FailureKind.UNAVAILABLE,  # portability error
    "6": FailureKind.UNAVAILABLE,  # anti-spam rejection
    "7": FailureKind.UNAVAILABLE,  # handset busy
    "8": FailureKind.UNAVAILABLE,  # network error
    "9": FailureKind.DESTINATION,  # the user asked not to receive such messages: "Messaging Opted-out Numbers"
    "10": FailureKind.REJECTED,  # error in a parameter of the message
    "11": FailureKind.UNAVAILABLE,  # no route found
    "12": FailureKind.CHANNEL,  # no route to this number
    "13": FailureKind.CHANNEL,  # age restriction
    "14": FailureKind.CHANNEL,  # SMS not enabled on the subscriber's plan
    "15": FailureKind.CHANNEL,  # the subscriber's prepaid balance is too low
    "99": FailureKind.UNAVAILABLE,  # error in the route
}
OPTED_OUT = "9"


def authentic_members(request: ReceiptRequest, settings: VonageSettings) -> Mapping[str, str]:
    """Return the members of a receipt; raise `ReceiptForgedError` unless it is proven to be about its dispatch."""
    members = members_of(request)
    named = settings.signature_secret is None or members.get("client-ref") == request.dispatch_id
    if not (is_proven(request, members, settings, request.dispatch_id) and named):
        raise ReceiptForgedError
    return members


def receipt_of(members: Mapping[str, str]) -> Receipt:
    """Return what a receipt says; its reason is an error code in our words first: ``destination 3``."""
    raw, code = members.get("status", ""), members.get("err-code", "")
    status, kind = STATUSES.get(raw, DeliveryStatus.UNKNOWN), RECEIPT_FAILURES.get(code)
    if code == "0":
        return Receipt(status, raw)
    return Receipt(status, raw, f"{kind} {code}" if kind else code or None, kind, opted_out=code == OPTED_OUT)


# After "Inbound SMS" of its documentation. Its ``keyword``, the first word of a message, is not read: only a whole
# message counts.

INBOUND_SUBJECT = "inbound"
"""What a token in the inbound address is made for."""
_PART = "true"
"""What ``concat`` says of a part of a longer message."""


def authentic_message(request: ProviderRequest, settings: VonageSettings) -> InboundMessage:
    """Return the message of a request; raise `InboundForgedError` unless one of the two proofs holds."""
    members = members_of(request)
    if not is_proven(request, members, settings, INBOUND_SUBJECT):
        raise InboundForgedError
    return _message(members)


def _message(members: Mapping[str, str]) -> InboundMessage:
    sender = members.get("msisdn", "")
    return InboundMessage(
        reference=members.get("messageId", ""),
        sender=f"+{sender}" if sender.isdecimal() else sender,
        text="" if members.get("concat") == _PART else members.get("text", ""),
    )


# After "SMS API" (https://developer.vonage.com/en/api/sms), "Troubleshooting SMS", "Delivery receipts" and "Signing
# messages" of its documentation.

_ACCEPTED_STATUS = "0"
FAILURES = {
    "1": FailureKind.THROTTLED,  # faster than the account's limit
    "2": FailureKind.REJECTED,  # missing parameters
    "3": FailureKind.REJECTED,  # invalid parameters
    "4": FailureKind.ACCOUNT,  # invalid credentials
    "5": FailureKind.ERROR,  # internal error
    "6": FailureKind.DESTINATION,  # invalid message, for example an unrecognised prefix of the number
    "7": FailureKind.DESTINATION,  # number barred
    "8": FailureKind.ACCOUNT,  # account suspended
    "9": FailureKind.ACCOUNT,  # not enough credit, until somebody tops up
    "10": FailureKind.THROTTLED,  # too many connections at the same time
    "11": FailureKind.ACCOUNT,  # account not enabled for HTTP
    "12": FailureKind.REJECTED,  # message too long
    "14": FailureKind.ACCOUNT,  # invalid signature
    "15": FailureKind.ACCOUNT,  # sender not allowed
    "22": FailureKind.REJECTED,  # invalid network code
    "23": FailureKind.REJECTED,  # callback too long, or with illegal characters
    "29": FailureKind.ACCOUNT,  # demo account, destination not on its list
    "32": FailureKind.ACCOUNT,  # signature and secret in one request
    "33": FailureKind.DESTINATION,  # number de-activated
}
NUMBER_SPECIFIC, SENDER_SPECIFIC = "29", "15"
"""Those of *account* that are about the message: always, and where it has a sender of its own."""
_CODE = re.compile("[0-9]{1,3}")
MIN_TTL, MAX_TTL = 20_000, 604_800_000
"""Milliseconds."""
MAX_ADDRESS = 100
"""Characters of an address for receipts."""


class VonageGateway:
    """Sends SMS, and takes Vonage's delivery receipts, and what people write back."""

    kind: ClassVar[str] = "vonage"
    channels = frozenset({"sms"})
    development_only: ClassVar[bool] = False
    Settings: ClassVar[type[GatewaySettings]] = VonageSettings

    def __init__(self, settings: VonageSettings, context: GatewayContext) -> None:  # noqa: ARG002 - the contract's
        self._settings = settings
        self._http_client = GatewayClient(settings.timeout)

    def send(self, message: Message) -> Accepted:
        """Post the message; raise `GatewayError`, which is ambiguous when a part of a longer text was taken."""
        settings = self._settings
        answer = self._http_client.call(
            requests.Request(
                "POST",
                f"{settings.base_url.rstrip('/')}/sms/json",
                data=self._form(message),
                auth=requests.auth.HTTPBasicAuth(settings.api_key, settings.api_secret.get_secret_value()),
            )
        )
        return Accepted(reference_of(_reference(answer, message), message))

    def sign_receipt_url(self, url: str, dispatch_id: str) -> str:
        """Return the address with a token, unless receipts are signed."""
        return self._sign_url(url, dispatch_id)

    def parse_receipt(self, request: ReceiptRequest) -> Receipt:
        """Return what a delivery receipt says; raise `ReceiptForgedError` unless it is proven to be Vonage's."""
        return receipt_of(authentic_members(request, self._settings))

    def sign_inbound_url(self, url: str) -> str:
        """Return the address with a token, unless messages are signed."""
        return self._sign_url(url, INBOUND_SUBJECT)

    def parse_inbound(self, request: ProviderRequest) -> InboundMessage:
        """Return a message from somebody; raise `InboundForgedError` unless it is proven to be Vonage's."""
        return authentic_message(request, self._settings)

    def _sign_url(self, url: str, subject: str) -> str:
        secret = self._settings.receipt_secret
        return url if secret is None else f"{url}?t={token_of(subject, secret)}"

    def _form(self, message: Message) -> dict[str, str]:
        form = {
            "from": message.sender or self._settings.from_,
            "to": message.to.removeprefix("+"),
            "text": message.text,
            "type": "unicode" if encoding_of(message.text) is Encoding.UCS2 else "text",
            "ttl": str(max(MIN_TTL, min(message.expires_in * 1000, MAX_TTL))),
            "client-ref": message.dispatch_id,
        }
        address = message.receipt_url
        if address and len(address) <= MAX_ADDRESS and self._settings.takes_receipts:
            form["callback"] = address
        return form


def _reference(answer: HttpResponse, message: Message) -> str | None:
    """Return Vonage's id of the first part; raise `GatewayError` unless all parts were taken."""
    parts = _parts(answer)
    if not parts:
        good = 200 <= answer.status < 300  # noqa: PLR2004 - the statuses of success
        malformed = GatewayError(FailureKind.UNAVAILABLE, "malformed answer", ambiguous=True)
        raise malformed if good else failure_of_status(answer.status, retry_after=answer.retry_after)
    refused = [str(part.get("status")) for part in parts if str(part.get("status")) != _ACCEPTED_STATUS]
    if refused:
        kind = FAILURES.get(refused[0], FailureKind.REJECTED)
        code = refused[0] if _CODE.fullmatch(refused[0]) else "unknown status"
        message_specific = code == NUMBER_SPECIFIC or (code == SENDER_SPECIFIC and bool(message.sender))
        ambiguous, rest = len(refused) < len(parts), answer.retry_after
        raise GatewayError(kind, code, ambiguous=ambiguous, retry_after=rest, message_specific=message_specific)
    return parts[0].get("message-id")


def _parts(answer: HttpResponse) -> list[dict[str, Any]]:
    try:
        parts = json.loads(answer.text)["messages"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []
    known = isinstance(parts, list) and all(isinstance(part, dict) for part in parts)
    return parts if known else []
