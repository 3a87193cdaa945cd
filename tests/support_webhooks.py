"""What tests of webhooks have in common: endpoints, and a receiver that behaves as it is told."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from otp_service.domain.webhooks import Endpoint, new_endpoint_id
from otp_service.ledger.ledger import Ledger

LOOPBACK = ["127.0.0.0/8", "::1/128"]
"""Where receivers of tests are, as settings have it."""
LEASE, AT_ONCE = 20_000, 4


def endpoint(ledger: Ledger, *types: str, application: str = "shop", url: str = "https://shop.example/h") -> Endpoint:
    """Return a new endpoint; its secret is none."""
    made = Endpoint(new_endpoint_id(), application, url, types or ("verification", "delivery"), "sealed", 0)
    return ledger.endpoints.add(made, 100)


@dataclass(frozen=True)
class Request:
    """What a receiver was sent."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> dict:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Receiver:
    """A receiver: it answers each request as the end of its path says, or as ``answer`` does."""

    url: str
    port: int
    requests: list[Request] = field(default_factory=list)
    answers: dict[str, int] = field(default_factory=dict)
    """Status by path; 200 for any other."""
    decide: Callable[[Request], int] | None = None
    """Returns the status of a request instead."""
    at_once: int = 0
    most_at_once: int = 0
    connections: int = 0
    """That are open."""
    slow: float = 0.0
    cut_short: list[int] = field(default_factory=list)
    """Bytes that came of bodies before the caller ended: such calls are no requests (RFC 9112, 8)."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def to(self, path: str) -> list[Request]:
        with self.lock:
            return [one for one in self.requests if one.path == path]


_EARLY = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
_RAW = {
    "close": (b"",),
    "cut": (b"HTTP/1.1 200",),
    "no-http": (b"220 mail.example ESMTP\r\n",),
    "early": (_EARLY + b"HTTP/1.1 204 No Content\r\n\r\n",),
    "drip": (b"", b"HTTP/1.1 200 OK", 0.1),
    "drip-fields": (b"HTTP/1.1 200 OK\r\n", b"X-Slow: 1\r\n", 0.1),
    "drip-busy": (b"HTTP/1.1 503 Busy\r\n", b"X-Slow: 1\r\n", 0.1),
    "endless": (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    "endless-early": (b"", _EARLY),
    "endless-status": (b"HTTP/1.1 200 ", b"x"),
    "endless-busy": (b"HTTP/1.1 429 Busy\r\n", b"X-Long: 1\r\n"),
}
"""Answers by the end of the path: what is sent at once, what again and again, and the seconds between two bytes."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receiver: Receiver

    def do_POST(self) -> None:
        receiver, length = self.receiver, int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            with receiver.lock:
                receiver.cut_short.append(len(body))
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.request_read = Request(self.path, headers, body, time.time())
        with receiver.lock:
            receiver.requests.append(self.request_read)
            receiver.at_once += 1
            receiver.most_at_once = max(receiver.most_at_once, receiver.at_once)
        try:
            time.sleep(receiver.slow)
            self._answer()
        finally:
            with receiver.lock:
                receiver.at_once -= 1

    def _answer(self) -> None:
        match self.path.rpartition("/")[2]:
            case "hang":
                time.sleep(5)
            case "busy":
                self._send(429, {"X-Other": "1", "Retry-after": "600"})
            case "redirect":
                self._send(307, {"Location": self.receiver.url + "/inside"})
            case name if name in _RAW:
                self._stream(*_RAW[name])
            case _:
                decide = self.receiver.decide
                status = decide(self.request_read) if decide else self.receiver.answers.get(self.path, 200)
                self._send(status, {})

    def _stream(self, begin: bytes, repeated: bytes = b"", pause: float = 0.0) -> None:
        """Send bytes, then others again and again: as fast as they are taken, or one by one with a pause between."""
        self.close_connection = True
        self.wfile.write(begin)
        for _ in range(100_000 if repeated else 0):
            for part in [bytes([byte]) for byte in repeated] if pause else [repeated * (65_536 // len(repeated))]:
                self.wfile.write(part)
                time.sleep(pause)

    def _send(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "2", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def handle(self) -> None:
        with self.receiver.lock:
            self.receiver.connections += 1
        try:
            super().handle()
        except OSError:
            self.close_connection = True
        finally:
            with self.receiver.lock:
                self.receiver.connections -= 1


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: callers give up on purpose."""


@contextmanager
def receiving(wrap=None) -> Iterator[Receiver]:
    """Run a receiver on loopback; ``wrap`` puts TLS over its socket."""
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    if wrap:
        server.socket = wrap(server.socket)
    port = server.server_address[1]
    handler.receiver = Receiver(f"{'https' if wrap else 'http'}://127.0.0.1:{port}", port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield handler.receiver
    finally:
        server.shutdown()
        server.server_close()
