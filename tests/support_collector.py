"""A collector of traces: takes spans over OTLP/HTTP on loopback, and keeps every byte."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

KINDS = {2: "server", 3: "client", 5: "consumer"}
"""The kinds of spans that there are here, by their numbers in OTLP."""


@dataclass(frozen=True)
class Exported:
    """A span as it came."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    says: dict[str, Any]
    failed: bool
    events: int
    state: str
    links: tuple[tuple[str, str], ...] = ()
    """Trace and id of each span that it links to."""


@dataclass
class Collector:
    """What came so far."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    hangs: threading.Event = field(default_factory=threading.Event)
    """While it is set, nobody is answered."""
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def environ(self) -> dict[str, str]:
        """What leads a process here, at once."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}

    @property
    def resources(self) -> list[dict[str, Any]]:
        """What the processes say of themselves."""
        return [_values(one.resource.attributes) for one in self._resource_spans()]

    @property
    def spans(self) -> list[Exported]:
        found = [span for one in self._resource_spans() for scope in one.scope_spans for span in scope.spans]
        return [
            Exported(
                name=span.name,
                kind=KINDS[span.kind],
                trace=span.trace_id.hex(),
                id=span.span_id.hex(),
                parent=span.parent_span_id.hex(),
                says=_values(span.attributes),
                failed=span.status.code == 2,
                events=len(span.events),
                state=span.trace_state,
                links=tuple((one.trace_id.hex(), one.span_id.hex()) for one in span.links),
            )
            for span in found
        ]

    def of(self, *names: str) -> list[Exported]:
        return [span for span in self.spans if span.name in names]

    def _resource_spans(self) -> Iterator[Any]:
        for body in list(self.bodies):
            yield from ExportTraceServiceRequest.FromString(body).resource_spans


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if collector.hangs.is_set():
                collector.over.wait(30)
                return
            collector.bodies.append(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collector.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            collector.over.set()
            server.shutdown()
            thread.join()
