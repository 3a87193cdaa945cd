"""Child processes of ``dev``, which end with their parent; ports and probes of services."""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from otp_service.errors import ConfigurationError

_PR_SET_PDEATHSIG = 1
READY_TIMEOUT = 60.0
_POLL = 0.05
_OK = 200
_ALL_INTERFACES = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on


def end_with_parent(parent: int, signum: int = signal.SIGTERM) -> None:
    """Ask the kernel to send this process ``signum`` when its parent ends, however it ends (Linux only).

    The kernel tells nothing of a parent that has ended already: when it is not the process ``parent`` any more, this
    one ends here.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signum)
    if os.getppid() != parent:
        os._exit(1)


@dataclass(frozen=True)
class Child:
    """A process that this one started."""

    name: str
    process: subprocess.Popen[bytes]
    started: float
    """By the monotonic clock."""

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started

    def ended(self) -> str | None:
        """Return how it ended, in words; ``None`` while it runs."""
        status = self.process.poll()
        if status is None:
            return None
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"the {self.name} process (pid {self.process.pid}) {how}"

    def stop(self, seconds: float) -> None:
        """Send SIGTERM, and SIGKILL after ``seconds``."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def spawn(name: str, command: Sequence[str], environ: Mapping[str, str] | None = None) -> Child:
    """Start a process in a group of its own, so that Ctrl-C reaches it through us only, and in order.

    It ends with us. Call from the main thread: Linux ties the promise to the thread that starts the process.
    """
    process = subprocess.Popen(  # noqa: S603 - commands of ours
        command,
        stdin=subprocess.DEVNULL,
        env=environ,
        process_group=0,
        preexec_fn=partial(end_with_parent, os.getpid()),  # noqa: PLW1509 - one thread
    )
    return Child(name, process, time.monotonic())


def stop_all(children: Sequence[Child], seconds: float) -> None:
    """Send SIGTERM to all, and SIGKILL after ``seconds`` to those that are left."""
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            child.process.terminate()
    end = time.monotonic() + seconds
    for child in children:
        child.stop(max(0.1, end - time.monotonic()))


def check_port(host: str, port: int, setting: str = "http.port") -> None:
    """Raise `ConfigurationError`, naming how to choose another, when something listens there already, or we may not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as refused:
            why = refused.strerror or str(refused)
            other = 8081 if port != 8081 else 8082  # noqa: PLR2004
            raise ConfigurationError(
                f"Port {port} of {host} cannot be used: {why}. Choose another: {setting}, or "
                f"OTP_SERVICE__HTTP__PORT={other} before the command."
            ) from refused


def url_of(host: str, port: int) -> str:
    """Return the address under which this machine reaches a service that listens on ``host``."""
    reachable = _ALL_INTERFACES.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def wait_until_ready(url: str, ended: Callable[[], str | None]) -> str:
    """Return when a service can check codes, with what it says of starts: ``accepted``, or why it refuses all.

    Raises `ConfigurationError` when a process ended, or in a minute.
    """
    end = time.monotonic() + READY_TIMEOUT
    while probe(f"{url}/readyz/checks")[0] != _OK:
        if reason := ended():
            raise ConfigurationError(f"It does not start: {reason}.")
        if time.monotonic() > end:
            raise ConfigurationError(f"It does not start: {url}/readyz was not ready in {READY_TIMEOUT:.0f} s.")
        time.sleep(_POLL)
    return str(probe(f"{url}/readyz")[1].get("starts"))


def probe(url: str) -> tuple[int, Mapping[str, Any]]:
    """Call a readiness probe; return its status, 0 where nothing answers, and its details."""
    # No proxy of the environment stands between this machine and itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return answer.status, json.load(answer)["details"]
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)["details"]
    except OSError:
        return 0, {}
