"""The policies' section: each member is checked by the settings model of its kind."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, SerializeAsAny

from otp_service.policies.base import POLICY_KINDS, Policy, PolicySettings, policy_kind
from otp_service.settings.kinds import of_its_kind


class ConfiguredPolicy(BaseModel):
    """One policy under its name: the class that its kind means, and the settings of that class."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: str
    settings: SerializeAsAny[PolicySettings]

    @property
    def policy_class(self) -> type[Policy]:
        """The class that answers."""
        return policy_kind(self.kind)


PolicyEntry = Annotated[ConfiguredPolicy, BeforeValidator(of_its_kind(POLICY_KINDS))]
