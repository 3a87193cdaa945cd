"""Whether the service can do its work."""

from dataclasses import dataclass

from otp_service.core.errors import StoreUnavailableError
from otp_service.services.context import Context


@dataclass(frozen=True, slots=True)
class Readiness:
    """Ready or not, and what was found."""

    ready: bool
    details: dict[str, object]


def readiness(context: Context) -> Readiness:
    """Look whether Redis answers and has the scripts; the age of the last worker is told, not judged."""
    server = context.store.server
    try:
        scripts = server.ready()
        if not scripts:
            server.load_scripts()
        return Readiness(ready=True, details={"redis": "ok", "worker_age": server.worker_age()})
    except StoreUnavailableError:
        return Readiness(ready=False, details={"redis": "unavailable", "worker_age": None})
