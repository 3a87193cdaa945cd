"""Profiles: what a country asks for, switched on by one line: ``profile``.

A profile is a file of settings, of ours or of an operator. What it says is in force as a whole: a configuration that
says otherwise contradicts it, and is refused. It holds what a country asks and nothing else: a file that somebody else
wrote does not decide how an installation runs, what it takes for safe, or which secrets it has.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from otp_service.errors import ConfigurationError
from otp_service.settings.sources import Table, merged, read_file

_SUFFIX: Final = ".toml"
_OURS: Final = files("otp_service") / "profiles"
_MEMBERS: Final = ("residency", "countries")
"""What a profile may set."""
_MEMBER: Final = "profile"


def require_one_profile(file: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
    """Raise `ConfigurationError` when the environment names another profile than the file.

    A variable wins over the file elsewhere; here it would switch off what a country asks, and nobody would see it.
    """
    if _MEMBER in file and environment.get(_MEMBER, file[_MEMBER]) != file[_MEMBER]:
        raise ConfigurationError("profile: the file names one, and OTP_SERVICE__PROFILE another: keep one of them.")


def with_profile(table: Mapping[str, Any]) -> Table:
    """Return a table of settings with those of the profile that it names, if any.

    Raises `ConfigurationError` for a profile that is not there, malformed, or sets more than one may, and with one line
    for each setting that says something else than the profile does.
    """
    if _MEMBER not in table:
        return dict(table)
    name = table[_MEMBER]
    if not isinstance(name, str):
        raise ConfigurationError("profile: is not the name of a profile, or the path of a file.")
    if not name:
        raise ConfigurationError("profile: is empty: name one, or leave the line out.")
    profile = _table(name)
    _refuse(_unfit(name, profile))
    _refuse(_contradictions(name, profile, table))
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


def _refuse(faults: Iterable[str]) -> None:
    if lines := list(faults):
        raise ConfigurationError("\n".join(lines))


def _unfit(name: str, profile: Mapping[str, Any]) -> Iterator[str]:
    """Yield what keeps a profile from being one."""
    if not profile:
        yield f"profile: {name} says nothing: name another, or leave the line out."
    for member in profile:
        if member not in _MEMBERS:
            yield f"profile: {name} sets {member}, but may set {' and '.join(_MEMBERS)} only: take it out of there."
    for fault in _repeated(profile):
        yield f"profile: {name} has {fault}"


def _repeated(table: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield the names that a table, or one in it, has in more than one spelling."""
    for name, value in table.items():
        spellings = _spellings(table, name)
        if len(spellings) > 1 and name == spellings[0]:
            yield _twice(f"{path}{name}", spellings)
        if isinstance(value, Mapping):
            yield from _repeated(value, f"{path}{name}.")


def _contradictions(name: str, profile: Mapping[str, Any], table: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield what a table says otherwise than a profile, or in more than one spelling."""
    for member, value in profile.items():
        here, spellings = f"{path}{member}", _spellings(table, member)
        if len(spellings) > 1:
            yield _twice(here, spellings)
            continue
        for given in (table[one] for one in spellings):
            if isinstance(value, Mapping) and isinstance(given, Mapping):
                yield from _contradictions(name, value, given, f"{here}.")
            elif given != value:
                yield f"{here}: the profile {name} says otherwise: leave it out."


def _spellings(table: Mapping[str, Any], name: str) -> list[str]:
    """Return how a table has a name, whatever its case: one of several would win, and nobody would know which."""
    return [one for one in table if one.lower() == name.lower()]


def _twice(path: str, spellings: list[str]) -> str:
    return f"{path}: is given as {' and as '.join(spellings)}: keep one."
