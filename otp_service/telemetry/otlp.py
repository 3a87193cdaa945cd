"""Spans to a collector over OTLP, with the SDK of the extra ``otel``, which its own environment variables configure."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otp_service.telemetry.redaction import redact
from otp_service.telemetry.tracing import ATTRIBUTES, Kind, Value

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
