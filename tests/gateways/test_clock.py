"""The one clock of all calls."""

import os
import threading
import time

import pytest

from otp_service.gateways.clock import Clock, set_alarm

PATIENCE = 5.0


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
    clock, late, early = Clock(), Rung(), Rung()
    began = time.monotonic()
    clock.set(0.1, late)
    clock.set(0.05, early)  # the thread already waits for the later one

    assert early.within()
    assert late.within()
    ((early_at, one),), ((late_at, other),) = early.at, late.at
    assert one is other
    assert early_at - began >= 0.05
    assert late_at - began >= 0.1
    assert early_at < late_at


def test_a_stopped_alarm_never_rings_and_is_forgotten_long_before_its_time():
    clock, soon, late, last = Clock(), Rung(), Rung(), Rung()
    for _ in range(100):
        clock.set(0.01, soon).stop()
        clock.set(60.0, late).stop()
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
