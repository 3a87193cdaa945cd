"""otp-service store: the fence after a restore."""

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, command
from otp_service.domain.operator_actions import OperatorAction
from otp_service.services import operator_actions
from otp_service.services.context import Context
from otp_service.store.mirror import HALVED_FOR

_MEANS = (
    "Whatever was started until now expires at once: who waits for a code asks for a new one. "
    f"For {out.duration(HALVED_FOR // 1000)} numbers, addresses and applications get half as many messages as their "
    "limits allow. This cannot be undone."
)


@click.group()
def store() -> None:
    """Look after Redis, where all is kept that expires."""


@command(store, "Expire whatever was started until now: after a restore.", asks=True, logs=True)
def fence(session: Session) -> None:
    """Expire whatever was started until now, and halve the limits on messages for an hour.

    For when Redis lacks what it once knew: a backup was restored, a replica took over, it was emptied. Codes that were
    used meanwhile would be good again, and what was counted is forgotten. Do it before processes use such a Redis, or
    at once if they do. It needs neither a running service nor the ledger.
    """
    context = session.context
    session.confirm(f"Fence the store at {session.settings.redis.shown_url}?", means=_MEANS)
    put = operator_actions.fence_store(context)
    if not operator_actions.record_action(
        context, session.action(OperatorAction.STORE_FENCED)
    ):  # last: the ledger may be away
        lost = "that the store was fenced is in no ledger, only in what this command logs."
        out.warn(f"The ledger does not answer: {lost}")
    out.done(f"Fenced: what was started until {out.moment(put.at)} UTC is expired.")
    out.note(f"Limits on messages are halved until {out.moment(put.until)} UTC.")


def warn_of_caution(context: Context) -> None:
    """Warn while limits on messages are halved, so that nobody wonders why."""
    standing = context.store.fences.current()
    if standing and standing.is_new:
        out.warn(f"the store was fenced: limits on messages are halved until {out.moment(standing.until)} UTC.")
