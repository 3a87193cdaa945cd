"""``otp-service config``: the settings as they are understood."""

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, command
from otp_service.cli.messages import checked_messages
from otp_service.settings.startup_checks import load_templates


@click.group()
def config() -> None:
    """Check and show the configuration."""


@command(config)
def check(session: Session) -> None:
    """Read everything as a start would, without connecting to anything."""
    settings = session.settings
    checked_messages(settings)
    load_templates(settings)
    counts = {one: len(getattr(settings, one)) for one in ("applications", "purposes", "gateways")}
    out.in_json(environment=settings.environment, **counts)
    summary = ", ".join(out.count_of(count, name.removesuffix("s")) for name, count in counts.items())
    out.done(f"The configuration is complete: {settings.environment}, {summary}.")


@command(config, "Print every setting as it is in force.")
def show(session: Session) -> None:
    """Print every setting as it is in force, defaults included and secrets masked."""
    tree = session.settings.redacted()
    if not out.in_json(**tree):
        click.echo("\n".join(out.toml_document(tree)))
