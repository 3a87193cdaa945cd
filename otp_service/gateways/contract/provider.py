"""A stand-in for the provider: a real HTTP server on this host that answers as it is told, and misbehaves."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast
from urllib.parse import parse_qsl, urlsplit

from otp_service.gateways.contract.samples import CannedResponse

STAMINA = 1.6
"""Seconds for which the stand-in misbehaves: longer than a good gateway waits, and a bad one hangs no suite."""


class Manner(StrEnum):
    """How the stand-in answers."""

    CANNED = "canned"
    ECHO = "echo"
    """It repeats the whole request in its answer."""
    SILENT = "silent"
    DRIP = "drip"
    """It sends a byte of a header now and then."""
    FLOOD = "flood"
    """It sends a body that is far too long."""
    CUT = "cut"
    """It takes the request and closes the connection."""


@dataclass(frozen=True)
class Received:
    """One request as the provider saw it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    target: str = ""
    """Path and query as they were asked for."""

    @property
    def form(self) -> dict[str, str]:
        """The body read as a form."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True))

    @property
    def document(self) -> Any:  # noqa: ANN401 - whatever JSON is
        """The body read as JSON."""
        return json.loads(self.body)


class Provider(ThreadingHTTPServer):
    """The stand-in; it serves between entering and leaving."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.received: list[Received] = []
        self.manner = Manner.CANNED
        self.response = CannedResponse()
        self.leaving = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leaving.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Say nothing: gateways hang up on a stand-in that misbehaves."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        provider = cast("Provider", self.server)
        self.close_connection = True
        received = self._read()
        provider.received.append(received)
        with suppress(OSError):
            _MANNERS[provider.manner](self, provider, received)

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def reply(self, response: CannedResponse) -> None:
        body = response.body.encode()
        self.send_response(response.status)
        for name, value in {"Content-Length": str(len(body)), "Connection": "close", **response.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _read(self) -> Received:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        return Received(self.command, url.path, query, headers, body, self.path)


def _echo(handler: _Handler, provider: Provider, received: Received) -> None:
    told = {"url": handler.path, "headers": received.headers, "body": received.body.decode(errors="replace")}
    members: dict[str, str] = {}
    with suppress(ValueError):  # it need not be a form
        members = received.form
    body = json.dumps({"message": f"{told}", "sid": f"{told}", **members, **told}, ensure_ascii=False)
    handler.reply(CannedResponse(status=provider.response.status, body=body))


def _stream(handler: _Handler, provider: Provider, pause: float, piece: bytes) -> None:
    end = time.monotonic() + STAMINA
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: " + (b"" if len(piece) == 1 else b"no\r\n\r\n"))
    while time.monotonic() < end and not provider.leaving.wait(pause):
        handler.wfile.write(piece)


_MANNERS: dict[Manner, Callable[[_Handler, Provider, Received], object]] = {
    Manner.CANNED: lambda handler, provider, _: handler.reply(provider.response),
    Manner.ECHO: _echo,
    Manner.SILENT: lambda _, provider, __: provider.leaving.wait(STAMINA),
    Manner.DRIP: lambda handler, provider, _: _stream(handler, provider, 0.02, b"x"),
    Manner.FLOOD: lambda handler, provider, _: _stream(handler, provider, 0.005, b"x" * 65_536),
    Manner.CUT: lambda *_: None,
}
