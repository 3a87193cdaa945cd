"""A request and its answer, from the first byte to log line and metrics."""

import logging
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, lru_cache
from http import HTTPStatus
from typing import Final
from wsgiref.types import StartResponse, WSGIEnvironment

from otp_service.api.dialects import Dialect
from otp_service.api.routes import Answer, Route
from otp_service.bootstrap import Installation
from otp_service.clock import now
from otp_service.domain.applications import Application
from otp_service.domain.client_tokens import ClientToken
from otp_service.domain.keyring import IdempotentRequest, new_request_id
from otp_service.errors import ForbiddenError, LedgerUnavailableError, Quota
from otp_service.services.access import Caller
from otp_service.telemetry import metrics, tracing
from otp_service.telemetry.logging import PlainLogger, add_log_members, begin_log_members
from otp_service.telemetry.redaction import SafeText, redact_text

SHUTTING_DOWN: Final = "otp_service.ends"
"""In the environ while the server is about to end: probes then tell proxies to send nothing more."""


SLOT_WAIT = 0.2
"""Seconds that a request waits for a slot: many times what a call to the ledger takes."""


class CallSlots:
    """Limits the threads that call the ledger, or name servers: while these hang, starts and checks go on."""

    def __init__(self, most: int, refusal: str = "Too many wait for the ledger.") -> None:
        self._refusal = refusal
        self._free = threading.Semaphore(most)
        self._moved = 0.0
        """When a call began or came back last. While all slots are taken none begins."""

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot; raise `LedgerUnavailableError` when none is free.

        It is waited for only while calls come back; otherwise all threads would wait.
        """
        if not self._free.acquire(blocking=False):
            is_moving = time.monotonic() - self._moved < SLOT_WAIT
            if not (is_moving and self._free.acquire(timeout=SLOT_WAIT)):
                raise LedgerUnavailableError(self._refusal)
        self._moved = time.monotonic()
        try:
            yield
        finally:
            self._moved = time.monotonic()
            self._free.release()


@dataclass(frozen=True, eq=False, slots=True)
class SharedState:
    """What all requests of a process share."""

    installation: Installation
    routes: tuple[Route, ...]
    """Those that are served."""
    dialects: tuple[Dialect, ...]
    ledger_slots: CallSlots
    look_ups: CallSlots = field(default_factory=lambda: CallSlots(1, "Another host is looked up just now."))
    """Of hosts that callers name: their name servers may take all the time that they are given."""
    warned: set[str] = field(default_factory=set)
    """Warnings that were logged; each is logged once."""


class Exchange:
    """A request and its answer, with what the log line says of it."""

    __slots__ = (
        "began", "caller", "context", "cors", "decision", "dispatch", "environ", "headers", "problem",
        "proxy_request_id", "reason", "request_id", "retry", "route", "settings", "shared", "verification",
    )  # fmt: skip

    def __init__(self, environ: WSGIEnvironment, shared: SharedState, route: Route | None = None) -> None:
        """Begin to answer; ``route`` is ``None`` for an unknown path, or before routing."""
        self.environ = environ
        self.shared = shared
        self.context = shared.installation.context
        self.settings = shared.installation.settings
        self.route = route
        self.began = time.perf_counter()
        # Always new: an id in the request, of a proxy or a stranger, stands beside it in the log.
        self.request_id = SafeText(new_request_id(now()))
        self.proxy_request_id = _incoming_id(self.header("X-Request-Id"))
        begin_log_members(request_id=self.request_id)
        self.headers: dict[str, str] = {}
        """Headers of the answer, in addition to those of every answer."""
        self.cors: dict[str, str] = {}
        """Headers that allow a browser's page to read the answer, also of an error."""
        self.caller: Caller | None = None
        self.retry: IdempotentRequest | None = None
        """The ``Idempotency-Key`` and a digest of the request."""
        self.verification: SafeText | None = None
        self.dispatch: SafeText | None = None
        self.problem: str | None = None
        self.decision: str | None = None
        self.reason: str | None = None

    def identify(self, **identifiers: str) -> None:
        """Add the ``verification`` or ``dispatch`` of the request to all its log lines."""
        for name, identifier in identifiers.items():
            setattr(self, name, SafeText(identifier))
        add_log_members(**identifiers)

    @property
    def method(self) -> str:
        """The HTTP method."""
        return str(self.environ["REQUEST_METHOD"])

    @property
    def path(self) -> str:
        """The path with a single leading slash, as routes match it."""
        return "/" + str(self.environ["PATH_INFO"]).lstrip("/")

    def header(self, name: str) -> str | None:
        """Return a header by its name; values of a repeated header are joined by commas."""
        value = self.environ.get(_environ_name(name))
        return None if value is None else str(value)

    @property
    def dialect(self) -> Dialect | None:
        """The dialect of the path; ``None`` for this API's own."""
        path = self.path
        return next((dialect for dialect in self.shared.dialects if path.startswith(dialect.prefix)), None)

    @property
    def operator_key(self) -> str:
        """The name of an operator's API key."""
        return self.caller.key_id if self.caller else ""

    @property
    def client_token(self) -> ClientToken | None:
        """The client token of the call; ``None`` for a call with an API key."""
        return self.caller.token if self.caller else None

    @property
    def application(self) -> Application:
        """The authenticated application; raises `ForbiddenError` for a key without an application."""
        if self.caller is None or self.caller.application is None:
            raise ForbiddenError("This API key belongs to no application.")
        return self.caller.application


_INCOMING_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_RANDOM_ID = re.compile(r"(?=[0-9-]*[A-Fa-f])[0-9A-Fa-f]{8}(?:-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}")


def _incoming_id(text: str | None) -> SafeText | None:
    """Return the ``X-Request-Id`` of a request for the log; ``None`` unless it has the form of an id.

    128 bits in hexadecimal stay as they are; digits of any other id are masked as everywhere in the log.
    """
    if text is None or not _INCOMING_ID.fullmatch(text):
        return None
    return SafeText(text if _RANDOM_ID.fullmatch(text) else redact_text(text))


@cache
def _environ_name(header: str) -> str:
    """Return the name under which WSGI has a header (PEP 3333)."""
    return "HTTP_" + header.upper().replace("-", "_")


COMMON_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Headers of every answer. Strict-Transport-Security concerns the whole host, so the proxy that terminates TLS sets it;
browsers ignore it over plain HTTP."""
CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""Default Content-Security-Policy of an answer."""
UNMATCHED = "unmatched"
"""Route of a request for an unknown path, which is not logged."""
PROBES = {"/healthz", "/readyz", "/readyz/checks"}
"""Routes that are called every few seconds."""
_SPAN_FACTS = {"application", "verification", "dispatch", "problem"}
"""Facts about a request that its span shows too."""
_FIRST_FAILURE_STATUS = 500
"""The first status that means a failure of the service."""

_log = PlainLogger(__name__)


def headers_of(exchange: Exchange) -> dict[str, str]:
    """Return the headers of the answer; its own replace those of every answer."""
    return {
        **COMMON_HEADERS,
        "Content-Security-Policy": CONTENT_POLICY,
        "X-Request-Id": exchange.request_id,
        **exchange.cors,
        **exchange.headers,
    }


def log_request(exchange: Exchange, status: int) -> None:
    """Log and count the request; later log lines of this thread do not carry its ids."""
    begin_log_members()
    seconds = time.perf_counter() - exchange.began
    route = exchange.route.rule if exchange.route else UNMATCHED
    metrics.request_duration.observe(
        seconds, method=metrics.method_label(exchange.method), route=route, status=str(status)
    )
    if tracing.is_on():
        _describe_span(exchange, route, status)
    _log.log(
        _level(route, status),
        "request",
        method=exchange.method,
        route=_plain(route),
        status=status,
        milliseconds=round(1000 * seconds, 1),
        **_known_facts(exchange),
        request_id=exchange.request_id,
    )


def _describe_span(exchange: Exchange, route: str, status: int) -> None:
    """Name the request's span, and set its attributes."""
    method = metrics.method_label(exchange.method)
    facts = {name: value for name, value in _known_facts(exchange).items() if name in _SPAN_FACTS}
    tracing.annotate(
        f"{method} {route}",
        failed=status >= _FIRST_FAILURE_STATUS,
        method=method,
        route=_plain(route),
        status=status,
        request=exchange.request_id,
        **facts,
    )


@lru_cache
def _plain(route: str) -> SafeText:
    return SafeText(route)


def _level(route: str, status: int) -> int:
    if status >= _FIRST_FAILURE_STATUS:
        return logging.WARNING
    return logging.DEBUG if route in PROBES else logging.INFO


def _known_facts(exchange: Exchange) -> dict[str, str]:
    """Return the caller, the subject, the reason of a refusal, and the proxy's id of the request."""
    facts: dict[str, str] = {}
    caller = exchange.caller
    if caller and caller.application:
        facts["application"] = caller.application.name
    if caller and caller.key_id:
        facts["key_id"] = caller.key_id
    why = {
        "verification": exchange.verification,
        "dispatch": exchange.dispatch,
        "problem": exchange.problem,
        "decision": exchange.decision,
        "reason": exchange.reason,
        "proxy_request_id": exchange.proxy_request_id,
    }
    return facts | {name: value for name, value in why.items() if value is not None}


def send_answer(exchange: Exchange, answer: Answer, start_response: StartResponse) -> Iterable[bytes]:
    """Begin the answer with its headers, and return its body."""
    headers = headers_of(exchange)
    if answer.media_type is not None:
        headers = {"Content-Type": answer.media_type, "Content-Length": str(len(answer.body)), **headers}
    start_response(_line(answer.status), list(headers.items()))
    return [answer.body]


@lru_cache
def _line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase.upper()}"


_NAME = '"application"'


def add_quota_headers(exchange: Exchange, quota: Quota | None) -> None:
    """Add ``RateLimit-Policy`` and ``RateLimit`` to the answer, when there is a quota to tell the application."""
    if quota is not None and exchange.client_token is None:
        exchange.headers["RateLimit-Policy"] = f"{_NAME};q={quota.amount};w={quota.seconds}"
        exchange.headers["RateLimit"] = f"{_NAME};r={quota.remaining};t={quota.reset}"
