"""Spans over OpenTelemetry; without a collector they cost nothing."""

import atexit
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final, Literal, Protocol

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otp_service.errors import ConfigurationError
from otp_service.telemetry.redaction import redact

# A span says what `ATTRIBUTES` names, and nothing else: no number, pseudonym, code, address, payment or text, and no
# words of an exception. What is off costs one look; OpenTelemetry is imported only where it is on.

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
        pass
    except ModuleNotFoundError as missing:
        raise ConfigurationError("Traces need the extra otel: docs/install.md.") from missing
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


_PATIENCE: Final = 2.0
"""Seconds that a process which ends waits for the collector."""
_KINDS: Final[Mapping[Kind, SpanKind]] = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "consumer": SpanKind.CONSUMER,
}
_PARENTS: Final = TraceContextTextMapPropagator()
_NOWHERE: Final = context.Context()


class Otlp:
    """The `Traces` of a process: spans wait in a queue of bounded length, and a thread of the SDK exports them."""

    def __init__(self) -> None:
        """Begin as the environment says; raise `ValueError` where that is unfit."""
        # Nothing of the host or the command line: what else there is to say of the process, the environment says.
        named = Resource({SERVICE_NAME: "otp-service"}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=named, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("otp_service")
        self._asked, self._closed = threading.Event(), threading.Event()
        # Begun now: a process that ends may begin no thread any more.
        threading.Thread(target=self._close, name="traces", daemon=True).start()

    @contextmanager
    def span(self, name: str, kind: Kind, parent: str, known: Mapping[str, Value]) -> Iterator[None]:
        """Return a span around what is done."""
        # Of what a caller sends, tracestate and baggage are left alone: they would be a stranger's text in our spans.
        above = _PARENTS.extract({"traceparent": parent}, _NOWHERE) if parent else None
        made = self._tracer.start_span(name, above, _KINDS[kind], _exported(known))
        token = context.attach(trace.set_span_in_context(made, above))
        try:
            yield
        except BaseException as error:
            _fail(made, type(error).__name__)  # its words may hold anything
            raise
        finally:
            context.detach(token)
            made.end()

    def note(self, name: str, known: Mapping[str, Value], *, failed: bool) -> None:
        """Add to the span that this thread is in."""
        made = trace.get_current_span()
        if made.is_recording():
            made.set_attributes(_exported(known))
            if name:
                made.update_name(name)
            if failed:
                made.set_status(StatusCode.ERROR)

    def traceparent(self) -> str:
        """Return the span that this thread is in; empty when it is in none."""
        found = trace.get_current_span().get_span_context()
        if not found.is_valid:
            return ""
        return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"

    def close(self) -> None:
        """Export what is left; what a collector does not take in time is lost."""
        self._asked.set()
        self._closed.wait(_PATIENCE)

    def _close(self) -> None:
        self._asked.wait()
        self._provider.shutdown()
        self._closed.set()


def _fail(made: Span, error: str) -> None:
    made.set_attributes(_exported({"error": error}))
    made.set_status(StatusCode.ERROR)


def _exported(known: Mapping[str, Value]) -> dict[str, str | int]:
    """Return attributes as they are exported; `KeyError` for one that is none. Nothing personal passes, as in logs."""
    return {ATTRIBUTES[name]: _safe(value) for name, value in known.items() if value is not None}


def _safe(value: str | int) -> str | int:
    safe = redact(value)
    return safe if isinstance(safe, int) else str(safe)
