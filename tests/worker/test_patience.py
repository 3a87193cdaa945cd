"""Who may wait in a thread for a gateway's turn: for a moment, and never so many that others find no thread."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support_service import eventually

from otp_service.worker.patience import LONGEST, Patience


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def _waiting(patience: Patience, *applications: str, pool: ThreadPoolExecutor) -> None:
    """Let messages wait, one after the other, until all do."""
    for place, application in enumerate(applications):
        pool.submit(patience.wait, application, LONGEST)
        eventually(lambda expected=place + 1: patience._waiting.total() == expected)


def test_a_turn_that_is_near_is_waited_for(stop: threading.Event):
    began = time.monotonic()

    assert Patience(1, stop).wait("shop", 30)
    assert 0.03 <= time.monotonic() - began < 1


@pytest.mark.parametrize("milliseconds", [-1, LONGEST + 1, 3_600_000])
def test_a_turn_that_is_far_or_never_comes_is_not(stop: threading.Event, milliseconds: int):
    began = time.monotonic()

    assert not Patience(1, stop).wait("shop", milliseconds)
    assert time.monotonic() - began < 0.1


def test_one_application_waits_in_its_share_of_the_threads_only(stop: threading.Event):
    patience = Patience(2, stop)
    with ThreadPoolExecutor(4) as pool:
        _waiting(patience, "shop", "shop", pool=pool)
        assert not patience.wait("shop", 10)
        assert patience.wait("bank", 10)
        stop.set()


def test_all_applications_together_leave_half_of_the_threads_to_what_need_not_wait(stop: threading.Event):
    patience = Patience(2, stop)
    with ThreadPoolExecutor(4) as pool:
        _waiting(patience, "shop", "bank", "club", "shop", pool=pool)
        assert not patience.wait("another", 10)
        stop.set()


def test_whoever_has_waited_makes_room(stop: threading.Event):
    patience = Patience(1, stop)

    assert all(patience.wait("shop", 1) for _ in range(5))
    assert not patience._waiting, "applications that are gone are forgotten"


def test_a_worker_that_ends_wakes_those_who_wait(stop: threading.Event):
    patience = Patience(1, stop)
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        waited = pool.submit(patience.wait, "shop", LONGEST)
        eventually(lambda: patience._waiting)
        stop.set()

        assert not waited.result(1)
        assert time.monotonic() - began < LONGEST / 1000
    assert not patience.wait("shop", 1)
