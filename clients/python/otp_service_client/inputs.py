"""What calls take, beside plain values: members of the API's bodies under their own names."""

from datetime import datetime
from typing import NotRequired, Required, TypedDict


class Transaction(TypedDict, total=False):
    """A payment that a person agrees to; take it from your own books for the start and for the check."""

    amount: Required[str]
    """Decimal, such as `"1500.00"`."""
    currency: Required[str]
    """ISO 4217."""
    payee: Required[str]
    account: str | None
    """The last four digits of the payer's own account."""
    reference: str | None


class Consent(TypedDict):
    """A consent to messages, with the text that was shown."""

    text_version: str
    text_sha256: str
    """SHA-256 of the words in UTF-8, in lower-case hexadecimal digits."""
    locale: str
    channel: str
    given_at: datetime | str
    source: str


class HumanCheck(TypedDict, total=False):
    """Your claim about a human check."""

    passed: bool
    token: str


class ClientToken(TypedDict):
    """What a page or an app may do with one verification."""

    allow: list[str]
    """Of `read`, `check` and `resend`."""
    origin: NotRequired[str]


class PageRequest(TypedDict):
    """Asks for a page on which the person types the code."""

    return_url: str
