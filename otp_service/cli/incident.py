"""otp-service incident: counts for a breach notification."""

from datetime import UTC, datetime

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, command
from otp_service.ledger.audit import IncidentScope
from otp_service.services.audit import AuditProgress, Incident, count_incident
from otp_service.services.audit import write_incident_report as report_of

_MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"])


@click.group()
def incident() -> None:
    """Tell what has to be told when something went wrong."""


@command(incident, "Write a report on a time, in counts.", reads=True)
@click.option("--from", "since", type=_MOMENT, required=True, help="Begin, UTC: 2026-11-26 or 2026-11-26T09:30.")
@click.option("--to", "until", type=_MOMENT, required=True, help="End, UTC.")
@click.option("--application", "name", help="Only of this application; default: of all.")
@click.option("--nature", default="", help="What happened.")
@click.option("--measures", default="", help="What was done about it.")
def report(session: Session, since: datetime, until: datetime, name: str | None, nature: str, measures: str) -> None:
    """Write a report on a time as Markdown: what was recorded, of how many people, through which systems.

    It has counts, small ones only as such, and nothing of a person; who is concerned, the controller finds out.
    """
    begin, end = (round(moment.replace(tzinfo=UTC).timestamp() * 1000) for moment in (since, until))
    if end <= begin:
        raise click.UsageError("--to is not after --from.")
    words = f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC"
    context, about, told, progress = (
        session.context,
        IncidentScope(begin, end, name),
        Incident(nature, measures),
        AuditProgress(),
    )
    with session.show_audit_progress(progress):
        if out.in_json(since=out.when(begin), until=out.when(end), application=name, **out.members(told)):
            out.in_json(**count_incident(context, about, progress))
            return
        text = report_of(context, about, told, words, progress)
    click.echo(text, nl=False)
