"""otp-service application: the applications of the ledger."""

from collections.abc import Iterator
from pathlib import Path

import click

from otp_service.cli import output as out
from otp_service.cli.common import Session, command
from otp_service.errors import ConfigurationError
from otp_service.ledger.access import StoredApplication
from otp_service.services.access import add_application, change_application
from otp_service.settings.sources import read_file
from otp_service.settings.stored_applications import all_applications, dump_section, parse_section

_SOON = "Every process knows it within five seconds."


@click.group()
def application() -> None:
    """List applications; make and change those of the ledger.

    An application is in the configuration, as a section [applications.NAME], or in the ledger, where it is never
    deleted: without a valid key it can do nothing.
    """


@command(application, "List the applications.")
def list_(session: Session) -> None:
    """List the applications: where each is kept, its brand, purposes and countries."""
    headings = ("Name", "Kept in", "Brand", "Purposes", "Countries", "Changed")
    out.table("applications", headings, map(_row, _all(session)))


def _row(one: StoredApplication) -> out.Row:
    members = one.members
    brand = members.get("name") or one.name
    return one.name, one.source, brand, members["purposes"], members["countries"], out.when(one.changed)


@command(application, "Print the settings of an application.")
@click.argument("name")
def show(session: Session, name: str) -> None:
    """Print the settings of the application NAME, without keys, as "add" and "change" read them."""
    for one in _all(session):
        if one.name == name:
            out.note(f"Kept in the {one.source}.")
            if not out.in_json(name=name, kept_in=one.source, settings=one.members):
                click.echo("\n".join(out.toml_document(one.members)))
            return
    raise ConfigurationError(f"There is no application {name!r} ({out.program()} application list).")


@command(application, "Make an application.", access=True)
@click.argument("name")
@click.argument("file", type=out.FILE)
def add(session: Session, name: str, file: Path) -> None:
    """Make the application NAME in the ledger, with the settings of FILE.

    FILE holds the members of a section [applications.NAME], but for its heading and the keys, as TOML or, with the
    suffix .json, as JSON.
    """
    add_application(session.context, name, dump_section(parse_section(read_file(file))), session.operator)
    out.done(f"The application {name} is made. {_SOON}", name=name)
    out.note(f"It needs a key: {out.program()} key add {name}")


@command(application, "Change an application.", access=True)
@click.argument("name")
@click.argument("file", type=out.FILE)
def change(session: Session, name: str, file: Path) -> None:
    """Give the application NAME of the ledger the settings of FILE, and no others.

    What "show" prints is such a file. Verifications that live keep what they were started with.
    """
    change_application(session.context, name, dump_section(parse_section(read_file(file))), session.operator)
    out.done(f"The application {name} is changed. {_SOON}", name=name)


def _all(session: Session) -> Iterator[StoredApplication]:
    return all_applications(session.settings.applications, session.context.ledger.applications.all())
