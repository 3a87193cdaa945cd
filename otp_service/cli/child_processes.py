"""Child processes of `dev` and `serve`."""

import atexit
import ctypes
import json
import logging
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import TYPE_CHECKING, Any

from otp_service.cli.main import pause_garbage_collection, resume_garbage_collection
from otp_service.errors import ConfigurationError, StoreUnavailableError

if TYPE_CHECKING:  # a server process imports them while garbage collection is paused
    from otp_service.api.app import ReloadableService, Service
    from otp_service.settings import Settings


_PR_SET_PDEATHSIG = 1
KILL_AFTER = 10
"""Seconds that a server process may take to end."""
READY_TIMEOUT = 60.0
_POLL_INTERVAL = 0.05
_RETRY_AFTER = 0.5
"""Seconds between two attempts to start while Redis is away."""
_OK = 200
_ALL_INTERFACES = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on


def end_with_parent(parent: int, signum: int = signal.SIGTERM) -> None:
    """Ask the kernel to send this process ``signum`` when its parent ends in any way (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signum)
    if os.getppid() != parent:  # the parent has ended already, of which the kernel sends no signal
        os._exit(1)


@dataclass(frozen=True)
class Child:
    """A child process."""

    name: str
    process: subprocess.Popen[bytes]
    started: float
    """By the monotonic clock."""

    @property
    def age(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def ended(self) -> str | None:
        """Describe how the process ended; return ``None`` while it runs."""
        status = self.process.poll()
        if status is None:
            return None
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"the {self.name} process (pid {self.process.pid}) {how}"

    def stop(self, seconds: float) -> None:
        """Send SIGTERM, and SIGKILL after ``seconds``."""
        with suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def spawn(name: str, command: Sequence[str], environ: Mapping[str, str] | None = None) -> Child:
    """Start a process in a group of its own, so that only this process forwards Ctrl-C, and in order.

    The child ends with this process. Call from the main thread: Linux signals the end of the thread that started it.
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
    """Send SIGTERM to all, and SIGKILL after ``seconds`` to the rest."""
    for child in children:
        with suppress(ProcessLookupError):
            child.process.terminate()
    end = time.monotonic() + seconds
    for child in children:
        child.stop(max(0.1, end - time.monotonic()))


def check_port(
    host: str, port: int, setting: str = "http.port", variable: str = "OTP_SERVICE__HTTP__PORT", other: int = 8081
) -> None:
    """Raise `ConfigurationError` with a remedy if this process cannot listen on a port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as refused:
            why = refused.strerror or str(refused)
            raise ConfigurationError(
                f"Port {port} of {host} cannot be used: {why}. Choose another: {setting}, or "
                f"{variable}={other if port != other else other + 1} before the command."
            ) from refused


def url_of(host: str, port: int) -> str:
    """Return the local URL of a service that listens on ``host``."""
    reachable = _ALL_INTERFACES.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def wait_until_ready(url: str, ended: Callable[[], str | None]) -> str:
    """Wait until a service can check codes; return ``accepted``, or why it refuses all starts.

    Raises `ConfigurationError` when a process ended, or after `READY_TIMEOUT`.
    """
    end = time.monotonic() + READY_TIMEOUT
    while probe(f"{url}/readyz/checks")[0] != _OK:
        if reason := ended():
            raise ConfigurationError(f"The service does not start: {reason}. See its errors above.")
        if time.monotonic() > end:
            raise ConfigurationError(f"The service is not ready after {READY_TIMEOUT:.0f} s: see {url}/readyz.")
        time.sleep(_POLL_INTERVAL)
    return str(probe(f"{url}/readyz")[1].get("starts"))


def probe(url: str) -> tuple[int, Mapping[str, Any]]:
    """Call a readiness probe; return its status, 0 without an answer, and its details."""
    # A proxy of the environment must not see calls of this machine to itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return answer.status, json.load(answer)["details"]
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)["details"]
    except OSError:
        return 0, {}


PREPARE, USE, DROP, SHUT_DOWN = "prepare", "use", "drop", "shut_down"
"""Orders: make an application of new settings; answer with it; discard it; tell proxies of the end."""
START_TIMEOUT = 60.0
"""Seconds that a process may take to be ready with settings."""


if multiprocessing.parent_process():  # a server process imports this module first
    pause_garbage_collection()


class ServerProcesses:
    """The server processes of ``serve``. Each connects when it starts, and receives the settings."""

    def __init__(self, settings: "Settings") -> None:
        self.settings = settings
        """The settings in force."""
        self.is_shutting_down = False
        self._listener = Listener(family="AF_UNIX", authkey=multiprocessing.current_process().authkey)
        self.address = str(self._listener.address)
        """Address for `load_application`."""
        self._lines: list[Connection] = []
        self._number = 0
        """Number of the last order, which answers repeat."""
        self._ordering = threading.Lock()
        self._sending = threading.Lock()

    def accept(self) -> None:
        """Accept new processes, and send them the settings, for ever."""
        while True:
            with suppress(AuthenticationError, EOFError, OSError):  # the process ended at once
                line = self._listener.accept()
                with self._ordering:
                    line.send((0, self.settings))
                    self._lines.append(line)

    def wait_until_ready(self) -> None:
        """Wait until all processes are ready."""
        while len(self._lines) < self.settings.http.processes:
            time.sleep(_POLL_INTERVAL)
        with self._ordering:
            for line in self._lines:
                _answer(line, 0)

    def reload(self, settings: "Settings") -> bool:
        """Put new settings into force in all processes or in none; return which."""
        with self._ordering:
            if not self._order(PREPARE, settings):
                self._order(DROP, None, answered=False)
                return False
            self.settings = settings
            self._order(USE, settings)  # the successor of a process that ends now has these settings
            return True

    def announce_shutdown(self) -> None:
        """Make all processes tell proxies that they are about to end."""
        self.is_shutting_down = True
        for line in tuple(self._lines):
            self._send(line, SHUT_DOWN, None)

    def _order(self, order: str, settings: "Settings | None", *, answered: bool = True) -> bool:
        """Send an order to all processes; return whether all carried it out."""
        self._number += 1
        self._lines = [line for line in self._lines if self._send(line, order, settings)]
        answers = [_answer(line, self._number) for line in self._lines] if answered else []
        return all(answers)

    def _send(self, line: Connection, order: str, settings: "Settings | None") -> bool:
        """Send an order to a process; return whether it runs."""
        with suppress(OSError), self._sending:
            line.send((self._number, order, settings))
            return True
        return False


def _answer(line: Connection, number: int) -> bool:
    """Wait for the answer to an order; return ``False`` without an answer in time."""
    end = time.monotonic() + START_TIMEOUT
    with suppress(EOFError, OSError):  # the process has ended
        while line.poll(max(0.0, end - time.monotonic())):
            answered, done = line.recv()
            if answered == number:
                return bool(done)
    return False


def load_application(address: str) -> "ReloadableService":
    """Return the application of the settings that ``serve`` sends, and report when it is ready.

    The files may have changed since, but the successor of a dead process must have the settings of the others.
    """
    end_with_server()  # serve may be killed while the application is imported
    parent = Client(address, authkey=multiprocessing.current_process().authkey)
    from otp_service import wsgi  # noqa: PLC0415 - takes a second
    from otp_service.api.app import ReloadableService  # noqa: PLC0415
    from otp_service.telemetry.logging import get_logger  # noqa: PLC0415

    number, settings = parent.recv()
    service: Service | None = None
    while service is None:  # if successors of dead processes ended while Redis is away, granian would soon end serve
        try:
            service = wsgi.app(settings)
        except StoreUnavailableError as away:
            get_logger(__name__).warning("start_waits", reason=away.code)
            time.sleep(_RETRY_AFTER)
    application = ReloadableService(service)
    atexit.register(_exit_process)
    resume_garbage_collection()
    parent.send((number, True))
    threading.Thread(target=_follow_orders, args=(application, settings, parent), name="settings", daemon=True).start()
    return application


def end_with_server() -> None:
    """Finish the requests of this server process, and end it, when its parent ends in any way."""
    if server := multiprocessing.parent_process():
        signal.signal(signal.SIGUSR1, lambda *_: _end_in_time())
        end_with_parent(server.pid or 0, signal.SIGUSR1)


def _follow_orders(application: "ReloadableService", settings: "Settings", parent: Connection) -> None:
    """Carry out the orders of ``serve``; end with it, or the port would stay in use."""
    from otp_service import wsgi  # noqa: PLC0415 - as above

    prepared: Service | None = None
    with suppress(EOFError, OSError):
        while True:
            number, order, new_settings = parent.recv()
            if order == PREPARE:
                prepared = _prepared(new_settings)
                parent.send((number, prepared is not None))
            elif order == USE and prepared:
                application.replace(prepared)
                settings = new_settings
                parent.send((number, True))
            elif order == DROP:
                if prepared:
                    prepared.close()
                wsgi.set_up_process(settings)
            elif order == SHUT_DOWN:
                application.is_shutting_down = True
    _end_in_time()


def _end_in_time() -> None:
    """Ask the server of this process to finish its requests; the system ends the process if that takes too long."""
    signal.alarm(KILL_AFTER)  # the parent is gone, and granian hangs if it is asked while it begins to serve
    os.kill(os.getpid(), signal.SIGTERM)


def _prepared(settings: "Settings") -> "Service | None":
    from otp_service import wsgi  # noqa: PLC0415 - as above
    from otp_service.telemetry.logging import get_logger  # noqa: PLC0415

    try:
        return wsgi.app(settings, waits_for_ledger=False)
    except Exception:  # noqa: BLE001 - it goes on with the present settings
        get_logger(__name__).exception("reload_defect")
        return None


def _exit_process() -> None:
    """End the process without finalising the interpreter, after the server has finished its requests.

    A thread may still wait for Redis for a caller that has gone. If it returned into an interpreter that is being
    finalised, the process would abort or hang.
    """
    from otp_service.telemetry import tracing  # noqa: PLC0415 - with the application

    try:
        tracing.close()
        logging.shutdown()
    finally:
        os._exit(0)
