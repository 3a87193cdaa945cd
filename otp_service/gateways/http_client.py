"""HTTP to providers, with one deadline over a whole call."""

import base64
import datetime as dt
import heapq
import itertools
import json
import logging
import os
import re
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import Annotated, Any, Self

import requests
import urllib3
from pydantic import SecretStr, StringConstraints
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError

from otp_service.domain.messages import Message
from otp_service.domain.routing import MAX_RETRY_AFTER
from otp_service.gateways.base import REFERENCE, Accepted, FailureKind, GatewayContext, GatewayError, GatewaySettings

# --- Deadlines ---


class Deadline:
    """An action at a point in time, unless it is stopped before."""

    __slots__ = ("_act", "_lock", "deadline")

    def __init__(self, deadline: float, act: Callable[[], object], lock: threading.Condition) -> None:
        """Prepare to ``act`` at a ``deadline`` of the monotonic clock; the ``lock`` is its timer's."""
        self.deadline = deadline
        self._act: Callable[[], object] | None = act
        self._lock = lock

    @property
    def stopped(self) -> bool:
        """Whether it will not act any more."""
        return self._act is None

    def stop(self) -> None:
        """Cancel it: when this returns, it has acted completely or never will."""
        with self._lock:
            self._act = None

    def fire(self) -> None:
        """Act, once; the timer holds its lock."""
        act, self._act = self._act, None
        if act is not None:
            act()


class DeadlineTimer:
    """One thread for all deadlines, started by the first. It sleeps until the earliest.

    A stopped deadline is dropped when it comes to the top, so that a thousand calls a second wake the thread no more
    often than one does.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._deadlines: list[tuple[float, int, Deadline]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None

    def set(self, seconds: float, act: Callable[[], object]) -> Deadline:
        """Return a deadline in so many ``seconds``. The thread calls ``act``, which is quick and raises nothing."""
        deadline = Deadline(time.monotonic() + seconds, act, self._changed)
        with self._changed:
            heapq.heappush(self._deadlines, (deadline.deadline, next(self._order), deadline))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            elif self._deadlines[0][2] is deadline:
                self._changed.notify()
        return deadline

    def _run(self) -> None:
        with self._changed:
            while True:
                self._fire_due()
                earliest = self._deadlines[0][0] if self._deadlines else None
                self._changed.wait(None if earliest is None else earliest - time.monotonic())

    def _fire_due(self) -> None:
        now = time.monotonic()
        while self._deadlines and (self._deadlines[0][2].stopped or self._deadlines[0][0] <= now):
            heapq.heappop(self._deadlines)[2].fire()


_timers = [DeadlineTimer()]
"""This process' own."""


def set_deadline(seconds: float, act: Callable[[], object]) -> Deadline:
    """Return a deadline in so many ``seconds``, kept by the timer of this process."""
    return _timers[0].set(seconds, act)


def _replace_timer() -> None:
    _timers[0] = DeadlineTimer()


# A forked child has none of its parent's threads, and perhaps a lock that one of them held.
os.register_at_fork(after_in_child=_replace_timer)


_current = threading.local()


class TimedCall:
    """The call that this thread is making, within ``with``: its deadline, and whether anything was sent."""

    def __init__(self, timeout: float) -> None:
        """Prepare a call that ends after ``timeout`` seconds, whatever it is doing."""
        self.sent = False
        """Whether the provider may have received anything of the request."""
        self.over = False
        """Whether the time is up."""
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._deadline: Deadline | None = None

    def __enter__(self) -> Self:
        self._deadline = set_deadline(self._timeout, self._end)
        _current.call = self
        return self

    def __exit__(self, *_: object) -> None:
        _current.call = None
        if self._deadline is not None:
            self._deadline.stop()  # before the connection is used again: it must not end the next call

    @property
    def left(self) -> float:
        """Seconds that are left, more than none."""
        end = time.monotonic() if self._deadline is None else self._deadline.deadline
        return max(end - time.monotonic(), 0.001)

    def connected(self) -> None:
        """Forget what was sent to connect, by TLS or to a proxy: it was nothing of the request."""
        self.sent = False

    def begin_sending(self, connection: socket.socket) -> None:
        """Note that the provider may know the request from now on; raise `TimeoutError` when the time is up."""
        self._socket = connection
        if self.over:
            raise TimeoutError
        self.sent = True

    def _end(self) -> None:
        # The timeout of a socket is that of one read: a provider that sends a byte now and then would outlive it.
        self.over = True
        if self._socket is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class TimedConnection(HTTPConnection):
    """Tells this thread's `TimedCall` when it connects and sends."""

    def connect(self) -> None:
        """Connect; what that sent is none of the request."""
        try:
            super().connect()
        finally:
            _current.call.connected()

    def send(self, data: Any) -> None:  # noqa: ANN401 - whatever http.client sends
        """Send; raise `TimeoutError` when the time is up."""
        if self.sock is None:
            self.connect()
        _current.call.begin_sending(self.sock)
        super().send(data)


class _TimedTlsConnection(TimedConnection, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = TimedConnection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TimedTlsConnection


POOLS: dict[str, type] = {"http": _Pool, "https": _TlsPool}
"""Pools whose connections tell the current `TimedCall` what they do, by scheme."""


class Session(requests.Session):
    """A session of ``requests`` whose calls have a deadline. It keeps no cookies, and sees no redirects.

    Even where none is followed, the library would read a redirect's body first, whatever its size.
    """

    def __init__(self) -> None:
        """Prepare; opens no connection."""
        super().__init__()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter())

    def get_redirect_target(self, _: requests.Response) -> None:
        """Return none, whatever was answered."""


class _Adapter(HTTPAdapter):
    """Makes pools whose connections are timed."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - the library's own
        """Make the pools, with timed connections."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> urllib3.ProxyManager:  # noqa: ANN401
        """Return the pools behind a proxy, with timed connections."""
        manager: urllib3.ProxyManager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = POOLS
        return manager


def _between_calls(_: logging.LogRecord) -> bool:
    return getattr(_current, "call", None) is None


# urllib3 logs each URL, some at WARNING, and a URL may hold a number, a text and a key. A filter on its loggers holds
# whatever their levels, and for our calls only.
for _module in (
    urllib3.connection,
    urllib3.connectionpool,
    urllib3.poolmanager,
    urllib3.response,
    urllib3.util.retry,
):
    _module.log.addFilter(_between_calls)


# --- Calls ---
MAX_RESPONSE_BYTES = 64 * 1024
"""Bytes of an answer that are read."""
_DELAY_SECONDS = re.compile(r"[0-9]+", re.ASCII)
RETRY_AFTER_STATUSES = frozenset({429, 503})
"""Statuses with which `Retry-After` asks for a pause."""
_UNSENDABLE_CODE = "request cannot be sent"
_TIMEOUTS = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
CALL_FAILURES = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError)


class HttpCallError(Exception):
    """A call without an answer. The error's text never holds anything of the request."""

    def __init__(self, code: str, *, sendable: bool = True, ambiguous: bool = False) -> None:
        """Keep a word for what happened.

        ``sendable``: it was a request that could be sent. ``ambiguous``: the other side may have received it.
        """
        super().__init__(code)
        self.code = code
        self.sendable = sendable
        self.ambiguous = ambiguous


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer. The ``repr`` shows the status only: bodies repeat numbers and texts."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    text: str = field(repr=False)

    @property
    def is_success(self) -> bool:
        """Whether the status is one of success (RFC 9110, 15.3)."""
        return 200 <= self.status < 300  # noqa: PLR2004

    @property
    def retry_after(self) -> float:
        """Seconds to leave the other side alone, as it asked under 429 and 503 (RFC 9110, 10.2.3); 0 if it did not."""
        asked = self.headers.get("Retry-After", "").strip() if self.status in RETRY_AFTER_STATUSES else ""
        seconds = float(asked) if _DELAY_SECONDS.fullmatch(asked) else _seconds_until(asked)
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


ApiUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^/@?#\\\s]+[^?#\\\s]*$")]
"""Where a provider's API is: no user, query or fragment."""


def json_of(text: str | bytes) -> Any:  # noqa: ANN401 - whatever JSON is
    """Return what a stranger's JSON says; ``None`` for what is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def json_object(text: str | bytes) -> dict[str, Any]:
    """Return the object in a provider's JSON; an empty one for anything else."""
    document = json_of(text)
    return document if isinstance(document, dict) else {}


def json_at(value: Any, *steps: str | int) -> Any:  # noqa: ANN401 - whatever JSON is
    """Return what is at a place in a JSON value, by names and indexes; ``None`` where there is nothing."""
    try:
        for step in steps:
            value = value[step]
    except (LookupError, TypeError):
        return None
    return value


def json_objects(value: Any, name: str) -> list[dict[str, Any]]:  # noqa: ANN401 - whatever JSON is
    """Return the objects in a list that is a member of a JSON value."""
    found = value.get(name) if isinstance(value, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


class HttpClient:
    """Calls of one gateway or policy: one deadline over connecting, sending and reading. Used by many threads.

    Each thread has a session, and so connections that stay open.
    """

    def __init__(self, timeout: float) -> None:
        """Prepare for calls of at most ``timeout`` seconds each (looking up the host's name apart)."""
        self._timeout = timeout
        self._sessions = threading.local()

    def call(self, request: requests.Request, timeout: float | None = None) -> HttpResponse:
        """Send a request and return the answer, of whatever status; ``timeout`` (seconds) instead of the client's own.

        Raises `HttpCallError` when it cannot be sent or no answer came. Nothing that the library raised hangs on it.
        """
        outcome = self.try_call(request, timeout)
        if isinstance(outcome, HttpCallError):
            raise outcome  # outside of the handlers, so that their exceptions are not even its context
        return outcome

    def try_call(self, request: requests.Request, timeout: float | None = None) -> HttpResponse | HttpCallError:
        """Send a request; return the answer, or why there is none."""
        timeout = self._timeout if timeout is None else timeout
        try:
            prepared = request.prepare()
        except (requests.RequestException, ValueError):
            return HttpCallError(_UNSENDABLE_CODE, sendable=False)
        with TimedCall(timeout) as call:
            try:
                answer = self._exchange(prepared, timeout)
            except CALL_FAILURES as failure:
                return failure_of_call(failure, call)
            # What was cut short may look like a complete answer: headers and bodies may end with the connection.
            return failure_of_call(TimeoutError(), call) if call.over else answer

    def _exchange(self, prepared: requests.PreparedRequest, timeout: float) -> HttpResponse | HttpCallError:
        session = self._session()
        of_the_host = session.merge_environment_settings(prepared.url or "", {}, True, None, None)  # noqa: FBT003
        limit = urllib3.Timeout(total=timeout)
        with session.send(prepared, timeout=limit, allow_redirects=False, **of_the_host) as response:  # type: ignore[arg-type]
            body = response.raw.read(MAX_RESPONSE_BYTES + 1, decode_content=True)
        if len(body) > MAX_RESPONSE_BYTES:
            return HttpCallError("answer too long", ambiguous=True)
        return HttpResponse(response.status_code, response.headers, body.decode(errors="replace"))

    def _session(self) -> Session:
        if not hasattr(self._sessions, "own"):
            self._sessions.own = Session()
        session: Session = self._sessions.own
        return session


def get(url: str, headers: Mapping[str, str], timeout: float) -> HttpResponse | HttpCallError:
    """Return the answer to a GET within ``timeout`` seconds, or why there is none."""
    return HttpClient(timeout).try_call(requests.Request("GET", url, headers=dict(headers)))


@dataclass(frozen=True, slots=True)
class WayOut:
    """How this host's environment lets calls reach a URL."""

    proxy: str = ""
    """URL of its proxy; empty for none."""
    proxy_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What the proxy is shown."""
    authorities: str = ""
    """File or folder of the authorities of certificates; empty for OpenSSL's own."""


def way_out(url: str) -> WayOut:
    """Return the way that calls to a URL take, as the environment has it (``HTTPS_PROXY``, ``REQUESTS_CA_BUNDLE``)."""
    session = Session()
    of_the_host = session.merge_environment_settings(url, {}, None, True, None)  # noqa: FBT003
    proxy = requests.utils.select_proxy(url, of_the_host["proxies"]) or ""
    adapter, bundle = session.get_adapter(url), of_the_host["verify"]
    headers = adapter.proxy_headers(proxy) if proxy and isinstance(adapter, HTTPAdapter) else {}
    return WayOut(proxy, headers, bundle if isinstance(bundle, str) else DEFAULT_CA_BUNDLE_PATH)


def failure_of_call(failure: Exception, call: TimedCall) -> HttpCallError:
    """Return why there is no answer, by what the library raised."""
    refused = isinstance(failure, NewConnectionError)  # the library counts it among its time-outs
    if call.over or (isinstance(failure, _TIMEOUTS) and not refused):
        return HttpCallError("timeout", ambiguous=call.sent)
    if isinstance(failure, ValueError) and not call.sent:
        return HttpCallError(_UNSENDABLE_CODE, sendable=False)
    return HttpCallError("connection", ambiguous=call.sent)


_TIMEOUT_STATUSES = (504, 524)
"""Somebody before the provider's server waited for it in vain."""
_STATUS_KINDS = {
    # Who we are, what we may do and where we ask: not authorised, unpaid, forbidden, not there, not by this method, not
    # past this proxy, gone, not here, not in this protocol, not for legal reasons.
    **dict.fromkeys((401, 402, 403, 404, 405, 407, 410, 421, 426, 451), FailureKind.ACCOUNT),
    408: FailureKind.UNAVAILABLE,  # not there in time, or a connection was idle for too long: it says nothing of us
    429: FailureKind.THROTTLED,
    # Of a server's errors, those of before anybody handled the request: not now, not past this network, and not from
    # Cloudflare to the origin: down, no connection, no way, no or no good TLS, no name.
    **dict.fromkeys((503, 511, 521, 522, 523, 525, 526, 530), FailureKind.UNAVAILABLE),
    **dict.fromkeys(_TIMEOUT_STATUSES, FailureKind.UNAVAILABLE),
}
"""What is known of single statuses."""
_SIGNIFICANT_DIGITS = 7
"""Digits of a number that are looked for: fewer are in many a reference by chance."""


class GatewayClient(HttpClient):
    """Calls of one gateway. Made once, used by many threads."""

    def call(self, request: requests.Request, timeout: float | None = None) -> HttpResponse:
        """Send a request and return the answer, of whatever status; ``timeout`` (seconds) instead of the client's own.

        Raises `GatewayError`: *account* when it cannot be sent at all, which lies with the gateway's settings;
        *unavailable* when no answer came, ambiguous when something had been sent. Nothing that the library raised hangs
        on it.
        """
        outcome = self.try_call(request, timeout)
        if isinstance(outcome, HttpCallError):
            kind = FailureKind.UNAVAILABLE if outcome.sendable else FailureKind.ACCOUNT
            raise GatewayError(kind, outcome.code, ambiguous=outcome.ambiguous)
        return outcome


class HttpApiGateway(ABC):
    """A gateway that makes one HTTP request for each message. A subclass writes the request and reads the answer."""

    def __init__(self, settings: GatewaySettings, context: GatewayContext) -> None:  # noqa: ARG002 - as of `Gateway`
        """Prepare to send; opens no connection."""
        self.settings: Any = settings
        self.http_client = GatewayClient(settings.timeout)

    def send(self, message: Message) -> Accepted:
        """Send a message; raise `GatewayError` unless the provider accepts it."""
        answer = self.call(message)
        if failure := self.failure(answer, message):
            raise failure
        return Accepted(reference_of(self.reference(answer), message))

    def call(self, message: Message) -> HttpResponse:
        """Return the provider's answer to the request for a message."""
        return self.http_client.call(self.request(message))

    @abstractmethod
    def request(self, message: Message) -> requests.Request:
        """Return the request that sends a message; raise `GatewayError` for a message that it cannot send."""

    @abstractmethod
    def failure(self, answer: HttpResponse, message: Message) -> GatewayError | None:
        """Return why the provider refuses a message; ``None`` if it accepts it."""

    @abstractmethod
    def reference(self, answer: HttpResponse) -> object:
        """Return the provider's id of an accepted message; ``None`` if the answer has none."""


def api_url(base_url: str, path: str) -> str:
    """Return the URL of a path of a provider's API."""
    return f"{base_url.rstrip('/')}/{path}"


def bearer(token: SecretStr) -> dict[str, str]:
    """Return the header with a bearer token (RFC 6750)."""
    return {"Authorization": f"Bearer {token.get_secret_value()}"}


def reference_of(found: object, message: Message) -> str:
    """Return what a provider gave as its reference if it can be one, else our own id of the dispatch.

    A reference is kept in the clear: what is long, has blanks, or holds the number's last digits is none.
    """
    text = str(found)
    plain = REFERENCE.fullmatch(text) and not _holds(text, message.to[-_SIGNIFICANT_DIGITS:])
    return text if found is not None and plain else message.dispatch_id


def _holds(text: str, digits: str) -> bool:
    """Tell whether a reference holds digits: with signs between them, or in Base64, as WhatsApp's own have them."""
    if digits in re.sub(r"[^A-Za-z0-9]", "", text):
        return True
    encoded = re.sub(r"[^A-Za-z0-9+/]", "", text)
    shifted = (encoded[start:] for start in range(4))
    return any(digits.encode() in base64.b64decode(one[: len(one) // 4 * 4]) for one in shifted)


def failure_of_status(status: int, provider_code: str | None = None, *, retry_after: float = 0.0) -> GatewayError:
    """Return what a status means where a gateway's own table says nothing."""
    code = provider_code or f"http {status}"
    return GatewayError(_kind_of(status), code, ambiguous=status in _TIMEOUT_STATUSES, retry_after=retry_after)


def failure_of_answer(answer: HttpResponse) -> GatewayError:
    """Return the failure of an answer that a gateway cannot read: by its status, or ambiguous if that is a success."""
    if answer.is_success:
        return GatewayError(FailureKind.UNAVAILABLE, "malformed answer", ambiguous=True)
    return failure_of_status(answer.status, retry_after=answer.retry_after)


def _kind_of(status: int) -> FailureKind:
    if status in _STATUS_KINDS:
        return _STATUS_KINDS[status]
    if status >= 500:  # noqa: PLR2004 - the server's errors
        return FailureKind.ERROR
    return FailureKind.ACCOUNT if status < 400 else FailureKind.REJECTED  # noqa: PLR2004 - moved, or to a notice
