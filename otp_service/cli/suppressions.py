"""otp-service suppressions: keep messages back from numbers."""

from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter
from typing import TextIO

import click

from otp_service.cli import output as out
from otp_service.cli.common import (
    DAY,
    Session,
    checked_reason,
    command,
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
    ImportSource,
    add_suppressions,
    import_suppressions,
    suppressions_of,
)
from otp_service.services.consents import lift as lift_suppression
from otp_service.services.context import Context

_SCOPES = click.Choice([scope.value for scope in SETTABLE_SCOPES])
_about = options(
    click.option("--scope", type=_SCOPES, default="all", show_default=True,
                 help="all: codes that people ask for too. marketing_only: advertising, which is not sent here."),
    click.option("--application", "name", help="Only messages of this application; default: of all."),
)  # fmt: skip
"""Which messages."""
_until = click.option("--until", type=DAY, help="Day (UTC) on which it ends; default: never.")


@click.group()
def suppressions() -> None:
    """Keep messages back from numbers, or let them through again.

    What is said here is in force at once, for messages that wait too, and is kept in the ledger.
    """


@command(suppressions, applications=True)
@_about
@reason_option
@_until
@phone_number
def add(session: Session, scope: str, name: str | None, reason: str, until: datetime | None, to: Destination) -> None:
    """Let NUMBER get no more messages."""
    pseudonym, application = session.subject_key(to).pseudonym, session.application_or_all(name)
    why, end = checked_reason(reason), _end(until)
    entry = Suppression(pseudonym, application, SuppressionScope(scope), SuppressionSource.OPERATOR, why, end)
    add_suppressions(session.context, (entry,), session.action(OperatorAction.SUPPRESSION_ADDED, application, scope))
    sentence = _sentence(to.mask, "gets", application, scope)
    out.done(sentence, to=to.mask, application=application, scope=scope, until=out.when(end))
    warn_of_mirror(session.context)


@command(suppressions, applications=True)
@_about
@reason_option
@phone_number
def lift(session: Session, scope: str, name: str | None, reason: str, to: Destination) -> None:
    """Let messages to NUMBER through again. What the person said, such as STOP, is lifted with a reason only."""
    context, subject = session.context, session.subject_key(to)
    application, why = session.application_or_all(name), checked_reason(reason)
    scoped = SuppressionScope(scope)
    entry = Suppression(subject.pseudonym, application, scoped, SuppressionSource.OPERATOR, why, lifted=True)
    if not why and any(one.source in HOLDER_SOURCES for one in context.ledger.suppressions.in_force(*entry.about)):
        raise click.UsageError("The person said stop: say why messages may go out again, by --reason.")
    lifted = lift_suppression(context, entry, session.action(OperatorAction.SUPPRESSION_LIFTED, application, scope))
    others, whose = _suppressed_at(context, subject), f"{number_or_application(application)} to {to.mask}"
    still = f" Still kept back: messages {', '.join(map(number_or_application, others))}." if others else ""
    if not lifted:
        option = f" Lift that by --application {others[0]}." if others and others[0] != EVERY_APPLICATION else ""
        raise click.ClickException(f"Messages {whose} are not suppressed ({scope}).{still}{option}")
    frozen = (
        " It is frozen." if active_freezes(suppressions_of(context, subject.pseudonym)) else ""
    )  # no lift ends that
    out.done(
        f"Lifted: messages {whose}.{still}{frozen}",
        to=to.mask, application=application, scope=scope, kept_back=others, frozen=bool(frozen),
    )  # fmt: skip
    warn_of_mirror(context)


@command(suppressions, applications=True)
@phone_number
def show(session: Session, to: Destination) -> None:
    """Show all that is recorded of NUMBER, oldest first. Times are in UTC."""
    subject = session.subject_key(to)
    entries = suppressions_of(session.context, subject.pseudonym)
    out.table("entries", ("Recorded", "Application", "Scope", "What", "Source", "Until", "Reason"), map(_row, entries))
    kept_back, frozen = (
        _suppressed_at(session.context, subject),
        list(dict.fromkeys(map(_application, active_freezes(entries)))),
    )
    out.in_json(to=to.mask, kept_back=kept_back, frozen=frozen)
    if not entries:
        out.note(f"Nothing is recorded of {to.mask}.")
        return
    if frozen:
        out.note(f"Frozen: verifications {', '.join(map(number_or_application, frozen))}.")
    back = ", ".join(map(number_or_application, kept_back))
    if back or not frozen:
        out.note(f"Kept back: messages {back}." if back else "No messages are kept back.")


@command(suppressions, "Let the numbers of FILE get no more messages.", applications=True)
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
    """Let the numbers of FILE get no more messages: one a line, - for standard input.

    What follows a comma, a semicolon or # is passed over. A list that is imported again suppresses again who was let
    through since.
    """
    context, application, why = session.context, session.application_or_all(name), checked_reason(reason)
    of_region = region and region.upper()
    origin = ImportSource(application, SuppressionScope(scope), why, _end(until), of_region, session.operator)
    imported = ImportProgress()
    try:
        with closing(out.track("Lines", file, _lines_of(file))) as lines:
            for imported in import_suppressions(context, lines, origin):  # noqa: B007 - the last one counts
                pass
    except UnicodeDecodeError as foreign:
        done_so_far = f"{out.count_of(imported.numbers, 'number')} before that place imported"
        raise click.ClickException(f"The file is not UTF-8 throughout; {done_so_far}. Save it as UTF-8.") from foreign
    if imported.unreadable:
        some = ", ".join(map(str, imported.lines))
        more = " …" if imported.unreadable > len(imported.lines) else ""
        out.warn(f"Left out, since no number is there: {out.count_of(imported.unreadable, 'line')} ({some}{more}).")
    if not imported.numbers:
        raise click.ClickException("The file holds no number; nothing was changed.")
    sentence = _sentence(f"The numbers of {out.count_of(imported.numbers, 'line')}", "get", origin.application, scope)
    out.done(sentence, numbers=imported.numbers, new=imported.new, unreadable=imported.unreadable)
    out.note(f"New: {imported.new}; the others were there already, in the file or in the ledger, for the same reason.")
    warn_of_mirror(context)


def _lines_of(file: TextIO) -> int | None:
    """Return how many lines there are to read; ``None`` where that shows only at the end, as of a pipe."""
    if not file.seekable():
        return None
    begin = file.tell()
    count = sum(part.count(b"\n") for part in iter(partial(file.buffer.read, 1 << 20), b""))
    file.seek(begin)
    return count


def _suppressed_at(context: Context, to: SubjectKey) -> list[str]:
    """Return the applications whose messages are kept back from a number."""
    entries = suppressions_of(context, to.pseudonym)
    applications = dict.fromkeys(map(_application, entries))
    return [one for one in applications if is_suppressed([e for e in entries if e.application == one], now())]


_application = attrgetter("application")


def _sentence(who: str, gets: str, application: str, scope: str) -> str:
    if scope == SuppressionScope.MARKETING_ONLY:
        return f"Recorded that {who} {gets} no advertising {number_or_application(application)}. Codes still go out."
    return f"{who} {gets} no messages {number_or_application(application)} any more ({scope})."


def _end(until: datetime | None) -> int | None:
    if until is None:
        return None
    milliseconds = round(until.replace(tzinfo=UTC).timestamp() * 1000)
    if milliseconds <= now():
        raise click.UsageError("--until is in the past.")
    return milliseconds


def _row(entry: Suppression) -> out.Row:
    return (
        out.when(entry.recorded),
        out.Labelled(entry.application, "all" if entry.application == EVERY_APPLICATION else entry.application),
        entry.scope,
        "lifted" if entry.lifted else "frozen" if entry.scope is SuppressionScope.FROZEN else "suppressed",
        entry.source,
        out.when(entry.until),
        entry.reason,
    )
