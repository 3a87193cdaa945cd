"""Messages that wait for a gateway's turn in a worker's hands: in their order, queue by queue, without a thread."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from support_jobs import job, names

from otp_service.worker.jobs import DeferredJobs

APART = 0.005


@dataclass
class Clock:
    """The monotonic clock as `DeferredJobs` sees it; it stands still until it is moved."""

    now: float = 1000.0

    def move(self, seconds: float) -> None:
        """Move it, and a microsecond more: sums of seconds are not exact."""
        self.now += seconds + 1e-6


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("otp_service.worker.jobs.time", SimpleNamespace(monotonic=lambda: made.now))
    return made


@pytest.fixture
def holding(clock: Clock) -> DeferredJobs:
    return DeferredJobs(3)


def _all_due(holding: DeferredJobs, clock: Clock) -> list[str]:
    """Return all that goes on, one after the other."""
    found = []
    while math.isfinite(holding.seconds_to_next()):
        clock.move(holding.seconds_to_next())
        found += names(holding.take_due())
    return found


def test_nothing_is_held_at_first(holding: DeferredJobs):
    assert holding.take_due() == holding.take_all() == []
    assert holding.full_queues() == ()
    assert holding.seconds_to_next() == math.inf


def test_a_job_goes_on_when_its_time_has_come_and_not_before(holding: DeferredJobs, clock: Clock):
    holding.hold(job("one"), 200)
    assert holding.seconds_to_next() == pytest.approx(0.2)
    clock.move(0.199)
    assert holding.take_due() == []
    clock.move(0.001)

    assert names(holding.take_due()) == ["one"]
    assert holding.take_due() == []
    assert holding.seconds_to_next() == math.inf


def test_what_is_due_is_not_waited_for(holding: DeferredJobs, clock: Clock):
    holding.hold(job("one"), 200)
    clock.move(5)

    assert holding.seconds_to_next() == 0


def test_the_first_to_come_is_the_first_to_go_on_whoever_was_held_first(holding: DeferredJobs, clock: Clock):
    for name, queued in (("second", 20), ("fourth", 40), ("first", 10), ("third", 30)):
        holding.hold(job(name, queued=queued), 100)

    assert _all_due(holding, clock) == ["first", "second", "third", "fourth"]


def test_one_that_was_held_before_takes_its_place_at_the_front_again(holding: DeferredJobs, clock: Clock):
    for name, queued in (("first", 10), ("second", 20), ("third", 30)):
        holding.hold(job(name, queued=queued), 100)
    clock.move(0.1)
    (first,) = holding.take_due()
    holding.hold(first, 100)

    assert _all_due(holding, clock) == ["first", "second", "third"]


def test_the_queue_whose_turn_is_next_is_waited_for(holding: DeferredJobs):
    for queue, milliseconds in (("a", 300), ("b", 50), ("c", 700)):
        holding.hold(job(queue, queue=queue), milliseconds)

    assert holding.seconds_to_next() == pytest.approx(0.05)


def test_of_those_that_came_at_once_the_first_in_the_queue_is_the_first_to_go_on(holding: DeferredJobs, clock: Clock):
    jobs = [job(name, queued=10) for name in ("a", "b", "c")]
    for one in (jobs[1], jobs[2], jobs[0]):
        holding.hold(one, 100)

    assert _all_due(holding, clock) == ["a", "b", "c"]


def test_of_a_queue_one_goes_on_at_a_time(holding: DeferredJobs, clock: Clock):
    """Its answer tells the others how long to wait."""
    holding.hold(job("first", queued=1), 100)
    holding.hold(job("second", queued=2), 100)
    clock.move(0.1)
    assert names(holding.take_due()) == ["first"]
    assert holding.take_due() == []
    assert holding.seconds_to_next() == pytest.approx(APART, abs=1e-5)
    clock.move(APART)

    assert names(holding.take_due()) == ["second"]


def test_what_one_is_told_to_wait_holds_all_of_its_queue_and_no_other(holding: DeferredJobs, clock: Clock):
    holding.hold(job("first", queued=1), 50)
    holding.hold(job("other", queue="another"), 50)
    holding.hold(job("second", queued=2), 300)
    clock.move(0.05)
    assert names(holding.take_due()) == ["other"]
    assert holding.seconds_to_next() == pytest.approx(0.25, abs=1e-5)
    clock.move(0.25)

    assert names(holding.take_due()) == ["first"]


def test_a_shorter_wait_brings_no_turn_forward(holding: DeferredJobs, clock: Clock):
    holding.hold(job("first", queued=1), 300)
    holding.hold(job("second", queued=2), 1)
    clock.move(0.299)

    assert holding.take_due() == []


def test_one_of_each_queue_goes_on(holding: DeferredJobs, clock: Clock):
    for queue in ("a", "b", "c"):
        holding.hold(job(f"{queue}1", queue=queue, queued=1), 10)
        holding.hold(job(f"{queue}2", queue=queue, queued=2), 10)
    clock.move(0.01)

    assert sorted(names(holding.take_due())) == ["a1", "b1", "c1"]


def test_the_next_of_a_queue_is_had_before_its_time_when_another_one_has_ended(holding: DeferredJobs):
    holding.hold(job("second", queued=2), 600, frozenset({"a", "b"}))
    holding.hold(job("first", queued=1), 600, frozenset({"a", "b"}))
    holding.hold(job("other", queue="another"), 600, frozenset({"c"}))

    assert names([holding.take_next(("b", "d")), holding.take_next(("a",))]) == ["first", "second"]
    assert holding.take_next(("a", "b")) is None
    assert math.isfinite(holding.seconds_to_next()), "the other queue waits on, for another gateway"


def test_queues_take_turns_where_another_one_has_ended(holding: DeferredJobs):
    for place in range(3):
        holding.hold(job(f"a{place}", queue="a", queued=place), 600, frozenset({"gateway"}))
    holding.hold(job("b0", queue="b", queued=9), 600, frozenset({"gateway"}))

    assert names([holding.take_next(("gateway",)) for _ in range(4)]) == ["a0", "b0", "a1", "a2"]


def test_after_one_that_went_on_before_its_time_the_next_one_waits_for_its_answer_only(
    holding: DeferredJobs, clock: Clock
):
    holding.hold(job("first", queued=1), 300, frozenset({"gateway"}))
    holding.hold(job("second", queued=2), 300, frozenset({"gateway"}))
    holding.take_next(("gateway",))
    assert holding.take_due() == []
    clock.move(APART)

    assert names(holding.take_due()) == ["second"]


def test_a_queue_is_forgotten_with_its_last_job(holding: DeferredJobs, clock: Clock):
    holding.hold(job("one"), 600)
    clock.move(0.6)
    holding.take_due()
    holding.hold(job("two"), 100)

    assert holding.seconds_to_next() == pytest.approx(0.1), "the time of the first is no matter of the second's"


def test_from_a_queue_with_a_message_that_nobody_was_called_for_nothing_more_is_taken(
    holding: DeferredJobs, clock: Clock
):
    """Those behind it would wait for the same: in the outbox they keep their order and their age."""
    holding.hold(job("one"), 100)
    holding.hold(job("other", queue="another", called=("first",)), 100)
    assert holding.full_queues() == ("queue",)
    clock.move(0.1)
    holding.take_due()

    assert holding.full_queues() == ()


def test_messages_that_somebody_was_called_for_stop_their_queue_when_there_are_many(holding: DeferredJobs):
    """They wait for another gateway than those behind them will; but a worker's hands are not endless."""
    for place in range(2):
        holding.hold(job(f"{place}", queued=place, called=("first",)), 100)
    assert holding.full_queues() == ()
    holding.hold(job("third", queued=3, called=("first",)), 100)

    assert holding.full_queues() == ("queue",)


def test_a_message_that_nobody_was_called_for_stops_its_queue_wherever_it_stands(holding: DeferredJobs):
    holding.hold(job("first", queued=1, called=("first",)), 100)
    holding.hold(job("second", queued=2), 100)

    assert holding.full_queues() == ("queue",)


def test_all_are_let_go_in_their_order(holding: DeferredJobs):
    for name, queued in (("second", 20), ("first", 10)):
        holding.hold(job(name, queued=queued), 100)
    holding.hold(job("other", queue="another"), 100)

    assert names(holding.take_all()) == ["first", "second", "other"]
    assert holding.take_all() == []
    assert holding.full_queues() == ()
    assert holding.seconds_to_next() == math.inf


def test_threads_hold_and_the_loop_lets_go_and_none_is_lost_or_doubled():
    holding, found, stop = DeferredJobs(1000), [], threading.Event()

    def hold(place: int) -> None:
        holding.hold(job(f"{place}", queue=f"queue-{place % 7}", queued=place), place % 3)

    def let_go() -> None:
        while not stop.is_set() or math.isfinite(holding.seconds_to_next()):
            found.extend(names(holding.take_due()))

    with ThreadPoolExecutor(5) as pool:
        loop = pool.submit(let_go)
        list(pool.map(hold, range(500)))
        stop.set()
        loop.result(30)

    assert sorted(found, key=int) == [f"{place}" for place in range(500)]
