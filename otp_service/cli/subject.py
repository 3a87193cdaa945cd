"""``otp-service subject``: what is held of a number, over all applications, and its erasure."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import click

from otp_service.cli.context import context_of
from otp_service.cli.options import config_option, destination, region_option
from otp_service.cli.output import done, note, table
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
    """Write all that is held of NUMBER, of all applications, as JSON. Times are in milliseconds since 1970, UTC."""
    context, to = _opened(number, region, path)
    found = subjects.export(context, to, None)
    passing = [{"id": one.id, "application": one.application, "status": one.status} for one in found.passing]
    click.echo(json.dumps({"to": found.mask, **asdict(found.holding), "passing": passing}, indent=2))


@subject.command()
@click.argument("number")
@click.option("--yes", is_flag=True, help="Do not ask.")
@region_option
@config_option
def erase(number: str, region: str | None, path: Path | None, *, yes: bool) -> None:
    """Erase what no dispute needs of NUMBER, of all applications. No limit, lock or suppression is touched."""
    context, to = _opened(number, region, path)
    if not yes:
        click.confirm(f"Erase what is held of {to.destination.mask}?", abort=True)
    did = subjects.erase(context, to, None)
    names = dict.fromkeys((*did.kept, *did.erased))
    table(("Table", "Erased", "Kept"), ((one, _count(did.erased, one), _count(did.kept, one)) for one in names))
    note(did.reason)
    done("Erased.")


def _count(rows: Mapping[str, int], name: str) -> str:
    return str(rows.get(name, 0))


def _opened(number: str, region: str | None, path: Path | None) -> tuple[Context, Named]:
    to = destination(number, region)
    context = context_of(load_settings(path))
    return context, named(context.keyring, to)
