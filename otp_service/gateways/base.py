"""What a gateway is: the contract that each one keeps, and the words in which it fails."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from otp_service.core.message import Message
from otp_service.core.verification import DeliveryStatus


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the message over, under its ``reference`` (never empty)."""

    reference: str


class FailureKind(StrEnum):
    """Failures, by what to do next."""

    UNAVAILABLE = "unavailable"
    """It cannot now: next gateway, and back off here."""
    THROTTLED = "throttled"
    """Too fast: next gateway, and wait here."""
    REJECTED = "rejected"
    """Our fault, or our configuration's: stop, and tell an operator."""
    DESTINATION = "destination"
    """This number does not work: stop."""
    CHANNEL = "channel"
    """This number works, but not through this channel."""
    FRAUD = "fraud"
    """The provider suspects fraud: stop, never fail over."""


class GatewayError(Exception):
    """A message was not taken over. Its text never holds a number, a text or a secret."""

    def __init__(self, kind: FailureKind, provider_code: str, *, ambiguous: bool = False) -> None:
        """Keep the ``kind`` and the provider's own code; ``ambiguous``: it may have been sent all the same."""
        super().__init__(f"{kind}: {provider_code}")
        self.kind = kind
        self.provider_code = provider_code
        self.ambiguous = ambiguous


class GatewaySettings(BaseModel):
    """Settings that every gateway has; each adds its own in its file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, serialize_by_alias=True)

    timeout: float = Field(default=10.0, gt=0, le=60)
    """Seconds that one call may take."""


class Mailbox(Protocol):
    """Where the sandbox keeps what it caught, sealed and short-lived."""

    def put(self, message: Message) -> None:
        """Keep a message until its code is worthless."""


@dataclass(frozen=True, slots=True)
class GatewayContext:
    """What the composition root gives a gateway."""

    name: str
    """Its name in the configuration; several gateways of one kind have different names."""
    production: bool
    mailbox: Mailbox


class Gateway(Protocol):
    """One way to send a message. A class; the entry point names it, its ``kind`` is the entry point's name."""

    kind: ClassVar[str]
    channels: frozenset[str]
    """Which of ``sms``, ``voice``, ``whatsapp`` it can carry: of the class, unless settings have ``channels`` too."""
    development_only: ClassVar[bool]
    """Refused in production."""
    Settings: ClassVar[type[GatewaySettings]]

    def __init__(self, settings: Any, context: GatewayContext) -> None:  # noqa: ANN401 - its own Settings
        """Prepare to send; opens no connection."""

    def send(self, message: Message) -> Accepted:
        """Hand one message over, once: no retry, no longer than the timeout. Raises `GatewayError` only."""


@dataclass(frozen=True, slots=True)
class ReceiptRequest:
    """A report as it came in over HTTP."""

    url: str
    """As the provider sees it, on the public address."""
    headers: Mapping[str, str]
    """Names in lower case."""
    form: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a message, normalised, with the provider's own words beside it."""

    status: DeliveryStatus
    raw_status: str
    reason: str | None = None


class ReceiptForgedError(Exception):
    """A report that does not come from the provider."""


@runtime_checkable
class ReportsReceipts(Protocol):
    """A capability: the provider reports to our receipts address."""

    def receipt(self, request: ReceiptRequest) -> Receipt:
        """Return the authenticated report; raise `ReceiptForgedError`. An unknown status is ``unknown``."""
