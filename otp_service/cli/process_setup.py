"""Set-up shared by ``serve`` and ``worker``: installation, metrics port, reload at SIGHUP."""

import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from otp_service import bootstrap
from otp_service.bootstrap import Installation
from otp_service.cli.doctor import redis_diagnosis
from otp_service.errors import ConfigurationError, OtpServiceError, StoreUnavailableError
from otp_service.plugins import forget_installed_entry_points
from otp_service.settings import Settings, load_settings
from otp_service.settings.loader import SERVER_URLS, keep_fixed
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import Renderer, configure_logging, get_logger

_log = get_logger(__name__)
_OTHER_PORTS = (9092, 9093)
"""For the metrics of a second process; the settings' default ports precede them."""


def start_thread(name: str, function: Callable[[], None]) -> None:
    """Run a function in a daemon thread."""
    threading.Thread(target=function, name=name, daemon=True).start()


def on_hangup(function: Callable[[], None]) -> None:
    """Call a function at each SIGHUP, in a thread; signals during a call count as one.

    The signal is blocked since the command began, because a handler could interrupt the main thread anywhere.
    """

    def wait_and_call() -> None:
        while True:
            signal.sigwait({signal.SIGHUP})
            function()

    start_thread("hangups", wait_and_call)


def open_installation(settings: Settings, *, waits_for_ledger: bool = True) -> Installation:
    """Return an installation that is ready to serve; raise `ConfigurationError` with a remedy.

    ``waits_for_ledger`` as in `bootstrap.prepare`.
    """
    try:
        return bootstrap.open_installation(settings, waits_for_ledger=waits_for_ledger)
    except StoreUnavailableError as silent:
        diagnosis = redis_diagnosis(settings, silent)
        raise ConfigurationError(f"{diagnosis.sentence} {diagnosis.action}") from silent


def reload_installation(path: Path | None, present: Settings, fixed: Iterable[str]) -> Installation | None:
    """Return an installation of the current settings except the ``fixed`` ones.

    Return ``None``, and log the reason, if a start would be refused or the ledger does not answer.
    """
    forget_installed_entry_points()  # the new settings may use a newly installed gateway
    try:
        settings, waiting = keep_fixed(present, load_settings(path), (*fixed, *SERVER_URLS))
        installation = open_installation(settings, waits_for_ledger=False)
    except (ConfigurationError, OtpServiceError, OSError) as refused:
        _log.error("reload_refused", faults=str(refused).splitlines())
        return None
    except Exception:  # noqa: BLE001 - the present installation goes on, and may be reloaded again
        _log.exception("reload_defect")
        return None
    configure_logging(settings.logging.level, Renderer(settings.logging.format))
    if waiting:
        _log.warning("restart_needed", settings=list(waiting))
    return installation


def log_reload(settings: Settings) -> None:
    """Log that new settings are in force, with the ids of the root keys, the active one first."""
    _log.info("reloaded", root_keys=list(settings.keyring().root_ids), profile=settings.profile)


def serve_metrics(
    port: int, host: str, process: str, variable: str, is_healthy: Callable[[], bool] | None = None
) -> None:
    """Serve metrics on a port, and ``/healthz`` with ``is_healthy``.

    ``process`` and ``variable`` are for the advice about a port in use.
    """
    if not port:
        return
    try:
        metrics.start_server(port, host, is_healthy)
    except OSError as busy:
        other = next(free for free in _OTHER_PORTS if free != port)
        advice = f"Another {process} may use it. Set {variable}={other}, or 0 for no metrics."
        raise ConfigurationError(
            f"The metrics port {port} of {host} cannot be used: {busy.strerror}. {advice}"
        ) from busy
