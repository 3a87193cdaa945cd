"""otp-service webhook: endpoints of applications, and what became of webhooks."""

from datetime import UTC, datetime

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, command, options
from otp_service.domain.webhooks import GROUPS, TYPES, Endpoint, EndpointStatus, WebhookAttempt, WebhookDeliveryStatus
from otp_service.ledger.webhooks import WebhookDeliveryFilter, WebhookDeliveryReport
from otp_service.services import webhooks
from otp_service.services.access import DEFAULT_OVERLAP, MAX_OVERLAP
from otp_service.services.webhooks import Actor, IssuedEndpoint

_MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])
_endpoint_id = click.argument("endpoint_id", metavar="ID")
_types = click.option(
    "--type",
    "types",
    multiple=True,
    type=click.Choice(sorted(TYPES | GROUPS)),
    metavar="TYPE",
    help="What it is told, such as verification.approved, or verification for all of these; several times. "
    "Default: verification.",
)
_SHOWN = 100


@click.group()
def webhook() -> None:
    """List, make and change endpoints for webhooks.

    Shows what became of webhooks too, and sends them once more. Applications do the same by the API. What is done here
    is recorded as an operator's action.
    """


@command(webhook, "List the endpoints.")
@click.argument("application", required=False)
def list_(session: Session, application: str | None) -> None:
    """List the endpoints of all applications, or of APPLICATION, oldest first. Times are in UTC."""
    headings = ("Id", "Application", "Address", "Types", "Made", "State")
    out.table("endpoints", headings, map(_row, session.context.ledger.endpoints.of(application)))


@command(webhook, "Make an endpoint.", access=True)
@click.argument("application")
@click.argument("url")
@_types
def add(session: Session, application: str, url: str, types: tuple[str, ...]) -> None:
    """Tell APPLICATION what happens, at URL. The secret is printed this once, and kept sealed."""
    session.application_or_all(application)
    webhooks.check_url(session.context, url)
    _show(webhooks.add_endpoint(session.context, application, url, types or ("verification",), _actor(session)))


@command(webhook, "Replace an endpoint's secret.", access=True)
@_endpoint_id
@click.option("--overlap", type=click.IntRange(0, MAX_OVERLAP), default=DEFAULT_OVERLAP,
              help="Seconds for which both secrets sign; default: a day.")  # fmt: skip
def rotate(session: Session, endpoint_id: str, overlap: int) -> None:
    """Give the endpoint ID a new secret, which is printed this once, and kept sealed."""
    _show(webhooks.rotate_endpoint(session.context, endpoint_id, overlap, _actor(session)))


@command(webhook, "Send to an endpoint again.", access=True)
@_endpoint_id
def enable(session: Session, endpoint_id: str) -> None:
    """Send to the endpoint ID again. What was held meanwhile goes with "replay"."""
    webhooks.enable_endpoint(session.context, endpoint_id, _actor(session))
    out.done(f"The endpoint {endpoint_id} is enabled.", id=endpoint_id)
    out.note(f"To send what was held: {out.program()} webhook replay {endpoint_id} --since DAY")


@command(webhook, "Send an endpoint nothing more.", access=True)
@_endpoint_id
def disable(session: Session, endpoint_id: str) -> None:
    """Send the endpoint ID nothing more; what it would be told is held for a replay."""
    webhooks.disable_endpoint(session.context, endpoint_id, _actor(session))
    out.done(f"The endpoint {endpoint_id} is disabled.", id=endpoint_id)


@command(webhook, "Remove an endpoint.", asks=True, access=True)
@_endpoint_id
def remove(session: Session, endpoint_id: str) -> None:
    """Remove the endpoint ID for good, and its secrets."""
    session.confirm(f"Remove the endpoint {endpoint_id} for good?")
    webhooks.remove_endpoint(session.context, endpoint_id, _actor(session))
    out.done(f"The endpoint {endpoint_id} is removed.", id=endpoint_id)


@command(webhook, "Show what became of webhooks.")
@options(
    click.option("--application", help="Only of this application."),
    click.option("--endpoint", default="", help="Only of this endpoint."),
    click.option("--verification", default="", help="Only of this verification."),
    click.option("--webhook", "name", default="", help="Only this webhook."),
    click.option("--status", type=click.Choice(list(map(str, WebhookDeliveryStatus))), help="Only with this status."),
)  # fmt: skip
def tries(
    session: Session, application: str | None, endpoint: str, verification: str, name: str, status: str | None
) -> None:
    """Show what became of the last 100 webhooks, newest first. Times are in UTC."""
    asked = WebhookDeliveryFilter(application, endpoint, verification, name, status or "")
    headings = ("Id", "Type", "Verification", "Endpoint", "At", "Status", "Next try", "Tries")
    out.table("webhooks", headings, map(_report_row, session.context.ledger.webhook_outbox.find(asked, _SHOWN)))


@command(webhook, "Send webhooks once more.", access=True)
@click.argument("name", metavar="ID")
@click.option("--since", type=_MOMENT, help="Of an endpoint: only what happened from this day or moment (UTC) on.")
@click.option("--delivered", is_flag=True, help="Of an endpoint: what was delivered too.")
def replay(session: Session, name: str, since: datetime | None, *, delivered: bool) -> None:
    """Send the webhook ID once more; or, with --since, what the endpoint ID has not got since then."""
    if since is None and delivered:
        raise click.UsageError("--delivered goes with --since.")
    if since is None:
        count = webhooks.replay_webhook(session.context, name, _actor(session))
    else:
        moment = round(since.replace(tzinfo=UTC).timestamp() * 1000)
        count = webhooks.replay_since(session.context, name, moment, _actor(session), delivered=delivered)
    out.done(f"To be sent once more: {out.count_of(count, 'webhook')}.", webhooks=count)


@command(webhook, "Seal secrets under the active root key.", access=True)
def reseal(session: Session) -> None:
    """Seal the secrets of all endpoints under the active root key, so that the ones before it may go."""
    sealed, unreadable = webhooks.reseal_secrets(session.context, session.operator)
    endpoints = out.count_of(sealed, "endpoint")
    out.done(f"Sealed anew: the secrets of {endpoints}.", sealed=sealed, unreadable=unreadable)
    if unreadable:
        raise click.ClickException(
            f"{out.count_of(unreadable, 'endpoint')} left as before, for the root key is missing: "
            "add it behind the others, and try again, or rotate the endpoints."
        )


def _actor(session: Session) -> Actor:
    return Actor(session.operator)


def _show(issued: IssuedEndpoint) -> None:
    if out.in_json(id=issued.endpoint.id, secret=issued.secret):
        return
    out.note("The secret, shown this once; give it to who receives the webhooks:")
    click.echo(issued.secret)
    out.note(f"The endpoint's name: {issued.endpoint.id}")


def _row(endpoint: Endpoint) -> out.Row:
    return (
        endpoint.id,
        endpoint.application,
        endpoint.url,
        list(endpoint.types),
        out.when(endpoint.created),
        _state(endpoint),
    )


def _state(endpoint: Endpoint) -> str:
    failing = endpoint.status is EndpointStatus.ENABLED and endpoint.failing_since is not None
    since = f", failing since {out.moment(endpoint.failing_since or 0)}" if failing else ""
    return f"{endpoint.status}{since}{f', answers after {endpoint.seconds} s' if endpoint.is_slow else ''}"


def _report_row(report: WebhookDeliveryReport) -> out.Row:
    return (
        report.webhook,
        report.type,
        report.verification,
        report.endpoint,
        out.when(report.at),
        report.status,
        out.when(report.next),
        list(map(_outcome, report.tries)),
    )


def _outcome(one: WebhookAttempt) -> str:
    return str(one.status) if one.status else one.reason
