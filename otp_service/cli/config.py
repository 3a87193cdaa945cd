"""``otp-service config``: the settings as they are understood."""

import json
from pathlib import Path

import click

from otp_service.cli.messages import checked_messages
from otp_service.cli.options import config_option
from otp_service.cli.output import done, toml_document
from otp_service.settings import Settings, load_settings
from otp_service.settings.demands import cleared_catalogue


@click.group()
def config() -> None:
    """Check and show the configuration."""


@config.command()
@config_option
def check(path: Path | None) -> None:
    """Read everything as a start would, without connecting to anything."""
    settings = load_settings(path)
    checked_messages(settings)
    cleared_catalogue(settings)
    done(f"The configuration is complete: {_summary(settings)}.")


def _summary(settings: Settings) -> str:
    counts = (
        ("application", len(settings.applications)),
        ("purpose", len(settings.purposes)),
        ("gateway", len(settings.gateways)),
    )
    return f"{settings.environment}, " + ", ".join(f"{n} {word}{'s' * (n != 1)}" for word, n in counts)


@config.command(short_help="Print every setting as it is in force.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="JSON instead of TOML.")
def show(path: Path | None, *, as_json: bool) -> None:
    """Print every setting as it is in force, defaults included and secrets masked."""
    tree = load_settings(path).redacted()
    click.echo(json.dumps(tree, indent=2, ensure_ascii=False) if as_json else "\n".join(toml_document(tree)))
