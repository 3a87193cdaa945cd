"""Options that several commands share, and what they mean."""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from otp_service.domain.applications import Application
from otp_service.domain.numbers import Destination, parse_destination
from otp_service.domain.verification import Channel
from otp_service.errors import ConfigurationError, InvalidNumberError
from otp_service.settings import Settings, load_settings
from otp_service.settings.loader import CONFIG_VARIABLE

Command = Callable[..., Any]

DAY = click.DateTime(["%Y-%m-%d"])
CHANNELS = click.Choice([channel.value for channel in Channel])

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def config_option(command: Command) -> Command:
    """Add ``--config``."""
    return click.option(
        "--config", "path", type=_FILE, help=f"Configuration file; default: the one that {CONFIG_VARIABLE} names."
    )(command)


def region_option(command: Command) -> Command:
    """Add ``--region``."""
    return click.option("--region", help="Region of a number in national spelling, such as PK.")(command)


def application_option(command: Command) -> Command:
    """Add ``--application``."""
    return click.option("--application", "name", help="Which application asks; default: the only one.")(command)


def settings_for_children(path: Path | None) -> Settings:
    """Return the settings, and let the processes that are started from now on read the same file."""
    settings = load_settings(path)
    if path:
        os.environ[CONFIG_VARIABLE] = str(path.resolve())
    return settings


def start_of(day: datetime | None, days: int = 0) -> int | None:
    """Return the beginning of a day (UTC), or of one after it: milliseconds since the epoch."""
    return None if day is None else round((day.replace(tzinfo=UTC) + timedelta(days=days)).timestamp() * 1000)


def application_named(applications: Mapping[str, Application], name: str | None) -> Application:
    """Return an application by its name, or the only one; raise `ConfigurationError`."""
    if name is None and len(applications) == 1:
        return next(iter(applications.values()))
    if name is None or name not in applications:
        known = ", ".join(sorted(applications)) or "none"
        raise ConfigurationError(f"Name one of the applications with --application: {known}.")
    return applications[name]


def destination(number: str, region: str | None) -> Destination:
    """Return the destination that a person typed; raise `InvalidNumberError`."""
    try:
        return parse_destination(number, region.upper() if region else None)
    except InvalidNumberError as invalid:
        if not region and number.lstrip(" (")[:1].isdigit():
            raise InvalidNumberError("A national number needs --region, such as --region PK.") from invalid
        raise
