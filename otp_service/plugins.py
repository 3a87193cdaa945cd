"""Plug-ins of installed packages: found by entry points, imported by name."""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, Final, Generic, TypeVar

from otp_service.errors import ConfigurationError

DIALECTS: Final = "otp_service.dialects"
"""Group of the entry points of `api.dialects.Dialect`."""


@cache
def installed_entry_points(group: str) -> EntryPoints:
    """Return the entry points of a group; cached, since finding them reads a file of every package."""
    return entry_points(group=group)


def forget_installed_entry_points() -> None:
    """Clear the cache after an installation of packages."""
    installed_entry_points.cache_clear()


Kind = TypeVar("Kind")


@dataclass(frozen=True, slots=True)
class PluginKinds(Generic[Kind]):
    """The classes that an entry point group names. The ``kind`` of each is its entry point's name."""

    group: str
    noun: str
    """Their name in errors: *gateway*."""
    required: tuple[str, ...]
    """Members that each class must have."""

    def names(self) -> list[str]:
        """Return the names of all kinds, without importing any."""
        return installed_names(self.group)

    def find(self, name: str) -> type[Kind]:
        """Import and return the class of a kind.

        Raises `ConfigurationError` if no package has the kind, two packages claim it, or it cannot be imported.
        """
        if name not in self.names():
            known = ", ".join(self.names())
            raise ConfigurationError(f"There is no {self.noun} of kind {name!r}; there are: {known}.")
        entry = _entry_point(self.group, name, f"{self.noun} of kind")
        plugin = _imported(entry, f"{self.noun} of kind")
        lacking = [member for member in self.required if not hasattr(plugin, member)]
        if not isinstance(plugin, type) or lacking:
            fault = f"lacks {', '.join(lacking)}" if lacking else "is not a class"
            raise ConfigurationError(f"{entry.value} is not a {self.noun}: it {fault}.")
        kind = getattr(plugin, "kind", None)
        if kind != entry.name:
            raise ConfigurationError(f"{entry.value} has the kind {kind!r}, but its entry point is {entry.name!r}.")
        return plugin


def installed_names(group: str) -> list[str]:
    """Return the names of a group's entry points, without importing any."""
    return sorted({entry.name for entry in installed_entry_points(group) if entry.group == group})


Plugin = TypeVar("Plugin")


def load_plugins(group: str, noun: str, plugin_type: type[Plugin]) -> tuple[Plugin, ...]:
    """Import and return the objects that a group of entry points names, in the order of their names.

    Raises `ConfigurationError` if one is of another type, two packages claim a name, or one cannot be imported.
    """
    return tuple(load_plugin(group, name, noun, plugin_type) for name in installed_names(group))


def load_plugin(group: str, name: str, noun: str, plugin_type: type[Plugin]) -> Plugin:
    """Import and return the object of an installed entry point; raise as `load_plugins`."""
    entry = _entry_point(group, name, noun)
    plugin = _imported(entry, noun)
    if not isinstance(plugin, plugin_type):
        raise ConfigurationError(f"{entry.value} is not a {noun}: it is no {plugin_type.__name__}.")
    return plugin


def _entry_point(group: str, name: str, noun: str) -> EntryPoint:
    named = (entry for entry in installed_entry_points(group) if (entry.group, entry.name) == (group, name))
    claims = {entry.value: entry for entry in named}
    if len(claims) > 1:
        packages = ", ".join(sorted(claims))
        raise ConfigurationError(f"More than one package brings a {noun} {name!r}: {packages}.")
    (entry,) = claims.values()
    return entry


def _imported(entry: EntryPoint, noun: str) -> Any:  # noqa: ANN401 - anything that the package names
    subject = f"The {noun} {entry.name!r}"
    try:
        return entry.load()
    except ModuleNotFoundError as missing:
        raise ConfigurationError(f"{subject} needs the package {missing.name!r}, which is not installed.") from missing
    except (ImportError, AttributeError) as broken:
        raise ConfigurationError(f"{subject} ({entry.value}) cannot be imported.") from broken
