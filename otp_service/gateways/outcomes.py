"""What comes of handing a message over: a reference, or a failure, by what to do next."""

from dataclasses import dataclass
from enum import StrEnum

from otp_service.domain.verification import MAX_RETRY_AFTER


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
        of_message: bool = False,
        opted_out: bool = False,
    ) -> None:
        """Keep the ``kind`` and the provider's own code.

        ``ambiguous``: it may have been sent all the same. ``retry_after``: seconds for which the gateway asked to be
        left alone, 0 when it did not say; an hour at most. ``of_message``: it can for others; the failure is about this
        message, and tells nothing of the gateway's health. What a stranger brings about by the number that he picks
        is so: otherwise he could have the gateway left alone for everybody. ``opted_out``: the provider sends nothing
        there, since the number's holder told it to.
        """
        super().__init__(f"{kind}: {provider_code}")
        self.kind = kind
        self.provider_code = provider_code
        self.ambiguous = ambiguous
        self.retry_after = min(retry_after, MAX_RETRY_AFTER) if retry_after > 0 else 0.0  # also of what is no number
        self.of_message = of_message
        self.opted_out = opted_out
