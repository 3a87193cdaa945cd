"""What ``serve`` does about processes that come, and processes that go."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection, wait

from granian.server.mp import WorkerProcess

from otp_service.cli.leaving import FAREWELL, LEAVE, READY

START_WITHIN = 60.0
"""Seconds that a process may take to be ready."""
_GLANCE = 0.05


def becomes_ready(process: WorkerProcess, line: Connection, is_over: Callable[[], bool]) -> bool:
    """Wait until a process says that it is ready; tell whether it did, in time and before all is over."""
    end = time.monotonic() + START_WITHIN
    with suppress(EOFError, OSError):  # it has ended
        while process.inner.is_alive() and time.monotonic() < end and not is_over():
            if line.poll():
                return line.recv_bytes() == READY
            time.sleep(_GLANCE)  # the wait of an event would hold a lock that the handler of a signal needs
    return False


def send_off(line: Connection) -> None:
    """Ask the process at the other end to leave."""
    _say(line, LEAVE)


def bid_farewell(line: Connection) -> None:
    """Let the process at the other end tell everybody that it is about to end."""
    _say(line, FAREWELL)


def _say(line: Connection, word: bytes) -> None:
    with suppress(OSError):  # it has ended
        line.send_bytes(word)


def see_off(processes: Iterable[WorkerProcess], seconds: float) -> None:
    """Wait until processes that were asked to leave have ended; kill those that have not after so many seconds."""
    end = time.monotonic() + seconds
    for process in processes:
        if not wait([process.inner.sentinel], max(0.0, end - time.monotonic())):
            process.inner.kill()
