"""Twilio: the members of its section in the configuration."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from otp_service.gateways.base import GatewaySettings
from otp_service.gateways.twilio.voice import Voice

_NUMBER = r"^\+[1-9][0-9]{6,14}$"
_CONTENT = r"^HX[0-9a-fA-F]{32}$"
_VARIABLES = frozenset({"brand", "code", "minutes"})
_OF_PAYMENTS = frozenset({"amount", "payee", "account"})
"""Of our own templates, by name: those of every message, and those of payments."""


class TwilioSettings(GatewaySettings):
    """An account, and who its messages come from: a channel is carried when it has a sender."""

    account_sid: str = Field(pattern=r"^AC[0-9a-fA-F]{32}$")
    auth_token: SecretStr = Field(min_length=1)
    """Authenticates us there and, as the key of signatures, receipts here."""
    from_: str | None = Field(default=None, alias="from", min_length=1)
    """Number or name that SMS come from; either this or ``messaging_service_sid``."""
    messaging_service_sid: str | None = Field(default=None, pattern=r"^MG[0-9a-fA-F]{32}$")
    voice_from: str | None = Field(default=None, pattern=_NUMBER)
    """Number that calls come from."""
    voices: dict[str, Voice] = Field(default_factory=dict)
    """By locale, laid over the table of `otp_service.gateways.twilio.voice`."""
    whatsapp_from: str | None = Field(default=None, pattern=_NUMBER)
    """Number of the WhatsApp sender."""
    whatsapp_content_sid: str | None = Field(default=None, pattern=_CONTENT)
    """Approved template; without it the text is sent, which WhatsApp takes only within 24 hours of a user's own."""
    whatsapp_content_variables: dict[str, str] = Field(default={"1": "code"}, min_length=1)
    """Names of our variables by the template's."""
    whatsapp_payment_content_sid: str | None = Field(default=None, pattern=_CONTENT)
    """Approved template for payments, which has to show amount and payee."""
    whatsapp_payment_content_variables: dict[str, str] = Field(
        default={"1": "code", "2": "amount", "3": "payee"}, min_length=1
    )
    redact: bool = True
    """Have Twilio forget texts and numbers; needs Message Redaction to be enabled for the account."""
    base_url: str = Field(default="https://api.twilio.com", pattern=r"^https?://[^/@?#\\\s]+[^?#\\\s]*$")

    @property
    def sets_sender(self) -> bool:
        """Whether it is not a messaging service that chooses."""
        return self.messaging_service_sid is None

    @property
    def channels(self) -> frozenset[str]:
        """Those that have a sender."""
        senders = {
            "sms": self.from_ or self.messaging_service_sid,
            "voice": self.voice_from,
            "whatsapp": self.whatsapp_from,
        }
        return frozenset(channel for channel, sender in senders.items() if sender)

    @model_validator(mode="after")
    def _has_senders(self) -> Self:
        if self.from_ and self.messaging_service_sid:
            raise ValueError("has either from or messaging_service_sid")
        if not self.channels:
            raise ValueError("needs from, messaging_service_sid, voice_from or whatsapp_from")
        return self

    @model_validator(mode="after")
    def _templates_can_be_filled(self) -> Self:
        # Otherwise no message that is sent with them has a code, or each is refused.
        for member, needed, known in (
            ("whatsapp_content_variables", ("code",), _VARIABLES),
            ("whatsapp_payment_content_variables", ("code", "amount", "payee"), _VARIABLES | _OF_PAYMENTS),
        ):
            names = set(getattr(self, member).values())
            if not names.issuperset(needed):
                raise ValueError(f"{member} needs {', '.join(needed)}")
            if unknown := names - known:
                raise ValueError(f"{member} names {min(unknown)}; there are {', '.join(sorted(known))}")
        return self
