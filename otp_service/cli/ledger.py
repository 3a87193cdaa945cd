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
"""Seconds to wait for the mirror."""
_POLL_INTERVAL: Final = 0.5
_PAUSE: Final = 0.05
"""Seconds between two batches, in which the service can write."""


@click.group()
def ledger() -> None:
    """Manage the ledger, the data that must not be lost."""


@command(ledger, "Show the contents of the ledger.")
def status(session: Session) -> None:
    """Show the numbers of rows, their retention, and the last deletions. Times are in UTC."""
    ledger, url = session.context.ledger, session.settings.ledger.shown_url
    more = out.Labelled(None, f"more than {MAX_COUNT}")
    shown = [(name, rows if rows <= MAX_COUNT else more) for name, rows in row_counts(ledger.database).items()]
    out.table("tables", ("Table", "Rows"), shown)
    began, diagnoses = ledger.purges.last_began(), list(mirror_diagnoses(session.context))
    if not out.in_json(url=url, last_purge=out.when(began or None), findings=list(map(out.members, diagnoses))):
        click.echo()
    rows: list[out.Row] = []
    for data, days in asdict(session.settings.retention.days).items():
        last = ledger.purges.latest(data)
        rows.append((data, timedelta(days=days), out.when(last.at) if last else None, last.rows if last else None))
    out.table("retention", ("Data", "Kept for", "Last deleted", "Rows"), rows)
    for diagnosis in diagnoses:
        (out.note if diagnosis.level is Level.OK else out.warn)(diagnosis.sentence)
    out.note(f"{url}; {f'the last purge began {out.moment(began)}' if began else 'no purge has run yet'}.")


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

    Use it after a restored backup of the ledger: data that only Redis has are deleted. Starts are refused until a
    second after the command has ended.
    """
    context = session.context
    session.confirm("Delete the opt-outs and consents of Redis, and replace them with those of the ledger?")
    with out.progress("Numbers", lambda: context.mirror_sync.built, context.ledger.mirror_source.count()):
        operator_actions.rebuild_mirror(context, session.operator)
        diagnosis = _wait_for_mirror(context)
    if diagnosis.level is not Level.OK:
        raise click.ClickException(f"{diagnosis.sentence} {diagnosis.action}")
    sequence = context.ledger.mirror_source.head().sequence
    out.done(f"The ledger is mirrored anew: {up_to_date(sequence)}", sequence=sequence)


def _wait_for_mirror(context: Context) -> Diagnosis:
    """Return the diagnosis of the finished mirror, which another process may have been building, of either ledger."""
    end = time.monotonic() + _MIRROR_TIMEOUT
    while (diagnosis := mirror_diagnosis(context)).level is not Level.OK and time.monotonic() < end:
        time.sleep(_POLL_INTERVAL)
        context.mirror_sync.rebuild() if diagnosis.level is Level.FAIL else context.mirror_sync.refresh()
    return diagnosis


@command(ledger)
def purge(session: Session) -> None:
    """Delete the data that are older than [retention] allows.

    Workers do this by themselves, once an hour. "otp-service ledger status" shows the last deletions.
    """

    def pause() -> bool:
        time.sleep(_PAUSE)
        return False

    purger = periodic_tasks.Purger(session.context, session.settings.retention.days, pause)
    with out.progress("Rows deleted", lambda: sum(purger.deleted.values())):
        deleted = purger.purge_now()
    out.table("deleted", ("Data", "Rows"), deleted.items())
    out.done(f"{out.count_of(sum(deleted.values()), 'row')} deleted.", rows=sum(deleted.values()))


@command(ledger, "Count the hourly statistics anew.")
def recount(session: Session) -> None:
    """Count the hourly statistics of verifications anew from their records.

    Use it after a restored backup, or a release with new statistics. Events recorded meanwhile are not lost. Hours
    with purged verifications keep their counts, and so do refusals.
    """
    counted = 0
    with out.progress("Verifications", lambda: counted):
        for batch in session.context.ledger.stats.recount():
            counted += batch
    out.done(f"{out.count_of(counted, 'verification')} counted anew.", verifications=counted)


_CONSEQUENCES = (
    "All pending verifications expire at once: people who wait for a code have to start again. Starts are refused "
    "until a process that ran before has seen that the ledger is complete, or you decide. This cannot be undone."
)


@click.group()
def store() -> None:
    """Manage Redis, which stores the data that expire."""


@command(store, "Expire all pending verifications after a restore.", asks=True, logs=True)
def fence(session: Session) -> None:
    """Expire all pending verifications, and close starts.

    Use it after Redis lost data: a backup was restored, a replica took over, or it was emptied. Run it before processes
    use such a Redis, or at once if they do. It needs neither a running service nor the ledger. Starts are refused
    (mirror-restored) until a process that ran before has seen that the ledger is complete, or until you decide:
    otp-service ledger rebuild.
    """
    context = session.context
    session.confirm(f"Fence the store at {session.settings.redis.shown_url}?", _CONSEQUENCES)
    fenced_until = operator_actions.fence_store(context, restored=True)
    recorded = operator_actions.record_action(context, session.action(OperatorAction.STORE_FENCED))
    if not recorded:  # last: the ledger may be away
        out.warn("The ledger is not responding: only the log of this command has a record of the fence.")
    sentence = f"Fenced: verifications started until {out.moment(fenced_until)} UTC are expired."
    out.done(sentence, fenced_until=out.when(fenced_until), recorded=recorded)
    out.note(f"Check whether starts are refused now (mirror-restored): {out.program()} doctor")


@command(store, "Promote a replica as planned, without loss.", asks=True, logs=True)
@click.option("--primary", default="", metavar="HOST:PORT", help="The primary to replace, in a cluster.")
def failover(session: Session, primary: str) -> None:
    """Promote a replica after it has received all writes. Needs Valkey 9.

    Sentinels do it, or the servers of a cluster. Nothing is lost; callers wait for a second, or get 503. SENTINEL
    FAILOVER without COORDINATED loses the writes of that time.
    """
    context = session.context
    session.confirm(f"Promote a replica of {primary or session.settings.redis.shown_url}?")
    try:
        is_whole = operator_actions.fail_over(context, session.operator, primary)
    except ValueError as refused:
        raise click.ClickException(str(refused)) from refused
    if not is_whole:
        raise click.ClickException("The old primary did not become a replica. If another took over, it is fenced.")
    out.done("A replica took over, and nothing was lost.", primary=primary or session.settings.redis.shown_url)
