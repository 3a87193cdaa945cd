"""otp-service suppressions and subject: STOPs, export, erasure, freeze."""

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import click

from otp_service.api.responses import EXPORT, export_answer
from otp_service.cli.common import (
    act_of,
    informed_context,
    known_application,
    of_application,
    opened,
    operator_login,
    short_reason,
    warn_of_mirror,
)
from otp_service.cli.output import (
    Cell,
    Shown,
    config_option,
    counted,
    done,
    in_json,
    json_text,
    note,
    reading,
    region_option,
    table,
    tracked,
    warn,
    when,
)
from otp_service.domain.numbers import Named
from otp_service.domain.people import (
    EVERY_APPLICATION,
    OF_THE_HOLDER,
    SAID_FREELY,
    Act,
    Suppression,
    SuppressionScope,
    SuppressionSource,
    freezes,
    keeps_codes_back,
)
from otp_service.ledger.database import now
from otp_service.services import people
from otp_service.services import people as freezing
from otp_service.services.context import Context
from otp_service.services.people import (
    FreezeStanding,
    Imported,
    ListOrigin,
    entries_of,
    import_suppressions,
    lift,
    suppress_number,
)
from otp_service.settings import load_settings

_SCOPES = click.Choice([scope.value for scope in SAID_FREELY])
Command = Callable[..., Any]


@click.group()
def suppressions() -> None:
    """Keep messages back from numbers, or let them through again.

    What is said here is in force at once, for messages that wait too, and is kept in the ledger.
    """


def _about(command: Command) -> Command:
    """Add the options that say which messages."""
    for option in (
        click.option("--scope", type=_SCOPES, default="all", show_default=True,
                     help="all: codes that people ask for too. marketing_only: advertising, which is not sent here."),
        click.option("--application", "name", help="Only messages of this application; default: of all."),
    ):  # fmt: skip
        command = option(command)
    return command


_reason = click.option("--reason", default="", help="For people who ask later; no personal data.")


def _why(command: Command) -> Command:
    """Add the options that say why, and until when."""
    until = click.option(
        "--until", type=click.DateTime(["%Y-%m-%d"]), help="Day (UTC) on which it ends; default: never."
    )
    return _reason(until(command))


@suppressions.command()
@click.argument("number")
@_about
@_why
@region_option
@config_option
def add(
    number: str,
    scope: str,
    name: str | None,
    reason: str,
    until: datetime | None,
    region: str | None,
    path: Path | None,
) -> None:
    """Let NUMBER get no more messages."""
    context, to = opened(number, region, path)
    application = known_application(context, name)
    why, end = short_reason(reason), _end(until)
    entry = Suppression(to.pseudonym, application, SuppressionScope(scope), SuppressionSource.OPERATOR, why, end)
    suppress_number(context, (entry,), act_of(Act.SUPPRESSION_ADDED, application, scope))
    done(_told(to.destination.mask, "gets", application, scope))
    warn_of_mirror(context)


@suppressions.command(name="lift")
@click.argument("number")
@_about
@_reason
@region_option
@config_option
def lift_one(number: str, scope: str, name: str | None, reason: str, region: str | None, path: Path | None) -> None:
    """Let messages to NUMBER through again. What the person said, such as STOP, is lifted with a reason only."""
    context, to = opened(number, region, path)
    application, why = known_application(context, name), short_reason(reason)
    entry = Suppression(
        to.pseudonym, application, SuppressionScope(scope), SuppressionSource.OPERATOR, why, lifted=True
    )
    if not why and any(one.source in OF_THE_HOLDER for one in context.ledger.suppressions.in_force(*entry.about)):
        raise click.UsageError("The person said stop: say why messages may go out again, by --reason.")
    act = act_of(Act.SUPPRESSION_LIFTED, application, scope)
    lifted, others = lift(context, entry, act), _kept_back(context, to)
    still = f" Still kept back: messages {', '.join(map(of_application, others))}." if others else ""
    if not lifted:
        sentence = f"Messages {of_application(application)} to {to.destination.mask} are not suppressed ({scope})."
        option = f" Lift that by --application {others[0]}." if others and others[0] != EVERY_APPLICATION else ""
        raise click.ClickException(f"{sentence}{still}{option}")
    done(f"Lifted: messages {of_application(application)} to {to.destination.mask}.{still}{_frozen(context, to)}")
    warn_of_mirror(context)


@suppressions.command()
@click.argument("number")
@region_option
@reading
def show(number: str, region: str | None, path: Path | None) -> None:
    """Show all that is recorded of NUMBER, oldest first. Times are in UTC."""
    context, to = opened(number, region, path)
    entries = entries_of(context, to.pseudonym)
    table("entries", ("Recorded", "Application", "Scope", "What", "Source", "Until", "Reason"), map(_row, entries))
    kept_back, frozen_at = _kept_back(context, to), [one.application for one in freezes(entries)]
    in_json(to=to.destination.mask, kept_back=kept_back, frozen=list(dict.fromkeys(frozen_at)))
    if not entries:
        note(f"Nothing is recorded of {to.destination.mask}.")
        return
    frozen = ", ".join(dict.fromkeys(map(of_application, frozen_at)))
    if frozen:
        note(f"Frozen: verifications {frozen}.")
    back = ", ".join(map(of_application, kept_back))
    if back or not frozen:
        note(f"Kept back: messages {back}." if back else "No messages are kept back.")


@suppressions.command(name="import", short_help="Let the numbers of FILE get no more messages.")
@click.argument("file", type=click.File(encoding="utf-8-sig"))
@_about
@_why
@region_option
@config_option
def import_list(
    file: Any,  # noqa: ANN401 - click's, of text
    scope: str,
    name: str | None,
    reason: str,
    until: datetime | None,
    region: str | None,
    path: Path | None,
) -> None:
    """Let the numbers of FILE get no more messages: one a line, - for standard input.

    What follows a comma, a semicolon or # is passed over. Who was let through since, by hand or by START, is suppressed
    again when a list is imported again.
    """
    context = informed_context(load_settings(path))
    application, why = known_application(context, name), short_reason(reason)
    origin = ListOrigin(
        application, SuppressionScope(scope), why, _end(until), region and region.upper(), operator_login()
    )
    imported = Imported()
    try:
        with closing(tracked("Lines", file, _lines_of(file))) as lines:
            for imported in import_suppressions(context, lines, origin):  # noqa: B007 - the last one counts
                pass
    except UnicodeDecodeError as foreign:
        done_so_far = f"{counted(imported.numbers, 'number')} before that place imported"
        raise click.ClickException(f"The file is not UTF-8 throughout; {done_so_far}. Save it as UTF-8.") from foreign
    if imported.unreadable:
        some = ", ".join(map(str, imported.lines))
        more = " …" if imported.unreadable > len(imported.lines) else ""
        warn(f"Left out, since no number is there: {counted(imported.unreadable, 'line')} ({some}{more}).")
    if not imported.numbers:
        raise click.ClickException("The file holds no number; nothing was changed.")
    done(_told(f"The numbers of {counted(imported.numbers, 'line')}", "get", origin.application, scope))
    note(f"New: {imported.new}; the others were there already, in the file or in the ledger, for the same reason.")
    warn_of_mirror(context)


def _lines_of(file: TextIO) -> int | None:
    """Return how many lines there are to read; ``None`` where that shows only at the end, as of a pipe."""
    if not file.seekable():
        return None
    begin = file.tell()
    count = sum(part.count(b"\n") for part in iter(partial(file.buffer.read, 1 << 20), b""))
    file.seek(begin)
    return count


def _kept_back(context: Context, to: Named) -> list[str]:
    """Return the applications whose messages are kept back from a number."""
    entries = entries_of(context, to.pseudonym)
    applications = dict.fromkeys(entry.application for entry in entries)
    return [one for one in applications if keeps_codes_back([e for e in entries if e.application == one], now())]


def _frozen(context: Context, to: Named) -> str:
    """Return a sentence that says so where a number is frozen, which no lift of a suppression ends."""
    return " It is frozen." if freezes(entries_of(context, to.pseudonym)) else ""


def _told(who: str, gets: str, application: str, scope: str) -> str:
    if scope == SuppressionScope.MARKETING_ONLY:
        return f"Recorded that {who} {gets} no advertising {of_application(application)}. Codes still go out."
    return f"{who} {gets} no messages {of_application(application)} any more ({scope})."


def _end(until: datetime | None) -> int | None:
    if until is None:
        return None
    milliseconds = round(until.replace(tzinfo=UTC).timestamp() * 1000)
    if milliseconds <= now():
        raise click.UsageError("--until is in the past.")
    return milliseconds


def _row(entry: Suppression) -> tuple[Cell, ...]:
    return (
        when(entry.recorded),
        Shown(entry.application, "all" if entry.application == EVERY_APPLICATION else entry.application),
        entry.scope,
        "lifted" if entry.lifted else "frozen" if entry.scope is SuppressionScope.FROZEN else "suppressed",
        entry.source,
        when(entry.until),
        entry.reason,
    )


@click.group()
def subject() -> None:
    """Show or erase what is held of a number, or freeze it."""


@subject.command(short_help="Write all that is held of NUMBER, as JSON.")
@click.argument("number")
@region_option
@reading
def export(number: str, region: str | None, path: Path | None) -> None:
    """Write all that is held of NUMBER, by application, as JSON; * has what is of all of them.

    What is held of each is told as POST /v1/subjects/export does.
    """
    context, to = opened(number, region, path)
    found = people.export(context, to, None)
    parts = people.by_application(found).items()
    applications = {name: EXPORT.dump_python(export_answer(part), mode="json") for name, part in parts}
    if not in_json(**(document := {"to": found.mask, "applications": applications})):
        click.echo(json_text(document))


@subject.command()
@click.argument("number")
@click.option("--yes", is_flag=True, help="Do not ask.")
@region_option
@config_option
def erase(number: str, region: str | None, path: Path | None, *, yes: bool) -> None:
    """Erase what no dispute needs of NUMBER, of all applications. No limit, lock or suppression is touched."""
    context, to = opened(number, region, path)
    if not yes:
        click.confirm(f"Erase what no dispute needs of {to.destination.mask}? The rest stays.", abort=True)
    did = people.erase(context, to, None, act_of(Act.SUBJECT_ERASED, EVERY_APPLICATION))
    consents, reasons, messages = (did.erased[name] for name in ("consents", "suppressions", "inbound"))
    erased = (
        f"addresses and words from {counted(consents, 'consent')}, reasons of {counted(reasons, 'suppression')}, "
        f"senders of {counted(messages, 'inbound message')}"
    )
    kept = ", ".join(counted(rows, name.removesuffix("s")) for name, rows in did.kept.items())
    done(f"Erased: {erased}.")
    note(f"Kept: {kept}. {did.reason}")


def _whose(command: Command) -> Command:
    """Add the options that say for which applications."""
    for option in (
        click.option("--all", "every", is_flag=True, help="For all applications."),
        click.option("--application", "name", help="For this application."),
    ):
        command = option(command)
    return command


@subject.command()
@click.argument("number")
@_whose
@click.option("--reason", default="", help="For people who ask later; no personal data.")
@region_option
@config_option
def freeze(number: str, name: str | None, reason: str, region: str | None, path: Path | None, *, every: bool) -> None:
    """Stop everything for NUMBER: fraud was reported.

    Nothing starts, what is pending is canceled, what waits is not sent, and no code is approved. Nothing but unfreeze
    lifts it: no START of the holder's, no lift of a suppression, no erasure.
    """
    context, to, application = _opened_for(number, region, path, name, every=every)
    why = short_reason(reason)
    did = freezing.freeze(context, to, application, SuppressionSource.OPERATOR, why, operator_login())
    done(f"Frozen: verifications {of_application(application)} for {to.destination.mask}.")
    note(f"Canceled: {counted(len(did.ended), 'verification')} that {_were(did)} pending.")
    warn_of_mirror(context)


@subject.command()
@click.argument("number")
@_whose
@region_option
@config_option
def unfreeze(number: str, name: str | None, region: str | None, path: Path | None, *, every: bool) -> None:
    """Let verifications of NUMBER start again. What was canceled stays so."""
    context, to, application = _opened_for(number, region, path, name, every=every)
    by = operator_login()
    found, was_frozen = freezing.unfreeze(context, to, application, SuppressionSource.OPERATOR, by)
    others = ", ".join(dict.fromkeys(of_application(one.application) for one in found.entries))
    still = f" Still frozen: verifications {others}." if others else ""
    if not was_frozen:
        sentence = f"Verifications {of_application(application)} for {to.destination.mask} are not frozen."
        raise click.ClickException(f"{sentence}{still}")
    done(f"Lifted: verifications {of_application(application)} for {to.destination.mask} may start again.{still}")
    warn_of_mirror(context)


def _were(did: FreezeStanding) -> str:
    return "was" if len(did.ended) == 1 else "were"


def _opened_for(
    number: str, region: str | None, path: Path | None, name: str | None, *, every: bool
) -> tuple[Context, Named, str]:
    """Return what is needed to freeze a number for an application or for every one, one of which has to be said."""
    if every == (name is not None):
        raise click.UsageError("Say for which application: --application NAME, or --all.")
    context, to = opened(number, region, path)
    return context, to, EVERY_APPLICATION if every else known_application(context, name)
