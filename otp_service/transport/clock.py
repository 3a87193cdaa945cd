"""One clock for all calls of a process: it ends those that outlive their time.

Its thread sleeps until the earliest deadline. What ended by itself before is forgotten when it comes to the top, so
that a thousand calls a second wake the thread no more often than one does.
"""

import heapq
import itertools
import os
import threading
import time
from collections.abc import Callable


class Alarm:
    """What happens when the time of one call is up, unless it is stopped before."""

    __slots__ = ("_act", "_lock", "deadline")

    def __init__(self, deadline: float, act: Callable[[], object], lock: threading.Condition) -> None:
        """Prepare to ``act`` at a ``deadline`` of the monotonic clock; the ``lock`` is its clock's."""
        self.deadline = deadline
        self._act: Callable[[], object] | None = act
        self._lock = lock

    @property
    def stopped(self) -> bool:
        """Whether nothing will happen any more."""
        return self._act is None

    def stop(self) -> None:
        """Let nothing happen from now on: when this returns, the alarm has acted completely or never will."""
        with self._lock:
            self._act = None

    def ring(self) -> None:
        """Act, once; the clock holds its lock."""
        act, self._act = self._act, None
        if act is not None:
            act()


class Clock:
    """The thread, started by the first alarm, and the alarms that it waits for."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None

    def set(self, seconds: float, act: Callable[[], object]) -> Alarm:
        """Return an alarm that acts in so many ``seconds``, in the clock's thread: at once, and raising nothing."""
        alarm = Alarm(time.monotonic() + seconds, act, self._changed)
        with self._changed:
            heapq.heappush(self._alarms, (alarm.deadline, next(self._order), alarm))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="clock of calls", daemon=True)
                self._thread.start()
            elif self._alarms[0][2] is alarm:
                self._changed.notify()
        return alarm

    def _run(self) -> None:
        with self._changed:
            while True:
                self._ring_those_due()
                earliest = self._alarms[0][0] if self._alarms else None
                self._changed.wait(None if earliest is None else earliest - time.monotonic())

    def _ring_those_due(self) -> None:
        now = time.monotonic()
        while self._alarms and (self._alarms[0][2].stopped or self._alarms[0][0] <= now):
            heapq.heappop(self._alarms)[2].ring()


_clocks = [Clock()]
"""The one of this process."""


def set_alarm(seconds: float, act: Callable[[], object]) -> Alarm:
    """Set an alarm at the clock of this process."""
    return _clocks[0].set(seconds, act)


def _renew() -> None:
    _clocks[0] = Clock()


# A forked child has none of its parent's threads, and perhaps a lock that one of them held.
os.register_at_fork(after_in_child=_renew)
