"""What a request is answered whose turn would come too late: at little cost, for there are many of them."""

import threading
import time
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from otp_service.api.errors import answer_to
from otp_service.api.exchange import Exchange
from otp_service.api.wsgi_answer import written
from otp_service.errors import OverloadedError
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

_ROUTE = "turned_away"
"""What metrics tell in place of a route, which is not looked for. Objectives count it as an answer of the API."""
_TOLD_EVERY = 1.0
"""Seconds between two lines in the log. A line for each request would cost more than all the rest of its refusal."""

_log = get_logger(__name__)


class Overload:
    """Refuses requests without looking at them: neither who calls nor what is asked for."""

    def __init__(self) -> None:
        self._untold = 0
        self._next = 0.0
        """When the log may be told again, by the monotonic clock."""
        self._lock = threading.Lock()

    def refuse(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer 503, and count it."""
        exchange = Exchange(environ, None, None)
        error = OverloadedError("More requests come than can be answered in time. Nothing was done about this one.")
        answer = answer_to(exchange, error)
        metrics.record_request(exchange.method, _ROUTE, answer.status, time.perf_counter() - exchange.began)
        self._tell()
        return written(exchange, answer, start_response)

    def _tell(self) -> None:
        now = time.monotonic()
        with self._lock:
            self._untold += 1
            if now < self._next:
                return
            requests, self._untold, self._next = self._untold, 0, now + _TOLD_EVERY
        _log.warning("turned_away", requests=requests)
