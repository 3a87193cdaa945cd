"""CAMARA SIM Swap: the members of its section in the configuration."""

from enum import StrEnum
from typing import Self

from pydantic import Field, SecretStr, model_validator

from otp_service.domain.verification import Channel
from otp_service.policies.base import PolicySettings

_URL = r"^https?://[^/@?#\\\s]+[^?#\\\s]*$"


class Swapped(StrEnum):
    """What becomes of a message to a SIM that is new."""

    DENY = "deny"
    ANOTHER_CHANNEL = "another_channel"
    """Neither SMS nor a call, which both go to the new SIM."""


class CamaraSimSwapSettings(PolicySettings):
    """An operator's API, or an aggregator's, how we prove who we are, and what a new SIM means."""

    channels: tuple[Channel, ...] = (Channel.SMS, Channel.VOICE)
    base_url: str = Field(pattern=_URL)
    """As the operator gives it, version included; ``/check`` is added."""
    max_age: int = Field(default=240, ge=1, le=2400)
    """Hours: a SIM that was changed within them is new. Operators may allow less than the 2400 of the standard."""
    swapped: Swapped = Swapped.DENY
    """What becomes of a message to a new SIM: ``deny`` or ``another_channel``."""
    token: SecretStr | None = Field(default=None, min_length=1)
    """A bearer token that does not end; either this, or the three that fetch one by OAuth 2.0."""
    token_url: str | None = Field(default=None, pattern=_URL)
    client_id: str | None = Field(default=None, min_length=1)
    client_secret: SecretStr | None = Field(default=None, min_length=1)
    scope: str = Field(default="sim-swap:check", max_length=200)
    """What tokens are asked for; operators may want a purpose in front (``dpv:…``). Empty: none is named."""

    @model_validator(mode="after")
    def _has_one_proof(self) -> Self:
        client = (self.token_url, self.client_id, self.client_secret)
        if self.token is not None and any(client):
            raise ValueError("has either token, or token_url with client_id and client_secret")
        if self.token is None and not all(client):
            raise ValueError("needs token, or token_url with client_id and client_secret")
        return self
