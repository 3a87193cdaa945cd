"""otp-service gateway: list, test, pause and resume gateways."""

import click

from otp_service.cli import output as out
from otp_service.cli.common import CHANNELS, Session, command, phone_number
from otp_service.domain.keyring import first_byte, new_dispatch_id
from otp_service.domain.messages import Message
from otp_service.domain.numbers import Destination
from otp_service.domain.phrases import duration
from otp_service.domain.verification import Channel
from otp_service.errors import ConfigurationError
from otp_service.gateways.base import (
    REPORTS_OVER_HTTP,
    Gateway,
    GatewayError,
    SupportsConnections,
    SupportsInbound,
    SupportsSharedReceipts,
    SupportsSignedInboundUrl,
)
from otp_service.services import operator_actions
from otp_service.services.inbound import inbound_url
from otp_service.services.operations import LONGEST_PAUSE, MINUTE, gateway_reports, is_route_down
from otp_service.services.receipts import shared_receipt_url
from otp_service.settings.message_files import SAMPLE_CODE

TEXT = "This is a test message of otp-service. You need not do anything."
_LIFE = 300
"""Seconds until a test message expires."""


@click.group()
def gateway() -> None:
    """List and test the configured gateways."""


@command(gateway, "List the gateways.")
def list_(session: Session) -> None:
    """List the gateways: name, kind, channels, time-out, and whether they report receipts."""
    rows: list[out.Row] = []
    for name, configured in session.settings.gateways.items():
        kind, timeout = configured.plugin_class, configured.settings.timeout
        receipts = issubclass(kind, SupportsConnections) or (
            issubclass(kind, REPORTS_OVER_HTTP) and configured.settings.takes_receipts
        )
        cells = (
            out.Labelled(timeout, f"{timeout:g} s"),
            out.Labelled(receipts, "receipts" if receipts else "no receipts"),
        )
        rows.append((name, configured.kind, sorted(configured.channels), *cells))
    out.table("gateways", ("Name", "Kind", "Channels", "Time-out", "Receipts"), rows)


@command(gateway, "Show the callback addresses for providers.")
def addresses(session: Session) -> None:
    """Show the callback addresses for providers: of messages that people send, such as STOP, and of receipts.

    Treat an address as a secret: with some providers a caller that knows it can send STOP for any number. Only
    providers that report all messages to a single address need an address for receipts.
    """
    settings = session.settings
    if settings.http.public_url is None:
        raise ConfigurationError("http.public_url is not set: no provider can reach the service. Set it.")
    rows: list[out.Row] = []
    for name, configured in settings.gateways.items():
        gateway, members = session.context.gateways[name], configured.settings
        messages = receipts = None
        if members.takes_messages and isinstance(gateway, SupportsInbound):
            messages = inbound_url(session.context, name)
            if isinstance(gateway, SupportsSignedInboundUrl):
                messages = gateway.sign_inbound_url(messages)
        elif members.takes_messages and isinstance(gateway, SupportsConnections):
            messages = "over its own connection"
        if members.takes_receipts and isinstance(gateway, SupportsSharedReceipts):
            receipts = shared_receipt_url(session.context, name)
        if messages or receipts:
            rows.append((name, messages, receipts))
    out.table("gateways", ("Name", "Messages from people", "Receipts"), rows)


@command(gateway, "Send a test message through a gateway.")
@click.argument("name")
@click.option("--channel", type=CHANNELS, default=Channel.SMS.value, show_default=True)
@phone_number
def test(session: Session, name: str, channel: str, to: Destination) -> None:
    """Send a test message to NUMBER through the gateway NAME. It costs as much as any message."""
    context, chosen = session.context, _gateway(session, name)
    if channel not in chosen.channels:
        raise ConfigurationError(
            f"The gateway {name!r} does not carry {channel}, only {', '.join(sorted(chosen.channels))}."
        )
    rules = context.sending_rules.rules_of(to.country)  # a sender is registered for an application
    if Channel(channel).traits.is_regulated and (rules.approved_templates or rules.registered_senders):
        raise ConfigurationError(
            f"{to.country} allows only approved templates under registered senders: try the gateway with a start."
        )
    byte = first_byte(context.keyring.pseudonym(to.e164))
    message = Message(
        to=to.e164,
        text=TEXT,
        channel=channel,
        locale="en",
        expires_in=_LIFE,
        dispatch_id=new_dispatch_id(byte),
        receipt_url=None,
        verification_id=context.keyring.new_verification_id(byte),
        application="cli",
        variables={"code": SAMPLE_CODE},
    )
    try:
        reference = chosen.send(message).reference
    except GatewayError as failed:
        if chosen.development_only:
            context.store.server.versions()  # a sandbox needs Redis: an error of Redis is the reason
        hint = " It may have been sent all the same." if failed.ambiguous else ""
        raise click.ClickException(f"Not accepted: {failed}.{hint}") from failed
    out.done(f"Accepted for {to.mask}; the gateway's reference is {reference}.", to=to.mask, reference=reference)


@command(gateway, "Show the state of the gateways.")
def status(session: Session) -> None:
    """Show the state of each gateway, for all workers. Times are in UTC.

    Calls that failed, or took as long as "Slow from", are bad.
    """
    now = session.context.store.decisions.now()
    headings = ("Name", "State", "Bad calls", "Calls", "Slow from", "In flight", "At most", "Per second")
    rows: list[out.Row] = []
    for report in gateway_reports(session.context):
        health, limits, state = report.health, report.limits, report.state
        until = now + state.left if state.left else None
        value = {"name": state.condition, "by": health.opened_by or None, "until": out.when(until)}
        cells = (
            out.Labelled(value, f"{state} until {out.moment(until)}" if until else str(state)),
            *(health.bad, health.calls, out.Labelled(limits.slow, f"{limits.slow:g} s")),
            *(report.in_flight, limits.in_flight or None),
            out.Labelled(limits.per_second, f"{limits.per_second:g}") if limits.per_second else None,
        )
        rows.append((report.name, *cells))
    out.table("gateways", headings, rows)


@command(gateway, "Stop messages through a gateway.")
@click.argument("name")
@click.option(
    "--minutes",
    type=click.IntRange(1, LONGEST_PAUSE),
    default=LONGEST_PAUSE,
    help="Length of the pause; default: 30 days, the maximum.",
)
def pause(session: Session, name: str, minutes: int) -> None:
    """Stop messages through the gateway NAME, even as a last resort.

    It takes effect at once for all workers. After the pause the next message tries the gateway.
    """
    _gateway(session, name)
    context = session.context
    operator_actions.pause_gateway(context, name, minutes * MINUTE, session.operator)
    again = f"To end the pause earlier: {out.program()} gateway resume {name}"
    out.done(f"{name} is paused for {duration(60 * minutes)}. {again}", name=name, paused_for=60 * minutes)
    if is_route_down(context):
        out.warn("a route has no other gateway left: its messages wait, and are given up when their codes expire.")


@command(gateway, "Resume messages through a gateway.")
@click.argument("name")
def resume(session: Session, name: str) -> None:
    """Resume messages through the gateway NAME after a pause or failures, and reset its counts."""
    _gateway(session, name)
    operator_actions.resume_gateway(session.context, name, session.operator)
    out.done(f"Messages go through {name} again.", name=name)


def _gateway(session: Session, name: str) -> Gateway:
    gateways = session.context.gateways
    if name not in gateways:
        raise ConfigurationError(f"The gateway {name!r} does not exist; choose from: {', '.join(gateways)}.")
    return gateways[name]
