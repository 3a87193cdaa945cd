"""``otp-service incident report``: what a breach of a time is about, in counts."""

from datetime import UTC, datetime
from pathlib import Path

import click

from otp_service.cli.context import context_of, looking_through
from otp_service.cli.output import in_json, members, reading, when
from otp_service.ledger.audit import Span
from otp_service.services.audit import Incident, Looked, counts_of
from otp_service.services.audit import report as report_of
from otp_service.settings import load_settings

_MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"])


@click.group()
def incident() -> None:
    """Tell what has to be told when something went wrong."""


@incident.command(short_help="Write a report on a time, in counts.")
@click.option("--from", "since", type=_MOMENT, required=True, help="Begin, UTC: 2026-11-26 or 2026-11-26T09:30.")
@click.option("--to", "until", type=_MOMENT, required=True, help="End, UTC.")
@click.option("--application", "name", help="Only of this application; default: of all.")
@click.option("--nature", default="", help="What happened.")
@click.option("--measures", default="", help="What was done about it.")
@reading
def report(since: datetime, until: datetime, name: str | None, nature: str, measures: str, path: Path | None) -> None:
    """Write a report on a time as Markdown: what was recorded, of how many people, through which systems.

    It has counts, small ones only as such, and nothing of a person; who is concerned, the controller finds out.
    """
    begin, end = (round(moment.replace(tzinfo=UTC).timestamp() * 1000) for moment in (since, until))
    if end <= begin:
        raise click.UsageError("--to is not after --from.")
    words = f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC"
    context = context_of(load_settings(path))
    about, told, looked = Span(begin, end, name), Incident(nature, measures), Looked()
    with looking_through(context, looked):
        if in_json(since=when(begin), until=when(end), application=name, **members(told)):
            in_json(**counts_of(context, about, looked))
            return
        text = report_of(context, about, told, words, looked)
    click.echo(text, nl=False)
