"""Spans over OpenTelemetry; without a collector they cost a single test."""

import atexit
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final, Literal

from otp_service.errors import ConfigurationError
from otp_service.telemetry.redaction import redact

if TYPE_CHECKING:
    from otp_service.telemetry.otlp import OtlpTracer

# A span has only the members of `ATTRIBUTES`: no number, pseudonym, code, address, payment or text, and no text of an
# exception. OpenTelemetry is imported only if traces are on: its API alone takes 50 ms of a process's start, and its
# no-op span would still propagate a caller's trace.

Kind = Literal["server", "client", "consumer"]

ATTRIBUTES: Final[Mapping[str, str]] = {
    "application": "otp_service.application",
    "database": "db.system.name",
    "dispatch": "otp_service.dispatch",
    "dispatch_number": "otp_service.dispatch_number",
    "error": "error.type",
    "gateway": "otp_service.gateway",
    "message": "otp_service.message",
    "method": "http.request.method",
    "outcome": "otp_service.outcome",
    "problem": "otp_service.problem",
    "request": "otp_service.request",
    "route": "http.route",
    "script": "db.stored_procedure.name",
    "status": "http.response.status_code",
    "verification": "otp_service.verification",
}
"""Exported names of a span's attributes, by our names; by OpenTelemetry's conventions where they exist."""
Value = str | int | None
"""Value of an attribute; ``None`` is left out."""


class _ProcessState:
    traces: "OtlpTracer | None" = None


_process = _ProcessState()
_OFF: Final = nullcontext()


def require_available() -> None:
    """Raise `ConfigurationError` unless traces can be switched on."""
    _create_tracer().close()


def set_enabled(*, on: bool) -> None:
    """Switch traces on or off in this process, at any time; raise as `require_available`."""
    if not on:
        close()
    elif _process.traces is None:
        _process.traces = _create_tracer()
        atexit.register(close)


def _create_tracer() -> "OtlpTracer":
    try:
        from otp_service.telemetry.otlp import OtlpTracer  # noqa: PLC0415 - may be missing, and is slow
    except ModuleNotFoundError as missing:
        raise ConfigurationError("Traces need the extra otel: docs/install.md.") from missing
    try:
        return OtlpTracer()
    except ValueError as unfit:
        raise ConfigurationError(f"A variable of OpenTelemetry (OTEL_…) is invalid; correct it: {unfit}.") from unfit


def close() -> None:
    """Export waiting spans in bounded time, and switch traces off."""
    traces, _process.traces = _process.traces, None
    if traces is not None:
        traces.close()


def is_on() -> bool:
    return _process.traces is not None


def span(name: str, kind: Kind, parent: str = "", **known: Value) -> AbstractContextManager[None]:
    """Return a span, under a ``traceparent`` or within this thread's span."""
    traces = _process.traces
    return _OFF if traces is None else traces.span(name, kind, parent, _exported_attributes(known))


def script(name: str) -> AbstractContextManager[None]:
    """Return a span around a script in Redis, unless this thread has no span, as a worker that polls."""
    return span(f"FCALL {name}", "client", database="redis", script=name) if traceparent() else _OFF


def annotate(name: str = "", *, failed: bool = False, **known: Value) -> None:
    """Add attributes to this thread's span; rename it, unless the name is empty."""
    if _process.traces is not None:
        _process.traces.annotate(name, _exported_attributes(known), failed=failed)


def link(traceparent: str) -> None:
    """Link this thread's span to that of a ``traceparent``, unless it is empty."""
    if _process.traces is not None and traceparent:
        _process.traces.link(traceparent)


def traceparent() -> str:
    """Return this thread's span as W3C's header ``traceparent`` for another process; empty without a span."""
    return "" if _process.traces is None else _process.traces.traceparent()


def trace_id() -> str:
    """Return the id of this thread's trace, 32 hexadecimal digits; empty without a trace."""
    return traceparent()[3:35]


def _exported_attributes(known: Mapping[str, Value]) -> dict[str, str | int]:
    """Return exported attributes, redacted as in logs; raise `KeyError` for an unknown name."""
    return {ATTRIBUTES[name]: _safe(value) for name, value in known.items() if value is not None}


def _safe(value: str | int) -> str | int:
    safe = redact(value)
    return safe if isinstance(safe, int) else str(safe)
