"""Spans made with OpenTelemetry, and exported to a collector. Nothing here fails a caller or lets one wait for it."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Attributes = Mapping[str, str | int]

_EXPORT_TIMEOUT: Final = 2.0
"""Seconds that a process which ends waits for the collector."""
_PROPAGATOR: Final = TraceContextTextMapPropagator()


class OtlpTracer:
    """Makes the spans of a process. They wait in a queue of bounded length, and a thread of the SDK exports them."""

    def __init__(self) -> None:
        """Begin as the environment says; raise `ValueError` where that is unfit."""
        # Nothing of the host or the command line: what else there is to say of the process, the environment says.
        resource = Resource({SERVICE_NAME: "otp-service"}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("otp_service")
        self._close_requested, self._closed = threading.Event(), threading.Event()
        # Begun now: a process that ends may begin no thread any more.
        threading.Thread(target=self._close, name="traces", daemon=True).start()

    @contextmanager
    def span(self, name: str, kind: str, parent: str, attributes: Attributes) -> Iterator[None]:
        """Return a span around what is done, under a ``traceparent``; an empty one is that of this thread's span."""
        # Of what a caller sends, tracestate and baggage are left alone: they would be a stranger's text in our spans.
        above = _PROPAGATOR.extract({"traceparent": parent}, Context()) if parent else None
        with self._tracer.start_as_current_span(
            name, above, SpanKind[kind.upper()], attributes, record_exception=False, set_status_on_exception=False
        ) as made:
            try:
                yield
            except BaseException as error:
                made.set_attribute("error.type", type(error).__name__)  # its words may hold anything
                made.set_status(StatusCode.ERROR)
                raise

    def annotate(self, name: str, attributes: Attributes, *, failed: bool) -> None:
        """Add to the span that this thread is in, if it is in one; rename it, unless the name is empty."""
        made = get_current_span()
        if made.is_recording():
            made.set_attributes(attributes)
            if name:
                made.update_name(name)
            if failed:
                made.set_status(StatusCode.ERROR)

    def link(self, traceparent: str) -> None:
        """Link the span that this thread is in to that of a ``traceparent``, if it is one."""
        linked = get_current_span(_PROPAGATOR.extract({"traceparent": traceparent}, Context())).get_span_context()
        if linked.is_valid:
            get_current_span().add_link(linked)

    def traceparent(self) -> str:
        """Return the span that this thread is in; empty when it is in none."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return carrier.get("traceparent", "")

    def close(self) -> None:
        """Export what is left, in bounded time; what a collector does not take until then is lost."""
        self._close_requested.set()
        self._closed.wait(_EXPORT_TIMEOUT)

    def _close(self) -> None:
        self._close_requested.wait()
        self._provider.shutdown()
        self._closed.set()
