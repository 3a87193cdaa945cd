"""Callers who start verifications and check codes, in turn and all the time, and note how each was answered."""

import itertools
import threading
import time
from dataclasses import dataclass
from typing import Self

import requests
from support_installation import API_KEY
from support_service import PATIENCE, Service

STARTED, CHECKED = (201, None), (200, None)
_HEADERS = {"Authorization": f"Bearer {API_KEY}"}

_GLANCE = 0.01


@dataclass(frozen=True)
class Answered:
    """A call, and what came of it."""

    call: str
    """``start`` or ``check``."""
    sent: float
    """When, by the monotonic clock."""
    seconds: float
    """How long the answer took."""
    status: int
    code: str | None
    """Of the problem; ``None`` when there is none. A 503 that is no problem document has the code ``none``."""
    retry_after: str | None

    @property
    def what(self) -> tuple[int, str | None]:
        return self.status, self.code

    @property
    def came(self) -> float:
        """When the answer did."""
        return self.sent + self.seconds


class Crowd:
    """Each caller in a thread of its own; every second one keeps its connection."""

    def __init__(self, service: Service, callers: int, *, pause: float = 0.01, rest: float = 0.1) -> None:
        """Let each caller wait for ``pause`` seconds after an answer, and for ``rest`` seconds after a refusal."""
        self.answers: list[Answered] = []
        self.failures: list[str] = []
        """Calls that got no answer."""
        self.held_up = 0.0
        """Seconds that the machine, busy with other things, kept a thread of this process from its turn at most."""
        self._service = service
        self._pause, self._rest = pause, rest
        self._numbers = itertools.count()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(one % 2 == 1,)) for one in range(callers)]
        self._threads.append(threading.Thread(target=self._watch))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def since(self, moment: float) -> list[Answered]:
        """Return how those were answered who called after a moment."""
        return [one for one in list(self.answers) if one.sent >= moment]

    def _watch(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            time.sleep(_GLANCE)
            self.held_up = max(self.held_up, time.monotonic() - began - _GLANCE)

    def _call(self, keeps: bool) -> None:
        session, verification, turns = requests.Session(), "", itertools.cycle(("start", "check"))
        while not self._over.is_set():
            if not keeps:
                session.close()
            call = next(turns) if verification else "start"
            path, body = f"/{verification}/check", {"code": "000000"}
            if call == "start":
                path, body = "", {"to": f"+92300{next(self._numbers):07d}"}
            sent = time.monotonic()
            try:
                answer = session.post(
                    f"{self._service.base}/v1/verifications{path}", json=body, headers=_HEADERS, timeout=PATIENCE
                )
            except requests.RequestException as failed:
                self.failures.append(f"{call}: {failed!r}")
                continue
            noted = _noted(call, sent, answer)
            self.answers.append(noted)
            if noted.what == STARTED:
                verification = answer.json()["id"]
            self._over.wait(self._pause if noted.status < 300 else self._rest)


def _noted(call: str, sent: float, answer: requests.Response) -> Answered:
    seconds, code = time.monotonic() - sent, None
    if answer.status_code >= 300:
        is_problem = answer.headers["Content-Type"] == "application/problem+json"
        code = str(answer.json()["code"]) if is_problem else "none"
    return Answered(call, sent, seconds, answer.status_code, code, answer.headers.get("Retry-After"))
