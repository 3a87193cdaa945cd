"""Callers who start verifications, read the codes and check them, all the time, while keys are rotated."""

import itertools
import re
import threading
import time
from pathlib import Path
from typing import Any, Self

import jwt
import requests
from support_installation import API_KEY, key
from support_service import PATIENCE, Service, eventually

FREE = {"number": ["100/10 minutes"], "application": ["1000000/minute"], "ip": ["1000000/minute"]}
ISSUER = "https://otp.example"
_HELD_BACK = 5
"""Each fifth verification is checked by nobody yet."""
_SECONDS_FOR_A_TEXT = 60.0


class RootKeys:
    """The file that names the root keys, and who reads it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "root-keys"
        self.materials = {name: f"{name}:{key()}" for name in ("k1", "k2")}
        self.write("k1")

    @property
    def environ(self) -> dict[str, str]:
        return {"OTP_SERVICE_ROOT_KEYS": "", "OTP_SERVICE_ROOT_KEYS_FILE": str(self.file)}

    def write(self, *names: str) -> None:
        """Let these be the keys, the first one active."""
        self.file.write_text(" ".join(self.materials[name] for name in names))

    def bring_into_force(self, service: Service, *names: str) -> None:
        """Let all processes go by these keys; return when all have said so."""
        self.write(*names)
        service.hang_up()
        eventually(lambda: self._in_force(service) == {names}, 2 * PATIENCE)

    @staticmethod
    def _in_force(service: Service) -> set[tuple[str, ...]]:
        """Return what the processes say last of their keys."""
        told = [service.events("reloaded", log) for log in service.folder.glob("*-[0-9]*.log")]
        return {tuple(events[-1]["root_keys"]) if events else () for events in told}


class Load:
    """Each caller in a thread of its own; every second one keeps its connection. Whatever goes wrong is noted."""

    def __init__(self, service: Service, callers: int = 4, pause: float = 0.01) -> None:
        """Let each caller rest for ``pause`` seconds between two verifications."""
        self.started: list[str] = []
        self.held_back: list[tuple[str, str]] = []
        """Verifications that are not checked yet, and their codes."""
        self.approved = 0
        self.calls = 0
        self.slowest = 0.0
        """Seconds that the slowest call took."""
        self.failures: list[str] = []
        self.proofs: list[str] = []
        """Those of approvals, where the service gives them."""
        self._service = service
        # Operators give others five minutes to fetch a new key before it signs; here it signs after seconds.
        self._proof_keys = jwt.PyJWKClient(f"{service.base}/.well-known/jwks.json", cooldown_duration=0)
        self._pause = pause
        self._numbers = itertools.count()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(one % 2 == 1,)) for one in range(callers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self, verifications: int = 20) -> None:
        """Wait until so many more have been approved."""
        wanted = self.approved + verifications
        eventually(lambda: self.approved >= wanted or self.failures, 2 * PATIENCE)

    def _call(self, keeps: bool) -> None:
        session = requests.Session()
        while not self._over.is_set():
            if not keeps:
                session.close()
            try:
                self._verify(session)
            except (AssertionError, requests.RequestException, jwt.PyJWTError) as failure:
                self.failures.append(f"{'kept' if keeps else 'new'} connection: {failure!r}")
            time.sleep(self._pause)

    def _verify(self, session: requests.Session) -> None:
        number = next(self._numbers)
        verification = self._ask(session, "POST", "", {"to": f"+92300{number:07d}"}, 201)["id"]
        self.started.append(verification)
        code = self._code(session, verification)
        if number % _HELD_BACK == 0:
            self.held_back.append((verification, code))
            return
        answer = self._ask(session, "POST", f"/{verification}/check", {"code": code}, 200)
        assert answer["valid"], (verification, answer)
        self.approved += 1
        if answer.get("proof"):  # a release before had none
            self.proofs.append(answer["proof"])
            read_proof(answer["proof"], self._proof_keys)

    def _code(self, session: requests.Session, verification: str) -> str:
        end = time.monotonic() + _SECONDS_FOR_A_TEXT
        while not (messages := self._messages(session, verification)):
            assert time.monotonic() < end, f"no message for {verification}"
            time.sleep(0.02)
        return re.search(r"\b\d{6}\b", messages[0]["text"])[0]

    def _messages(self, session: requests.Session, verification: str) -> Any:
        return self._send(session, "GET", f"/v1/sandbox/messages?verification={verification}", None, 200)

    def _ask(self, session: requests.Session, method: str, path: str, body: object, expected: int) -> Any:
        return self._send(session, method, f"/v1/verifications{path}", body, expected)

    def _send(self, session: requests.Session, method: str, path: str, body: object, expected: int) -> Any:
        headers, began = {"Authorization": f"Bearer {API_KEY}"}, time.monotonic()
        answer = session.request(method, self._service.base + path, json=body, headers=headers, timeout=PATIENCE)
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.calls += 1
        assert answer.status_code == expected, (method, path, answer.status_code, answer.text)
        return answer.json()


def read_proof(proof: str, keys: jwt.PyJWKClient) -> dict[str, Any]:
    """Check a proof as who only has the published keys; they are fetched again where one is not known yet."""
    public = keys.get_signing_key_from_jwt(proof)
    return dict(jwt.decode(proof, public, algorithms=["ES256"], audience="shop", issuer=ISSUER))


def root_of(verification: str) -> str:
    """Return the root key that a verification was made with."""
    return verification.split("_")[1]
