"""The recorder: copies the event stream into the ledger, at least once; a repetition changes nothing.

Before an approval is copied, its messages are returned to the guard's limits, also while the database is away.
"""

import threading

from otp_service.domain.tallies import tally, tally_blocks
from otp_service.errors import LedgerUnavailableError, StoreUnavailableError
from otp_service.services.context import Context
from otp_service.services.events import record_events, roll_back
from otp_service.services.stats import record_refusals
from otp_service.store.events import EventBatch
from otp_service.store.leases import LEASE_RENEWAL
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger
from otp_service.worker.jobs import Periodic

BATCH_SIZE = 2000
"""Events of a transaction."""
BATCH_INTERVAL = 0.25
"""Seconds between two batches, so that a transaction holds several events; a consent of a start waits as long."""
_RETRY_DELAY = 1.0
"""Seconds to wait while Redis or the database is away."""
_CLAIM_AFTER = 15.0
"""Seconds beyond two transactions after which another recorder's events are claimed."""
_HOURLY = 3600.0
_UPKEEP_INTERVAL = 5.0
"""Seconds between two claims, two counts of refusals, and two trims of the stream."""
_LOG_INTERVAL = 60.0
"""Seconds between two log lines about an unavailable database."""

_log = get_logger(__name__)


class Recorder:
    """Records events in a thread of its own, so that a slow database delays no message.

    ``timeout`` of a transaction and ``wait`` for events are in seconds.
    """

    def __init__(self, context: Context, name: str, timeout: float, wait: float) -> None:
        self._context = context
        self._name = name
        self._events = context.store.events
        self._wait = max(1, round(1000 * wait))
        self._idle = round(1000 * (_CLAIM_AFTER + 2 * timeout))
        self._taken: list[EventBatch] = []
        self._ahead: list[EventBatch] = []
        self._is_behind = False
        self._looked_again: dict[str, str] = {}
        """The last entry of each bucket that was read again after the database was away."""
        self._failed: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder")
        self._lease = Periodic(LEASE_RENEWAL, lambda: self._events.share.renew(self._name))
        self._claim = Periodic(_UPKEEP_INTERVAL, self._claim_stale)
        self._refusals = Periodic(_UPKEEP_INTERVAL, self._record_refusals)
        self._log_away = Periodic(
            _LOG_INTERVAL, lambda reason: _log.warning("ledger_unavailable", recorder=name, reason=reason)
        )
        self._measure = Periodic(
            _UPKEEP_INTERVAL, lambda: metrics.events_unrecorded.set(context.store.events.unrecorded())
        )
        self._trim = Periodic(_UPKEEP_INTERVAL, self._events.trim)
        self._forget = Periodic(_HOURLY, self._events.forget_recorders)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Record the remaining events, and end the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        last = False
        while not last:
            stopping = self._stop.is_set()
            if stopping:  # other recorders share the events from now on
                self._events.share.release(self._name)
            recorded = self._run_once()
            last = stopping and not recorded
            self._stop.wait(BATCH_INTERVAL)

    def _run_once(self) -> int:
        """Record a batch; return its number of events."""
        try:
            self._measure.run_if_due()
            if not self._taken:
                if not self._stop.is_set():  # without the database the lease ends, and leaves the share to others
                    self._lease.run_if_due()
                self._taken = self._take()
                self._claim.run_if_due()
            count = self._record()
            self._refusals.run_if_due()
            self._trim.run_if_due()
            self._forget.run_if_due()
        except LedgerUnavailableError as away:
            metrics.ledger_errors.count(operation="recorder")
            self._log_away.run_if_due(reason=str(away))
            self._look_ahead()
        except StoreUnavailableError:
            metrics.store_errors.count(operation="recorder")
        except Exception:  # noqa: BLE001 - one event's defect must not stop the others
            _log.exception("recorder_defect", recorder=self._name)
            self._split()
            return len(self._taken)  # 0 if none could be taken: then `_run` may end
        else:
            return count
        self._stop.wait(_RETRY_DELAY)
        return 0

    def _record_refusals(self) -> None:
        """Count refusals; catch defects here, so that they are not taken for faults of the events at hand."""
        try:
            record_refusals(self._context, self._events.buckets)
        except (LedgerUnavailableError, StoreUnavailableError):
            raise
        except Exception:  # noqa: BLE001 - tried again; refusals that expire in Redis meanwhile are not counted
            _log.exception("recorder_defect", recorder=self._name)

    def _take(self) -> list[EventBatch]:
        """Return the events read while the database was away, and then new ones."""
        if self._is_behind and (held := self._events.held(self._name, BATCH_SIZE, self._looked_again)):
            self._looked_again |= {batch.bucket: batch.entries[-1] for batch in held}
            return held
        self._is_behind, self._ahead, self._looked_again = False, [], {}
        return self._events.take(self._name, BATCH_SIZE, 0 if self._stop.is_set() else self._wait)

    def _look_ahead(self) -> None:
        """Roll back limits for approvals that wait for the database; events stay this recorder's until recorded."""
        if not self._is_behind:
            self._is_behind, self._ahead = True, self._taken[1:]
        try:
            is_full = True
            while is_full:
                new = self._events.take(self._name, BATCH_SIZE)
                is_full = any(len(batch.entries) == BATCH_SIZE for batch in new)
                self._ahead += new
                while self._ahead:
                    roll_back(self._context, self._ahead[0])
                    self._ahead.pop(0)
        except StoreUnavailableError:
            metrics.store_errors.count(operation="recorder")
        except LedgerUnavailableError:  # its application is only in the ledger: rolled back when it is recorded
            del self._ahead[:1]
        except Exception:  # noqa: BLE001 - occurs again when the event is recorded, and is handled there
            _log.exception("recorder_defect", recorder=self._name)
            del self._ahead[:1]

    def _split(self) -> None:
        """Split a failed batch into single events; defer an event that fails alone, and set it aside the next time."""
        if not self._taken:
            return
        failed = self._taken.pop(0)
        if len(failed.entries) > 1:
            self._taken[:0] = failed.split()
            return
        (entry,) = failed.entries
        if entry in self._failed and self._set_aside(failed):
            self._failed.discard(entry)
        else:
            self._failed.add(entry)

    def _set_aside(self, batch: EventBatch) -> bool:
        """Store an unreadable event raw, so that others can go on; return whether that succeeded."""
        try:
            self._context.ledger.verifications.keep(batch.events)
            self._events.acknowledge(batch)
        except Exception:  # noqa: BLE001 - then it is deferred again
            return False
        metrics.ledger_errors.count(operation="recorder.event")
        _log.error("event_not_understood", entry=batch.events[0].id)
        return True

    def _claim_stale(self) -> None:
        self._taken += self._events.claim(self._name, BATCH_SIZE, self._idle)

    def _record(self) -> int:
        """Roll back limits for approvals, record the taken events, and acknowledge them; return their number."""
        count = 0
        while self._taken:
            batch = self._taken[0]
            roll_back(self._context, batch)
            record_events(self._context, batch.events)
            self._context.store.traffic.add(batch.bucket, tally(batch.events), tally_blocks(batch.events))
            self._events.acknowledge(batch)
            for event in batch.events:
                metrics.events_recorded.count(
                    application=event.member("application"), country=event.member("country"), event=event.type
                )
            count += len(batch.entries)
            self._taken.pop(0)
        return count
