"""Extensions: parts of a service that installed packages bring, beside commands, dialects, gateways and policies."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otp_service.plugins import load_plugins

if TYPE_CHECKING:  # readers of an extension are in layers above
    from otp_service.store.keys import Key

EXTENSIONS: Final = "otp_service.extensions"
"""Group of the entry points of `Extension`."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Extension:
    """What a package brings beside its commands. An entry point of the group `EXTENSIONS` names it."""

    name: str
    """The name of its entry point."""
    keys: tuple["Key", ...] = ()
    """Its keys in Redis."""


def load_extensions() -> tuple[Extension, ...]:
    """Return the installed extensions; raise `ConfigurationError` for one that cannot be used."""
    return load_plugins(EXTENSIONS, "extension", Extension)
