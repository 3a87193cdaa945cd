"""Settings that are read anew while a process runs: judged in full before anything is changed."""

from collections.abc import Iterable
from pathlib import Path

from otp_service.bootstrap import Installation, install, prepare
from otp_service.cli.doctor import silence_finding
from otp_service.errors import ConfigurationError, OtpServiceError, StoreUnavailableError
from otp_service.gateways.base import look_again
from otp_service.settings import Settings, load_settings
from otp_service.settings.loader import ELSEWHERE, with_fixed
from otp_service.telemetry.logging import Renderer, configure_logging, get_logger

_log = get_logger(__name__)


def prepared(settings: Settings) -> Installation:
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
        installation = prepared(settings)
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


def tell(settings: Settings) -> None:
    """Log that new settings are in force, with the profile, and the ids of the root keys, the active one first."""
    _log.info("reloaded", root_keys=list(settings.core_keyring().root_ids), profile=settings.profile)
