"""Where requests wait for their turn in a server process, and are turned away when it would come too late.

Granian gives each request to the next thread that is free, and does not tell how long it has waited: under more load
than a process can bear the wait grows until callers give up, and the work is done for nobody. So requests wait here.
One thread more than may answer takes them in; which one that is changes. A thread that takes one in while too few
answer, answers it itself, and then what waits: so no request is handed from thread to thread while there is no queue.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final
from wsgiref.types import WSGIApplication, WSGIEnvironment

from otp_service.api.exchange import ARRIVED, PROBES, TURNED_AWAY
from otp_service.errors import StoreUnavailableError
from otp_service.telemetry.logging import get_logger

PATIENCE = 0.4
"""Seconds that the first in the queue has waited when nobody else is let in any more."""
FEW = 16
"""So many are let in all the same: if the process was only held up for a moment, they are answered at once after it."""
LATEST = 1.2
"""Seconds after which a turn comes too late, though the request was let in: what was before it took long. Longer than
Redis is waited for (`redis.timeout`), so that those who wait behind its silence are told of that."""

_ENVIRONMENT: Final = {
    "SCRIPT_NAME": "",
    "wsgi.errors": sys.stderr,
    "wsgi.input_terminated": True,
    "wsgi.multiprocess": True,
    "wsgi.multithread": True,
    "wsgi.run_once": False,
    "wsgi.version": (1, 0),
}
"""What granian leaves to Python of the environment of a request."""

_KEPT = 64 * 1024 + 2
"""Bytes of a body that are kept: enough to see that one is longer than any call accepts."""

_log = get_logger(__name__)


@dataclass(slots=True)
class _Request:
    protocol: Any
    """Granian's way back to the caller."""
    environ: WSGIEnvironment
    arrived: float
    """By `time.perf_counter`."""

    def keep_body(self, awaited: Callable[[WSGIEnvironment], bool]) -> None:
        """Read the body: granian drops what of it was not read when it is told that the request is taken in.

        Not of a stranger, whose refusal needs none. One of the others that comes slowly keeps this thread alone: while
        it does, as many are left as may answer, so that none of them finds all turns taken.
        """
        if "CONTENT_LENGTH" in self.environ or "HTTP_TRANSFER_ENCODING" in self.environ:
            body = self.environ["wsgi.input"].read(_KEPT) if awaited(self.environ) else b""
            self.environ["wsgi.input"] = BytesIO(body)

    def waits_longer_than(self, seconds: float) -> bool:
        return time.perf_counter() - self.arrived > seconds


class _Head:
    """What the application says of its answer before the body."""

    def __init__(self) -> None:
        self.status = 500
        self.headers: list[tuple[str, str]] = []

    def __call__(self, status: str, headers: list[tuple[str, str]], *_: object) -> Any:  # noqa: ANN401 - WSGI's
        self.status = int(status[:3])
        self.headers = headers


class Door:
    """The door of one process: what granian calls with each request."""

    def __init__(self, application: WSGIApplication, most: int, awaits_body: Callable[[WSGIEnvironment], bool]) -> None:
        """Let as many threads answer at the same time as ``most`` says; see `otp_service.api.auth.awaits_body`."""
        self._application = application
        self._awaits_body = awaits_body
        self._most = most
        self._answering = 0
        self._probes: deque[_Request] = deque()
        self._waiting: deque[_Request] = deque()
        self._lock = threading.Lock()

    def __call__(self, protocol: Any, scope: WSGIEnvironment) -> None:  # noqa: ANN401 - granian's
        """Take in a request: answer it, let it wait, or turn it away."""
        arrived = time.perf_counter()
        request = _Request(protocol, {**_ENVIRONMENT, **scope, ARRIVED: arrived}, arrived)
        if self._takes_turn():
            self._answer_all(request)
        elif self._lets_in(request) and self._keeps_body(request):
            if self._takes_turn(else_waits=request):
                self._answer_all(request)
        else:
            self._turn_away(request)

    def _keeps_body(self, request: _Request) -> bool:
        """Keep the body of a request; tell whether it is known now if it is awaited."""
        try:
            request.keep_body(self._awaits_body)
        except StoreUnavailableError:
            return False
        return True

    def _takes_turn(self, else_waits: _Request | None = None) -> bool:
        """Tell whether this thread may answer now; a request that was let in waits where it may not."""
        with self._lock:
            if takes := self._answering < self._most:
                self._answering += 1
            elif else_waits:
                (self._probes if _is_probe(else_waits) else self._waiting).append(else_waits)
        return takes

    def _lets_in(self, request: _Request) -> bool:
        """Tell whether a request may wait. Probes always may: they ask whether the process lives, not how it fares."""
        with self._lock:
            return _is_probe(request) or len(self._waiting) < FEW or not self._waiting[0].waits_longer_than(PATIENCE)

    def _answer_all(self, first: _Request) -> None:
        """Answer a request, and those that wait until none does."""
        request: _Request | None = first
        while request:
            if request.waits_longer_than(LATEST) and not _is_probe(request):
                self._turn_away(request)
            else:
                self._answer(request)
            request = self._next()

    def _next(self) -> _Request | None:
        with self._lock:
            if self._probes:
                return self._probes.popleft()
            if self._waiting:
                return self._waiting.popleft()
            self._answering -= 1
            return None

    def _turn_away(self, request: _Request) -> None:
        request.environ[TURNED_AWAY] = True
        self._answer(request)

    def _answer(self, request: _Request) -> None:
        head, body = _Head(), b""
        try:
            body = _whole(self._application(request.environ, head))
        except Exception:  # noqa: BLE001 - nothing may keep this thread from what waits
            _log.exception("answer_defect")
            head = _Head()
        request.protocol.response_bytes(head.status, head.headers, body)


def _is_probe(request: _Request) -> bool:
    return request.environ["PATH_INFO"] in PROBES


def _whole(parts: Iterable[bytes]) -> bytes:
    try:
        return b"".join(parts)
    finally:
        if close := getattr(parts, "close", None):
            close()
