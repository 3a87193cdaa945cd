"""SNS: the members of its section in the configuration."""

from decimal import Decimal
from typing import Self

from pydantic import Field, SecretStr, model_validator

from otp_service.gateways.base import GatewaySettings


class SnsSettings(GatewaySettings):
    """An account, its region, and what India and senders need."""

    region: str = Field(pattern=r"^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$")
    access_key_id: str | None = Field(default=None, min_length=1)
    """Without keys here, those of the SDK's default chain: environment, profile, role of the container or host."""
    secret_access_key: SecretStr | None = Field(default=None, min_length=1)
    sender_id: str | None = Field(default=None, max_length=11, pattern=r"^[A-Za-z0-9-]*[A-Za-z][A-Za-z0-9-]*$")
    origination_number: str | None = Field(default=None, pattern=r"^\+?[0-9]{3,15}$")
    entity_id: str | None = Field(default=None, pattern=r"^[0-9]{1,50}$")
    """Of the sender at the Indian regulator."""
    template_id: str | None = Field(default=None, pattern=r"^[0-9]{1,50}$")
    """Of the text at the Indian regulator."""
    max_price: Decimal | None = Field(default=None, gt=0, le=10)
    """US dollars for one message: SNS drops a dearer one."""
    base_url: str | None = Field(default=None, pattern=r"^https?://[^/@?#\\\s]+[^?#\\\s]*$")
    """Default: the region's own."""

    @property
    def sets_sender(self) -> bool:
        """Whether no number of the account is who messages come from."""
        return self.origination_number is None

    @model_validator(mode="after")
    def _has_both_keys(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("needs both access_key_id and secret_access_key, or neither")
        return self

    def message_attributes(self, sender: str | None) -> dict[str, dict[str, str]]:
        """Return what is said of a message beside its text, as the API wants it; it may have a sender of its own."""
        price = None if self.max_price is None else f"{self.max_price:f}"
        values = {
            "AWS.SNS.SMS.SMSType": ("String", "Transactional"),
            "AWS.SNS.SMS.SenderID": ("String", sender or self.sender_id),
            "AWS.SNS.SMS.MaxPrice": ("Number", price),
            "AWS.MM.SMS.OriginationNumber": ("String", self.origination_number),
            "AWS.MM.SMS.EntityId": ("String", self.entity_id),
            "AWS.MM.SMS.TemplateId": ("String", self.template_id),
        }
        return {name: {"DataType": kind, "StringValue": value} for name, (kind, value) in values.items() if value}
