"""``otp-service serve`` and ``worker``: the two production processes."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from otp_service.cli.hangups import on_hangup
from otp_service.cli.output import config_option, settings_for_children
from otp_service.cli.probe import check_port, url_of
from otp_service.cli.reloading import prepared, reloaded, tell
from otp_service.cli.server import Server
from otp_service.errors import ConfigurationError
from otp_service.settings import Settings
from otp_service.telemetry import metrics, tracing
from otp_service.telemetry.logging import Renderer, configure_logging, get_logger
from otp_service.worker.worker import Shifts, stop_on_signals

_log = get_logger(__name__)
_OTHER_PORTS = (9092, 9093)
"""For the metrics of a second process; the defaults of the settings lie before them."""
_MEMORY = "/dev/shm"  # noqa: S108 - the folder in it has a name that nobody foresees
"""A file system in memory, where there is one."""
_FIXED = ("http.host", "http.port", "http.processes", "http.metrics_port")
"""Settings of ``serve`` that a reload leaves as they are: its sockets are open, and each process has one of its own."""
_FIXED_OF_WORKER = ("http.host", "worker.metrics_port")


@click.command()
@config_option
def serve(path: Path | None) -> None:
    """Serve the HTTP API.

    As many processes as http.processes says. At a SIGHUP it reads its settings anew, and no request is lost.
    """
    settings = settings_for_children(path)
    configure_logging(settings.logging.level, Renderer(settings.logging.format))
    check_port(settings.http.host, settings.http.port)
    prepared(settings).close()  # so that what would stop every process is told once, as a sentence
    with _shared_metrics():
        _serve_metrics(settings.http.metrics_port, settings.http.host, "service", "OTP_SERVICE__HTTP__METRICS_PORT")
        server = Server(settings, lambda present: _judged(path, present))
        server.on_startup(lambda: server.when_it_serves(lambda: _report(settings)))
        server.run()


def _report(settings: Settings) -> None:
    http = settings.http
    _log.info(
        "serving",
        at=url_of(http.host, http.port),
        processes=http.processes,
        metrics_port=http.metrics_port,
        profile=settings.profile,
    )


def _judged(path: Path | None, present: Settings) -> Settings | None:
    """Return the settings as they are written now; ``None`` where nothing would start with them."""
    installation = reloaded(path, present, _FIXED)
    if installation is None:
        return None
    installation.close()  # each process makes its own
    return installation.settings


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
    shifts = Shifts(prepared(settings))
    stop_on_signals(shifts.stop)
    _serve_metrics(settings.worker.metrics_port, settings.http.host, "worker", "OTP_SERVICE__WORKER__METRICS_PORT")
    on_hangup(lambda: _renew(shifts, path))
    tracing.switch(on=settings.telemetry.traces is not None)
    shifts.run()
    tracing.close()


def _renew(shifts: Shifts, path: Path | None) -> None:
    """Let the next shift of a worker begin, with the settings as they are written now."""
    if successor := reloaded(path, shifts.present.settings, _FIXED_OF_WORKER):
        tracing.switch(on=successor.settings.telemetry.traces is not None)
        shifts.hand_over(successor)
        tell(successor.settings)
