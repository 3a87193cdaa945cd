"""What the scripts answer, in types. An answer that no type is made for is a loud error."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from otp_service.domain.verification import Reason, Status, Verification
from otp_service.errors import Quota


@dataclass(frozen=True, slots=True)
class Started:
    """A new verification, at this time (milliseconds)."""

    now: int
    quota: Quota | None
    noted: tuple[str, ...] = ()
    """Rules that only record, and would have refused it."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A start that was made before with the same idempotency key; the record is ``None`` when it is gone."""

    remembered: Mapping[str, str]
    verification_id: str
    verification: Verification | None
    now: int


@dataclass(frozen=True, slots=True)
class Queued:
    """A further message of a verification."""

    verification: Verification
    quota: Quota | None
    noted: tuple[str, ...] = ()
    """Rules that only record, and would have refused it."""


@dataclass(frozen=True, slots=True)
class Canceled:
    """A verification that is canceled now."""

    verification: Verification


@dataclass(frozen=True, slots=True)
class Checked:
    """A code that was understood."""

    status: Status
    reason: Reason | None
    checks_left: int
    alarm: bool
    """Whether it is the one that raised the alarm: most of the application's codes are wrong."""


@dataclass(frozen=True, slots=True)
class RefusedByRule:
    """A rule of the guard refuses the message; ``wait`` in milliseconds."""

    rule: str
    """Its id."""
    wait: int
    decision: str
    """Identifier of the entry that explains it."""
    quota: Quota | None
    """The application's own, as it is now."""


@dataclass(frozen=True, slots=True)
class TooSoon:
    """The delay of a resend is not over; ``wait`` in milliseconds."""

    wait: int


@dataclass(frozen=True, slots=True)
class Final:
    """The verification has ended in this status."""

    status: Status


@dataclass(frozen=True, slots=True)
class WrongLength:
    """The purpose's codes have another number of digits."""

    code_length: int


class Refusal(StrEnum):
    """Refusals that carry nothing but their name."""

    NOT_FOUND = "not-found"
    MISMATCH = "mismatch"
    TRANSACTION_MISSING = "transaction-missing"
    TRANSACTION_UNWANTED = "transaction-unwanted"
    NO_SENDS_LEFT = "no-sends-left"
    OVERTAKEN = "overtaken"
    BACKLOG_FULL = "backlog-full"
    EVENTS_FULL = "events-full"
    MIRROR_BEHIND = "mirror-behind"
    SUPPRESSED = "suppressed"
    FROZEN = "frozen"
    CONSENT_REQUIRED = "consent-required"
    CONSENT_OUTDATED = "consent-outdated"


Refused = RefusedByRule | TooSoon | Final | WrongLength | Refusal
"""Everything but success."""


def refused(answer: list[Any]) -> Refused:
    """Return a refusal that a script answered; raise `ValueError` for a word that none of them is."""
    match answer:
        case [b"too-soon", wait]:
            return TooSoon(wait)
        case [b"final", status]:
            return Final(Status(status.decode()))
        case [b"kept-back", why]:
            return Refusal(why.decode())
        case [b"invalid-code", length]:
            return WrongLength(length)
        case [word]:
            return Refusal(word.decode())
        case _:
            raise ValueError(f"unknown answer of a script: {answer[:1]!r}")
