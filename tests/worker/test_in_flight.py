"""The jobs in a worker's hands: which of them keep a thread busy, and that all of them are shown to be alive."""

import threading
import time
from dataclasses import replace

import pytest
from support_jobs import job, names

from otp_service.worker.jobs import InFlight, Periodic


@pytest.fixture
def in_flight() -> InFlight:
    return InFlight()


def test_a_job_that_is_new_keeps_a_thread_busy(in_flight: InFlight):
    assert in_flight.add(job("one"))
    assert in_flight.add(job("two"))

    assert in_flight.busy == 2
    assert names(in_flight.jobs()) == ["one", "two"]


def test_a_job_that_is_in_hand_is_not_new(in_flight: InFlight):
    """A worker that was silent for too long may claim what it has itself."""
    one = job("one")
    assert in_flight.add(one)
    assert not in_flight.add(replace(one, consumer="the same worker"))
    in_flight.pause(one)
    assert not in_flight.add(one)

    assert in_flight.busy == 0
    assert in_flight.add(replace(one, queue="another")), "entries of two queues may have the same name"


def test_a_job_that_is_brought_to_an_end_is_new_when_it_comes_again(in_flight: InFlight):
    one = job("one")
    in_flight.add(one)
    in_flight.remove(one)

    assert in_flight.busy == 0
    assert in_flight.jobs() == []
    assert in_flight.add(one)


def test_a_job_that_is_paused_leaves_its_thread_and_stays_in_hand(in_flight: InFlight):
    one = job("one")
    in_flight.add(one)
    in_flight.add(job("two"))
    in_flight.pause(one)

    assert in_flight.busy == 1
    assert names(in_flight.jobs()) == ["one", "two"], "both are shown to be alive"


def test_a_job_that_goes_on_keeps_a_thread_busy_again(in_flight: InFlight):
    one = job("one")
    in_flight.add(one)
    in_flight.pause(one)
    in_flight.resume(one)

    assert in_flight.busy == 1
    in_flight.remove(one)
    assert in_flight.busy == 0
    assert in_flight.jobs() == []


def test_a_job_that_is_paused_is_kept_as_it_is_then(in_flight: InFlight):
    one = job("one")
    in_flight.add(one)
    in_flight.pause(replace(one, called=frozenset({"first"})))

    assert in_flight.jobs()[0].called == {"first"}


@pytest.mark.parametrize("end", ["remove", "pause"])
def test_who_waits_for_a_free_thread_goes_on_as_soon_as_there_is_one(in_flight: InFlight, end: str):
    one, told = job("one"), []
    in_flight.add(one)
    in_flight.add(job("two"))
    waiting = threading.Thread(target=lambda: told.append(in_flight.wait_below(2, 30)))
    waiting.start()
    time.sleep(0.02)
    began = time.monotonic()
    assert not told
    getattr(in_flight, end)(one)
    waiting.join(30)

    assert told == [1]
    assert time.monotonic() - began < 10, "woken, not timed out"


def test_who_waits_is_told_how_many_are_busy_when_the_time_is_over(in_flight: InFlight):
    in_flight.add(job("one"))

    assert in_flight.wait_below(1, 0.01) == 1
    assert in_flight.wait_below(2, 30) == 1, "one is free already"


def test_what_is_done_now_and_then_is_done_once_in_its_time(monkeypatch: pytest.MonkeyPatch):
    now, done = [100.0], []
    monkeypatch.setattr("otp_service.worker.jobs.time.monotonic", lambda: now[0])
    duty = Periodic(5, lambda: done.append(now[0]))
    for moment in (100.0, 102.0, 104.9, 105.0, 105.1, 120.0, 124.0):
        now[0] = moment
        duty.run_if_due()
    monkeypatch.undo()

    assert done == [100.0, 105.0, 120.0]
