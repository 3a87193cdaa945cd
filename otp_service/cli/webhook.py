"""otp-service webhook: endpoints of applications, and deliveries to them."""

from datetime import UTC, datetime

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, command, options
from otp_service.domain.webhooks import GROUPS, TYPES, Endpoint, EndpointStatus, WebhookDeliveryStatus
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
    help="Type of webhook, such as verification.approved, or verification for all of these; repeatable. "
    "Default: verification.",
)
_SHOWN = 100


@click.group()
def webhook() -> None:
    """Manage endpoints and deliveries of webhooks.

    Applications do the same through the API. Commands that change something are recorded as operator actions.
    """


@command(webhook, "List the endpoints.")
@click.argument("application", required=False)
def list_(session: Session, application: str | None) -> None:
    """List the endpoints of all applications, or of APPLICATION, oldest first. Times are in UTC."""
    headings = ("Id", "Application", "Address", "Types", "Made", "State")
    out.table("endpoints", headings, map(_row, session.context.ledger.endpoints.of(application)))


@command(webhook, "Add an endpoint.", access=True)
@click.argument("application")
@click.argument("url")
@_types
def add(session: Session, application: str, url: str, types: tuple[str, ...]) -> None:
    """Send the webhooks of APPLICATION to URL. The signing secret is printed once and stored sealed."""
    session.application_or_all(application)
    webhooks.check_url(session.context, url)
    _show(webhooks.add_endpoint(session.context, application, url, types or ("verification",), Actor(session.operator)))


@command(webhook, "Replace an endpoint's secret.", access=True)
@_endpoint_id
@click.option("--overlap", type=click.IntRange(0, MAX_OVERLAP), default=DEFAULT_OVERLAP,
              help="Seconds for which both secrets sign; default: a day.")  # fmt: skip
def rotate(session: Session, endpoint_id: str, overlap: int) -> None:
    """Replace the secret of the endpoint ID. The new secret is printed once and stored sealed."""
    _show(webhooks.rotate_endpoint(session.context, endpoint_id, overlap, Actor(session.operator)))


@command(webhook, "Enable an endpoint.", access=True)
@_endpoint_id
def enable(session: Session, endpoint_id: str) -> None:
    """Enable the endpoint ID. Use replay to send the webhooks that were held."""
    webhooks.enable_endpoint(session.context, endpoint_id, Actor(session.operator))
    out.done(f"The endpoint {endpoint_id} is enabled.", id=endpoint_id)
    out.note(f"To send held webhooks: {out.program()} webhook replay {endpoint_id} --since DAY")


@command(webhook, "Disable an endpoint.", access=True)
@_endpoint_id
def disable(session: Session, endpoint_id: str) -> None:
    """Disable the endpoint ID. Its webhooks are held for a replay."""
    webhooks.disable_endpoint(session.context, endpoint_id, Actor(session.operator))
    out.done(f"The endpoint {endpoint_id} is disabled.", id=endpoint_id)


@command(webhook, "Remove an endpoint.", asks=True, access=True)
@_endpoint_id
def remove(session: Session, endpoint_id: str) -> None:
    """Remove the endpoint ID and its secrets permanently."""
    session.confirm(f"Remove the endpoint {endpoint_id} permanently?")
    webhooks.remove_endpoint(session.context, endpoint_id, Actor(session.operator))
    out.done(f"The endpoint {endpoint_id} is removed.", id=endpoint_id)


@command(webhook, "Show deliveries of webhooks.")
@options(
    click.option("--application", help="Only this application."),
    click.option("--endpoint", default="", help="Only this endpoint."),
    click.option("--verification", default="", help="Only this verification."),
    click.option("--webhook", "name", default="", help="Only this webhook."),
    click.option("--status", type=click.Choice(list(map(str, WebhookDeliveryStatus))), help="Only with this status."),
)  # fmt: skip
def tries(
    session: Session, application: str | None, endpoint: str, verification: str, name: str, status: str | None
) -> None:
    """Show the last 100 deliveries, newest first. Times are in UTC."""
    matching = WebhookDeliveryFilter(application, endpoint, verification, name, status or "")
    headings = ("Id", "Type", "Verification", "Endpoint", "At", "Status", "Next try", "Tries")
    out.table("webhooks", headings, map(_report_row, session.context.ledger.webhook_outbox.find(matching, _SHOWN)))


@command(webhook, "Replay webhooks.", access=True)
@click.argument("name", metavar="ID")
@click.option("--since", type=_MOMENT, help="For an endpoint: webhooks since this day or time (UTC).")
@click.option("--delivered", is_flag=True, help="With --since: delivered webhooks too.")
def replay(session: Session, name: str, since: datetime | None, *, delivered: bool) -> None:
    """Replay the webhook ID, or, with --since, the undelivered webhooks of the endpoint ID since then."""
    if since is None and delivered:
        raise click.UsageError("--delivered requires --since.")
    if since is None:
        count = webhooks.replay_webhook(session.context, name, Actor(session.operator))
    else:
        moment = round(since.replace(tzinfo=UTC).timestamp() * 1000)
        count = webhooks.replay_since(session.context, name, moment, Actor(session.operator), delivered=delivered)
    out.done(f"Queued again: {out.count_of(count, 'webhook')}.", webhooks=count)


@command(webhook, "Seal secrets under the active root key.", access=True)
def reseal(session: Session) -> None:
    """Seal the secrets of all endpoints under the active root key, so that older root keys can be removed."""
    sealed, unreadable = webhooks.reseal_secrets(session.context, session.operator)
    endpoints = out.count_of(sealed, "endpoint")
    out.done(f"Resealed: the secrets of {endpoints}.", sealed=sealed, unreadable=unreadable)
    if unreadable:
        raise click.ClickException(
            f"{out.count_of(unreadable, 'endpoint')} not resealed, because the root key is missing: "
            "add it after the others and try again, or rotate the endpoints."
        )


def _show(issued: IssuedEndpoint) -> None:
    if out.in_json(id=issued.endpoint.id, secret=issued.secret):
        return
    out.note("Signing secret, shown once. Give it to the receiver:")
    click.echo(issued.secret)
    out.note(f"Endpoint: {issued.endpoint.id}")


def _row(endpoint: Endpoint) -> out.Row:
    failing = endpoint.status is EndpointStatus.ENABLED and endpoint.failing_since is not None
    since = f", failing since {out.moment(endpoint.failing_since or 0)}" if failing else ""
    state = f"{endpoint.status}{since}{f', answers after {endpoint.seconds} s' if endpoint.is_slow else ''}"
    target = (endpoint.id, endpoint.application, endpoint.url, list(endpoint.types))
    return (*target, out.when(endpoint.created), state)


def _report_row(report: WebhookDeliveryReport) -> out.Row:
    tries = [str(attempt.status) if attempt.status else attempt.reason for attempt in report.tries]
    names = (report.webhook, report.type, report.verification, report.endpoint)
    return (*names, out.when(report.at), report.status, out.when(report.next), tries)
