"""Redis goes away under load, in each way that it can, and comes back: what callers and workers see of it."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from support_cli import family
from support_crowd import CHECKED, STARTED, Crowd
from support_rotation import FREE
from support_service import Service, eventually, running
from support_valkey import ValkeyServer

from otp_service.store.library import library

IN_TIME = 1.5
"""Seconds within which everybody is answered, whatever Redis does."""
BACK_WITHIN = 2.0
"""Seconds after its return from which on all is as before."""
AWAY = 3.0
BEFORE = 1.0
"""Seconds of load before it leaves: enough to start and to check."""
FILE = ("--appendonly", "yes", "--appendfsync", "always")


class Refusing:
    """The process ends; it comes back with its data."""

    options = FILE
    keeps_data = True

    def leave(self, valkey: ValkeyServer) -> None:
        valkey.stop(kill=True)

    def come_back(self, valkey: ValkeyServer) -> None:
        valkey.start()


class Hanging(Refusing):
    """It takes connections and questions, and answers none."""

    options = ()

    def leave(self, valkey: ValkeyServer) -> None:
        os.kill(valkey.process.pid, signal.SIGSTOP)

    def come_back(self, valkey: ValkeyServer) -> None:
        os.kill(valkey.process.pid, signal.SIGCONT)


class Emptied(Refusing):
    """It comes back without data, functions, and what the functions were taught."""

    options = ()
    keeps_data = False


@pytest.mark.timeout(180)
@pytest.mark.parametrize("absence", [Refusing(), Hanging(), Emptied()], ids=lambda one: type(one).__name__)
def test_redis_goes_away_under_load_and_comes_back(tmp_path: Path, absence: Refusing):
    valkey = ValkeyServer(tmp_path, options=absence.options)
    try:
        with running(tmp_path, valkey, workers=1, limits=FREE) as service:
            before = service.start("+923451234567")
            code = service.code(before)
            with Crowd(service, 8) as crowd:
                time.sleep(BEFORE)
                left = _now(lambda: absence.leave(valkey))
                time.sleep(AWAY)
                asked = time.monotonic()
                returned = _now(lambda: absence.come_back(valkey))
                time.sleep(BACK_WITHIN + 1)
            _judge(crowd, left, asked, returned)
            assert library().name.encode() in {one[1] for one in valkey.client.function_list()}
            _assert_delivers(service)
            if absence.keeps_data:
                assert service.check(before, code)["valid"]
            else:
                answer = service.post(f"/v1/verifications/{before}/check", {"code": code})
                assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    finally:
        if valkey.process.poll() is None:
            os.kill(valkey.process.pid, signal.SIGCONT)
        valkey.stop(kill=True)


@pytest.mark.timeout(120)
def test_a_process_that_replaces_another_while_redis_is_away_waits_for_it(tmp_path: Path):
    valkey = ValkeyServer(tmp_path, options=FILE)
    try:
        with running(tmp_path, valkey, workers=0, limits=FREE) as service:
            eventually(lambda: service.told("serving"))
            (serve,) = service.children
            valkey.stop(kill=True)
            os.kill(_server_processes(serve.pid)[0], signal.SIGKILL)
            eventually(lambda: service.told("start_waits") >= 2)
            assert serve.poll() is None, "granian ends it where one that replaces another ends as well"
            valkey.start()
            os.kill(_server_processes(serve.pid)[0], signal.SIGKILL)  # the one that is left from before
            eventually(lambda: _is_ready(service))
            assert service.start()
    finally:
        valkey.stop(kill=True)


def _is_ready(service: Service) -> bool:
    with suppress(requests.ConnectionError):
        return service.get("/readyz").ok
    return False


def _server_processes(serve: int) -> list[int]:
    """Return the server processes of ``serve``, the oldest first."""
    commands = {one: Path(f"/proc/{one}/cmdline").read_bytes() for one in family(serve)}
    return sorted(one for one, command in commands.items() if b"--multiprocessing-fork" in command)


def _now(act: Callable[[], None]) -> float:
    act()
    return time.monotonic()


LATER = {
    ("store-unavailable", "1"),
    ("overloaded", "1"),
    ("ledger-unavailable", "1"),
    ("backlog-full", "5"),  # for a moment after it: what waited meanwhile seems to move slowly
}
"""Every 503 says when to come again."""


def _judge(crowd: Crowd, left: float, asked: float, returned: float) -> None:
    """Look at what callers saw: until Redis left, while it was away, and since it is back."""
    away = [one for one in crowd.answers if one.sent > left and one.came < asked]
    back = crowd.since(returned)
    assert crowd.failures == []
    assert max(one.seconds for one in crowd.answers) < IN_TIME
    assert {one.what for one in crowd.answers if one.came < left - 0.1} == {STARTED, CHECKED}
    assert len(away) > 20, "they went on to call"
    assert {one.what for one in away} <= {(503, "store-unavailable"), (503, "overloaded")}
    assert {one.status for one in crowd.answers} <= {200, 201, 503, 404}
    assert {(one.code, one.retry_after) for one in crowd.answers if one.status == 503} <= LATER
    assert {one.what for one in back if one.sent > returned + BACK_WITHIN} == {STARTED, CHECKED}
    for call, answer in (("start", STARTED), ("check", CHECKED)):
        first = min(one.came for one in back if one.call == call and one.what == answer)
        assert first - returned < BACK_WITHIN, call


def _assert_delivers(service: Service) -> None:
    """The worker is back, too, and so are both processes: a code arrives, and is accepted, again and again."""
    eventually(lambda: service.get("/readyz").json()["details"]["worker_age"] is not None)
    for number in range(8):
        verification = service.start(f"+92345765432{number}")
        assert service.check(verification, service.code(verification))["valid"]
