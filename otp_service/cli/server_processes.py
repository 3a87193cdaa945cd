"""The server processes of ``serve``: how it gives them settings, and how each loads, reloads and ends."""

import atexit
import logging
import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import TYPE_CHECKING

from otp_service.cli.child_processes import end_with_parent
from otp_service.cli.main import pause_garbage_collection, resume_garbage_collection

if TYPE_CHECKING:  # a server process imports them when it is told to hold no collections any more
    from otp_service.api.app import ReloadableService, Service
    from otp_service.settings import Settings


PREPARE, USE, DROP, SHUT_DOWN = "prepare", "use", "drop", "leave"
"""Orders: make an application of other settings; answer with it; discard it; tell proxies of the end."""
START_TIMEOUT = 60.0
"""Seconds that a process may take to be ready with settings."""
_POLL_INTERVAL = 0.05


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
    if serve := multiprocessing.parent_process():  # it may be killed while the application is imported
        end_with_parent(serve.pid or 0)
    parent = Client(address, authkey=multiprocessing.current_process().authkey)
    from otp_service import wsgi  # noqa: PLC0415 - takes a second
    from otp_service.api.app import ReloadableService  # noqa: PLC0415

    number, settings = parent.recv()
    application = ReloadableService(wsgi.app(settings))
    atexit.register(_exit_process)
    resume_garbage_collection()
    parent.send((number, True))
    threading.Thread(target=_follow_orders, args=(application, settings, parent), name="settings", daemon=True).start()
    return application


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
    os.kill(os.getpid(), signal.SIGTERM)


def _prepared(settings: "Settings") -> "Service | None":
    from otp_service import wsgi  # noqa: PLC0415 - as above
    from otp_service.telemetry.logging import get_logger  # noqa: PLC0415

    try:
        return wsgi.app(settings)
    except Exception:  # noqa: BLE001 - it goes on with the present ones
        get_logger(__name__).exception("reload_defect")
        return None


def _exit_process() -> None:
    """End the process, when the server has finished its requests, without taking the interpreter apart.

    A thread may still wait for Redis on behalf of a caller who has gone. Were it to come back into an interpreter that
    is being finalised, it would abort the process, or hang it.
    """
    from otp_service.telemetry import tracing  # noqa: PLC0415 - with the application

    tracing.close()
    logging.shutdown()
    os._exit(0)
