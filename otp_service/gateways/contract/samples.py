"""The file of wire exchanges: what a gateway asks, what the provider answers, what it means."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from otp_service.domain.templates import Message
from otp_service.gateways.base import FailureKind
from otp_service.gateways.contract.requests import Part, SampleInbound, SampleReceipt

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


class ExpectedRequest(Part):
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


class CannedResponse(Part):
    """What the provider answers."""

    status: int = 200
    headers: Mapping[str, str] = Field(default_factory=dict)
    body: str = ""


class Exchange(Part):
    """One message, and what becomes of it."""

    name: str
    outcome: Literal["accepted"] | FailureKind
    channel: Literal["sms", "voice", "whatsapp"] = "sms"
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
    of_message: bool = False
    opted_out: bool = False

    @property
    def message(self) -> Message:
        """What is sent in this exchange."""
        variables = {**MESSAGE.variables, **self.variables}
        return replace(MESSAGE, channel=self.channel, locale=self.locale, sender=self.sender, variables=variables)


class Samples(Part):
    """One file."""

    settings: Mapping[str, Any] = Field(default_factory=dict)
    """Of the gateway; ``{server}`` stands for the stand-in provider's address."""
    exchanges: tuple[Exchange, ...] = ()
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


def load(path: Path) -> Samples:
    """Read a file; one that is missing has no samples."""
    return Samples.model_validate(tomllib.loads(path.read_text())) if path.is_file() else Samples()
