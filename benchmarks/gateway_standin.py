"""Stand-ins for gateways on the loopback interface.

As a program, ``gateway_standin.py PORT JOURNAL BEHAVIOUR MILLISECONDS SEED``, one takes ``POST``s with a JSON body that
has an ``id``, answers each after so many milliseconds, and writes one line a call into its journal: the id, when the
call came and when it was answered. Of number and text it keeps nothing.
"""

import asyncio
import itertools
import json
import random
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, TextIO

from processes import Process, free_port, wait_for_port

_END_OF_HEAD = b"\r\n\r\n"
_ANSWERS = {True: (b"200 OK", b'{"ok":true}'), False: (b"500 Internal Server Error", b'{"ok":false}')}


class Behaviour(StrEnum):
    """What becomes of a call."""

    ACCEPT = "accept"
    HALF = "half"
    """Accepted or answered with 500, by the toss of a coin."""
    FIFTH = "fifth"
    """Accepted, each fifth after the stand-in's time, the others at once."""
    FAIL = "fail"
    """Answered with 500."""
    SILENT = "silent"
    """Taken, and never answered."""
    ABSENT = "absent"
    """Nobody listens: the connection is refused."""
    DEAF = "deaf"
    """Somebody listens and accepts nobody: packets get no answer, as from a host that is down."""


@dataclass(frozen=True)
class Served:
    """A call as the gateway saw it. Times in seconds of the monotonic clock, which all processes of a host share."""

    dispatch: str
    accepted: bool
    came: float
    answered: float

    @classmethod
    def read(cls, journal: Path) -> list["Served"]:
        """Return what a journal has so far, in order of the answers; a line that is being written is left for later."""
        lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
        return [cls(**json.loads(line)) for line in lines if line.endswith("\n")]


@dataclass(frozen=True)
class StandIn:
    """A gateway of the route."""

    name: str
    behaviour: Behaviour = Behaviour.ACCEPT
    milliseconds: float = 0
    """How long it takes for an answer."""
    timeout: float = 3.0
    """Seconds that the service gives it."""
    per_second: float | None = None
    """Messages that the service gives it at most."""
    program: ClassVar[str] = __file__

    def settings(self, port: int) -> dict[str, Any]:
        """Return its section in the configuration."""
        body = {"id": "{dispatch_id}", "to": "{to}", "text": "{text}"}
        bounds = {"timeout": self.timeout, **({"per_second": self.per_second} if self.per_second else {})}
        return {"kind": "http", "url": f"http://127.0.0.1:{port}/messages", "json": body, **bounds}

    def start(self, stack: ExitStack, folder: Path, seed: int) -> int:
        """Let it be there, or not, until the stack unwinds; return its port."""
        port = free_port()
        if self.behaviour is Behaviour.DEAF:
            _listen_in_vain(stack, port)
        elif self.behaviour is not Behaviour.ABSENT:
            arguments = (port, self._journal(folder), self.behaviour, f"{self.milliseconds:g}", seed)
            Process.start(stack, [sys.executable, self.program, *map(str, arguments)])
            wait_for_port(port)
        return port

    def served(self, folder: Path) -> list[Served]:
        """Return the calls that it answered so far."""
        return Served.read(self._journal(folder))

    def _journal(self, folder: Path) -> Path:
        return folder / f"{self.name}.journal"


def _listen_in_vain(stack: ExitStack, port: int) -> None:
    """Fill the queue of connections that nobody accepts: the kernel drops what comes after."""
    stack.enter_context(socket.create_server(("127.0.0.1", port), backlog=0))
    for _ in range(2):
        filling = stack.enter_context(socket.socket())
        filling.setblocking(False)  # noqa: FBT003 - the socket's own
        filling.connect_ex(("127.0.0.1", port))


class Connection(asyncio.Protocol):
    """One connection: requests one after the other."""

    def __init__(self, accepts: Callable[[], bool | None], delay: Callable[[], float], journal: TextIO) -> None:
        """Let ``accepts`` say what becomes of the next call: taken, failed, or, with ``None``, never answered.

        ``delay`` returns the seconds until its answer.
        """
        self._accepts = accepts
        self._delay = delay
        self._journal = journal
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Collect a request; when it is complete, see to its answer."""
        self._received += data
        head, end, body = self._received.partition(_END_OF_HEAD)
        if not end or len(body) < _length(head):
            return
        self._received = b""
        came, accepted = time.monotonic(), self._accepts()
        if accepted is not None:
            asyncio.get_running_loop().call_later(self._delay(), self._answer, json.loads(body)["id"], came, accepted)

    def _answer(self, dispatch: str, came: float, accepted: bool) -> None:  # noqa: FBT001 - the event loop's call
        # Also when the caller died meanwhile: a provider that has taken a message sends it.
        status, body = _ANSWERS[accepted]
        served = Served(dispatch, accepted, came, time.monotonic())
        self._journal.write(json.dumps(asdict(served)) + "\n")
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))


def _length(head: bytes) -> int:
    """Return the length of the body that a request announces, in bytes."""
    lines = [line.lower() for line in head.split(b"\r\n")]
    return next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")), 0)


def accepting(behaviour: Behaviour, seed: int) -> Callable[[], bool | None]:
    """Return what decides about the calls, one after the other; the same seed decides alike."""
    coin = random.Random(seed)
    return {
        Behaviour.ACCEPT: lambda: True,
        Behaviour.FIFTH: lambda: True,
        Behaviour.FAIL: lambda: False,
        Behaviour.SILENT: lambda: None,
        Behaviour.HALF: lambda: coin.random() >= 0.5,  # noqa: PLR2004 - half
    }[behaviour]


async def serve(port: int, journal: Path, behaviour: Behaviour, delay: float, seed: int) -> None:
    """Serve until the process is ended."""
    decide, count = accepting(behaviour, seed), itertools.count(1)

    def delays() -> float:
        return delay if behaviour is not Behaviour.FIFTH or next(count) % 5 == 0 else 0.0

    with journal.open("a", buffering=1) as lines:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(decide, delays, lines), "127.0.0.1", port, backlog=1024)
        await server.serve_forever()


def main(arguments: Sequence[str]) -> None:
    """Read the arguments and serve."""
    port, journal, behaviour, milliseconds, seed = arguments
    asyncio.run(serve(int(port), Path(journal), Behaviour(behaviour), float(milliseconds) / 1000, int(seed)))


if __name__ == "__main__":
    main(sys.argv[1:])
