"""otp-service suppressions: suppress messages to numbers."""

from contextlib import closing
from datetime import datetime
from functools import partial
from typing import TextIO

import click

from otp_service.cli import output as out
from otp_service.cli.common import (
    DAY,
    Session,
    checked_reason,
    command,
    day_start,
    number_or_application,
    options,
    phone_number,
    reason_option,
    region_option,
)
from otp_service.cli.doctor import warn_of_mirror
from otp_service.clock import now
from otp_service.domain.audit import OperatorAction
from otp_service.domain.consents import (
    EVERY_APPLICATION,
    HOLDER_SOURCES,
    SETTABLE_SCOPES,
    Suppression,
    SuppressionScope,
    SuppressionSource,
    active_freezes,
    is_suppressed,
)
from otp_service.domain.numbers import Destination, SubjectKey
from otp_service.services.consents import (
    ImportProgress,
    add_suppressions,
    import_suppressions,
)
from otp_service.services.consents import lift as lift_suppression
from otp_service.services.context import Context

_SCOPES = click.Choice([scope.value for scope in SETTABLE_SCOPES])
_about = options(
    click.option("--scope", type=_SCOPES, default="all", show_default=True,
                 help="all: blocks every message, including codes. marketing_only: advertising, never sent here."),
    click.option("--application", "name", help="Only messages of this application; default: all."),
)  # fmt: skip
"""Which messages."""
_until = click.option("--until", type=DAY, help="Day (UTC) on which it ends; default: never.")


@click.group()
def suppressions() -> None:
    """Suppress messages to numbers, or lift suppressions.

    Changes apply at once, also to queued messages, and are recorded in the ledger.
    """


@command(suppressions, applications=True)
@_about
@reason_option
@_until
@phone_number
def add(session: Session, scope: str, name: str | None, reason: str, until: datetime | None, to: Destination) -> None:
    """Suppress messages to NUMBER."""
    pseudonym, application = session.subject_key(to).pseudonym, session.application_or_all(name)
    why, end = checked_reason(reason), _end(until)
    entry = Suppression(pseudonym, application, SuppressionScope(scope), SuppressionSource.OPERATOR, why, end)
    add_suppressions(session.context, (entry,), session.action(OperatorAction.SUPPRESSION_ADDED, application, scope))
    sentence = _sentence(to.mask, application, scope)
    out.done(sentence, to=to.mask, application=application, scope=scope, until=out.when(end))
    warn_of_mirror(session.context)


@command(suppressions, applications=True)
@_about
@reason_option
@phone_number
def lift(session: Session, scope: str, name: str | None, reason: str, to: Destination) -> None:
    """Lift the suppression of NUMBER. An opt-out of the number's holder, such as STOP, requires a reason."""
    context, subject = session.context, session.subject_key(to)
    application, why = session.application_or_all(name), checked_reason(reason)
    scoped = SuppressionScope(scope)
    entry = Suppression(subject.pseudonym, application, scoped, SuppressionSource.OPERATOR, why, lifted=True)
    in_force = context.ledger.suppressions.in_force(*entry.key)
    if not why and any(active.source in HOLDER_SOURCES for active in in_force):
        raise click.UsageError("The number's holder opted out: state why messages may be sent again with --reason.")
    lifted = lift_suppression(context, entry, session.action(OperatorAction.SUPPRESSION_LIFTED, application, scope))
    others, whose = _suppressed_at(context, subject), f"{number_or_application(application)} to {to.mask}"
    still = f" Still suppressed: messages {', '.join(map(number_or_application, others))}." if others else ""
    if not lifted:
        option = f" Lift that by --application {others[0]}." if others and others[0] != EVERY_APPLICATION else ""
        raise click.ClickException(f"Messages {whose} are not suppressed ({scope}).{still}{option}")
    # No lift ends a freeze.
    frozen = " It is frozen." if active_freezes(context.ledger.suppressions.of(subject.pseudonym)) else ""
    out.done(
        f"Lifted: messages {whose}.{still}{frozen}",
        to=to.mask, application=application, scope=scope, kept_back=others, frozen=bool(frozen),
    )  # fmt: skip
    warn_of_mirror(context)


@command(suppressions, applications=True)
@phone_number
def show(session: Session, to: Destination) -> None:
    """Show the suppressions of NUMBER, oldest first. Times are in UTC."""
    subject = session.subject_key(to)
    entries = session.context.ledger.suppressions.of(subject.pseudonym)
    out.table("entries", ("Recorded", "Application", "Scope", "What", "Source", "Until", "Reason"), map(_row, entries))
    kept_back = _suppressed_at(session.context, subject)
    frozen = list(dict.fromkeys(entry.application for entry in active_freezes(entries)))
    out.in_json(to=to.mask, kept_back=kept_back, frozen=frozen)
    if not entries:
        out.note(f"No suppressions recorded for {to.mask}.")
        return
    if frozen:
        out.note(f"Frozen: verifications {', '.join(map(number_or_application, frozen))}.")
    back = ", ".join(map(number_or_application, kept_back))
    if back or not frozen:
        out.note(f"Suppressed: messages {back}." if back else "No messages are suppressed.")


@command(suppressions, "Suppress messages to the numbers in FILE.", applications=True)
@click.argument("file", type=click.File(encoding="utf-8-sig"))
@_about
@reason_option
@_until
@region_option
def import_(
    session: Session,
    file: TextIO,
    scope: str,
    name: str | None,
    reason: str,
    until: datetime | None,
    region: str | None,
) -> None:
    """Suppress messages to the numbers in FILE, one per line; - for standard input.

    Text after a comma, a semicolon or # is ignored. Importing a list again suppresses numbers that were lifted since.
    """
    context, application, why = session.context, session.application_or_all(name), checked_reason(reason)
    entry = Suppression("", application, SuppressionScope(scope), SuppressionSource.IMPORT, why, _end(until))
    imported, total = ImportProgress(), None
    if file.seekable():  # not a pipe
        begin = file.tell()
        total = sum(part.count(b"\n") for part in iter(partial(file.buffer.read, 1 << 20), b""))
        file.seek(begin)
    try:
        with closing(out.track("Lines", file, total)) as lines:
            progress = import_suppressions(context, lines, entry, region and region.upper(), session.operator)
            for imported in progress:  # noqa: B007 - the last one counts
                pass
    except UnicodeDecodeError as foreign:
        before = out.count_of(imported.numbers, "number")
        message = f"The file is not valid UTF-8. Imported before the error: {before}. Save the file as UTF-8."
        raise click.ClickException(message) from foreign
    if imported.unreadable:
        some = ", ".join(map(str, imported.lines))
        more = " …" if imported.unreadable > len(imported.lines) else ""
        out.warn(f"Skipped, without a number: {out.count_of(imported.unreadable, 'line')} ({some}{more}).")
    if not imported.numbers:
        raise click.ClickException("The file contains no numbers; nothing was changed.")
    sentence = _sentence(f"the numbers of {out.count_of(imported.numbers, 'line')}", application, scope)
    out.done(sentence, numbers=imported.numbers, new=imported.new, unreadable=imported.unreadable)
    out.note(f"New: {imported.new}. The others are duplicates in the file, or were suppressed for the same reason.")
    warn_of_mirror(context)


def _suppressed_at(context: Context, to: SubjectKey) -> list[str]:
    """Return the applications whose messages to a number are suppressed."""
    entries = context.ledger.suppressions.of(to.pseudonym)
    applications = dict.fromkeys(entry.application for entry in entries)
    return [name for name in applications if is_suppressed([e for e in entries if e.application == name], now())]


def _sentence(numbers: str, application: str, scope: str) -> str:
    whose = number_or_application(application)
    if scope == SuppressionScope.MARKETING_ONLY:
        return f"Suppressed: advertising {whose} to {numbers}. Codes are still sent."
    return f"Suppressed: messages {whose} to {numbers} ({scope})."


def _end(until: datetime | None) -> int | None:
    end = day_start(until)
    if end is not None and end <= now():
        raise click.UsageError("--until is in the past. Name a later day.")
    return end


def _row(entry: Suppression) -> out.Row:
    application = out.Labelled(
        entry.application, "all" if entry.application == EVERY_APPLICATION else entry.application
    )
    kind = "lifted" if entry.lifted else "frozen" if entry.scope is SuppressionScope.FROZEN else "suppressed"
    until = out.when(entry.until)
    return out.when(entry.recorded), application, entry.scope, kind, entry.source, until, entry.reason
