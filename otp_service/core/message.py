"""Messages: what a gateway is given to send."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from otp_service.core.templates import TemplateRef


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one handset. The ``repr`` shows neither number nor text."""

    to: str = field(repr=False)
    """E.164."""
    text: str = field(repr=False)
    channel: str
    locale: str
    """BCP 47, of the text."""
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
    sender: str | None = None
    """Name that the handset is to show as the sender of a text message; ``None``: the gateway's own."""
    template: TemplateRef | None = None
    """Which template it was made of; ``None`` for a test message."""
