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
from typing import Annotated, Any, ClassVar, Self

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
    """An action at a point in time of the monotonic clock, unless it is stopped before."""

    __slots__ = ("_lock", "act", "deadline")

    def __init__(self, deadline: float, act: Callable[[], object], lock: threading.Condition) -> None:
        self.deadline = deadline
        self.act: Callable[[], object] | None = act
        """``None`` once it has acted or was stopped."""
        self._lock = lock

    def stop(self) -> None:
        """Cancel it: afterwards it has acted completely or never will."""
        with self._lock:
            self.act = None


class DeadlineTimer:
    """A thread for all deadlines, started by the first. A stopped deadline does not wake it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all deadlines and the thread."""
        self._changed = threading.Condition()
        self._deadlines: list[tuple[float, int, Deadline]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None

    def set(self, seconds: float, act: Callable[[], object]) -> Deadline:
        """Set a deadline in ``seconds``. The thread calls ``act``, which must be quick and raise nothing."""
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
                now = time.monotonic()
                while self._deadlines and (self._deadlines[0][2].act is None or self._deadlines[0][0] <= now):
                    deadline = heapq.heappop(self._deadlines)[2]
                    act, deadline.act = deadline.act, None
                    if act is not None:
                        act()
                self._changed.wait(self._deadlines[0][0] - time.monotonic() if self._deadlines else None)


_timer = DeadlineTimer()
set_deadline = _timer.set
# A forked child has none of its parent's threads, and perhaps a lock that one of them held.
os.register_at_fork(after_in_child=_timer.reset)


_current = threading.local()


class TimedCall:
    """The call that this thread is making, within ``with``: its deadline, and whether anything was sent."""

    def __init__(self, timeout: float) -> None:
        self.sent = False
        """Whether the provider may have received a part of the request."""
        self.over = False
        """Whether the time is up."""
        self._socket: socket.socket | None = None
        self._deadline = set_deadline(timeout, self._end)

    def __enter__(self) -> Self:
        _current.call = self
        return self

    def __exit__(self, *_: object) -> None:
        _current.call = None
        self._deadline.stop()  # before the connection is used again: it must not end the next call

    @property
    def left(self) -> float:
        """Seconds that are left, more than 0."""
        return max(self._deadline.deadline - time.monotonic(), 0.001)

    def connected(self) -> None:
        """Note the end of connecting: bytes of TLS or to a proxy were no part of the request."""
        self.sent = False

    def begin_sending(self, connection: socket.socket) -> None:
        """Note that the provider may receive the request from now on; raise `TimeoutError` when the time is up."""
        self._socket = connection
        if self.over:
            raise TimeoutError
        self.sent = True

    def _end(self) -> None:
        # A socket's time-out covers a single read: a provider that sends a byte now and then would outlive it.
        self.over = True
        if self._socket is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class TimedConnection(HTTPConnection):
    """Informs this thread's `TimedCall` when it connects and sends."""

    def connect(self) -> None:
        try:
            super().connect()
        finally:
            _current.call.connected()

    def send(self, data: Any) -> None:  # noqa: ANN401 - as http.client
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
"""Pools with connections that inform the current `TimedCall`, by scheme."""


class Session(requests.Session):
    """A session of ``requests`` with deadlines, without cookies, and without redirects, whose body it would read."""

    def __init__(self) -> None:
        super().__init__()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter())

    def get_redirect_target(self, _: requests.Response) -> None:
        """Return ``None``: no redirect is followed."""


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - the library's own
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> urllib3.ProxyManager:  # noqa: ANN401
        manager: urllib3.ProxyManager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = POOLS
        return manager


def _between_calls(_: logging.LogRecord) -> bool:
    return getattr(_current, "call", None) is None


# urllib3 logs each URL, some at WARNING, and a URL may contain a number, a text and a key. A filter on its loggers
# works at every level, and only for our calls.
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
"""Maximum bytes read of an answer."""
_DELAY_SECONDS = re.compile(r"[0-9]+", re.ASCII)
RETRY_AFTER_STATUSES = frozenset({429, 503})
"""Statuses whose `Retry-After` is obeyed."""
_TIMEOUTS = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
CALL_FAILURES = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError)


class HttpCallError(Exception):
    """A call without an answer. The error's text contains nothing of the request."""

    def __init__(self, code: str, *, sendable: bool = True, ambiguous: bool = False) -> None:
        """``code``: a word or two; ``sendable``: it could be sent; ``ambiguous``: it may have been received."""
        super().__init__(code)
        self.code = code
        self.sendable = sendable
        self.ambiguous = ambiguous


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer. The ``repr`` shows only the status: bodies repeat numbers and texts."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    text: str = field(repr=False)

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300  # noqa: PLR2004 - RFC 9110, 15.3

    @property
    def retry_after(self) -> float:
        """Seconds without calls that a 429 or 503 asks for (RFC 9110, 10.2.3), or 0."""
        value = self.headers.get("Retry-After", "").strip() if self.status in RETRY_AFTER_STATUSES else ""
        seconds = float(value) if _DELAY_SECONDS.fullmatch(value) else _seconds_until(value)
        return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _seconds_until(date: str) -> float:
    """Return the seconds until a date in any form of HTTP (RFC 9110, 5.6.7); 0 for anything else."""
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return 0.0
    if moment.tzinfo is None:  # the form of asctime has no zone, "-0000" no known zone: both are UTC
        moment = moment.replace(tzinfo=dt.UTC)
    return (moment - dt.datetime.now(dt.UTC)).total_seconds()


ApiUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^/@?#\\\s]+[^?#\\\s]*$")]
"""URL of a provider's API, without user, query and fragment."""


def json_of(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON
    """Return the value of JSON from outside; ``None`` for anything else."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def json_object(text: str | bytes) -> dict[str, Any]:
    """Return the object in a provider's JSON; an empty one for anything else."""
    document = json_of(text)
    return document if isinstance(document, dict) else {}


def json_at(value: Any, *steps: str | int) -> Any:  # noqa: ANN401 - any JSON
    """Return the value at names and indexes of a JSON value; ``None`` without it."""
    try:
        for step in steps:
            value = value[step]
    except (LookupError, TypeError):
        return None
    return value


def json_objects(value: Any, name: str) -> list[dict[str, Any]]:  # noqa: ANN401 - any JSON
    """Return the objects in a list that is a member of a JSON value."""
    members = value.get(name) if isinstance(value, dict) else None
    return [member for member in members if isinstance(member, dict)] if isinstance(members, list) else []


class HttpClient:
    """Calls with a ``timeout`` in seconds over connecting, sending and reading, but not the look-up of the host's name.

    Used by many threads. Each thread has a session, whose connections stay open.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._sessions = threading.local()

    def call(self, request: requests.Request, timeout: float | None = None) -> HttpResponse:
        """Send a request and return the answer of any status; raise `HttpCallError`, which chains no exception."""
        outcome = self.try_call(request, timeout)
        if isinstance(outcome, HttpCallError):
            raise outcome  # outside the handlers, so that their exceptions are not even its context
        return outcome

    def try_call(self, request: requests.Request, timeout: float | None = None) -> HttpResponse | HttpCallError:
        timeout = self._timeout if timeout is None else timeout
        try:
            prepared = request.prepare()
        except (requests.RequestException, ValueError):
            return HttpCallError("request cannot be sent", sendable=False)
        with TimedCall(timeout) as call:
            try:
                answer = self._exchange(prepared, timeout)
            except CALL_FAILURES as failure:
                return failure_of_call(failure, call)
            # A truncated answer may look complete: headers and bodies may end with the connection.
            return failure_of_call(TimeoutError(), call) if call.over else answer

    def _exchange(self, prepared: requests.PreparedRequest, timeout: float) -> HttpResponse | HttpCallError:
        if not hasattr(self._sessions, "own"):
            self._sessions.own = Session()
        session: Session = self._sessions.own
        environment = session.merge_environment_settings(prepared.url or "", {}, True, None, None)  # noqa: FBT003
        limit = urllib3.Timeout(total=timeout)
        with session.send(prepared, timeout=limit, allow_redirects=False, **environment) as response:  # type: ignore[arg-type]
            body = response.raw.read(MAX_RESPONSE_BYTES + 1, decode_content=True)
        if len(body) > MAX_RESPONSE_BYTES:
            return HttpCallError("answer too long", ambiguous=True)
        return HttpResponse(response.status_code, response.headers, body.decode(errors="replace"))


def get(url: str, headers: Mapping[str, str], timeout: float) -> HttpResponse | HttpCallError:
    return HttpClient(timeout).try_call(requests.Request("GET", url, headers=dict(headers)))


@dataclass(frozen=True, slots=True)
class WayOut:
    """The route of calls to a URL in this host's environment."""

    proxy: str = ""
    """URL of the proxy; empty without a proxy."""
    proxy_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    authorities: str = ""
    """File or folder with certificate authorities; empty for OpenSSL's own."""


def way_out(url: str) -> WayOut:
    session = Session()
    environment = session.merge_environment_settings(url, {}, None, True, None)  # noqa: FBT003
    proxy = requests.utils.select_proxy(url, environment["proxies"]) or ""
    adapter, bundle = session.get_adapter(url), environment["verify"]
    headers = adapter.proxy_headers(proxy) if proxy and isinstance(adapter, HTTPAdapter) else {}
    return WayOut(proxy, headers, bundle if isinstance(bundle, str) else DEFAULT_CA_BUNDLE_PATH)


def failure_of_call(failure: Exception, call: TimedCall) -> HttpCallError:
    refused = isinstance(failure, NewConnectionError)  # for the library it is a time-out
    if call.over or (isinstance(failure, _TIMEOUTS) and not refused):
        return HttpCallError("timeout", ambiguous=call.sent)
    if isinstance(failure, ValueError) and not call.sent:
        return HttpCallError("request cannot be sent", sendable=False)
    return HttpCallError("connection", ambiguous=call.sent)


_TIMEOUT_STATUSES = (504, 524)
"""A proxy timed out while it waited for the provider's server."""
_STATUS_KINDS = {
    # Our account, rights or URL: unauthorised, payment required, forbidden, not found, method not allowed, proxy
    # authentication, gone, misdirected, upgrade required, unavailable for legal reasons.
    **dict.fromkeys((401, 402, 403, 404, 405, 407, 410, 421, 426, 451), FailureKind.ACCOUNT),
    408: FailureKind.UNAVAILABLE,  # a request took too long, or a connection was idle: not the account's fault
    429: FailureKind.THROTTLED,
    # Server errors before the request was handled: unavailable, network authentication, and between Cloudflare and the
    # origin: down, no connection, no route, TLS failure, invalid certificate, no name.
    **dict.fromkeys((503, 511, 521, 522, 523, 525, 526, 530), FailureKind.UNAVAILABLE),
    **dict.fromkeys(_TIMEOUT_STATUSES, FailureKind.UNAVAILABLE),
}
"""Kind of failure of single statuses."""
_SIGNIFICANT_DIGITS = 7
"""Digits of a number that a reference must not contain; fewer occur by chance."""


class GatewayClient(HttpClient):
    """Calls of a gateway. Used by many threads."""

    def call(self, request: requests.Request, timeout: float | None = None) -> HttpResponse:
        """Return the answer of any status; raise `GatewayError`, *account* for a request that cannot be sent."""
        outcome = self.try_call(request, timeout)
        if isinstance(outcome, HttpCallError):
            kind = FailureKind.UNAVAILABLE if outcome.sendable else FailureKind.ACCOUNT
            raise GatewayError(kind, outcome.code, ambiguous=outcome.ambiguous)
        return outcome


class HttpApiGateway(ABC):
    """A gateway that makes one HTTP request for each message. A subclass writes the request and reads the answer."""

    development_only: ClassVar[bool] = False

    def __init__(self, settings: GatewaySettings, context: GatewayContext) -> None:  # noqa: ARG002 - as of `Gateway`
        self.settings: Any = settings
        self.http_client = GatewayClient(settings.timeout)

    def send(self, message: Message) -> Accepted:
        answer = self.call(message)
        if failure := self.failure(answer, message):
            raise failure
        return Accepted(reference_of(self.reference(answer), message))

    def call(self, message: Message) -> HttpResponse:
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
    return f"{base_url.rstrip('/')}/{path}"


def bearer(token: SecretStr) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.get_secret_value()}"}


def reference_of(provider_id: object, message: Message) -> str:
    """Return the provider's id of a message if it may be a reference, else our id of the dispatch.

    References are stored in the clear: an id that is long, has blanks, or contains the number's last digits is refused.
    """
    text = str(provider_id)
    plain = REFERENCE.fullmatch(text) and not _holds(text, message.to[-_SIGNIFICANT_DIGITS:])
    return text if provider_id is not None and plain else message.dispatch_id


def _holds(text: str, digits: str) -> bool:
    """Whether a reference contains digits: with signs between them, or in Base64, as WhatsApp's references do."""
    if digits in re.sub(r"[^A-Za-z0-9]", "", text):
        return True
    encoded = re.sub(r"[^A-Za-z0-9+/]", "", text)
    shifted = (encoded[start:] for start in range(4))
    return any(digits.encode() in base64.b64decode(part[: len(part) // 4 * 4]) for part in shifted)


def failure_of_status(status: int, provider_code: str | None = None, *, retry_after: float = 0.0) -> GatewayError:
    """Return the failure of a status that a gateway's own table lacks."""
    if status in _STATUS_KINDS:
        kind = _STATUS_KINDS[status]
    elif status >= 500:  # noqa: PLR2004 - the server's errors
        kind = FailureKind.ERROR
    else:
        kind = FailureKind.ACCOUNT if status < 400 else FailureKind.REJECTED  # noqa: PLR2004 - a redirect
    ambiguous = status in _TIMEOUT_STATUSES
    return GatewayError(kind, provider_code or f"http {status}", ambiguous=ambiguous, retry_after=retry_after)


def failure_of_answer(answer: HttpResponse) -> GatewayError:
    """Return the failure of an answer that a gateway cannot read: by its status, or ambiguous if that is a success."""
    if answer.is_success:
        return GatewayError(FailureKind.UNAVAILABLE, "malformed answer", ambiguous=True)
    return failure_of_status(answer.status, retry_after=answer.retry_after)
