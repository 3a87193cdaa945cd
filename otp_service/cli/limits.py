"""otp-service limits: show and reset the limits of a number."""

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, command, phone_number
from otp_service.cli.doctor import skew_in_words
from otp_service.cli.store import warn_of_caution
from otp_service.domain.numbers import Destination
from otp_service.services.operator_actions import reset_limits
from otp_service.store.guard import WindowState


@click.group()
def limits() -> None:
    """Show and reset the limits of a number."""


@command(limits, reads=True, applications=True)
@phone_number
def show(session: Session, to: Destination) -> None:
    """Show how far the windows of NUMBER are used. Reading spends nothing."""
    context = session.context
    if skew := skew_in_words(context.store.limits.clock_skew()):
        out.warn(f"this host's clock is {skew} Redis': what is shown is off by as much.")
    warn_of_caution(context)
    subject = session.subject_key(to)
    states = context.store.limits.windows(subject.bucket, subject.pseudonym, context.applications)
    out.in_json(to=to.mask)
    out.table("limits", ("Limit", "Application", "Used", "Left", "Resets in"), map(_row, states))


@command(limits, "Forget what was counted for a number.", asks=True, applications=True)
@phone_number
def reset(session: Session, to: Destination) -> None:
    """Forget what was counted for NUMBER: messages sent to it and wrong codes for it."""
    session.confirm(f"Allow new messages to {to.mask} and new guesses of its codes?")
    used = reset_limits(session.context, session.subject_key(to), session.operator)
    out.done(f"Forgotten for {to.mask}: {out.count_of(used, 'used window')}.")


def _row(state: WindowState) -> out.Row:
    limit = state.limit
    return (
        f"{limit.scope} {limit.amount} in {out.duration(limit.seconds)}",
        out.Labelled(state.application or None, state.application or "all"),
        state.used,
        state.remaining,
        out.span(1000 * round(state.reset_in)) if state.used else None,
    )
