"""Vonage (once Nexmo): its SMS API.

After "SMS API" (https://developer.vonage.com/en/api/sms), "Troubleshooting SMS", "Delivery receipts" and "Signing
messages" of its documentation.
"""

import json
import re
from typing import Any, ClassVar

import requests

from otp_service.domain.templates import Encoding, Message, encoding_of
from otp_service.gateways.base import (
    Accepted,
    FailureKind,
    GatewayContext,
    GatewayError,
    GatewaySettings,
    InboundMessage,
    ProviderRequest,
    Receipt,
    ReceiptRequest,
)
from otp_service.gateways.vonage.inbound import SUBJECT, authentic_message
from otp_service.gateways.vonage.proof import token_of
from otp_service.gateways.vonage.receipts import authentic_members, receipt_of
from otp_service.gateways.vonage.settings import VonageSettings
from otp_service.gateways.wire import Answer, Wire, failure_of_status, reference_of

ACCEPTED = "0"
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
OF_NUMBER, OF_SENDER = "29", "15"
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
        self._wire = Wire(settings.timeout)

    def send(self, message: Message) -> Accepted:
        """Post the message; raise `GatewayError`, which is ambiguous when a part of a longer text was taken."""
        settings = self._settings
        answer = self._wire.call(
            requests.Request(
                "POST",
                f"{settings.base_url.rstrip('/')}/sms/json",
                data=self._form(message),
                auth=requests.auth.HTTPBasicAuth(settings.api_key, settings.api_secret.get_secret_value()),
            )
        )
        return Accepted(reference_of(_reference(answer, message), message))

    def receipt_address(self, url: str, dispatch_id: str) -> str:
        """Return the address with a token, unless receipts are signed."""
        return self._marked(url, dispatch_id)

    def receipt(self, request: ReceiptRequest) -> Receipt:
        """Return what a delivery receipt says; raise `ReceiptForgedError` unless it is proven to be Vonage's."""
        return receipt_of(authentic_members(request, self._settings))

    def inbound_address(self, url: str) -> str:
        """Return the address with a token, unless messages are signed."""
        return self._marked(url, SUBJECT)

    def inbound(self, request: ProviderRequest) -> InboundMessage:
        """Return a message from somebody; raise `InboundForgedError` unless it is proven to be Vonage's."""
        return authentic_message(request, self._settings)

    def _marked(self, url: str, subject: str) -> str:
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


def _reference(answer: Answer, message: Message) -> str | None:
    """Return Vonage's id of the first part; raise `GatewayError` unless all parts were taken."""
    parts = _parts(answer)
    if not parts:
        good = 200 <= answer.status < 300  # noqa: PLR2004 - the statuses of success
        malformed = GatewayError(FailureKind.UNAVAILABLE, "malformed answer", ambiguous=True)
        raise malformed if good else failure_of_status(answer.status, retry_after=answer.retry_after)
    refused = [str(part.get("status")) for part in parts if str(part.get("status")) != ACCEPTED]
    if refused:
        kind = FAILURES.get(refused[0], FailureKind.REJECTED)
        code = refused[0] if _CODE.fullmatch(refused[0]) else "unknown status"
        of_message = code == OF_NUMBER or (code == OF_SENDER and bool(message.sender))
        ambiguous, rest = len(refused) < len(parts), answer.retry_after
        raise GatewayError(kind, code, ambiguous=ambiguous, retry_after=rest, of_message=of_message)
    return parts[0].get("message-id")


def _parts(answer: Answer) -> list[dict[str, Any]]:
    try:
        parts = json.loads(answer.text)["messages"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []
    known = isinstance(parts, list) and all(isinstance(part, dict) for part in parts)
    return parts if known else []
