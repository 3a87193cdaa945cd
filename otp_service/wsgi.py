"""The service for any WSGI server: ``otp_service.wsgi:app`` is a factory."""

from otp_service.api.app import Service, create_app
from otp_service.bootstrap import open_installation, watch
from otp_service.settings import Settings, load_settings
from otp_service.telemetry import tracing
from otp_service.telemetry.logging import Renderer, configure_logging


def app(settings: Settings | None = None, *, waits_for_ledger: bool = True) -> Service:
    """Return the application of the configuration, or of given ``settings``; raise as `bootstrap.prepare`."""
    settings = settings or load_settings()
    set_up_process(settings)
    installation = open_installation(settings, waits_for_ledger=waits_for_ledger)
    watching = watch(installation)
    watching.start()
    service = create_app(installation)
    service.on_close(watching.stop, installation.close)
    return service


def set_up_process(settings: Settings) -> None:
    """Configure logging and tracing of the process."""
    configure_logging(settings.logging.level, Renderer(settings.logging.format))
    tracing.set_enabled(on=settings.telemetry.traces is not None)
