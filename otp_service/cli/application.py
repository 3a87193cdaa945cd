"""otp-service application: the applications of the ledger."""

from collections.abc import Iterator
from pathlib import Path

import click

from otp_service.cli.common import context_of, managing_context, operator_login
from otp_service.cli.output import (
    Cell,
    config_option,
    done,
    in_json,
    note,
    program,
    reading,
    table,
    toml_document,
    when,
)
from otp_service.errors import ConfigurationError
from otp_service.services.access import add_application, change_application
from otp_service.settings import Settings, load_settings
from otp_service.settings.sources import read_file
from otp_service.settings.stored import Kept, all_kept, section_of, text_of

_FILE = click.Path(exists=True, dir_okay=False, allow_dash=False, path_type=Path)
_SOON = "Every process knows it within five seconds."


@click.group()
def application() -> None:
    """List applications; make and change those of the ledger.

    An application is in the configuration, as a section [applications.NAME], or in the ledger, where it is made and
    changed while the service runs. It is never deleted: without a valid key it can do nothing.
    """


@application.command(name="list", short_help="List the applications.")
@reading
def list_(path: Path | None) -> None:
    """List the applications: where each is kept, its brand, purposes and countries."""
    headings = ("Name", "Kept in", "Brand", "Purposes", "Countries", "Changed")
    table("applications", headings, map(_row, _all(load_settings(path))))


def _row(one: Kept) -> tuple[Cell, ...]:
    members = one.members
    brand = members.get("name") or one.name
    return one.name, one.source, brand, members["purposes"], members["countries"], when(one.changed)


@application.command(short_help="Print the settings of an application.")
@click.argument("name")
@reading
def show(name: str, path: Path | None) -> None:
    """Print the settings of the application NAME, without keys, as "add" and "change" read them."""
    for one in _all(load_settings(path)):
        if one.name == name:
            note(f"Kept in the {one.source}.")
            if not in_json(name=name, kept_in=one.source, settings=dict(one.members)):
                click.echo("\n".join(toml_document(dict(one.members))))
            return
    raise ConfigurationError(f"There is no application {name!r} ({program()} application list).")


@application.command(short_help="Make an application.")
@click.argument("name")
@click.argument("file", type=_FILE)
@config_option
def add(name: str, file: Path, path: Path | None) -> None:
    """Make the application NAME in the ledger, with the settings of FILE.

    FILE holds the members of a section [applications.NAME], but for its heading and the keys, as TOML or, with the
    suffix .json, as JSON.
    """
    text = text_of(section_of(read_file(file)))
    add_application(managing_context(load_settings(path)), name, text, operator_login())
    done(f"The application {name} is made. {_SOON}")
    note(f"It needs a key: {program()} key add {name}")


@application.command(short_help="Change an application.")
@click.argument("name")
@click.argument("file", type=_FILE)
@config_option
def change(name: str, file: Path, path: Path | None) -> None:
    """Give the application NAME of the ledger the settings of FILE, and no others.

    What "show" prints is such a file. Verifications that live keep what they were started with.
    """
    text = text_of(section_of(read_file(file)))
    change_application(managing_context(load_settings(path)), name, text, operator_login())
    done(f"The application {name} is changed. {_SOON}")


def _all(settings: Settings) -> Iterator[Kept]:
    return all_kept(settings.applications, context_of(settings).ledger.applications.all())
