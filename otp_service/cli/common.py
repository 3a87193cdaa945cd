"""Shared helpers of the command line."""

import os
import pwd
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from otp_service.bootstrap import install
from otp_service.cli.doctor import Level, mirror_diagnosis
from otp_service.cli.output import destination, progress, warn
from otp_service.domain.numbers import Named, may_hold_number, named
from otp_service.domain.people import EVERY_APPLICATION, MAX_REASON, Act, ActEntry
from otp_service.errors import LedgerUnavailableError
from otp_service.services.audit import Looked
from otp_service.services.context import Context
from otp_service.settings import Settings, load_settings
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


def opened(number: str, region: str | None, path: Path | None) -> tuple[Context, Named]:
    """Return what a command works with that is about a number, and the number."""
    to = destination(number, region)
    context = informed_context(load_settings(path))
    return context, named(context.keyring, to)


def act_of(act: Act, application: str, about: str = "") -> ActEntry:
    """Return an act of whoever uses the command line, for an application or `EVERY_APPLICATION`."""
    return ActEntry(act, operator_login(), "" if application == EVERY_APPLICATION else application, about)


def known_application(context: Context, name: str | None) -> str:
    """Return the name of an application that there is, `EVERY_APPLICATION` for ``None``."""
    if name is not None and name not in context.applications:
        known = ", ".join(sorted(context.applications))
        raise click.UsageError(f"There is no application {name}, only: {known}.")
    return name or EVERY_APPLICATION


def of_application(application: str) -> str:
    """Return whose messages are meant, in words."""
    return "of any application" if application == EVERY_APPLICATION else f"of {application}"


def short_reason(reason: str) -> str:
    """Return a reason that may be kept."""
    if len(reason) > MAX_REASON or not reason.isprintable() or may_hold_number(reason):
        raise click.UsageError(f"A reason has at most {MAX_REASON} printable characters, and no phone number.")
    return reason


def warn_of_mirror(context: Context) -> None:
    """Say so where what was recorded is not in force: Redis mirrors another ledger, or a later state of this one."""
    finding = mirror_diagnosis(context)
    if finding.level is Level.FAIL:
        warn(f"{finding.sentence} {finding.action}")
