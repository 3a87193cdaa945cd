"""What commands work with that need more than the settings."""

import os
import pwd
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from otp_service.bootstrap import install
from otp_service.cli.output import progress, warn
from otp_service.errors import LedgerUnavailableError
from otp_service.services.audit import Looked
from otp_service.services.context import Context
from otp_service.settings import Settings
from otp_service.telemetry.logging import Renderer, configure_logging


def context_of(settings: Settings) -> Context:
    """Return what the use cases work with. Of what they log only warnings are shown: a command speaks for itself."""
    configure_logging("WARNING", Renderer.CONSOLE)
    return _opened(settings)


def _opened(settings: Settings) -> Context:
    """Return what the use cases work with; keep the settings, for the sentence that names a Redis which is away."""
    root = click.get_current_context().find_root()
    root.obj = settings
    context = install(settings).context
    root.call_on_close(context.ledger.database.close)
    return context


def informed_context(settings: Settings) -> Context:
    """Return the same with the applications of the ledger, and a warning where it cannot tell them."""
    context = context_of(settings)
    try:
        context.directory.refresh()
    except LedgerUnavailableError as away:
        warn(f"{away} Only the applications of the configuration are known here.")
    return context


@contextmanager
def looking_through(context: Context, looked: Looked) -> Iterator[None]:
    """Show how far the audit chain has been looked through."""
    first = next((one.entry.sequence for one in context.ledger.audit.links(0, 1)), 1)
    with progress("Entries", lambda: looked.entries, context.ledger.audit.head().sequence - first + 1):
        yield


def operator_login() -> str:
    """Return who uses the command line, as acts are recorded by: the login, behind ``sudo`` too.

    Only root is believed who it was before; root could claim anything.
    """
    user = os.getuid()
    before = os.environ.get("SUDO_USER") if user == 0 else None
    try:
        return f"cli:{before or pwd.getpwuid(user).pw_name}"
    except KeyError:  # a container's user may have no name
        return f"cli:{user}"


def logged_context(settings: Settings) -> Context:
    """Return the same for a command whose doing is logged as the service does it.

    So whoever keeps what commands print has it; a person at a terminal reads the command's sentences.
    """
    level = "CRITICAL" if sys.stderr.isatty() else settings.logging.level
    configure_logging(level, Renderer(settings.logging.format))
    return _opened(settings)


def managing_context(settings: Settings) -> Context:
    """Return the same for a command that changes who may call; make the ledger where this is the first of all.

    Raises `LedgerUnavailableError`.
    """
    context = logged_context(settings)
    if settings.ledger.upgrade:
        context.ledger.upgrade()
    context.directory.refresh()
    return context
