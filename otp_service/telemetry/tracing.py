"""Traces: which call led to which, from an application's request to the gateway's answer. Off until switched on.

A span says what `ATTRIBUTES` names, and nothing else: no number, pseudonym, code, address, payment or text, and no
words of an exception. What is off costs one look; OpenTelemetry is imported only where it is on.
"""

import atexit
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Literal, Protocol

from otp_service.errors import ConfigurationError

Kind = Literal["server", "client", "consumer"]

ATTRIBUTES: Final[Mapping[str, str]] = {
    "application": "otp_service.application",
    "database": "db.system.name",
    "dispatch": "otp_service.dispatch",
    "error": "error.type",
    "gateway": "otp_service.gateway",
    "message": "otp_service.message",
    "method": "http.request.method",
    "outcome": "otp_service.outcome",
    "problem": "otp_service.problem",
    "route": "http.route",
    "script": "db.stored_procedure.name",
    "status": "http.response.status_code",
    "verification": "otp_service.verification",
}
"""What a span may say, by our name of it, and how it is exported: where there is a convention, by that."""
Value = str | int | None
"""Of an attribute; ``None`` is not told."""


class Traces(Protocol):
    """What makes spans and exports them. Nothing here may fail a caller, or let one wait for a collector."""

    def span(self, name: str, kind: Kind, parent: str, known: Mapping[str, Value]) -> AbstractContextManager[None]:
        """Return a span around what is done, under a ``traceparent``; an empty one is that of this thread's span."""
        ...

    def note(self, name: str, known: Mapping[str, Value], *, failed: bool) -> None:
        """Add to the span that this thread is in, if it is in one; rename it, unless the name is empty."""
        ...

    def traceparent(self) -> str:
        """Return the span that this thread is in, as W3C's header tells it; empty when it is in none."""
        ...

    def close(self) -> None:
        """Export what is still to be exported, in bounded time, and nothing after that."""
        ...


class _Process:
    """What this process traces with."""

    traces: Traces | None = None


_process = _Process()
_OFF: Final = nullcontext()


def require() -> None:
    """Raise `ConfigurationError` unless traces can be switched on here."""
    _begun().close()


def switch(*, on: bool) -> None:
    """Switch traces on or off in this process; they are the process', and may be switched again.

    Raises `ConfigurationError` as `require` does.
    """
    if on and _process.traces is None:
        _process.traces = _begun()
        atexit.register(close)
    elif not on:
        close()


def _begun() -> Traces:
    try:
        from otp_service.telemetry.otlp import Otlp  # noqa: PLC0415 - may not be installed, and takes a while
    except ModuleNotFoundError as missing:
        raise ConfigurationError("Traces need the extra otel: docs/operations.md, Installing.") from missing
    try:
        return Otlp()
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
    return _OFF if traces is None else traces.span(name, kind, parent, known)


def script(name: str) -> AbstractContextManager[None]:
    """Return a span around a script in Redis; none where this thread is in no span: a worker that looks around."""
    traces = _process.traces
    if traces is None or not traces.traceparent():
        return _OFF
    return traces.span(f"FCALL {name}", "client", "", {"database": "redis", "script": name})


def note(name: str = "", *, failed: bool = False, **known: Value) -> None:
    """Add to the span that this thread is in what is known of it by now."""
    if _process.traces is not None:
        _process.traces.note(name, known, failed=failed)


def traceparent() -> str:
    """Return this thread's span, for another process to go on with; empty where there is none."""
    return "" if _process.traces is None else _process.traces.traceparent()


def trace_id() -> str:
    """Return the id of the trace that this thread is in, 32 hexadecimal digits; empty where there is none."""
    return traceparent()[3:35]
