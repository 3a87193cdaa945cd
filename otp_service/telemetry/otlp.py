"""Spans with OpenTelemetry, exported to a collector. Nothing in this module fails or delays a caller."""

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
"""Seconds that a process waits for the collector when it ends."""
_PROPAGATOR: Final = TraceContextTextMapPropagator()


class OtlpTracer:
    """Makes the spans of a process. They wait in a bounded queue, and a thread of the SDK exports them."""

    def __init__(self) -> None:
        """Begin by OpenTelemetry's environment variables; raise `ValueError` if they are invalid."""
        # Nothing of the host or the command line: only the environment describes the process.
        resource = Resource({SERVICE_NAME: "otp-service"}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("otp_service")
        self._close_requested, self._closed = threading.Event(), threading.Event()
        # Started now: a process that ends cannot start a thread.
        threading.Thread(target=self._close, name="traces", daemon=True).start()

    @contextmanager
    def span(self, name: str, kind: str, parent: str, attributes: Attributes) -> Iterator[None]:
        # tracestate and baggage of a caller are ignored: they would put foreign text into our spans.
        above = _PROPAGATOR.extract({"traceparent": parent}, Context()) if parent else None
        with self._tracer.start_as_current_span(
            name, above, SpanKind[kind.upper()], attributes, record_exception=False, set_status_on_exception=False
        ) as new_span:
            try:
                yield
            except BaseException as error:
                new_span.set_attribute("error.type", type(error).__name__)  # its text may contain anything
                new_span.set_status(StatusCode.ERROR)
                raise

    def annotate(self, name: str, attributes: Attributes, *, failed: bool) -> None:
        current = get_current_span()
        if current.is_recording():
            current.set_attributes(attributes)
            if name:
                current.update_name(name)
            if failed:
                current.set_status(StatusCode.ERROR)

    def link(self, traceparent: str) -> None:
        linked = get_current_span(_PROPAGATOR.extract({"traceparent": traceparent}, Context())).get_span_context()
        if linked.is_valid:
            get_current_span().add_link(linked)

    def traceparent(self) -> str:
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return carrier.get("traceparent", "")

    def close(self) -> None:
        """Export waiting spans in bounded time; the rest is lost."""
        self._close_requested.set()
        self._closed.wait(_EXPORT_TIMEOUT)

    def _close(self) -> None:
        self._close_requested.wait()
        self._provider.shutdown()
        self._closed.set()
