"""What becomes of a call to a sandbox gateway, by its settings."""

import itertools
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from otp_service.domain.templates import Message
from otp_service.gateways.base import FailureKind, GatewayError
from otp_service.gateways.sandbox.faults import Case, Connection, Faults

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one call."""

    caught: bool
    failure: GatewayError | None
    lasts: float
    """Seconds."""


_ON_ITS_WAY = {
    Connection.REFUSED: (False, "connection", False),
    Connection.LOST: (True, "connection", True),
    Connection.TIMEOUT: (True, "timeout", True),
    Connection.BLACK_HOLE: (False, "timeout", True),
}
"""Whether the message is caught, the code of the failure, and whether it is ambiguous."""


class Script:
    """The faults of a gateway or of one of its cases, with the count of their calls. Used by many threads."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._calls = itertools.count(1)
        self._lock = threading.Lock()

    def fate(self, timeout: float) -> Fate:
        """Decide the next call, which may take ``timeout`` seconds."""
        faults, lasts = self.faults, min(self.faults.delay, timeout)
        connection = Connection.TIMEOUT if faults.delay > timeout else None
        if self._strikes():
            if faults.fail:
                failure = GatewayError(
                    faults.fail, "sandbox", retry_after=faults.retry_after, opted_out=faults.opted_out
                )
                return Fate(caught=False, failure=failure, lasts=lasts)
            connection = faults.connection or connection
        if connection is None:
            return Fate(caught=True, failure=None, lasts=lasts)
        caught, code, ambiguous = _ON_ITS_WAY[connection]
        failure = GatewayError(FailureKind.UNAVAILABLE, code, ambiguous=ambiguous)
        return Fate(caught, failure, timeout if code == "timeout" else lasts)

    def _strikes(self) -> bool:
        if self.faults.rate is not None:
            return secrets.randbelow(_MILLION) < _MILLION * self.faults.rate
        if self.faults.every is None:
            return True
        with self._lock:
            return next(self._calls) % self.faults.every == 0


def script_for(message: Message, cases: Iterable[tuple[Case, Script]], default: Script) -> Script:
    """Return the script of the first case that is about a message, else the gateway's own."""
    return next((script for case, script in cases if case.covers(message)), default)
