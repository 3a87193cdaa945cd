"""Tasks that run by the clock, and the purge of the ledger."""

import threading
from collections.abc import Callable, Mapping

from otp_service import clock
from otp_service.domain.audit import RetentionDays
from otp_service.errors import LedgerUnavailableError, StoreUnavailableError
from otp_service.ledger.retention import PURGE_RULES, Purge
from otp_service.services.context import Context
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger
from otp_service.telemetry.redaction import SafeNumber

_log = get_logger(__name__)

PERIOD = 1.0
"""Seconds between two runs."""


class PeriodicTasks:
    """Runs tasks once a second until stopped, each in its own thread: a long task must not keep a revoked key alive."""

    def __init__(
        self,
        tasks: Mapping[str, Callable[[], None]],
        period: float = PERIOD,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the tasks by name; ``on_stop`` aborts a long task."""
        self._on_stop = on_stop
        self._period = period
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(name, task), name=f"periodic task {name}", daemon=True)
            for name, task in tasks.items()
        ]

    def start(self) -> None:
        """Start the threads; the process may end without stopping them."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._on_stop()
        for thread in self._threads:
            thread.join()

    def _run(self, name: str, task: Callable[[], None]) -> None:
        while not self._stop.wait(self._period):
            try:
                task()
            except StoreUnavailableError:
                metrics.store_errors.count(operation=f"periodic_task.{name}")
            except LedgerUnavailableError:
                metrics.ledger_errors.count(operation=f"periodic_task.{name}")
            except Exception:  # noqa: BLE001 - a failed task runs again
                _log.exception("periodic_task_defect", task=name)


class Purger:
    """Purges the ledger, in turn with other processes."""

    def __init__(self, context: Context, retention_days: RetentionDays, pause: Callable[[], bool]) -> None:
        """Call ``pause`` after each batch, so that other processes can write; it returns whether to stop."""
        self._context = context
        self._retention_days = retention_days
        self._pause = pause
        self.deleted: dict[str, int] = {}
        """Deleted rows of the present or last purge, by class of data."""

    def purge_if_due(self) -> None:
        """Purge, if no process has in the last hour."""
        now = self._now()
        if self._context.ledger.purges.claim_turn(now):
            for data, rows in self._purge(now).items():
                if rows:
                    _log.info("purged", records=data, rows=SafeNumber(rows))

    def purge_now(self) -> Mapping[str, int]:
        """Purge in any case; return the numbers of deleted rows, by class of data."""
        now = self._now()
        self._context.ledger.purges.begin(now)
        return self._purge(now)

    def _now(self) -> int:
        """Return the earlier time of two clocks: a host that is years ahead must not delete data too early."""
        return min(clock.now(), self._context.store.decisions.now())

    def _purge(self, now: int) -> Mapping[str, int]:
        self.deleted = deleted = dict.fromkeys(PURGE_RULES, 0)
        for data in PURGE_RULES:
            purge = Purge(data, self._retention_days.cutoff(data, now), now, self._context.keyring.signer)
            for rows in self._context.ledger.purges.run(purge):
                deleted[data] += rows
                if self._pause():
                    return deleted
        return deleted
