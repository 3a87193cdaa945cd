"""otp-service config: check and show the configuration."""

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
    """Check the configuration.

    Checks everything that a start of the service checks, without connecting to anything.
    """
    settings = session.settings
    checked_messages(settings)
    load_templates(settings)
    counts = {name: len(getattr(settings, name)) for name in ("applications", "purposes", "gateways")}
    out.in_json(environment=settings.environment, **counts)
    summary = ", ".join(out.count_of(count, name.removesuffix("s")) for name, count in counts.items())
    out.done(f"The configuration is complete: {settings.environment}, {summary}.")


@command(config, "Print all settings.")
def show(session: Session) -> None:
    """Print all settings with defaults; secrets are masked."""
    tree = session.settings.redacted()
    if not out.in_json(**tree):
        click.echo("\n".join(out.toml_document(tree)))
