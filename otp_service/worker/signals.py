"""Signals that end a worker: what is in flight is finished, nothing new is begun."""

import signal
from collections.abc import Callable
from types import FrameType


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Let SIGTERM and SIGINT call ``stop``. To be called in the main thread."""

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
