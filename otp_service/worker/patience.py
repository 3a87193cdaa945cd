"""Waiting in place for a gateway's turn, without those who wait holding all threads."""

import threading
from collections import Counter

LONGEST = 1000
"""Milliseconds that a message waits in a thread at most; for longer it goes back."""


class Patience:
    """The messages that wait in threads of this worker, counted by application."""

    def __init__(self, share: int, stop: threading.Event) -> None:
        """Let ``share`` messages of one application wait, twice as many of all, and none once ``stop`` is set."""
        self._share = share
        self._stop = stop
        self._waiting: Counter[str] = Counter()
        self._lock = threading.Lock()

    def wait(self, application: str, milliseconds: int) -> bool:
        """Wait for a turn; return ``False`` at once when it is too far off or too many wait already."""
        if not 0 <= milliseconds <= LONGEST or not self._enter(application):
            return False
        try:
            return not self._stop.wait(milliseconds / 1000)
        finally:
            self._leave(application)

    def _enter(self, application: str) -> bool:
        with self._lock:
            if self._waiting[application] >= self._share or self._waiting.total() >= 2 * self._share:
                return False
            self._waiting[application] += 1
            return True

    def _leave(self, application: str) -> None:
        with self._lock:
            self._waiting[application] -= 1
            self._waiting += Counter()  # forget those of whom none waits
