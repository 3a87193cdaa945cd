"""The gateway of Twilio: SMS, WhatsApp, voice."""

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
    GatewayContext,
    GatewayError,
    InboundForgedError,
    InboundMessage,
    InboundResponse,
    ProviderRequest,
    Receipt,
    ReceiptForgedError,
    ReceiptRequest,
)
from otp_service.gateways.http_client import GatewayClient, HttpResponse, failure_of_status, reference_of
from otp_service.gateways.settings import GatewaySettings

# After "TwiML Voice: <Say>" and "Text-to-Speech" (https://www.twilio.com/docs/voice/twiml/say and below). A language
# without a voice of its own that is named beside it is spoken by the account's default voice, which knows few, so each
# has a voice of Amazon Polly here.

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Voice(BaseModel):
    """Who speaks a language."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    language: str = Field(pattern=r"^[A-Za-z0-9-]{2,16}$")
    """Attribute ``language`` of ``<Say>``."""
    voice: str = Field(pattern=r"^[\w.-]{1,64}$")
    """Attribute ``voice`` of ``<Say>``."""


def _voices(*rows: tuple[str, str, str]) -> dict[str, Voice]:
    return {locale: Voice(language=language, voice=f"Polly.{name}") for locale, language, name in rows}


VOICES = _voices(
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
"""By locale in lower case."""
DEFAULT_VOICE = VOICES["en"]
"""For languages without a voice, Urdu in its own script among them. Digits at least are understood by many."""


def voice_for(locale: str, own: Mapping[str, Voice]) -> Voice:
    """Return who speaks a message of a locale: the longest part of it that has a voice, ``own`` ones first."""
    subtags = locale.lower().replace("_", "-").split("-")
    parts = ["-".join(subtags[:length]) for length in range(len(subtags), 0, -1)]
    known = {**VOICES, **{part.lower(): voice for part, voice in own.items()}}
    return next((known[part] for part in parts if part in known), DEFAULT_VOICE)


def twiml(text: str, voice: Voice) -> str:
    """Return the document of a call that says a text, whatever characters it has, and ends."""
    said = html.escape(_NOT_XML.sub(" ", text))
    say = f'<Say language="{voice.language}" voice="{voice.voice}">{said}</Say>'
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{say}</Response>'


_NUMBER = r"^\+[1-9][0-9]{6,14}$"
_CONTENT = r"^HX[0-9a-fA-F]{32}$"
_VARIABLES = frozenset({"brand", "code", "minutes"})
_OF_PAYMENTS = frozenset({"amount", "payee", "account"})
"""Of our own templates, by name: those of every message, and those of payments."""


class TwilioSettings(GatewaySettings):
    """An account, and who its messages come from: a channel is carried when it has a sender."""

    account_sid: str = Field(pattern=r"^AC[0-9a-fA-F]{32}$")
    auth_token: SecretStr = Field(min_length=1)
    """Authenticates us there and, as the key of signatures, receipts here."""
    from_: str | None = Field(default=None, alias="from", min_length=1)
    """Number or name that SMS come from; either this or ``messaging_service_sid``."""
    messaging_service_sid: str | None = Field(default=None, pattern=r"^MG[0-9a-fA-F]{32}$")
    voice_from: str | None = Field(default=None, pattern=_NUMBER)
    """Number that calls come from."""
    voices: dict[str, Voice] = Field(default_factory=dict)
    """By locale, laid over the table of `otp_service.gateways.twilio`."""
    whatsapp_from: str | None = Field(default=None, pattern=_NUMBER)
    """Number of the WhatsApp sender."""
    whatsapp_content_sid: str | None = Field(default=None, pattern=_CONTENT)
    """Approved template; without it the text is sent, which WhatsApp takes only within 24 hours of a user's own."""
    whatsapp_content_variables: dict[str, str] = Field(default={"1": "code"}, min_length=1)
    """Names of our variables by the template's."""
    whatsapp_payment_content_sid: str | None = Field(default=None, pattern=_CONTENT)
    """Approved template for payments, which has to show amount and payee."""
    whatsapp_payment_content_variables: dict[str, str] = Field(
        default={"1": "code", "2": "amount", "3": "payee"}, min_length=1
    )
    redact: bool = True
    """Have Twilio forget texts and numbers; needs Message Redaction to be enabled for the account."""
    base_url: str = Field(default="https://api.twilio.com", pattern=r"^https?://[^/@?#\\\s]+[^?#\\\s]*$")

    @property
    def sets_sender(self) -> bool:
        """Whether it is not a messaging service that chooses."""
        return self.messaging_service_sid is None

    @property
    def channels(self) -> frozenset[str]:
        """Those that have a sender."""
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
        # Otherwise no message that is sent with them has a code, or each is refused.
        for member, needed, known in (
            ("whatsapp_content_variables", ("code",), _VARIABLES),
            ("whatsapp_payment_content_variables", ("code", "amount", "payee"), _VARIABLES | _OF_PAYMENTS),
        ):
            names = set(getattr(self, member).values())
            if not names.issuperset(needed):
                raise ValueError(f"{member} needs {', '.join(needed)}")
            if unknown := names - known:
                raise ValueError(f"{member} names {min(unknown)}; there are {', '.join(sorted(known))}")
        return self


# After "Error and warning dictionary" (https://www.twilio.com/docs/api/errors), "Message resource" and "Call resource".
# A code that is not here is judged by the HTTP status when a request is refused, and means nothing more in a receipt.

FAILURES = {
    10004: FailureKind.THROTTLED,  # calls: as many at the same time as the account may make
    20003: FailureKind.ACCOUNT,  # permission denied: wrong credentials, or none for this
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
    21612: FailureKind.UNAVAILABLE,  # no route between this 'From' and 'To'; another sender may have one
    21614: FailureKind.CHANNEL,  # 'To' is not a mobile number
    21635: FailureKind.CHANNEL,  # 'To' is a landline
    30001: FailureKind.THROTTLED,  # queue overflow
    30002: FailureKind.ACCOUNT,  # account suspended
    30003: FailureKind.UNAVAILABLE,  # unreachable destination handset: off, out of coverage
    30004: FailureKind.UNAVAILABLE,  # message blocked, by the carrier or on the recipient's wish
    30005: FailureKind.DESTINATION,  # unknown destination handset
    30006: FailureKind.CHANNEL,  # landline, or a carrier that the sender does not reach
    30007: FailureKind.UNAVAILABLE,  # message filtered
    30008: FailureKind.UNAVAILABLE,  # unknown error
    30022: FailureKind.THROTTLED,  # US A2P 10DLC rate limits exceeded
    30023: FailureKind.THROTTLED,  # US A2P 10DLC daily cap reached
    30024: FailureKind.ACCOUNT,  # numeric sender not provisioned on the carrier
    30029: FailureKind.ACCOUNT,  # ContentRetention without Message Redaction: set redact = false, or have it enabled
    30030: FailureKind.ACCOUNT,  # AddressRetention without it
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
    63001: FailureKind.ACCOUNT,  # WhatsApp: our authentication there failed
    63003: FailureKind.CHANNEL,  # WhatsApp: 'To' is not there
    63005: FailureKind.REJECTED,  # WhatsApp: content not accepted
    63007: FailureKind.ACCOUNT,  # WhatsApp: no such sender
    63012: FailureKind.ERROR,  # WhatsApp: internal error there
    63013: FailureKind.REJECTED,  # WhatsApp: against its policies
    63014: FailureKind.CHANNEL,  # WhatsApp: blocked by the recipient
    63016: FailureKind.CHANNEL,  # WhatsApp: text without a template outside the 24 hours after the user's own message
    63018: FailureKind.THROTTLED,  # WhatsApp: rate limit exceeded
    63021: FailureKind.REJECTED,  # WhatsApp: content not supported
    63024: FailureKind.CHANNEL,  # WhatsApp: recipient cannot receive it
    63027: FailureKind.REJECTED,  # WhatsApp: no such template in this language
    63028: FailureKind.REJECTED,  # WhatsApp: another number of variables than the template has
    63038: FailureKind.THROTTLED,  # account exceeded the daily limit of messages
}
MESSAGE_SPECIFIC = frozenset({21215, 21219, 21408, 21608, 21612, 30003, 30004, 30007})
"""Those after which it goes on that the number or the text brings about, while Twilio and our account are well."""
SENDER_SPECIFIC = frozenset({"21210", "21212", "21606", "30024", "30032", "30033", "30034", "30035", "63007"})
"""Those that are about the sender: where the message has one of its own, they are about the message."""
OPTED_OUT = 21610
STATUSES = {
    **dict.fromkeys(("accepted", "scheduled", "queued", "sending", "sent"), DeliveryStatus.SENT),
    **dict.fromkeys(("delivered", "read"), DeliveryStatus.DELIVERED),
    "undelivered": DeliveryStatus.UNDELIVERED,
    **dict.fromkeys(("failed", "canceled"), DeliveryStatus.FAILED),
}
"""Of messages."""
CALL_STATUSES = {
    **dict.fromkeys(("queued", "initiated", "ringing", "in-progress"), DeliveryStatus.SENT),
    "completed": DeliveryStatus.DELIVERED,  # answered, and over: by a person or a machine
    **dict.fromkeys(("busy", "no-answer"), DeliveryStatus.UNDELIVERED),
    **dict.fromkeys(("failed", "canceled"), DeliveryStatus.FAILED),
}
_RECEIPT_FAILURES = {str(code): kind for code, kind in FAILURES.items()}
_EXPIRED = "30036"
_CODES = range(10_000, 100_000)


def failure_of(answer: HttpResponse) -> GatewayError:
    """Return what an answer that is no success means, by Twilio's own code where there is one."""
    code, rest = _code(answer.text), answer.retry_after
    if code in FAILURES:
        return GatewayError(
            FAILURES[code],
            str(code),
            retry_after=rest,
            message_specific=code in MESSAGE_SPECIFIC,
            opted_out=code == OPTED_OUT,
        )
    return failure_of_status(answer.status, str(code) if code else None, retry_after=rest)


def receipt_of_message(form: Mapping[str, str]) -> Receipt:
    """Return what a callback says of a message; its reason is an error code in our words first: ``channel 63003``."""
    raw, code = form.get("MessageStatus", ""), form.get("ErrorCode", "")
    kind = _RECEIPT_FAILURES.get(code)
    status = DeliveryStatus.EXPIRED if code == _EXPIRED else STATUSES.get(raw, DeliveryStatus.UNKNOWN)
    return Receipt(status, raw, f"{kind} {code}" if kind else code or None, kind, opted_out=code == str(OPTED_OUT))


def receipt_of_call(raw: str) -> Receipt:
    """Return what a callback says of a call."""
    return Receipt(CALL_STATUSES.get(raw, DeliveryStatus.UNKNOWN), raw)


def _code(text: str) -> int:
    """Return Twilio's own code if it has five digits, else 0: what is longer may be a number, or a code of ours."""
    try:
        code = json.loads(text)["code"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return 0
    return code if isinstance(code, int) and code in _CODES else 0


# After "Twilio's request to your incoming message Webhook URL", "TwiML for Programmable Messaging" and "Customize
# users' opt-in and opt-out experience with Advanced Opt-Out" (https://www.twilio.com/docs/messaging). With the latter
# Twilio tells what it made of a keyword (``OptOutType``), and has answered it.

OPT_OUT_TYPES = {"STOP": Meaning.STOP, "START": Meaning.START, "HELP": Meaning.HELP}
_WHATSAPP = "whatsapp:"


def parse_message(members: Mapping[str, str]) -> InboundMessage:
    """Return the message that the members of a request are about."""
    sender = members.get("From", "")
    return InboundMessage(
        reference=members.get("MessageSid", ""),
        sender=sender.removeprefix(_WHATSAPP),
        text=members.get("Body", ""),
        channel="whatsapp" if sender.startswith(_WHATSAPP) else "sms",
        opt_out=OPT_OUT_TYPES.get(members.get("OptOutType", "")),
    )


def inbound_response_of(reply: str | None) -> InboundResponse:
    """Return the document that has Twilio send a reply, or nothing."""
    message = f"<Message>{html.escape(reply)}</Message>" if reply else ""
    document = f'<?xml version="1.0" encoding="UTF-8"?><Response>{message}</Response>'
    return InboundResponse(document, "text/xml")


def sms_parameters(message: Message, settings: TwilioSettings) -> dict[str, str | None]:
    """Return who writes to whom, and the text."""
    sender = {"from_": message.sender or settings.from_, "messaging_service_sid": settings.messaging_service_sid}
    return {"to": message.to, "body": message.text, **sender}


def whatsapp_parameters(message: Message, settings: TwilioSettings) -> dict[str, str | None]:
    """Return who writes to whom, and a template filled in: never a payment as a mere login. Raises `GatewayError`."""
    paying = "amount" in message.variables
    template = settings.whatsapp_payment_content_sid if paying else settings.whatsapp_content_sid
    names = settings.whatsapp_payment_content_variables if paying else settings.whatsapp_content_variables
    ends: dict[str, str | None] = {"to": f"whatsapp:{message.to}", "from_": f"whatsapp:{settings.whatsapp_from}"}
    if template is None:
        return {"body": message.text, **ends}
    if not message.variables.keys() >= set(names.values()):
        raise GatewayError(FailureKind.REJECTED, "template variables")
    filled = {position: message.variables[name] for position, name in names.items()}
    return {"content_sid": template, "content_variables": json.dumps(filled), **ends}


# After "Message resource", "Call resource", "TwiML Voice: <Say>" and "Webhooks security" of its documentation
# (https://www.twilio.com/docs). The tables of codes, statuses and voices are in files beside this one.

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

    def parse_receipt(self, request: ReceiptRequest) -> Receipt:
        """Return what a status callback says; raise `ReceiptForgedError` unless Twilio signed it."""
        if not self._is_signed(request):
            raise ReceiptForgedError
        call = request.form.get("CallStatus")
        return receipt_of_message(request.form) if call is None else receipt_of_call(call)

    def parse_inbound(self, request: ProviderRequest) -> InboundMessage:
        """Return a message from somebody; raise `InboundForgedError` unless Twilio signed it."""
        if not self._is_signed(request):
            raise InboundForgedError
        return parse_message(request.form or request.query)

    def inbound_response(self, reply: str | None) -> InboundResponse:
        """Return what has Twilio send a reply, or nothing."""
        return inbound_response_of(reply)

    def _is_signed(self, request: ProviderRequest) -> bool:
        signature = request.headers.get("x-twilio-signature", "")
        return bool(self._validator.validate(request.url, dict(request.form), signature))

    def _create(self, message: Message) -> str | GatewayError:
        try:
            created = self._call(message) if message.channel == "voice" else self._message(message)
        except GatewayError as failure:
            failure.message_specific |= bool(message.sender) and failure.provider_code in SENDER_SPECIFIC
            return failure
        except _UNREADABLE:
            return GatewayError(FailureKind.UNAVAILABLE, "malformed answer", ambiguous=True)
        return reference_of(created.sid, message)

    def _message(self, message: Message) -> Any:  # noqa: ANN401 - the SDK's
        """Create a message that Twilio forgets, and drops once the code is worthless."""
        parts = (whatsapp_parameters if message.channel == "whatsapp" else sms_parameters)(message, self._settings)
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
        self._http_client = GatewayClient(timeout)

    def request(self, method: str, uri: str, *_: Any, **parts: Any) -> Response:  # noqa: ANN401 - the SDK's
        asked = {name: parts.get(name) for name in ("params", "data", "headers", "auth")}
        answer = self._http_client.call(requests.Request(method, uri, **asked))
        if not 200 <= answer.status < 300:  # noqa: PLR2004 - the statuses of success
            raise failure_of(answer)  # before the SDK makes an error of it, whose words repeat the number
        return Response(answer.status, answer.text, answer.headers)
