"""What the commands have in common that record who gets no messages: whose, why, and whether it is in force."""

import re

import click

from otp_service.cli.findings import Level
from otp_service.cli.ledger_findings import mirror_finding
from otp_service.cli.output import warn
from otp_service.core.suppression import EVERY_APPLICATION, MAX_REASON
from otp_service.services.context import Context


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
    if len(reason) > MAX_REASON or not reason.isprintable() or re.search("[0-9]{7}", reason):
        raise click.UsageError(f"A reason has at most {MAX_REASON} printable characters, and no phone number.")
    return reason


def warn_of_mirror(context: Context) -> None:
    """Say so where what was recorded is not in force: Redis mirrors another ledger, or a later state of this one."""
    finding = mirror_finding(context)
    if finding.level is Level.FAIL:
        warn(f"{finding.sentence} {finding.action}")
