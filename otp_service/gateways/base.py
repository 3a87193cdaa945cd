"""The interface of a gateway: messages, outcomes, receipts, inbound messages, prices."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Annotated, Any, ClassVar, Protocol, runtime_checkable

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from otp_service.domain.gateway_health import MAX_RETRY_AFTER
from otp_service.domain.inbound import Meaning
from otp_service.domain.messages import Message
from otp_service.domain.numbers import is_region
from otp_service.domain.prices import ANY_COUNTRY, to_micros
from otp_service.domain.verification import DeliveryStatus
from otp_service.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the message over, under its ``reference`` (never empty)."""

    reference: str


class FailureKind(StrEnum):
    """Failures, by what to do next."""

    UNAVAILABLE = "unavailable"
    """It cannot now: next gateway, and back off here."""
    ERROR = "error"
    """It failed while it handled the message, which it may have sent: as *unavailable*, but not often."""
    THROTTLED = "throttled"
    """Too fast: next gateway, and wait here."""
    ACCOUNT = "account"
    """It refuses us, whatever the message: key, credit, sender, address. Next gateway, and tell an operator."""
    REJECTED = "rejected"
    """It refuses this message: stop, and tell an operator."""
    DESTINATION = "destination"
    """This number does not work: stop."""
    CHANNEL = "channel"
    """This number works, but not through this channel."""
    FRAUD = "fraud"
    """The provider suspects fraud: stop, never fail over."""


class GatewayError(Exception):
    """A message was not taken over. Its text never holds a number, a text or a secret."""

    def __init__(
        self,
        kind: FailureKind,
        provider_code: str,
        *,
        ambiguous: bool = False,
        retry_after: float = 0.0,
        message_specific: bool = False,
        opted_out: bool = False,
    ) -> None:
        """Keep the ``kind`` and the provider's own code.

        ``ambiguous``: the message may have been sent all the same. ``retry_after``: seconds for which the gateway asked
        to be left alone, an hour at most; 0 if it did not. ``message_specific``: the failure is about this message
        and says nothing of the gateway's health; so is whatever a stranger can cause by the number he picks, who could
        otherwise stop the gateway for everybody. ``opted_out``: the number's holder told the provider to send nothing.
        """
        super().__init__(f"{kind}: {provider_code}")
        self.kind = kind
        self.provider_code = provider_code
        self.ambiguous = ambiguous
        self.retry_after = min(retry_after, MAX_RETRY_AFTER) if retry_after > 0 else 0.0  # also of what is no number
        self.message_specific = message_specific
        self.opted_out = opted_out


@dataclass(frozen=True, slots=True)
class ProviderRequest:
    """A request of a provider."""

    method: str
    url: str
    """As the provider sees it, on the public address, with the query."""
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
    """A report as it came in over HTTP."""

    dispatch_id: str
    """Which dispatch the address names."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a message, normalised, with the provider's own words beside it."""

    status: DeliveryStatus
    raw_status: str
    reason: str | None = None
    kind: FailureKind | None = None
    """Why it failed, where the provider tells: ``destination``, ``rejected`` and ``fraud`` end the delivery, after
    ``account`` another gateway may be tried, after anything else another channel."""
    opted_out: bool = False
    """Whether it failed because the number's holder told the provider to want no messages."""


class ReceiptForgedError(Exception):
    """A report that does not come from the provider, or is too old to be believed."""


@runtime_checkable
class SupportsReceipts(Protocol):
    """A capability: the provider reports to our receipts address."""

    def parse_receipt(self, request: ReceiptRequest) -> Receipt:
        """Return the authenticated report; raise `ReceiptForgedError`. An unknown status is ``unknown``."""


@runtime_checkable
class SupportsSignedReceiptUrl(Protocol):
    """A capability beside `SupportsReceipts`: the gateway adds to the address that its provider reports to."""

    def sign_receipt_url(self, url: str, dispatch_id: str) -> str:
        """Return the address with what proves that only the provider was told of it."""


class ReceiptSink(Protocol):
    """Where a gateway hands in receipts that do not come over HTTP."""

    def accept(
        self,
        references: tuple[str, ...],
        receipt: Receipt,
        guesses: Sequence[tuple[str, ...]] = (),
        numbers: tuple[str, ...] = (),
    ) -> bool:
        """Record a receipt for the dispatch that was accepted under one of the ``references``, the likeliest first.

        When there is none, what ``guesses`` lead to counts if it went to one of the ``numbers`` (international, a plus
        or not). One that comes before the dispatch is known to be accepted is kept until it is. Returns whether it was
        taken: one that was not is worth sending again. Raises nothing.
        """


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """A message from a person. The ``repr`` shows neither number nor text."""

    reference: str
    """The provider's own name of it, by which a repetition is known; empty where it has none."""
    sender: str = field(repr=False)
    """The number that it came from: E.164, or as the provider spells it."""
    text: str = field(repr=False)
    """All of it; empty for a part of a longer one, or for what is no text."""
    channel: str = "sms"
    opt_out: Meaning | None = None
    """What it means to the provider, where that has acted on it itself, and has answered it: we do not answer too."""


@dataclass(frozen=True, slots=True)
class InboundResponse:
    """What a provider is answered, under the status 200."""

    body: str = field(repr=False)
    media_type: str


class InboundForgedError(Exception):
    """A message that the provider did not pass on, or that is too old to be believed."""


@runtime_checkable
class SupportsInbound(Protocol):
    """A capability: the provider passes messages on to our inbound address. It is answered with 204."""

    def parse_inbound(self, request: ProviderRequest) -> InboundMessage:
        """Return the authenticated message; raise `InboundForgedError`, and nothing else."""


@runtime_checkable
class SupportsSignedInboundUrl(Protocol):
    """A capability beside `SupportsInbound`: the gateway adds to the address that its provider is told."""

    def sign_inbound_url(self, url: str) -> str:
        """Return the address with what proves that only the provider was told of it."""


@runtime_checkable
class SupportsInboundResponse(Protocol):
    """A capability beside `SupportsInbound`: the provider expects an answer of its own form."""

    carries_reply: bool
    """Whether the provider sends what the answer says to whoever wrote."""

    def inbound_response(self, reply: str | None) -> InboundResponse:
        """Return the answer: with a text for whoever wrote, only where it carries one, or with none."""


class InboundSink(Protocol):
    """Where a gateway hands in messages that do not come over HTTP."""

    def accept(self, message: InboundMessage) -> bool:
        """Act on a message. Returns whether it was taken: one that was not is worth sending again. Raises nothing."""


_CHANNELS = ("sms", "voice", "whatsapp")


def _checked_price_key(key: str) -> str:
    country, slash, channel = key.partition("/")
    if not (country == ANY_COUNTRY or is_region(country)) or (slash and channel not in _CHANNELS):
        raise ValueError("is a country such as PK, or *; with a channel behind it PK/sms, PK/voice or PK/whatsapp")
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
    receipts: ReceiptSink
    inbound: InboundSink


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
class SupportsConnections(Protocol):
    """A capability: the gateway keeps connections open, over which receipts come too.

    What it hands in at its desk is found by the reference that `Accepted` carried.
    """

    def open(self) -> None:
        """Connect, and keep connected from now on, in threads of its own; returns at once. Once a worker process."""

    def close(self) -> None:
        """Say good-bye and disconnect; returns within a few seconds."""


@cache
def installed_entry_points(group: str) -> EntryPoints:
    """Return the entry points of a group. Remembered: to look reads a file of every package, and it is asked often."""
    return entry_points(group=group)


def forget_installed_entry_points() -> None:
    """Let the next one who asks see what has been installed meanwhile."""
    installed_entry_points.cache_clear()


@dataclass(frozen=True, slots=True)
class PluginKinds:
    """The classes that an entry point group names. Each has a ``kind``, which is its entry point's name."""

    group: str
    noun: str
    """What one is called: *gateway*."""
    required: tuple[str, ...]
    """What each has to have, ``kind`` among it."""

    def names(self) -> list[str]:
        """Return the names of all kinds, without importing any."""
        return sorted({entry.name for entry in installed_entry_points(self.group)})

    def find(self, name: str) -> type:
        """Import and return the class of a kind.

        Raises `ConfigurationError` when there is no such kind, two packages claim it, or it cannot be imported.
        """
        claims = {entry.value: entry for entry in installed_entry_points(self.group) if entry.name == name}
        if not claims:
            known = ", ".join(self.names())
            raise ConfigurationError(f"There is no {self.noun} of kind {name!r}; there are: {known}.")
        if len(claims) > 1:
            packages = ", ".join(sorted(claims))
            raise ConfigurationError(f"More than one package brings a {self.noun} of kind {name!r}: {packages}.")
        (entry,) = claims.values()
        return self._checked(entry, self._imported(entry))

    def _imported(self, entry: EntryPoint) -> object:
        what = f"The {self.noun} of kind {entry.name!r}"
        try:
            return entry.load()
        except ModuleNotFoundError as missing:
            raise ConfigurationError(f"{what} needs the package {missing.name!r}, which is not installed.") from missing
        except (ImportError, AttributeError) as broken:
            raise ConfigurationError(f"{what} ({entry.value}) cannot be imported.") from broken

    def _checked(self, entry: EntryPoint, found: object) -> type:
        lacking = _missing_members(found, self.required)
        if not isinstance(found, type) or lacking:
            what = f"lacks {', '.join(lacking)}" if lacking else "is not a class"
            raise ConfigurationError(f"{entry.value} is not a {self.noun}: it {what}.")
        kind = getattr(found, "kind", None)
        if kind != entry.name:
            raise ConfigurationError(f"{entry.value} says it is of kind {kind!r}, its entry point {entry.name!r}.")
        return found


def _missing_members(found: object, members: Iterable[str]) -> list[str]:
    return [member for member in members if not hasattr(found, member)]


GATEWAY_ENTRY_POINTS = "otp_service.gateways"
GATEWAY_KINDS = PluginKinds(
    GATEWAY_ENTRY_POINTS, "gateway", ("kind", "channels", "development_only", "Settings", "send")
)


def gateway_kinds() -> list[str]:
    """Return the names of all kinds, without importing any."""
    return GATEWAY_KINDS.names()


def load_gateway_class(name: str) -> type[Gateway]:
    """Import and return the gateway of a kind; raise `ConfigurationError` when that is none, or more than one."""
    found: type[Gateway] = GATEWAY_KINDS.find(name)
    return found
