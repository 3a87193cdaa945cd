"""The one timer of all calls."""

import os
import queue
import threading
import time

import pytest

from otp_service.gateways.http_client import DeadlineTimer, set_deadline

PATIENCE = 30.0
"""Seconds that a busy machine may take for what is about to happen."""


class Recorder:
    """What a deadline does in these tests: it notes when, and in which thread."""

    def __init__(self):
        self.at = []
        self._once = threading.Event()

    def __call__(self):
        self.at.append((time.monotonic(), threading.current_thread()))
        self._once.set()

    def within(self, seconds=PATIENCE):
        return self._once.wait(seconds)


def test_deadlines_fire_in_the_order_of_their_deadlines_in_one_thread_and_not_too_early():
    timer = DeadlineTimer()
    recorders = [Recorder() for _ in range(3)]
    deadlines = [timer.set(seconds, recorder) for seconds, recorder in zip((0.1, 0.05, 0.07), recorders, strict=True)]

    assert all(recorder.within() for recorder in recorders)
    assert len({thread for recorder in recorders for _, thread in recorder.at}) == 1
    # Between two settings this thread may have had to wait: the order is that of the deadlines, not of the seconds.
    times = [
        (deadline.deadline, *(at for at, _ in recorder.at))
        for deadline, recorder in zip(deadlines, recorders, strict=True)
    ]
    assert [fired for _, fired in sorted(times)] == sorted(fired for _, fired in times)
    assert [deadline for deadline, fired in times if fired < deadline] == []


def test_a_deadline_fires_in_time_though_the_thread_waits_for_a_later_one_already():
    timer, late, early = DeadlineTimer(), Recorder(), Recorder()
    waits, wait = queue.SimpleQueue(), timer._changed.wait
    timer._changed.wait = lambda seconds: (waits.put(seconds), wait(seconds))
    timer.set(1000 * PATIENCE, late)
    waits.get(timeout=PATIENCE)
    with timer._changed:  # the thread let go of it: it waits
        pass
    timer.set(0.01, early)

    assert early.within()
    assert late.at == []


def test_a_stopped_deadline_never_fires_and_is_forgotten_long_before_its_time():
    timer, soon, late, last = DeadlineTimer(), Recorder(), Recorder(), Recorder()
    for _ in range(100):
        with timer._changed:  # however long this thread has to wait: nothing fires before it is stopped
            timer.set(0.01, soon).stop()
        timer.set(1000 * PATIENCE, late).stop()
    timer.set(0.02, last)

    assert last.within()
    assert soon.at == late.at == []
    with timer._changed:
        assert timer._deadlines == []


def test_a_timer_with_nothing_left_to_do_takes_up_its_work_again():
    timer, first, second = DeadlineTimer(), Recorder(), Recorder()
    timer.set(0.0, first)
    assert first.within()
    timer.set(0.0, second)

    assert second.within()
    assert first.at[0][1] is second.at[0][1]


def test_a_thousand_calls_share_the_thread():
    before = threading.active_count()
    deadlines = [set_deadline(60.0, Recorder()) for _ in range(1000)]
    for deadline in deadlines:
        deadline.stop()

    assert threading.active_count() <= before + 1


def test_to_stop_a_deadline_waits_for_it_while_it_fires():
    timer, begun, go, done = DeadlineTimer(), threading.Event(), threading.Event(), []

    def act():
        begun.set()
        go.wait(PATIENCE)
        done.append("fired")

    deadline = timer.set(0.0, act)
    assert begun.wait(PATIENCE)
    stopping = threading.Thread(target=lambda: (deadline.stop(), done.append("stopped")))
    stopping.start()
    stopping.join(0.05)
    assert done == []
    go.set()
    stopping.join(PATIENCE)

    assert done == ["fired", "stopped"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_a_timer_of_its_own_even_if_the_lock_was_held():
    set_deadline(60.0, Recorder())  # the parent's timer runs
    reading, writing = os.pipe()
    held = set_deadline(60.0, Recorder())
    with held._lock:
        child = os.fork()
        if not child:
            recorder = Recorder()
            set_deadline(0.0, recorder)
            os.write(writing, b"fired" if recorder.within() else b"silent")
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)

    assert os.read(reading, 16) == b"fired"
    os.close(reading)
