"""The interface of a gateway: settings, sending, failures, delivery receipts, messages from people."""

import hmac
import re
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
        raise ValueError(f"is a country such as PK, or *; with a channel behind it PK/{', PK/'.join(Channel)}")
    return key


PriceKey = Annotated[str, AfterValidator(_checked_price_key)]


def _checked_price(amount: str) -> str:
    to_micros(amount)
    return amount


Price = Annotated[str, AfterValidator(_checked_price)]


def checked_country_code(code: str) -> str:
    """Return the code of a country that has a numbering plan; raise `ValueError` for anything else."""
    if not is_region(code):
        raise ValueError("is not an ISO 3166-1 alpha-2 code with a numbering plan, such as PK")
    return code


CountryCode = Annotated[str, AfterValidator(checked_country_code)]
"""ISO 3166-1 alpha-2, of a country that has a numbering plan."""


class GatewaySettings(BaseModel):
    """Settings that every gateway has; each adds its own in its file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, serialize_by_alias=True)

    timeout: float = Field(default=10.0, gt=0, le=60)
    """Seconds that one call may take, not counting the look-up of its host's name."""
    slow: float | None = Field(default=None, gt=0, le=60)
    """Seconds after which a call counts as slow for the breaker; half of ``timeout`` by default."""
    per_second: float | None = Field(default=None, gt=0, le=10_000)
    """Messages a second at most, over all workers: what the provider allows. No bound by default."""
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
        """Whether a handset shows `Message.sender` as who a text message is from."""
        return False

    @property
    def plaintext_host(self) -> str | None:
        """The host that a protocol other than HTTP reaches without encryption; a URL shows it by ``http://``."""
        return None

    @property
    def endpoint(self) -> str | None:
        """Where calls go, for `doctor` to connect to, if no setting is that URL.

        ``https://HOST``, and of a protocol other than HTTP ``tls://HOST:PORT`` or ``tcp://HOST:PORT``.
        """
        return None

    @property
    def takes_receipts(self) -> bool:
        """Whether all settings that receipts need are there; asked of gateways that support them."""
        return True

    @property
    def takes_messages(self) -> bool:
        """Whether all settings that inbound messages need are there; asked of gateways that support them."""
        return True


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider accepted the message under its own ``reference`` (never empty)."""

    reference: str


REFERENCE: Final = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
"""What a reference may be."""


def is_same_secret(given: str, expected: str) -> bool:
    """Tell, in a time that tells nothing, whether a proof is the one expected, which is empty where none is."""
    return bool(expected) and hmac.compare_digest(given.encode(errors="replace"), expected.encode(errors="replace"))


class FailureKind(StrEnum):
    """Why a message was not accepted, by what to do next."""

    UNAVAILABLE = "unavailable"
    """It cannot now: try the next gateway, and back off here."""
    ERROR = "error"
    """It failed while it handled the message, which it may have sent: as *unavailable*, but only a few times."""
    THROTTLED = "throttled"
    """Too fast: try the next gateway, and wait here."""
    ACCOUNT = "account"
    """It refuses our account: key, credit, sender, address. Try the next gateway, and tell an operator."""
    REJECTED = "rejected"
    """It refuses this message: stop, and tell an operator."""
    DESTINATION = "destination"
    """This number does not work: stop."""
    CHANNEL = "channel"
    """This number works, but not through this channel."""
    FRAUD = "fraud"
    """The provider suspects fraud: stop, never fail over."""


class GatewayError(Exception):
    """A message was not accepted. The error's text never holds a number, a message or a secret."""

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

        ``ambiguous``: the message may have been sent all the same. ``retry_after``: seconds for which the gateway asked
        to be left alone, an hour at most; 0 if it did not. ``message_specific``: the failure is about this message
        and says nothing of the gateway's health; so is whatever a stranger can cause by the number he picks, who could
        otherwise stop the gateway for everybody. ``opted_out``: the number's holder told the provider to send nothing.
        ``our_fault``: an operator is told, as of *account*, whatever becomes of the message.
        """
        super().__init__(f"{kind}: {provider_code}")
        self.kind = kind
        self.provider_code = provider_code
        self.ambiguous = ambiguous
        self.retry_after = min(retry_after, MAX_RETRY_AFTER) if retry_after > 0 else 0.0  # also of what is no number
        self.message_specific = message_specific
        self.opted_out = opted_out
        self.our_fault = our_fault or kind is FailureKind.ACCOUNT


@dataclass(frozen=True, slots=True)
class ProviderRequest:
    """A request from a provider."""

    method: str
    url: str
    """The public address that the provider called, with the query."""
    headers: Mapping[str, str]
    """Names in lower case."""
    query: Mapping[str, str]
    form: Mapping[str, str]
    """Of a body of type ``application/x-www-form-urlencoded``; empty for any other."""
    body: bytes = field(repr=False)
    peer: str
    """Address of the sender, found behind the trusted proxies."""


@dataclass(frozen=True, slots=True)
class ReceiptRequest(ProviderRequest):
    """A delivery receipt as it came in over HTTP."""

    dispatch_id: str
    """The dispatch that the address names."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a message, normalised, with the provider's own status beside it."""

    status: DeliveryStatus
    raw_status: str
    reason: str | None = None
    kind: FailureKind | None = None
    """Why it failed, where the provider tells: ``destination``, ``rejected`` and ``fraud`` end the delivery, after
    ``account`` another gateway may be tried, after anything else another channel."""
    opted_out: bool = False
    """Whether it failed because the number's holder told the provider that they want none."""
    refunded: bool = False
    """Whether the provider gave back what the message cost."""


class ReceiptForgedError(Exception):
    """A receipt that is not the provider's, or too old."""


@runtime_checkable
class SupportsReceipts(Protocol):
    """A capability: the provider posts delivery receipts to us."""

    def parse_receipt(self, request: ReceiptRequest) -> Receipt:
        """Return the authenticated report; raise `ReceiptForgedError`. An unknown status is ``unknown``."""


@runtime_checkable
class SupportsSharedReceipts(Protocol):
    """A capability: the provider reports all messages to one address, several in one call. It is answered with 200."""

    def parse_receipts(self, request: ProviderRequest) -> Sequence[tuple[str, Receipt]]:
        """Return the authenticated reports, each after the id of its dispatch; raise `ReceiptForgedError`.

        The provider was given ``Message.dispatch_id`` with the message, and gives it back.
        """

    def answer_challenge(self, request: ProviderRequest) -> str:
        """Return what proves to the provider that the address is ours; raise `ReceiptForgedError` to anybody else."""


REPORTS_OVER_HTTP: Final = (SupportsReceipts, SupportsSharedReceipts)


@runtime_checkable
class SupportsSignedReceiptUrl(Protocol):
    """A capability beside `SupportsReceipts`: the receipt URL carries a proof that only the provider knows."""

    def sign_receipt_url(self, url: str, dispatch_id: str) -> str:
        """Return the URL with the proof."""


class ReceiptSink(Protocol):
    """Takes the receipts that come over a gateway's own connection."""

    def accept(
        self,
        references: tuple[str, ...],
        receipt: Receipt,
        candidates: Sequence[tuple[str, ...]] = (),
        numbers: tuple[str, ...] = (),
    ) -> bool:
        """Record a receipt for the dispatch that was accepted under one of the ``references``, the likeliest first.

        If there is no such dispatch, each group of ``candidates`` is tried: less certain references, which count only
        for a dispatch to one of the ``numbers`` (international, with a plus or without). A receipt that comes before
        its dispatch is known is kept. Returns whether the receipt was recorded or kept; if not, the provider should
        send it again. Raises nothing.
        """


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """A message from a person. The ``repr`` shows neither number nor text."""

    reference: str
    """The provider's own id, by which a repetition is recognised; empty where it has none."""
    sender: str = field(repr=False)
    """The number of who wrote: E.164, or as the provider spells it."""
    text: str = field(repr=False)
    """The whole text; empty for one part of a longer message, or for what is no text."""
    channel: str = "sms"
    opt_out: Meaning | None = None
    """Its meaning, where the provider has acted on it and answered it itself: then we do not answer."""


@dataclass(frozen=True, slots=True)
class InboundResponse:
    """The answer to a provider's request, with status 200."""

    body: str = field(repr=False)
    media_type: str


class InboundForgedError(Exception):
    """A message that the provider did not pass on, or one too old."""


@runtime_checkable
class SupportsInbound(Protocol):
    """A capability: the provider posts messages from people to us. It is answered with 204."""

    def parse_inbound(self, request: ProviderRequest) -> InboundMessage:
        """Return the authenticated message; raise `InboundForgedError`, and nothing else."""


@runtime_checkable
class SupportsSignedInboundUrl(Protocol):
    """A capability beside `SupportsInbound`: the inbound URL carries a proof that only the provider knows."""

    def sign_inbound_url(self, url: str) -> str:
        """Return the URL with the proof."""


@runtime_checkable
class SupportsInboundResponse(Protocol):
    """A capability beside `SupportsInbound`: the provider expects an answer in a form of its own."""

    carries_reply: bool
    """Whether the provider sends the answer's text to whoever wrote."""

    def inbound_response(self, reply: str | None) -> InboundResponse:
        """Return the answer, with the ``reply`` to whoever wrote if there is one."""


class InboundSink(Protocol):
    """Takes the messages from people that come over a gateway's own connection."""

    def accept(self, message: InboundMessage) -> bool:
        """Act on a message; return whether it was taken. If not, it is worth sending again. Raises nothing."""


class Mailbox(Protocol):
    """Where the sandbox keeps messages, encrypted and short-lived."""

    def put(self, message: Message) -> None:
        """Keep a message until its code expires."""


@dataclass(frozen=True, slots=True)
class GatewayContext:
    """What a gateway is given when it is made."""

    name: str
    """Its name in the configuration; several gateways of one kind have different names."""
    production: bool
    mailbox: Mailbox
    receipts: ReceiptSink
    inbound: InboundSink


class Gateway(Protocol):
    """One way to send messages. An entry point names the class; ``kind`` is the entry point's name."""

    kind: ClassVar[str]
    channels: frozenset[str]
    """Names of the channels that it can carry; settings may have ``channels`` that narrow them."""
    development_only: ClassVar[bool]
    """Refused in production."""
    Settings: ClassVar[type[GatewaySettings]]

    def __init__(self, settings: Any, context: GatewayContext) -> None:  # noqa: ANN401 - its own Settings
        """Prepare to send; opens no connection."""

    def send(self, message: Message) -> Accepted:
        """Send one message, once, within the time-out; no retry. Raises `GatewayError` only."""


@runtime_checkable
class SupportsConnections(Protocol):
    """A capability: the gateway keeps connections open, over which receipts come too.

    It passes them to `GatewayContext.receipts`, under the reference that `Accepted` carried.
    """

    def open(self) -> None:
        """Connect, and stay connected, in threads of its own; returns at once. Called once in a worker process."""

    def close(self) -> None:
        """Disconnect; returns within a few seconds."""


GATEWAY_ENTRY_POINTS = "otp_service.gateways"
GATEWAY_KINDS: Final[PluginKinds[Gateway]] = PluginKinds(
    GATEWAY_ENTRY_POINTS, "gateway", ("kind", "channels", "development_only", "Settings", "send")
)
