"""HTTP for the sink, of the standard library alone: requests one after the other on each connection, and posts."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_LONGEST_BODY = 64 * 1024
_TIMEOUT = 5.0
"""Seconds that a post may take."""


@dataclass(frozen=True)
class Request:
    """What somebody asks."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the body, which is a JSON object."""
        return dict(json.loads(self.body))


@dataclass(frozen=True)
class Answer:
    """What is answered: a status, and text or JSON."""

    status: int
    content: Any = None

    def encoded(self) -> bytes:
        """Return it as it goes over the wire."""
        plain = isinstance(self.content, str)
        body = (self.content if plain else json.dumps(self.content)).encode()
        kind = "text/plain; charset=utf-8" if plain else "application/json"
        head = f"HTTP/1.1 {self.status} -\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


Handler = Callable[[Request], Awaitable[Answer]]


async def serve(host: str, port: int, handler: Handler) -> None:
    """Answer requests until the process is ended."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await _read(reader):
                writer.write((await handler(request)).encoded())
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass  # the caller has gone, or does not speak HTTP
        finally:
            writer.close()

    server = await asyncio.start_server(connected, host, port, backlog=1024)
    await server.serve_forever()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """Return the next request, or nothing when there is none any more."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    line, *headers = head.split("\r\n")
    method, target, _ = line.split(" ", 2)
    length = min(_length(headers), _LONGEST_BODY)
    parts = urlsplit(target)
    return Request(method, parts.path, dict(parse_qsl(parts.query)), await reader.readexactly(length))


def _length(headers: list[str]) -> int:
    named = (header.partition(":") for header in headers)
    return next((int(value) for name, _, value in named if name.lower() == "content-length"), 0)


async def post(url: str, content: dict[str, str]) -> int:
    """Post JSON and return the status; 0 without an answer."""
    parts, body = urlsplit(url), json.dumps(content)
    head = (
        f"POST {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    try:
        async with asyncio.timeout(_TIMEOUT):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
            writer.write((head + body).encode())
            status = (await reader.readline()).split(b" ")
            writer.close()
    except (OSError, TimeoutError):
        return 0
    return int(status[1]) if len(status) > 1 else 0
