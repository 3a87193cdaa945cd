"""otp-service serve: the HTTP API."""

import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import click
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels

from otp_service.cli.child_processes import KILL_AFTER, ServerProcesses, check_port, load_application, probe, url_of
from otp_service.cli.output import config_option, settings_for_children
from otp_service.cli.process_setup import (
    log_reload,
    on_hangup,
    open_installation,
    reload_installation,
    serve_metrics,
    start_thread,
)
from otp_service.settings import Settings
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import GRANIAN_LOGGING, Renderer, configure_logging, get_logger

_log = get_logger(__name__)
_MEMORY = "/dev/shm"  # noqa: S108 - the folder in it has an unpredictable name
"""A file system in memory."""
_FIXED = ("http.host", "http.port", "http.processes", "http.threads", "http.ledger_calls", "http.metrics_port")
"""Settings of ``serve`` that a reload keeps, because its sockets, processes and threads exist already."""
_CONNECTIONS = 512
"""Maximum connections of a process, idle ones included; others wait in the backlog without an answer."""
_POLL_INTERVAL = 0.05


@click.command()
@config_option
def serve(path: Path | None) -> None:
    """Serve the HTTP API.

    Starts http.processes processes. SIGHUP reloads the settings; no request is lost.
    """
    settings = settings_for_children(path)
    configure_logging(settings.logging.level, Renderer(settings.logging.format))
    check_port(settings.http.host, settings.http.port)
    open_installation(settings).close()  # reports an error that would stop every process only once
    with _shared_metrics():
        serve_metrics(settings.http.metrics_port, settings.http.host, "service", "OTP_SERVICE__HTTP__METRICS_PORT")
        _run_server(settings, path)


def _run_server(settings: Settings, path: Path | None) -> None:
    # Forked processes would inherit this one's metrics, threads and connections; spawned ones have their own.
    multiprocessing.set_start_method("spawn", force=True)
    processes = ServerProcesses(settings)
    server = Granian(
        "otp_service.wsgi:app",
        address=settings.http.host,
        port=settings.http.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=settings.http.processes,
        blocking_threads=settings.http.all_threads,
        backpressure=_CONNECTIONS,
        respawn_failed_workers=True,
        workers_kill_timeout=KILL_AFTER,
        log_level=LogLevels.error,
        log_dictconfig=GRANIAN_LOGGING,
    )

    @server.on_startup
    def begin() -> None:
        start_thread("processes", processes.accept)
        start_thread("start", lambda: _log_when_ready(processes))
        _end_on_signals(processes)
        on_hangup(lambda: _reload_server(processes, path))

    # Granian's own loader would put the current folder first in the path, and import a flask.py from it.
    server.serve(target_loader=partial(load_application, processes.address), wrap_loader=False)


def _log_when_ready(processes: ServerProcesses) -> None:
    """Log that all processes are ready, when the port answers too."""
    processes.wait_until_ready()
    http, profile = processes.settings.http, processes.settings.profile
    url = url_of(http.host, http.port)
    while not probe(f"{url}/healthz")[0]:
        time.sleep(_POLL_INTERVAL)
    _log.info("serving", at=url, processes=http.processes, metrics_port=http.metrics_port, profile=profile)


def _end_on_signals(processes: ServerProcesses) -> None:
    """Delay granian's own handling of SIGTERM and SIGINT until proxies have had time to notice."""
    received: SimpleQueue[int] = SimpleQueue()  # a handler may put into it at any moment
    granian_handler = signal.getsignal(signal.SIGTERM)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda number, _: received.put(number))

    def end() -> None:
        number = received.get()
        processes.announce_shutdown()
        time.sleep(processes.settings.http.shutdown_delay)
        if callable(granian_handler):
            granian_handler(number, None)

    start_thread("end", end)


def _reload_server(processes: ServerProcesses, path: Path | None) -> None:
    """Reload the settings in all processes, unless they would refuse a start."""
    installation = reload_installation(path, processes.settings, _FIXED)
    if installation is None:
        return
    installation.close()  # each process makes its own
    if processes.reload(installation.settings):
        log_reload(installation.settings)
    elif not processes.is_shutting_down:
        _log.error("reload_failed", reason="a process could not use the settings; all go on as before")


@contextmanager
def _shared_metrics() -> Iterator[None]:
    """Share metrics among the processes, in a new folder unless the environment names one."""
    if metrics.DIRECTORY_VARIABLE in os.environ:
        yield
        return
    # The processes map its files, and the system ends a process that writes into a mapped file on a full disk.
    parent = os.environ.get("TMPDIR") or (_MEMORY if os.access(_MEMORY, os.W_OK) else None)
    folder = Path(tempfile.mkdtemp(prefix="otp-service-metrics-", dir=parent))
    try:
        os.environ.update(metrics.prepare_directory(folder))
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
