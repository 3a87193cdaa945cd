"""Messages: their texts, in plain English for now, and what a gateway is given of them.

A text is made from typed values only, never from a caller's words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from otp_service.core.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one handset. The ``repr`` shows neither number nor text."""

    to: str = field(repr=False)
    """E.164."""
    text: str = field(repr=False)
    channel: str
    locale: str
    """BCP 47."""
    expires_in: int
    """Remaining life of the code in seconds: after it the message is worthless."""
    dispatch_id: str
    """Unique to this call; fit as the provider's own reference of ours."""
    receipt_url: str | None = field(repr=False)
    """Where the provider may report what became of the message; ``None`` without a public address."""
    verification_id: str
    application: str
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What the text was made of, by the names of the templates: for providers that keep templates of their own."""


@dataclass(frozen=True, slots=True)
class Wording:
    """The values of one message. The ``repr`` shows no code."""

    brand: str
    code: str
    minutes: int
    """Whole minutes that the code is still valid, rounded down."""
    transaction: Transaction | None
    origin: str | None

    def __repr__(self) -> str:
        return f"Wording({self.brand!r})"


def render(wording: Wording) -> str:
    """Return the text of a message: a sentence first, the code after it, the origin-bound line last.

    The last line follows the WICG's "Origin-bound one-time codes delivered via SMS", so that browsers offer
    the code on that site only. The first line never starts with the code: lock screens show the first words.
    """
    lines = [_payment_text(wording, wording.transaction) if wording.transaction else _login_text(wording)]
    if wording.origin:
        lines.append(f"@{wording.origin} #{wording.code}")
    return "\n".join(lines)


def _login_text(wording: Wording) -> str:
    return f"Your {wording.brand} code is {wording.code}. It is valid for {_minutes(wording)}. Never share it."


def _payment_text(wording: Wording, transaction: Transaction) -> str:
    account = f" from account {transaction.account}" if transaction.account else ""
    return (
        f"{wording.brand}: to pay {transaction.currency} {transaction.amount} to {transaction.payee}{account}, "
        f"enter {wording.code}. Valid for {_minutes(wording)}. Never share it."
    )


def _minutes(wording: Wording) -> str:
    if wording.minutes < 1:
        return "less than a minute"
    return "1 minute" if wording.minutes == 1 else f"{wording.minutes} minutes"
