"""The recorder: copies the event stream into the ledger, at least once; twice does no harm.

Before an approval is copied, its messages are given back to the guard: also while the database is away.
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
"""Events that are recorded in one transaction."""
BATCH_INTERVAL = 0.25
"""Seconds between two batches, so that a transaction holds several events; a consent of a start waits as long."""
_RETRY_DELAY = 1.0
"""Seconds to wait while Redis or the database is away."""
_CLAIM_AFTER = 15.0
"""Seconds beyond two transactions after which events that another recorder left are claimed."""
_HOURLY = 3600.0
_UPKEEP_INTERVAL = 5.0
"""Seconds between two claims, two counts of refusals, and two trims of the stream."""
_TELL_INTERVAL = 60.0
"""Seconds between two lines that tell that the database is away."""

_log = get_logger(__name__)


class Recorder:
    """Records events in a thread of its own, so that a slow database does not hold up messages."""

    def __init__(self, context: Context, name: str, timeout: float, wait: float) -> None:
        """Prepare; ``timeout`` of a transaction and ``wait`` for events are in seconds."""
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
        self._tell_away = Periodic(
            _TELL_INTERVAL, lambda reason: _log.warning("ledger_unavailable", recorder=name, reason=reason)
        )
        self._measure = Periodic(
            _UPKEEP_INTERVAL, lambda: metrics.events_unrecorded.set(context.store.events.unrecorded())
        )
        self._trim = Periodic(_UPKEEP_INTERVAL, self._events.trim)
        self._forget = Periodic(_HOURLY, self._events.forget_recorders)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Record what is left, and end the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        last = False
        while not last:
            stopping = self._stop.is_set()
            if stopping:  # others share what comes from now on
                self._events.share.release(self._name)
            recorded = self._run_once()
            last = stopping and not recorded
            self._stop.wait(BATCH_INTERVAL)

    def _run_once(self) -> int:
        """Record a batch; return its number of events."""
        try:
            self._measure.run_if_due()
            if not self._taken:
                self._renew_lease()
                self._taken = self._take()
                self._claim.run_if_due()
            count = self._record()
            self._refusals.run_if_due()
            self._trim.run_if_due()
            self._forget.run_if_due()
        except LedgerUnavailableError as away:
            metrics.ledger_errors.count(operation="recorder")
            self._tell_away.run_if_due(reason=str(away))
            self._look_ahead()
        except StoreUnavailableError:
            metrics.store_errors.count(operation="recorder")
        except Exception:  # noqa: BLE001 - one event's defect must not keep back the others
            _log.exception("recorder_defect", recorder=self._name)
            self._split()
            return len(self._taken)  # none: nothing could be taken, and there is nothing to stay for
        else:
            return count
        self._stop.wait(_RETRY_DELAY)
        return 0

    def _renew_lease(self) -> None:
        """Keep the share; who cannot reach the database, and does not come here, leaves it to those who can."""
        if not self._stop.is_set():
            self._lease.run_if_due()

    def _record_refusals(self) -> None:
        """Count what was refused; a defect there is none of the events at hand, which would be taken for it."""
        try:
            record_refusals(self._context, self._events.buckets)
        except (LedgerUnavailableError, StoreUnavailableError):
            raise
        except Exception:  # noqa: BLE001 - tried again, and what Redis no longer keeps is left out
            _log.exception("recorder_defect", recorder=self._name)

    def _take(self) -> list[EventBatch]:
        """Return what was looked at while the database was away, and then what is new."""
        if self._is_behind and (held := self._events.held(self._name, BATCH_SIZE, self._looked_again)):
            self._looked_again |= {batch.bucket: batch.entries[-1] for batch in held}
            return held
        self._is_behind, self._ahead, self._looked_again = False, [], {}
        return self._events.take(self._name, BATCH_SIZE, 0 if self._stop.is_set() else self._wait)

    def _look_ahead(self) -> None:
        """Give back what approvals say that wait for the database; all stay this recorder's until they are recorded."""
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
        except LedgerUnavailableError:  # only that knows an application: seen to when it is recorded
            del self._ahead[:1]
        except Exception:  # noqa: BLE001 - it shows again when the event is recorded, and is seen to then
            _log.exception("recorder_defect", recorder=self._name)
            del self._ahead[:1]

    def _split(self) -> None:
        """Split a batch that failed into single events; defer one that fails alone."""
        failed, others = self._taken[:1], self._taken[1:]
        if failed and len(failed[0].entries) == 1:
            self._defer_or_set_aside(failed[0])
        parts = [part for batch in failed if len(batch.entries) > 1 for part in batch.split()]
        self._taken = [*parts, *others]

    def _defer_or_set_aside(self, batch: EventBatch) -> None:
        """Defer an event that could not be recorded; set it aside the second time."""
        (entry,) = batch.entries
        if entry in self._failed and self._set_aside(batch):
            self._failed.discard(entry)
        else:
            self._failed.add(entry)

    def _set_aside(self, batch: EventBatch) -> bool:
        """Store an unreadable event raw, so that others can go on; return whether that was done."""
        try:
            self._context.ledger.verifications.keep(batch.events)
            self._events.acknowledge(batch)
        except Exception:  # noqa: BLE001 - then it is left for later
            return False
        metrics.ledger_errors.count(operation="recorder.event")
        _log.error("event_not_understood", entry=batch.events[0].id)
        return True

    def _claim_stale(self) -> None:
        self._taken += self._events.claim(self._name, BATCH_SIZE, self._idle)

    def _record(self) -> int:
        """Give back and record what was taken, and acknowledge it."""
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
