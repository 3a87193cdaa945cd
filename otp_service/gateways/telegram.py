"""Gateway ``telegram``: codes in Telegram, through its Gateway API."""

import hashlib
import hmac
import re
from typing import ClassVar

import requests
from pydantic import Field, SecretStr

from otp_service.domain.messages import Message
from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import (
    FailureKind,
    ForgedRequestError,
    GatewayError,
    GatewaySettings,
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
    bearer,
    failure_of_answer,
    json_at,
    json_object,
    json_of,
)

MIN_TTL, MAX_TTL = 30, 3600
"""Bounds of ``ttl``, in seconds."""


class TelegramSettings(GatewaySettings):
    """An account of Telegram's Gateway platform."""

    token: SecretStr = Field(min_length=1)
    """Access token of the account; it authenticates receipts too."""
    sender_username: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_]{1,32}$")
    """Your verified channel that sends codes; default: Telegram's own."""
    ttl: int | None = Field(default=None, ge=MIN_TTL, le=MAX_TTL)
    """Seconds within which Telegram has to deliver; afterwards it refunds the fee, and the code goes by another
    channel. Default and maximum: the lifetime of the code."""
    base_url: ApiUrl = "https://gatewayapi.telegram.org"


# Source: "Telegram Gateway API" (https://core.telegram.org/gateway/api), which names a single error; public
# clients know the others.

FAILURES = {
    **dict.fromkeys(("ACCESS_TOKEN_INVALID", "ACCESS_TOKEN_REQUIRED", "BALANCE_NOT_ENOUGH"), FailureKind.ACCOUNT),
    **dict.fromkeys(("SENDER_NOT_OWNED", "SENDER_NOT_VERIFIED", "SENDER_USERNAME_INVALID"), FailureKind.ACCOUNT),
    **dict.fromkeys(("CALLBACK_URL_INVALID", "UNKNOWN_METHOD"), FailureKind.ACCOUNT),  # our own URLs
    **dict.fromkeys(("CODE_INVALID", "PAYLOAD_INVALID", "TTL_INVALID"), FailureKind.REJECTED),
    **dict.fromkeys(("PHONE_NUMBER_INVALID", "PHONE_NUMBER_NOT_FOUND"), FailureKind.CHANNEL),  # not in Telegram
}
"""Kind of failure by ``error``."""
STATUSES = {
    "sent": DeliveryStatus.SENT,
    **dict.fromkeys(("delivered", "read"), DeliveryStatus.DELIVERED),
    "expired": DeliveryStatus.UNDELIVERED,  # not delivered within ``ttl``
}
"""Delivery status by the ``status`` in ``delivery_status``."""
_FLOOD_WAIT = re.compile("FLOOD_WAIT_([0-9]{1,6})")


class TelegramGateway(HttpApiGateway):
    """Sends codes through Telegram, which shows them in its own words; reads its receipts."""

    kind: ClassVar[str] = "telegram"
    channels = frozenset({"telegram"})
    Settings: ClassVar[type[GatewaySettings]] = TelegramSettings
    settings: TelegramSettings

    def request(self, message: Message) -> requests.Request:
        """Return the request; raise `GatewayError` for a payment, which Telegram would not show."""
        if "amount" in message.variables:
            raise GatewayError(FailureKind.CHANNEL, "payment")
        settings = self.settings
        members = {
            "phone_number": message.to,
            "code": message.variables.get("code"),
            "ttl": max(MIN_TTL, min(message.expires_in, settings.ttl or MAX_TTL)),
            "payload": message.dispatch_id,  # comes back in the report, whose signature does not cover its URL
            "callback_url": message.receipt_url,
            "sender_username": settings.sender_username,
        }
        return requests.Request(
            "POST",
            api_url(settings.base_url, "sendVerificationMessage"),
            json={name: value for name, value in members.items() if value is not None},
            headers=bearer(settings.token),
        )

    def failure(self, answer: HttpResponse, _: Message) -> GatewayError | None:
        document = json_object(answer.text)
        error = str(document.get("error", ""))
        if document.get("ok") is True:
            return None
        if error in FAILURES:
            return GatewayError(FAILURES[error], error.lower(), retry_after=answer.retry_after)
        if wait := _FLOOD_WAIT.fullmatch(error):
            # It may concern this number only, and its holder must not stop the gateway for all others.
            return GatewayError(FailureKind.THROTTLED, "flood_wait", retry_after=int(wait[1]), message_specific=True)
        if "error" in document and answer.is_success:
            return GatewayError(FailureKind.CHANNEL, "unknown error", our_fault=True)
        return failure_of_answer(answer)

    def reference(self, answer: HttpResponse) -> object:
        return json_at(json_of(answer.text), "result", "request_id")

    def parse_receipt(self, request: ReceiptRequest) -> Receipt:
        document = json_object(request.body)
        timestamp, signature = (request.headers.get(f"x-request-{name}", "") for name in ("timestamp", "signature"))
        key = hashlib.sha256(self.settings.token.get_secret_value().encode()).digest()
        expected = hmac.digest(key, f"{timestamp}\n".encode(errors="replace") + request.body, "sha256").hex()
        is_proven = is_recent(timestamp) and is_same_secret(signature, expected)
        if not (is_proven and document.get("payload") == request.dispatch_id):
            raise ForgedRequestError
        delivery = document.get("delivery_status")
        raw = str(delivery.get("status", "")) if isinstance(delivery, dict) else ""
        status = STATUSES.get(raw, DeliveryStatus.UNKNOWN)
        return Receipt(status, raw, refunded=document.get("is_refunded") is True)
