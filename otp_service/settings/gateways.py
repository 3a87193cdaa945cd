"""The gateways' section: each member is checked by the settings model of its kind."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, SerializeAsAny, ValidationError
from pydantic_core import PydanticCustomError

from otp_service.core.errors import ConfigurationError
from otp_service.gateways import registry
from otp_service.gateways.base import Gateway, GatewaySettings

FAULTS = "gateway_faults"
"""Type of the error that carries the faults of a gateway's own model, with their paths."""

SettingFault = tuple[tuple[int | str, ...], str]
"""Where in the section, and what."""


class ConfiguredGateway(BaseModel):
    """One gateway under its name: the class that its kind means, and the settings of that class."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: str
    settings: SerializeAsAny[GatewaySettings]

    @property
    def gateway_class(self) -> type[Gateway]:
        """The class that sends."""
        return registry.gateway_kind(self.kind)

    @property
    def channels(self) -> frozenset[str]:
        """What it carries: as its settings say, where the kind leaves that to them."""
        return frozenset(getattr(self.settings, "channels", self.gateway_class.channels))


def _of_its_kind(members: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    if not isinstance(members, Mapping):
        return members
    own = dict(members)
    kind = own.pop("kind", None)
    if not isinstance(kind, str):
        raise _refused([(("kind",), f"is one of {', '.join(registry.known_kinds())}")])
    return {"kind": kind, "settings": _own_settings(kind, own)}


def _own_settings(kind: str, own: dict[str, Any]) -> GatewaySettings:
    try:
        return registry.gateway_kind(kind).Settings.model_validate(own)
    except ConfigurationError as unusable:
        raise _refused([(("kind",), str(unusable))]) from None
    except ValidationError as invalid:
        errors = invalid.errors(include_input=False, include_url=False)
        raise _refused([(error["loc"], error["msg"]) for error in errors]) from None


def _refused(faults: list[SettingFault]) -> PydanticCustomError:
    # A ValidationError inside a validator would become one error, and its text shows what was given.
    return PydanticCustomError(FAULTS, "is not a gateway", {"faults": faults})


GatewayEntry = Annotated[ConfiguredGateway, BeforeValidator(_of_its_kind)]
