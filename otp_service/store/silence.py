"""What to do while Redis is silent: one request asks it again, the others are refused at once."""

import threading
import time

from otp_service.errors import StoreUnavailableError

PAUSE = 0.5
"""Seconds after a time-out in which nobody asks."""
_PROBE = 2.0
"""Seconds in which nobody else asks while one does; longer than connecting and waiting for an answer, which ends
them."""


class Silence:
    """Whether the server was silent when it was last asked.

    Without it every request would wait for a time-out of its own, in turn on the few threads of a process: a server
    that refuses in a second alone would take many under load, and could not tell that it is alive.
    """

    def __init__(self) -> None:
        self._until = 0.0
        self._turn = threading.Lock()

    def respect(self) -> None:
        """Raise `StoreUnavailableError` while the server is silent, except for the one that asks again."""
        if not self._until:
            return
        with self._turn:
            if not self._until:  # whoever had the turn was answered
                return
            now = time.monotonic()
            if now < self._until:
                raise StoreUnavailableError("The store does not answer.")
            self._until = now + _PROBE

    def begin(self) -> None:
        """Note that a question got no answer in time."""
        self._until = time.monotonic() + PAUSE

    def end(self) -> None:
        """Note that there was an answer, or that the server told at once that there will be none."""
        self._until = 0.0
