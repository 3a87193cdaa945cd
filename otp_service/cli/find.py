"""``otp-service find``: for support, what became of a number's verifications, and why a code did not arrive."""

from pathlib import Path
from typing import Any

import click

from otp_service.cli.context import context_of
from otp_service.cli.options import destination, region_option
from otp_service.cli.output import (
    Cell,
    in_json,
    in_lines,
    is_terminal,
    moment,
    note,
    program,
    reading,
    records,
    table,
    warn,
    when,
    wrapped,
)
from otp_service.cli.why import sentence
from otp_service.domain.verification import Delivery
from otp_service.services import support as finding
from otp_service.services.support import Case, Found, Story
from otp_service.settings import load_settings

_HEADINGS = ("Message", "Time", "Channel", "Gateway", "Chosen", "Status", "Raw status", "Reason", "Reference")


@click.command(short_help="Tell what became of a number's codes.")
@click.argument("number")
@region_option
@reading
def find(number: str, region: str | None, path: Path | None) -> None:
    """Tell what became of the last codes for NUMBER, of all applications, the newest first.

    For each verification: when it started, its status, every call to a gateway, and why the code did or did not arrive.
    No code is shown, and no number. Times are in UTC.
    """
    to = destination(number, region)
    found = finding.find(context_of(load_settings(path)), to)
    if not in_json(to=to.mask, complete=found.complete, verifications=[_members(case, found) for case in found.cases]):
        _print(found)
    if not found.complete:
        warn("there are too many events to read them all: what is told of older verifications may lack something.")
    end = "" if found.cases else f"Nothing is remembered of {to.mask}. "
    others = "guard explain DECISION, limits show NUMBER, suppressions show NUMBER"
    note(f"{end}A refused start is not here: {program()} {others}")


def _print(found: Found) -> None:
    for case in found.cases:
        click.secho(_heading(case.story), bold=is_terminal())
        if case.story.deliveries:
            table("deliveries", _HEADINGS, map(_row, case.story.deliveries))
        click.echo(wrapped(f"→ {sentence(case, found)}", indent=2) + "\n")


def _members(case: Case, found: Found) -> dict[str, Any]:
    story = case.story
    return {
        "id": story.id,
        "to": story.mask,
        "application": story.application or None,
        "purpose": story.purpose or None,
        "country": story.country or None,
        "started_at": when(story.started),
        "status": story.status,
        "checks": story.checks,
        "deliveries": records(_HEADINGS, map(_row, story.deliveries)),
        "why": case.explanation.why,
        "sentence": sentence(case, found),
    }


def _heading(story: Story) -> str:
    about = (story.application, story.purpose, story.country)
    checks = f"{story.checks} code{'s' * (story.checks != 1)} compared"
    return in_lines(
        [moment(story.started), story.mask, story.id, story.status or "ended", *filter(None, about), checks]
    )


def _row(delivery: Delivery) -> tuple[Cell, ...]:
    return (
        f"{delivery.message}.{delivery.dispatch}",
        when(delivery.at),
        delivery.channel,
        delivery.gateway,
        delivery.choice,
        delivery.status,
        delivery.raw_status,
        delivery.reason,
        delivery.reference,
    )
