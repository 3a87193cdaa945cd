"""Calls that ask the ledger: few at a time, so that a database that is away leaves threads to starts and checks."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Blueprint

from otp_service.errors import LedgerUnavailableError

PATIENCE = 0.2
"""Seconds that a call waits for its turn: many times what one takes while the ledger answers."""


class Turns:
    """The turns of one process. Who has one for longer than that is taken to wait for a database that is away."""

    def __init__(self, most: int) -> None:
        self._free = threading.Semaphore(most)
        self._begun: dict[int, float] = {}
        self._lock = threading.Lock()

    def take(self) -> None:
        """Take a turn; raise `LedgerUnavailableError` when it does not come.

        It is waited for only where it may come soon: otherwise all threads would wait, one after the other.
        """
        if not self._free.acquire(blocking=False) and not (self._moves() and self._free.acquire(timeout=PATIENCE)):
            raise LedgerUnavailableError("Too many wait for the ledger.")
        with self._lock:
            self._begun[threading.get_ident()] = time.monotonic()

    def end(self) -> None:
        """Give it back, if this thread has one."""
        with self._lock:
            had = self._begun.pop(threading.get_ident(), None)
        if had is not None:
            self._free.release()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold a turn for a while; raise `LedgerUnavailableError` when it does not come."""
        self.take()
        try:
            yield
        finally:
            self.end()

    def _moves(self) -> bool:
        with self._lock:
            oldest = min(self._begun.values(), default=time.monotonic())
        return time.monotonic() - oldest < PATIENCE


def bound(routes: Blueprint, turns: Turns) -> Blueprint:
    """Let the calls of a resource take a turn each; return the routes."""

    def end_turn(_: BaseException | None) -> None:
        turns.end()

    routes.before_request(turns.take)
    routes.teardown_request(end_turn)
    return routes
