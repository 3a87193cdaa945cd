"""Reports of the sandbox: posted when they are due, by one thread a gateway, which ends with the process."""

import heapq
import itertools
import threading
import time
from dataclasses import dataclass, field
from types import MappingProxyType

import requests

from otp_service.gateways.base import GatewayError
from otp_service.gateways.wire import Wire

MAX_WAITING = 10_000
"""Reports that may wait at the same time; what comes beyond is lost."""
_IDLE = 1.0
"""Seconds without a report after which the thread ends; the next report starts another."""


@dataclass(order=True, frozen=True, slots=True)
class _Posting:
    due: float
    """By the monotonic clock."""
    place: int
    url: str = field(compare=False, repr=False)
    body: bytes = field(compare=False, repr=False)
    signature: MappingProxyType[str, str] = field(compare=False, repr=False)
    posted: threading.Event = field(compare=False, default_factory=threading.Event)


class Reporter:
    """Posts reports, the earliest first and one after the other. Used by many threads."""

    def __init__(self, timeout: float) -> None:
        """Prepare for posts of at most ``timeout`` seconds each; starts nothing."""
        self._wire = Wire(timeout)
        self._waiting: list[_Posting] = []
        self._places = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def post(self, url: str, body: bytes, signature: dict[str, str], *, due: float) -> threading.Event:
        """Post a body, signed by a header, when it is ``due`` by the monotonic clock.

        The event that is returned is set once the post is answered, has failed, or is lost for want of room.
        """
        with self._changed:
            posting = _Posting(due, next(self._places), url, body, MappingProxyType(signature))
            if len(self._waiting) >= MAX_WAITING:
                posting.posted.set()
                return posting.posted
            heapq.heappush(self._waiting, posting)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="sandbox-reports", daemon=True)
                self._thread.start()
            self._changed.notify()
        return posting.posted

    def _work(self) -> None:
        while posting := self._next():
            self._post(posting)
            posting.posted.set()

    def _next(self) -> _Posting | None:
        """Return the report that is due next once it is, or ``None`` when there was nothing to do for a while."""
        with self._changed:
            while True:
                if not self._waiting and not self._changed.wait_for(lambda: self._waiting, _IDLE):
                    self._thread = None
                    return None
                missing = self._waiting[0].due - time.monotonic()
                if missing <= 0:
                    return heapq.heappop(self._waiting)
                self._changed.wait(missing)

    def _post(self, posting: _Posting) -> None:
        headers = {"Content-Type": "application/json", **posting.signature}
        try:
            self._wire.call(requests.Request("POST", posting.url, data=posting.body, headers=headers))
        except GatewayError:
            return  # providers lose reports too
