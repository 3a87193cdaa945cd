"""Extensions: parts of installed packages beside commands, dialects, gateways and policies."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from otp_service.plugins import load_plugins

if TYPE_CHECKING:  # in layers above
    from otp_service.cli.checks import Diagnosis
    from otp_service.settings import Settings
    from otp_service.store.keys import Key

EXTENSIONS: Final = "otp_service.extensions"
"""Group of the entry points of `Extension`."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class DevProcess:
    """A server that ``otp-service dev`` runs beside the service, by the command with the extension's name.

    Its section of the settings has ``host`` and ``port``.
    """

    members: Callable[["Settings"], Mapping[str, Any]]
    """Returns the members of its section for this run, without the port."""
    guide: Callable[[Mapping[str, Any]], str]
    """Takes those members and the port; returns a line to print, empty for none."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Extension:
    """The parts of a package beside its commands. An entry point of the group `EXTENSIONS` names it."""

    name: str
    """The name of its entry point."""
    settings: type[BaseModel] | None = None
    """Its section of the settings, with a default for each member; the section has its name."""
    keys: tuple["Key", ...] = ()
    """Its keys in Redis."""
    checks: Callable[["Settings"], Iterable["Diagnosis"]] | None = None
    """Returns diagnoses of the settings, for ``otp-service doctor``."""
    dev_process: DevProcess | None = None


def load_extensions() -> tuple[Extension, ...]:
    """Return the installed extensions; raise `ConfigurationError` for one that cannot be used."""
    return load_plugins(EXTENSIONS, "extension", Extension)
