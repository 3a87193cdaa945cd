"""otp-service worker: deliver the messages."""

from pathlib import Path

import click

from otp_service.cli.output import config_option, settings_for_children
from otp_service.cli.process_setup import log_reload, on_hangup, open_installation, reload_installation, serve_metrics
from otp_service.telemetry import tracing
from otp_service.telemetry.logging import Renderer, configure_logging
from otp_service.worker.worker import ReloadableWorker, stop_on_signals


@click.command()
@config_option
def worker(path: Path | None) -> None:
    """Deliver the messages.

    Run any number of workers, on any host. SIGHUP reloads the settings; no message is lost.
    """
    settings = settings_for_children(path)
    configure_logging(settings.logging.level, Renderer(settings.logging.format))
    reloadable = ReloadableWorker(open_installation(settings))
    stop_on_signals(reloadable.stop)
    port, host = settings.worker.metrics_port, settings.http.host
    serve_metrics(port, host, "worker", "OTP_SERVICE__WORKER__METRICS_PORT", reloadable.is_healthy)

    def reload() -> None:
        if successor := reload_installation(path, reloadable.present.settings, ("http.host", "worker.metrics_port")):
            tracing.set_enabled(on=successor.settings.telemetry.traces is not None)
            reloadable.reload(successor)
            log_reload(successor.settings)

    on_hangup(reload)
    tracing.set_enabled(on=settings.telemetry.traces is not None)
    reloadable.run()
    tracing.close()
