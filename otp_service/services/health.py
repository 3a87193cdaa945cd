"""Readiness of a process, and the probe of ``otp-service doctor --network``."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from otp_service.clock import now
from otp_service.domain.consents import ConsentMode
from otp_service.domain.keyring import Keyring
from otp_service.errors import StoreUnavailableError
from otp_service.services.access_cache import AccessSource
from otp_service.services.context import Context
from otp_service.services.mirror import MISMATCHES, MirrorState
from otp_service.store.connection import connection_problem

STARTS_ACCEPTED: Final = "accepted"
"""``starts`` while starts are accepted."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """The readiness of a process, with the details that a probe shows."""

    checks: bool
    """Readiness for checks, receipts and inbound messages."""
    starts: bool
    details: Mapping[str, object]


def readiness(context: Context) -> Readiness:
    """Return the readiness now; worker and ledger are details only: codes are checked without either."""
    worker_age, ledger = None, context.ledger.database.gate.state or str(context.mirror_sync.state)
    if ledger == MirrorState.OK and context.ledger.database.lacks_space():
        ledger = "disk-full"
    try:
        starts = _why_starts_are_closed(context) or STARTS_ACCEPTED
        worker_age, redis = context.store.server.worker_age(), "ok"
    except StoreUnavailableError as lost:
        starts, redis = f"redis-{connection_problem(lost)}", "unavailable"
    access = context.access_cache
    knows_callers = access.source is not AccessSource.CONFIGURATION or bool(access.snapshot.keys)
    details = {
        "redis": redis,
        "worker_age": worker_age,
        "ledger": ledger,
        "access": str(access.source),
        "starts": starts,
    }
    return Readiness(checks=redis == "ok" and knows_callers, starts=starts == STARTS_ACCEPTED, details=details)


def _why_starts_are_closed(context: Context) -> str | None:
    """Return why every start is refused now; ``None`` while starts are accepted."""
    if context.mirror_sync.state in MISMATCHES:
        return f"mirror-{context.mirror_sync.state}"
    if not context.mirror_sync.is_known:
        return "ledger-unknown"
    return context.store.verifications.unavailable_reason(
        lambda bucket: context.mirror_sync.query(bucket, ConsentMode.OFF), context.keyring.buckets
    )


PROBE_HEADER: Final = "X-Otp-Service-Probe"
_PROBE_PERIOD: Final = 60_000
"""Milliseconds in which a probe stays the same."""


def new_probe(keyring: Keyring) -> str:
    """Return a probe that `is_probe` accepts for at least a minute."""
    return _probe(keyring, now() // _PROBE_PERIOD)


def is_probe(keyring: Keyring, text: str) -> bool:
    present = now() // _PROBE_PERIOD
    known = (_probe(keyring, period) for period in (present - 1, present, present + 1))
    return any(hmac.compare_digest(text.encode(), probe.encode()) for probe in known)


def _probe(keyring: Keyring, period: int) -> str:
    return keyring.fingerprint("doctor", str(period))
