"""Several services as a proxy has them: asked in turn while they are ready, and never twice for one request."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self

import requests
from support_installation import API_KEY
from support_rotation import Load
from support_service import PATIENCE, eventually
from urllib3.exceptions import MaxRetryError, NewConnectionError

INTERVAL = 0.2
"""Seconds between two questions whether a service is ready; one no is enough, and one yes."""


class Upstreams:
    """The services behind a proxy, by their addresses."""

    def __init__(self, bases: Sequence[str]) -> None:
        self.bases = list(bases)
        self.refused = 0
        """Requests that were passed to the next one, because a connection was refused: nothing had been sent."""
        self._ready: set[str] = set()
        self._drained: set[str] = set()
        self._at_work: Counter[str] = Counter()
        self._turns = itertools.count()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        eventually(lambda: len(self._ready) == len(self.bases))
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def in_turn(self) -> list[str]:
        """Return those that may be asked now, whose turn it is first."""
        ready = [base for base in self.bases if base in self._ready - self._drained]
        place = next(self._turns) % len(ready) if ready else 0
        return ready[place:] + ready[:place]

    def is_asked(self, base: str) -> bool:
        """Tell whether requests go to it."""
        return base in self.in_turn()

    def drain(self, base: str) -> None:
        """Take one out by hand, as an operator does of a release that does not tell; return when it has nothing."""
        self._drained.add(base)
        eventually(lambda: not self._at_work[base])

    def put_back(self, base: str) -> None:
        self._drained.discard(base)

    @contextmanager
    def at_work(self, base: str) -> Any:
        """Know that one has a request."""
        self._count(base, 1)
        try:
            yield
        finally:
            self._count(base, -1)

    def _count(self, base: str, change: int) -> None:
        with self._lock:
            self._at_work[base] += change

    def _look(self) -> None:
        while not self._over.is_set():
            for base in self.bases:
                ready = False
                with suppress(requests.RequestException):
                    ready = requests.get(f"{base}/readyz", timeout=1).ok
                (self._ready.add if ready else self._ready.discard)(base)
            time.sleep(INTERVAL)


class ProxiedLoad(Load):
    """Callers who go through such a proxy. It tries the next service only where a connection is refused."""

    def __init__(self, upstreams: Upstreams, callers: int = 4, pause: float = 0.01) -> None:
        super().__init__(None, callers, pause)  # type: ignore[arg-type] # it is asked for its address only
        self._upstreams = upstreams

    def _send(self, session: requests.Session, method: str, path: str, body: object, expected: int) -> Any:
        headers, began = {"Authorization": f"Bearer {API_KEY}"}, time.monotonic()
        for base in self._upstreams.in_turn():
            try:
                with self._upstreams.at_work(base):
                    answer = session.request(method, base + path, json=body, headers=headers, timeout=PATIENCE)
            except requests.ConnectionError as failed:
                if not _was_refused(failed):
                    raise
                self._upstreams.refused += 1
                continue
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.calls += 1
            assert answer.status_code == expected, (method, path, answer.status_code, answer.text)
            return answer.json()
        raise AssertionError("no service was ready")


def _was_refused(failed: requests.ConnectionError) -> bool:
    reason = failed.args[0].reason if failed.args and isinstance(failed.args[0], MaxRetryError) else None
    return isinstance(reason, NewConnectionError)
