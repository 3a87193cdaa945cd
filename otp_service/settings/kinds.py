"""Sections whose ``kind`` decides their members: each is checked by the settings model of its kind."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from otp_service.errors import ConfigurationError
from otp_service.gateways.base import Kinds
from otp_service.settings.faults import FAULTS, SettingFault, faults_of, sentence_of


def of_its_kind(kinds: Kinds) -> Callable[[Any], Any]:
    """Return what reads a section: it gives ``kind`` and ``settings``, or raises an error of the type `FAULTS`."""

    def read(members: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        if not isinstance(members, Mapping):
            return members
        own = dict(members)
        kind = own.pop("kind", None)
        if not isinstance(kind, str):
            raise _refused(kinds, [(("kind",), f"is one of {', '.join(kinds.names())}.")])
        return {"kind": kind, "settings": _own_settings(kinds, kind, own)}

    return read


def _own_settings(kinds: Kinds, kind: str, own: dict[str, Any]) -> BaseModel:
    try:
        model: type[BaseModel] = kinds.find(kind).Settings  # type: ignore[attr-defined] # one of the members it has
        return model.model_validate(own)
    except ConfigurationError as unusable:
        raise _refused(kinds, [(("kind",), sentence_of(str(unusable)))]) from None
    except ValidationError as invalid:
        raise _refused(kinds, list(faults_of(invalid, model))) from None


def _refused(kinds: Kinds, faults: list[SettingFault]) -> PydanticCustomError:
    # A ValidationError inside a validator would become one error, and its text shows what was given.
    return PydanticCustomError(FAULTS, f"is not a {kinds.word}", {"faults": faults})
