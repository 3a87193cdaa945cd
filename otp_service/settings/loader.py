"""Read settings from files and environment, with profiles; reload them."""

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr, ValidationError

from otp_service.errors import ConfigurationError, StartRefusedError
from otp_service.settings.settings import Settings, settings_class
from otp_service.settings.sources import Table, fault_lines, merge, read_environment, read_file, secret_files
from otp_service.settings.startup_checks import contradictions, holds_secrets, start_refusals
from otp_service.settings.urls import place_of

# A profile is a file of settings, built-in or an operator's. It applies as a whole: a configuration that contradicts it
# is refused. It contains only a country's requirements: a file from elsewhere must not decide how an installation runs,
# what is safe, or which secrets it has.

_SUFFIX: Final = ".toml"
_BUILT_IN: Final = files("otp_service") / "profiles"
_MEMBERS: Final = ("residency", "countries")
"""Members that a profile may set."""


def with_profile(table: Mapping[str, Any]) -> Table:
    """Return a table merged with its profile; raise `ConfigurationError` for each setting that contradicts it."""
    if "profile" not in table:
        return dict(table)
    name = table["profile"]
    if not isinstance(name, str):
        raise ConfigurationError("profile: must be the name of a profile, or the path of a file.")
    if not name:
        raise ConfigurationError("profile: is empty: name a profile, or remove the line.")
    profile = _table(name)
    if faults := list(_unfit(name, profile)) or list(_contradictions(name, profile, table)):
        raise ConfigurationError("\n".join(faults))
    return merge(profile, table)


def _table(name: str) -> Table:
    if "/" in name:
        return read_file(Path(name))
    known = sorted(file.name.removesuffix(_SUFFIX) for file in _BUILT_IN.iterdir() if file.name.endswith(_SUFFIX))
    if name not in known:
        raise ConfigurationError(
            f"profile: there is no profile {name!r}; there are: {', '.join(known)}. The path of a file has a / in it."
        )
    return tomllib.loads((_BUILT_IN / f"{name}{_SUFFIX}").read_text(encoding="utf-8"))


def _unfit(name: str, profile: Mapping[str, Any]) -> Iterator[str]:
    if not profile:
        yield f"profile: {name} is empty: name another, or remove the line."
    for member in profile:
        if member not in _MEMBERS:
            yield f"profile: {name} sets {member}, but may set {' and '.join(_MEMBERS)} only: remove it."
    for fault in _repeated(profile):
        yield f"profile: {name} has {fault}"


def _repeated(table: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, value in table.items():
        spellings = _spellings(table, name)
        if len(spellings) > 1 and name == spellings[0]:
            yield _twice(f"{path}{name}", spellings)
        if isinstance(value, Mapping):
            yield from _repeated(value, f"{path}{name}.")


def _contradictions(name: str, profile: Mapping[str, Any], table: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for member, value in profile.items():
        member_path, spellings = f"{path}{member}", _spellings(table, member)
        if len(spellings) > 1:
            yield _twice(member_path, spellings)
            continue
        for setting in (table[spelling] for spelling in spellings):
            if isinstance(value, Mapping) and isinstance(setting, Mapping):
                yield from _contradictions(name, value, setting, f"{member_path}.")
            elif setting != value:
                yield f"{member_path}: contradicts the profile {name}: remove it."


def _spellings(table: Mapping[str, Any], name: str) -> list[str]:
    """Return the spellings of a name in a table, in any case: any of several could win."""
    return [spelling for spelling in table if spelling.lower() == name.lower()]


def _twice(path: str, spellings: list[str]) -> str:
    return f"{path}: is set as {' and as '.join(spellings)}: keep a single spelling."


# ``OTP_SERVICE__SECTION__KEY`` wins over the file (TOML, or JSON by its suffix). Each variable has a ``…_FILE`` form
# that names a file with its value. Plain pydantic over a merged table, because pydantic-settings has no ``_FILE`` form
# and silently ignores a misspelt section.

CONFIG_VARIABLE = "OTP_SERVICE_CONFIG"


def load_settings(
    path: Path | None = None, environ: Mapping[str, str] | None = None, *, to_start: bool = True, root_keys: bool = True
) -> Settings:
    """Return the settings of a file and the environment; raise `ConfigurationError` with a line for each fault.

    ``to_start``: raise `StartRefusedError` for what refuses a start, such as missing keys. No line shows a secret.
    """
    variables = os.environ if environ is None else environ
    variable = variables.get(CONFIG_VARIABLE)
    source = path or (Path(variable) if variable else None)
    table = read_file(source) if source else {}
    environment = read_environment(variables)
    if "profile" in table and environment.get("profile", table["profile"]) != table["profile"]:
        raise ConfigurationError("profile: the file and OTP_SERVICE__PROFILE name different profiles: remove either.")
    settings = _valid(merge(table, environment))
    files = {source: holds_secrets(settings, table)} if source else {}
    settings.note_files(files | dict.fromkeys(secret_files(variables), True))
    if to_start and (refusals := start_refusals(settings, root_keys=root_keys)):
        raise StartRefusedError(*refusals)
    return settings


def settings_from(table: Mapping[str, Any], *, to_start: bool = True) -> Settings:
    """Return the settings of a table in the form of the file; raise as `load_settings`."""
    settings = _valid(table)
    if to_start and (refusals := start_refusals(settings)):
        raise StartRefusedError(*refusals)
    return settings


def _valid(table: Mapping[str, Any]) -> Settings:
    try:
        settings = settings_class().model_validate(with_profile(table))
    except ValidationError as invalid:
        raise ConfigurationError("\n".join(fault_lines(invalid, settings_class()))) from None
    if faults := contradictions(settings):
        raise ConfigurationError("\n".join(faults))
    return settings


SERVER_URLS = ("redis.url", "ledger.url")
"""Fixed while a process runs: processes reload in turn, and with two servers at once would miss each other's records.
User and password may change."""


def keep_fixed(present: Settings, fresh: Settings, fixed: Iterable[str]) -> tuple[Settings, tuple[str, ...]]:
    """Return fresh settings with the present values of ``fixed``, and the names of those that had changed."""
    changed = []
    for name in fixed:
        section, member = name.split(".")
        value = getattr(getattr(present, section), member)
        if _compared(value) != _compared(getattr(getattr(fresh, section), member)):
            part = getattr(fresh, section).model_copy(update={member: value})
            fresh = fresh.model_copy(update={section: part})
            changed.append(name)
    return fresh, tuple(changed)


def _compared(value: object) -> object:
    """Return the part of a value that must not change: of a URL, its place."""
    return place_of(value.get_secret_value()) if isinstance(value, SecretStr) else value
