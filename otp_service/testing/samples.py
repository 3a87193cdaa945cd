"""Samples: what a provider is sent, and what it answers, in TOML."""

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
"""Seconds by which a request is too old, or comes from the future: more than any tolerance."""


class Section(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


CoveredPart = Annotated[str, StringConstraints(pattern=r"^(address|query|query\..+|body|peer)$")]
"""Part of a report that its proof covers: the dispatch in its address, all parameters of its query or the one of a
name, its body, the address of its sender."""


class SampleRequest(Section):
    """One request of the provider as it comes in."""

    name: str
    settings: Mapping[str, Any] = Field(default_factory=dict)
    """Laid over the file's, for this request."""
    method: str = "POST"
    url: str
    """With the query."""
    peer: str = "192.0.2.7"
    at: float | None = None
    """When it came in, in seconds since 1970, where its proof has a time in it; an hour off it has to be refused."""
    headers: Mapping[str, str] = Field(default_factory=dict)
    """Those that prove where it comes from, and no others: the suite breaks each of them."""
    form: Mapping[str, str] = Field(default_factory=dict)
    body: str = ""
    covers: frozenset[CoveredPart] = frozenset({"address", "query", "body"})
    """What its proof covers: the suite changes all of it, one part at a time. Less than the default weakens the
    suite, and says so. The address of a message from somebody names no dispatch, and is not changed."""


class SampleReceipt(SampleRequest):
    """One report as it comes in, and how it is read."""

    status: DeliveryStatus
    raw_status: str
    reason: str | None = None
    kind: FailureKind | None = None
    opted_out: bool = False
    refunded: bool = False


class SampleInbound(SampleRequest):
    """One message from somebody as it comes in, and how it is read."""

    reference: str = ""
    sender: str
    text: str
    channel: Channel = Channel.SMS
    opt_out: Meaning | None = None


REQUIRED = ("accepted", "destination", "unavailable")
"""Outcomes that every file has to show."""

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
"""What is sent in all exchanges; its text has what breaks careless encodings."""
CODE, OTHER_CODE = "482913", "705164"


def another(message: Message) -> Message:
    """Return the same to somebody else, with another code."""
    variables = {name: value.replace(CODE, OTHER_CODE) for name, value in message.variables.items()}
    return replace(message, to="+923219876540", text=message.text.replace(CODE, OTHER_CODE), variables=variables)


class ExpectedRequest(Section):
    """What the provider has to receive; ``{to}``, ``{text}`` and so on stand for the message's."""

    method: str = "POST"
    path: str
    query: Mapping[str, str] = Field(default_factory=dict)
    headers: Mapping[str, str] = Field(default_factory=dict)
    """Those that matter."""
    form: Mapping[str, str] | None = None
    document: Any = Field(default=None, alias="json")
    body: Annotated[re.Pattern[bytes], BeforeValidator(lambda text: re.compile(text.encode(), re.DOTALL))] | None = None
    """Pattern of a whole body that is neither: its named groups are members and ``variables`` of the message."""
    unescape: Literal["nothing", "xml", "url", "json", "base64", "hex"] | Mapping[str, str] = "nothing"
    """How they are written there: by a rule, or by a table of what stands for what."""
    charset: str = "utf-8"

    @property
    def shows_a_body(self) -> bool:
        """Whether it says what the body holds."""
        return any(part is not None for part in (self.form, self.document, self.body))


class CannedResponse(Section):
    """What the provider answers."""

    status: int = 200
    headers: Mapping[str, str] = Field(default_factory=dict)
    body: str = ""


class SampleSession(Section):
    """What the provider answers where the gateway first asks for a token, or signs in."""

    path: str
    response: CannedResponse
    headers: Mapping[str, str] = Field(default_factory=dict)
    """Those that the request has to have, such as its credentials."""


class SampleExchange(Section):
    """One message, and what becomes of it."""

    name: str
    outcome: Literal["accepted"] | FailureKind
    channel: Channel = Channel.SMS
    locale: str = MESSAGE.locale
    sender: str | None = None
    """The message's own."""
    variables: Mapping[str, str] = Field(default_factory=dict)
    """Laid over the message's."""
    settings: Mapping[str, Any] = Field(default_factory=dict)
    """Laid over the file's, for this exchange."""
    request: ExpectedRequest | None = None
    response: CannedResponse = CannedResponse()
    reference: str | None = None
    code: str | None = None
    ambiguous: bool = False
    message_specific: bool = False
    opted_out: bool = False

    @property
    def message(self) -> Message:
        """What is sent in this exchange."""
        variables = {**MESSAGE.variables, **self.variables}
        return replace(MESSAGE, channel=self.channel, locale=self.locale, sender=self.sender, variables=variables)


class Samples(Section):
    """One file."""

    settings: Mapping[str, Any] = Field(default_factory=dict)
    """Of the gateway; ``{server}`` stands for the stand-in provider's address."""
    session: SampleSession | None = None
    """Of a gateway that keeps one; it belongs to no exchange."""
    exchanges: tuple[SampleExchange, ...] = ()
    receipts: tuple[SampleReceipt, ...] = ()
    inbound: tuple[SampleInbound, ...] = ()
    never: Mapping[str, str] = Field(default_factory=dict)
    """Outcomes that cannot occur, and why; only for a gateway that calls nobody."""

    @property
    def calls_somebody(self) -> bool:
        """Whether there is a provider at all."""
        return any(exchange.request for exchange in self.exchanges)

    @property
    def message(self) -> Message:
        """What is sent where it does not matter: the first exchange's, so of a channel that the gateway carries."""
        return self.exchanges[0].message if self.exchanges else MESSAGE


def load_samples(path: Path) -> Samples:
    """Read a file; one that is missing has no samples."""
    return _samples_in(path.read_text()) if path.is_file() else Samples()


@cache
def _samples_in(text: str) -> Samples:
    """Return the samples of a file with this text: each test of a suite asks for them, some of them often."""
    return Samples.model_validate(tomllib.loads(text))


_TOKEN = re.compile(r"\{(to|to_plain|text|text_xml|expires_in|dispatch_id|receipt_url)\}")
_OF_A_URL = re.compile(rb"(?:[\w.~*+-]|%[0-9A-Fa-f]{2})*")


def fill(value: Any, message: Message = MESSAGE) -> Any:  # noqa: ANN401 - whatever TOML holds
    """Return a value of the file with a message's members in their places."""
    return _replaced(value, lambda text: _TOKEN.sub(lambda token: message_member(message, token[1]), text))


def with_server_url(value: Any, url: str) -> Any:  # noqa: ANN401 - whatever TOML holds
    """Return settings of the file with the stand-in's address in its place."""
    return _replaced(value, lambda text: text.replace("{server}", url))


def checked_members(expected: ExpectedRequest) -> set[str]:
    """Return which members of the message a sample looks at, of a body that is neither form nor JSON or beside it."""
    beside: set[str] = set()
    _replaced([expected.path, expected.query, expected.headers], lambda text: beside.update(_TOKEN.findall(text)))
    return beside | set(expected.body.groupindex if expected.body else ())


def parse_body(expected: ExpectedRequest, body: bytes) -> dict[str, str] | None:
    """Return what the groups of a sample's pattern hold, unescaped by its rule; ``None`` when a body does not match.

    Raises `ValueError` for what is not escaped as the rule wants it.
    """
    match = expected.body.fullmatch(body) if expected.body else None
    return match and {name: _unescaped(octets or b"", expected) for name, octets in match.groupdict().items()}


def message_member(message: Message, name: str) -> str:
    """Return a member of a message, or one of its ``variables``, as text."""
    special = {**message.variables, "to_plain": message.to.removeprefix("+"), "text_xml": html.escape(message.text)}
    return special[name] if name in special else str(getattr(message, name))


def _replaced(value: Any, replace: Callable[[str], Any]) -> Any:  # noqa: ANN401 - whatever TOML holds
    if isinstance(value, Mapping):
        return {name: _replaced(member, replace) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(member, replace) for member in value]
    return replace(value) if isinstance(value, str) else value


def _unescaped(octets: bytes, expected: ExpectedRequest) -> str:
    """Return a text as it was before it was written into a body."""
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
        element = ET.fromstring(f"<text>{text}</text>")  # noqa: S314 - of the gateway that is tried
    except ET.ParseError:
        raise ValueError("not well-formed") from None
    if len(element):
        raise ValueError("elements in the text")
    return element.text or ""


def _by_table(text: str, table: Mapping[str, str]) -> str:
    """Replace what stands for something else; what it stands for may not stand there itself."""
    written = re.compile("|".join(map(re.escape, sorted(table, key=len, reverse=True))))
    if set(written.sub("", text)) & set("".join(table.values())):
        raise ValueError("not all is escaped")
    return written.sub(lambda one: table[one[0]], text)
