"""``otp-service subject``: what is held of a number, over all applications, its erasure, and its freeze after fraud."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from otp_service.api.responses import EXPORT, export_answer
from otp_service.cli.context import operator_login
from otp_service.cli.entries import act_of, known_application, of_application, opened, short_reason, warn_of_mirror
from otp_service.cli.options import config_option, region_option
from otp_service.cli.output import counted, done, in_json, json_text, note, reading
from otp_service.domain.numbers import Named
from otp_service.domain.people import EVERY_APPLICATION, Act, SuppressionSource
from otp_service.services import people
from otp_service.services import people as freezing
from otp_service.services.context import Context
from otp_service.services.people import FreezeStanding

Command = Callable[..., Any]


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
