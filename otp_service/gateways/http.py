"""Gateway ``http``: sends through any provider's HTTP API, as the settings describe it."""

import base64
import hmac
import html
import json
import os
import re
import string
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import requests
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    model_validator,
)
from pydantic_core import PydanticCustomError

from otp_service.domain.messages import Message
from otp_service.domain.segments import encoding_of
from otp_service.domain.verification import Channel, DeliveryStatus
from otp_service.gateways.base import (
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
    is_same_secret,
)
from otp_service.gateways.http_client import (
    GatewayClient,
    HttpApiGateway,
    HttpCallError,
    HttpResponse,
    failure_of_status,
)

Scalar = str | int | float | bool | None


def value_at_path(document: str | bytes, path: str) -> str | None:
    """Return the value at a dotted path of a JSON document, as text; ``None`` without it, or without JSON."""
    try:
        value: Any = json.loads(document)
        for step in path.split("."):
            value = value[int(step)] if isinstance(value, list) else value[step]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return as_text(value)


def as_text(value: Any) -> str:  # noqa: ANN401 - any JSON
    return value if isinstance(value, str) else json.dumps(value)


def walk_strings(value: Any, path: str = "") -> list[tuple[str, str]]:  # noqa: ANN401 - any JSON
    """Return path and text of every string in a JSON value."""
    if isinstance(value, str):
        return [(path, value)]
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [leaf for name, member in members for leaf in walk_strings(member, f"{path}.{name}".lstrip("."))]


class Section(BaseModel):
    """A table within the section of an ``http`` gateway."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, serialize_by_alias=True)


class Condition(Section):
    """A test of a provider's answer. An answer matches when it matches every member that is set."""

    status: tuple[int, ...] = ()
    """HTTP statuses; the answer has one of them."""
    paths: Mapping[str, tuple[Scalar, ...]] = Field(default_factory=dict, alias="json")
    """Values by dotted path (``messages.0.status``), compared as text, so that ``0`` and ``"0"`` are equal."""
    text: re.Pattern[str] | None = None
    """Regular expression to search in the body."""

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if not (self.status or self.paths or self.text):
            raise ValueError("needs status, json or text")
        return self

    def matches(self, answer: HttpResponse) -> bool:
        return (
            (not self.status or answer.status in self.status)
            and all(value_at_path(answer.text, path) in {*map(as_text, values)} for path, values in self.paths.items())
            and (self.text is None or self.text.search(answer.text) is not None)
        )


class Failure(Condition):
    """A condition, and the failure of an answer that matches."""

    kind: FailureKind
    code: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_. -]{1,40}$")
    """Code for operators; default: the HTTP status. Never a text of the answer, which may repeat the message."""
    ambiguous: bool = False
    """The message may have been sent: it is tried again at most ``worker.max_ambiguous`` times."""
    message_specific: bool = False
    """The failure concerns this message only, and says nothing about the gateway's health."""
    opted_out: bool = False
    """The person opted out at the provider: the number is suppressed."""

    def error(self, answer: HttpResponse) -> GatewayError:
        return GatewayError(
            self.kind,
            self.code or f"http {answer.status}",
            ambiguous=self.ambiguous,
            retry_after=answer.retry_after,
            message_specific=self.message_specific,
            opted_out=self.opted_out,
        )


class Reference(Section):
    """The place of a value in an answer, such as the provider's id of the message: in ``json`` or in ``text``."""

    path: str | None = Field(default=None, alias="json")
    """Dotted path in a body of JSON."""
    pattern: re.Pattern[str] | None = Field(default=None, alias="text")
    """Regular expression with a single group, the value."""

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if (self.path is None) == (self.pattern is None):
            raise ValueError("needs either json or text")
        if self.pattern is not None and self.pattern.groups != 1:
            raise ValueError("text needs exactly one group")
        return self

    def of(self, answer: HttpResponse) -> str | None:
        if self.path is not None:
            return value_at_path(answer.text, self.path)
        match = self.pattern.search(answer.text) if self.pattern else None
        return match[1] if match else None


TOKEN_PARAMETER = "token"  # noqa: S105 - a name
"""Query parameter with the token, in the URLs for a provider."""
_TOKEN_LENGTH = 32
"""Hexadecimal digits of a token: an HMAC cut to 128 bits (RFC 2104, section 5), as some providers limit URLs."""


class ValueLocation(Section):
    """The place of a value in a provider's request: in ``query``, ``form`` or ``json``."""

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
        if self.query is not None:
            return request.query.get(self.query, "")
        if self.form is not None:
            return request.form.get(self.form, "")
        return value_at_path(request.body, self.path or "") or ""


class ProofSettings(Section):
    """The proof of a provider's request: ``secret``, ``allow_from`` or both."""

    secret: Annotated[SecretStr, Field(min_length=16)] | None = None
    """Key of the token in the URL for the provider."""
    allow_from: tuple[IPvAnyNetwork, ...] = ()
    """The provider's networks."""

    @model_validator(mode="after")
    def _proves_something(self) -> Self:
        if self.secret is None and not self.allow_from:
            raise ValueError("needs secret or allow_from: otherwise anyone could report")
        if any(network.prefixlen == 0 for network in self.allow_from):
            raise ValueError("allow_from has a network of all addresses, which proves nothing")
        if any(network.version == 6 and network.network_address.ipv4_mapped for network in self.allow_from):  # noqa: PLR2004 - IPv6
            raise ValueError("allow_from has an IPv4 network written as IPv6; write it as IPv4")
        return self

    def sign_url(self, url: str, subject: str) -> str:
        """Return the URL with a token for ``subject``, if there is a secret; ``&name=value`` can be appended."""
        token = self._token(subject)
        return f"{url}?{urlencode({TOKEN_PARAMETER: token})}" if token else f"{url}?"

    def is_proven(self, request: ProviderRequest, subject: str) -> bool:
        """Whether the provider made a request to the URL that was signed for ``subject``."""
        token, expected = request.query.get(TOKEN_PARAMETER, ""), self._token(subject)
        if expected and not is_same_secret(token, expected):
            return False
        try:
            address = ip_address(request.peer)
        except ValueError:
            return not self.allow_from
        address = getattr(address, "ipv4_mapped", None) or address
        return not self.allow_from or any(address in network for network in self.allow_from)

    def _token(self, subject: str) -> str:
        if self.secret is None:
            return ""
        key = self.secret.get_secret_value().encode()
        return hmac.digest(key, subject.encode(), "sha256").hex()[:_TOKEN_LENGTH]


_SHOWABLE = re.compile(r"(?!.*[0-9]{6})[\w.:/ -]{1,40}", re.ASCII)
"""Words of a provider that may be stored: too short for a message, without a code or a phone number."""
ReportedStatus = Literal[
    DeliveryStatus.SENT,
    DeliveryStatus.DELIVERED,
    DeliveryStatus.UNDELIVERED,
    DeliveryStatus.FAILED,
    DeliveryStatus.EXPIRED,
]
_SUCCESS_STATUSES = frozenset({DeliveryStatus.SENT, DeliveryStatus.DELIVERED})


class ReceiptSettings(ProofSettings):
    """Authentication and format of delivery receipts."""

    status: ValueLocation
    """The place of the provider's word for the status."""
    statuses: dict[ReportedStatus, tuple[Scalar, ...]] = Field(min_length=1)
    """The provider's words for each of our statuses, in upper or lower case; any other word is ``unknown``."""
    reason: ValueLocation | None = None
    """The place of the reason of an undelivered message: a short code, never a text."""
    kinds: dict[FailureKind, tuple[Scalar, ...]] = Field(default_factory=dict)
    """The known codes of each kind of failure."""

    @model_validator(mode="after")
    def _is_unequivocal(self) -> Self:
        for name, table in (("statuses", self.statuses), ("kinds", self.kinds)):
            words = [_normalised(word) for listed in table.values() for word in listed]
            if len(words) > len(set(words)):
                raise ValueError(f"{name} has a word twice")
        if self.kinds and self.reason is None:
            raise ValueError("kinds needs reason")
        return self

    def read(self, request: ReceiptRequest) -> Receipt:
        """Return status and reason; raise `ForgedRequestError` unless the receipt is the provider's."""
        if not self.is_proven(request, request.dispatch_id):
            raise ForgedRequestError
        word = self.status.of(request)
        status = _matching(self.statuses, word) or DeliveryStatus.UNKNOWN
        code = self.reason.of(request) if self.reason and status not in _SUCCESS_STATUSES else ""
        kind = _matching(self.kinds, code)
        reason = " ".join(filter(None, (kind, _showable(code))))
        return Receipt(status, _showable(word), reason or None, kind)


Matched = TypeVar("Matched")


def _matching(table: Mapping[Matched, tuple[Scalar, ...]], word: str) -> Matched | None:
    """Return the key of a table whose words include a provider's word."""
    normalised = _normalised(word)
    return next((key for key, words in table.items() if normalised in map(_normalised, words)), None)


def _normalised(word: Scalar) -> str:
    return as_text(word).strip().casefold()


def _showable(word: str) -> str:
    return word if _SHOWABLE.fullmatch(word) else ""


INBOUND_SUBJECT = "inbound"
"""Subject of the token in the URL for inbound messages."""
CHARSETS = {
    **dict.fromkeys(("utf-16be", "utf-16", "ucs-2", "ucs2"), "utf-16-be"),
    **dict.fromkeys(("iso-8859-1", "latin-1", "latin1"), "iso-8859-1"),
    "windows-1252": "windows-1252",
}
"""Python's codecs by the names that providers use; any other name is read as UTF-8."""


class InboundSettings(ProofSettings):
    """Authentication and format of messages from people."""

    sender: ValueLocation = Field(alias="from")
    """The place of the person's number."""
    text: ValueLocation
    """The place of the text."""
    charset: ValueLocation | None = None
    """The place of the text's encoding, such as ``UTF-16BE``; default, and always in JSON: UTF-8."""
    reference: ValueLocation | None = None
    """The place of the provider's id of the message, by which a repetition is recognised."""
    reply: bool = False
    """Whether the provider sends the text of our HTTP response to the person, as Kannel does."""

    def read(self, request: ProviderRequest) -> InboundMessage:
        """Return the message; raise `ForgedRequestError` unless the request is the provider's."""
        if not self.is_proven(request, INBOUND_SUBJECT):
            raise ForgedRequestError
        text = self.text.of(request)
        charset = CHARSETS.get(self.charset.of(request).casefold()) if self.charset else None
        if charset is not None and self.text.path is None:
            members = request.body.decode("latin-1") if self.text.form else urlsplit(request.url).query
            octets = dict(parse_qsl(members, keep_blank_values=True, encoding="latin-1"))
            text = octets.get(self.text.form or self.text.query or "", "").encode("latin-1").decode(charset, "replace")
        reference = self.reference.of(request) if self.reference else ""
        return InboundMessage(reference=reference, sender=self.sender.of(request), text=text)


# A template is parsed before it gets values, and filled once: a value that looks like a placeholder is not filled
# again. Values in the URL are percent-encoded as they are filled in; forms and JSON are encoded afterwards.

Value = str | int
_VALUES: Mapping[str, Callable[[Message], Value | None]] = {
    "to": lambda message: message.to,
    "to_plain": lambda message: message.to.removeprefix("+"),
    "text": lambda message: message.text,
    "code": lambda message: message.variables.get("code"),
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
_PER_REQUEST = frozenset({"timestamp", "timestamp_ms", "nonce", "token", "hmac", "body"})
"""Placeholders whose values belong to one request, whatever the message."""
_MULTILINE = frozenset({"text", "body"})
_WORDS = frozenset({"text", "text_hex_ucs2"})
"""Placeholders of the whole message."""
_OPTIONAL = {"receipt_url": "receipts", "encoding": "encoding"}
"""Placeholders that may have no value, and the setting with the values of each."""
_NEEDS = {**_OPTIONAL, "sender": "sender", "token": "token", "hmac": "hmac"}
"""Placeholders, and the setting that each needs."""
_SECRET_PREFIX = "secret."  # noqa: S105 - a prefix
Json = dict[str, Any]
Secrets = Mapping[str, SecretStr]
EncodingNames = Mapping[str, str | None]


def placeholders(template: str) -> list[str]:
    """Return the names of a template's placeholders; raise `PydanticCustomError` for an unknown or malformed name."""
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError:
        raise PydanticCustomError("template", "has a single brace: write {{ and }} for braces") from None
    names = [name for _, name, _, _ in pieces if name is not None]
    for _, name, specification, conversion in pieces:
        if name is None:
            continue
        is_known = (
            name in _VALUES
            or name in _PER_REQUEST
            or (len(name) > len(_SECRET_PREFIX) and name.startswith(_SECRET_PREFIX))
        )
        if specification or conversion or not is_known:
            known = ", ".join(f"{{{known}}}" for known in (*_VALUES, *sorted(_PER_REQUEST), f"{_SECRET_PREFIX}NAME"))
            message = f"has an unknown placeholder {{{name}}}; known are {known}"
            raise PydanticCustomError("template", message)
    return names


def required_members(template: str) -> list[str]:
    names = placeholders(template)
    secrets = [f"secrets.{name.removeprefix(_SECRET_PREFIX)}" for name in names if name.startswith(_SECRET_PREFIX)]
    return secrets + [_NEEDS[name] for name in names if name in _NEEDS]


def _checked(template: str) -> str:
    placeholders(template)
    return template


def _checked_url(url: str) -> str:
    """Return a template of a URL; raise `ValueError` for an invalid URL, or placeholders in the host."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ValueError("must start with http:// or https:// and a host")
    if re.search(r"[\\\s]", url):
        raise ValueError("cannot have blanks or backslashes")
    if "{" in parts.netloc or "@" in parts.netloc:
        raise ValueError("cannot have placeholders or a password before its path; use basic_auth and secrets")
    return url


def _checked_whole(template: str) -> str:
    if optional := [name for name in placeholders(template) if name in _OPTIONAL]:
        raise PydanticCustomError("template", f"cannot have {{{optional[0]}}}, which may have no value")
    return template


def _checked_line(template: str) -> str:
    if _MULTILINE.intersection(placeholders(template)):
        raise PydanticCustomError("template", "cannot have a message's text: a header is a single line")
    return template


def _checked_json(value: Any) -> Any:  # noqa: ANN401 - any JSON
    for path, leaf in walk_strings(value):
        try:
            placeholders(leaf)
        except PydanticCustomError as fault:
            raise PydanticCustomError("template", f"at {path} {fault.message()}") from None
    return value


Template = Annotated[str, AfterValidator(_checked)]
"""Text with placeholders; its member is left out of the request when a placeholder has no value."""
WholeTemplate = Annotated[str, AfterValidator(_checked_whole)]
"""Text with placeholders that always have a value."""
UrlTemplate = Annotated[WholeTemplate, AfterValidator(_checked_url)]
LineTemplate = Annotated[str, AfterValidator(_checked_line)]
"""Text with placeholders, for a header: without ``{text}``, which may have several lines."""
JsonTemplate = Annotated[Json, AfterValidator(_checked_json)]
"""JSON with placeholders in its strings."""


class TemplateFiller:
    """Fills templates with the values of one request."""

    def __init__(
        self, message: Message | None, secrets: Secrets, encodings: EncodingNames, sender: str | None = None
    ) -> None:
        """``sender`` is for a message without its own. Without a message, it knows secrets and the request's values."""
        self._message = message if message is None or message.sender else replace(message, sender=sender)
        self._secrets = secrets
        self._encodings = encodings
        milliseconds = time.time_ns() // 1_000_000
        self.per_request: dict[str, Value] = {
            "timestamp": milliseconds // 1000,
            "timestamp_ms": milliseconds,
            "nonce": os.urandom(16).hex(),
        }
        """The values of `_PER_REQUEST` that are known so far."""

    def text(self, template: str, encode: Callable[[str], str] = str) -> str:
        """Return a filled template, with ``encode`` applied to each value; a missing value is empty."""
        return "".join(
            literal + ("" if name is None else encode(str(self._value(name) or "")))
            for literal, name, _, _ in string.Formatter().parse(template)
        )

    def texts(self, templates: Mapping[str, str]) -> dict[str, str]:
        """Return filled templates, without those that lack a value."""
        return {name: self.text(template) for name, template in templates.items() if self._has_all(template)}

    def json(self, value: Any) -> Any:  # noqa: ANN401 - any JSON
        """Return a JSON value with its strings filled; a string ``{expires_in}`` becomes a number."""
        if isinstance(value, dict):
            return {name: self.json(member) for name, member in value.items() if self._has_all(member)}
        if isinstance(value, list):
            return [self.json(member) for member in value if self._has_all(member)]
        if not isinstance(value, str):
            return value
        is_placeholder = value.startswith("{") and value.endswith("}") and value[1:-1] in _VALUES.keys() | _PER_REQUEST
        return self._value(value[1:-1]) if is_placeholder else self.text(value)

    def _has_all(self, value: Any) -> bool:  # noqa: ANN401 - any JSON
        names = placeholders(value) if isinstance(value, str) else ()
        return all(self._value(name) is not None for name in names)

    def _value(self, name: str) -> Value | None:
        if name.startswith(_SECRET_PREFIX):
            return self._secrets[name.removeprefix(_SECRET_PREFIX)].get_secret_value()
        if name in _PER_REQUEST:
            return self.per_request.get(name)
        value = _VALUES[name](self._message) if self._message else None
        return self._encodings.get(str(value)) if name == "encoding" else value


_TEMPLATES = {"url", "basic_auth", "headers", "query", "form", "document", "xml"}


class HmacSettings(Section):
    """A keyed digest of the request: the value of ``{hmac}`` in headers."""

    key: WholeTemplate
    """The key, such as ``{secret.NAME}``."""
    over: WholeTemplate
    """The digested text, such as ``{to_plain}{timestamp}``, or ``{body}`` for the body as sent."""
    algorithm: Literal["sha256", "sha512", "sha1", "md5"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"

    def of(self, filler: TemplateFiller) -> str:
        digest = hmac.digest(filler.text(self.key).encode(), filler.text(self.over).encode(), self.algorithm)
        return digest.hex() if self.encoding == "hex" else base64.b64encode(digest).decode()


class TokenSettings(Section):
    """A request for the token that replaces ``{token}``.

    Each process sends it before the first message, and again when the token expires or is refused. Templates take
    ``{secret.NAME}``, ``{timestamp}``, ``{timestamp_ms}`` and ``{nonce}``.
    """

    url: UrlTemplate
    """The provider's URL for tokens."""
    method: Literal["GET", "POST"] = "POST"
    basic_auth: tuple[WholeTemplate, WholeTemplate] | None = None
    """User and password of HTTP Basic authentication."""
    headers: dict[str, LineTemplate] = Field(default_factory=dict)
    query: dict[str, Template] = Field(default_factory=dict)
    form: dict[str, Template] | None = None
    """A body of type ``application/x-www-form-urlencoded``."""
    document: JsonTemplate | None = Field(default=None, alias="json")
    """A body of type ``application/json``."""
    value: Reference
    """The place of the token in the answer."""
    expires_in: Reference | Annotated[int, Field(ge=1, le=31_536_000)] = 3000
    """Seconds for which the token is valid, or their place in the answer."""
    renew_on: tuple[int, ...] = (401,)
    """HTTP statuses that refuse a token: the message is sent again with a new token."""

    @model_validator(mode="after")
    def _has_no_message(self) -> Self:
        if self.form is not None and self.document is not None:
            raise ValueError("a request has either form or json")
        for path, template in walk_strings(self.model_dump(include=_TEMPLATES, by_alias=True)):
            for name in placeholders(template):
                if not name.startswith(_SECRET_PREFIX) and name not in {"timestamp", "timestamp_ms", "nonce"}:
                    raise ValueError(f"{path} has {{{name}}}, but a token is for all messages")
        return self


class TokenSource:
    """The current token, shared by the threads of a process."""

    def __init__(self, settings: TokenSettings, secrets: Secrets, client: GatewayClient) -> None:
        self._settings, self._secrets, self._client = settings, secrets, client
        self._lock = threading.Lock()
        self._token, self._renew_at = "", 0.0

    def get(self, deadline: float, refused: str = "") -> str:
        """Return a token other than ``refused``, before a ``deadline`` of the monotonic clock; raise `GatewayError`."""
        if not self._lock.acquire(timeout=max(deadline - time.monotonic(), 0)):
            raise GatewayError(FailureKind.UNAVAILABLE, "token timeout")
        try:
            if self._token in {"", refused} or time.monotonic() >= self._renew_at:
                self._fetch(deadline)
            return self._token
        finally:
            self._lock.release()

    def _fetch(self, deadline: float) -> None:
        self._token, begun = "", time.monotonic()
        request = _request(self._settings, TemplateFiller(None, self._secrets, {}))
        outcome = self._client.try_call(request, _seconds_to(deadline))
        if isinstance(outcome, HttpCallError):
            kind = FailureKind.UNAVAILABLE if outcome.sendable else FailureKind.ACCOUNT
            raise GatewayError(kind, f"token {outcome.code}")
        if not outcome.is_success:
            kind = failure_of_status(outcome.status).kind
            if kind is FailureKind.REJECTED:  # our account, whatever the message
                kind = FailureKind.ACCOUNT
            raise GatewayError(kind, f"token http {outcome.status}", retry_after=outcome.retry_after)
        token, expires_in = self._settings.value.of(outcome), self._settings.expires_in
        try:
            seconds = expires_in if isinstance(expires_in, int) else float(expires_in.of(outcome) or 0)
        except ValueError:
            seconds = 0
        if not token or not token.isprintable():
            raise GatewayError(FailureKind.ACCOUNT, "no token in the answer")
        self._token, self._renew_at = token, begun + _TOKEN_MARGIN * seconds


_TOKEN_MARGIN = 0.9
"""Part of a token's lifetime after which it is renewed, so that it does not expire during a request."""


class EncodingSettings(Section):
    """The provider's names for the two encodings of a text message; without a name the member is left out."""

    gsm7: str | None = None
    ucs2: str | None = None

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if self.gsm7 is None and self.ucs2 is None:
            raise ValueError("needs gsm7 or ucs2")
        return self


class HttpSettings(GatewaySettings):
    """The request, and the format of its answer. Templates take ``{to}``, ``{text}``, ``{secret.NAME}`` and more."""

    channels: frozenset[Channel] = Field(default=frozenset({Channel.SMS}), min_length=1)
    """The provider's channels."""
    secrets: dict[str, SecretStr] = Field(default_factory=dict)
    """Values of ``{secret.NAME}`` in templates; never shown."""
    method: Literal["GET", "POST", "PUT"] = "POST"
    sender: str | None = Field(default=None, min_length=1, max_length=15)
    """Value of ``{sender}`` for a message without its own sender."""
    url: UrlTemplate
    """The provider's URL; values in its path or query are percent-encoded."""
    basic_auth: tuple[WholeTemplate, WholeTemplate] | None = None
    """User and password (RFC 7617)."""
    headers: dict[str, LineTemplate] = Field(default_factory=dict)
    query: dict[str, Template] = Field(default_factory=dict)
    form: dict[str, Template] | None = None
    """A body of type ``application/x-www-form-urlencoded``."""
    document: JsonTemplate | None = Field(default=None, alias="json")
    """A body of type ``application/json``."""
    xml: Template | None = None
    """A body of type ``text/xml``; values are escaped, also in attributes."""
    hmac: HmacSettings | None = None
    """The value of ``{hmac}`` in headers."""
    token: TokenSettings | None = None
    """The value of ``{token}``."""
    encoding: EncodingSettings | None = None
    """Values of ``{encoding}``."""
    success: Condition | None = None
    """Answers that accept the message; default: any status of 2xx."""
    failures: tuple[Failure, ...] = ()
    """Answers that mean a failure: the first match decides, before ``success``; without a match the status decides."""
    reference: Reference | None = None
    """The place of the provider's id of the message in the answer; default: the id of our dispatch."""
    receipts: ReceiptSettings | None = None
    """Authentication and format of delivery receipts; without it, receipts are refused."""
    inbound: InboundSettings | None = None
    """Authentication and format of messages from people; without it, messages are refused."""

    @property
    def sets_sender(self) -> bool:
        return any("sender" in placeholders(template) for _, template in self._templates())

    @property
    def shows_words(self) -> bool:
        """Whether the provider gets the message, not just its code."""
        return any(_WORDS.intersection(placeholders(template)) for _, template in self._templates())

    def _templates(self) -> list[tuple[str, str]]:
        return walk_strings(self.model_dump(include=_TEMPLATES, by_alias=True))

    @property
    def takes_receipts(self) -> bool:
        return self.receipts is not None

    @property
    def takes_messages(self) -> bool:
        return self.inbound is not None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if sum(body is not None for body in (self.form, self.document, self.xml)) > 1:
            raise ValueError("a request has either form, json or xml")
        self._require_per_request()
        regulated = sorted(channel for channel in self.channels if channel.traits.is_regulated)
        for path, template in self._templates():
            if regulated and "code" in placeholders(template):
                raise ValueError(
                    f"{path} has {{code}}, which the provider would send in its own words: "
                    f"by {regulated[0]} send {{text}}, whose words a country may have approved"
                )
            for member in required_members(template):
                if not self._has(member):
                    raise ValueError(f"{path} needs {member}, which is not set")
        return self

    def _require_per_request(self) -> None:
        """Raise `ValueError` for a digest or a body in a template that is filled before it is known."""
        for path, template in self._templates():
            names = placeholders(template)
            if "body" in names or ("hmac" in names and not path.startswith("headers.")):
                raise ValueError(f"{path} cannot have {{hmac}}, only for headers, or {{body}}, only for hmac.over")
        if self.hmac and "hmac" in placeholders(self.hmac.over):
            raise ValueError("hmac.over cannot have {hmac}")
        for path, template in walk_strings(self.model_dump(include={"hmac", "token"}, by_alias=True)):
            if missing := [member for member in required_members(template) if not self._has(member)]:
                raise ValueError(f"{path} needs {missing[0]}, which is not set")

    def _has(self, member: str) -> bool:
        table, _, name = member.partition(".")
        return name in self.secrets if name else getattr(self, table) is not None


class HttpGateway(HttpApiGateway):
    """Sends messages through a provider's HTTP API, as `HttpSettings` describe it."""

    kind: ClassVar[str] = "http"
    channels = frozenset({"sms"})
    Settings: ClassVar[type[GatewaySettings]] = HttpSettings
    settings: HttpSettings

    def __init__(self, settings: HttpSettings, context: GatewayContext) -> None:
        super().__init__(settings, context)
        self.channels = frozenset[str](settings.channels)
        self._shows_words = settings.shows_words
        self._tokens = TokenSource(settings.token, settings.secrets, self.http_client) if settings.token else None
        self.carries_reply = settings.inbound is not None and settings.inbound.reply
        self._encodings = settings.encoding.model_dump() if settings.encoding else {}

    def call(self, message: Message) -> HttpResponse:
        """Return the answer to a message, sent again with a new token if the token is refused, within one time-out."""
        if "amount" in message.variables and not self._shows_words:  # the person would not see the amount
            raise GatewayError(FailureKind.CHANNEL, "payment")
        deadline = time.monotonic() + self.settings.timeout
        if self._tokens is None or self.settings.token is None:
            return self.http_client.call(self.request(message))
        token = self._tokens.get(deadline)
        answer = self.http_client.call(self.request(message, token), _seconds_to(deadline))
        if answer.status not in self.settings.token.renew_on:
            return answer
        token = self._tokens.get(deadline, refused=token)
        return self.http_client.call(self.request(message, token), _seconds_to(deadline))

    def request(self, message: Message, token: str = "") -> requests.Request:
        settings = self.settings
        filler = TemplateFiller(message, settings.secrets, self._encodings, settings.sender)
        filler.per_request["token"] = token
        request = _request(settings, filler)
        if settings.xml is not None:
            request.data = filler.text(settings.xml, html.escape).encode()
            request.headers = {"Content-Type": "text/xml; charset=utf-8", **request.headers}
        if settings.hmac is not None:
            body = request.prepare().body or b""
            filler.per_request["body"] = body if isinstance(body, str) else body.decode()
            filler.per_request["hmac"] = settings.hmac.of(filler)
            request.headers = {**request.headers, **filler.texts(settings.headers)}
        return request

    def failure(self, answer: HttpResponse, _: Message) -> GatewayError | None:
        """Return why an answer is not a success; ``success`` without statuses also needs a status of 2xx."""
        success = self.settings.success
        for failure in self.settings.failures:
            if failure.matches(answer):
                return failure.error(answer)
        if success.matches(answer) and (success.status or answer.is_success) if success else answer.is_success:
            return None
        if answer.is_success:
            code = f"http {answer.status} without the mark of success"
            return GatewayError(FailureKind.UNAVAILABLE, code, ambiguous=True)
        return failure_of_status(answer.status, retry_after=answer.retry_after)

    def reference(self, answer: HttpResponse) -> object:
        return self.settings.reference.of(answer) if self.settings.reference else None

    def parse_receipt(self, request: ReceiptRequest) -> Receipt:
        if self.settings.receipts is None:
            raise ForgedRequestError
        return self.settings.receipts.read(request)

    def sign_receipt_url(self, url: str, dispatch_id: str) -> str:
        return self.settings.receipts.sign_url(url, dispatch_id) if self.settings.receipts else url

    def parse_inbound(self, request: ProviderRequest) -> InboundMessage:
        if self.settings.inbound is None:
            raise ForgedRequestError
        return self.settings.inbound.read(request)

    def sign_inbound_url(self, url: str) -> str:
        return self.settings.inbound.sign_url(url, INBOUND_SUBJECT) if self.settings.inbound else url

    def inbound_response(self, reply: str | None) -> InboundResponse:
        return InboundResponse(reply or "", "text/plain; charset=utf-8")


def _seconds_to(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.001)


def _request(settings: HttpSettings | TokenSettings, filler: TemplateFiller) -> requests.Request:
    user_and_password = tuple(map(filler.text, settings.basic_auth or ()))
    return requests.Request(
        settings.method,
        filler.text(settings.url, lambda value: quote(value, safe="")),
        headers=filler.texts(settings.headers),
        params=filler.texts(settings.query),
        data=filler.texts(settings.form) if settings.form is not None else None,
        json=filler.json(settings.document),
        auth=requests.auth.HTTPBasicAuth(*user_and_password) if user_and_password else None,
    )
