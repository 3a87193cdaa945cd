"""``otp-service subject``: what is held of a number, over all applications, and its erasure."""

import json
from pathlib import Path

import click

from otp_service.api.people_answers import EXPORT, export_answer
from otp_service.cli.context import context_of
from otp_service.cli.options import config_option, destination, region_option
from otp_service.cli.output import counted, done, note
from otp_service.services import subjects
from otp_service.services.context import Context
from otp_service.services.named import Named, named
from otp_service.settings import load_settings


@click.group()
def subject() -> None:
    """Show or erase what is held of the person behind a number."""


@subject.command()
@click.argument("number")
@region_option
@config_option
def export(number: str, region: str | None, path: Path | None) -> None:
    """Write all that is held of NUMBER, by application, as JSON; * has what is of all of them.

    What is held of each is told as POST /v1/subjects/export does.
    """
    context, to = _opened(number, region, path)
    found = subjects.export(context, to, None)
    parts = subjects.by_application(found).items()
    applications = {name: EXPORT.dump_python(export_answer(part), mode="json") for name, part in parts}
    click.echo(json.dumps({"to": found.mask, "applications": applications}, indent=2, ensure_ascii=False))


@subject.command()
@click.argument("number")
@click.option("--yes", is_flag=True, help="Do not ask.")
@region_option
@config_option
def erase(number: str, region: str | None, path: Path | None, *, yes: bool) -> None:
    """Erase what no dispute needs of NUMBER, of all applications. No limit, lock or suppression is touched."""
    context, to = _opened(number, region, path)
    if not yes:
        click.confirm(f"Erase what no dispute needs of {to.destination.mask}? The rest stays.", abort=True)
    did = subjects.erase(context, to, None)
    addresses, messages = did.erased["consents"], did.erased["inbound"]
    erased = f"addresses from {counted(addresses, 'consent')}, senders of {counted(messages, 'inbound message')}"
    kept = ", ".join(counted(rows, name.removesuffix("s")) for name, rows in did.kept.items())
    done(f"Erased: {erased}.")
    note(f"Kept: {kept}. {did.reason}")


def _opened(number: str, region: str | None, path: Path | None) -> tuple[Context, Named]:
    to = destination(number, region)
    context = context_of(load_settings(path))
    return context, named(context.keyring, to)
