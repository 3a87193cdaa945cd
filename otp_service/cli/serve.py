"""``otp-service serve`` and ``worker``: the two production processes."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from otp_service.bootstrap import Installation, install, prepare
from otp_service.cli.options import config_option, settings_for_children
from otp_service.cli.probe import check_port, url_of
from otp_service.cli.server import Server
from otp_service.cli.server_findings import silence_finding
from otp_service.core.errors import ConfigurationError, StoreUnavailableError
from otp_service.settings import Settings
from otp_service.telemetry import exposition
from otp_service.telemetry.logging import Renderer, configure_logging, get_logger
from otp_service.worker.loop import run
from otp_service.worker.signals import stop_on_signals

_log = get_logger(__name__)
_OTHER_PORTS = (9092, 9093)
"""For the metrics of a second process; the defaults of the settings lie before them."""


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
    with _shared_metrics():
        _serve_metrics(settings.http.metrics_port, settings.http.host, "service", "OTP_SERVICE__HTTP__METRICS_PORT")
        server = Server(settings)
        server.on_startup(lambda: _report(settings))
        server.run()


def _report(settings: Settings) -> None:
    http = settings.http
    _log.info("serving", at=url_of(http.host, http.port), processes=http.processes, metrics_port=http.metrics_port)


def _prepared(settings: Settings) -> Installation:
    installation = install(settings)
    try:
        prepare(installation)
    except StoreUnavailableError as silent:
        finding = silence_finding(settings, silent)
        raise ConfigurationError(f"{finding.sentence} {finding.action}") from silent
    return installation


@contextmanager
def _shared_metrics() -> Iterator[None]:
    """Let the processes count together, in a folder of their own unless the environment names one."""
    if exposition.DIRECTORY_VARIABLE in os.environ:
        yield
        return
    folder = Path(tempfile.mkdtemp(prefix="otp-service-metrics-"))
    try:
        exposition.prepare(folder)
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serve_metrics(port: int, host: str, what: str, variable: str) -> None:
    """Report for all processes; the last two parameters say what to do when another one has the port."""
    if not port:
        return
    try:
        exposition.start_server(port, host)
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

    Run as many workers as you like, on any host.
    """
    settings = settings_for_children(path)
    configure_logging(settings.logging.level, Renderer(settings.logging.format))
    installation = _prepared(settings)
    stop = stop_on_signals()
    _serve_metrics(settings.worker.metrics_port, settings.http.host, "worker", "OTP_SERVICE__WORKER__METRICS_PORT")
    run(installation, stop)
