"""Around every request: its id, the headers that every answer has, one log line, one count."""

import logging
import time
from functools import lru_cache

from otp_service.api.exchange import Exchange
from otp_service.telemetry import metrics, tracing
from otp_service.telemetry.logging import get_logger
from otp_service.telemetry.redaction import Plain

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Of every answer. Strict-Transport-Security is not among them: it speaks for a whole host, so it belongs to the
proxy that terminates TLS for it; over plain HTTP it would be ignored anyway."""
CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""Content-Security-Policy of answers that name none of their own."""
UNMATCHED = "unmatched"
"""Route of a request that no route takes: its path is a stranger's text, and is not logged."""
PROBES = {"/healthz", "/readyz", "/readyz/checks"}
"""Routes that are asked every few seconds."""
_OF_SPANS = {"application", "verification", "problem"}
"""What is known of a request that its span tells too."""
_FAILURES = 500
"""The first status that means a failure of the service."""

_log = get_logger(__name__)


def headers_of(exchange: Exchange) -> dict[str, str]:
    """Return the headers of every answer; a policy of its own goes before the one among them."""
    return {**HEADERS, "Content-Security-Policy": CONTENT_POLICY, "X-Request-Id": exchange.request_id}


def report(exchange: Exchange, status: int) -> None:
    """Write the line, and count."""
    seconds = time.perf_counter() - exchange.began
    route = exchange.route or UNMATCHED
    metrics.record_request(exchange.method, route, status, seconds)
    if tracing.is_on():
        _trace(exchange, route, status)
    _log.log(
        _level(route, status),
        "request",
        method=exchange.method,
        route=_plain(route),
        status=status,
        milliseconds=round(1000 * seconds, 1),
        **_known(exchange),
        request_id=exchange.request_id,
    )


def _trace(exchange: Exchange, route: str, status: int) -> None:
    """Name the request's span, and tell what a span may tell of it."""
    method = metrics.method_of(exchange.method)
    about = {name: value for name, value in _known(exchange).items() if name in _OF_SPANS}
    tracing.note(
        f"{method} {route}", failed=status >= _FAILURES, method=method, route=_plain(route), status=status, **about
    )


@lru_cache
def _plain(route: str) -> Plain:
    return Plain(route)


def _level(route: str, status: int) -> int:
    """Return how loud the line is: a failure of ours is a warning; a probe that found nothing is for DEBUG only."""
    if status >= _FAILURES:
        return logging.WARNING
    return logging.DEBUG if route in PROBES else logging.INFO


def _known(exchange: Exchange) -> dict[str, str]:
    """Return what is known of the request: who asked, about which verification, and why the answer is a no."""
    caller = exchange.caller
    found = {
        "application": caller.application.name if caller and caller.application else None,
        "key_id": (caller.key.id or None) if caller else None,
        "verification": exchange.verification,
        "problem": exchange.problem,
        "decision": exchange.decision,
        "reason": exchange.reason,
    }
    return {name: value for name, value in found.items() if value is not None}
