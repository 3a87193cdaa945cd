"""The command ``otp-service``."""

import gc
import signal
from importlib import import_module

import click

from otp_service import __version__
from otp_service.errors import (
    ConfigurationError,
    LedgerUnavailableError,
    OtpServiceError,
    StartRefusedError,
    StoreUnavailableError,
)
from otp_service.plugins import installed_names, load_plugin
from otp_service.telemetry.logging import has_colours

COMMANDS = (
    "dev", "serve", "worker", "doctor", "config", "application", "key", "gateway", "find", "dead-letters", "limits",
    "guard", "store", "ledger", "suppressions", "inbox", "subject", "factor", "audit", "incident", "report", "webhook",
    "messages", "send", "check",
)  # fmt: skip
"""A command's module is imported when it runs: most commands need few of the others' imports."""
_MODULES = {"limits": "guard", "store": "ledger", "incident": "audit", "send": "verification", "check": "verification"}
"""Modules that have another name than the command."""
COMMAND_ENTRY_POINTS = "otp_service.commands"
RELOADABLE = frozenset({"serve", "worker"})
"""Those that act on SIGHUP, from the beginning: by default it would end a process that still imports its modules."""


class CommandError(click.ClickException):
    """A foreseen error: one line, or a list of them."""

    def __init__(self, message: str, note: str = "") -> None:
        super().__init__(message)
        self._note = note

    def format_message(self) -> str:
        lines = self.message.splitlines() or [""]
        if len(lines) > 1:
            lines = [f"{len(lines)} faults:", *(f"  {line}" for line in lines)]
        return "\n".join([*lines, self._note] if self._note else lines)


class Commands(click.Group):
    """Commands whose foreseen errors are a sentence and exit status 1; wrong usage is status 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of `COMMANDS`, those of extensions last."""
        return [*COMMANDS, *(name for name in installed_names(COMMAND_ENTRY_POINTS) if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        command: click.Command
        if cmd_name in COMMANDS:
            if cmd_name in RELOADABLE:
                # Children inherit that: a SIGHUP to all processes reaches those that act on it, and ends none.
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
            name = cmd_name.replace("-", "_")
            command = getattr(import_module(f"otp_service.cli.{_MODULES.get(name, name)}"), name)
        elif cmd_name in installed_names(COMMAND_ENTRY_POINTS):
            command = load_plugin(COMMAND_ENTRY_POINTS, cmd_name, "command", click.Command)
        else:
            return None
        resume_garbage_collection()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; suggest others for a misspelt name."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as unknown:
            raise click.NoSuchCommand(unknown.command_name, possibilities=self.list_commands(ctx), ctx=ctx) from None

    def invoke(self, ctx: click.Context) -> object:
        if not has_colours():
            ctx.color = False
        try:
            return super().invoke(ctx)
        except (StoreUnavailableError, LedgerUnavailableError) as away:
            raise CommandError(_advice(ctx, away)) from away
        except StartRefusedError as refused:
            notes = ["docs/refusals.md explains the names in brackets."]
            if ctx.invoked_subcommand != "dev":  # dev needs no variables of the shell
                notes.append(import_module("otp_service.cli.output").unread_environment())
            raise CommandError(str(refused), "\n".join(filter(None, notes))) from refused
        except (ConfigurationError, OtpServiceError) as refused:
            raise CommandError(str(refused)) from refused
        except BrokenPipeError:
            raise  # the reader, such as head, closed the pipe: click ends in silence
        except OSError as failed:
            where = f"{failed.filename}: " if failed.filename else ""
            raise CommandError(f"{where}{failed.strerror or failed}") from failed


def _advice(ctx: click.Context, away: StoreUnavailableError | LedgerUnavailableError) -> str:
    """Return the error and its remedy; a ledger's error without a cause, which is not the database's, has its own."""
    if ctx.obj is None or (isinstance(away, LedgerUnavailableError) and away.__cause__ is None):
        return str(away)
    doctor = import_module("otp_service.cli.doctor")
    is_store = isinstance(away, StoreUnavailableError)
    diagnosis = (doctor.redis_diagnosis if is_store else doctor.ledger_diagnosis)(ctx.obj, away)
    return f"{diagnosis.sentence} {diagnosis.action}".rstrip()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="otp-service")
def commands() -> None:
    """Prove that a person holds a phone number.

    Start with "otp-service dev": a complete service to try, with nothing to set up.
    """


# The objects of modules live as long as the process. The collector would examine them again and again during imports,
# which takes a fifth of a start.


def pause_garbage_collection() -> None:
    """Collect no garbage until `resume_garbage_collection`; to be called before the modules are imported."""
    gc.disable()


def resume_garbage_collection() -> None:
    """Resume garbage collection if it was paused, without the objects that already exist."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def main() -> None:
    pause_garbage_collection()
    commands()


if __name__ == "__main__":
    main()
