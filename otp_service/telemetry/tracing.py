"""Spans over OpenTelemetry; without a collector they cost one look."""

import atexit
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final, Literal

from otp_service.errors import ConfigurationError
from otp_service.telemetry.redaction import redact

if TYPE_CHECKING:
    from otp_service.telemetry.otlp import OtlpTracer

# A span says what `ATTRIBUTES` names, and nothing else: no number, pseudonym, code, address, payment or text, and no
# words of an exception. OpenTelemetry is imported only where traces are on: its API alone takes 50 ms of a process's
# start, and a span of its own that does nothing would still carry a caller's trace on.

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
"""What a span may say, by our name of it, and how it is exported: where there is a convention, by that."""
Value = str | int | None
"""Of an attribute; ``None`` is not told."""


class _ProcessState:
    """What this process traces with."""

    traces: "OtlpTracer | None" = None


_process = _ProcessState()
_OFF: Final = nullcontext()


def require_available() -> None:
    """Raise `ConfigurationError` unless traces can be switched on here."""
    _create_tracer().close()


def set_enabled(*, on: bool) -> None:
    """Switch traces on or off in this process; they are the process', and may be switched again.

    Raises `ConfigurationError` as `require` does.
    """
    if not on:
        close()
    elif _process.traces is None:
        _process.traces = _create_tracer()
        atexit.register(close)


def _create_tracer() -> "OtlpTracer":
    try:
        from otp_service.telemetry.otlp import OtlpTracer  # noqa: PLC0415 - may not be installed, and takes a while
    except ModuleNotFoundError as missing:
        raise ConfigurationError("Traces need the extra otel: docs/install.md.") from missing
    try:
        return OtlpTracer()
    except ValueError as unfit:
        raise ConfigurationError(f"A variable of OpenTelemetry (OTEL_…) is unfit; correct it: {unfit}.") from unfit


def close() -> None:
    """Switch traces off, when what is known of spans is exported, or its time is over."""
    traces, _process.traces = _process.traces, None
    if traces is not None:
        traces.close()


def is_on() -> bool:
    """Tell whether this process traces."""
    return _process.traces is not None


def span(name: str, kind: Kind, parent: str = "", **known: Value) -> AbstractContextManager[None]:
    """Return a span around what is done, under a ``traceparent`` or within the span that this thread is in."""
    traces = _process.traces
    return _OFF if traces is None else traces.span(name, kind, parent, _exported_attributes(known))


def script(name: str) -> AbstractContextManager[None]:
    """Return a span around a script in Redis; none where this thread is in no span: a worker that looks around."""
    return span(f"FCALL {name}", "client", database="redis", script=name) if traceparent() else _OFF


def annotate(name: str = "", *, failed: bool = False, **known: Value) -> None:
    """Add to the span that this thread is in what is known of it by now; rename it, unless the name is empty."""
    if _process.traces is not None:
        _process.traces.annotate(name, _exported_attributes(known), failed=failed)


def link(traceparent: str) -> None:
    """Link the span that this thread is in to that of a ``traceparent``; an empty one links nothing."""
    if _process.traces is not None and traceparent:
        _process.traces.link(traceparent)


def traceparent() -> str:
    """Return this thread's span as W3C's header tells it, for another process to go on with; empty without one."""
    return "" if _process.traces is None else _process.traces.traceparent()


def trace_id() -> str:
    """Return the id of the trace that this thread is in, 32 hexadecimal digits; empty where there is none."""
    return traceparent()[3:35]


def _exported_attributes(known: Mapping[str, Value]) -> dict[str, str | int]:
    """Return attributes as they are exported; `KeyError` for one that is none. Nothing personal passes, as in logs."""
    return {ATTRIBUTES[name]: _safe(value) for name, value in known.items() if value is not None}


def _safe(value: str | int) -> str | int:
    safe = redact(value)
    return safe if isinstance(safe, int) else str(safe)
