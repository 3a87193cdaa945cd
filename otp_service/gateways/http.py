"""The gateway for any HTTP API, described in settings."""

import hmac
import json
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import requests
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from otp_service.domain.messages import Message
from otp_service.domain.templates import encoding_of
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

Scalar = str | int | float | bool | None


def value_at_path(document: str | bytes, path: str) -> str | None:
    """Return a value of a document as text; ``None`` when there is none, or the document is not JSON."""
    try:
        value: Any = json.loads(document)
        for step in path.split("."):
            value = value[int(step)] if isinstance(value, list) else value[step]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return as_text(value)


def as_text(value: Any) -> str:  # noqa: ANN401 - whatever JSON is
    """Return a value as it is compared: ``0`` and ``"0"`` are equal."""
    return value if isinstance(value, str) else json.dumps(value)


def walk_strings(value: Any, path: str = "") -> list[tuple[str, str]]:  # noqa: ANN401 - whatever JSON is
    """Return the strings in a JSON value with their paths."""
    if isinstance(value, str):
        return [(path, value)]
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [leaf for name, member in members for leaf in walk_strings(member, f"{path}.{name}".lstrip("."))]


class Section(BaseModel):
    """A table within the section of an ``http`` gateway."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, serialize_by_alias=True)


class Condition(Section):
    """Holds when all that is set in it holds."""

    status: tuple[int, ...] = ()
    """HTTP statuses."""
    paths: Mapping[str, tuple[Scalar, ...]] = Field(default_factory=dict, alias="json")
    """Values by dotted path (``messages.0.status``); compared as text, so that ``0`` and ``"0"`` are equal."""
    text: re.Pattern[str] | None = None
    """Pattern found in the body."""

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if not (self.status or self.paths or self.text):
            raise ValueError("needs status, json or text")
        return self

    def holds(self, answer: HttpResponse) -> bool:
        """Tell whether an answer is so."""
        return (
            (not self.status or answer.status in self.status)
            and all(value_at_path(answer.text, path) in {*map(as_text, values)} for path, values in self.paths.items())
            and (self.text is None or self.text.search(answer.text) is not None)
        )


class Failure(Condition):
    """A condition, and what it means."""

    kind: FailureKind
    code: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_. -]{1,40}$")
    """What operators are told; the status by default, never words of the answer, which may repeat the message."""
    ambiguous: bool = False
    """The message may be sent all the same: delivery goes on once at most."""
    message_specific: bool = False
    """It is about this message, and tells nothing of the gateway's health."""
    opted_out: bool = False
    """The number's holder told the provider that they want none: ours are kept back, too."""

    def error(self, answer: HttpResponse) -> GatewayError:
        """Return what it means for an answer for which it holds."""
        code = self.code or f"http {answer.status}"
        return GatewayError(
            self.kind,
            code,
            ambiguous=self.ambiguous,
            retry_after=answer.retry_after,
            message_specific=self.message_specific,
            opted_out=self.opted_out,
        )


class Reference(Section):
    """Where the provider's reference stands: one of the two."""

    path: str | None = Field(default=None, alias="json")
    """Dotted path."""
    pattern: re.Pattern[str] | None = Field(default=None, alias="text")
    """Pattern with one group."""

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if (self.path is None) == (self.pattern is None):
            raise ValueError("needs either json or text")
        if self.pattern is not None and self.pattern.groups != 1:
            raise ValueError("text needs exactly one group")
        return self

    def of(self, answer: HttpResponse) -> str | None:
        """Return what stands there, or ``None`` when there is nothing."""
        return value_at_path(answer.text, self.path) if self.path is not None else self._matched(answer)

    def _matched(self, answer: HttpResponse) -> str | None:
        match = self.pattern.search(answer.text) if self.pattern else None
        return match[1] if match else None


def failure_of(answer: HttpResponse, success: Condition | None, failures: tuple[Failure, ...]) -> GatewayError | None:
    """Return why an answer is not a success; ``None`` when it is one.

    The failures are looked at first, in their order. A success without statuses needs a good one (2xx). A good
    status without the mark of success is *unavailable* and ambiguous: the provider may have sent the message, and
    said so in words that the configuration lacks.
    """
    for failure in failures:
        if failure.holds(answer):
            return failure.error(answer)
    good = 200 <= answer.status < 300  # noqa: PLR2004 - the statuses of success
    if success.holds(answer) and (success.status or good) if success else good:
        return None
    if good:
        return GatewayError(
            FailureKind.UNAVAILABLE, f"http {answer.status} without the mark of success", ambiguous=True
        )
    return failure_of_status(answer.status, retry_after=answer.retry_after)


TOKEN_PARAMETER = "token"  # noqa: S105 - a name
"""Parameter of an address that holds the proof."""
_TOKEN_LENGTH = 32
"""Of the hexadecimal HMAC: 128 bits, which RFC 2104 (section 5) allows, since some providers bound addresses."""


class ValueLocation(Section):
    """Where in a request a value stands: one of the three."""

    query: str | None = Field(default=None, min_length=1)
    form: str | None = Field(default=None, min_length=1)
    path: str | None = Field(default=None, alias="json", min_length=1)
    """Dotted path in a body of JSON."""

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if sum(place is not None for place in (self.query, self.form, self.path)) != 1:
            raise ValueError("needs either query, form or json")
        return self

    def of(self, request: ProviderRequest) -> str:
        """Return what stands there, as text; empty when there is nothing."""
        if self.query is not None:
            return request.query.get(self.query, "")
        if self.form is not None:
            return request.form.get(self.form, "")
        return value_at_path(request.body, self.path or "") or ""


class ProofSettings(Section):
    """How requests are believed: by a ``secret``, by ``allow_from`` or by both."""

    secret: Annotated[SecretStr, Field(min_length=16)] | None = None
    """Key of the token that our address carries."""
    allow_from: tuple[IPvAnyNetwork, ...] = ()
    """Networks that the provider calls from."""

    @model_validator(mode="after")
    def _proves_something(self) -> Self:
        if self.secret is None and not self.allow_from:
            raise ValueError("needs secret or allow_from: anybody could report")
        if any(network.prefixlen == 0 for network in self.allow_from):
            raise ValueError("allow_from has a network of all addresses, which proves nothing")
        if any(network.version == 6 and network.network_address.ipv4_mapped for network in self.allow_from):  # noqa: PLR2004 - IPv6
            raise ValueError("allow_from has an IPv4 network written as IPv6; write it as IPv4")
        return self


class RequestProof:
    """Believes requests as a section says."""

    def __init__(self, settings: ProofSettings) -> None:
        self._settings = settings

    def address(self, url: str, subject: str) -> str:
        """Return the address for the provider, with the proof. It ends within a query: more is added with ``&``."""
        token = self._token(subject)
        return f"{url}?{urlencode({TOKEN_PARAMETER: token})}" if token else f"{url}?"

    def holds(self, request: ProviderRequest, subject: str) -> bool:
        """Tell whether a request to the address that was made for a ``subject`` is the provider's."""
        given, expected = request.query.get(TOKEN_PARAMETER, ""), self._token(subject)
        proven = hmac.compare_digest(given.encode(), expected.encode()) or not expected
        return proven and self._is_allowed(request.peer)

    def _token(self, subject: str) -> str:
        secret = self._settings.secret
        if secret is None:
            return ""
        key = secret.get_secret_value().encode()
        return hmac.digest(key, subject.encode(), "sha256").hex()[:_TOKEN_LENGTH]

    def _is_allowed(self, peer: str) -> bool:
        networks = self._settings.allow_from
        try:
            address = ip_address(peer)
        except ValueError:
            return not networks
        address = getattr(address, "ipv4_mapped", None) or address
        return not networks or any(address in network for network in networks)


_SHOWABLE = re.compile(r"(?!.*[0-9]{6})[\w.:/ -]{1,40}", re.ASCII)
"""Words of a provider that may be kept: too short for a text, and nothing that could be a code or a number."""
ReportedStatus = Literal[
    DeliveryStatus.SENT,
    DeliveryStatus.DELIVERED,
    DeliveryStatus.UNDELIVERED,
    DeliveryStatus.FAILED,
    DeliveryStatus.EXPIRED,
]
_SUCCESS_STATUSES = frozenset({DeliveryStatus.SENT, DeliveryStatus.DELIVERED})


class ReceiptSettings(ProofSettings):
    """How reports are believed, and how they are read."""

    status: ValueLocation
    statuses: dict[ReportedStatus, tuple[Scalar, ...]] = Field(min_length=1)
    """The provider's words for each status, in any case of letters; any other word is ``unknown``."""
    reason: ValueLocation | None = None
    """A short code, never a text; shown of what was not delivered."""
    kinds: dict[FailureKind, tuple[Scalar, ...]] = Field(default_factory=dict)
    """What the codes mean, as far as they are known."""

    @model_validator(mode="after")
    def _is_unequivocal(self) -> Self:
        for name, table in (("statuses", self.statuses), ("kinds", self.kinds)):
            words = [_normalised(word) for listed in table.values() for word in listed]
            if len(words) > len(set(words)):
                raise ValueError(f"{name} has a word twice")
        if self.kinds and self.reason is None:
            raise ValueError("kinds needs reason")
        return self


class ReceiptReader:
    """Reads reports as a section says."""

    def __init__(self, settings: ReceiptSettings) -> None:
        self._settings, self._proof = settings, RequestProof(settings)
        self._statuses = {_normalised(word): status for status, words in settings.statuses.items() for word in words}
        self._kinds = {_normalised(word): kind for kind, words in settings.kinds.items() for word in words}

    def address(self, url: str, dispatch_id: str) -> str:
        """Return the address for the provider, with the proof. It ends within a query: more is added with ``&``."""
        return self._proof.address(url, dispatch_id)

    def read(self, report: ReceiptRequest) -> Receipt:
        """Return what a report says; raise `ReceiptForgedError`. Nothing but the two places is looked at."""
        settings = self._settings
        if not self._proof.holds(report, report.dispatch_id):
            raise ReceiptForgedError
        word = settings.status.of(report)
        status = self._statuses.get(_normalised(word), DeliveryStatus.UNKNOWN)
        code = settings.reason.of(report) if settings.reason and status not in _SUCCESS_STATUSES else ""
        kind = self._kinds.get(_normalised(code))
        told = " ".join(filter(None, (kind, _showable(code))))
        return Receipt(status, _showable(word), told or None, kind)


def _normalised(word: Scalar) -> str:
    return as_text(word).strip().casefold()


def _showable(word: str) -> str:
    return word if _SHOWABLE.fullmatch(word) else ""


INBOUND_SUBJECT = "inbound"
"""What a token in the inbound address is made for."""
CHARSETS = {
    **dict.fromkeys(("utf-16be", "utf-16", "ucs-2", "ucs2"), "utf-16-be"),
    **dict.fromkeys(("iso-8859-1", "latin-1", "latin1"), "iso-8859-1"),
    "windows-1252": "windows-1252",
}
"""Encodings by the names that providers have for them; all others are taken for UTF-8."""


class InboundSettings(ProofSettings):
    """How messages from people are believed, and where their parts stand."""

    sender: ValueLocation = Field(alias="from")
    """The number that somebody wrote from."""
    text: ValueLocation
    charset: ValueLocation | None = None
    """Where the provider tells how the text is encoded, such as ``UTF-16BE``; without it, and in JSON, in UTF-8."""
    reference: ValueLocation | None = None
    """The provider's own name of the message, by which a repetition is known; without it none is."""
    reply: bool = False
    """Whether the provider sends the text of our answer to whoever wrote, as Kannel does."""


class InboundReader:
    """Reads messages as a section says."""

    def __init__(self, settings: InboundSettings) -> None:
        self._settings, self._proof = settings, RequestProof(settings)

    def address(self, url: str) -> str:
        """Return the address for the provider, with the proof. It ends within a query: more is added with ``&``."""
        return self._proof.address(url, INBOUND_SUBJECT)

    def read(self, request: ProviderRequest) -> InboundMessage:
        """Return the message of a request; raise `InboundForgedError`."""
        if not self._proof.holds(request, INBOUND_SUBJECT):
            raise InboundForgedError
        reference = self._settings.reference
        return InboundMessage(
            reference=reference.of(request) if reference else "",
            sender=self._settings.sender.of(request),
            text=self._text(request),
        )

    def _text(self, request: ProviderRequest) -> str:
        place, told = self._settings.text, self._settings.charset
        charset = CHARSETS.get(told.of(request).casefold()) if told else None
        if charset is None or place.path is not None:
            return place.of(request)
        members = request.body.decode("latin-1") if place.form else urlsplit(request.url).query
        octets = dict(parse_qsl(members, keep_blank_values=True, encoding="latin-1")).get(
            place.form or place.query or ""
        )
        return (octets or "").encode("latin-1").decode(charset, "replace")


def inbound_response_of(reply: str | None) -> InboundResponse:
    """Return a reply as plain text, or an answer without any."""
    return InboundResponse(reply or "", "text/plain; charset=utf-8")


# A template is taken apart before any value is known and put together once, so that a value that looks like a
# placeholder stays what it is; encoding (URL, form, JSON) happens after it, to the whole.

Value = str | int
_VALUES: Mapping[str, Callable[[Message], Value | None]] = {
    "to": lambda message: message.to,
    "to_plain": lambda message: message.to.removeprefix("+"),
    "text": lambda message: message.text,
    "text_hex_ucs2": lambda message: message.text.encode("utf-16-be").hex().upper(),
    "locale": lambda message: message.locale,
    "channel": lambda message: message.channel,
    "sender": lambda message: message.sender,
    "dispatch_id": lambda message: message.dispatch_id,
    "expires_in": lambda message: message.expires_in,
    "expires_in_minutes": lambda message: -(-message.expires_in // 60),
    "receipt_url": lambda message: message.receipt_url,
    "encoding": lambda message: encoding_of(message.text),
}
_MULTILINE = frozenset({"text"})
_OPTIONAL = {"receipt_url": "receipts", "encoding": "encoding"}
"""Placeholders that may have no value, and the table of the section that each needs."""
_NEEDS = {**_OPTIONAL, "sender": "sender"}
"""Placeholders, and the member of the section that each needs."""
_SECRET = "secret."  # noqa: S105 - a prefix
Json = dict[str, Any]
Secrets = Mapping[str, SecretStr]
EncodingNames = Mapping[str, str | None]


def placeholders(template: str) -> list[str]:
    """Return the names in a template; ``{{`` and ``}}`` stand for braces. Raises `PydanticCustomError`."""
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError:
        raise PydanticCustomError("template", "has a single brace: write {{ and }} for braces") from None
    names = [name for _, name, _, _ in pieces if name is not None]
    for _, name, specification, conversion in pieces:
        if name is not None and (specification or conversion or not _is_known(name)):
            raise PydanticCustomError("template", _unknown(name))
    return names


def required_members(template: str) -> list[str]:
    """Return the members of the section that a template needs: such as ``secrets.NAME``."""
    names = placeholders(template)
    secrets = [f"secrets.{name.removeprefix(_SECRET)}" for name in names if name.startswith(_SECRET)]
    return secrets + [_NEEDS[name] for name in names if name in _NEEDS]


def _is_known(name: str) -> bool:
    return name in _VALUES or (name.startswith(_SECRET) and len(name) > len(_SECRET))


def _unknown(name: str) -> str:
    known = ", ".join(f"{{{known}}}" for known in (*_VALUES, f"{_SECRET}NAME"))
    return f"has an unknown placeholder {{{name}}}; there are {known}"


def _checked(template: str) -> str:
    placeholders(template)
    return template


def _checked_whole(template: str) -> str:
    if optional := [name for name in placeholders(template) if name in _OPTIONAL]:
        raise PydanticCustomError("template", f"cannot hold {{{optional[0]}}}: it may have no value")
    return template


def _checked_line(template: str) -> str:
    if _MULTILINE.intersection(placeholders(template)):
        raise PydanticCustomError("template", "cannot hold a message's text: a header is one line")
    return template


def _checked_json(value: Any) -> Any:  # noqa: ANN401 - whatever JSON is
    for path, leaf in walk_strings(value):
        try:
            placeholders(leaf)
        except PydanticCustomError as fault:
            raise PydanticCustomError("template", f"at {path} {fault.message()}") from None
    return value


Template = Annotated[str, AfterValidator(_checked)]
"""Text with placeholders. What it is a member of is left out where one of them has no value."""
WholeTemplate = Annotated[str, AfterValidator(_checked), AfterValidator(_checked_whole)]
"""Text with placeholders that always have one."""
LineTemplate = Annotated[str, AfterValidator(_checked_line)]
"""Text with placeholders, for a header."""
JsonTemplate = Annotated[Json, AfterValidator(_checked_json)]
"""JSON whose strings have placeholders."""


class TemplateFiller:
    """The values for one message."""

    def __init__(self, message: Message, secrets: Secrets, encodings: EncodingNames, sender: str | None = None) -> None:
        """Take them from a message, the section's secrets, its words for the encodings, and its sender."""
        self._message = message if message.sender else replace(message, sender=sender)
        self._secrets = secrets
        self._encodings = encodings

    def text(self, template: str, encode: Callable[[str], str] = str) -> str:
        """Return a template filled, every value through ``encode``; one that has none is empty."""
        return "".join(
            literal + ("" if name is None else encode(str(self._value(name) or "")))
            for literal, name, _, _ in string.Formatter().parse(template)
        )

    def texts(self, templates: Mapping[str, str]) -> dict[str, str]:
        """Return templates filled, without those that lack a value."""
        return {name: self.text(template) for name, template in templates.items() if self._has_all(template)}

    def json(self, value: Any) -> Any:  # noqa: ANN401 - whatever JSON is
        """Return a JSON value with its strings filled; one that is only ``{expires_in}`` becomes a number."""
        if isinstance(value, dict):
            return {name: self.json(member) for name, member in value.items() if self._has_all(member)}
        if isinstance(value, list):
            return [self.json(member) for member in value if self._has_all(member)]
        if not isinstance(value, str):
            return value
        only = value.startswith("{") and value.endswith("}") and value[1:-1] in _VALUES
        return self._value(value[1:-1]) if only else self.text(value)

    def _has_all(self, value: Any) -> bool:  # noqa: ANN401 - whatever JSON is
        names = placeholders(value) if isinstance(value, str) else ()
        return all(self._value(name) is not None for name in names)

    def _value(self, name: str) -> Value | None:
        if name.startswith(_SECRET):
            return self._secrets[name.removeprefix(_SECRET)].get_secret_value()
        value = _VALUES[name](self._message)
        return self._encodings.get(str(value)) if name == "encoding" else value


_TEMPLATES = {"url", "basic_auth", "headers", "query", "form", "document"}


class EncodingSettings(Section):
    """A provider's words for how a text is encoded on the air; what has none is left out of the request."""

    gsm7: str | None = None
    ucs2: str | None = None

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if self.gsm7 is None and self.ucs2 is None:
            raise ValueError("needs gsm7 or ucs2")
        return self


class HttpSettings(GatewaySettings):
    """What to ask, and how to read the answer. Templates take ``{to}``, ``{text}``, ``{secret.NAME}`` and more."""

    channels: frozenset[Literal["sms", "voice", "whatsapp"]] = Field(default=frozenset({"sms"}), min_length=1)
    """What the provider carries."""
    secrets: dict[str, SecretStr] = Field(default_factory=dict)
    """Values that templates name and that nobody is shown."""
    method: Literal["GET", "POST", "PUT"] = "POST"
    sender: str | None = Field(default=None, min_length=1, max_length=15)
    """What ``{sender}`` stands for where a message has no sender of its own."""
    url: WholeTemplate
    """Values in its path or query are percent-encoded."""
    basic_auth: tuple[WholeTemplate, WholeTemplate] | None = None
    """User and password."""
    headers: dict[str, LineTemplate] = Field(default_factory=dict)
    query: dict[str, Template] = Field(default_factory=dict)
    form: dict[str, Template] | None = None
    """A body of type ``application/x-www-form-urlencoded``."""
    document: JsonTemplate | None = Field(default=None, alias="json")
    """A body of type ``application/json``."""
    encoding: EncodingSettings | None = None
    """What ``{encoding}`` stands for."""
    success: Condition | None = None
    """By default any status of success (2xx)."""
    failures: tuple[Failure, ...] = ()
    """The first that holds decides; without one, the status does."""
    reference: Reference | None = None
    """Without one, or where it is missing, the reference is our own id of the dispatch."""
    receipts: ReceiptSettings | None = None
    """How the provider's reports are believed and read; without it none is."""
    inbound: InboundSettings | None = None
    """How messages from people are believed and read; without it none is."""

    @property
    def sets_sender(self) -> bool:
        """Whether a template names the sender."""
        return any("sender" in placeholders(template) for _, template in self._templates())

    def _templates(self) -> list[tuple[str, str]]:
        return walk_strings(self.model_dump(include=_TEMPLATES, by_alias=True))

    @property
    def takes_receipts(self) -> bool:
        """Whether it is said how they are read."""
        return self.receipts is not None

    @property
    def takes_messages(self) -> bool:
        """Whether it is said how they are read."""
        return self.inbound is not None

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("is not a URL") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
            raise ValueError("starts with http:// or https:// and a host")
        if re.search(r"[\\\s]", url):
            raise ValueError("has neither blanks nor backslashes")
        if "{" in parts.netloc or "@" in parts.netloc:
            raise ValueError("has neither placeholders nor a password before its path; use basic_auth and secrets")
        return url

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.form is not None and self.document is not None:
            raise ValueError("a request has either form or json")
        for path, template in self._templates():
            for member in required_members(template):
                if not self._has(member):
                    raise ValueError(f"{path} needs {member}, which is not set")
        return self

    def _has(self, member: str) -> bool:
        table, _, name = member.partition(".")
        return name in self.secrets if name else getattr(self, table) is not None


class HttpGateway:
    """Speaks to a provider as its section describes it."""

    kind: ClassVar[str] = "http"
    channels = frozenset({"sms"})
    development_only: ClassVar[bool] = False
    Settings: ClassVar[type[GatewaySettings]] = HttpSettings

    def __init__(self, settings: HttpSettings, context: GatewayContext) -> None:  # noqa: ARG002 - the contract's
        self.channels = frozenset[str](settings.channels)
        self._settings = settings
        self._http_client = GatewayClient(settings.timeout)
        self._receipts = ReceiptReader(settings.receipts) if settings.receipts else None
        self._inbound = InboundReader(settings.inbound) if settings.inbound else None
        self.carries_reply = settings.inbound is not None and settings.inbound.reply
        self._encodings = settings.encoding.model_dump() if settings.encoding else {}

    def send(self, message: Message) -> Accepted:
        """Make the one request for a message and judge the answer."""
        settings = self._settings
        answer = self._http_client.call(
            self._request(TemplateFiller(message, settings.secrets, self._encodings, settings.sender))
        )
        failure = failure_of(answer, settings.success, settings.failures)
        if failure is not None:
            raise failure
        reference = settings.reference.of(answer) if settings.reference else None
        return Accepted(reference_of(reference, message))

    def parse_receipt(self, request: ReceiptRequest) -> Receipt:
        """Return what a report says; raise `ReceiptForgedError`, for all of them when none are configured."""
        if self._receipts is None:
            raise ReceiptForgedError
        return self._receipts.read(request)

    def sign_receipt_url(self, url: str, dispatch_id: str) -> str:
        """Return the address with the proof that reports are to carry."""
        return self._receipts.address(url, dispatch_id) if self._receipts else url

    def parse_inbound(self, request: ProviderRequest) -> InboundMessage:
        """Return a message from somebody; raise `InboundForgedError`, for all of them when none are configured."""
        if self._inbound is None:
            raise InboundForgedError
        return self._inbound.read(request)

    def sign_inbound_url(self, url: str) -> str:
        """Return the address with the proof that messages are to carry."""
        return self._inbound.address(url) if self._inbound else url

    def inbound_response(self, reply: str | None) -> InboundResponse:
        """Return a reply as plain text, or an empty answer."""
        return inbound_response_of(reply)

    def _request(self, fill: TemplateFiller) -> requests.Request:
        settings = self._settings
        user_and_password = tuple(map(fill.text, settings.basic_auth or ()))
        return requests.Request(
            settings.method,
            fill.text(settings.url, lambda value: quote(value, safe="")),
            headers=fill.texts(settings.headers),
            params=fill.texts(settings.query),
            data=fill.texts(settings.form) if settings.form is not None else None,
            json=fill.json(settings.document),
            auth=requests.auth.HTTPBasicAuth(*user_and_password) if user_and_password else None,
        )
