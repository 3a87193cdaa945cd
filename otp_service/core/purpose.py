"""Purposes: what a code is for, and the policy that a verification follows for its whole life."""

from dataclasses import dataclass
from enum import StrEnum

LONGEST_LIFE = 600
"""Seconds that a code lives at most."""


class PurposeKind(StrEnum):
    """What a purpose proves."""

    POSSESSION = "possession"
    """Somebody holds the number: login, sign-up."""
    TRANSACTION = "transaction"
    """Somebody who holds the number agrees to an amount and a payee."""


class Resend(StrEnum):
    """Which code a further message of the same verification carries."""

    SAME_CODE = "same_code"
    NEW_CODE = "new_code"


class Channel(StrEnum):
    """How a message reaches the handset."""

    SMS = "sms"
    VOICE = "voice"
    WHATSAPP = "whatsapp"


@dataclass(frozen=True, slots=True)
class Purpose:
    """The policy of one purpose. A verification keeps the one it was started with."""

    name: str
    kind: PurposeKind
    code_length: int
    """Digits, 6 to 8."""
    ttl: int
    """Life of a code in seconds from the start, at most 600 (NIST SP 800-63B-4, 3.1.3.2)."""
    max_checks: int
    """Codes compared before the verification ends; at most 5 for a transaction (PSD2 RTS, article 4(3)(b))."""
    max_sends: int
    """Messages, the first included."""
    resend_delays: tuple[int, ...]
    """Seconds to wait before the second, third … message; the last one repeats."""
    resend: Resend
    channels: tuple[Channel, ...]
    """What is offered; the first is the default, the others follow it where one does not reach the number."""
    fallback: bool = True
    """Whether the service itself goes on to the next channel when one does not reach the number."""

    def channels_after(self, channel: str) -> tuple[Channel, ...]:
        """Return the channels that follow one, in their order; none where there is no fallback."""
        if not self.fallback or channel not in self.channels:
            return ()
        return self.channels[self.channels.index(Channel(channel)) + 1 :]

    def resend_delay(self, sends: int) -> int:
        """Return the seconds to wait after ``sends`` messages."""
        return self.resend_delays[min(sends, len(self.resend_delays)) - 1]
