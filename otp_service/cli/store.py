"""``otp-service store``: fencing it, after its data were restored or a fail-over lost writes."""

from pathlib import Path

import click

from otp_service.cli.context import logged_context, operator_login
from otp_service.cli.options import config_option
from otp_service.cli.output import done, duration, moment, note, warn, wrapped
from otp_service.domain.people import Act, ActEntry
from otp_service.services.context import Context
from otp_service.services.maintenance import fence as fence_store
from otp_service.services.operator_actions import record_action as note_act
from otp_service.settings import load_settings
from otp_service.store.mirror import CAUTIOUS

_MEANS = (
    "Whatever was started until now expires at once: who waits for a code asks for a new one. "
    f"For {duration(CAUTIOUS // 1000)} numbers, addresses and applications are sent half as many messages as their "
    "limits allow. This cannot be undone."
)


@click.group()
def store() -> None:
    """Look after Redis, where all is kept that expires."""


@store.command(short_help="Expire whatever was started until now: after a restore.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
def fence(path: Path | None, *, yes: bool) -> None:
    """Expire whatever was started until now, and halve the limits on messages for an hour.

    For when Redis lacks what it once knew: a backup was restored, a replica took over, it was emptied. Codes that were
    used meanwhile would be good again, and what was counted is forgotten. Do it before processes use such a Redis, or
    at once if they do. It needs neither a running service nor the ledger.
    """
    settings = load_settings(path)
    context = logged_context(settings)
    if not yes:
        note(wrapped(_MEANS))
        click.confirm(f"Fence the store at {settings.redis.shown_url}?", abort=True)
    put = fence_store(context)
    if not note_act(context, ActEntry(Act.STORE_FENCED, operator_login())):  # after it: the ledger may still be away
        warn("The ledger does not answer: that the store was fenced is in no ledger, only in what this command logs.")
    done(f"Fenced: what was started until {moment(put.at)} UTC is expired.")
    note(f"Limits on messages are halved until {moment(put.until)} UTC.")


def warn_of_caution(context: Context) -> None:
    """Warn while limits on messages are halved, so that nobody wonders why."""
    standing = context.store.fences.standing()
    if standing and standing.is_new:
        warn(f"the store was fenced: limits on messages are halved until {moment(standing.until)} UTC.")
