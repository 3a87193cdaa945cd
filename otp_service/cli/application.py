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

_SOON = "Every process uses it within five seconds."


@click.group()
def application() -> None:
    """List applications; make and change those of the ledger.

    An application is in the configuration, as a section [applications.NAME], or in the ledger, where it is never
    deleted: without a valid key it can do nothing.
    """


@command(application, "List the applications.")
def list_(session: Session) -> None:
    """List the applications with their place, brand, purposes and countries."""
    rows: list[out.Row] = []
    for stored in _all(session):
        members, changed = stored.members, out.when(stored.changed)
        brand = members.get("name") or stored.name
        rows.append((stored.name, stored.source, brand, members["purposes"], members["countries"], changed))
    out.table("applications", ("Name", "Kept in", "Brand", "Purposes", "Countries", "Changed"), rows)


@command(application, "Print the settings of an application.")
@click.argument("name")
def show(session: Session, name: str) -> None:
    """Print the settings of the application NAME, without keys, as "add" and "change" read them."""
    for stored in _all(session):
        if stored.name == name:
            out.note(f"Kept in the {stored.source}.")
            if not out.in_json(name=name, kept_in=stored.source, settings=stored.members):
                click.echo("\n".join(out.toml_document(stored.members)))
            return
    raise ConfigurationError(f"The application {name!r} does not exist ({out.program()} application list).")


@command(application, "Make an application.", access=True)
@click.argument("name")
@click.argument("file", type=out.FILE)
def add(session: Session, name: str, file: Path) -> None:
    """Add the application NAME to the ledger, with the settings in FILE.

    FILE has the members of a section [applications.NAME], without its heading and the keys, as TOML or, with the
    suffix .json, as JSON.
    """
    add_application(session.context, name, dump_section(parse_section(read_file(file))), session.operator)
    out.done(f"The application {name} is made. {_SOON}", name=name)
    out.note(f"It needs a key: {out.program()} key add {name}")


@command(application, "Change an application.", access=True)
@click.argument("name")
@click.argument("file", type=out.FILE)
def change(session: Session, name: str, file: Path) -> None:
    """Replace the settings of the application NAME of the ledger with those of FILE.

    "show" prints such a file. Pending verifications keep their settings.
    """
    change_application(session.context, name, dump_section(parse_section(read_file(file))), session.operator)
    out.done(f"The application {name} is changed. {_SOON}", name=name)


def _all(session: Session) -> Iterator[StoredApplication]:
    return all_applications(session.settings.applications, session.context.ledger.applications.all())
