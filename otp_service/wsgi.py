"""The service for any WSGI server: ``otp_service.wsgi:app`` is a factory."""

from otp_service.api.app import Service, create_app
from otp_service.bootstrap import open_installation, watch
from otp_service.settings import Settings, load_settings
from otp_service.telemetry import tracing
from otp_service.telemetry.logging import Renderer, configure_logging


def app(settings: Settings | None = None) -> Service:
    """Return the application that the configuration describes, or settings that were read before.

    Raises `ConfigurationError`, also when Redis belongs to another installation, and `StoreUnavailableError` when
    it does not answer, or `LedgerUnavailableError`: a process that cannot look must not serve.
    """
    settings = settings or load_settings()
    set_up_process(settings)
    installation = open_installation(settings)
    watching = watch(installation)
    watching.start()
    service = create_app(installation)
    service.on_close(watching.stop, installation.close)
    return service


def set_up_process(settings: Settings) -> None:
    """Let the process log and trace as the settings say."""
    configure_logging(settings.logging.level, Renderer(settings.logging.format))
    tracing.set_enabled(on=settings.telemetry.traces is not None)
