"""Work that is waited for only so long, whatever it does: it has threads of its own, which are left behind with it.

Not the pools of ``concurrent.futures``: the interpreter waits for their threads when it ends, for ever if one hangs.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Patience(Generic[Result]):
    """Threads for one kind of work, no more than a bound, made as they are needed and kept with their connections."""

    def __init__(self, name: str, most: int) -> None:
        """Prepare for as many as ``most`` threads; none is started yet."""
        self._name = name
        self._most = most
        self._threads = 0
        self._idle = 0
        self._waiting: deque[tuple[Future[Result], Callable[[], Result]]] = deque()
        self._changed = threading.Condition()
        self._over = False

    def wait_for(self, work: Callable[[], Result], seconds: float) -> Result:
        """Return what the work returns, or raise what it raises; `TimeoutError` when it is not done in time.

        Work that no thread was free for is not begun after that. `RuntimeError` when a thread cannot be made.
        """
        outcome: Future[Result] = Future()
        entry = (outcome, work)
        try:
            self._hand_over(entry)
            return outcome.result(seconds)
        finally:
            self._forget(entry)

    def end(self) -> None:
        """Let the threads end, one that works when it has done; no more work is begun."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _hand_over(self, entry: tuple[Future[Result], Callable[[], Result]]) -> None:
        with self._changed:
            self._waiting.append(entry)
            if len(self._waiting) > self._idle and self._threads < self._most:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
                self._threads += 1
            self._changed.notify()

    def _forget(self, entry: tuple[Future[Result], Callable[[], Result]]) -> None:
        """Take back what was not begun: where all threads hang, nobody else would."""
        with self._changed:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def _run(self) -> None:
        while entry := self._next():
            outcome, work = entry
            try:
                outcome.set_result(work())
            except BaseException as raised:  # noqa: BLE001 - it belongs to who waits, and this thread goes on
                outcome.set_exception(raised)

    def _next(self) -> tuple[Future[Result], Callable[[], Result]] | None:
        """Return what is to be done next, as soon as there is something; ``None`` at the end."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._waiting or self._over)
            self._idle -= 1
            return None if self._over else self._waiting.popleft()
