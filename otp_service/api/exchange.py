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
"""In the environ while the server is about to end: failing probes then keep proxies away."""
SLOT_WAIT = 0.2
"""Maximum wait for a slot, in seconds: many times the duration of a call to the ledger."""


class CallSlots:
    """Limits the threads that call the ledger, or name servers: while these hang, starts and checks go on."""

    def __init__(self, max_calls: int, refusal: str = "Too many calls wait for the ledger.") -> None:
        self._refusal = refusal
        self._free = threading.Semaphore(max_calls)
        self._moved = 0.0
        """Time of the last begin or end of a call. While all slots are taken none begins."""

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot; raise `LedgerUnavailableError` when none is free.

        A request waits only while calls return; otherwise all threads would wait.
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
    """State that all requests of a process share."""

    installation: Installation
    routes: tuple[Route, ...]
    dialects: tuple[Dialect, ...]
    ledger_slots: CallSlots
    look_ups: CallSlots = field(default_factory=lambda: CallSlots(1, "Another host is looked up just now."))
    """Look-ups of callers' hosts, whose name servers may take until the time-out."""
    warned: set[str] = field(default_factory=set)
    """Logged warnings; each is logged once."""


class Exchange:
    """A request and its answer, with the members of its log line."""

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
        self.proxy_request_id: SafeText | None = None
        incoming_id = self.header("X-Request-Id")
        if incoming_id is not None and _INCOMING_ID.fullmatch(incoming_id):
            # 128 bits in hexadecimal stay as they are; digits of any other id are masked as everywhere in the log.
            is_random = _RANDOM_ID.fullmatch(incoming_id)
            self.proxy_request_id = SafeText(incoming_id if is_random else redact_text(incoming_id))
        begin_log_members(request_id=self.request_id)
        self.headers: dict[str, str] = {}
        """Headers of the answer beside those of every answer."""
        self.cors: dict[str, str] = {}
        """Headers that let a browser's page read the answer, also an error."""
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
        return str(self.environ["REQUEST_METHOD"])

    @property
    def path(self) -> str:
        """The path with a single leading slash, as routes match it."""
        return "/" + str(self.environ["PATH_INFO"]).lstrip("/")

    def header(self, name: str) -> str | None:
        """Return a header; values of a repeated header are joined by commas."""
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


@cache
def _environ_name(header: str) -> str:
    """Return the name under which WSGI has a header (PEP 3333)."""
    return "HTTP_" + header.upper().replace("-", "_")


COMMON_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
"""Headers of every answer. Strict-Transport-Security concerns the whole host, so the proxy that terminates TLS sets it;
browsers ignore it over plain HTTP."""
CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""Default Content-Security-Policy of an answer."""
PROBES = {"/healthz", "/readyz", "/readyz/checks"}
"""Routes that are called every few seconds."""
_SPAN_FACTS = {"application", "verification", "dispatch", "problem"}
"""Facts of the log line that the span shows too."""

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
    route = exchange.route.rule if exchange.route else "unmatched"  # an unknown path is not logged
    method = metrics.method_label(exchange.method)
    metrics.request_duration.observe(seconds, method=method, route=route, status=str(status))
    has_failed = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if tracing.is_on():
        tracing.annotate(
            f"{method} {route}",
            failed=has_failed,
            method=method,
            route=_plain(route),
            status=status,
            request=exchange.request_id,
            **{name: value for name, value in _known_facts(exchange).items() if name in _SPAN_FACTS},
        )
    level = logging.DEBUG if route in PROBES else logging.INFO
    _log.log(
        logging.WARNING if has_failed else level,
        "request",
        method=exchange.method,
        route=_plain(route),
        status=status,
        milliseconds=round(1000 * seconds, 1),
        **_known_facts(exchange),
        request_id=exchange.request_id,
    )


@lru_cache
def _plain(route: str) -> SafeText:
    return SafeText(route)


def _known_facts(exchange: Exchange) -> dict[str, str]:
    caller = exchange.caller
    facts = {
        "application": caller.application.name if caller and caller.application else None,
        "key_id": (caller.key_id or None) if caller else None,
        "verification": exchange.verification,
        "dispatch": exchange.dispatch,
        "problem": exchange.problem,
        "decision": exchange.decision,
        "reason": exchange.reason,
        "proxy_request_id": exchange.proxy_request_id,
    }
    return {name: value for name, value in facts.items() if value is not None}


def finish(exchange: Exchange, answer: Answer, start_response: StartResponse) -> Iterable[bytes]:
    """Log the request, begin the answer with its headers, and return its body."""
    log_request(exchange, answer.status)
    headers = headers_of(exchange)
    if answer.media_type is not None:
        headers = {"Content-Type": answer.media_type, "Content-Length": str(len(answer.body)), **headers}
    start_response(_line(answer.status), list(headers.items()))
    return [answer.body]


@lru_cache
def _line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase.upper()}"


def add_quota_headers(exchange: Exchange, quota: Quota | None) -> None:
    """Add ``RateLimit-Policy`` and ``RateLimit`` to an answer to an application with a quota."""
    if quota is not None and exchange.client_token is None:
        exchange.headers["RateLimit-Policy"] = f'"application";q={quota.amount};w={quota.seconds}'
        exchange.headers["RateLimit"] = f'"application";r={quota.remaining};t={quota.reset}'
