"""Gateways and policies that installed packages bring: found by entry points, imported by name."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points

from otp_service.errors import ConfigurationError


@cache
def installed_entry_points(group: str) -> EntryPoints:
    """Return the entry points of a group. Cached: finding them reads a file of every package."""
    return entry_points(group=group)


def forget_installed_entry_points() -> None:
    """Clear the cache, so that packages installed since are found."""
    installed_entry_points.cache_clear()


@dataclass(frozen=True, slots=True)
class PluginKinds:
    """The classes that an entry point group names. The ``kind`` of each is its entry point's name."""

    group: str
    noun: str
    """What one is called in errors: *gateway*."""
    required: tuple[str, ...]
    """Members that each class must have."""

    def names(self) -> list[str]:
        """Return the names of all kinds, without importing any."""
        return sorted({entry.name for entry in installed_entry_points(self.group)})

    def find(self, name: str) -> type:
        """Import and return the class of a kind.

        Raises `ConfigurationError` when there is no such kind, two packages claim it, or it cannot be imported.
        """
        claims = {entry.value: entry for entry in installed_entry_points(self.group) if entry.name == name}
        if not claims:
            known = ", ".join(self.names())
            raise ConfigurationError(f"There is no {self.noun} of kind {name!r}; there are: {known}.")
        if len(claims) > 1:
            packages = ", ".join(sorted(claims))
            raise ConfigurationError(f"More than one package brings a {self.noun} of kind {name!r}: {packages}.")
        (entry,) = claims.values()
        return self._checked(entry, self._imported(entry))

    def _imported(self, entry: EntryPoint) -> object:
        what = f"The {self.noun} of kind {entry.name!r}"
        try:
            return entry.load()
        except ModuleNotFoundError as missing:
            raise ConfigurationError(f"{what} needs the package {missing.name!r}, which is not installed.") from missing
        except (ImportError, AttributeError) as broken:
            raise ConfigurationError(f"{what} ({entry.value}) cannot be imported.") from broken

    def _checked(self, entry: EntryPoint, found: object) -> type:
        lacking = _missing_members(found, self.required)
        if not isinstance(found, type) or lacking:
            what = f"lacks {', '.join(lacking)}" if lacking else "is not a class"
            raise ConfigurationError(f"{entry.value} is not a {self.noun}: it {what}.")
        kind = getattr(found, "kind", None)
        if kind != entry.name:
            raise ConfigurationError(f"{entry.value} says it is of kind {kind!r}, its entry point {entry.name!r}.")
        return found


def _missing_members(found: object, members: Iterable[str]) -> list[str]:
    return [member for member in members if not hasattr(found, member)]
