"""The HTTP server that ``serve`` runs: granian, with what it does otherwise than we need set right."""

import logging
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any
from weakref import WeakKeyDictionary

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels, logger
from granian.net import SocketSpec  # type: ignore[attr-defined]
from granian.server.mp import MPServer, WorkerProcess

from otp_service.cli import served
from otp_service.cli.hangups import on_hangup
from otp_service.cli.leaving import IDLE, PATIENCE
from otp_service.cli.probe import asked, url_of
from otp_service.cli.reloading import tell
from otp_service.cli.successors import becomes_ready, bid_farewell, see_off, send_off
from otp_service.settings import Settings
from otp_service.telemetry.logging import GRANIAN_LOGGING, get_logger

BACKLOG = 2048
KILL_AFTER = 10
"""Seconds that a process may take to finish its requests."""
_GLANCE = 0.05

_log = get_logger(__name__)


class FalseAlarms(logging.Filter):
    """Keeps back the report of a process killed at the stop before its time was over: it had ended by itself.

    Two threads of granian wait for a process. When one of them is told of the end, the other takes the process for
    one that does not want to end, and says so.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stopped: float | None = None
        """When the processes were asked to end, by the monotonic clock."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is true."""
        if self.stopped is None or not record.getMessage().startswith("Killing worker-"):
            return True
        return time.monotonic() - self.stopped >= KILL_AFTER


class Server(MPServer):
    """Granian's server of several processes, whose settings can change while it serves.

    Then each process is given a successor before it is asked to leave; both listen to one socket, which is held here,
    so that nobody who waits at it is turned away when one of them closes it.
    """

    def __init__(self, settings: Settings, reload: Callable[[Settings], Settings | None]) -> None:
        """Let ``reload`` say at a SIGHUP how the settings have changed; ``None`` when they stay as they are."""
        # Forked processes would inherit this one's metrics, threads and connections; spawned ones have their own.
        multiprocessing.set_start_method("spawn", force=True)
        super().__init__(
            "otp_service.cli.served:app",
            factory=True,
            address=settings.http.host,
            port=settings.http.port,
            interface=Interfaces.WSGI,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=1000 * IDLE),
            websockets=False,
            workers=settings.http.processes,
            blocking_threads=_threads(settings),
            backlog=BACKLOG,
            backpressure=served.CONNECTIONS,
            respawn_failed_workers=True,
            workers_kill_timeout=KILL_AFTER,
            log_level=LogLevels.warning,
            log_dictconfig=GRANIAN_LOGGING,
        )
        self._alarms = FalseAlarms()
        logger.addFilter(self._alarms)
        self._settings = settings
        self._ask = reload
        self._fresh: Settings | None = None
        """Settings that are to come into force."""
        self._handed_over = threading.Event()
        """Whether they did, or could not."""
        self._doors: list[tuple[Any, socket.socket]] = []
        """The listening socket of each process: as granian holds it, and as Python gives it to a child."""
        self._lines: WeakKeyDictionary[WorkerProcess, Connection] = WeakKeyDictionary()
        self._leaving: list[WorkerProcess] = []

    def run(self) -> None:
        """Serve until a signal asks to end."""
        on_hangup(self._renew)
        # Granian's own loader would put the current folder in front of the path, and import a flask.py from there.
        self.serve(target_loader=served.app, wrap_loader=False)

    def when_it_serves(self, act: Callable[[], None]) -> None:
        """Do something as soon as all processes are ready, and the port answers; to be called at the start."""
        url = url_of(self.bind_addr, self.bind_port)

        def wait() -> None:
            while len(self.wrks) < self.workers and not self.interrupt_signal:
                time.sleep(_GLANCE)
            for process in tuple(self.wrks):
                becomes_ready(process, self._lines[process], lambda: self.interrupt_signal)
            while not self.interrupt_signal:
                if asked(f"{url}/healthz")[0]:
                    act()
                    return
                time.sleep(_GLANCE)

        threading.Thread(target=wait, name="start", daemon=True).start()

    def shutdown(self, exit_code: int = 0) -> None:
        """End the processes, once proxies have had time to notice."""
        if leave_after := self._settings.http.leave_after:
            for process in self.wrks:
                bid_farewell(self._lines[process])
            time.sleep(leave_after)
        self._alarms.stopped = time.monotonic()
        self.wrks += self._leaving
        super().shutdown(exit_code)  # type: ignore[no-untyped-call]

    # --- the sockets: where granian makes one in each process, which is gone with it -------------------------------

    def _init_shared_socket(self) -> None:
        self._ssp = self._sfd = None
        for _ in range(self.workers):
            held = SocketSpec(self.bind_addr, self.bind_port, self.backlog).build()
            self._doors.append((held, socket.socket(fileno=held.get_fd())))

    def _drop_shared_socket(self) -> None:
        for _, door in self._doors:
            door.close()

    def _spawn_worker(  # type: ignore[override] # as in the class between, MPServer
        self,
        idx: int,
        target: Any,  # noqa: ANN401 - granian's
        **_: object,  # what loads an application that has not our settings
    ) -> WorkerProcess:
        """Return a process that is still to be started, with the settings that are in force."""
        self._shd, self._sso = self._doors[idx]
        self.blocking_threads = _threads(self._settings)
        ours, theirs = multiprocessing.Pipe()
        process = super()._spawn_worker(idx, target, partial(served.app, self._settings, theirs))
        self._lines[process] = ours
        return process

    # --- new settings -----------------------------------------------------------------------------------------------

    def _renew(self) -> None:
        """Find out what has changed, and see to it that it comes into force. Called by a thread of its own."""
        self._fresh = self._ask(self._settings)
        if self._fresh is None:
            return
        self._handed_over.clear()
        self.reload_signal = True
        self.main_loop_interrupt.set()
        self._handed_over.wait()
        see_off(self._leaving, PATIENCE + KILL_AFTER)
        self._leaving.clear()
        if self._settings is self._fresh and not self.interrupt_signal:
            tell(self._settings)

    def _reload(self, spawn_target: Any, target_loader: Any) -> None:  # noqa: ANN401, ARG002 - granian's
        """Let successors take the place of all processes, or none; called by granian's loop."""
        self.reload_signal = False
        self.main_loop_interrupt.clear()
        present, self._settings = self._settings, self._fresh or self._settings
        if successors := self._successors(spawn_target):
            self._hand_over(successors)
        else:
            self._settings = present
            _log.error("reload_failed", reason="a process did not start; those that serve go on as before")
        self._handed_over.set()
        if self.interrupt_signal or self.interrupt_children:  # one that came before the event was cleared
            self.main_loop_interrupt.set()

    def _successors(self, spawn_target: Any) -> list[WorkerProcess]:  # noqa: ANN401 - granian's
        """Return a successor of each process, all of them ready; none where one cannot be had."""
        successors: list[WorkerProcess] = []
        for idx in range(self.workers):
            process = self._spawn_worker(idx, spawn_target)
            process.interrupt_by_parent = True  # for now its end is no loss
            process.start()  # type: ignore[no-untyped-call]
            if not becomes_ready(process, self._lines[process], lambda: self.interrupt_signal):
                process.inner.terminate()
                self._dismiss([process, *successors])
                return []
            successors.append(process)
        return successors

    def _hand_over(self, successors: list[WorkerProcess]) -> None:
        self._dismiss(self.wrks)
        self.interrupt_children.clear()
        self.wrks = successors
        for process in successors:
            process.interrupt_by_parent = False
            if not process.inner.is_alive():
                self.interrupt_children.append(process.idx)
        _log.info("handing_over", processes=self.workers)

    def _dismiss(self, processes: list[WorkerProcess]) -> None:
        for process in processes:
            process.interrupt_by_parent = True
            send_off(self._lines[process])
        self._leaving += processes


def _threads(settings: Settings) -> int:
    """Return the threads of a process: those that answer, and one that takes requests in meanwhile."""
    return settings.http.threads + 1
