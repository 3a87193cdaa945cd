"""How a server process gives way to its successor without a caller noticing.

Granian's own way is to close, at once, every connection on which no request is being answered: among them those on
which one is on its way, and those that it accepted this moment. Here the process accepts no more, says with each
further answer that the connection ends with it, and ends when it has none any more. (Without ``/proc`` it goes
granian's way.) A process without a successor, whose server ends, says farewell before that: it goes on to accept and to
answer, closes connections in the same way, and tells proxies that it is not ready.
"""

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from otp_service.api.exchange import ENDS

READY, FAREWELL, LEAVE = b"ready", b"farewell", b"leave"
"""What process and parent say to each other."""
IDLE = 30
"""Seconds after which the server closes a connection that is not used, at any time."""
PATIENCE = IDLE + 1
"""Seconds after which no connection is left, but where a request takes that long."""
_GLANCE = 0.05
_LOOKS = 3
"""So often in a row must there be no connection: one may be between the kernel and the server."""
_DESCRIPTORS = Path("/proc/self/fd")


class Leaving:
    """A WSGI application that can be left."""

    def __init__(self, application: WSGIApplication, port: int) -> None:
        self._application = application
        self._port = port
        self._leaves = False
        self._ends = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:  # noqa: ANN401 - WSGI's
        """Answer a request."""
        if self._ends:
            environ[ENDS] = True
        closes = self._leaves or self._ends
        return self._application(environ, _closing(start_response) if closes else start_response)

    def obey(self, line: Connection) -> None:
        """Tell the parent that all is ready, and leave when it says so."""
        threading.Thread(target=self._obey, args=(line,), name="leaving", daemon=True).start()

    def _obey(self, line: Connection) -> None:
        with suppress(EOFError, OSError):  # the parent has ended, and this process will
            line.send_bytes(READY)
            while (asked := line.recv_bytes()) != LEAVE:
                self._ends = asked == FAREWELL
            self._leave()

    def _leave(self) -> None:
        self._leaves = True
        end, looks = time.monotonic() + PATIENCE, 0
        while looks < _LOOKS and time.monotonic() < end:
            accept_no_more()  # each time: where this was asked early, the server begins only now
            looks = 0 if is_connected(self._port) else looks + 1
            time.sleep(_GLANCE)
        os.kill(os.getpid(), signal.SIGTERM)  # granian lets requests that still run come to their end


def _closing(start_response: StartResponse) -> StartResponse:
    def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:  # noqa: ANN401 - WSGI's
        return start_response(status, [*headers, ("Connection", "close")], *exc_info)

    return start


def accept_no_more() -> None:
    """Let the server never hear again that somebody waits at its sockets.

    It has no way of its own to accept nobody and go on to answer. Who waits is accepted by the successor, which listens
    at the same sockets.
    """
    pollers = list(_pollers())
    for listener in _listeners():
        for poller in pollers:
            with suppress(OSError):  # this is not the one that watches it
                poller.unregister(listener)
    for poller in pollers:
        poller.close()


def is_connected(port: int) -> bool:
    """Tell whether anybody is connected to a port of this process."""
    return any(not _listens(found) and found.getsockname()[1] == port for _, found in _sockets())


def _listeners() -> Iterator[int]:
    return (descriptor for descriptor, found in _sockets() if _listens(found))


def _listens(found: socket.socket) -> bool:
    return bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _pollers() -> Iterator["select.epoll"]:
    return (select.epoll.fromfd(os.dup(number)) for number in _descriptors("anon_inode:[eventpoll]"))


def _sockets() -> Iterator[tuple[int, socket.socket]]:
    """Yield the number of each TCP socket of this process, and a copy, which is closed after its turn."""
    for number in _descriptors("socket:"):
        with suppress(OSError), socket.socket(fileno=os.dup(number)) as found:
            if found.family in {socket.AF_INET, socket.AF_INET6}:
                yield number, found


def _descriptors(kind: str) -> Iterator[int]:
    for entry in _DESCRIPTORS.iterdir() if _DESCRIPTORS.is_dir() else ():
        with suppress(OSError):  # it was closed meanwhile
            if str(entry.readlink()).startswith(kind):
                yield int(entry.name)
