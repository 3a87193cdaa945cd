"""Samples: requests to a provider and its answers, in TOML."""

import base64
import html
import json
import re
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote_to_bytes

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from otp_service.domain.inbound import Meaning
from otp_service.domain.messages import Message
from otp_service.domain.verification import Channel, DeliveryStatus
from otp_service.gateways.base import FailureKind

HOUR = 3600.0
"""Seconds, more than any tolerance, by which a request is too old or in the future."""


class Section(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


CoveredPart = Annotated[str, StringConstraints(pattern=r"^(address|query|query\..+|body|peer)$")]
"""Part of a report that its proof covers: the dispatch in its URL, all parameters of its query or a named parameter,
its body, the address of its sender."""


class SampleRequest(Section):
    """A request of the provider."""

    name: str
    settings: Mapping[str, Any] = Field(default_factory=dict)
    """Settings for this request, merged over the file's."""
    method: str = "POST"
    url: str
    """With the query."""
    peer: str = "192.0.2.7"
    at: float | None = None
    """Its time in seconds since 1970, if the proof has a time; an hour off it must be refused."""
    headers: Mapping[str, str] = Field(default_factory=dict)
    """Only the headers of the proof: the suite breaks each of them."""
    form: Mapping[str, str] = Field(default_factory=dict)
    body: str = ""
    covers: frozenset[CoveredPart] = frozenset({"address", "query", "body"})
    """Parts that the proof covers: the suite changes each of them. Less than the default weakens the suite. The URL of
    a message from a person has no dispatch and is not changed."""


class SampleReceipt(SampleRequest):
    """A report, and the receipt read from it."""

    status: DeliveryStatus
    raw_status: str
    reason: str | None = None
    kind: FailureKind | None = None
    opted_out: bool = False
    refunded: bool = False


class SampleInbound(SampleRequest):
    """A message from a person, and its values."""

    reference: str = ""
    sender: str
    text: str
    channel: Channel = Channel.SMS
    opt_out: Meaning | None = None


REQUIRED = ("accepted", "destination", "unavailable")
"""Outcomes that every file must have."""

MESSAGE = Message(
    to="+923001234567",
    text='Your "Müller & Söhne" code is 482913. 100% {to} %41 کوڈ\n@shop.example #482913',
    channel="sms",
    locale="en",
    expires_in=287,
    dispatch_id="dp_00112233445566778899aabbccddeeff",
    receipt_url="https://otp.example.com/v1/receipts/main/dp_00112233445566778899aabbccddeeff",
    verification_id="vf_contract",
    application="shop",
    variables={"brand": "Müller & Söhne", "code": "482913", "minutes": "4"},
)
"""The message of all exchanges; its text breaks careless encodings."""
CODE, OTHER_CODE = "482913", "705164"


def other_message(message: Message) -> Message:
    """Return the message to another number, with another code."""
    variables = {name: value.replace(CODE, OTHER_CODE) for name, value in message.variables.items()}
    return replace(message, to="+923219876540", text=message.text.replace(CODE, OTHER_CODE), variables=variables)


class ExpectedRequest(Section):
    """The request that the provider must receive; ``{to}``, ``{text}`` … are the message's values."""

    method: str = "POST"
    path: str
    query: Mapping[str, str] = Field(default_factory=dict)
    headers: Mapping[str, str] = Field(default_factory=dict)
    """Only the headers that matter."""
    form: Mapping[str, str] | None = None
    document: Any = Field(default=None, alias="json")
    body: Annotated[re.Pattern[bytes], BeforeValidator(lambda text: re.compile(text.encode(), re.DOTALL))] | None = None
    """Pattern of a whole body of another type; its named groups are members and ``variables`` of the message."""
    unescape: Literal["nothing", "xml", "url", "json", "base64", "hex"] | Mapping[str, str] = "nothing"
    """Encoding of the groups: a rule, or a table of replacements."""
    charset: str = "utf-8"

    @property
    def shows_a_body(self) -> bool:
        """Whether it describes the body."""
        return any(part is not None for part in (self.form, self.document, self.body))


class CannedResponse(Section):
    """The provider's answer."""

    status: int = 200
    headers: Mapping[str, str] = Field(default_factory=dict)
    body: str = ""


class SampleSession(Section):
    """The provider's answer to a request for a token, or a sign-in."""

    path: str
    response: CannedResponse
    headers: Mapping[str, str] = Field(default_factory=dict)
    """Required headers of the request, such as its credentials."""


class SampleExchange(Section):
    """A message and its outcome."""

    name: str
    outcome: Literal["accepted"] | FailureKind
    channel: Channel = Channel.SMS
    locale: str = MESSAGE.locale
    sender: str | None = None
    """The message's own sender."""
    variables: Mapping[str, str] = Field(default_factory=dict)
    """Variables merged over the message's."""
    settings: Mapping[str, Any] = Field(default_factory=dict)
    """Settings for this exchange, merged over the file's."""
    request: ExpectedRequest | None = None
    response: CannedResponse = CannedResponse()
    reference: str | None = None
    code: str | None = None
    ambiguous: bool = False
    message_specific: bool = False
    opted_out: bool = False

    @property
    def message(self) -> Message:
        """The message of this exchange."""
        variables = {**MESSAGE.variables, **self.variables}
        return replace(MESSAGE, channel=self.channel, locale=self.locale, sender=self.sender, variables=variables)


class Samples(Section):
    """The content of a file."""

    settings: Mapping[str, Any] = Field(default_factory=dict)
    """Settings of the gateway; ``{server}`` is the fake provider's URL."""
    session: SampleSession | None = None
    """Session of a gateway; it belongs to no exchange."""
    exchanges: tuple[SampleExchange, ...] = ()
    receipts: tuple[SampleReceipt, ...] = ()
    inbound: tuple[SampleInbound, ...] = ()
    never: Mapping[str, str] = Field(default_factory=dict)
    """Outcomes that cannot occur, and why; only for a gateway without a provider."""

    @property
    def calls_provider(self) -> bool:
        """Whether the gateway calls a provider."""
        return any(exchange.request for exchange in self.exchanges)

    @property
    def message(self) -> Message:
        """The message of other tests: the first exchange's, whose channel the gateway carries."""
        return self.exchanges[0].message if self.exchanges else MESSAGE


def load_samples(path: Path) -> Samples:
    """Read a file; a missing file has no samples."""
    return _samples_in(path.read_text()) if path.is_file() else Samples()


@cache
def _samples_in(text: str) -> Samples:
    """Return the samples of a file's text; cached, because every test of a suite reads them."""
    return Samples.model_validate(tomllib.loads(text))


_TOKEN = re.compile(r"\{(to|to_plain|text|text_xml|expires_in|dispatch_id|receipt_url)\}")
_OF_A_URL = re.compile(rb"(?:[\w.~*+-]|%[0-9A-Fa-f]{2})*")


def fill(value: Any, message: Message = MESSAGE) -> Any:  # noqa: ANN401 - any TOML
    """Return a value of the file filled with a message's members."""
    return _replaced(value, lambda text: _TOKEN.sub(lambda token: message_member(message, token[1]), text))


def with_server_url(value: Any, url: str) -> Any:  # noqa: ANN401 - any TOML
    """Return settings of the file filled with the fake provider's URL."""
    return _replaced(value, lambda text: text.replace("{server}", url))


def checked_members(expected: ExpectedRequest) -> set[str]:
    """Return the message's members that a sample checks, outside a form or JSON."""
    names: set[str] = set()
    _replaced([expected.path, expected.query, expected.headers], lambda text: names.update(_TOKEN.findall(text)))
    return names | set(expected.body.groupindex if expected.body else ())


def parse_body(expected: ExpectedRequest, body: bytes) -> dict[str, str] | None:
    """Return the groups of a sample's pattern, decoded by its rule; ``None`` if a body does not match.

    Raises `ValueError` for a group that is not encoded by the rule.
    """
    match = expected.body.fullmatch(body) if expected.body else None
    return match and {name: _unescaped(octets or b"", expected) for name, octets in match.groupdict().items()}


def message_member(message: Message, name: str) -> str:
    """Return a member of a message, or one of its ``variables``, as text."""
    special = {**message.variables, "to_plain": message.to.removeprefix("+"), "text_xml": html.escape(message.text)}
    return special[name] if name in special else str(getattr(message, name))


def _replaced(value: Any, replace: Callable[[str], Any]) -> Any:  # noqa: ANN401 - any TOML
    if isinstance(value, Mapping):
        return {name: _replaced(member, replace) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(member, replace) for member in value]
    return replace(value) if isinstance(value, str) else value


def _unescaped(octets: bytes, expected: ExpectedRequest) -> str:
    """Return a text before it was encoded for a body."""
    match expected.unescape:
        case "base64":
            octets = base64.b64decode(octets, validate=True)
        case "hex":
            octets = bytes.fromhex(octets.decode())
        case "url" if not _OF_A_URL.fullmatch(octets):
            raise ValueError("not all is escaped")
        case "url":
            octets = unquote_to_bytes(octets.replace(b"+", b" "))
    text = octets.decode(expected.charset)
    match expected.unescape:
        case "xml":
            return _of_xml(text)
        case "json":
            return str(json.loads(f'"{text}"'))
        case Mapping() as table:
            return _by_table(text, table)
    return text


def _of_xml(text: str) -> str:
    try:
        element = ET.fromstring(f"<text>{text}</text>")  # noqa: S314 - from the tested gateway
    except ET.ParseError:
        raise ValueError("not well-formed") from None
    if len(element):
        raise ValueError("elements in the text")
    return element.text or ""


def _by_table(text: str, table: Mapping[str, str]) -> str:
    """Undo the replacements of a table; a replaced character itself is an error."""
    replacements = re.compile("|".join(map(re.escape, sorted(table, key=len, reverse=True))))
    if set(replacements.sub("", text)) & set("".join(table.values())):
        raise ValueError("not all is escaped")
    return replacements.sub(lambda match: table[match[0]], text)
