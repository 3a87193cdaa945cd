"""otp-service ledger and store: the ledger's schema and purge, the mirror, the fence after a restore."""

import time
from dataclasses import asdict
from datetime import timedelta
from typing import Final

import click

from otp_service.cli import output as out
from otp_service.cli.checks import Diagnosis, Level
from otp_service.cli.common import Session, command
from otp_service.cli.doctor import mirror_diagnoses, mirror_diagnosis, up_to_date
from otp_service.domain.audit import OperatorAction
from otp_service.ledger.database import MAX_COUNT, row_counts
from otp_service.services import operator_actions, periodic_tasks
from otp_service.services.context import Context

_MIRROR_TIMEOUT: Final = 60.0
"""Seconds to wait for the mirror to be there."""
_POLL_INTERVAL: Final = 0.5
_PAUSE: Final = 0.05
"""Seconds between two batches, in which the service can write."""


@click.group()
def ledger() -> None:
    """Look after what must not be lost."""


@command(ledger, "Show how much the ledger holds.")
def status(session: Session) -> None:
    """Show how many rows there are, how long they are kept, and what was deleted last. Times are in UTC."""
    kept, url = session.context.ledger, session.settings.ledger.shown_url
    counts = row_counts(kept.database)
    out.table("tables", ("Table", "Rows"), ((name, _count(rows)) for name, rows in counts.items()))
    began, found = kept.purges.last_began(), list(mirror_diagnoses(session.context))
    if not out.in_json(url=url, last_purge=out.when(began or None), findings=list(map(out.members, found))):
        click.echo()
    rows: list[out.Row] = []
    for data, days in asdict(session.settings.retention.days).items():
        last = kept.purges.latest(data)
        rows.append((data, timedelta(days=days), out.when(last.at) if last else None, last.rows if last else None))
    out.table("retention", ("Data", "Kept for", "Last deleted", "Rows"), rows)
    for one in found:
        (out.note if one.level is Level.OK else out.warn)(one.sentence)
    out.note(f"{url}; {f'the last purge began {out.moment(began)}' if began else 'there was no purge yet'}.")


def _count(rows: int) -> out.Cell:
    return rows if rows <= MAX_COUNT else out.Labelled(None, f"more than {MAX_COUNT}")


@command(ledger)
def upgrade(session: Session) -> None:
    """Make the ledger's tables.

    Processes do it when they start, unless ledger.upgrade is false.
    """
    session.context.ledger.upgrade()
    url = session.settings.ledger.shown_url
    out.done(f"{url} is of this release.", url=url)


@command(ledger, asks=True)
def rebuild(session: Session) -> None:
    """Mirror the ledger in Redis anew.

    For when a backup of the ledger was restored: what Redis alone knows is forgotten. Until a second after it is done,
    starts are refused.
    """
    context = session.context
    session.confirm("Forget what Redis knows of opt-outs and consents, and go by the ledger alone?")
    with out.progress("Numbers", lambda: context.mirror_sync.built, context.ledger.mirror_source.count()):
        operator_actions.rebuild_mirror(context, session.operator)
        found = _settled(context)
    if found.level is not Level.OK:
        raise click.ClickException(f"{found.sentence} {found.action}")
    sequence = context.ledger.mirror_source.head().sequence
    out.done(f"The ledger is mirrored anew: {up_to_date(sequence)}", sequence=sequence)


def _settled(context: Context) -> Diagnosis:
    """Return what is found once the mirror stands: another process may have been building it, of either ledger."""
    end = time.monotonic() + _MIRROR_TIMEOUT
    while (found := mirror_diagnosis(context)).level is not Level.OK and time.monotonic() < end:
        time.sleep(_POLL_INTERVAL)
        context.mirror_sync.rebuild() if found.level is Level.FAIL else context.mirror_sync.refresh()
    return found


@command(ledger)
def purge(session: Session) -> None:
    """Delete now what has been kept as long as [retention] says.

    Workers do this by themselves, once an hour. "otp-service ledger status" shows how much went.
    """
    purger = periodic_tasks.Purger(session.context, session.settings.retention.days, _rest)
    with out.progress("Rows deleted", lambda: sum(purger.deleted.values())):
        gone = purger.purge_now()
    out.table("deleted", ("Data", "Rows"), gone.items())
    out.done(f"{out.count_of(sum(gone.values()), 'row')} deleted.", rows=sum(gone.values()))


@command(ledger, "Count the hourly statistics anew.")
def recount(session: Session) -> None:
    """Count the hourly statistics of verifications anew from what is recorded of them.

    For after a restored backup, or a release that counts something more. What is counted meanwhile is not lost. Hours
    of which verifications were purged stay as they are, as do refusals: these are counted once.
    """
    counted = 0
    with out.progress("Verifications", lambda: counted):
        for some in session.context.ledger.stats.recount():
            counted += some
    out.done(f"{out.count_of(counted, 'verification')} counted anew.", verifications=counted)


def _rest() -> bool:
    time.sleep(_PAUSE)
    return False


_MEANS = (
    "Whatever was started until now expires at once: people who wait for a code have to start again. Starts are "
    "refused until a process that ran before has seen that the ledger lacks nothing, or you decide. This cannot be "
    "undone."
)


@click.group()
def store() -> None:
    """Look after Redis, where all is kept that expires."""


@command(store, "Expire whatever was started until now: after a restore.", asks=True, logs=True)
def fence(session: Session) -> None:
    """Expire whatever was started until now, and close starts.

    For when Redis lacks what it once knew: a backup was restored, a replica took over, or it was emptied. Run it before
    processes use such a Redis, or at once if they do. It needs neither a running service nor the ledger. Starts are
    refused (mirror-restored) until a process that ran before has seen that the ledger lacks nothing, or until you
    decide: otp-service ledger rebuild.
    """
    context = session.context
    session.confirm(f"Fence the store at {session.settings.redis.shown_url}?", means=_MEANS)
    put = operator_actions.fence_store(context, restored=True)
    recorded = operator_actions.record_action(context, session.action(OperatorAction.STORE_FENCED))
    if not recorded:  # last: the ledger may be away
        lost = "that the store was fenced is in no ledger, only in what this command logs."
        out.warn(f"The ledger does not answer: {lost}")
    sentence = f"Fenced: what was started until {out.moment(put)} UTC is expired."
    out.done(sentence, fenced_until=out.when(put), recorded=recorded)
    out.note(f"Look whether starts are refused now (mirror-restored): {out.program()} doctor")


@command(store, "Let a replica take over as planned: nothing is lost.", asks=True, logs=True)
@click.option("--primary", default="", metavar="HOST:PORT", help="Of a cluster's primaries, this one.")
def failover(session: Session, primary: str) -> None:
    """Put a replica in the primary's place once it has all that was written. Needs Valkey 9.

    Sentinels do it, or the servers of a cluster. Nothing is lost; callers wait for a second, or get 503. SENTINEL
    FAILOVER without COORDINATED loses what was written meanwhile.
    """
    context = session.context
    session.confirm(f"Let a replica of {primary or session.settings.redis.shown_url} take over?")
    try:
        is_whole = operator_actions.fail_over(context, session.operator, primary)
    except ValueError as refused:
        raise click.ClickException(str(refused)) from refused
    if not is_whole:
        raise click.ClickException("The old primary was not seen to follow another. If one took over, it is fenced.")
    out.done("A replica took over, and nothing was lost.", primary=primary or session.settings.redis.shown_url)
