"""``otp-service find``: for support, what became of a number's verifications, and why a code did not arrive."""

from pathlib import Path

import click

from otp_service.cli.context import context_of
from otp_service.cli.options import config_option, destination, region_option
from otp_service.cli.output import in_lines, is_terminal, moment, note, table, warn, wrapped
from otp_service.cli.why import sentence
from otp_service.core.story import Story
from otp_service.core.verification import Delivery
from otp_service.services import find as finding
from otp_service.services.find import Found
from otp_service.settings import load_settings

_HEADINGS = ("Message", "Time", "Channel", "Gateway", "Chosen", "Status", "Raw status", "Reason", "Reference")


@click.command(short_help="Tell what became of a number's codes.")
@click.argument("number")
@region_option
@config_option
def find(number: str, region: str | None, path: Path | None) -> None:
    """Tell what became of the last codes for NUMBER, of all applications, the newest first.

    For each verification: when it started, its status, every call to a gateway, and why the code did or did not arrive.
    No code is shown, and no number. Times are in UTC.
    """
    to = destination(number, region)
    found = finding.find(context_of(load_settings(path)), to)
    _print(found)
    if not found.complete:
        warn("there are too many events to read them all: what is told of older verifications may lack something.")
    end = "" if found.cases else f"Nothing is remembered of {to.mask}. "
    others = "guard explain DECISION, limits show NUMBER, suppressions show NUMBER"
    note(f"{end}A refused start is not here: otp-service {others}")


def _print(found: Found) -> None:
    for case in found.cases:
        click.secho(_heading(case.story), bold=is_terminal())
        if case.story.deliveries:
            table(_HEADINGS, map(_row, case.story.deliveries))
        click.echo(wrapped(f"→ {sentence(case, found)}", indent=2) + "\n")


def _heading(story: Story) -> str:
    about = (story.application, story.purpose, story.country)
    checks = f"{story.checks} code{'s' * (story.checks != 1)} compared"
    return in_lines(
        [moment(story.started), story.mask, story.id, story.status or "ended", *filter(None, about), checks]
    )


def _row(delivery: Delivery) -> tuple[str, ...]:
    told = (
        f"{delivery.message}.{delivery.dispatch}",
        moment(delivery.at),
        delivery.channel,
        delivery.gateway,
        delivery.choice,
        delivery.status,
        delivery.raw_status,
        delivery.reason,
        delivery.reference,
    )
    return tuple(part or "-" for part in told)
