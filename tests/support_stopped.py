"""A worker process that stops itself, as SIGSTOP does, when it has taken a job and is about to dispatch it."""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from support_service import PATIENCE, Service, eventually
from support_worker import run_worker

from otp_service import bootstrap
from otp_service.ledger.database import Database
from otp_service.settings import settings_from
from otp_service.worker.worker import stop_on_signals

_LATER = 0.3
"""Seconds by which its main thread, that takes care of its claims, is faster than the one that dispatches."""


class StoppedWorker:
    """A further worker of a service. Starts on construction."""

    def __init__(self, service: Service) -> None:
        self._log = service.folder / "stopped.log"
        keys = {
            "root": service.keys["OTP_SERVICE_ROOT_KEYS"],
            "pseudonym": service.keys["OTP_SERVICE_PSEUDONYM_KEY"],
        }
        settings = {**json.loads(service.config.read_text()), "keys": keys}
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_work, args=(settings, self._log), daemon=True)
        self._process.start()

    def wait_until_it_stands_still(self) -> None:
        eventually(lambda: os.WIFSTOPPED(os.waitpid(self._number, os.WUNTRACED | os.WNOHANG)[1]))

    def go_on(self) -> None:
        os.kill(self._number, signal.SIGCONT)

    def end(self) -> None:
        """Let it finish what it has in its hands."""
        self.go_on()
        self._process.terminate()
        self._process.join(PATIENCE)
        self._process.kill()

    def log(self) -> str:
        return self._log.read_text()

    @property
    def _number(self) -> int:
        assert self._process.pid is not None
        return self._process.pid


@contextmanager
def stopped_worker(service: Service) -> Iterator[StoppedWorker]:
    """Run a worker that will stand still with the first job in its hands."""
    worker = StoppedWorker(service)
    try:
        yield worker
    finally:
        worker.end()


def _work(settings: dict[str, Any], log: Path) -> None:
    os.dup2(os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 1)
    installation = bootstrap.install(settings_from(settings))
    dispatches = installation.context.store.dispatches
    dispatch, signals = dispatches.dispatch, [signal.SIGSTOP]

    def stand_still_first(*given: Any) -> Any:
        if signals:
            with alone:
                os.kill(os.getpid(), signals.pop())
                time.sleep(_LATER)
        return dispatch(*given)

    dispatches.dispatch = stand_still_first  # type: ignore[method-assign]
    alone = _writing_in_turn(installation.context.ledger.database)
    stop = threading.Event()
    stop_on_signals(stop.set)
    run_worker(installation, stop)


def _writing_in_turn(database: Database) -> threading.Lock:
    """Return what a thread holds while it writes into the ledger.

    Who stood still with SQLite's lock in hand would let nobody else write, and no other worker start.
    """
    turn, write = threading.Lock(), database.write

    @contextmanager
    def write_in_turn(**given: Any) -> Iterator[Connection]:
        with turn, write(**given) as connection:
            yield connection

    database.write = write_in_turn  # type: ignore[method-assign]
    return turn
