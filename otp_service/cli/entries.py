"""What commands have in common that are about a number or an application: whose, why, and whether it is in force."""

from pathlib import Path

import click

from otp_service.cli.context import informed_context, operator_login
from otp_service.cli.findings import Level
from otp_service.cli.ledger_findings import mirror_finding
from otp_service.cli.options import destination
from otp_service.cli.output import warn
from otp_service.domain.numbers import Named, may_hold_number, named
from otp_service.domain.people import EVERY_APPLICATION, MAX_REASON, Act, ActEntry
from otp_service.services.context import Context
from otp_service.settings import load_settings


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
    finding = mirror_finding(context)
    if finding.level is Level.FAIL:
        warn(f"{finding.sentence} {finding.action}")
