"""The command line, in this process and in others."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import structlog
from click.testing import CliRunner, Result
from support_installation import tree

from otp_service.cli.main import commands


def run(*arguments, environ=None, stdin=None) -> Result:
    """Run a command here. ``output`` has both streams; an exception that is no exit is raised."""
    cleared = {name: None for name in os.environ if name.startswith("OTP_SERVICE")}
    with own_logging():
        result = CliRunner().invoke(commands, list(arguments), env=cleared | (environ or {}), input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def leaves(command: click.Command = commands, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something by itself, by its path."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), f"{path} {name}".strip())


def rows(text: str) -> list[list[str]]:
    """Return the cells of a table as a pipe gets it, without its headings."""
    return [line.split("\t") for line in text.splitlines()[1:]]


@contextlib.contextmanager
def own_logging():
    """Leave the logging of this process as it was: a command sets up its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def configured(folder: Path, url: str, **sections) -> dict[str, str]:
    """Write settings for tests into a folder; return the environment that names them."""
    table = tree(url, **sections)
    keys = table.pop("keys")
    file = folder / "otp.json"
    file.write_text(json.dumps(table))
    return {
        "OTP_SERVICE_CONFIG": str(file),
        "OTP_SERVICE_ROOT_KEYS": keys["root"],
        "OTP_SERVICE_PSEUDONYM_KEY": keys["pseudonym"],
    }


def start(
    *arguments, environ=None, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=None, safe=False
) -> subprocess.Popen:
    """Start a command in a process of its own; ``safe``: as the installed command, which does not look in ``cwd``."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("OTP_SERVICE")}
    program = (
        [str(Path(sys.executable).parent / "otp-service")] if safe else [sys.executable, "-m", "otp_service.cli.main"]
    )
    return subprocess.Popen(
        [*program, *arguments], env=others | (environ or {}), stdout=stdout, stderr=stderr, text=True, cwd=cwd
    )


def family(pid: int) -> set[int]:
    """Return a process and all that descend from it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text()
                parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def all_end(pids, seconds: float) -> bool:
    """Tell whether all processes end in time."""
    end = time.monotonic() + seconds
    while any(map(alive, pids)):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def kill(pids) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
