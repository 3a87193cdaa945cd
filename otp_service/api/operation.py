"""What a call is: method, path, bodies, answers, problems."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from otp_service.api import schemas
from otp_service.api.exchange import JSON

Headers = Mapping[str, str]
Schema = Mapping[str, Any]

COMMON = ("invalid-request", "unauthenticated", "forbidden", "internal", "store-unavailable", "overloaded")
"""Codes of errors that every call with an API key may end with."""
BODY = ("body-too-large", "unsupported-media-type")
"""Those of every call with a body."""


@dataclass(frozen=True, slots=True)
class Success:
    """The answer when all is well."""

    status: int
    description: str
    answer: TypeAdapter[Any] | None = None
    """What the body is written with; ``None`` when it is not JSON."""
    media_type: str | None = JSON
    """``None`` when there is no body."""
    headers: Headers | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call."""

    name: str
    """``operationId``."""
    method: str
    path: str
    """As a URI template."""
    section: str
    summary: str
    description: str
    successes: tuple[Success, ...]
    problems: tuple[str, ...] = ()
    """Codes of errors."""
    parameters: tuple[Schema, ...] = ()
    body: type[schemas.Body] | None = None
    body_required: bool = False
    any_body: bool = False
    """Takes a body of any type."""
    authenticated: bool = True


def in_path(name: str, description: str, example: str) -> Schema:
    """Return a parameter of a path."""
    about = {"description": description, "schema": {"type": "string"}, "example": example}
    return {"name": name, "in": "path", "required": True, **about}
