"""``otp-service config``: the settings as they are understood."""

from pathlib import Path

import click

from otp_service.cli.messages import checked_messages
from otp_service.cli.output import counted, done, in_json, reading, toml_document
from otp_service.settings import load_settings
from otp_service.settings.startup_checks import cleared_catalogue


@click.group()
def config() -> None:
    """Check and show the configuration."""


@config.command()
@reading
def check(path: Path | None) -> None:
    """Read everything as a start would, without connecting to anything."""
    settings = load_settings(path)
    checked_messages(settings)
    cleared_catalogue(settings)
    counts = {one: len(getattr(settings, one)) for one in ("applications", "purposes", "gateways")}
    in_json(environment=settings.environment, **counts)
    summary = ", ".join(counted(count, name.removesuffix("s")) for name, count in counts.items())
    done(f"The configuration is complete: {settings.environment}, {summary}.")


@config.command(short_help="Print every setting as it is in force.")
@reading
def show(path: Path | None) -> None:
    """Print every setting as it is in force, defaults included and secrets masked."""
    tree = load_settings(path).redacted()
    if not in_json(**tree):
        click.echo("\n".join(toml_document(tree)))
