"""Workers in threads of this process, and a gateway that keeps a journal of its calls."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from support_outbox import Scripted

from otp_service.bootstrap import Installation
from otp_service.domain.messages import Message
from otp_service.gateways.base import Accepted
from otp_service.worker.worker import Worker


@dataclass(frozen=True)
class Served:
    """A call as the gateway saw it; times in seconds of the monotonic clock."""

    message: Message
    began: float


class Journal(Scripted):
    """A gateway that takes everything, each call in so many seconds. Shared by workers, it sees all their calls."""

    def __init__(self, lasts: float = 0.0) -> None:
        super().__init__()
        self.served: list[Served] = []
        self.most_at_once = 0
        self._lasts = lasts
        self._at_once = 0
        self._lock = threading.Lock()

    def send(self, message: Message) -> Accepted:
        with self._lock:
            self.served.append(Served(message, time.monotonic()))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        time.sleep(self._lasts)
        with self._lock:
            self._at_once -= 1
        return Accepted(message.dispatch_id)

    def place_of(self, verification: str) -> int | None:
        """Return how many calls came before a verification's; ``None`` when it has not come yet."""
        ids = [one.message.verification_id for one in list(self.served)]
        return ids.index(verification) if verification in ids else None


class Gate(Journal):
    """A gateway that answers nobody until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self._opened = threading.Event()

    def send(self, message: Message) -> Accepted:
        accepted = super().send(message)
        assert self._opened.wait(30)
        return accepted

    def open_for_all(self) -> None:
        self._opened.set()


def run_worker(installation: Installation, stop: threading.Event) -> None:
    """Deliver messages until ``stop`` is set, and finish the calls in flight."""
    worker = Worker(installation, stop)
    worker.work()
    worker.finish()


@contextlib.contextmanager
def working(*installations: Installation, **gateways: Scripted) -> Iterator[None]:
    """Run a worker over each installation, with these gateways in place of the configured ones."""
    stop = threading.Event()
    for one in installations:
        one.context.gateways.update(gateways)  # type: ignore[attr-defined] # filled once by the composition root
    threads = [threading.Thread(target=run_worker, args=(one, stop)) for one in installations]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
