"""The recorder: brings what happened from the event stream into the ledger, at least once: twice does no harm."""

import threading

from otp_service.errors import LedgerUnavailableError, StoreUnavailableError
from otp_service.services.context import Context
from otp_service.services.events import record_events
from otp_service.store.events import EventBatch
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger
from otp_service.worker.jobs import Periodic

BATCH_SIZE = 500
"""Events that are recorded in one transaction."""
BATCH_INTERVAL = 0.25
"""Seconds between two batches: each is to be worth its transaction. A consent that came with a start waits as long."""
_RETRY_DELAY = 1.0
"""Seconds to wait while Redis or the database is away."""
_CLAIM_AFTER = 15.0
"""Seconds, beyond those of a transaction, after which events that a recorder took and did not record are taken over."""
_HOURLY = 3600.0
_UPKEEP_INTERVAL = 5.0
"""Seconds between two looks for such events, and between two trimmings."""

_log = get_logger(__name__)


class Recorder:
    """Records in a thread of its own: a slow database must not hold up messages."""

    def __init__(self, context: Context, name: str, timeout: float, wait: float) -> None:
        """Take the name of the worker, the seconds that a transaction may take, and those to wait for events."""
        self._context = context
        self._name = name
        self._events = context.store.events
        self._wait = max(1, round(1000 * wait))
        self._idle = round(1000 * (_CLAIM_AFTER + 2 * timeout))
        self._taken: list[EventBatch] = []
        self._failed: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder")
        self._claim = Periodic(_UPKEEP_INTERVAL, self._claim_stale)
        self._trim = Periodic(_UPKEEP_INTERVAL, self._trim_stream)
        self._forget = Periodic(_HOURLY, self._events.forget_recorders)

    def start(self) -> None:
        """Begin to record."""
        self._thread.start()

    def stop(self) -> None:
        """Record what has happened, and end."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        last = False
        while not last:
            stopping = self._stop.is_set()
            recorded = self._run_once()
            last = stopping and not recorded
            self._stop.wait(BATCH_INTERVAL)

    def _run_once(self) -> int:
        """Record what is there; return how many events that was."""
        try:
            if not self._taken:
                self._taken = self._events.take(self._name, BATCH_SIZE, 0 if self._stop.is_set() else self._wait)
                self._claim.run_if_due()
            count = self._record()
            self._trim.run_if_due()
            self._forget.run_if_due()
        except (StoreUnavailableError, LedgerUnavailableError) as away:
            self._log_outage(away)
        except Exception:  # noqa: BLE001 - one event's defect must not keep back the others
            _log.exception("recorder_defect", recorder=self._name)
            self._split()
            return len(self._taken)  # none: nothing could be taken, and there is nothing to stay for
        else:
            return count
        self._stop.wait(_RETRY_DELAY)
        return 0

    def _split(self) -> None:
        """Go on with each of the events of a batch that could not be recorded; leave one that cannot, for later."""
        failed, others = self._taken[:1], self._taken[1:]
        if failed and len(failed[0].entries) == 1:
            self._defer_or_set_aside(failed[0])
        parts = [part for batch in failed if len(batch.entries) > 1 for part in batch.split()]
        self._taken = [*parts, *others]

    def _defer_or_set_aside(self, batch: EventBatch) -> None:
        """Leave an event for later that could not be recorded; the second time, keep it as it is."""
        (entry,) = batch.entries
        if entry in self._failed and self._set_aside(batch):
            self._failed.discard(entry)
        else:
            self._failed.add(entry)

    def _set_aside(self, batch: EventBatch) -> bool:
        """Keep an event as it is that cannot be understood, for others wait behind it; tell whether that was done."""
        try:
            self._context.ledger.traffic.keep(batch.events)
            self._events.acknowledge(batch)
        except Exception:  # noqa: BLE001 - then it is left for later
            return False
        metrics.ledger_errors.count(operation="recorder.event")
        _log.error("event_not_understood", entry=batch.events[0].id)
        return True

    def _claim_stale(self) -> None:
        self._taken += self._events.claim(self._name, BATCH_SIZE, self._idle)

    def _record(self) -> int:
        """Record what was taken, and forget that it is to be recorded."""
        count = 0
        while self._taken:
            batch = self._taken[0]
            record_events(self._context, batch.events)
            self._events.acknowledge(batch)
            _count(batch)
            count += len(batch.entries)
            self._taken.pop(0)
        return count

    def _trim_stream(self) -> None:
        metrics.events_unrecorded.set(self._events.unrecorded())
        self._events.trim()

    def _log_outage(self, away: Exception) -> None:
        if isinstance(away, LedgerUnavailableError):
            metrics.ledger_errors.count(operation="recorder")
            _log.warning("ledger_unavailable", recorder=self._name, reason=str(away))
        else:
            metrics.store_errors.count(operation="recorder")


def _count(batch: EventBatch) -> None:
    for one in batch.events:
        metrics.events_recorded.count(
            application=one.member("application"), country=one.member("country"), event=one.type
        )
