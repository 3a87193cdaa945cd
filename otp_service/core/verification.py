"""Verifications: their states, what a caller is told about them, and what a message job carries."""

from dataclasses import dataclass, replace
from enum import StrEnum

from otp_service.core.purpose import Purpose

GRACE = 600
"""Seconds that a record outlives its code, so that a late check hears ``expired`` and not 404."""


class Status(StrEnum):
    """State of a verification; all but ``pending`` are final."""

    PENDING = "pending"
    APPROVED = "approved"
    CANCELED = "canceled"
    EXPIRED = "expired"
    MAX_ATTEMPTS_REACHED = "max_attempts_reached"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a check was not valid."""

    WRONG_CODE = "wrong_code"
    EXPIRED = "expired"
    ALREADY_APPROVED = "already_approved"
    CANCELED = "canceled"
    MAX_ATTEMPTS_REACHED = "max_attempts_reached"
    NUMBER_LOCKED = "number_locked"
    TRANSACTION_CHANGED = "transaction_changed"
    FAILED = "failed"


class DeliveryStatus(StrEnum):
    """State of one dispatch."""

    QUEUED = "queued"
    SENT = "sent"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    FAILED = "failed"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class Choice(StrEnum):
    """Why a gateway was called: what kept the route's first one from the message."""

    CONFIGURED = "configured"
    """Nothing: it is the route's first."""
    FAIL_OVER = "fail_over"
    """The first was called for this message, and failed."""
    ALREADY_TRIED = "already_tried"
    """The first carried an earlier message of the verification."""
    BREAKER = "breaker"
    """The first is left alone, because it failed or was slow."""
    LIMIT = "limit"
    """The first is asked as much as it allows."""
    RETRY = "retry"
    """All were called; it is the first's turn again."""
    LAST_RESORT = "last_resort"
    """All are left alone; one has to be tried."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One dispatch of one message, or a message that waits for its first."""

    message: int
    """Number of the message within the verification, from 1."""
    dispatch: int
    """Number of the dispatch within the message, from 1."""
    channel: str
    gateway: str | None
    status: DeliveryStatus
    at: int
    """When it came to be so: milliseconds since the epoch, by Redis' clock."""
    reason: str | None
    choice: Choice | None = None
    """Why this gateway was called; ``None`` while the message waits."""
    begun: int = 0
    """When it was called, or the message queued."""
    raw_status: str | None = None
    """The gateway's own word for its last report."""
    reference: str | None = None
    """Under which the gateway knows it."""


@dataclass(frozen=True, slots=True)
class Verification:
    """A verification as it is recorded. Times are milliseconds since the epoch, by Redis' clock."""

    id: str
    application: str
    pseudonym: str
    status: Status
    country: str
    channel: str
    locale: str
    purpose: Purpose
    """The policy as it was when the verification started."""
    created: int
    expires: int
    checks: int
    """Codes compared so far."""
    sends: int
    """Messages queued so far."""
    last_send: int
    generation: int
    transaction_digest: str
    sealed_destination: bytes
    """The number, sealed; empty once the verification is final."""
    sealed_mask: bytes
    """What may be shown of the number, sealed: beside the name of its block three digits would leave one in ten."""
    sealed_details: bytes
    """Transaction and metadata, sealed."""
    deliveries: tuple[Delivery, ...] = ()
    consented: int = 0
    """When the consent was given that came with the start; 0 where none did."""

    def at(self, created: int, expires: int, deliveries: tuple[Delivery, ...]) -> "Verification":
        """Return it with the times of its start, in milliseconds, and what was delivered."""
        return replace(self, created=created, expires=expires, last_send=created, deliveries=deliveries)

    @property
    def checks_left(self) -> int:
        """Codes that will still be compared."""
        return self.purpose.max_checks - self.checks if self.status is Status.PENDING else 0

    @property
    def sends_left(self) -> int:
        """Messages that may still be asked for."""
        return self.purpose.max_sends - self.sends if self.status is Status.PENDING else 0

    @property
    def resend_after(self) -> int | None:
        """When the next message may be asked for; ``None`` when none is left."""
        if not self.sends_left:
            return None
        return self.last_send + 1000 * self.purpose.resend_delay(self.sends)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The answer to one check."""

    id: str
    status: Status
    valid: bool
    checks_left: int
    reason: Reason | None
