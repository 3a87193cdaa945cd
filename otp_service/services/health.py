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
    """Look whether Redis answers and has the scripts.

    The age of the last worker, and what the last look at the ledger found, are told, not judged: without either, codes
    are still checked.
    """
    server, ledger = context.store.server, context.reflection.standing
    try:
        scripts = server.ready()
        if not scripts:
            server.load_scripts()
        return Readiness(ready=True, details={"redis": "ok", "worker_age": server.worker_age(), "ledger": ledger})
    except StoreUnavailableError:
        return Readiness(ready=False, details={"redis": "unavailable", "worker_age": None, "ledger": ledger})
