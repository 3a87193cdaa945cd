"""The gateways' section: each member is checked by the settings model of its kind."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, SerializeAsAny

from otp_service.gateways.base import GATEWAY_KINDS, Gateway, GatewaySettings, gateway_kind
from otp_service.settings.kinds import of_its_kind


class ConfiguredGateway(BaseModel):
    """One gateway under its name: the class that its kind means, and the settings of that class."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: str
    settings: SerializeAsAny[GatewaySettings]

    @property
    def gateway_class(self) -> type[Gateway]:
        """The class that sends."""
        return gateway_kind(self.kind)

    @property
    def channels(self) -> frozenset[str]:
        """What it carries: as its settings say, where the kind leaves that to them."""
        return frozenset(getattr(self.settings, "channels", self.gateway_class.channels))


GatewayEntry = Annotated[ConfiguredGateway, BeforeValidator(of_its_kind(GATEWAY_KINDS))]
