"""A service under test, as in production: its processes, gateways that are stand-ins, and messages to deliver."""

import itertools
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
import requests
from accounts import Slot
from gateway_standin import StandIn
from permissive_guard import PERMISSIVE
from processes import Process, free_port, start_valkey, wait_for_port
from rig_workers import BUCKET, Worker, queues, slot_of_dispatch

from otp_service.cli.main import commands
from otp_service.domain.keyring import api_key_hash, new_api_key, new_key
from otp_service.store import keys

COMMAND = str(Path(sys.executable).parent / "otp-service")
_APPLICATION = "bench"
_DIGITS = 13
"""Characters of a number of Pakistan or Great Britain, the plus sign among them."""
_NURSERY = multiprocessing.get_context("forkserver")
"""Forks the workers from a process that has imported the program already: to import it takes a second of processor
time, too long for one that is killed a second later."""
_NURSERY.set_forkserver_preload(["otp_service.cli.worker", "otp_service.gateways.http"])


@dataclass(frozen=True)
class Started:
    """A verification that the service answered with 201, and when (seconds, monotonic clock)."""

    id: str
    at: float


@dataclass
class Rig:
    """A running service, alone with a Valkey of its own."""

    folder: Path
    base: str
    client: redis.Redis
    api_key: str
    config: Path
    server: int
    """The process of ``serve``."""
    ledger: str
    """Its address."""
    workers: list[Worker] = field(default_factory=list)
    _sessions: threading.local = field(default_factory=threading.local)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _logs: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def build(
        cls, stack: ExitStack, folder: Path, stand_ins: tuple[StandIn, ...], *, seed: int = 1, **sections: Any
    ) -> "Rig":
        """Start Valkey, the stand-ins and the API, which end with the stack; workers are started apart."""
        folder.mkdir()
        valkey_url = start_valkey(stack, folder)
        ports = {one.name: one.start(stack, folder, seed) for one in stand_ins}
        gateways = {one.name: one.settings(ports[one.name]) for one in stand_ins}
        return cls.over(stack, folder, valkey_url, gateways, **sections)

    @classmethod
    def over(
        cls, stack: ExitStack, folder: Path, valkey_url: str, gateways: Mapping[str, Any], **sections: Any
    ) -> "Rig":
        """Start the API over a Valkey that is there; it ends with the stack; workers are started apart."""
        port, api_key, config = free_port(), new_api_key(), folder / "rig.json"
        os.environ.setdefault("OTP_SERVICE_ROOT_KEYS", f"k1:{new_key()}")  # what forks the workers keeps its own
        os.environ.setdefault("OTP_SERVICE_PSEUDONYM_KEY", new_key())
        sections = {"ledger": {"url": f"sqlite:///{folder / 'ledger.db'}"}, **sections}
        config.write_text(json.dumps({**_tree(valkey_url, port, api_key, gateways), **sections}))
        log = folder / "serve.log"
        serve = Process.start(stack, [COMMAND, "serve", "--config", str(config)], log=log)
        wait_for_port(port, 120.0)  # a busy machine starts slowly
        client = stack.enter_context(redis.Redis.from_url(valkey_url))
        rig = cls(folder, f"http://127.0.0.1:{port}", client, api_key, config, serve.pid, sections["ledger"]["url"])
        stack.callback(rig.stop)
        return rig

    def launch_worker(self) -> Worker:
        """Start one more worker process."""
        log = self.folder / f"worker-{next(self._logs)}.log"
        process = _NURSERY.Process(target=_work, args=(self.config, log))
        process.start()
        worker = Worker(process, log)
        self.workers.append(worker)
        return worker

    def wait_for_workers(self) -> None:
        """Wait until all of them work."""
        until(lambda: all(worker.name for worker in self.workers), 30, "the workers have not started")

    def stop(self) -> None:
        """Ask the workers to end, and wait until they have."""
        for worker in self.workers:
            worker.process.terminate()
            worker.thaw()  # one that is stopped hears nothing
        for worker in self.workers:
            worker.end()
        self.workers.clear()

    def start(self, beginning: str = "+92345") -> Started | None:
        """Start a verification of another number that begins so; ``None`` when it was not accepted."""
        body = {"to": f"{beginning}{next(self._numbers):0{_DIGITS - len(beginning)}d}"}
        answer = self._session().post(f"{self.base}/v1/verifications", json=body, timeout=30)
        return Started(answer.json()["id"], time.monotonic()) if answer.status_code == 201 else None  # noqa: PLR2004

    def start_many(
        self, count: int, per_second: float, pool: ThreadPoolExecutor, beginning: str = "+92345"
    ) -> list[Started]:
        """Start verifications at a steady rate, whatever each takes; return those that were accepted."""
        began, futures = time.monotonic(), []
        for place in range(count):
            time.sleep(max(0.0, began + place / per_second - time.monotonic()))
            futures.append(pool.submit(self.start, beginning))
        return [one for future in futures if (one := future.result())]

    def story(self, verification: str) -> list[dict[str, Any]]:
        """Return the dispatches of a verification as the API tells them."""
        answer = self._session().get(f"{self.base}/v1/verifications/{verification}", timeout=30)
        answer.raise_for_status()
        return list(answer.json()["deliveries"])

    def slot(self, dispatch: str) -> Slot:
        """Return the verification of a dispatch, its message and its number, as the store has them."""
        return slot_of_dispatch(self.client, dispatch)

    def waiting(self) -> int:
        """Return how many messages wait, are in hand, or come back later."""
        return sum(self.client.xlen(queue) for queue in queues(self.client)) + self.client.zcard(keys.delayed(BUCKET))

    def _session(self) -> requests.Session:
        if not hasattr(self._sessions, "one"):
            self._sessions.one = requests.Session()
            self._sessions.one.headers["Authorization"] = f"Bearer {self.api_key}"
        session: requests.Session = self._sessions.one
        return session


def until(what: Callable[[], object], seconds: float, otherwise: str) -> None:
    """Wait until something holds; end the benchmark with a sentence when it does not in time."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise SystemExit(f"After {seconds:g} s {otherwise}.")
        time.sleep(0.05)


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that so large a share of them does not exceed; of none, not a number."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def _work(config: Path, log: Path) -> None:
    """Be a worker, which logs to a file."""
    with log.open("wb", buffering=0) as output:
        os.dup2(output.fileno(), sys.stdout.fileno())
        os.dup2(output.fileno(), sys.stderr.fileno())
    commands(["worker", "--config", str(config)], standalone_mode=False)


def _tree(valkey_url: str, port: int, api_key: str, gateways: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration: the defaults, but quotas out of the way, and free ports."""
    return {
        "environment": "development",
        "redis": {"url": valkey_url},
        "http": {"port": port, "metrics_port": 0},
        "worker": {"metrics_port": 0},
        "limits": {"application": ["100000000/minute"]},
        "guard": PERMISSIVE,
        "purposes": {"login": {}},
        "applications": {
            _APPLICATION: {
                "name": "Bench",
                "keys": [api_key_hash(api_key)],
                "purposes": ["login"],
                "countries": ["PK", "GB"],
                "region": "PK",
                "client_ip": "none",
            }
        },
        "gateways": gateways,
        "routes": [{"gateways": list(gateways)}],
    }
