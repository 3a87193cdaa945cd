"""What commands work with that need more than the settings."""

import click

from otp_service.bootstrap import install
from otp_service.services.context import Context
from otp_service.settings import Settings


def context_of(settings: Settings) -> Context:
    """Return what the use cases work with; keep the settings, for the sentence that names a Redis which is away."""
    click.get_current_context().find_root().obj = settings
    return install(settings).context
