"""Purge the ledger of what has been kept long enough."""

from collections.abc import Callable, Mapping

from otp_service.domain.retention import RetentionDays
from otp_service.ledger import database
from otp_service.ledger.retention import RULES, Purge
from otp_service.services.context import Context
from otp_service.telemetry.logging import get_logger
from otp_service.telemetry.redaction import SafeNumber

_log = get_logger(__name__)


class Purger:
    """Purges the ledger, in turn with other processes."""

    def __init__(self, context: Context, keeping: RetentionDays, pause: Callable[[], bool]) -> None:
        """``pause`` is called after each batch, so that others can write, and returns whether to stop."""
        self._context = context
        self._keeping = keeping
        self._pause = pause
        self.deleted: dict[str, int] = {}
        """Rows that the present purge deleted, or the last one, by class of data."""

    def purge_if_due(self) -> None:
        """Purge, if no process has in the last hour; raise `LedgerUnavailableError` or `StoreUnavailableError`."""
        now = self._now()
        if self._context.ledger.purges.claim_turn(now):
            for data, rows in self._purge(now).items():
                if rows:
                    _log.info("purged", records=data, rows=SafeNumber(rows))

    def purge_now(self) -> Mapping[str, int]:
        """Purge whether or not it is due; return how many rows went, by class of data; raise as `purge_if_due` does."""
        now = self._now()
        self._context.ledger.purges.begin(now)
        return self._purge(now)

    def _now(self) -> int:
        """Return the earlier time of two clocks: a host that is years ahead must not delete what others keep."""
        return min(database.now(), self._context.store.decisions.now())

    def _purge(self, now: int) -> Mapping[str, int]:
        self.deleted = deleted = dict.fromkeys(RULES, 0)
        for data in RULES:
            purge = Purge(data, self._keeping.cutoff(data, now), now, self._context.keyring.signer)
            for rows in self._context.ledger.purges.run(purge):
                deleted[data] += rows
                if self._pause():
                    return deleted
        return deleted
