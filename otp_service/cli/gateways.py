"""``otp-service gateway``: what is configured to send, and whether it really does."""

from pathlib import Path

import click

from otp_service.bootstrap import install
from otp_service.cli.options import CHANNELS, config_option, destination, region_option
from otp_service.cli.output import done, table
from otp_service.core.errors import ConfigurationError
from otp_service.core.keyring import Keyring, new_dispatch_id
from otp_service.core.message import Message
from otp_service.core.phone import Destination
from otp_service.core.purpose import Channel
from otp_service.gateways.base import Gateway, GatewayError, ReportsReceipts
from otp_service.settings import load_settings

TEXT = "This is a test message of otp-service. You need not do anything."
_LIFE = 300
"""Seconds after which a test message is worthless, as a code would be."""


@click.group()
def gateway() -> None:
    """Look at the configured gateways and try them."""


@gateway.command(name="list", short_help="List the gateways.")
@config_option
def list_(path: Path | None) -> None:
    """List the gateways: name, kind, channels, time-out, and whether they report receipts."""
    rows = [
        (
            name,
            configured.kind,
            ",".join(sorted(configured.channels)),
            f"{configured.settings.timeout:g} s",
            "receipts" if issubclass(configured.gateway_class, ReportsReceipts) else "no receipts",
        )
        for name, configured in load_settings(path).gateways.items()
    ]
    table(("Name", "Kind", "Channels", "Time-out", "Receipts"), rows)


@gateway.command(short_help="Send a test message through a gateway.")
@click.argument("name")
@click.argument("number")
@click.option("--channel", type=CHANNELS, default=Channel.SMS.value, show_default=True)
@region_option
@config_option
def test(name: str, number: str, channel: str, region: str | None, path: Path | None) -> None:
    """Send a test message to NUMBER through the gateway NAME. It costs what a message costs."""
    to = destination(number, region)
    context = install(load_settings(path)).context
    if name not in context.gateways:
        raise ConfigurationError(f"There is no gateway {name!r}; there are: {', '.join(context.gateways)}.")
    chosen = context.gateways[name]
    if channel not in chosen.channels:
        raise ConfigurationError(f"The gateway {name!r} does not carry {channel}.")
    done(f"Accepted for {to.mask}; the gateway's reference is {_send(chosen, to, channel, context.keyring)}.")


def _send(chosen: Gateway, to: Destination, channel: str, keyring: Keyring) -> str:
    bucket = keyring.bucket(keyring.pseudonym(to.e164))
    message = Message(
        to=to.e164,
        text=TEXT,
        channel=channel,
        locale="en",
        expires_in=_LIFE,
        dispatch_id=new_dispatch_id(bucket),
        receipt_url=None,
        verification_id=keyring.new_verification_id(bucket),
        application="cli",
    )
    try:
        return chosen.send(message).reference
    except GatewayError as failed:
        hint = " It may have been sent all the same." if failed.ambiguous else ""
        raise click.ClickException(f"Not accepted: {failed}.{hint}") from failed
