"""Gateway ``whatsapp_cloud``: approved templates on WhatsApp, through Meta's Cloud API."""

import hmac
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, Self

import requests
from pydantic import Field, SecretStr, model_validator

from otp_service.domain.messages import Message
from otp_service.domain.templates import fallback_tags
from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import (
    FailureKind,
    ForgedRequestError,
    GatewayError,
    GatewaySettings,
    ProviderRequest,
    Receipt,
    is_same_secret,
)
from otp_service.gateways.http_client import (
    ApiUrl,
    HttpApiGateway,
    HttpResponse,
    api_url,
    bearer,
    failure_of_answer,
    failure_of_status,
    json_at,
    json_objects,
    json_of,
)

TEMPLATE_NAME = r"^[a-z0-9_]{1,512}$"
Parameter = Literal["brand", "code", "minutes", "amount", "payee", "account"]


class WhatsappCloudSettings(GatewaySettings):
    """The number that sends, its templates, and the authentication of Meta's reports."""

    phone_number_id: str = Field(pattern=r"^[0-9]{5,20}$")
    """Meta's id of the number that sends, not the number itself."""
    access_token: SecretStr = Field(min_length=1)
    """Token without expiry of a system user with the right ``whatsapp_business_messaging``."""
    template: str = Field(pattern=TEMPLATE_NAME)
    """Name of an approved template of the category authentication, with a copy-code button."""
    payment_template: str | None = Field(default=None, pattern=TEMPLATE_NAME)
    """Name of an approved template for payments. Without it payments go by another channel."""
    payment_parameters: tuple[Parameter, ...] = ("code", "amount", "payee")
    """Parameters of the body of ``payment_template``, in order."""
    languages: dict[str, str] = Field(default_factory=lambda: {"en": "en"}, min_length=1)
    """Meta's code for each language of the approved templates, by BCP 47 tag; the first is for all others."""
    app_secret: SecretStr | None = Field(default=None, min_length=1)
    """Secret of the app, which signs receipts. They need this and ``verify_token``."""
    verify_token: SecretStr | None = Field(default=None, min_length=16)
    """Your own secret, which Meta sends when you register the URL for receipts."""
    base_url: ApiUrl = "https://graph.facebook.com/v23.0"
    """With the version of the API."""

    @property
    def takes_receipts(self) -> bool:
        return self.app_secret is not None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.app_secret is None) != (self.verify_token is None):
            raise ValueError("receipts need app_secret and verify_token")
        if missing := {"code", "amount", "payee"} - set(self.payment_parameters):
            raise ValueError(f"payment_parameters lacks {', '.join(sorted(missing))}: a payment's message names them")
        return self


# Source: "Error codes" of Meta's documentation of the Cloud API, which recommends the code, and partners' copies of it.
# Codes have six digits, like our codes, so operators see a word instead.

ACCOUNT = {
    0: "token",  # expired or revoked
    3: "capability",  # the app may not call this
    10: "permission",
    33: "number deleted",
    190: "token expired",
    **dict.fromkeys(range(200, 300), "permission"),
    368: "blocked for policy",
    130497: "not to this country",
    131005: "access denied",
    131031: "account locked",
    131042: "payment method",
    131045: "certificate",
    133010: "number not registered",
}
THROTTLED = {
    4: "calls of the app",
    80007: "calls of the account",
    130429: "throughput",
    131048: "spam",  # too many messages were blocked, or reported
    131056: "same recipient",
}
UNREACHED = {
    130472: "experiment",  # this person is in an experiment of Meta's and gets no such messages
    131021: "own number",  # sender and recipient are the same number
    131026: "undeliverable",  # not on WhatsApp, its terms not accepted, too old a version
    131030: "not on the list",  # of a test number's recipients
    131049: "ecosystem",  # withheld because this person gets too many
}
"""The person cannot be reached on WhatsApp, but may be by another channel."""
TEMPLATE = {
    132000: "template parameters",  # not as many as the template has
    132001: "template missing",  # not in this language
    132005: "template text too long",
    132007: "template policy",
    132012: "template format",
    132015: "template paused",
    132016: "template disabled",
    132018: "template parameter text",  # with new lines, tabs or five spaces
}
"""The template or its parameters are at fault: an operator is alerted, and the message goes by another channel."""
REQUEST = {
    100: "parameter",
    131008: "parameter missing",
    131009: "parameter value",
}
"""As `TEMPLATE`; but the number may be at fault too, so a single report says nothing about the account."""
RETRY = {
    1: "unknown",
    2: "service",
    131000: "unknown",
    131016: "service",
    131057: "maintenance",  # of the account, as while its throughput is raised
    133004: "service",
}
NUMBER_SPECIFIC = frozenset({130497, 131056})
"""Codes that a stranger can cause by their choice of number."""
KINDS: Mapping[int, tuple[FailureKind, str]] = {
    code: (kind, word)
    for kind, table in (
        (FailureKind.ACCOUNT, ACCOUNT),
        (FailureKind.THROTTLED, THROTTLED),
        (FailureKind.CHANNEL, UNREACHED),
        (FailureKind.ACCOUNT, TEMPLATE),
        (FailureKind.CHANNEL, REQUEST),
        (FailureKind.ERROR, RETRY),
    )
    for code, word in table.items()
}
"""Kind of failure, and a word for it, by Meta's code."""
STATUSES = {
    "sent": DeliveryStatus.SENT,
    **dict.fromkeys(("delivered", "read"), DeliveryStatus.DELIVERED),
    "failed": DeliveryStatus.FAILED,
}
_CHALLENGE = re.compile(r"[\w.-]{1,128}", re.ASCII)


def receipts_in(body: bytes) -> Iterator[tuple[str, Receipt]]:
    """Yield the dispatch id and receipt of each report on our messages."""
    for entry in json_objects(json_of(body), "entry"):
        for change in json_objects(entry, "changes"):
            for status in json_objects(change.get("value"), "statuses"):
                raw, code = str(status.get("status", "")), _scalar_at(status, "errors", 0, "code")
                kind, word = KINDS.get(code, (None, ""))
                reason = f"{kind} {word}" if kind else None  # such as "channel undeliverable"
                if isinstance(dispatch_id := status.get("biz_opaque_callback_data"), str):
                    yield dispatch_id, Receipt(STATUSES.get(raw, DeliveryStatus.UNKNOWN), raw, reason, kind)


def _scalar_at(value: Any, *steps: str | int) -> Any:  # noqa: ANN401 - whatever JSON is
    scalar = json_at(value, *steps)
    return scalar if isinstance(scalar, str | int) else None


# Source: "Authentication templates", "Webhooks" and "Messages" of the same documentation, and "Validating payloads" of
# Meta's Graph API.


class WhatsappCloudGateway(HttpApiGateway):
    """Sends templates through WhatsApp; reads the receipts, which come to a single URL for all messages."""

    kind: ClassVar[str] = "whatsapp_cloud"
    channels = frozenset({"whatsapp"})
    Settings: ClassVar[type[GatewaySettings]] = WhatsappCloudSettings
    settings: WhatsappCloudSettings

    def request(self, message: Message) -> requests.Request:
        return requests.Request(
            "POST",
            api_url(self.settings.base_url, f"{self.settings.phone_number_id}/messages"),
            json={
                "messaging_product": "whatsapp",
                "recipient_type": "individual",
                "to": message.to.removeprefix("+"),
                "type": "template",
                "template": self._template(message),
                "biz_opaque_callback_data": message.dispatch_id,
            },
            headers=bearer(self.settings.access_token),
        )

    def failure(self, answer: HttpResponse, _: Message) -> GatewayError | None:
        code, retry_after = _scalar_at(json_of(answer.text), "error", "code"), answer.retry_after
        if code in TEMPLATE or code in REQUEST:
            return GatewayError(FailureKind.CHANNEL, KINDS[code][1], our_fault=True)
        if code in KINDS:
            kind, word = KINDS[code]
            return GatewayError(kind, word, retry_after=retry_after, message_specific=code in NUMBER_SPECIFIC)
        if code is not None:
            return failure_of_status(answer.status, retry_after=retry_after)
        return None if answer.is_success and self.reference(answer) is not None else failure_of_answer(answer)

    def reference(self, answer: HttpResponse) -> object:
        return _scalar_at(json_of(answer.text), "messages", 0, "id")

    def parse_receipts(self, request: ProviderRequest) -> list[tuple[str, Receipt]]:
        secret = self.settings.app_secret
        key = secret.get_secret_value().encode() if secret else b""
        signature = f"sha256={hmac.digest(key, request.body, 'sha256').hex()}" if key else ""
        if not is_same_secret(request.headers.get("x-hub-signature-256", ""), signature):
            raise ForgedRequestError
        return list(receipts_in(request.body))

    def answer_challenge(self, request: ProviderRequest) -> str:
        token, challenge = self.settings.verify_token, request.query.get("hub.challenge", "")
        expected = token.get_secret_value() if token else ""
        is_proven = is_same_secret(request.query.get("hub.verify_token", ""), expected)
        if not is_proven or not _CHALLENGE.fullmatch(challenge):
            raise ForgedRequestError
        return challenge

    def _template(self, message: Message) -> dict[str, Any]:
        """Return the template with its parameters. A payment never gets the template of logins."""
        settings, variables = self.settings, message.variables
        name = settings.template
        parameters: tuple[Parameter, ...] = ("code",)
        if "amount" in variables:
            if settings.payment_template is None:
                raise GatewayError(FailureKind.CHANNEL, "no payment template")
            if not variables.keys() >= set(settings.payment_parameters):
                raise GatewayError(FailureKind.REJECTED, "template variables")
            name, parameters = settings.payment_template, settings.payment_parameters
        texts = [{"type": "text", "text": variables.get(parameter, "")} for parameter in parameters]
        components: list[dict[str, Any]] = [{"type": "body", "parameters": texts}]
        if "amount" not in variables:  # Meta needs the code twice: for the text, and for the button that copies it
            components.append({"type": "button", "sub_type": "url", "index": "0", "parameters": texts})
        codes = {tag.lower(): code for tag, code in settings.languages.items()}
        known = (codes[tag.lower()] for tag in fallback_tags(message.locale) if tag.lower() in codes)
        language = {"code": next(known, next(iter(codes.values())))}
        return {"name": name, "language": language, "components": components}
