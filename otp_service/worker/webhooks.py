"""The sending of webhooks: by all workers together, each taking what is due for some time."""

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
"""Seconds between two looks at what is due while nothing is."""
_RETRY_DELAY: Final = 1.0
"""Seconds to wait while the ledger is away."""
_COUNT_INTERVAL: Final = 15.0
"""Seconds between two counts of the endpoints that are disabled or slow."""
_PATIENCE: Final = 3.0
"""Seconds for which a worker that ends, or is reloaded, waits for calls in flight: messages must not wait for receivers
that hang. What is cut short is sent once more."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    delivery: WebhookDelivery
    pace: Pace
    """Of its endpoint when it began."""
    began: float
    """By the monotonic clock."""

    def in_flight(self, moment: float) -> WebhookCall:
        endpoint = self.delivery.endpoint
        return WebhookCall(endpoint.application, endpoint.id, Pace.SLOW if self.is_slow(moment) else self.pace)

    def is_slow(self, moment: float) -> bool:
        return 1000 * (moment - self.began) >= SLOW_CALL


class WebhookSender:
    """Sends webhooks in threads of its own, so that a slow receiver holds up no message, nor other receivers."""

    def __init__(self, installation: Installation, name: str) -> None:
        """Prepare; ``name`` is the worker's."""
        self._context = installation.context
        self._name = name
        self._lease = installation.settings.webhook_lease
        self._concurrency = installation.settings.webhooks.concurrency
        self._per_endpoint = installation.settings.webhooks.per_endpoint
        self._stop = threading.Event()
        self._wake = threading.Event()
        """A call has ended: there may be room for another one of the same endpoint."""
        self._calls = set[_Call]()
        """Those in flight."""
        self._quick = set[str]()
        """Endpoints whose last call by this worker was quick."""
        self._changed = threading.Condition()
        """Guards both, and is notified when a call ends."""
        self._applications: set[str] = set()
        """Whose endpoints were counted."""
        self._count = Periodic(_COUNT_INTERVAL, self._count_endpoints)
        self._thread = threading.Thread(target=self._run, name="webhooks")

    def start(self) -> None:
        """Start the threads."""
        self._thread.start()

    def stop(self) -> None:
        """Take nothing more, and finish the calls in flight, if that does not take long."""
        self._stop.set()
        self._wake.set()
        self._thread.join()
        with self._changed:
            self._changed.wait_for(lambda: not self._calls, _PATIENCE)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            pause = self._run_once()
            if not self._stop.is_set():  # set before it wakes, so it is not overlooked
                self._wake.wait(pause)

    def _run_once(self) -> float:
        """Hand out what is due; return the seconds until the next look."""
        try:
            self._count.run_if_due()
            oldest = self._context.ledger.webhook_outbox.oldest_due()
            metrics.webhook_lag.set(max(now() - oldest, 0) / 1000 if oldest is not None else 0.0)
            sent = oldest is not None and self._send_due()
        except LedgerUnavailableError:
            metrics.ledger_errors.count(operation="webhooks")
            return _RETRY_DELAY
        except Exception:  # noqa: BLE001 - what is due stays so, and has its turn again
            _log.exception("webhook_defect", worker=self._name)
            return _RETRY_DELAY
        return 0.0 if sent else _POLL_INTERVAL

    def _send_due(self) -> bool:
        """Take what is due and has a slot, each in a thread of its own; return whether there was any."""
        moment = time.monotonic()
        with self._changed:
            calls = [call.in_flight(moment) for call in self._calls]
            slots = WebhookSlots(self._concurrency, calls, frozenset(self._quick))
        if slots.is_full:  # what nobody could send now is left for other workers
            return False
        taken = self._context.ledger.webhook_outbox.claim(slots, self._lease, self._per_endpoint)
        for delivery in taken:
            self._begin(_Call(delivery, slots.pace_of(delivery.endpoint), time.monotonic()))
        return bool(taken)

    def _begin(self, call: _Call) -> None:
        with self._changed:
            self._calls.add(call)
        try:
            threading.Thread(target=self._send, args=(call,), name="webhook", daemon=True).start()
        except RuntimeError:  # no further thread can be had: it is sent when its lease is over
            self._end(call)
            raise

    def _end(self, call: _Call) -> None:
        with self._changed:
            self._calls.remove(call)
            (self._quick.discard if call.is_slow(time.monotonic()) else self._quick.add)(call.delivery.endpoint.id)
            self._changed.notify_all()
        self._wake.set()

    def _send(self, call: _Call) -> None:
        try:
            send_webhook(self._context, call.delivery)
        except LedgerUnavailableError:  # nobody knows what became of it: it is sent once more
            metrics.ledger_errors.count(operation="webhooks")
        except Exception:  # noqa: BLE001 - one webhook's defect must not end the others
            _log.exception("webhook_defect", worker=self._name, webhook=call.delivery.webhook.id)
        finally:
            self._end(call)

    def _count_endpoints(self) -> None:
        theirs, by_itself = self._context.ledger.endpoints.of(), {EndpointStatus.FAILING, EndpointStatus.GONE}
        disabled = Counter(endpoint.application for endpoint in theirs if endpoint.status in by_itself)
        slow = Counter(endpoint.application for endpoint in theirs if endpoint.is_slow)
        with self._changed:
            self._quick.intersection_update(endpoint.id for endpoint in theirs)
        self._applications |= {endpoint.application for endpoint in theirs}
        for application in self._applications:  # also of whom no endpoint is left
            metrics.endpoints_disabled.set(disabled[application], application=application)
            metrics.endpoints_slow.set(slow[application], application=application)
