"""``otp-service serve`` and ``worker``: the two production processes."""

import multiprocessing
import os
import shutil
import tempfile
from pathlib import Path

import click
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server.mp import MPServer

from otp_service.bootstrap import Installation, install, prepare
from otp_service.cli.options import config_option, settings_for_children
from otp_service.cli.probe import check_port
from otp_service.core.errors import ConfigurationError, StoreUnavailableError
from otp_service.settings import Settings
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import GRANIAN_LOGGING, Renderer, configure_logging
from otp_service.worker.loop import run
from otp_service.worker.signals import stop_on_signals

BACKLOG = 2048
CONNECTIONS = 1024
"""Connections that one process holds at a time, idle ones included; others wait in the backlog."""
KILL_AFTER = 10
"""Seconds that a process may take to finish its requests."""


@click.command()
@config_option
def serve(path: Path | None) -> None:
    """Serve the HTTP API.

    As many processes as http.processes says.
    """
    settings = settings_for_children(path)
    configure_logging(settings.logging.level, Renderer(settings.logging.format))
    check_port(settings.http.host, settings.http.port)
    _prepared(settings)  # so that what would stop every process is told once, as a sentence
    folder = _shared_metrics(settings)
    try:
        _server(settings).serve()
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _prepared(settings: Settings) -> Installation:
    installation = install(settings)
    try:
        prepare(installation)
    except StoreUnavailableError as silent:
        raise ConfigurationError(
            f"Redis at {settings.redis.shown_url} does not answer. What is wrong: otp-service doctor"
        ) from silent
    return installation


def _shared_metrics(settings: Settings) -> Path | None:
    """Let the processes count together and report for all of them; return the folder to remove afterwards."""
    folder = None
    if metrics.DIRECTORY_VARIABLE not in os.environ:
        folder = Path(tempfile.mkdtemp(prefix="otp-service-metrics-"))
        metrics.prepare(folder)
    _serve_metrics(settings.http.metrics_port, settings.http.host)
    return folder


def _serve_metrics(port: int, host: str) -> None:
    if not port:
        return
    try:
        metrics.start_server(port, host)
    except OSError as busy:
        raise ConfigurationError(f"The metrics port {port} of {host} cannot be used: {busy.strerror}.") from busy


def _server(settings: Settings) -> MPServer:
    # Forked processes would inherit this one's metrics, threads and connections; spawned ones have their own.
    multiprocessing.set_start_method("spawn", force=True)
    return MPServer(
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


@click.command()
@config_option
def worker(path: Path | None) -> None:
    """Deliver the messages.

    Run as many workers as you like, on any host.
    """
    settings = settings_for_children(path)
    configure_logging(settings.logging.level, Renderer(settings.logging.format))
    installation = _prepared(settings)
    stop = stop_on_signals()
    _serve_metrics(settings.worker.metrics_port, settings.http.host)
    run(installation, stop)
