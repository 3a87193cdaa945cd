"""A verification: its purpose, state and deliveries."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

MAX_CODE_LIFE = 600
"""In seconds."""


class PurposeKind(StrEnum):
    """The statement of an approval."""

    POSSESSION = "possession"
    """The user holds the number: login, sign-up."""
    TRANSACTION = "transaction"
    """The user agrees to an amount and a payee."""


class Resend(StrEnum):
    """The code of a further message."""

    SAME_CODE = "same_code"
    NEW_CODE = "new_code"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Traits:
    """The differences of channels."""

    in_segments: bool = False
    """Whether its text is measured, and paid, in segments of an SMS."""
    is_spoken: bool = False
    """Whether its text is heard. Channels to read fall back to the words of ``sms``."""
    goes_to_sim: bool = False
    """Whether a new SIM of the number gets its messages."""
    is_regulated: bool = False
    """Whether countries regulate its senders, templates and SIM boxes."""
    shows_words: bool = True
    """Whether users see our words; a payment needs them."""
    app: str | None = None
    """Name of the app that shows its messages, unless it came with the handset."""
    amr: str | None = None
    """The value in proofs (RFC 8176); ``None`` for its name."""


class Channel(StrEnum):
    """The channel of a message. A new channel needs an entry, and a gateway."""

    traits: _Traits

    SMS = "sms", _Traits(in_segments=True, goes_to_sim=True, is_regulated=True)
    VOICE = "voice", _Traits(is_spoken=True, goes_to_sim=True, amr="tel")
    WHATSAPP = "whatsapp", _Traits(app="WhatsApp")
    TELEGRAM = "telegram", _Traits(app="Telegram", shows_words=False)

    def __new__(cls, name: str, traits: _Traits = _Traits()) -> Self:
        """Make a channel that is equal to its name."""
        channel = str.__new__(cls, name)
        channel._value_, channel.traits = name, traits
        return channel


class FactorKind(StrEnum):
    """The kind of a factor."""

    MESSAGE = "message"
    TOTP = "totp"


@dataclass(frozen=True, slots=True)
class Purpose:
    """The rules of a purpose. A verification keeps those of its start."""

    name: str
    kind: PurposeKind
    code_length: int
    """Digits, 6 to 8."""
    ttl: int
    """Life of a code in seconds from the start, at most 600 (NIST SP 800-63B-4, 3.1.3.2)."""
    max_checks: int
    """Codes compared before the verification ends; at most 5 for a transaction (PSD2 RTS, article 4(3)(b))."""
    max_sends: int
    """The first included."""
    resend_delays: tuple[int, ...]
    """Seconds before the second, third … message; the last repeats."""
    resend: Resend
    channels: tuple[Channel, ...]
    """The default first; the others follow where it does not reach the number."""
    fallback: bool = True
    """Whether the service itself tries the next channel."""
    acr: str | None = None
    """Authentication context class in proofs, as configured now."""
    factors: tuple[FactorKind, ...] = (FactorKind.MESSAGE,)
    """Accepted factors. Where an app is first, a start sends nothing to a user with an app, unless it names a
    channel."""
    recovery: bool = False
    after: tuple[str, ...] = ()
    """Step-up: purposes with an earlier approval of the same person; empty for none."""
    after_max_age: int = 600
    """Maximum age of that approval in seconds."""

    def channels_after(self, channel: str) -> tuple[Channel, ...]:
        """Return the channels after ``channel``; none without fallback."""
        if not self.fallback or channel not in self.channels:
            return ()
        return self.channels[self.channels.index(Channel(channel)) + 1 :]

    def resend_delay(self, sends: int) -> int:
        """Return the seconds to wait after ``sends`` messages."""
        return self.resend_delays[min(sends, len(self.resend_delays)) - 1]


RECORD_GRACE = 600
"""Seconds that a record outlives its code, so that a late check gets ``expired`` and not 404."""


class Status(StrEnum):
    """State of a verification; all but ``pending`` are final."""

    PENDING = "pending"
    APPROVED = "approved"
    CANCELED = "canceled"
    EXPIRED = "expired"
    MAX_ATTEMPTS_REACHED = "max_attempts_reached"
    FAILED = "failed"


class CheckFailure(StrEnum):
    """The reason of an invalid check."""

    WRONG_CODE = "wrong_code"
    EXPIRED = "expired"
    ALREADY_APPROVED = "already_approved"
    CANCELED = "canceled"
    MAX_ATTEMPTS_REACHED = "max_attempts_reached"
    NUMBER_LOCKED = "number_locked"
    TRANSACTION_CHANGED = "transaction_changed"
    FAILED = "failed"
    REVOKED = "revoked"


class DeliveryStatus(StrEnum):
    """State of one dispatch."""

    QUEUED = "queued"
    SENT = "sent"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    FAILED = "failed"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class GatewayChoice(StrEnum):
    """The reason for calling a gateway of the route."""

    CONFIGURED = "configured"
    FAIL_OVER = "fail_over"
    """The first failed for this message."""
    ALREADY_TRIED = "already_tried"
    """The first carried an earlier message of the verification."""
    BREAKER = "breaker"
    """The first failed or was slow, and is left alone."""
    LIMIT = "limit"
    """The first is at its limit."""
    RETRY = "retry"
    """All were called, so the first is called again."""
    LAST_RESORT = "last_resort"
    """All are left alone, so one is tried."""


# Objects of each start and answer are not frozen, since that takes four times as long.


@dataclass(slots=True)
class Delivery:
    """A dispatch of a message, or a message before its first dispatch."""

    message: int
    """Within the verification, from 1."""
    dispatch: int
    """Within the message, from 1."""
    channel: str
    gateway: str | None
    status: DeliveryStatus
    at: int
    """The time of the status: milliseconds since the epoch, by Redis' clock."""
    reason: str | None
    choice: GatewayChoice | None = None
    """``None`` while the message waits."""
    begun: int = 0
    raw_status: str | None = None
    """The gateway's own word in its last report."""
    reference: str | None = None
    dispatch_id: str | None = None
    """Ours; ``None`` while the message waits."""


@dataclass(slots=True)
class Verification:
    """A recorded verification. Times are milliseconds since the epoch, by Redis' clock."""

    id: str
    application: str
    pseudonym: str
    status: Status
    country: str
    channel: str
    locale: str
    purpose: Purpose
    created: int
    expires: int
    checks: int
    sends: int
    last_send: int
    generation: int
    transaction_digest: str
    sealed_destination: bytes
    """Empty once the verification is final."""
    sealed_mask: bytes
    """Sealed, since beside the name of its block three digits would leave one number in ten."""
    sealed_details: bytes
    deliveries: tuple[Delivery, ...] = ()
    consented: int = 0
    """The time of the start's consent; 0 for none."""
    block: str = field(default="", compare=False)
    """A pseudonym; empty before it is recorded."""
    counted: str = field(default="", compare=False)
    """The guard's counts of its messages (include_approvals.lua); empty before, and after they are rolled back."""

    def set_times(self, created: int, expires: int, deliveries: tuple[Delivery, ...]) -> None:
        """Set the times of its start, in milliseconds, and the deliveries."""
        self.created, self.expires, self.last_send, self.deliveries = created, expires, created, deliveries

    @property
    def checks_left(self) -> int:
        """Remaining checks."""
        return self.purpose.max_checks - self.checks if self.status is Status.PENDING else 0

    @property
    def sends_left(self) -> int:
        """Remaining messages."""
        return self.purpose.max_sends - self.sends if self.status is Status.PENDING else 0

    @property
    def resend_after(self) -> int | None:
        """When the next message is allowed; ``None`` when none is left."""
        return self.last_send + 1000 * self.purpose.resend_delay(self.sends) if self.sends_left else None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The answer to one check."""

    id: str
    status: Status
    valid: bool
    checks_left: int
    reason: CheckFailure | None
    proof: str | None = field(default=None, repr=False)
    at: int = 0
    """The first time of a repeated check: milliseconds since the epoch, by Redis' clock."""
