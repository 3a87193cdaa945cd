"""Processes that `dev` and `serve` start, watch and end."""

import atexit
import contextlib
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

if TYPE_CHECKING:  # a server process imports them when it is told to hold no collections any more
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


def check_port(
    host: str, port: int, setting: str = "http.port", variable: str = "OTP_SERVICE__HTTP__PORT", other: int = 8081
) -> None:
    """Raise `ConfigurationError`, naming how to choose another, when something listens there already, or we may not."""
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
        time.sleep(_POLL_INTERVAL)
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


PREPARE, USE, DROP, SHUT_DOWN = "prepare", "use", "drop", "shut_down"
"""Orders: make an application of other settings; answer with it; discard it; tell proxies of the end."""
START_TIMEOUT = 60.0
"""Seconds that a process may take to be ready with settings."""


if multiprocessing.parent_process():  # a server process: of ours it imports this first
    pause_garbage_collection()


class ServerProcesses:
    """The server processes, as ``serve`` sees them. Each connects when it starts, and gets the settings."""

    def __init__(self, settings: "Settings") -> None:
        self.settings = settings
        """Those in force."""
        self.is_shutting_down = False
        self._listener = Listener(family="AF_UNIX", authkey=multiprocessing.current_process().authkey)
        self.address = str(self._listener.address)
        """Where `load_application` finds this one."""
        self._lines: list[Connection] = []
        self._number = 0
        """Of the last order; answers bear it."""
        self._ordering = threading.Lock()
        self._sending = threading.Lock()

    def accept(self) -> None:
        """Accept processes that start, and send them the settings, for ever."""
        while True:
            with suppress(AuthenticationError, EOFError, OSError):  # it ended at once
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
        """Put other settings into force in all processes, or in none; return whether they are."""
        with self._ordering:
            if not self._order(PREPARE, settings):
                self._order(DROP, None, answered=False)
                return False
            self.settings = settings
            self._order(USE, settings)  # one that ends now is replaced by one with these settings
            return True

    def announce_shutdown(self) -> None:
        """Let all processes tell proxies that they are about to end."""
        self.is_shutting_down = True
        for line in tuple(self._lines):
            self._say(line, SHUT_DOWN, None)

    def _order(self, order: str, settings: "Settings | None", *, answered: bool = True) -> bool:
        """Send an order to all processes; return whether all carried it out."""
        self._number += 1
        self._lines = [line for line in self._lines if self._say(line, order, settings)]
        answers = [_answer(line, self._number) for line in self._lines] if answered else []
        return all(answers)

    def _say(self, line: Connection, order: str, settings: "Settings | None") -> bool:
        """Send an order to a process; return whether it is there."""
        with suppress(OSError), self._sending:
            line.send((self._number, order, settings))
            return True
        return False


def _answer(line: Connection, number: int) -> bool:
    """Wait for the answer to an order; ``False`` where none comes in time."""
    end = time.monotonic() + START_TIMEOUT
    with suppress(EOFError, OSError):  # the process has ended
        while line.poll(max(0.0, end - time.monotonic())):
            answered, done = line.recv()
            if answered == number:
                return bool(done)
    return False


def load_application(address: str) -> "ReloadableService":
    """Return the application of the settings that ``serve`` sends, and tell it when that is ready.

    The files may hold others by now, but a process that replaces one that died must be like the rest.
    """
    end_with_server()  # it may be killed while the application is imported
    parent = Client(address, authkey=multiprocessing.current_process().authkey)
    from otp_service.api.app import ReloadableService  # noqa: PLC0415 - takes a second

    number, settings = parent.recv()
    application = ReloadableService(_first_service(settings))
    atexit.register(_exit_process)
    resume_garbage_collection()
    parent.send((number, True))
    threading.Thread(target=_follow_orders, args=(application, settings, parent), name="settings", daemon=True).start()
    return application


def end_with_server() -> None:
    """Let this server process finish its requests and end when the command that started it ends, however it does."""
    if server := multiprocessing.parent_process():
        signal.signal(signal.SIGUSR1, lambda *_: _end_in_time())
        end_with_parent(server.pid or 0, signal.SIGUSR1)


def _first_service(settings: "Settings") -> "Service":
    """Make the service; wait for Redis, which ``serve`` has seen.

    Were this process to end, as one that replaces another while they are away, granian would soon end ``serve``.
    """
    from otp_service import wsgi  # noqa: PLC0415 - as above
    from otp_service.telemetry.logging import get_logger  # noqa: PLC0415

    while True:
        try:
            return wsgi.app(settings)
        except StoreUnavailableError as away:
            get_logger(__name__).warning("start_waits", reason=away.code)
            time.sleep(_RETRY_AFTER)


def _follow_orders(application: "ReloadableService", settings: "Settings", parent: Connection) -> None:
    """Carry out the orders of ``serve``; end when it is gone, or the port would stay in use."""
    from otp_service import wsgi  # noqa: PLC0415 - as above

    prepared: Service | None = None
    with suppress(EOFError, OSError):
        while True:
            number, order, other = parent.recv()
            if order == PREPARE:
                prepared = _prepared(other)
                parent.send((number, prepared is not None))
            elif order == USE and prepared:
                application.replace(prepared)
                settings = other
                parent.send((number, True))
            elif order == DROP:
                if prepared:
                    prepared.close()
                wsgi.set_up_process(settings)
            elif order == SHUT_DOWN:
                application.is_shutting_down = True
    _end_in_time()


def _end_in_time() -> None:
    """Ask the server of this process to finish its requests; the system ends the process when that takes too long.

    Nobody else will: who asked it to start is gone. Granian hangs, and all threads of the process with it, when it is
    asked while it begins to serve.
    """
    signal.alarm(KILL_AFTER)
    os.kill(os.getpid(), signal.SIGTERM)


def _prepared(settings: "Settings") -> "Service | None":
    from otp_service import wsgi  # noqa: PLC0415 - as above
    from otp_service.telemetry.logging import get_logger  # noqa: PLC0415

    try:
        return wsgi.app(settings, waits_for_ledger=False)
    except Exception:  # noqa: BLE001 - it goes on with the present ones
        get_logger(__name__).exception("reload_defect")
        return None


def _exit_process() -> None:
    """End the process, when the server has finished its requests, without taking the interpreter apart.

    A thread may still wait for Redis on behalf of a caller who has gone. Were it to come back into an interpreter that
    is being finalised, it would abort the process, or hang it.
    """
    from otp_service.telemetry import tracing  # noqa: PLC0415 - with the application

    try:
        tracing.close()
        logging.shutdown()
    finally:
        os._exit(0)
