"""What is counted, shown to Prometheus: of this process, or of all on this host.

With ``PROMETHEUS_MULTIPROC_DIR`` set before `otp_service.telemetry.metrics` is imported, all processes on a host that
share the directory are reported together (see `prepare`); without it, this process alone.
"""

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from otp_service.telemetry.metrics import REGISTRY

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Media type of `text`."""


def prepare(directory: Path) -> dict[str, str]:
    """Make the directory that processes share, or empty it; return the variable that names it, for their environment.

    The values of dead processes stay in it until the next start: their requests did happen.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for leftover in directory.glob("*.db"):
        leftover.unlink()
    return {DIRECTORY_VARIABLE: str(directory.resolve())}


def shared() -> bool:
    """Tell whether a directory is set, so that processes report together."""
    return DIRECTORY_VARIABLE in os.environ


def text() -> bytes:
    """Return all metrics in Prometheus' text format, those of all processes that share the directory."""
    return generate_latest(_collected())


def start_server(port: int, host: str) -> None:
    """Serve the exposition on a port of its own, from a thread that ends with the process."""
    start_http_server(port, addr=host, registry=_collected())


def _collected() -> CollectorRegistry:
    if not shared():
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
