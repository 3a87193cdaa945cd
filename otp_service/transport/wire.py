"""HTTP to a party outside: once, in bounded time, without redirects, and without a word of it in logs or errors.

``requests`` does the work. Around it: one session a thread (kept connections), one deadline over connection,
request and answer together, and errors without their texts, which would tell the URL with all that is in it.
"""

import datetime as dt
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.client import HTTPException

import requests
import urllib3
from urllib3.exceptions import HTTPError

from otp_service.domain.verification import MAX_RETRY_AFTER
from otp_service.transport.call import Call, Session

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read."""
_SECONDS = re.compile(r"[0-9]+", re.ASCII)
_UNSENDABLE = "request cannot be sent"
_TIMEOUTS = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
_FAILURES = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError)


class WireError(Exception):
    """There is no answer. Its text never holds anything of the request."""

    def __init__(self, code: str, *, sendable: bool = True, ambiguous: bool = False) -> None:
        """Keep a word for what happened.

        ``sendable``: it was a request that could be sent. ``ambiguous``: the other side may have received it.
        """
        super().__init__(code)
        self.code = code
        self.sendable = sendable
        self.ambiguous = ambiguous


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered. The ``repr`` shows the status only: answers repeat numbers and texts."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    text: str = field(repr=False)

    @property
    def retry_after(self) -> float:
        """Seconds to leave the other side alone, as it asked under 429 and 503 (RFC 9110, 10.2.3); 0 if it did not."""
        asked = self.headers.get("Retry-After", "").strip() if self.status in {429, 503} else ""
        seconds = float(asked) if _SECONDS.fullmatch(asked) else _seconds_until(asked)
        return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _seconds_until(date: str) -> float:
    """Return the seconds until a date in any form of HTTP (RFC 9110, 5.6.7); 0 for what is none."""
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return 0.0
    if moment.tzinfo is None:  # the form of asctime names no zone, and "-0000" none that is known: both are UTC
        moment = moment.replace(tzinfo=dt.UTC)
    return (moment - dt.datetime.now(dt.UTC)).total_seconds()


class Wire:
    """Calls of one gateway or policy. Made once, used by many threads."""

    def __init__(self, timeout: float) -> None:
        """Prepare for calls of at most ``timeout`` seconds each (looking up the host's name apart)."""
        self._timeout = timeout
        self._sessions = threading.local()

    def call(self, request: requests.Request) -> Answer:
        """Send a request and return the answer, of whatever status.

        Raises `WireError` when it cannot be sent or no answer came. Nothing that the library raised hangs on it.
        """
        outcome = self.attempt(request)
        if isinstance(outcome, WireError):
            raise outcome  # outside of the handlers, so that their exceptions are not even its context
        return outcome

    def attempt(self, request: requests.Request) -> Answer | WireError:
        """Send a request; return the answer, or why there is none."""
        try:
            prepared = request.prepare()
        except (requests.RequestException, ValueError):
            return WireError(_UNSENDABLE, sendable=False)
        with Call(self._timeout) as call:
            try:
                answer = self._exchange(prepared)
            except _FAILURES as failure:
                return _failure(failure, call)
            # What the clock cut short may look like a complete answer: headers and bodies may end with the connection.
            return _failure(TimeoutError(), call) if call.over else answer

    def _exchange(self, prepared: requests.PreparedRequest) -> Answer | WireError:
        session = self._session()
        of_the_host = session.merge_environment_settings(prepared.url or "", {}, True, None, None)  # noqa: FBT003
        limit = urllib3.Timeout(total=self._timeout)
        with session.send(prepared, timeout=limit, allow_redirects=False, **of_the_host) as response:  # type: ignore[arg-type]
            body = response.raw.read(MAX_ANSWER + 1, decode_content=True)
        if len(body) > MAX_ANSWER:
            return WireError("answer too long", ambiguous=True)
        return Answer(response.status_code, response.headers, body.decode(errors="replace"))

    def _session(self) -> Session:
        if not hasattr(self._sessions, "own"):
            self._sessions.own = Session()
        session: Session = self._sessions.own
        return session


def _failure(failure: Exception, call: Call) -> WireError:
    if call.over or isinstance(failure, _TIMEOUTS):
        return WireError("timeout", ambiguous=call.sent)
    if isinstance(failure, ValueError) and not call.sent:
        return WireError(_UNSENDABLE, sendable=False)
    return WireError("connection", ambiguous=call.sent)
