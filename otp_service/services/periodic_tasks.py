"""Tasks that each process runs once a second, such as keeping the mirror up to date."""

import threading
from collections.abc import Callable, Mapping

from otp_service.errors import LedgerUnavailableError, StoreUnavailableError
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)
PERIOD = 1.0
"""Seconds between two runs."""


class PeriodicTasks:
    """Runs tasks once a second, each in a thread of its own, until it is stopped; one that fails is run again.

    So a long task, such as to build a mirror, does not keep a revoked key in force.
    """

    def __init__(
        self,
        tasks: Mapping[str, Callable[[], None]],
        period: float = PERIOD,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the tasks by name, and what asks one that takes long to come to an end."""
        self._on_stop = on_stop
        self._period = period
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(name, task), name=f"watch {name}", daemon=True)
            for name, task in tasks.items()
        ]

    def start(self) -> None:
        """Start the threads; the process may end without stopping them."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop, and wait for the threads."""
        self._stop.set()
        self._on_stop()
        for thread in self._threads:
            thread.join()

    def _run(self, name: str, task: Callable[[], None]) -> None:
        while not self._stop.wait(self._period):
            self._do(name, task)

    def _do(self, name: str, task: Callable[[], None]) -> None:
        try:
            task()
        except StoreUnavailableError:
            metrics.store_errors.count(operation=f"watch.{name}")
        except LedgerUnavailableError:
            metrics.ledger_errors.count(operation=f"watch.{name}")
        except Exception:  # noqa: BLE001 - the other tasks have their turn, and this one again
            _log.exception("watch_defect", duty=name)
