"""The shifts of a worker process: it works with one installation until it is handed another, or is to end."""

import threading

from otp_service.bootstrap import Installation
from otp_service.telemetry import metrics
from otp_service.worker.loop import run


class Shifts:
    """One shift after the other, in one process.

    Not another program in its place (``exec``): between the two nobody would deliver, a Redis that is away at that
    moment would be the end of it, and who asks for its metrics would find nobody.
    """

    def __init__(self, first: Installation) -> None:
        self.present = first
        """What the process works with, or will when the next shift begins."""
        self._over = False
        self._end = threading.Event()
        """Ends the shift."""
        self._begun = threading.Condition()
        self._count = 0

    def run(self) -> None:
        """Work until `stop`. What a shift has in hand at its end is finished; what it holds back is the next one's."""
        while installation := self._begin():
            run(installation, self._end)
            installation.close()
            if not metrics.is_shared():  # there a value stays until another process tells the next
                metrics.forget_gateway_states()

    def stop(self) -> None:
        """End with this shift. Called by a handler of signals, which may wait for nobody: so it takes no lock."""
        self._over = True
        self._end.set()

    def hand_over(self, installation: Installation) -> None:
        """End this shift, and work with another installation; return when that has begun."""
        with self._begun:
            begun = self._count
            self.present = installation
            self._end.set()
            self._begun.wait_for(lambda: self._count > begun)

    def _begin(self) -> Installation | None:
        with self._begun:
            self._end = threading.Event()  # before the look: who stops says first that it is over
            self._count += 1
            self._begun.notify_all()
            return None if self._over else self.present
