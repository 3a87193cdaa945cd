"""otp-service ledger and store: upgrade, rebuild the mirror, purge, fence."""

import time
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from otp_service.cli.common import context_of, logged_context, operator_login
from otp_service.cli.doctor import Diagnosis, Level, known, mirror_diagnosis, of_mirror
from otp_service.cli.output import (
    Cell,
    Shown,
    config_option,
    counted,
    done,
    duration,
    in_json,
    members,
    moment,
    note,
    progress,
    reading,
    table,
    warn,
    when,
    wrapped,
)
from otp_service.domain.people import Act, ActEntry
from otp_service.ledger.database import MAX_COUNT, counts
from otp_service.ledger.retention import Purges
from otp_service.services.context import Context
from otp_service.services.maintenance import Purging
from otp_service.services.maintenance import fence as fence_store
from otp_service.services.operator_actions import rebuild_mirror
from otp_service.services.operator_actions import record_action as note_act
from otp_service.settings import load_settings
from otp_service.store.mirror import CAUTIOUS

_PATIENCE: Final = 60.0
"""Seconds to wait for the mirror to be there."""
_GLANCE: Final = 0.5
_REST: Final = 0.05
"""Seconds between two batches, in which the service can write."""


@click.group()
def ledger() -> None:
    """Look after what must not be lost."""


@ledger.command(short_help="Show how much the ledger holds.")
@reading
def status(path: Path | None) -> None:
    """Show how many rows there are, how long they are kept, and what was deleted last. Times are in UTC."""
    settings = load_settings(path)
    context = context_of(settings)
    kept = context.ledger
    table("tables", ("Table", "Rows"), ((name, _count(rows)) for name, rows in counts(kept.database).items()))
    days, began = asdict(settings.retention.to_core()), kept.purges.began()
    findings = list(of_mirror(context))
    told = list(map(members, findings))
    if not in_json(url=settings.ledger.shown_url, last_purge=when(began or None), findings=told):
        click.echo()
    headings = ("Data", "Kept for", "Last deleted", "Rows")
    table("retention", headings, (_deleted(kept.purges, data, days[data]) for data in days))
    for finding in findings:
        (note if finding.level is Level.OK else warn)(finding.sentence)
    note(f"{settings.ledger.shown_url}; {_purged(began)}.")


def _purged(began: int | None) -> str:
    return f"the last purge began {moment(began)}" if began else "there was no purge yet"


def _count(rows: int) -> Cell:
    return rows if rows <= MAX_COUNT else Shown(None, f"more than {MAX_COUNT}")


def _deleted(purges: Purges, data: str, days: int) -> tuple[Cell, ...]:
    last = purges.latest(data)
    return data, timedelta(days=days), when(last.at) if last else None, last.rows if last else None


@ledger.command()
@config_option
def upgrade(path: Path | None) -> None:
    """Make the tables, or bring them up to this release.

    Processes do it when they start, unless ledger.upgrade is false.
    """
    settings = load_settings(path)
    context_of(settings).ledger.upgrade()
    done(f"{settings.ledger.shown_url} is of this release.")


@ledger.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
def rebuild(path: Path | None, *, yes: bool) -> None:
    """Mirror the ledger in Redis anew.

    For when Redis knows more than the ledger, because a backup of the ledger was restored: what the ledger does not say
    is forgotten then. Until a second after it is done, starts are refused.
    """
    context = context_of(load_settings(path))
    if not yes:
        click.confirm("Forget what Redis knows of opt-outs and consents, and go by the ledger alone?", abort=True)
    with progress("Numbers", lambda: context.reflection.built, context.ledger.mirrored.count()):
        rebuild_mirror(context, operator_login())
        finding = _settled(context)
    if finding.level is not Level.OK:
        raise click.ClickException(f"{finding.sentence} {finding.action}")
    done(f"The ledger is mirrored anew: {known(context.ledger.mirrored.head().sequence)}")


def _settled(context: Context) -> Diagnosis:
    """Return what is found once the mirror stands: another process may have been building it, of either ledger."""
    end = time.monotonic() + _PATIENCE
    while (finding := mirror_diagnosis(context)).level is not Level.OK and time.monotonic() < end:
        time.sleep(_GLANCE)
        context.reflection.rebuild() if finding.level is Level.FAIL else context.reflection.refresh()
    return finding


@ledger.command()
@config_option
def purge(path: Path | None) -> None:
    """Delete now what has been kept as long as [retention] says.

    Workers do this by themselves, once an hour. What holds is never deleted: the last word on a consent, a suppression
    that was not lifted and has not ended. How much went is written down: see "otp-service ledger status".
    """
    settings = load_settings(path)
    purging = Purging(context_of(settings), settings.retention.to_core(), _rest)
    with progress("Rows deleted", lambda: sum(purging.gone.values())):
        gone = purging.at_once()
    table("deleted", ("Data", "Rows"), gone.items())
    done(f"{counted(sum(gone.values()), 'row')} deleted.")


def _rest() -> bool:
    time.sleep(_REST)
    return False


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
