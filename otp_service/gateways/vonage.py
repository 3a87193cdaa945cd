"""Gateway ``vonage``: SMS."""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import requests
from pydantic import Field, SecretStr, model_validator

from otp_service.domain.keyring import base64url
from otp_service.domain.messages import Message
from otp_service.domain.segments import Encoding, encoding_of
from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import (
    FailureKind,
    ForgedRequestError,
    GatewayError,
    GatewaySettings,
    InboundMessage,
    ProviderRequest,
    Receipt,
    ReceiptRequest,
    is_recent,
    is_same_secret,
)
from otp_service.gateways.http_client import (
    ApiUrl,
    HttpApiGateway,
    HttpResponse,
    api_url,
    failure_of_answer,
    json_at,
    json_object,
    json_of,
)

SignatureMethod = Literal["md5hash", "md5", "sha1", "sha256", "sha512"]


class VonageSettings(GatewaySettings):
    """A Vonage account, its sender, and the authentication of its receipts."""

    api_key: str = Field(min_length=1)
    api_secret: SecretStr = Field(min_length=1)
    from_: str = Field(alias="from", min_length=1, max_length=15)
    """Number (without plus) or name of the sender."""
    signature_secret: SecretStr | None = Field(default=None, min_length=1)
    """The account's signature secret, if Vonage signs its requests to us. Receipts need this or ``receipt_secret``."""
    signature_method: SignatureMethod = "sha256"
    """The account's signature method: ``md5hash`` is a plain hash, the others are HMAC."""
    receipt_secret: SecretStr | None = Field(default=None, min_length=16)
    """Your own secret, if Vonage does not sign: the key of the token in the URLs for Vonage."""
    base_url: ApiUrl = "https://rest.nexmo.com"

    @property
    def sets_sender(self) -> bool:
        return True

    @property
    def takes_receipts(self) -> bool:
        return self.signature_secret is not None or self.receipt_secret is not None

    @property
    def takes_messages(self) -> bool:
        return self.takes_receipts

    @model_validator(mode="after")
    def _has_one_proof(self) -> Self:
        if self.signature_secret is not None and self.receipt_secret is not None:
            raise ValueError("has either signature_secret or receipt_secret")
        return self


# Source: "Delivery receipts", "Inbound SMS" and "Signing messages" of Vonage's documentation. As the account is
# configured, a request's parameters come in the query (GET), as a form or as JSON (POST). A signed request has ``sig``,
# ``timestamp`` and ``nonce``; the signature covers all parameters, but not the URL. An unsigned request has our token
# in its URL, which covers the subject of the URL, but none of the parameters.

TOKEN_BYTES = 9
"""72 bits are too many to guess over a network, and fit into 12 of the 100 characters that a URL may have."""


def token_of(subject: str, secret: SecretStr) -> str:
    """Return the token for a URL, in base64url; ``subject`` is a dispatch's id or `INBOUND_SUBJECT`."""
    digest = hmac.digest(secret.get_secret_value().encode(), subject.encode(), "sha256")
    return base64url(digest[:TOKEN_BYTES])


def members_of(request: ProviderRequest) -> Mapping[str, str]:
    if request.form:
        return request.form
    if request.body:
        members = json_object(request.body).items()
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in members}
    return request.query


def is_proven(request: ProviderRequest, members: Mapping[str, str], settings: VonageSettings, subject: str) -> bool:
    """Check Vonage's recent signature, or our token in the URL; a signature does not cover the ``subject``."""
    if settings.signature_secret is not None:
        if any("&" in name or "=" in name for name in members):  # which could hide further parameters
            return False
        if not is_recent(members.get("timestamp", "")):
            return False
        expected = signature(members, settings.signature_secret.get_secret_value(), settings.signature_method)
        return is_same_secret(members.get("sig", "").lower(), expected)
    secret = settings.receipt_secret
    return secret is not None and is_same_secret(request.query.get("t", ""), token_of(subject, secret))


def signature(members: Mapping[str, str], secret: str, method: SignatureMethod) -> str:
    """Return the signature of a request's parameters, in lower-case hexadecimal digits."""
    signed = "".join(
        f"&{name}={value.replace('&', '_').replace('=', '_')}"
        for name, value in sorted(members.items())
        if name != "sig"
    )
    if method == "md5hash":
        return hashlib.md5(_octets(signed + secret)).hexdigest()  # noqa: S324 - the account's choice
    return hmac.digest(_octets(secret), _octets(signed), method).hex()


def _octets(text: str) -> bytes:
    return text.encode(errors="surrogatepass")  # JSON may contain a lone surrogate


# Source: "Delivery receipts" and "Messaging Opted-out Numbers" of Vonage's documentation. The signature of a receipt
# does not cover its URL, so the dispatch in the URL must equal the signed ``client-ref``, which we sent.

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
"""Kind of failure by Vonage's ``err-code``."""
OPTED_OUT = "9"


def receipt_of(members: Mapping[str, str]) -> Receipt:
    """Return the receipt in the parameters. Its reason is kind and error code: ``destination 3``."""
    raw, code = members.get("status", ""), members.get("err-code", "")
    status, kind = STATUSES.get(raw, DeliveryStatus.UNKNOWN), RECEIPT_FAILURES.get(code)
    if code == "0":
        return Receipt(status, raw)
    return Receipt(status, raw, f"{kind} {code}" if kind else code or None, kind, opted_out=code == OPTED_OUT)


# Source: "Inbound SMS" of Vonage's documentation. Its ``keyword``, the first word of a message, is not read: only a
# whole message means something.

INBOUND_SUBJECT = "inbound"
"""Subject of the token in the URL for inbound messages."""

# Source: "SMS API" (https://developer.vonage.com/en/api/sms), "Troubleshooting SMS", "Delivery receipts" and "Signing
# messages" of Vonage's documentation.

FAILURES = {
    "1": FailureKind.THROTTLED,  # faster than the account's limit
    "2": FailureKind.REJECTED,  # missing parameters
    "3": FailureKind.REJECTED,  # invalid parameters
    "4": FailureKind.ACCOUNT,  # invalid credentials
    "5": FailureKind.ERROR,  # internal error
    "6": FailureKind.DESTINATION,  # invalid message, for example an unrecognised prefix of the number
    "7": FailureKind.DESTINATION,  # number barred
    "8": FailureKind.ACCOUNT,  # account suspended
    "9": FailureKind.ACCOUNT,  # not enough credit
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
"""Kind of failure by the ``status`` of a message in the answer."""
NUMBER_SPECIFIC, SENDER_SPECIFIC = "29", "15"
"""Statuses of *account* that concern only this message: the first always, the second if it has its own sender."""
_CODE = re.compile("[0-9]{1,3}")
MIN_TTL, MAX_TTL = 20_000, 604_800_000
"""Bounds of ``ttl``, in milliseconds."""
MAX_URL = 100
"""Maximum characters of the URL for receipts."""


class VonageGateway(HttpApiGateway):
    """Sends SMS through Vonage; reads its receipts and the messages from people."""

    kind: ClassVar[str] = "vonage"
    channels = frozenset({"sms"})
    Settings: ClassVar[type[GatewaySettings]] = VonageSettings
    settings: VonageSettings

    def request(self, message: Message) -> requests.Request:
        settings = self.settings
        form = {
            "from": message.sender or settings.from_,
            "to": message.to.removeprefix("+"),
            "text": message.text,
            "type": "unicode" if encoding_of(message.text) is Encoding.UCS2 else "text",
            "ttl": str(max(MIN_TTL, min(message.expires_in * 1000, MAX_TTL))),
            "client-ref": message.dispatch_id,
        }
        url = message.receipt_url
        if url and len(url) <= MAX_URL and settings.takes_receipts:
            form["callback"] = url
        return requests.Request(
            "POST",
            api_url(settings.base_url, "sms/json"),
            data=form,
            auth=requests.auth.HTTPBasicAuth(settings.api_key, settings.api_secret.get_secret_value()),
        )

    def failure(self, answer: HttpResponse, message: Message) -> GatewayError | None:
        """Return why Vonage refuses the message; ambiguous if it accepted some parts of a long text."""
        parts = json_at(json_of(answer.text), "messages")
        if not (isinstance(parts, list) and parts and all(isinstance(part, dict) for part in parts)):
            return failure_of_answer(answer)
        refused = [str(part.get("status")) for part in parts if str(part.get("status")) != "0"]
        if not refused:
            return None
        code = refused[0] if _CODE.fullmatch(refused[0]) else "unknown status"
        return GatewayError(
            FAILURES.get(refused[0], FailureKind.REJECTED),
            code,
            ambiguous=len(refused) < len(parts),
            retry_after=answer.retry_after,
            message_specific=code == NUMBER_SPECIFIC or (code == SENDER_SPECIFIC and bool(message.sender)),
        )

    def reference(self, answer: HttpResponse) -> object:
        return json_at(json_of(answer.text), "messages", 0, "message-id")

    def sign_receipt_url(self, url: str, dispatch_id: str) -> str:
        secret = self.settings.receipt_secret
        return url if secret is None else f"{url}?t={token_of(dispatch_id, secret)}"

    def parse_receipt(self, request: ReceiptRequest) -> Receipt:
        members = members_of(request)
        is_of_dispatch = self.settings.signature_secret is None or members.get("client-ref") == request.dispatch_id
        if not (is_proven(request, members, self.settings, request.dispatch_id) and is_of_dispatch):
            raise ForgedRequestError
        return receipt_of(members)

    def sign_inbound_url(self, url: str) -> str:
        return self.sign_receipt_url(url, INBOUND_SUBJECT)

    def parse_inbound(self, request: ProviderRequest) -> InboundMessage:
        members = members_of(request)
        if not is_proven(request, members, self.settings, INBOUND_SUBJECT):
            raise ForgedRequestError
        sender = members.get("msisdn", "")
        return InboundMessage(
            reference=members.get("messageId", ""),
            sender=f"+{sender}" if sender.isdecimal() else sender,
            text="" if members.get("concat") == "true" else members.get("text", ""),  # a part of a longer message
        )
