"""Callers of a soak: each starts a verification and checks its code, over a connection that it keeps."""

import http.client
import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from rig import Rig

from otp_service.domain.codes import generate_code
from otp_service.domain.keyring import Keyring
from otp_service.settings import load_settings

_PURPOSE = "login"


class Callers:
    """Calls, and what went wrong with them."""

    def __init__(self, rig: Rig, numbers: int) -> None:
        """Let them start verifications of so many numbers, one after the other and over again."""
        settings = load_settings(rig.config)
        self._keyring: Keyring = settings.keyring()
        self._length = settings.purposes[_PURPOSE].code_length
        self._address = urlsplit(rig.base).netloc
        self._headers = {"Authorization": f"Bearer {rig.api_key}", "Content-Type": "application/json"}
        self._numbers = itertools.cycle(range(numbers))
        self._lock = threading.Lock()
        self.verifications = 0
        self.failures: list[str] = []
        self.slowest = 0.0
        """Seconds that a start and its check took together at most."""

    def start(self, count: int) -> None:
        """Start so many verifications, whose codes nobody checks."""
        connection = http.client.HTTPConnection(self._address, timeout=30)
        for _ in range(count):
            self._post(connection, "/v1/verifications", {"to": self._next_number()}, 201)
        connection.close()

    def call(self, pool: ThreadPoolExecutor, callers: int, seconds: float, per_second: float | None) -> int:
        """Make verifications for so long; return how many. At the given pace, or as fast as they are answered."""
        before, end = self.verifications, time.monotonic() + seconds
        every = callers / per_second if per_second else 0.0
        list(pool.map(lambda place: self._call(end, every, place / callers), range(callers)))
        return self.verifications - before

    def _call(self, end: float, every: float, offset: float) -> None:
        """Be one caller, who makes a verification every so many seconds."""
        connection = http.client.HTTPConnection(self._address, timeout=30)
        due = time.monotonic() + every * offset
        while (now := time.monotonic()) < end:
            if now < due:
                time.sleep(due - now)
            due = max(due + every, time.monotonic() - every)
            self._start_and_check(connection)
        connection.close()

    def _start_and_check(self, connection: http.client.HTTPConnection) -> None:
        began, number = time.monotonic(), self._next_number()
        try:
            started = self._post(connection, "/v1/verifications", {"to": number}, 201)
            one = str(started["id"])
            checked = self._post(connection, f"/v1/verifications/{one}/check", {"code": self._code(one, number)}, 200)
            problem = None if checked["valid"] else f"not approved: {checked}"
        except (OSError, http.client.HTTPException, AssertionError) as failed:
            problem = repr(failed)
            connection.close()
        with self._lock:
            self.verifications += problem is None
            self.failures += [problem] if problem else []
            self.slowest = max(self.slowest, time.monotonic() - began)

    def _next_number(self) -> str:
        with self._lock:
            return f"+92345{next(self._numbers):07d}"

    def _post(
        self, connection: http.client.HTTPConnection, path: str, body: dict[str, str], expected: int
    ) -> dict[str, object]:
        connection.request("POST", path, json.dumps(body), self._headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != expected:
            raise AssertionError(f"{path}: {answer.status} {text.decode()}")
        return dict(json.loads(text))

    def _code(self, verification: str, number: str) -> str:
        """Return what the handset would show."""
        key = self._keyring.code_key("bench", verification, self._keyring.pseudonym(number), _PURPOSE, "")
        return generate_code(key, 0, self._length)
