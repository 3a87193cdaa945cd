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

COMMANDS = {
    "dev": "dev",
    "serve": "serve",
    "worker": "worker",
    "doctor": "doctor",
    "config": "config",
    "application": "application",
    "key": "key",
    "gateway": "gateway",
    "find": "find",
    "dead-letters": "dead_letters",
    "limits": "guard",
    "guard": "guard",
    "store": "ledger",
    "ledger": "ledger",
    "suppressions": "suppressions",
    "inbox": "inbox",
    "subject": "subject",
    "factor": "factor",
    "audit": "audit",
    "incident": "audit",
    "report": "report",
    "webhook": "webhook",
    "messages": "messages",
    "send": "verification",
    "check": "verification",
}
"""The module of each, which is imported when the command is asked for: most need little of what others need."""
COMMAND_ENTRY_POINTS = "otp_service.commands"
RELOADABLE = frozenset({"serve", "worker"})
"""Those that act on SIGHUP, from the beginning: by default it would end one whose modules are still being imported."""


_DOCS_HINT = "docs/refusals.md explains what stands in brackets."


class CommandError(click.ClickException):
    """A foreseen error: one line, or a list of them."""

    def __init__(self, message: str, note: str = "") -> None:
        """Take the lines, and what is to be added to them all."""
        super().__init__(message)
        self._note = note

    def format_message(self) -> str:
        """Return the sentence, or one line for each fault."""
        lines = self.message.splitlines() or [""]
        if len(lines) > 1:
            lines = [f"{len(lines)} faults:", *(f"  {line}" for line in lines)]
        return "\n".join([*lines, self._note] if self._note else lines)


class Commands(click.Group):
    """Commands whose foreseen errors are a sentence and exit status 1; wrong usage is status 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names: those for a newcomer first, those of extensions last."""
        return [*COMMANDS, *(name for name in installed_names(COMMAND_ENTRY_POINTS) if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in COMMANDS:
            return self._extension_command(cmd_name)
        if cmd_name in RELOADABLE:
            # Children inherit that: one sent to all processes at once reaches those that act on it, and ends none.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        module = import_module(f"otp_service.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        resume_garbage_collection()
        return command

    @staticmethod
    def _extension_command(name: str) -> click.Command | None:
        if name not in installed_names(COMMAND_ENTRY_POINTS):
            return None
        command = load_plugin(COMMAND_ENTRY_POINTS, name, "command", click.Command)
        resume_garbage_collection()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was asked for; one that is misspelt gets a suggestion."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as unknown:
            raise click.NoSuchCommand(unknown.command_name, possibilities=self.list_commands(ctx), ctx=ctx) from None

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was asked for."""
        if not has_colours():
            ctx.color = False
        try:
            return super().invoke(ctx)
        except StoreUnavailableError as silent:
            raise CommandError(_redis_advice(ctx, silent)) from silent
        except LedgerUnavailableError as away:
            raise CommandError(_ledger_advice(ctx, away)) from away
        except StartRefusedError as refused:
            raise CommandError(str(refused), "\n".join(_notes(ctx))) from refused
        except (ConfigurationError, OtpServiceError) as refused:
            raise CommandError(str(refused)) from refused
        except BrokenPipeError:
            raise  # whoever read has seen enough, such as head: click ends in silence
        except OSError as failed:
            where = f"{failed.filename}: " if failed.filename else ""
            raise CommandError(f"{where}{failed.strerror or failed}") from failed


def _notes(ctx: click.Context) -> list[str]:
    """Return what helps with a refusal to start; ``dev`` needs nothing of the shell."""
    unread = "" if ctx.invoked_subcommand == "dev" else import_module("otp_service.cli.output").unread_environment()
    return [_DOCS_HINT, unread] if unread else [_DOCS_HINT]


def _redis_advice(ctx: click.Context, silent: StoreUnavailableError) -> str:
    """Name the Redis that does not answer, and what to do."""
    if ctx.obj is None:
        return str(silent)
    diagnosis = import_module("otp_service.cli.doctor").redis_diagnosis(ctx.obj, silent)
    return f"{diagnosis.sentence} {diagnosis.action}"


def _ledger_advice(ctx: click.Context, away: LedgerUnavailableError) -> str:
    """Name the database that is not available, and what to do; what is not the database's fault says it itself."""
    if ctx.obj is None or away.__cause__ is None:
        return str(away)
    diagnosis = import_module("otp_service.cli.doctor").ledger_diagnosis(ctx.obj, away)
    return f"{diagnosis.sentence} {diagnosis.action}".rstrip()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="otp-service")
def commands() -> None:
    """Prove that a person holds a phone number.

    Start with "otp-service dev": a complete service to try, with nothing to set up.
    """


# What modules define stays as long as the process. While they are imported the collector would look through all of it
# again and again, which takes a fifth of a start.


def pause_garbage_collection() -> None:
    """Collect no garbage until `resume_garbage_collection`; to be called before the modules are imported."""
    gc.disable()


def resume_garbage_collection() -> None:
    """Collect garbage again if that was paused, except what exists by now."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def main() -> None:
    """Run the command line."""
    pause_garbage_collection()
    commands()


if __name__ == "__main__":
    main()
