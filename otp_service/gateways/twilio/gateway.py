"""Twilio: SMS, calls and WhatsApp through the official SDK.

After "Message resource", "Call resource", "TwiML Voice: <Say>" and "Webhooks security" of its documentation
(https://www.twilio.com/docs). The tables of codes, statuses and voices are in files beside this one.
"""

from typing import Any, ClassVar

import requests
from twilio.base.exceptions import TwilioException
from twilio.http.response import Response
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from otp_service.domain.templates import Message
from otp_service.gateways.base import (
    Accepted,
    FailureKind,
    GatewayContext,
    GatewayError,
    GatewaySettings,
    InboundAnswer,
    InboundForgedError,
    InboundMessage,
    ProviderRequest,
    Receipt,
    ReceiptForgedError,
    ReceiptRequest,
)
from otp_service.gateways.twilio.codes import OF_SENDER, failure_of, receipt_of_call, receipt_of_message
from otp_service.gateways.twilio.inbound import answer_of, message_of
from otp_service.gateways.twilio.parts import sms_parts, whatsapp_parts
from otp_service.gateways.twilio.settings import TwilioSettings
from otp_service.gateways.twilio.voice import twiml, voice_for
from otp_service.gateways.wire import Wire, reference_of

_NO_ENVIRONMENT = {"TWILIO_REGION": ""}  # the process' own may name a region, which would rewrite the base URL
_UNREADABLE = (AttributeError, LookupError, TypeError, ValueError, RecursionError, TwilioException)
"""What the SDK raises at an answer that it cannot read."""
_MAX_VALIDITY = 36_000
_MAX_RINGING = 60


class TwilioGateway:
    """Sends messages and makes calls, takes Twilio's reports on them, and what people write back."""

    kind: ClassVar[str] = "twilio"
    channels = frozenset({"sms", "voice", "whatsapp"})
    development_only: ClassVar[bool] = False
    carries_reply: ClassVar[bool] = True
    Settings: ClassVar[type[GatewaySettings]] = TwilioSettings

    def __init__(self, settings: TwilioSettings, context: GatewayContext) -> None:  # noqa: ARG002 - the contract's
        token = settings.auth_token.get_secret_value()
        self.channels = settings.channels
        self._settings = settings
        self._validator = RequestValidator(token)
        transport = _Transport(settings.timeout)
        self._client = Client(settings.account_sid, token, http_client=transport, environment=_NO_ENVIRONMENT)
        self._client.api.base_url = settings.base_url.rstrip("/")

    def send(self, message: Message) -> Accepted:
        """Create a message or a call, in one request; raise `GatewayError`."""
        outcome = self._create(message)
        if isinstance(outcome, GatewayError):
            raise outcome  # outside of the handlers: what the SDK raises may hold what Twilio answered
        return Accepted(outcome)

    def receipt(self, request: ReceiptRequest) -> Receipt:
        """Return what a status callback says; raise `ReceiptForgedError` unless Twilio signed it."""
        if not self._is_signed(request):
            raise ReceiptForgedError
        call = request.form.get("CallStatus")
        return receipt_of_message(request.form) if call is None else receipt_of_call(call)

    def inbound(self, request: ProviderRequest) -> InboundMessage:
        """Return a message from somebody; raise `InboundForgedError` unless Twilio signed it."""
        if not self._is_signed(request):
            raise InboundForgedError
        return message_of(request.form or request.query)

    def inbound_answer(self, reply: str | None) -> InboundAnswer:
        """Return what has Twilio send a reply, or nothing."""
        return answer_of(reply)

    def _is_signed(self, request: ProviderRequest) -> bool:
        signature = request.headers.get("x-twilio-signature", "")
        return bool(self._validator.validate(request.url, dict(request.form), signature))

    def _create(self, message: Message) -> str | GatewayError:
        try:
            created = self._call(message) if message.channel == "voice" else self._message(message)
        except GatewayError as failure:
            failure.of_message |= bool(message.sender) and failure.provider_code in OF_SENDER
            return failure
        except _UNREADABLE:
            return GatewayError(FailureKind.UNAVAILABLE, "malformed answer", ambiguous=True)
        return reference_of(created.sid, message)

    def _message(self, message: Message) -> Any:  # noqa: ANN401 - the SDK's
        """Create a message that Twilio forgets, and drops once the code is worthless."""
        parts = (whatsapp_parts if message.channel == "whatsapp" else sms_parts)(message, self._settings)
        return self._client.messages.create(
            validity_period=max(1, min(message.expires_in, _MAX_VALIDITY)),
            status_callback=message.receipt_url,  # the SDK leaves out what is None
            content_retention="discard" if self._settings.redact else None,
            address_retention="obfuscate" if self._settings.redact else None,
            **parts,
        )

    def _call(self, message: Message) -> Any:  # noqa: ANN401 - the SDK's
        """Make a call that says the text; it rings no longer than the code lives, and is not recorded."""
        report = {"status_callback": message.receipt_url, "status_callback_event": ["completed"]}
        return self._client.calls.create(
            to=message.to,
            from_=self._settings.voice_from,
            twiml=twiml(message.text, voice_for(message.locale, self._settings.voices)),
            timeout=max(1, min(message.expires_in, _MAX_RINGING)),
            record=False,
            **report if message.receipt_url else {},
        )


class _Transport:
    """Makes the SDK's calls in our way. Its own client logs them, and sets no bound to their time or size."""

    is_async = False

    def __init__(self, timeout: float) -> None:
        self._wire = Wire(timeout)

    def request(self, method: str, uri: str, *_: Any, **parts: Any) -> Response:  # noqa: ANN401 - the SDK's
        asked = {name: parts.get(name) for name in ("params", "data", "headers", "auth")}
        answer = self._wire.call(requests.Request(method, uri, **asked))
        if not 200 <= answer.status < 300:  # noqa: PLR2004 - the statuses of success
            raise failure_of(answer)  # before the SDK makes an error of it, whose words repeat the number
        return Response(answer.status, answer.text, answer.headers)
