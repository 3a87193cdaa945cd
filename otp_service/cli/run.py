"""``otp-service serve`` and ``worker``: the two production processes, and how they read their settings anew."""

import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import click
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels

from otp_service.bootstrap import Installation, install, prepare
from otp_service.cli.children import asked, check_port, url_of
from otp_service.cli.doctor import silence_finding
from otp_service.cli.output import config_option, settings_for_children
from otp_service.cli.server import ServerProcesses, load
from otp_service.errors import ConfigurationError, OtpServiceError, StoreUnavailableError
from otp_service.gateways.base import look_again
from otp_service.settings import Settings, load_settings
from otp_service.settings.loader import ELSEWHERE, with_fixed
from otp_service.telemetry import metrics, tracing
from otp_service.telemetry.logging import GRANIAN_LOGGING, Renderer, configure_logging, get_logger
from otp_service.worker.worker import Shifts, stop_on_signals

_log = get_logger(__name__)
_OTHER_PORTS = (9092, 9093)
"""For the metrics of a second process; the defaults of the settings lie before them."""
_MEMORY = "/dev/shm"  # noqa: S108 - the folder in it has a name that nobody foresees
"""A file system in memory, where there is one."""
_FIXED = ("http.host", "http.port", "http.processes", "http.threads", "http.metrics_port")
"""Settings of ``serve`` that a reload leaves as they are: its sockets are open, its processes and threads there."""
_FIXED_OF_WORKER = ("http.host", "worker.metrics_port")
_CONNECTIONS = 512
"""Connections that one process holds at a time, idle ones included; others wait in the backlog and are told nothing."""
_KILL_AFTER = 10
"""Seconds that a process may take to finish its requests."""
_POLL_INTERVAL = 0.05


@click.command()
@config_option
def serve(path: Path | None) -> None:
    """Serve the HTTP API.

    As many processes as http.processes says. At a SIGHUP it reads its settings anew, and no request is lost.
    """
    settings = settings_for_children(path)
    configure_logging(settings.logging.level, Renderer(settings.logging.format))
    check_port(settings.http.host, settings.http.port)
    _prepared(settings).close()  # so that what would stop every process is told once, as a sentence
    with _shared_metrics():
        _serve_metrics(settings.http.metrics_port, settings.http.host, "service", "OTP_SERVICE__HTTP__METRICS_PORT")
        _run_server(settings, path)


def _run_server(settings: Settings, path: Path | None) -> None:
    """Serve until a signal asks to end."""
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
        blocking_threads=settings.http.threads,
        backpressure=_CONNECTIONS,
        respawn_failed_workers=True,
        workers_kill_timeout=_KILL_AFTER,
        log_level=LogLevels.error,
        log_dictconfig=GRANIAN_LOGGING,
    )

    @server.on_startup
    def begin() -> None:
        _in_background("processes", processes.accept)
        _in_background("start", lambda: _report(processes))
        _end_on_signals(processes)
        on_hangup(lambda: _reload_server(processes, path))

    # Granian's own loader would put the current folder in front of the path, and import a flask.py from there.
    server.serve(target_loader=partial(load, processes.address), wrap_loader=False)


def _in_background(name: str, act: Callable[[], None]) -> None:
    threading.Thread(target=act, name=name, daemon=True).start()


def _report(processes: ServerProcesses) -> None:
    """Log that all processes are ready, once the port answers too."""
    processes.wait_until_ready()
    http, profile = processes.settings.http, processes.settings.profile
    url = url_of(http.host, http.port)
    while not asked(f"{url}/healthz")[0]:
        time.sleep(_POLL_INTERVAL)
    _log.info("serving", at=url, processes=http.processes, metrics_port=http.metrics_port, profile=profile)


def _end_on_signals(processes: ServerProcesses) -> None:
    """Let granian act on a signal that ends the server once proxies have had time to notice."""
    received: SimpleQueue[int] = SimpleQueue()  # a handler may put into it at any moment
    granians = signal.getsignal(signal.SIGTERM)
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda number, _: received.put(number))

    def end() -> None:
        number = received.get()
        processes.leave()
        time.sleep(processes.settings.http.leave_after)
        if callable(granians):
            granians(number, None)

    _in_background("end", end)


def _reload_server(processes: ServerProcesses, path: Path | None) -> None:
    """Let the server go by the settings as they are written now; change nothing where nothing would start with them."""
    installation = reloaded(path, processes.settings, _FIXED)
    if installation is None:
        return
    installation.close()  # each process makes its own
    if processes.change(installation.settings):
        _tell(installation.settings)
    elif not processes.is_leaving:
        _log.error("reload_failed", reason="a process could not use the settings; all go on as before")


def on_hangup(act: Callable[[], None]) -> None:
    """Do something at each SIGHUP from now on, in a thread of its own; those that come meanwhile are one more.

    The signal is blocked since the command began. A handler would find the main thread in the middle of something that
    it cannot be interrupted in.
    """

    def wait_and_act() -> None:
        while True:
            signal.sigwait({signal.SIGHUP})
            act()

    _in_background("hangups", wait_and_act)


def _prepared(settings: Settings) -> Installation:
    """Return an installation that may serve; raise `ConfigurationError` in words for who starts it."""
    installation = install(settings)
    try:
        prepare(installation)
    except StoreUnavailableError as silent:
        finding = silence_finding(settings, silent)
        raise ConfigurationError(f"{finding.sentence} {finding.action}") from silent
    return installation


def reloaded(path: Path | None, present: Settings, fixed: Iterable[str]) -> Installation | None:
    """Return what the configuration describes now, ``fixed`` settings as they are at present.

    Where a start would be refused, the log says why, nothing is changed, and ``None`` is returned.
    """
    look_again()  # a gateway may have been installed for it
    try:
        settings, waiting = with_fixed(present, load_settings(path), (*fixed, *ELSEWHERE))
        installation = _prepared(settings)
    except (ConfigurationError, OtpServiceError, OSError) as refused:
        _log.error("reload_refused", faults=str(refused).splitlines())
        return None
    except Exception:  # noqa: BLE001 - what runs goes on, and may be asked again
        _log.exception("reload_defect")
        return None
    configure_logging(settings.logging.level, Renderer(settings.logging.format))
    if waiting:
        _log.warning("restart_needed", settings=list(waiting))
    return installation


def _tell(settings: Settings) -> None:
    """Log that new settings are in force, with the profile, and the ids of the root keys, the active one first."""
    _log.info("reloaded", root_keys=list(settings.keyring().root_ids), profile=settings.profile)


@contextmanager
def _shared_metrics() -> Iterator[None]:
    """Let the processes count together, in a folder of their own unless the environment names one."""
    if metrics.DIRECTORY_VARIABLE in os.environ:
        yield
        return
    folder = Path(tempfile.mkdtemp(prefix="otp-service-metrics-", dir=_folder_of_metrics()))
    try:
        os.environ.update(metrics.prepare_folder(folder))
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder_of_metrics() -> str | None:
    """Return where the folder is made; ``None`` where it does not matter.

    The processes map its files, and the system ends a process that writes into such a file on a disk that is full.
    """
    return os.environ.get("TMPDIR") or (_MEMORY if os.access(_MEMORY, os.W_OK) else None)


def _serve_metrics(port: int, host: str, what: str, variable: str) -> None:
    """Report for all processes; the last two parameters say what to do when another one has the port."""
    if not port:
        return
    try:
        metrics.start_server(port, host)
    except OSError as busy:
        other = next(free for free in _OTHER_PORTS if free != port)
        advice = f"Another {what}? Give this one {variable}={other}, or 0 for none."
        raise ConfigurationError(
            f"The metrics port {port} of {host} cannot be used: {busy.strerror}. {advice}"
        ) from busy


@click.command()
@config_option
def worker(path: Path | None) -> None:
    """Deliver the messages.

    Run as many workers as you like, on any host. At a SIGHUP one reads its settings anew, and no message is lost.
    """
    settings = settings_for_children(path)
    configure_logging(settings.logging.level, Renderer(settings.logging.format))
    shifts = Shifts(_prepared(settings))
    stop_on_signals(shifts.stop)
    _serve_metrics(settings.worker.metrics_port, settings.http.host, "worker", "OTP_SERVICE__WORKER__METRICS_PORT")
    on_hangup(lambda: _reload_worker(shifts, path))
    tracing.switch(on=settings.telemetry.traces is not None)
    shifts.run()
    tracing.close()


def _reload_worker(shifts: Shifts, path: Path | None) -> None:
    """Let the next shift of a worker begin, with the settings as they are written now."""
    if successor := reloaded(path, shifts.present.settings, _FIXED_OF_WORKER):
        tracing.switch(on=successor.settings.telemetry.traces is not None)
        shifts.hand_over(successor)
        _tell(successor.settings)
