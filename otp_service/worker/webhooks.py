"""The sending of webhooks: by all workers together, each taking what is due for some time."""

import threading
import time
from typing import Final

from otp_service.bootstrap import Installation
from otp_service.clock import now
from otp_service.domain.webhooks import EndpointStatus
from otp_service.errors import LedgerUnavailableError
from otp_service.ledger.webhooks import Posting
from otp_service.services.webhooks import send_webhook
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger
from otp_service.worker.jobs import Periodic

_POLL_INTERVAL: Final = 0.25
"""Seconds between two looks at what is due while nothing is."""
_RETRY_DELAY: Final = 1.0
"""Seconds to wait while the ledger is away."""
_COUNT_INTERVAL: Final = 15.0
"""Seconds between two counts of the endpoints that are disabled."""
_PATIENCE: Final = 3.0
"""Seconds for which a worker that ends, or is reloaded, waits for calls in flight: messages must not wait for receivers
that hang. What is cut short is sent once more."""

_log = get_logger(__name__)


class WebhookSender:
    """Sends webhooks in threads of its own, so that a slow receiver holds up no message."""

    def __init__(self, installation: Installation, name: str) -> None:
        """Prepare; ``name`` is the worker's."""
        self._context = installation.context
        self._name = name
        self._lease = installation.settings.webhook_lease
        self._concurrency = installation.settings.webhooks.concurrency
        self._free = threading.Semaphore(self._concurrency)
        self._per_endpoint = installation.settings.webhooks.per_endpoint
        self._stop = threading.Event()
        self._wake = threading.Event()
        """A thread is free: there may be room for another one of the same endpoint."""
        self._disabled: dict[str, int] = {}
        """How many endpoints of each application are disabled by themselves."""
        self._count = Periodic(_COUNT_INTERVAL, self._count_disabled)
        self._thread = threading.Thread(target=self._run, name="webhooks")

    def start(self) -> None:
        """Start the threads."""
        self._thread.start()

    def stop(self) -> None:
        """Take nothing more, and finish the calls in flight, if that does not take long."""
        self._stop.set()
        self._wake.set()
        self._thread.join()
        end = time.monotonic() + _PATIENCE
        for _ in range(self._concurrency):
            if not self._free.acquire(timeout=max(end - time.monotonic(), 0)):
                return

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
            oldest = self._context.ledger.postings.oldest_due()
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
        """Take as many as may be called at once, each in a thread of its own; return whether there were any."""
        if not self._free.acquire(timeout=_POLL_INTERVAL):  # what nobody could send now is left for other workers
            return False
        room = 1
        while self._free.acquire(blocking=False):
            room += 1
        taken: list[Posting] = []
        try:
            taken = self._context.ledger.postings.claim(room, self._lease, self._per_endpoint)
        finally:
            for _ in range(room - len(taken)):
                self._free.release()
        for posting in taken:
            threading.Thread(target=self._send, args=(posting,), name="webhook", daemon=True).start()
        return bool(taken)

    def _send(self, posting: Posting) -> None:
        try:
            send_webhook(self._context, posting)
        except LedgerUnavailableError:  # nobody knows what became of it: it is sent once more
            metrics.ledger_errors.count(operation="webhooks")
        except Exception:  # noqa: BLE001 - one webhook's defect must not end the others
            _log.exception("webhook_defect", worker=self._name, webhook=posting.webhook.id)
        finally:
            self._free.release()
            self._wake.set()

    def _count_disabled(self) -> None:
        self._disabled = dict.fromkeys(self._disabled, 0)  # also of whom no endpoint is left
        for one in self._context.ledger.endpoints.of():
            by_itself = one.status in {EndpointStatus.FAILING, EndpointStatus.GONE}
            self._disabled[one.application] = self._disabled.get(one.application, 0) + by_itself
        for application, count in self._disabled.items():
            metrics.endpoints_disabled.set(count, application=application)
