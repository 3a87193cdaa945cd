"""Profiles: settings that belong together, such as what a country asks for, switched on by one line: ``profile``.

A profile is a file of settings, of ours or of an operator. What it says is in force as a whole: a configuration that
says otherwise contradicts it, and is refused.
"""

import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from otp_service.core.errors import ConfigurationError
from otp_service.settings.sources import Table, merged, read_file

_SUFFIX: Final = ".toml"
_OURS: Final = files("otp_service") / "profiles"


def with_profile(table: Mapping[str, Any]) -> Table:
    """Return a table of settings with those of the profile that it names, if any.

    Raises `ConfigurationError` for a profile that is not there or malformed, and with one line for each setting that
    says something else than the profile does.
    """
    name = table.get("profile")
    if not name:
        return dict(table)
    if not isinstance(name, str):
        raise ConfigurationError("profile: is not the name of a profile, or the path of a file.")
    profile = _table(name)
    if contradictions := list(_contradictions(profile, table)):
        reasons = (f"{path}: the profile {name} says otherwise: leave it out." for path in contradictions)
        raise ConfigurationError("\n".join(reasons))
    return merged(profile, table)


def _table(name: str) -> Table:
    if "/" in name:
        return read_file(Path(name))
    known = sorted(file.name.removesuffix(_SUFFIX) for file in _OURS.iterdir() if file.name.endswith(_SUFFIX))
    if name not in known:
        raise ConfigurationError(
            f"profile: there is no profile {name!r}; there are: {', '.join(known)}. The path of a file has a / in it."
        )
    return tomllib.loads((_OURS / f"{name}{_SUFFIX}").read_text(encoding="utf-8"))


def _contradictions(profile: Mapping[str, Any], table: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield the paths at which a table has another value than a profile; names are matched whatever their case."""
    own = {name.lower(): value for name, value in table.items()}
    for name, value in profile.items():
        if name.lower() not in own:
            continue
        given, here = own[name.lower()], f"{path}.{name}".lstrip(".")
        if isinstance(value, Mapping) and isinstance(given, Mapping):
            yield from _contradictions(value, given, here)
        elif given != value:
            yield here
