"""The one clock of all calls."""

import os
import queue
import threading
import time

import pytest

from otp_service.gateways.http_client import Clock, set_alarm

PATIENCE = 30.0
"""Seconds that a busy machine may take for what is about to happen."""


class Rung:
    """What an alarm does in these tests: it notes when, and in which thread."""

    def __init__(self):
        self.at = []
        self._once = threading.Event()

    def __call__(self):
        self.at.append((time.monotonic(), threading.current_thread()))
        self._once.set()

    def within(self, seconds=PATIENCE):
        return self._once.wait(seconds)


def test_alarms_ring_in_the_order_of_their_deadlines_in_one_thread_and_not_too_early():
    clock = Clock()
    rungs = [Rung() for _ in range(3)]
    alarms = [clock.set(seconds, rung) for seconds, rung in zip((0.1, 0.05, 0.07), rungs, strict=True)]

    assert all(rung.within() for rung in rungs)
    assert len({thread for rung in rungs for _, thread in rung.at}) == 1
    # Between two settings this thread may have had to wait: the order is that of the deadlines, not of the seconds.
    times = [(alarm.deadline, *(at for at, _ in rung.at)) for alarm, rung in zip(alarms, rungs, strict=True)]
    assert [rang for _, rang in sorted(times)] == sorted(rang for _, rang in times)
    assert [deadline for deadline, rang in times if rang < deadline] == []


def test_an_alarm_rings_in_time_though_the_thread_waits_for_a_later_one_already():
    clock, late, early = Clock(), Rung(), Rung()
    waits, wait = queue.SimpleQueue(), clock._changed.wait
    clock._changed.wait = lambda seconds: (waits.put(seconds), wait(seconds))
    clock.set(1000 * PATIENCE, late)
    waits.get(timeout=PATIENCE)
    with clock._changed:  # the thread let go of it: it waits
        pass
    clock.set(0.01, early)

    assert early.within()
    assert late.at == []


def test_a_stopped_alarm_never_rings_and_is_forgotten_long_before_its_time():
    clock, soon, late, last = Clock(), Rung(), Rung(), Rung()
    for _ in range(100):
        with clock._changed:  # however long this thread has to wait: nothing rings before it is stopped
            clock.set(0.01, soon).stop()
        clock.set(1000 * PATIENCE, late).stop()
    clock.set(0.02, last)

    assert last.within()
    assert soon.at == late.at == []
    with clock._changed:
        assert clock._alarms == []


def test_a_clock_with_nothing_left_to_do_takes_up_its_work_again():
    clock, first, second = Clock(), Rung(), Rung()
    clock.set(0.0, first)
    assert first.within()
    clock.set(0.0, second)

    assert second.within()
    assert first.at[0][1] is second.at[0][1]


def test_a_thousand_calls_share_the_thread():
    before = threading.active_count()
    alarms = [set_alarm(60.0, Rung()) for _ in range(1000)]
    for alarm in alarms:
        alarm.stop()

    assert threading.active_count() <= before + 1


def test_to_stop_an_alarm_waits_for_it_while_it_rings():
    clock, begun, go, done = Clock(), threading.Event(), threading.Event(), []

    def act():
        begun.set()
        go.wait(PATIENCE)
        done.append("rung")

    alarm = clock.set(0.0, act)
    assert begun.wait(PATIENCE)
    stopping = threading.Thread(target=lambda: (alarm.stop(), done.append("stopped")))
    stopping.start()
    stopping.join(0.05)
    assert done == []
    go.set()
    stopping.join(PATIENCE)

    assert done == ["rung", "stopped"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_a_clock_of_its_own_even_if_the_lock_was_held():
    set_alarm(60.0, Rung())  # the parent's clock runs
    reading, writing = os.pipe()
    held = set_alarm(60.0, Rung())
    with held._lock:
        child = os.fork()
        if not child:
            rung = Rung()
            set_alarm(0.0, rung)
            os.write(writing, b"rung" if rung.within() else b"silent")
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)

    assert os.read(reading, 16) == b"rung"
    os.close(reading)
