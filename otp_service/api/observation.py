"""Around every request: its id, the headers that every answer has, one log line, one count."""

import logging
import secrets
import time

from flask import Flask, Response, g, request

from otp_service.services.authenticate import Caller
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

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
PROBES = {"/healthz", "/readyz"}
"""Routes that are asked every few seconds."""
_FAILURES = 500
"""The first status that means a failure of the service."""

_log = get_logger(__name__)


def register(app: Flask) -> None:
    """Observe every request of the application. To be registered before what may refuse one."""
    app.before_request(_begin)
    app.after_request(_finish)


def _begin() -> None:
    g.began = time.perf_counter()
    # Always our own: a caller's would be a stranger's text in our log.
    g.request_id = f"rq_{secrets.token_hex(16)}"


def _finish(response: Response) -> Response:
    headers = response.headers
    headers.extend(HEADERS)
    headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
    headers["X-Request-Id"] = g.request_id
    _report(response.status_code)
    return response


def _report(status: int) -> None:
    seconds = time.perf_counter() - g.began
    rule = request.url_rule
    route = rule.rule if rule else UNMATCHED
    metrics.record_request(request.method, route, status, seconds)
    _log.log(
        _level(route, status),
        "request",
        method=request.method,
        route=route,
        status=status,
        milliseconds=round(1000 * seconds, 1),
        **_known(),
        request_id=g.request_id,
    )


def _level(route: str, status: int) -> int:
    """Return how loud the line is: a failure of ours is a warning; a probe that found nothing is for DEBUG only."""
    if status >= _FAILURES:
        return logging.WARNING
    return logging.DEBUG if route in PROBES else logging.INFO


def _known() -> dict[str, str]:
    """Return what is known of the request: who asked, about which verification, and why the answer is a no."""
    caller: Caller | None = g.get("caller")
    found = {
        "application": caller.application.name if caller and caller.application else None,
        "key_id": caller.key.id or None if caller else None,
        "verification": g.get("verification"),
        "problem": g.get("problem"),
        "decision": g.get("decision"),
        "reason": g.get("reason"),
    }
    return {name: str(value) for name, value in found.items() if value is not None}
