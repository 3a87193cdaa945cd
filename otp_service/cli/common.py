"""What commands share: the decorator `command`, its `Session`, and common options."""

import os
import pwd
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
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
region_option = click.option("--region", help="Region of a number in national spelling, such as PK.")
application_option = click.option("--application", "name", help="Which application asks; default: the only one.")


@dataclass
class Session:
    """One run of a command; settings are read, and services opened, when first used."""

    path: Path | None
    """The configuration file."""
    yes: bool = False
    logs: bool = False
    applications: bool = False
    access: bool = False
    """These as `command` was given them."""

    @cached_property
    def settings(self) -> Settings:
        """The settings; raises `ConfigurationError`. That root keys are needed says what needs them."""
        return load_settings(self.path, root_keys=False)

    @cached_property
    def unchecked_settings(self) -> Settings:
        """The settings, without the checks that refuse a start."""
        return load_settings(self.path, to_start=False)

    @cached_property
    def context(self) -> Context:
        """What the use cases work with; raises `ConfigurationError`, and `LedgerUnavailableError` for ``access``."""
        settings = self.settings
        if self.logs or self.access:  # at a terminal the command's own sentences are enough
            level = "CRITICAL" if sys.stderr.isatty() else settings.logging.level
            configure_logging(level, Renderer(settings.logging.format))
        else:
            configure_logging("WARNING", Renderer.CONSOLE)
        root = click.get_current_context().find_root()
        root.obj = settings  # for the sentence that names a Redis which is away
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
            out.warn(f"{away} Only the applications of the configuration are known here.")
        return context

    @property
    def operator(self) -> str:
        """Who acts: see `operator_login`."""
        return operator_login()

    def subject_key(self, to: Destination) -> SubjectKey:
        """Return the names under which a number is kept in Redis and in the ledger."""
        return subject_key(self.context.keyring, to)

    def application(self, name: str | None) -> Application:
        """Return an application by its name, or the only one; raises `ConfigurationError`."""
        return find_application(self.context.applications, name)

    def application_or_all(self, name: str | None) -> str:
        """Return the name of an application that there is, `EVERY_APPLICATION` for ``None``."""
        if name is not None and name not in (known := self.context.applications):
            raise click.UsageError(f"There is no application {name}, only: {', '.join(sorted(known))}.")
        return name or EVERY_APPLICATION

    def action(
        self, action: OperatorAction, application: str = EVERY_APPLICATION, about: str = ""
    ) -> OperatorActionEntry:
        """Return an action of the operator at the command line, for the ledger."""
        return OperatorActionEntry(
            action, self.operator, "" if application == EVERY_APPLICATION else application, about
        )

    def confirm(self, question: str, means: str = "") -> None:
        """Ask whether to go on, and say what that means, unless ``--yes`` was given."""
        if not self.yes:
            if means:
                out.note(out.wrap(means))
            click.confirm(question, abort=True, err=True)

    @contextmanager
    def show_audit_progress(self, progress: AuditProgress) -> Iterator[None]:
        """Show how far the audit chain is verified."""
        with out.progress("Entries", lambda: progress.entries, count_entries(self.context)):
            yield


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

    It gets ``--config``, and ``--json``: one document then, and nothing else on standard output; with ``asks`` also
    ``--yes``, for `Session.confirm`. Its context knows the applications of the ledger too with ``applications``, and
    warns where they cannot be read. With ``access``, for who may call, the ledger is made where there is none, and has
    to answer; what is done is logged then, and with ``logs``, as the service does it.
    """

    def decorate(function: Function) -> click.Command:
        @wraps(function)
        def run(path: Path | None, *, as_json: bool = False, yes: bool = False, **options: Any) -> None:  # noqa: ANN401
            session = Session(path, yes=yes, logs=logs, applications=applications, access=access)
            with out.json_document() if as_json else nullcontext():
                function(session, **options)

        shared = options(*([_yes] if asks else []), config_option, _json)
        called = name or function.__name__.strip("_").replace("_", "-")
        make = group.command if group else click.command
        made: click.Command = make(called, short_help=short_help)(shared(run))
        made.params.sort(key=_ordered)
        return made

    return decorate


def _ordered(one: click.Parameter) -> int:
    """Put arguments first, then options of the command's own, then those of all."""
    return 0 if isinstance(one, click.Argument) else 2 if one.name in {"yes", "path", "as_json"} else 1


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
    """Return the destination that a person typed; raise `InvalidNumberError`."""
    try:
        return parse_destination(number, region.upper() if region else None)
    except InvalidNumberError as invalid:
        if not region and number.lstrip(" (")[:1].isdigit():
            raise InvalidNumberError("A national number needs --region, such as --region PK.") from invalid
        raise


def day_start(day: datetime | None, days: int = 0) -> int | None:
    """Return the beginning of a day (UTC), or of one after it, even the last: milliseconds since the epoch."""
    if day is None:
        return None
    return round(day.replace(tzinfo=UTC).timestamp() * 1000) + days * 86_400_000


def find_application(applications: Mapping[str, Application], name: str | None) -> Application:
    """Return an application by its name, or the only one; raise `ConfigurationError`."""
    if name is None and len(applications) == 1:
        return next(iter(applications.values()))
    if name is None or name not in applications:
        known = ", ".join(sorted(applications)) or "none"
        raise ConfigurationError(f"Name one of the applications with --application: {known}.")
    return applications[name]


def operator_login() -> str:
    """Return who uses the command line, as acts are recorded by: the login, behind ``sudo`` too.

    Only root is believed who it was before; root could claim anything.
    """
    user = os.getuid()
    before = os.environ.get("SUDO_USER") if user == 0 else None
    try:
        return f"cli:{before or pwd.getpwuid(user).pw_name}"
    except KeyError:  # a container's user may have no name
        return f"cli:{user}"


def number_or_application(application: str) -> str:
    """Return ``of NAME``, or ``of any application``."""
    return "of any application" if application == EVERY_APPLICATION else f"of {application}"


def checked_reason(reason: str) -> str:
    """Return a reason, if it may be kept; raises `click.UsageError`."""
    if not is_reason(reason):
        raise click.UsageError(f"A reason has at most {MAX_REASON} printable characters, and no phone number.")
    return reason


reason_option = click.option("--reason", default="", help="For people who ask later; no personal data.")
_PAYMENT = {
    "amount": "Such as 1500.00.",
    "currency": "ISO 4217, such as PKR.",
    "payee": "Who is paid, for a purpose of kind transaction.",
}


def payment_options(function: Function) -> Function:
    """Add the options of a payment; the command takes them as ``transaction``."""

    @wraps(function)
    def parsing(*args: Any, **options: Any) -> None:  # noqa: ANN401 - click's
        given = [options.pop(name) for name in _PAYMENT]
        if None in given and any(one is not None for one in given):
            raise click.UsageError("--amount, --currency and --payee are given together.")
        function(*args, transaction=None if None in given else Transaction(*given), **options)

    for name, text in reversed(_PAYMENT.items()):
        parsing = click.option(f"--{name}", help=text)(parsing)
    return parsing
