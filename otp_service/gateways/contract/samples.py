"""The file of wire exchanges: what a gateway asks, what the provider answers, what it means."""

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from otp_service.core.message import Message
from otp_service.core.verification import DeliveryStatus
from otp_service.gateways.base import FailureKind

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
)
"""What is sent in all exchanges; its text has what breaks careless encodings."""
CODE = "482913"

_TOKEN = re.compile(r"\{(to|to_plain|text|expires_in|dispatch_id|receipt_url)\}")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExpectedRequest(_Part):
    """What the provider has to receive; ``{to}``, ``{text}`` and so on stand for the message's."""

    method: str = "POST"
    path: str
    query: Mapping[str, str] = Field(default_factory=dict)
    headers: Mapping[str, str] = Field(default_factory=dict)
    """Those that matter."""
    form: Mapping[str, str] | None = None
    document: Any = Field(default=None, alias="json")


class CannedResponse(_Part):
    """What the provider answers."""

    status: int = 200
    headers: Mapping[str, str] = Field(default_factory=dict)
    body: str = ""


class Exchange(_Part):
    """One message, and what becomes of it."""

    name: str
    outcome: Literal["accepted"] | FailureKind
    settings: Mapping[str, Any] = Field(default_factory=dict)
    """Laid over the file's, for this exchange."""
    request: ExpectedRequest | None = None
    response: CannedResponse = CannedResponse()
    reference: str | None = None
    code: str | None = None
    ambiguous: bool = False


class SampleReceipt(_Part):
    """One report as it comes in, and how it is read."""

    name: str
    method: str = "POST"
    url: str
    peer: str = "192.0.2.7"
    headers: Mapping[str, str]
    """Those that prove where it comes from, and no others: the suite breaks each of them."""
    form: Mapping[str, str] = Field(default_factory=dict)
    body: str = ""
    status: DeliveryStatus
    raw_status: str
    reason: str | None = None


class Samples(_Part):
    """One file."""

    settings: Mapping[str, Any] = Field(default_factory=dict)
    """Of the gateway; ``{server}`` stands for the stand-in provider's address."""
    exchanges: tuple[Exchange, ...] = ()
    receipts: tuple[SampleReceipt, ...] = ()
    never: Mapping[str, str] = Field(default_factory=dict)
    """Outcomes that cannot occur, and why; only for a gateway that calls nobody."""

    @property
    def calls_somebody(self) -> bool:
        """Whether there is a provider at all."""
        return any(exchange.request for exchange in self.exchanges)


def load(path: Path) -> Samples:
    """Read a file; one that is missing has no samples."""
    return Samples.model_validate(tomllib.loads(path.read_text())) if path.is_file() else Samples()


def filled(value: Any) -> Any:  # noqa: ANN401 - whatever TOML holds
    """Return a value of the file with the message's members in their places."""
    return _replaced(value, lambda text: _TOKEN.sub(lambda token: _of_message(token[1]), text))


def at_server(value: Any, url: str) -> Any:  # noqa: ANN401 - whatever TOML holds
    """Return settings of the file with the stand-in's address in its place."""
    return _replaced(value, lambda text: text.replace("{server}", url))


def _replaced(value: Any, replace: Callable[[str], str]) -> Any:  # noqa: ANN401 - whatever TOML holds
    if isinstance(value, Mapping):
        return {name: _replaced(member, replace) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(member, replace) for member in value]
    return replace(value) if isinstance(value, str) else value


def _of_message(name: str) -> str:
    return MESSAGE.to.removeprefix("+") if name == "to_plain" else str(getattr(MESSAGE, name))
