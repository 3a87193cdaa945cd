"""From configuration file and environment to settings that may be started with.

A file (TOML, or JSON by its suffix) comes first, ``OTP_SERVICE__SECTION__KEY`` wins over it, and each variable
has a ``…_FILE`` form that names a file with its value. Plain pydantic over one merged table, rather than
pydantic-settings: that has no ``_FILE`` form, and passes over a misspelt section in silence.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from otp_service.errors import ConfigurationError, StartRefusedError
from otp_service.settings.consistency import inconsistencies
from otp_service.settings.faults import fault_lines
from otp_service.settings.profiles import require_one_profile, with_profile
from otp_service.settings.refusals import refusals
from otp_service.settings.samples import holds_secrets
from otp_service.settings.sources import merged, read_environment, read_file, secret_files
from otp_service.settings.tree import Settings

CONFIG_VARIABLE = "OTP_SERVICE_CONFIG"


def load_settings(
    path: Path | None = None, environ: Mapping[str, str] | None = None, *, to_start: bool = True
) -> Settings:
    """Return the settings of a file (default: the one that ``OTP_SERVICE_CONFIG`` names) and the environment.

    What refuses a start, such as a missing key, is passed over unless they are read ``to_start``.
    Raises `ConfigurationError` with one line a fault, each with its path; where there is none, `StartRefusedError` with
    one line a refusal. No line shows a value of a secret.
    """
    variables = os.environ if environ is None else environ
    named = variables.get(CONFIG_VARIABLE)
    source = path or (Path(named) if named else None)
    table = read_file(source) if source else {}
    environment = read_environment(variables)
    require_one_profile(table, environment)
    settings = _valid(merged(table, environment))
    files = {source: holds_secrets(settings, table)} if source else {}
    return _judged(settings.read_from(files | dict.fromkeys(secret_files(variables), True)), to_start=to_start)


def settings_from(table: Mapping[str, Any], *, to_start: bool = True) -> Settings:
    """Return the settings of a table in the form of the file; raise `ConfigurationError` like `load_settings`."""
    return _judged(_valid(table), to_start=to_start)


def _valid(table: Mapping[str, Any]) -> Settings:
    try:
        settings = Settings.model_validate(with_profile(table))
    except ValidationError as invalid:
        raise ConfigurationError("\n".join(fault_lines(invalid, Settings))) from None
    if faults := inconsistencies(settings):
        raise ConfigurationError("\n".join(faults))
    return settings


def _judged(settings: Settings, *, to_start: bool) -> Settings:
    if to_start and (reasons := refusals(settings)):
        raise StartRefusedError(*reasons)
    return settings
