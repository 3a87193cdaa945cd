"""Dialects: other forms of the HTTP API over the same use cases, each below a path of its own."""

from collections.abc import Callable
from dataclasses import dataclass

from otp_service.api.routes import Answer, Resource
from otp_service.errors import Fault
from otp_service.plugins import DIALECTS, load_plugins


@dataclass(frozen=True, eq=False, slots=True)
class Dialect:
    """Another form of the HTTP API. An entry point of the group `DIALECTS` names it."""

    name: str
    """The name of its entry point, which ``dialects`` of an application lists."""
    prefix: str
    """Start of its paths, with a slash at both ends: ``/twilio/``."""
    resources: tuple[Resource, ...]
    authenticate: Callable[[str], str]
    """Takes the header ``Authorization``; returns the API key, empty for none."""
    challenge: str
    """``WWW-Authenticate`` of an answer with status 401."""
    error: Callable[[str, tuple[Fault, ...]], Answer]
    """Takes the code of a problem and the defects of the request; returns the answer."""


def load_dialects() -> tuple[Dialect, ...]:
    """Return the installed dialects; raise `ConfigurationError` for one that cannot be used."""
    return load_plugins(DIALECTS, "dialect", Dialect)
