"""The HTTP server that ``serve`` runs: granian, with what it does otherwise than we need set right."""

import logging
import multiprocessing
import time

from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels, logger
from granian.server.mp import MPServer

from otp_service.cli import served
from otp_service.settings import Settings
from otp_service.telemetry.logging import GRANIAN_LOGGING

BACKLOG = 2048
CONNECTIONS = 1024
"""Connections that one process holds at a time, idle ones included; others wait in the backlog."""
KILL_AFTER = 10
"""Seconds that a process may take to finish its requests."""


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
    """Granian's server of several processes."""

    def __init__(self, settings: Settings) -> None:
        # Forked processes would inherit this one's metrics, threads and connections; spawned ones have their own.
        multiprocessing.set_start_method("spawn", force=True)
        super().__init__(
            "otp_service.cli.served:app",
            factory=True,
            address=settings.http.host,
            port=settings.http.port,
            interface=Interfaces.WSGI,
            http=HTTPModes.http1,
            websockets=False,
            workers=settings.http.processes,
            blocking_threads=settings.http.threads,
            backlog=BACKLOG,
            backpressure=CONNECTIONS,
            respawn_failed_workers=True,
            workers_kill_timeout=KILL_AFTER,
            log_level=LogLevels.warning,
            log_dictconfig=GRANIAN_LOGGING,
        )
        self._alarms = FalseAlarms()
        logger.addFilter(self._alarms)

    def run(self) -> None:
        """Serve until a signal asks to end."""
        # Granian's own loader would put the current folder in front of the path, and import a flask.py from there.
        self.serve(target_loader=served.app, wrap_loader=False)

    def shutdown(self, exit_code: int = 0) -> None:
        """End the processes."""
        self._alarms.stopped = time.monotonic()
        super().shutdown(exit_code)  # type: ignore[no-untyped-call]
