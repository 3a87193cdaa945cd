"""``otp-service limits``: what was counted for one number, and forgetting it."""

from pathlib import Path

import click

from otp_service.cli.context import informed_context, operator
from otp_service.cli.options import config_option, destination, region_option
from otp_service.cli.output import done, duration, table, warn
from otp_service.cli.server_findings import TOLERATED_SKEW
from otp_service.cli.store import warn_of_caution
from otp_service.core.act import Act, Recorded
from otp_service.core.phone import Destination
from otp_service.services.context import Context
from otp_service.settings import load_settings
from otp_service.store.limits import LimitReader, WindowState


@click.group()
def limits() -> None:
    """Show and reset the limits of a number."""


@limits.command()
@click.argument("number")
@region_option
@config_option
def show(number: str, region: str | None, path: Path | None) -> None:
    """Show how far the windows of NUMBER are used. Reading spends nothing."""
    to = destination(number, region)
    context = informed_context(load_settings(path))
    _warn_of_skew(context.store.limits)
    warn_of_caution(context)
    bucket, pseudonym = _names(context, to)
    states = context.store.limits.windows(bucket, pseudonym, context.applications)
    table(("Limit", "Application", "Used", "Left", "Resets in"), map(_row, states))


@limits.command(short_help="Forget what was counted for a number.")
@click.argument("number")
@click.option("--yes", is_flag=True, help="Do not ask.")
@region_option
@config_option
def reset(number: str, region: str | None, path: Path | None, *, yes: bool) -> None:
    """Forget what was counted for NUMBER: messages sent to it and wrong codes for it."""
    to = destination(number, region)
    if not yes:
        click.confirm(f"Allow new messages to {to.mask} and new guesses of its codes?", abort=True)
    context = informed_context(load_settings(path))
    context.ledger.acts.add(Recorded(Act.LIMITS_RESET, operator(), about="number"))
    bucket, pseudonym = _names(context, to)
    used = context.store.limits.reset(bucket, pseudonym, context.applications)
    done(f"Forgotten for {to.mask}: {used} used window{'s' * (used != 1)}.")


def _names(context: Context, to: Destination) -> tuple[str, str]:
    pseudonym = context.keyring.pseudonym(to.e164)
    return context.keyring.bucket(pseudonym), pseudonym


def _row(state: WindowState) -> tuple[str, ...]:
    limit = state.limit
    return (
        f"{limit.scope} {limit.amount} in {duration(limit.seconds)}",
        state.application or "all",
        str(state.used),
        str(state.remaining),
        duration(round(state.reset_in)) if state.used else "-",
    )


def _warn_of_skew(reader: LimitReader) -> None:
    skew = reader.clock_skew()
    if abs(skew) > TOLERATED_SKEW:
        side = "ahead of" if skew > 0 else "behind"
        warn(f"this host's clock is {abs(skew):.1f} s {side} Redis': what is shown is off by as much.")
