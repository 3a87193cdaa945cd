"""How many messages a second one worker process keeps moving, and what one costs it in processor time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import requests
from gateway_standin import StandIn
from processes import cpu_seconds
from rig import Rig, until
from rig_workers import Worker

from otp_service.settings.schema import WorkerSettings

CALL = 200
"""Milliseconds that a gateway takes for a call."""
THREADS = WorkerSettings().concurrency
MOST = THREADS * 1000 / CALL
"""Messages a second that the threads of a worker could hand over if nothing but the gateway took time."""
_WARM = 100
"""Messages that are delivered before anything is measured."""
_AS_FAST_AS_IT_GOES = 1e9
_PATIENCE = 120


@dataclass(frozen=True)
class Flow:
    """What was seen of a worker that always had something to do."""

    gateway: str
    per_second: float
    cost: float
    """Processor time of the worker, user and system, in microseconds a message."""


@dataclass(frozen=True)
class _Look:
    at: float
    waiting: int
    cpu: float

    @classmethod
    def at_worker(cls, rig: Rig, worker: Worker) -> "_Look":
        return cls(time.monotonic(), rig.waiting(), cpu_seconds(worker.pid))


def push(folder: Path, gateway: StandIn, messages: int) -> Flow:
    """Queue messages, let a worker deliver them, and look at it once it is warm and when it is done."""
    with ExitStack() as stack:
        rig = Rig.build(stack, folder, (gateway,))
        with ThreadPoolExecutor(16) as pool:
            started = rig.start_many(messages, _AS_FAST_AS_IT_GOES, pool)
        worker = rig.launch_worker()
        until(lambda: rig.waiting() <= messages - _WARM, _PATIENCE, "the worker has not begun")
        before = _Look.at_worker(rig, worker)
        until(lambda: not rig.waiting(), _PATIENCE, "messages are still waiting")
        after = _Look.at_worker(rig, worker)
        taken = sum(one.accepted for one in gateway.served(rig.folder))
    if not len(started) == taken == messages:
        raise SystemExit(f"Of {messages} messages {len(started)} were queued and {taken} taken.")
    moved = before.waiting - after.waiting
    return Flow(gateway.name, moved / (after.at - before.at), 1e6 * (after.cpu - before.cpu) / moved)


def plain_call_cost(folder: Path, calls: int) -> float:
    """Return the processor time of a bare call by ``requests`` to such a gateway, in microseconds: the floor.

    As many threads as a worker has call, each over a connection that it keeps.
    """
    gateway, kept = StandIn("plain", milliseconds=CALL), threading.local()
    folder.mkdir()
    with ExitStack() as stack:
        url = gateway.settings(gateway.start(stack, folder, 1))["url"]

        def call(number: int) -> None:
            if not hasattr(kept, "session"):
                kept.session = requests.Session()
            body = {"id": str(number), "to": "+923450000000", "text": "Bench: your code is 123456."}
            kept.session.post(url, json=body, timeout=10).raise_for_status()

        pool = stack.enter_context(ThreadPoolExecutor(THREADS))
        list(pool.map(call, range(_WARM)))
        began = time.process_time()
        list(pool.map(call, range(calls)))
        return 1e6 * (time.process_time() - began) / calls
