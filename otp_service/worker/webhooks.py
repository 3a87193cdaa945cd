"""The sending of webhooks, by all workers together: each leases due deliveries for some time."""

import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

from otp_service.bootstrap import Installation
from otp_service.clock import now
from otp_service.domain.webhooks import SLOW_CALL, EndpointStatus, Pace, WebhookCall, WebhookSlots
from otp_service.errors import LedgerUnavailableError
from otp_service.ledger.webhooks import WebhookDelivery
from otp_service.services.webhooks import send_webhook
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger
from otp_service.worker.jobs import Periodic

_POLL_INTERVAL: Final = 0.25
"""Seconds between two looks for due deliveries."""
_RETRY_DELAY: Final = 1.0
"""Seconds to wait while the ledger is away."""
_COUNT_INTERVAL: Final = 15.0
"""Seconds between two counts of the endpoints that are disabled or slow."""
_PATIENCE: Final = 3.0
"""Seconds that a worker waits for calls in flight when it ends or is reloaded: messages must not wait for receivers
that hang. An interrupted webhook is sent once more."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    delivery: WebhookDelivery
    pace: Pace
    """The endpoint's pace at the call's start."""
    began: float
    """By the monotonic clock."""

    def in_flight(self, moment: float) -> WebhookCall:
        endpoint = self.delivery.endpoint
        return WebhookCall(endpoint.application, endpoint.id, Pace.SLOW if self.is_slow(moment) else self.pace)

    def is_slow(self, moment: float) -> bool:
        return 1000 * (moment - self.began) >= SLOW_CALL


class WebhookSender:
    """Sends webhooks in threads of its own, so that a slow receiver delays neither messages nor other receivers."""

    def __init__(self, installation: Installation, worker: str) -> None:
        self._context = installation.context
        self._worker = worker
        self._lease = installation.settings.webhook_lease
        self._concurrency = installation.settings.webhooks.concurrency
        self._per_endpoint = installation.settings.webhooks.per_endpoint
        self._stop = threading.Event()
        self._wake = threading.Event()
        """Set when a call has ended: the endpoint may have a free slot."""
        self._calls = set[_Call]()
        """Calls in flight."""
        self._quick = set[str]()
        """Endpoints whose last call by this worker was quick."""
        self._changed = threading.Condition()
        """Guards both, and is notified when a call ends."""
        self._applications: set[str] = set()
        """Applications with counted endpoints."""
        self._count = Periodic(_COUNT_INTERVAL, self._count_endpoints)
        self._thread = threading.Thread(target=self._run, name="webhooks")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Start no more calls, and wait for those in flight, at most `_PATIENCE`."""
        self._stop.set()
        self._wake.set()
        self._thread.join()
        with self._changed:
            self._changed.wait_for(lambda: not self._calls, _PATIENCE)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            pause = self._run_once()
            if not self._stop.is_set():  # stop() sets _stop before _wake, so _wake may be clear
                self._wake.wait(pause)

    def _run_once(self) -> float:
        """Send due webhooks; return the seconds until the next look."""
        try:
            self._count.run_if_due()
            oldest = self._context.ledger.webhook_outbox.oldest_due()
            metrics.webhook_lag.set(max(now() - oldest, 0) / 1000 if oldest is not None else 0.0)
            sent = oldest is not None and self._send_due()
        except LedgerUnavailableError:
            metrics.ledger_errors.count(operation="webhooks")
            return _RETRY_DELAY
        except Exception:  # noqa: BLE001 - due webhooks stay due, and are tried again
            _log.exception("webhook_defect", worker=self._worker)
            return _RETRY_DELAY
        return 0.0 if sent else _POLL_INTERVAL

    def _send_due(self) -> bool:
        """Send due webhooks that have a slot, each in a thread of its own; return whether any was due."""
        moment = time.monotonic()
        with self._changed:
            calls = [call.in_flight(moment) for call in self._calls]
            slots = WebhookSlots(self._concurrency, calls, frozenset(self._quick))
        if slots.is_full:  # due webhooks are left for other workers
            return False
        taken = self._context.ledger.webhook_outbox.claim(slots, self._lease, self._per_endpoint)
        for delivery in taken:
            call = _Call(delivery, slots.pace_of(delivery.endpoint), time.monotonic())
            with self._changed:
                self._calls.add(call)
            try:
                threading.Thread(target=self._send, args=(call,), name="webhook", daemon=True).start()
            except RuntimeError:  # the system has no more threads: it is sent after its lease
                self._end(call)
                raise
        return bool(taken)

    def _end(self, call: _Call) -> None:
        with self._changed:
            self._calls.remove(call)
            (self._quick.discard if call.is_slow(time.monotonic()) else self._quick.add)(call.delivery.endpoint.id)
            self._changed.notify_all()
        self._wake.set()

    def _send(self, call: _Call) -> None:
        try:
            send_webhook(self._context, call.delivery)
        except LedgerUnavailableError:  # its result is not stored: it is sent once more
            metrics.ledger_errors.count(operation="webhooks")
        except Exception:  # noqa: BLE001 - one webhook's defect must not end the others
            _log.exception("webhook_defect", worker=self._worker, webhook=call.delivery.webhook.id)
        finally:
            self._end(call)

    def _count_endpoints(self) -> None:
        endpoints = self._context.ledger.endpoints.of()
        failed = {EndpointStatus.FAILING, EndpointStatus.GONE}
        disabled = Counter(endpoint.application for endpoint in endpoints if endpoint.status in failed)
        slow = Counter(endpoint.application for endpoint in endpoints if endpoint.is_slow)
        with self._changed:
            self._quick.intersection_update(endpoint.id for endpoint in endpoints)
        self._applications |= {endpoint.application for endpoint in endpoints}
        for application in self._applications:  # also those without endpoints left: their counts become 0
            metrics.endpoints_disabled.set(disabled[application], application=application)
            metrics.endpoints_slow.set(slow[application], application=application)
