"""HTTP to a provider: once, in bounded time, without redirects, and without a word of it in logs or errors.

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

from otp_service.core.message import Message
from otp_service.gateways.base import FailureKind, GatewayError
from otp_service.gateways.call import Call, Session

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read."""
MAX_RETRY_AFTER = 3600.0
"""Seconds for which a provider can ask to be left alone."""
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)
_REFERENCE = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
_UNSENDABLE = "request cannot be sent"
_TIMEOUTS = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
_FAILURES = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider answered. The ``repr`` shows the status only: providers repeat numbers and texts."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    text: str = field(repr=False)

    @property
    def retry_after(self) -> float:
        """Seconds to leave the provider alone, as it asked under 429 and 503 (RFC 9110, 10.2.3); 0 if it did not."""
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
    """Calls of one gateway. Made once, used by many threads."""

    def __init__(self, timeout: float) -> None:
        """Prepare for calls of at most ``timeout`` seconds each (looking up the host's name apart)."""
        self._timeout = timeout
        self._sessions = threading.local()

    def call(self, request: requests.Request) -> Answer:
        """Send a request and return the answer, of whatever status.

        Raises `GatewayError`: *rejected* when it cannot be sent at all, *unavailable* when no answer came; it is
        ambiguous when something had been sent. Nothing that the library raised hangs on it.
        """
        outcome = self._attempt(request)
        if isinstance(outcome, GatewayError):
            raise outcome  # outside of the handlers, so that their exceptions are not even its context
        return outcome

    def _attempt(self, request: requests.Request) -> Answer | GatewayError:
        try:
            prepared = request.prepare()
        except (requests.RequestException, ValueError):
            return GatewayError(FailureKind.REJECTED, _UNSENDABLE)
        with Call(self._timeout) as call:
            try:
                answer = self._exchange(prepared)
            except _FAILURES as failure:
                return _failure(failure, call)
            # What the clock cut short may look like a complete answer: headers and bodies may end with the connection.
            return _failure(TimeoutError(), call) if call.over else answer

    def _exchange(self, prepared: requests.PreparedRequest) -> Answer | GatewayError:
        session = self._session()
        of_the_host = session.merge_environment_settings(prepared.url or "", {}, True, None, None)  # noqa: FBT003
        limit = urllib3.Timeout(total=self._timeout)
        with session.send(prepared, timeout=limit, allow_redirects=False, **of_the_host) as response:  # type: ignore[arg-type]
            body = response.raw.read(MAX_ANSWER + 1, decode_content=True)
        if len(body) > MAX_ANSWER:
            return GatewayError(FailureKind.UNAVAILABLE, "answer too long", ambiguous=True)
        return Answer(response.status_code, response.headers, body.decode(errors="replace"))

    def _session(self) -> Session:
        if not hasattr(self._sessions, "own"):
            self._sessions.own = Session()
        session: Session = self._sessions.own
        return session


def _failure(failure: Exception, call: Call) -> GatewayError:
    if call.over or isinstance(failure, _TIMEOUTS):
        return GatewayError(FailureKind.UNAVAILABLE, "timeout", ambiguous=call.sent)
    if isinstance(failure, ValueError) and not call.sent:
        return GatewayError(FailureKind.REJECTED, _UNSENDABLE)
    return GatewayError(FailureKind.UNAVAILABLE, "connection", ambiguous=call.sent)


def reference_of(found: object, message: Message) -> str:
    """Return what a provider gave as its reference if it can be one, else our own id of the dispatch.

    A reference is kept in the clear: what is long, has blanks, or holds the number is none.
    """
    text = str(found)
    plain = _REFERENCE.fullmatch(text) and message.to.removeprefix("+") not in text
    return text if found is not None and plain else message.dispatch_id


def failure_of_status(status: int, provider_code: str | None = None, *, retry_after: float = 0.0) -> GatewayError:
    """Return what a status means where a gateway's own table says nothing.

    408 comes when the request was not there in time, or a connection was idle for too long: it says nothing of us.
    """
    refused = FailureKind.THROTTLED if status == 429 else FailureKind.REJECTED  # noqa: PLR2004
    kind = FailureKind.UNAVAILABLE if status >= 500 or status == 408 else refused  # noqa: PLR2004
    code = provider_code or f"http {status}"
    return GatewayError(kind, code, ambiguous=status == 504, retry_after=retry_after)  # noqa: PLR2004
