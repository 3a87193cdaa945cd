"""The decorator `command`, its `Session`, and common options."""

import os
import pwd
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, reduce, wraps
from pathlib import Path
from typing import Any

import click

from otp_service.bootstrap import install
from otp_service.cli import output as out
from otp_service.cli.output import config_option
from otp_service.domain.applications import Application
from otp_service.domain.audit import OperatorAction, OperatorActionEntry
from otp_service.domain.consents import EVERY_APPLICATION, MAX_REASON
from otp_service.domain.numbers import Destination, SubjectKey, parse_destination, subject_key
from otp_service.domain.payments import Transaction
from otp_service.domain.verification import Channel
from otp_service.errors import ConfigurationError, InvalidNumberError, LedgerUnavailableError
from otp_service.services.audit import AuditProgress, count_entries
from otp_service.services.consents import is_reason
from otp_service.services.context import Context
from otp_service.settings import Settings, load_settings
from otp_service.telemetry.logging import Renderer, configure_logging

Function = Callable[..., Any]
DAY = click.DateTime(["%Y-%m-%d"])
CHANNELS = click.Choice([channel.value for channel in Channel])
_json = click.option("--json", "as_json", is_flag=True, help="JSON, for programs.")
_yes = click.option("--yes", is_flag=True, help="Do not ask.")
_COMMON = {"yes", "path", "as_json"}
region_option = click.option("--region", help="Region of a number in national spelling, such as PK.")
application_option = click.option("--application", "name", help="Name of the application; default: the only one.")


@dataclass
class Session:
    """A run of a command, which reads settings and opens services when first used."""

    path: Path | None
    """The configuration file."""
    yes: bool = False
    logs: bool = False
    applications: bool = False
    access: bool = False

    @cached_property
    def settings(self) -> Settings:
        """The settings, which may lack root keys; raises `ConfigurationError`."""
        return load_settings(self.path, root_keys=False)

    @cached_property
    def unchecked_settings(self) -> Settings:
        """The settings, without the checks that refuse a start."""
        return load_settings(self.path, to_start=False)

    @cached_property
    def context(self) -> Context:
        """The context of the services; raises `ConfigurationError`, and `LedgerUnavailableError` for ``access``."""
        settings = self.settings
        if self.logs or self.access:  # at a terminal the command's own output is enough
            level = "CRITICAL" if sys.stderr.isatty() else settings.logging.level
            configure_logging(level, Renderer(settings.logging.format))
        else:
            configure_logging("WARNING", Renderer.CONSOLE)
        root = click.get_current_context().find_root()
        root.obj = settings  # for the message about a Redis that does not answer
        context = install(settings).context
        root.call_on_close(context.ledger.close)
        if self.access and settings.ledger.upgrade:
            context.ledger.upgrade()
        try:
            if self.applications or self.access:
                context.access_cache.refresh()
        except LedgerUnavailableError as away:
            if self.access:
                raise
            out.warn(f"{away} Only the applications of the configuration are known.")
        return context

    @property
    def operator(self) -> str:
        return operator_login()

    def subject_key(self, to: Destination) -> SubjectKey:
        return subject_key(self.context.keyring, to)

    def application(self, name: str | None) -> Application:
        """Return an application by its name, or the only one; raises `ConfigurationError`."""
        return find_application(self.context.applications, name)

    def application_or_all(self, name: str | None) -> str:
        """Return the name of an existing application, or `EVERY_APPLICATION` for ``None``."""
        if name is not None and name not in (known := self.context.applications):
            raise click.UsageError(f"The application {name} does not exist; choose from: {', '.join(sorted(known))}.")
        return name or EVERY_APPLICATION

    def action(
        self, action: OperatorAction, application: str = EVERY_APPLICATION, details: str = ""
    ) -> OperatorActionEntry:
        """Return an action of the operator at the command line, for the ledger."""
        application = "" if application == EVERY_APPLICATION else application
        return OperatorActionEntry(action, self.operator, application, details)

    def confirm(self, question: str, consequences: str = "") -> None:
        """Ask for confirmation, unless ``--yes`` was given."""
        if not self.yes:
            if consequences:
                out.note(out.wrap(consequences))
            click.confirm(question, abort=True, err=True)

    def show_audit_progress(self, progress: AuditProgress) -> AbstractContextManager[None]:
        return out.progress("Entries", lambda: progress.entries, count_entries(self.context))


def command(
    group: click.Group | None = None,
    short_help: str | None = None,
    *,
    name: str | None = None,
    asks: bool = False,
    logs: bool = False,
    applications: bool = False,
    access: bool = False,
) -> Callable[[Function], click.Command]:
    """Make a function a command, of a group or by itself: its first argument is the `Session`, the others are options.

    Every command has ``--config``, and ``--json``, which prints a single document on standard output. ``asks`` adds
    ``--yes`` for `Session.confirm`. With ``applications`` the context includes the applications of the ledger, and a
    warning if they cannot be read. With ``access`` the ledger must answer, and is made if it is missing. ``access`` and
    ``logs`` log as the service does.
    """

    def decorate(function: Function) -> click.Command:
        @wraps(function)
        def run(path: Path | None, *, as_json: bool = False, yes: bool = False, **options: Any) -> None:  # noqa: ANN401
            session = Session(path, yes=yes, logs=logs, applications=applications, access=access)
            with out.json_document() if as_json else nullcontext():
                function(session, **options)

        shared = options(*([_yes] if asks else []), config_option, _json)
        command_name = name or function.__name__.strip("_").replace("_", "-")
        make = group.command if group else click.command
        made: click.Command = make(command_name, short_help=short_help)(shared(run))
        # Arguments come first, then the command's own options.
        made.params.sort(key=lambda parameter: (not isinstance(parameter, click.Argument), parameter.name in _COMMON))
        return made

    return decorate


def options(*decorators: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Return a decorator that adds several options, in this order."""
    return lambda function: reduce(lambda decorated, add: add(decorated), reversed(decorators), function)


def phone_number(function: Function) -> Function:
    """Add NUMBER and ``--region``; the command takes the number as ``to``."""

    @wraps(function)
    def parsing(*args: Any, number: str, region: str | None, **options: Any) -> None:  # noqa: ANN401 - click's
        function(*args, to=parse_number(number, region), **options)

    return click.argument("number")(region_option(parsing))


def parse_number(number: str, region: str | None) -> Destination:
    """Return the destination of a typed number; raise `InvalidNumberError`."""
    try:
        return parse_destination(number, region.upper() if region else None)
    except InvalidNumberError as invalid:
        if not region and number.lstrip(" (")[:1].isdigit():
            raise InvalidNumberError("A national number needs --region, such as --region PK.") from invalid
        raise


def day_start(day: datetime | None, days: int = 0) -> int | None:
    """Return the beginning of a day (UTC), or of a later day, in milliseconds since the epoch."""
    return None if day is None else round(day.replace(tzinfo=UTC).timestamp() * 1000) + days * 86_400_000


def find_application(applications: Mapping[str, Application], name: str | None) -> Application:
    """Return an application by its name, or the only one; raise `ConfigurationError`."""
    if name is None and len(applications) == 1:
        return next(iter(applications.values()))
    if name is None or name not in applications:
        known = ", ".join(sorted(applications)) or "none"
        raise ConfigurationError(f"Name one of the applications with --application: {known}.")
    return applications[name]


def operator_login() -> str:
    """Return the login of the operator, for the ledger: behind ``sudo`` the login that called it."""
    user = os.getuid()
    # Other users could set SUDO_USER to any name; root can record any name in other ways too.
    before = os.environ.get("SUDO_USER") if user == 0 else None
    try:
        return f"cli:{before or pwd.getpwuid(user).pw_name}"
    except KeyError:  # a container's user may have no name
        return f"cli:{user}"


def number_or_application(application: str) -> str:
    """Return ``of NAME`` or ``of any application``."""
    return "of any application" if application == EVERY_APPLICATION else f"of {application}"


def checked_reason(reason: str) -> str:
    """Return a reason that may be stored; raise `click.UsageError`."""
    if not is_reason(reason):
        raise click.UsageError(f"A reason has at most {MAX_REASON} printable characters, and no phone number.")
    return reason


reason_option = click.option("--reason", default="", help="Reason for the record; no personal data.")
_PAYMENT = {
    "amount": "Such as 1500.00.",
    "currency": "ISO 4217, such as PKR.",
    "payee": "Recipient of the payment, for a purpose of kind transaction.",
}


def payment_options(function: Function) -> Function:
    """Add the options of a payment; the command takes them as ``transaction``."""

    @wraps(function)
    def parsing(*args: Any, **options: Any) -> None:  # noqa: ANN401 - click's
        values = [options.pop(name) for name in _PAYMENT]
        if None in values and any(value is not None for value in values):
            raise click.UsageError("--amount, --currency and --payee must be given together.")
        function(*args, transaction=None if None in values else Transaction(*values), **options)

    for name, text in reversed(_PAYMENT.items()):
        parsing = click.option(f"--{name}", help=text)(parsing)
    return parsing
