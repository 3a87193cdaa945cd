"""Twilio: Programmable Messaging through the official SDK."""

from typing import Any, ClassVar, Self

import requests
from pydantic import Field, SecretStr, model_validator
from twilio.base.exceptions import TwilioException
from twilio.http.response import Response
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from otp_service.core.message import Message
from otp_service.core.verification import DeliveryStatus
from otp_service.gateways.base import (
    Accepted,
    FailureKind,
    GatewayContext,
    GatewayError,
    GatewaySettings,
    Receipt,
    ReceiptForgedError,
    ReceiptRequest,
)
from otp_service.gateways.wire import Wire, failure_of_status, reference_of

FAILURES = {
    20003: FailureKind.REJECTED,  # authenticate
    20429: FailureKind.THROTTLED,  # too many requests
    21211: FailureKind.DESTINATION,  # invalid 'To' phone number
    21408: FailureKind.UNAVAILABLE,  # permission to send to the region not enabled
    21606: FailureKind.REJECTED,  # 'From' is not a number that can send
    21608: FailureKind.REJECTED,  # trial account, unverified destination
    21610: FailureKind.DESTINATION,  # recipient has replied STOP
    21612: FailureKind.CHANNEL,  # no route between 'From' and 'To'
    21614: FailureKind.CHANNEL,  # 'To' is not a mobile number
    21635: FailureKind.CHANNEL,  # 'To' is a landline
    30001: FailureKind.THROTTLED,  # queue overflow
    30003: FailureKind.UNAVAILABLE,  # unreachable destination handset
    30004: FailureKind.UNAVAILABLE,  # message blocked
    30005: FailureKind.DESTINATION,  # unknown destination handset
    30006: FailureKind.CHANNEL,  # landline or unreachable carrier
    30007: FailureKind.UNAVAILABLE,  # message filtered
    30008: FailureKind.UNAVAILABLE,  # unknown error
    30022: FailureKind.REJECTED,  # US A2P 10DLC rate limits exceeded
    30034: FailureKind.REJECTED,  # US A2P 10DLC unregistered number
    30450: FailureKind.FRAUD,  # SMS pumping protection
}
STATUSES = {
    **dict.fromkeys(("accepted", "scheduled", "queued", "sending", "sent"), DeliveryStatus.SENT),
    **dict.fromkeys(("delivered", "read"), DeliveryStatus.DELIVERED),
    "undelivered": DeliveryStatus.UNDELIVERED,
    **dict.fromkeys(("failed", "canceled"), DeliveryStatus.FAILED),
}
_NO_ENVIRONMENT = {"TWILIO_REGION": ""}  # the process' own may name a region, which would rewrite the base URL


class TwilioSettings(GatewaySettings):
    """An account, and who its messages come from."""

    account_sid: str = Field(pattern=r"^AC[0-9a-fA-F]{32}$")
    auth_token: SecretStr = Field(min_length=1)
    """Authenticates us there and, as the key of signatures, receipts here."""
    from_: str | None = Field(default=None, alias="from", min_length=1)
    """Number or name of the sender; either this or ``messaging_service_sid``."""
    messaging_service_sid: str | None = Field(default=None, pattern=r"^MG[0-9a-fA-F]{32}$")
    base_url: str = Field(default="https://api.twilio.com", pattern=r"^https?://[^/@?#]+[^?#]*$")

    @model_validator(mode="after")
    def _has_one_sender(self) -> Self:
        if (self.from_ is None) == (self.messaging_service_sid is None):
            raise ValueError("needs either from or messaging_service_sid")
        return self


class TwilioGateway:
    """Sends SMS, and takes Twilio's reports on them."""

    kind: ClassVar[str] = "twilio"
    channels = frozenset({"sms"})
    development_only: ClassVar[bool] = False
    Settings: ClassVar[type[GatewaySettings]] = TwilioSettings

    def __init__(self, settings: TwilioSettings, context: GatewayContext) -> None:  # noqa: ARG002 - the contract's
        token = settings.auth_token.get_secret_value()
        self._settings = settings
        self._validator = RequestValidator(token)
        transport = _Transport(settings.timeout)
        self._client = Client(settings.account_sid, token, http_client=transport, environment=_NO_ENVIRONMENT)
        self._client.api.base_url = settings.base_url.rstrip("/")

    def send(self, message: Message) -> Accepted:
        """Create a message that Twilio forgets, and drops once the code is worthless."""
        outcome = self._create(message)
        if isinstance(outcome, GatewayError):
            raise outcome  # outside of the handlers: Twilio's words repeat the number
        return Accepted(outcome)

    def receipt(self, request: ReceiptRequest) -> Receipt:
        """Return what a status callback says; raise `ReceiptForgedError` unless Twilio signed it."""
        form = dict(request.form)
        if not self._validator.validate(request.url, form, request.headers.get("x-twilio-signature", "")):
            raise ReceiptForgedError
        raw = form.get("MessageStatus", "")
        return Receipt(STATUSES.get(raw, DeliveryStatus.UNKNOWN), raw, _reason(form.get("ErrorCode", "")))

    def _create(self, message: Message) -> str | GatewayError:
        try:
            created = self._client.messages.create(
                to=message.to,
                body=message.text,
                validity_period=max(1, min(message.expires_in, 36_000)),
                content_retention="discard",
                address_retention="obfuscate",
                status_callback=message.receipt_url,  # the SDK leaves out what is None
                from_=self._settings.from_,
                messaging_service_sid=self._settings.messaging_service_sid,
            )
        except TwilioException as refusal:
            return _failure(refusal)
        except (AttributeError, LookupError, TypeError, ValueError):  # an answer that the SDK cannot read
            return GatewayError(FailureKind.UNAVAILABLE, "malformed answer", ambiguous=True)
        return reference_of(created.sid, message)


class _Transport:
    """Makes the SDK's calls in our way. Its own client logs them, and sets no bound to their time or size."""

    is_async = False

    def __init__(self, timeout: float) -> None:
        self._wire = Wire(timeout)

    def request(self, method: str, uri: str, *_: Any, **parts: Any) -> Response:  # noqa: ANN401 - the SDK's
        asked = {name: parts.get(name) for name in ("params", "data", "headers", "auth")}
        answer = self._wire.call(requests.Request(method, uri, **asked))
        return Response(answer.status, answer.text, answer.headers)


def _failure(refusal: TwilioException) -> GatewayError:
    status, code = getattr(refusal, "status", 400), getattr(refusal, "code", None)
    if code in FAILURES:
        return GatewayError(FAILURES[code], str(code))
    return failure_of_status(status, str(code) if isinstance(code, int) and code != status else None)


def _reason(code: str) -> str | None:
    """Return an error code in our words first: ``destination 30005``."""
    kind = FAILURES.get(int(code)) if code.isdecimal() else None
    return f"{kind} {code}" if kind else code or None
