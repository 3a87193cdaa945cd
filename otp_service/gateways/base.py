"""What a gateway is: the contract that each one keeps. Everything that an author of one needs is to be had here."""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from otp_service.domain.templates import Message
from otp_service.gateways.inbound import (
    AddressesInbound,
    AnswersInbound,
    InboundAnswer,
    InboundForgedError,
    InboundMessage,
    Inbox,
    ReceivesMessages,
)
from otp_service.gateways.outcomes import Accepted, FailureKind, GatewayError
from otp_service.gateways.prices import Price, PriceKey
from otp_service.gateways.receipts import (
    AddressesReceipts,
    Receipt,
    ReceiptDesk,
    ReceiptForgedError,
    ReceiptRequest,
    ReportsReceipts,
)
from otp_service.gateways.request import ProviderRequest
from otp_service.transport.country_code import CountryCode

__all__ = [
    "Accepted",
    "AddressesInbound",
    "AddressesReceipts",
    "AnswersInbound",
    "FailureKind",
    "Gateway",
    "GatewayContext",
    "GatewayError",
    "GatewaySettings",
    "HoldsConnections",
    "InboundAnswer",
    "InboundForgedError",
    "InboundMessage",
    "Inbox",
    "Mailbox",
    "ProviderRequest",
    "Receipt",
    "ReceiptDesk",
    "ReceiptForgedError",
    "ReceiptRequest",
    "ReceivesMessages",
    "ReportsReceipts",
]


class GatewaySettings(BaseModel):
    """Settings that every gateway has; each adds its own in its file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, serialize_by_alias=True)

    timeout: float = Field(default=10.0, gt=0, le=60)
    """Seconds that one call may take."""
    slow: float | None = Field(default=None, gt=0, le=60)
    """Seconds after which a call counts as slow for the breaker; half of ``timeout`` by default."""
    per_second: float | None = Field(default=None, gt=0, le=10_000)
    """Messages a second at most, over all workers: what the operator allows. No bound by default."""
    max_in_flight: int | None = Field(default=None, ge=1, le=10_000)
    """Calls at the same time at most, over all workers. No bound by default."""
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which the provider handles numbers and messages, for ``residency``."""
    sim_box: bool = False
    """Whether messages leave by SIM cards, as a person's own do: a modem, a bank of SIMs, a phone."""
    prices: dict[PriceKey, Price] = Field(default_factory=dict)
    """What a message costs in ``guard.currency``, of an SMS each segment: by country (``PK``), by country and channel
    (``PK/voice``), or ``*`` for all others."""

    @property
    def sets_sender(self) -> bool:
        """Whether handsets show `Message.sender`, where a text message has one, as who it is from."""
        return False

    @property
    def plaintext_host(self) -> str | None:
        """The host that the gateway's own protocol reaches without encryption; of an address (``http://``) it shows."""
        return None

    @property
    def takes_receipts(self) -> bool:
        """Whether they say all that receipts need; asked of gateways that report them."""
        return True

    @property
    def takes_messages(self) -> bool:
        """Whether they say all that inbound messages need; asked of gateways that receive them."""
        return True


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
    desk: ReceiptDesk
    inbox: Inbox


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


@runtime_checkable
class HoldsConnections(Protocol):
    """A capability: the gateway keeps connections open, over which receipts come too.

    What it hands in at its desk is found by the reference that `Accepted` carried.
    """

    def open(self) -> None:
        """Connect, and keep connected from now on, in threads of its own; returns at once. Once a worker process."""

    def close(self) -> None:
        """Say good-bye and disconnect; returns within a few seconds."""
