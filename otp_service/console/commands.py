"""otp-service console: the web page for support, fraud, compliance and operations, and its users."""

import multiprocessing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels

from otp_service.cli import output as out
from otp_service.cli.child_processes import KILL_AFTER, check_port, end_with_server, url_of
from otp_service.cli.common import Session, command
from otp_service.cli.main import resume_garbage_collection
from otp_service.cli.output import config_option, settings_for_children
from otp_service.cli.process_setup import open_installation, start_thread
from otp_service.console import authentication
from otp_service.console.accounts import NAME_RULE, NEVER_LIMITED, Role, is_user_name, may_be_limited
from otp_service.console.records import ConsoleUsers
from otp_service.console.settings import console_settings
from otp_service.settings import Settings
from otp_service.telemetry.logging import GRANIAN_LOGGING, Renderer, configure_logging, get_logger

if TYPE_CHECKING:  # the server's process imports it
    from otp_service.console.app import Console

_log = get_logger(__name__)


@click.command()
@config_option
def console(path: Path | None) -> None:
    """Serve the console. Its first user: otp-service console-user add NAME --role admin.

    It needs the pseudonym key, and no root key.
    """
    settings = settings_for_children(path, root_keys=False)
    own = console_settings(settings)
    configure_logging(settings.logging.level, Renderer(settings.logging.format))
    check_port(own.host, own.port, "console.port", "OTP_SERVICE__CONSOLE__PORT", 8083)
    open_installation(settings).close()  # report a fault once, before the server starts
    multiprocessing.set_start_method("spawn", force=True)
    server = Granian(
        "otp_service.console.app:app",
        address=own.host,
        port=own.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=1,
        blocking_threads=own.threads,
        respawn_failed_workers=True,
        workers_kill_timeout=KILL_AFTER,
        log_level=LogLevels.error,
        log_dictconfig=GRANIAN_LOGGING,
    )
    address = url_of(own.host, own.port)

    @server.on_startup
    def begin() -> None:
        start_thread("start", lambda: _log.info("console_serving", at=own.public_url or address))

    server.serve(target_loader=partial(_load, settings), wrap_loader=False)


def _load(settings: Settings) -> "Console":
    end_with_server()
    from otp_service.console.app import app  # noqa: PLC0415 - takes a second, in the server's process alone

    configure_logging(settings.logging.level, Renderer(settings.logging.format))
    application = app(settings)
    resume_garbage_collection()
    return application


@click.group()
def console_user() -> None:
    """Invite, list and disable users of the console."""


_role = click.option("--role", type=click.Choice([str(role) for role in Role]), required=True, help="What they do.")
_applications = click.option(
    "--application", "applications", multiple=True, help="Limit to this application; default: all."
)


@command(console_user, "Invite a user.", access=True)
@click.argument("name")
@_role
@_applications
def add(session: Session, name: str, role: str, applications: tuple[str, ...]) -> None:
    """Invite NAME; print the address, good once and for an hour, at which a password and an app are set."""
    if not is_user_name(name):
        raise click.UsageError(NAME_RULE)
    if applications and not may_be_limited(Role(role)):
        raise click.UsageError(NEVER_LIMITED)
    known = tuple(session.application_or_all(application) for application in applications)
    _print(session, name, authentication.invite(session.context, name, Role(role), known, session.operator))


@command(console_user, "Invite a user again.", access=True)
@click.argument("name")
def invite(session: Session, name: str) -> None:
    """Sign NAME out everywhere and print a new invitation, such as after a lost handset."""
    _print(session, name, authentication.invite_again(session.context, name, session.operator))


def _print(session: Session, name: str, invitation: str) -> None:
    settings = console_settings(session.settings)
    url = f"{settings.public_url or url_of(settings.host, settings.port)}/invitation/{invitation}"
    if not out.in_json(name=name, url=url):
        click.echo(url)
    out.note("This address works once, within an hour, and is shown only here.")


@command(console_user, "Disable a user.", name="disable", asks=True, access=True)
@click.argument("name")
def disable(session: Session, name: str) -> None:
    """Sign NAME out and disable the account."""
    session.confirm(f"Disable {name}?")
    is_disabled = ConsoleUsers(session.context.ledger.database).disable(name, session.operator)
    out.done(
        f"{name} is disabled." if is_disabled else f"There is no active user {name}.", name=name, disabled=is_disabled
    )


@command(console_user, "List the users.", name="list", access=True)
def list_users(session: Session) -> None:
    """List the users: role, applications, whether they may sign in, and when they did last."""
    rows: list[Any] = [
        (
            *(listed.user.name, str(listed.user.role), sorted(listed.user.applications) or out.Labelled(None, "all")),
            *(str(listed.state), out.when(listed.used)),
        )
        for listed in ConsoleUsers(session.context.ledger.database).all()
    ]
    out.table("users", ("Name", "Role", "Applications", "State", "Signed in last"), rows)
