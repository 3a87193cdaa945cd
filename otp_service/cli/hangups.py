"""SIGHUP, by which a process is asked to reload its settings.

The signal stays blocked, and a thread waits for it: any number of them in a row come to one more reload, and none finds
the interpreter in the middle of something that it cannot be interrupted in, as a handler may.
"""

import signal
import threading
from collections.abc import Callable


def hold_hangups() -> None:
    """Let SIGHUP wait until it is looked for; to be called before any thread or process is started.

    Children inherit that: one sent to all processes at once reaches those that act on it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def on_hangup(act: Callable[[], None]) -> None:
    """Do something at each SIGHUP from now on, in a thread of its own; those that come meanwhile are one more."""

    def wait_and_act() -> None:
        while True:
            signal.sigwait({signal.SIGHUP})
            act()

    threading.Thread(target=wait_and_act, name="hangups", daemon=True).start()
