"""Gateway ``twilio``: SMS, WhatsApp and voice."""

import html
import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import requests
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from twilio.base.exceptions import TwilioException
from twilio.http.response import Response
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from otp_service.domain.inbound import Meaning
from otp_service.domain.messages import Message
from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import (
    Accepted,
    FailureKind,
    ForgedRequestError,
    GatewayContext,
    GatewayError,
    GatewaySettings,
    InboundMessage,
    InboundResponse,
    ProviderRequest,
    Receipt,
    ReceiptRequest,
)
from otp_service.gateways.http_client import (
    ApiUrl,
    GatewayClient,
    HttpResponse,
    failure_of_status,
    json_object,
    reference_of,
)

# Source: "TwiML Voice: <Say>" and "Text-to-Speech" (https://www.twilio.com/docs/voice/twiml/say and below). Without a
# named voice Twilio uses the account's default voice, which speaks few languages; so each locale has a voice of
# Amazon Polly in this table.

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Voice(BaseModel):
    """The voice for messages in a language."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    language: str = Field(pattern=r"^[A-Za-z0-9-]{2,16}$")
    """Attribute ``language`` of ``<Say>``."""
    voice: str = Field(pattern=r"^[\w.-]{1,64}$")
    """Attribute ``voice`` of ``<Say>``."""


VOICES = {
    locale: Voice(language=language, voice=f"Polly.{name}")
    for locale, language, name in (
        ("ar", "arb", "Zeina"),
        ("cy", "cy-GB", "Gwyneth"),
        ("da", "da-DK", "Naja"),
        ("de", "de-DE", "Vicki"),
        ("en", "en-US", "Joanna"),
        ("en-au", "en-AU", "Nicole"),
        ("en-gb", "en-GB", "Amy"),
        ("en-in", "en-IN", "Raveena"),
        ("en-pk", "en-IN", "Raveena"),
        ("es", "es-ES", "Lucia"),
        ("es-mx", "es-MX", "Mia"),
        ("es-us", "es-US", "Lupe"),
        ("fr", "fr-FR", "Celine"),
        ("fr-ca", "fr-CA", "Chantal"),
        ("hi", "hi-IN", "Aditi"),
        ("is", "is-IS", "Dora"),
        ("it", "it-IT", "Bianca"),
        ("ja", "ja-JP", "Mizuki"),
        ("ko", "ko-KR", "Seoyeon"),
        ("nb", "nb-NO", "Liv"),
        ("nl", "nl-NL", "Lotte"),
        ("no", "nb-NO", "Liv"),
        ("pl", "pl-PL", "Ewa"),
        ("pt", "pt-PT", "Ines"),
        ("pt-br", "pt-BR", "Camila"),
        ("ro", "ro-RO", "Carmen"),
        ("ru", "ru-RU", "Tatyana"),
        ("sv", "sv-SE", "Astrid"),
        ("tr", "tr-TR", "Filiz"),
        ("ur-latn", "hi-IN", "Aditi"),  # Roman Urdu: Hindi sounds the same, and this voice reads Latin letters too
        ("zh", "zh-CN", "Zhiyu"),
    )
}
"""Voices by locale in lower case."""
DEFAULT_VOICE = VOICES["en"]
"""For languages without a voice, such as Urdu in its own script: many people understand the digits."""


def voice_for(locale: str, own: Mapping[str, Voice]) -> Voice:
    """Return the voice of a locale's longest prefix with a voice (RFC 4647, 3.4); ``own`` voices win."""
    subtags = locale.lower().replace("_", "-").split("-")
    prefixes = ["-".join(subtags[:length]) for length in range(len(subtags), 0, -1)]
    voices = {**VOICES, **{tag.lower(): voice for tag, voice in own.items()}}
    return next((voices[prefix] for prefix in prefixes if prefix in voices), DEFAULT_VOICE)


def twiml(text: str, voice: Voice) -> str:
    """Return TwiML that reads a text out and hangs up; a character that XML forbids becomes a space."""
    escaped = html.escape(_NOT_XML.sub(" ", text))
    say = f'<Say language="{voice.language}" voice="{voice.voice}">{escaped}</Say>'
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{say}</Response>'


_NUMBER = r"^\+[1-9][0-9]{6,14}$"
_CONTENT = r"^HX[0-9a-fA-F]{32}$"
_VARIABLES = frozenset({"brand", "code", "minutes"})
_PAYMENT_VARIABLES = frozenset({"amount", "payee", "account"})
"""Variables of a message that a WhatsApp template may show: of every message, and of payments."""


class TwilioSettings(GatewaySettings):
    """A Twilio account and its senders. The gateway carries each channel that has a sender."""

    account_sid: str = Field(pattern=r"^AC[0-9a-fA-F]{32}$")
    auth_token: SecretStr = Field(min_length=1)
    """Authenticates our requests, and is the key of the signatures of Twilio's requests."""
    from_: str | None = Field(default=None, alias="from", min_length=1)
    """Number or name that sends SMS; either this or ``messaging_service_sid``."""
    messaging_service_sid: str | None = Field(default=None, pattern=r"^MG[0-9a-fA-F]{32}$")
    voice_from: str | None = Field(default=None, pattern=_NUMBER)
    """Number that makes calls."""
    voices: dict[str, Voice] = Field(default_factory=dict)
    """Voices by locale, in addition to the built-in voices or in their place."""
    whatsapp_from: str | None = Field(default=None, pattern=_NUMBER)
    """Number of the WhatsApp sender."""
    whatsapp_content_sid: str | None = Field(default=None, pattern=_CONTENT)
    """Approved template. Without it text is sent, which WhatsApp accepts for 24 hours after the user's last message."""
    whatsapp_content_variables: dict[str, str] = Field(default={"1": "code"}, min_length=1)
    """Our variable for each variable of the template: ``code``, ``brand``, ``minutes``."""
    whatsapp_payment_content_sid: str | None = Field(default=None, pattern=_CONTENT)
    """Approved template for payments, which must show amount and payee."""
    whatsapp_payment_content_variables: dict[str, str] = Field(
        default={"1": "code", "2": "amount", "3": "payee"}, min_length=1
    )
    redact: bool = True
    """Ask Twilio not to store texts and numbers; the account needs Message Redaction."""
    base_url: ApiUrl = "https://api.twilio.com"

    @property
    def sets_sender(self) -> bool:
        return self.messaging_service_sid is None

    @property
    def channels(self) -> frozenset[str]:
        senders = {
            "sms": self.from_ or self.messaging_service_sid,
            "voice": self.voice_from,
            "whatsapp": self.whatsapp_from,
        }
        return frozenset(channel for channel, sender in senders.items() if sender)

    @model_validator(mode="after")
    def _has_senders(self) -> Self:
        if self.from_ and self.messaging_service_sid:
            raise ValueError("has either from or messaging_service_sid")
        if not self.channels:
            raise ValueError("needs from, messaging_service_sid, voice_from or whatsapp_from")
        return self

    @model_validator(mode="after")
    def _templates_can_be_filled(self) -> Self:
        # Every message needs its code; sending refuses a message that lacks a variable of its template.
        for member, needed, known in (
            ("whatsapp_content_variables", ("code",), _VARIABLES),
            ("whatsapp_payment_content_variables", ("code", "amount", "payee"), _VARIABLES | _PAYMENT_VARIABLES),
        ):
            names = set(getattr(self, member).values())
            if not names.issuperset(needed):
                raise ValueError(f"{member} needs {', '.join(needed)}")
            if unknown := names - known:
                raise ValueError(f"{member} names {min(unknown)}; known are {', '.join(sorted(known))}")
        return self


# Source: "Error and warning dictionary" (https://www.twilio.com/docs/api/errors), "Message resource", "Call resource".
# For any other code, the HTTP status decides about a refused request; a receipt gets no kind of failure.

FAILURES = {
    10004: FailureKind.THROTTLED,  # calls: too many at the same time for the account
    20003: FailureKind.ACCOUNT,  # permission denied: wrong or insufficient credentials
    20005: FailureKind.ACCOUNT,  # account not active
    20429: FailureKind.THROTTLED,  # too many requests
    21210: FailureKind.ACCOUNT,  # calls: 'From' is not verified
    21211: FailureKind.DESTINATION,  # invalid 'To' phone number
    21212: FailureKind.ACCOUNT,  # invalid 'From' number
    21214: FailureKind.CHANNEL,  # calls: 'To' cannot be reached
    21215: FailureKind.UNAVAILABLE,  # calls: this account may not call the country
    21216: FailureKind.FRAUD,  # calls: blocked, a destination of high risk
    21217: FailureKind.DESTINATION,  # calls: 'To' does not appear to be a valid number
    21219: FailureKind.ACCOUNT,  # calls: trial account, unverified destination
    21408: FailureKind.UNAVAILABLE,  # this account may not send messages to the region
    21606: FailureKind.ACCOUNT,  # 'From' is not a number of this account that can send
    21608: FailureKind.ACCOUNT,  # trial account, unverified destination
    21610: FailureKind.DESTINATION,  # recipient has replied STOP
    21611: FailureKind.THROTTLED,  # 'From' has too many messages queued
    21612: FailureKind.UNAVAILABLE,  # no route between this 'From' and 'To'; another sender may have a route
    21614: FailureKind.CHANNEL,  # 'To' is not a mobile number
    21635: FailureKind.CHANNEL,  # 'To' is a landline
    30001: FailureKind.THROTTLED,  # queue overflow
    30002: FailureKind.ACCOUNT,  # account suspended
    30003: FailureKind.UNAVAILABLE,  # unreachable destination handset: off, out of coverage
    30004: FailureKind.UNAVAILABLE,  # message blocked, by the carrier or on the recipient's wish
    30005: FailureKind.DESTINATION,  # unknown destination handset
    30006: FailureKind.CHANNEL,  # landline, or a carrier out of the sender's reach
    30007: FailureKind.UNAVAILABLE,  # message filtered
    30008: FailureKind.UNAVAILABLE,  # unknown error
    30022: FailureKind.THROTTLED,  # US A2P 10DLC rate limits exceeded
    30023: FailureKind.THROTTLED,  # US A2P 10DLC daily cap reached
    30024: FailureKind.ACCOUNT,  # numeric sender not provisioned on the carrier
    30029: FailureKind.ACCOUNT,  # ContentRetention without Message Redaction: set redact = false, or enable it
    30030: FailureKind.ACCOUNT,  # AddressRetention without Message Redaction
    30032: FailureKind.ACCOUNT,  # toll-free number not verified
    30033: FailureKind.ACCOUNT,  # US A2P 10DLC campaign suspended
    30034: FailureKind.ACCOUNT,  # US A2P 10DLC unregistered number
    30035: FailureKind.ACCOUNT,  # US A2P 10DLC number still being configured
    30036: FailureKind.UNAVAILABLE,  # validity period expired in Twilio's queue
    30037: FailureKind.ACCOUNT,  # outbound messaging disabled
    30046: FailureKind.UNAVAILABLE,  # delivery not confirmed
    30410: FailureKind.UNAVAILABLE,  # provider time-out
    30450: FailureKind.FRAUD,  # SMS pumping protection
    30453: FailureKind.FRAUD,  # unusual traffic towards the destination
    30454: FailureKind.THROTTLED,  # account exceeded the limit of messages
    30500: FailureKind.ERROR,  # internal error
    63001: FailureKind.ACCOUNT,  # WhatsApp: our authentication failed
    63003: FailureKind.CHANNEL,  # WhatsApp: 'To' is not registered
    63005: FailureKind.REJECTED,  # WhatsApp: content not accepted
    63007: FailureKind.ACCOUNT,  # WhatsApp: no such sender
    63012: FailureKind.ERROR,  # WhatsApp: internal error
    63013: FailureKind.REJECTED,  # WhatsApp: against its policies
    63014: FailureKind.CHANNEL,  # WhatsApp: blocked by the recipient
    63016: FailureKind.CHANNEL,  # WhatsApp: text without a template outside the 24 hours after the user's own message
    63018: FailureKind.THROTTLED,  # WhatsApp: rate limit exceeded
    63021: FailureKind.REJECTED,  # WhatsApp: content not supported
    63024: FailureKind.CHANNEL,  # WhatsApp: recipient cannot receive it
    63027: FailureKind.REJECTED,  # WhatsApp: no such template in this language
    63028: FailureKind.REJECTED,  # WhatsApp: not as many variables as the template has
    63038: FailureKind.THROTTLED,  # account exceeded the daily limit of messages
}
MESSAGE_SPECIFIC = frozenset({21215, 21219, 21408, 21608, 21612, 30003, 30004, 30007})
"""Failures from the number or the text, while Twilio and our account work. Delivery goes on after them."""
SENDER_SPECIFIC = frozenset({"21210", "21212", "21606", "30024", "30032", "30033", "30034", "30035", "63007"})
"""Codes about the sender, which concern only this message if it has its own sender."""
OPTED_OUT = 21610
STATUSES = {
    **dict.fromkeys(("accepted", "scheduled", "queued", "sending", "sent"), DeliveryStatus.SENT),
    **dict.fromkeys(("delivered", "read"), DeliveryStatus.DELIVERED),
    "undelivered": DeliveryStatus.UNDELIVERED,
    **dict.fromkeys(("failed", "canceled"), DeliveryStatus.FAILED),
}
"""Delivery status by Twilio's ``MessageStatus``."""
CALL_STATUSES = {
    **dict.fromkeys(("queued", "initiated", "ringing", "in-progress"), DeliveryStatus.SENT),
    "completed": DeliveryStatus.DELIVERED,  # answered by a person or a machine, and over
    **dict.fromkeys(("busy", "no-answer"), DeliveryStatus.UNDELIVERED),
    **dict.fromkeys(("failed", "canceled"), DeliveryStatus.FAILED),
}
"""Delivery status by Twilio's ``CallStatus``."""
_RECEIPT_FAILURES = {str(code): kind for code, kind in FAILURES.items()}
_EXPIRED = "30036"
_CODES = range(10_000, 100_000)
"""Twilio's error codes; a longer number may be a phone number or a code of ours."""


def failure_of(answer: HttpResponse) -> GatewayError:
    """Return the error of a refusal: by Twilio's error code if it is known, else by the HTTP status."""
    code, retry_after = json_object(answer.text).get("code"), answer.retry_after
    if not isinstance(code, int) or code not in _CODES:
        return failure_of_status(answer.status, retry_after=retry_after)
    if code not in FAILURES:
        return failure_of_status(answer.status, str(code), retry_after=retry_after)
    specific, opted_out = code in MESSAGE_SPECIFIC, code == OPTED_OUT
    return GatewayError(
        FAILURES[code], str(code), retry_after=retry_after, message_specific=specific, opted_out=opted_out
    )


def receipt_of_message(form: Mapping[str, str]) -> Receipt:
    """Return the receipt in a message's status callback. Its reason is kind and error code: ``channel 63003``."""
    raw, code = form.get("MessageStatus", ""), form.get("ErrorCode", "")
    kind = _RECEIPT_FAILURES.get(code)
    status = DeliveryStatus.EXPIRED if code == _EXPIRED else STATUSES.get(raw, DeliveryStatus.UNKNOWN)
    return Receipt(status, raw, f"{kind} {code}" if kind else code or None, kind, opted_out=code == str(OPTED_OUT))


# Source: "Twilio's request to your incoming message Webhook URL", "TwiML for Programmable Messaging" and "Customize
# users' opt-in and opt-out experience with Advanced Opt-Out" (https://www.twilio.com/docs/messaging). With Advanced
# Opt-Out Twilio answers a keyword itself and sends its meaning in ``OptOutType``.

OPT_OUT_TYPES = {"STOP": Meaning.STOP, "START": Meaning.START, "HELP": Meaning.HELP}
_WHATSAPP = "whatsapp:"


def _whatsapp_parameters(message: Message, settings: TwilioSettings) -> dict[str, str | None]:
    """Return the SDK's parameters. A payment never uses the template of logins, which does not show the amount."""
    is_payment = "amount" in message.variables
    template = settings.whatsapp_payment_content_sid if is_payment else settings.whatsapp_content_sid
    names = settings.whatsapp_payment_content_variables if is_payment else settings.whatsapp_content_variables
    parties: dict[str, str | None] = {"to": f"whatsapp:{message.to}", "from_": f"whatsapp:{settings.whatsapp_from}"}
    if template is None:
        return {"body": message.text, **parties}
    if not message.variables.keys() >= set(names.values()):
        raise GatewayError(FailureKind.REJECTED, "template variables")
    filled = {position: message.variables[name] for position, name in names.items()}
    return {"content_sid": template, "content_variables": json.dumps(filled), **parties}


# Source: "Message resource", "Call resource", "TwiML Voice: <Say>" and "Webhooks security"
# (https://www.twilio.com/docs).

_NO_ENVIRONMENT = {"TWILIO_REGION": ""}  # a region in the environment would change the base URL
_UNREADABLE = (AttributeError, LookupError, TypeError, ValueError, RecursionError, TwilioException)
"""Exceptions of the SDK for an answer that it cannot read."""
_MAX_VALIDITY = 36_000
"""Maximum seconds that Twilio may queue a message: the highest ``validity_period``."""
_MAX_RINGING = 60
"""Maximum seconds that a call rings."""


class TwilioGateway:
    """Sends messages and makes calls through Twilio; reads its receipts and the messages from people."""

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
        outcome = self._create(message)
        if isinstance(outcome, GatewayError):
            raise outcome  # outside the handlers: an error of the SDK, which may contain the answer, is not chained
        return Accepted(outcome)

    def parse_receipt(self, request: ReceiptRequest) -> Receipt:
        self._require_signature(request)
        call_status = request.form.get("CallStatus")
        if call_status is None:
            return receipt_of_message(request.form)
        return Receipt(CALL_STATUSES.get(call_status, DeliveryStatus.UNKNOWN), call_status)

    def parse_inbound(self, request: ProviderRequest) -> InboundMessage:
        self._require_signature(request)
        parameters = request.form or request.query
        sender = parameters.get("From", "")
        return InboundMessage(
            reference=parameters.get("MessageSid", ""),
            sender=sender.removeprefix(_WHATSAPP),
            text=parameters.get("Body", ""),
            channel="whatsapp" if sender.startswith(_WHATSAPP) else "sms",
            opt_out=OPT_OUT_TYPES.get(parameters.get("OptOutType", "")),
        )

    def inbound_response(self, reply: str | None) -> InboundResponse:
        message = f"<Message>{html.escape(reply)}</Message>" if reply else ""
        document = f'<?xml version="1.0" encoding="UTF-8"?><Response>{message}</Response>'
        return InboundResponse(document, "text/xml")

    def _require_signature(self, request: ProviderRequest) -> None:
        signature = request.headers.get("x-twilio-signature", "")
        if not self._validator.validate(request.url, dict(request.form), signature):
            raise ForgedRequestError

    def _create(self, message: Message) -> str | GatewayError:
        try:
            created = self._call(message) if message.channel == "voice" else self._write(message)
        except GatewayError as failure:
            failure.message_specific |= bool(message.sender) and failure.provider_code in SENDER_SPECIFIC
            return failure
        except _UNREADABLE:
            return GatewayError(FailureKind.UNAVAILABLE, "malformed answer", ambiguous=True)
        return reference_of(created.sid, message)

    def _write(self, message: Message) -> Any:  # noqa: ANN401 - the SDK's
        """Create a message, which Twilio drops when the code expires and does not store if ``redact`` is set."""
        settings = self._settings
        if message.channel == "whatsapp":
            parts = _whatsapp_parameters(message, settings)
        else:
            parts = {"from_": message.sender or settings.from_, "messaging_service_sid": settings.messaging_service_sid}
            parts |= {"to": message.to, "body": message.text}
        return self._client.messages.create(
            validity_period=max(1, min(message.expires_in, _MAX_VALIDITY)),
            status_callback=message.receipt_url,  # the SDK leaves out None
            content_retention="discard" if settings.redact else None,
            address_retention="obfuscate" if settings.redact else None,
            **parts,
        )

    def _call(self, message: Message) -> Any:  # noqa: ANN401 - the SDK's
        """Make a call that reads the text out; it rings no longer than the code is valid, and is not recorded."""
        reports = {"status_callback": message.receipt_url, "status_callback_event": ["completed"]}
        return self._client.calls.create(
            to=message.to,
            from_=self._settings.voice_from,
            twiml=twiml(message.text, voice_for(message.locale, self._settings.voices)),
            timeout=max(1, min(message.expires_in, _MAX_RINGING)),
            record=False,
            **reports if message.receipt_url else {},
        )


class _Transport:
    """Makes the SDK's HTTP requests. The SDK's own client logs them, and limits neither their time nor their size."""

    is_async = False

    def __init__(self, timeout: float) -> None:
        self._http_client = GatewayClient(timeout)

    def request(self, method: str, uri: str, *_: Any, **parts: Any) -> Response:  # noqa: ANN401 - the SDK's
        known = {name: parts.get(name) for name in ("params", "data", "headers", "auth")}
        answer = self._http_client.call(requests.Request(method, uri, **known))
        if not answer.is_success:
            raise failure_of(answer)  # not the SDK's error, whose text repeats the number
        return Response(answer.status, answer.text, answer.headers)
