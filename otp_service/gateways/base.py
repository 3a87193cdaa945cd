"""The interface of a gateway: settings, sending, failures, delivery receipts, inbound messages."""

import hmac
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Protocol, runtime_checkable

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from otp_service.domain.inbound import Meaning
from otp_service.domain.messages import Message
from otp_service.domain.numbers import is_region
from otp_service.domain.prices import ANY_COUNTRY, to_micros
from otp_service.domain.routing import MAX_RETRY_AFTER
from otp_service.domain.verification import Channel, DeliveryStatus
from otp_service.plugins import PluginKinds


def _checked_price_key(key: str) -> str:
    country, slash, channel = key.partition("/")
    if not (country == ANY_COUNTRY or is_region(country)) or (slash and channel not in set(Channel)):
        raise ValueError(f"must be a country such as PK, or *, alone or with a channel: PK/{', PK/'.join(Channel)}")
    return key


PriceKey = Annotated[str, AfterValidator(_checked_price_key)]


def _checked_price(amount: str) -> str:
    to_micros(amount)
    return amount


Price = Annotated[str, AfterValidator(_checked_price)]


def checked_country_code(code: str) -> str:
    """Return the code of a country with a numbering plan; raise `ValueError` for anything else."""
    if not is_region(code):
        raise ValueError("is not an ISO 3166-1 alpha-2 code with a numbering plan, such as PK")
    return code


CountryCode = Annotated[str, AfterValidator(checked_country_code)]
"""ISO 3166-1 alpha-2, of a country with a numbering plan."""


class GatewaySettings(BaseModel):
    """Settings of every gateway; each kind adds its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, serialize_by_alias=True)

    timeout: float = Field(default=10.0, gt=0, le=60)
    """Maximum seconds of a call, without the look-up of its host's name."""
    slow: float | None = Field(default=None, gt=0, le=60)
    """Seconds after which a call counts as slow for the breaker; half of ``timeout`` by default."""
    per_second: float | None = Field(default=None, gt=0, le=10_000)
    """Maximum messages a second over all workers, as the provider allows. Unlimited by default."""
    max_in_flight: int | None = Field(default=None, ge=1, le=10_000)
    """Maximum simultaneous calls over all workers. Unlimited by default."""
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which the provider handles numbers and messages, for ``residency``."""
    sim_box: bool = False
    """Whether messages leave by SIM cards: a modem, a bank of SIMs, a phone."""
    prices: dict[PriceKey, Price] = Field(default_factory=dict)
    """Price of a message, or of each segment of an SMS, in ``guard.currency``: by country (``PK``), by country and
    channel (``PK/voice``), or ``*`` for all others."""

    @property
    def sets_sender(self) -> bool:
        """Whether handsets show `Message.sender` as the sender of a text message."""
        return False

    @property
    def plaintext_host(self) -> str | None:
        """The host that the gateway reaches unencrypted over a protocol other than HTTP, or ``None``."""
        return None

    @property
    def endpoint(self) -> str | None:
        """Where calls go, for `doctor` to connect to, unless a setting is that URL.

        ``https://HOST``; for a protocol other than HTTP ``tls://HOST:PORT`` or ``tcp://HOST:PORT``.
        """
        return None

    @property
    def takes_receipts(self) -> bool:
        """Whether a gateway that supports receipts has all the settings for them."""
        return True

    @property
    def takes_messages(self) -> bool:
        """Whether a gateway that supports inbound messages has all the settings for them."""
        return True


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider accepted the message under its ``reference``, which is never empty."""

    reference: str


REFERENCE: Final = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
"""The form of a reference."""


def is_same_secret(received: str, expected: str) -> bool:
    """Compare a received proof in constant time; an empty ``expected`` never matches."""
    return bool(expected) and hmac.compare_digest(received.encode(errors="replace"), expected.encode(errors="replace"))


TOLERANCE = 300
"""Maximum seconds between the time in a provider's request and our clock."""


def is_recent(timestamp: str) -> bool:
    """Return whether a provider's time, in seconds since 1970, agrees with our clock."""
    return bool(re.fullmatch("[0-9]{1,10}", timestamp)) and abs(time.time() - int(timestamp)) <= TOLERANCE


class FailureKind(StrEnum):
    """Why a message was not accepted, by the next action."""

    UNAVAILABLE = "unavailable"
    """The provider cannot send now: try the next gateway, and back off here."""
    ERROR = "error"
    """The provider failed and may have sent the message: as *unavailable*, but only a few times."""
    THROTTLED = "throttled"
    """Too fast: try the next gateway, and wait here."""
    ACCOUNT = "account"
    """The provider refuses our account (key, credit, sender, address): try the next gateway, alert an operator."""
    REJECTED = "rejected"
    """The provider refuses this message: stop, alert an operator."""
    DESTINATION = "destination"
    """This number does not work: stop."""
    CHANNEL = "channel"
    """This number works, but not through this channel."""
    FRAUD = "fraud"
    """The provider suspects fraud: stop, never fail over."""


class GatewayError(Exception):
    """A message was not accepted. The error's text never contains a number, a message or a secret."""

    def __init__(
        self,
        kind: FailureKind,
        provider_code: str,
        *,
        ambiguous: bool = False,
        retry_after: float = 0.0,
        message_specific: bool = False,
        opted_out: bool = False,
        our_fault: bool = False,
    ) -> None:
        """Keep the ``kind`` and the provider's own code.

        ``ambiguous``: the message may have been sent. ``retry_after``: seconds without calls that the provider asks
        for, an hour at most, or 0. ``message_specific``: the failure says nothing of the gateway's health; set it for
        everything that a stranger can cause by their choice of number, or they could stop the gateway for all.
        ``opted_out``: the number's holder told the provider to send nothing. ``our_fault``: an operator is alerted, as
        for *account*, whatever happens to the message.
        """
        super().__init__(f"{kind}: {provider_code}")
        self.kind = kind
        self.provider_code = provider_code
        self.ambiguous = ambiguous
        self.retry_after = min(retry_after, MAX_RETRY_AFTER) if retry_after > 0 else 0.0  # also for NaN
        self.message_specific = message_specific
        self.opted_out = opted_out
        self.our_fault = our_fault or kind is FailureKind.ACCOUNT


@dataclass(frozen=True, slots=True)
class ProviderRequest:
    """A request from a provider."""

    method: str
    url: str
    """The public URL that the provider called, with the query."""
    headers: Mapping[str, str]
    """By name in lower case."""
    query: Mapping[str, str]
    form: Mapping[str, str]
    """A body of type ``application/x-www-form-urlencoded``; empty for any other type."""
    body: bytes = field(repr=False)
    peer: str
    """Address of the sender, behind the trusted proxies."""


class ForgedRequestError(Exception):
    """A request is not the provider's, or too old."""


@dataclass(frozen=True, slots=True)
class ReceiptRequest(ProviderRequest):
    """A delivery receipt that came over HTTP."""

    dispatch_id: str
    """The dispatch that the URL names."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The normalised outcome of a message, with the provider's own status."""

    status: DeliveryStatus
    raw_status: str
    reason: str | None = None
    kind: FailureKind | None = None
    """Why it failed, if known: ``destination``, ``rejected`` and ``fraud`` end the delivery; after ``account`` another
    gateway may be tried, after anything else another channel."""
    opted_out: bool = False
    """Whether it failed because the number's holder opted out at the provider."""
    refunded: bool = False
    """Whether the provider refunded the message."""


@runtime_checkable
class SupportsReceipts(Protocol):
    """A capability: the provider posts delivery receipts to us."""

    def parse_receipt(self, request: ReceiptRequest) -> Receipt:
        """Return the authenticated report; raise `ForgedRequestError`. An unknown status is ``unknown``."""


@runtime_checkable
class SupportsSharedReceipts(Protocol):
    """A capability: the provider reports all messages to a single URL, several in a call. The answer is 200."""

    def parse_receipts(self, request: ProviderRequest) -> Sequence[tuple[str, Receipt]]:
        """Return the dispatch id and receipt of each authenticated report; raise `ForgedRequestError`.

        The provider got ``Message.dispatch_id`` with the message and returns it.
        """

    def answer_challenge(self, request: ProviderRequest) -> str:
        """Return the proof that the URL is ours; raise `ForgedRequestError` unless the provider asks."""


REPORTS_OVER_HTTP: Final = (SupportsReceipts, SupportsSharedReceipts)


@runtime_checkable
class SupportsSignedReceiptUrl(Protocol):
    """A capability beside `SupportsReceipts`: the receipt URL carries a proof that only the provider knows."""

    def sign_receipt_url(self, url: str, dispatch_id: str) -> str:
        """Return the URL with the proof."""


class ReceiptSink(Protocol):
    """Takes receipts from a gateway's own connection."""

    def accept(
        self,
        references: tuple[str, ...],
        receipt: Receipt,
        candidates: Sequence[tuple[str, ...]] = (),
        numbers: tuple[str, ...] = (),
    ) -> bool:
        """Record a receipt for the dispatch with any of the ``references``, the likeliest first.

        Without such a dispatch, each group of ``candidates`` is tried: less certain references, which count only for a
        dispatch to any of the ``numbers`` (international, with a plus or without). A receipt that comes before its
        dispatch is stored. Returns whether the receipt was recorded or stored; if not, the provider should send it
        again. Raises nothing.
        """


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """A message from a person. The ``repr`` shows neither number nor text."""

    reference: str
    """The provider's id, by which a repetition is recognised; empty without an id."""
    sender: str = field(repr=False)
    """The person's number: E.164, or as the provider spells it."""
    text: str = field(repr=False)
    """The whole text; empty for a part of a longer message, or for anything but text."""
    channel: str = "sms"
    opt_out: Meaning | None = None
    """Its meaning, if the provider has acted on it and replied: then we do not reply."""


@dataclass(frozen=True, slots=True)
class InboundResponse:
    """The answer to a provider's request, with status 200."""

    body: str = field(repr=False)
    media_type: str


@runtime_checkable
class SupportsInbound(Protocol):
    """A capability: the provider posts messages from people to us. The answer is 204."""

    def parse_inbound(self, request: ProviderRequest) -> InboundMessage:
        """Return the authenticated message; raise `ForgedRequestError`, and nothing else."""


@runtime_checkable
class SupportsSignedInboundUrl(Protocol):
    """A capability beside `SupportsInbound`: the inbound URL carries a proof that only the provider knows."""

    def sign_inbound_url(self, url: str) -> str:
        """Return the URL with the proof."""


@runtime_checkable
class SupportsInboundResponse(Protocol):
    """A capability beside `SupportsInbound`: the provider expects an answer in a form of its own."""

    carries_reply: bool
    """Whether the provider sends the answer's text to the person."""

    def inbound_response(self, reply: str | None) -> InboundResponse:
        """Return the answer, with the ``reply`` to the person if there is a reply."""


class InboundSink(Protocol):
    """Takes messages from people from a gateway's own connection."""

    def accept(self, message: InboundMessage) -> bool:
        """Act on a message; return whether that is done. If not, the provider should send it again. Raises nothing."""


class Mailbox(Protocol):
    """The sandbox's store of messages, encrypted and short-lived."""

    def put(self, message: Message) -> None:
        """Store a message until its code expires."""


@dataclass(frozen=True, slots=True)
class GatewayContext:
    """The name, environment and sinks of a gateway."""

    name: str
    """Name in the configuration; gateways of the same kind have different names."""
    production: bool
    mailbox: Mailbox
    receipts: ReceiptSink
    inbound: InboundSink


class Gateway(Protocol):
    """A way to send messages. The name of its entry point is its ``kind``."""

    kind: ClassVar[str]
    channels: frozenset[str]
    """Channels that it can carry; ``channels`` of the settings may narrow them."""
    development_only: ClassVar[bool]
    """Whether production refuses it."""
    Settings: ClassVar[type[GatewaySettings]]

    def __init__(self, settings: Any, context: GatewayContext) -> None:  # noqa: ANN401 - its own Settings
        """Prepare to send; opens no connection."""

    def send(self, message: Message) -> Accepted:
        """Send a message once within the time-out, without retries. Raises only `GatewayError`."""


@runtime_checkable
class SupportsConnections(Protocol):
    """A capability: the gateway keeps connections open, over which receipts come too.

    It passes them to `GatewayContext.receipts`, under the reference of `Accepted`.
    """

    def open(self) -> None:
        """Connect, and stay connected, in its own threads; returns at once. Called once in a worker process."""

    def close(self) -> None:
        """Disconnect within a few seconds."""


GATEWAY_ENTRY_POINTS = "otp_service.gateways"
GATEWAY_KINDS: Final[PluginKinds[Gateway]] = PluginKinds(
    GATEWAY_ENTRY_POINTS, "gateway", ("kind", "channels", "development_only", "Settings", "send")
)
