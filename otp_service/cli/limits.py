"""``otp-service limits``: what was counted for one number, and forgetting it."""

from pathlib import Path

import click

from otp_service.cli.context import informed_context, operator_login
from otp_service.cli.options import config_option, destination, region_option
from otp_service.cli.output import Cell, Shown, done, duration, in_json, reading, span, table, warn
from otp_service.cli.server_findings import TOLERATED_SKEW
from otp_service.cli.store import warn_of_caution
from otp_service.domain.numbers import named
from otp_service.services.operator_actions import reset_limits
from otp_service.settings import load_settings
from otp_service.store.guard import LimitReader, WindowState


@click.group()
def limits() -> None:
    """Show and reset the limits of a number."""


@limits.command()
@click.argument("number")
@region_option
@reading
def show(number: str, region: str | None, path: Path | None) -> None:
    """Show how far the windows of NUMBER are used. Reading spends nothing."""
    to = destination(number, region)
    context = informed_context(load_settings(path))
    _warn_of_skew(context.store.limits)
    warn_of_caution(context)
    number_named = named(context.keyring, to)
    states = context.store.limits.windows(number_named.bucket, number_named.pseudonym, context.applications)
    in_json(to=to.mask)
    table("limits", ("Limit", "Application", "Used", "Left", "Resets in"), map(_row, states))


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
    used = reset_limits(context, named(context.keyring, to), operator_login())
    done(f"Forgotten for {to.mask}: {used} used window{'s' * (used != 1)}.")


def _row(state: WindowState) -> tuple[Cell, ...]:
    limit = state.limit
    return (
        f"{limit.scope} {limit.amount} in {duration(limit.seconds)}",
        Shown(state.application or None, state.application or "all"),
        state.used,
        state.remaining,
        span(1000 * round(state.reset_in)) if state.used else None,
    )


def _warn_of_skew(reader: LimitReader) -> None:
    skew = reader.clock_skew()
    if abs(skew) > TOLERATED_SKEW:
        side = "ahead of" if skew > 0 else "behind"
        warn(f"this host's clock is {abs(skew):.1f} s {side} Redis': what is shown is off by as much.")
