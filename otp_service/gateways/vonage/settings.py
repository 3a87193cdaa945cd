"""Vonage: the members of its section in the configuration."""

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from otp_service.gateways.base import GatewaySettings

SignatureMethod = Literal["md5hash", "md5", "sha1", "sha256", "sha512"]


class VonageSettings(GatewaySettings):
    """An account, who its messages come from, and how its receipts prove that they are Vonage's."""

    api_key: str = Field(min_length=1)
    api_secret: SecretStr = Field(min_length=1)
    from_: str = Field(alias="from", min_length=1, max_length=15)
    """Number (without plus) or name of the sender."""
    signature_secret: SecretStr | None = Field(default=None, min_length=1)
    """Of the account, where Vonage signs what it sends us; either this or ``receipt_secret``, or no receipts."""
    signature_method: SignatureMethod = "sha256"
    """As the account is configured: ``md5hash`` is a hash, the others are HMAC."""
    receipt_secret: SecretStr | None = Field(default=None, min_length=16)
    """Of our own making: with it our addresses have a token, where Vonage does not sign."""
    base_url: str = Field(default="https://rest.nexmo.com", pattern=r"^https?://[^/@?#\\\s]+[^?#\\\s]*$")

    @property
    def sets_sender(self) -> bool:
        """Whether a message can name its sender: each can."""
        return True

    @property
    def takes_receipts(self) -> bool:
        """Whether a receipt could prove that it is Vonage's."""
        return self.signature_secret is not None or self.receipt_secret is not None

    @property
    def takes_messages(self) -> bool:
        """Whether an inbound message could prove that it is Vonage's: in the same ways."""
        return self.takes_receipts

    @model_validator(mode="after")
    def _has_one_proof(self) -> Self:
        if self.signature_secret is not None and self.receipt_secret is not None:
            raise ValueError("has either signature_secret or receipt_secret")
        return self
