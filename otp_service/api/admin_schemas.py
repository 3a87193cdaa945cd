"""Bodies of the calls on applications and their keys."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue, StringConstraints

from otp_service.api.patterns import NAME
from otp_service.api.schemas import Body
from otp_service.domain.applications import MAX_NETWORKS
from otp_service.services.access import LONGEST_OVERLAP, OVERLAP
from otp_service.settings.sections import ApplicationSection

_SETTINGS: dict[str, JsonValue] = {"name": "Acme Club", "purposes": ["login"], "countries": ["PK"], "region": "PK"}
_KEY: dict[str, JsonValue] = {"scopes": ["verify"], "addresses": ["203.0.113.0/24"]}

Network = Annotated[str, StringConstraints(max_length=64)]


class ApplicationSettingsBody(Body):
    """What an application may do."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"settings": _SETTINGS}]})

    settings: ApplicationSection
    """Its section as in a configuration file, without `keys`. What is left out has its default, whatever it was."""


class NewApplicationBody(ApplicationSettingsBody):
    """A new application."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "club", "settings": _SETTINGS}]})

    name: Annotated[str, StringConstraints(pattern=NAME)]
    """Its name for good: whatever is recorded of it is recorded under this name, which no other can have later."""


class NewKeyBody(Body):
    """What a new key may be used for, and from where."""

    model_config = ConfigDict(json_schema_extra={"examples": [_KEY]})

    scopes: Annotated[list[Literal["verify", "consent", "subjects"]], Field(min_length=1, max_length=3)]
    """`verify`: verifications; `consent`: consents and suppressions; `subjects`: what is held of a number, its
    erasure, and its freeze."""
    addresses: Annotated[list[Network], Field(max_length=MAX_NETWORKS)] = Field(default_factory=list)
    """Addresses and networks that it may be used from, such as `192.0.2.7` or `2001:db8::/48`. Default: anywhere."""


class RotationBody(Body):
    """How long the old key goes on; may be left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap": 3600}]})

    overlap: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP)] = OVERLAP
    """Seconds, at most 90 days; 0 ends it at once. Default: a day."""


class RevocationBody(Body):
    """Nothing; may be left out."""
