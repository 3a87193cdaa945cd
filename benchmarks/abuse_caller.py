"""Calls of the API that cost next to nothing: the simulation shares its cores with the service."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service answered."""

    status: int
    body: dict[str, Any]


class _Connection(asyncio.Protocol):
    """A connection that is kept: one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._received = b""
        self._answer: asyncio.Future[Answer] | None = None

    @property
    def usable(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, _reason: Exception | None) -> None:
        self.transport = None
        if self._answer and not self._answer.done():
            self._answer.set_exception(ConnectionError("The service closed a connection in the middle of a request."))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(_END_OF_HEAD)
        if end and self._answer and len(body) >= _length(head):
            self._received = b""
            self._answer.set_result(Answer(int(head[9:12]), json.loads(body)))

    def send(self, request: bytes) -> asyncio.Future[Answer]:
        assert self.transport is not None  # noqa: S101 - the caller has looked
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answer


class Caller:
    """Posts to the API over connections that are kept."""

    def __init__(self, port: int, api_keys: Mapping[str, str], connections: int = 64) -> None:
        """Take the port, and the API keys by application; open at most so many connections."""
        self._port = port
        self._heads = {
            name: f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
            for name, key in api_keys.items()
        }
        self._free: list[_Connection] = []
        self._room = asyncio.Semaphore(connections)

    async def post(self, path: str, application: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Post, and return the answer."""
        content = json.dumps(body) if body is not None else ""
        head = f"POST {path} HTTP/1.1\r\n{self._heads[application]}Content-Length: {len(content)}\r\n\r\n"
        async with self._room:
            connection = await self._connection()
            answer = await connection.send((head + content).encode())
            self._free.append(connection)
        return answer

    def close(self) -> None:
        """Close all connections."""
        for connection in self._free:
            if connection.transport:
                connection.transport.close()

    async def _connection(self) -> _Connection:
        while self._free:
            connection = self._free.pop()
            if connection.usable:
                return connection
        _, made = await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", self._port)
        return made


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line[:15].lower() == b"content-length:":
            return int(line[15:])
    return 0
