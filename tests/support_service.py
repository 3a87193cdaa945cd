"""The service as it runs: ``serve`` with two processes, and workers, against a real Valkey."""

import contextlib
import hmac
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from support_installation import API_KEY, NUMBER, tree
from support_keys import assert_all_keys_expire
from support_ledger import VARIABLE
from support_valkey import ValkeyServer, free_port

from otp_service.domain.keyring import api_key_hash

COMMAND = Path(sys.executable).parent / "otp-service"
PATIENCE = 30.0
"""Seconds to wait for what must happen on a busy machine."""

SHOP = {"name": "Acme Shop", "keys": [api_key_hash(API_KEY)], "countries": ["PK"], "region": "PK"}
"""An application of races, without its purposes."""
LIMITS = {"number": ["100/10 minutes"], "application": ["1000000/minute"], "ip": ["100000/minute"]}
"""None that a race would meet."""


def eventually(what: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Return the first true result; fail when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := what():
            return result
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


@dataclass
class Service:
    """A running service, and how to call it."""

    base: str
    folder: Path
    config: Path
    valkey: ValkeyServer
    keys: dict[str, str]
    """Environment that holds the keys: a configuration file may not."""
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    """Of the processes, also those that are gone: each has a log of its own."""

    def post(self, path: str, body: object = None, *, key: str = API_KEY, **headers: str) -> requests.Response:
        """Send one request on a connection of its own: processes shall share the load."""
        sent = {"Authorization": f"Bearer {key}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        return requests.post(self.base + path, json=body, headers=sent, timeout=PATIENCE)

    def get(self, path: str, *, key: str = API_KEY) -> requests.Response:
        return requests.get(self.base + path, headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE)

    def start(self, to: str = NUMBER, **members: Any) -> str:
        answer = self.post("/v1/verifications", {"to": to, **members})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def texts(self, verification: str) -> list[str]:
        """Return what the sandbox caught of a verification."""
        return [one["text"] for one in self.get(f"/v1/sandbox/messages?verification={verification}").json()]

    def code(self, verification: str) -> str:
        """Return the code as the handset received it."""
        (text, *_) = eventually(lambda: self.texts(verification))
        return re.search(r"\b\d{6}\b", text)[0]

    def check(self, verification: str, code: str, **headers: str) -> dict[str, Any]:
        answer = self.post(f"/v1/verifications/{verification}/check", {"code": code}, **headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def launch_worker(self) -> subprocess.Popen[bytes]:
        worker = self._launch("worker")
        self.workers.append(worker)
        return worker

    def launch_api(self, workers: int = 0) -> None:
        """Start the API, and workers beside it; return when the API is ready."""
        self.children.append(self._launch("serve"))
        for _ in range(workers):
            self.launch_worker()
        eventually(self._ready, 4 * PATIENCE)

    def reload(self) -> None:
        """Let all processes read their settings anew, and wait until all of them have done so."""
        told = self.told("reloaded")
        asked = self.hang_up()
        eventually(lambda: self.told("reloaded") == told + asked, 2 * PATIENCE)

    def hang_up(self) -> int:
        """Send SIGHUP to all processes, once they are there; return how many there are."""
        eventually(lambda: self.told("worker_started") >= len(self.workers))
        running = [child for child in (*self.children, *self.workers) if child.poll() is None]
        for child in running:
            child.send_signal(signal.SIGHUP)
        return len(running)

    def told(self, event: str) -> int:
        """Return how often the processes logged an event."""
        return len(self.events(event))

    def events(self, event: str, log: Path | None = None) -> list[dict[str, Any]]:
        """Return what the processes, or that of one log, told of an event."""
        lines = (log.read_text(errors="replace") if log else self.logs()).splitlines()
        return [json.loads(line) for line in lines if f'"message": "{event}"' in line]

    def logs(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def stop(self) -> None:
        running = [child for child in (*self.children, *self.workers) if child.poll() is None]
        for child in running:
            child.send_signal(signal.SIGTERM)
        for child in running:
            child.wait(PATIENCE)

    def _launch(self, command: str) -> subprocess.Popen[bytes]:
        log = self.folder / f"{command}-{next(self._numbers)}.log"
        others = {name: value for name, value in os.environ.items() if name != VARIABLE}  # the file names a ledger
        environment = {**others, **self.keys, "PYTHONSAFEPATH": "1"}
        with log.open("wb") as output:
            return subprocess.Popen(
                [COMMAND, command, "--config", self.config],
                stdout=output,
                stderr=output,
                env=environment,
                cwd=self.folder,
            )

    def _ready(self) -> bool:
        assert self.children[-1].poll() is None, self.logs()
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"{self.base}/readyz", timeout=PATIENCE).ok
        return False


@contextlib.contextmanager
def running(
    folder: Path, valkey: ValkeyServer, *, workers: int = 1, environ: dict[str, str] | None = None, **sections: Any
) -> Iterator[Service]:
    """Run a service with two application processes and some workers; sections are merged into its settings.

    What ``environ`` sets is the processes' too; with an empty value it is not set.
    """
    port = free_port()
    http = {"port": port, "processes": 2, "threads": 2, "metrics_port": 0, "metrics_on_same_port": True}
    http["public_url"] = f"http://127.0.0.1:{port}"
    sections = {**sections, "http": {**http, **sections.get("http", {})}}
    sections["worker"] = {"metrics_port": 0, "claim_margin": 0.5, "concurrency": 8, **sections.get("worker", {})}
    config = folder / "service.json"
    settings = tree(valkey.url, **sections)
    keys = settings.pop("keys")
    config.write_text(json.dumps(settings))
    environment = {"OTP_SERVICE_ROOT_KEYS": keys["root"], "OTP_SERVICE_PSEUDONYM_KEY": keys["pseudonym"]}
    environment |= environ or {}
    service = Service(f"http://127.0.0.1:{port}", folder, config, valkey, environment)
    try:
        service.launch_api(workers)
        yield service
        assert_all_keys_expire(valkey.client)
    finally:
        service.stop()


def report_to_sandbox(service: Service, secret: str, dispatch: str, status: str) -> requests.Response:
    """Report what became of a dispatch of the gateway ``sandbox``, signed as its provider signs."""
    path, body = f"/v1/receipts/sandbox/{dispatch}", json.dumps({"status": status}).encode()
    signature = hmac.digest(secret.encode(), f"{service.base}{path}".encode() + b"\n" + body, "sha256").hex()
    headers = {"Content-Type": "application/json", "X-Sandbox-Signature": signature}
    answer = requests.post(service.base + path, data=body, headers=headers, timeout=PATIENCE)
    assert answer.status_code == 204, answer.text
    return answer


def in_parallel(count: int, act: Callable[[int], Any]) -> list[Any]:
    """Do something ``count`` times at once, each in a thread of its own, and return all results."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(act, range(count)))
