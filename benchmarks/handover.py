"""Workers that are reloaded and replaced under load: ``make handover``. Five minutes.

Messages come at a steady rate; the gateway accepts every call, and each fifth takes long enough to count as slow.
Meanwhile a worker, then two of them, are told to read their settings anew, again and again; two are replaced one after
the other; and one that works alone ends, and another begins when it is gone. Ends with 1 when a start was refused, a
breaker opened, a message was lost or sent twice, or the gateway was not called for longer than its slowest call takes
while a worker was there.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from breaches import ended_short_of
from gateway_standin import Behaviour, StandIn
from rig import Rig, Started, percentile, until

PER_SECOND = 20.0
SLOW = 8.0
"""Seconds that each fifth call takes; with the default time-out of 10, 5 are slow."""
_SETTLED = 10.0
"""Seconds between two reloads or restarts: as long as a slow call takes, and more."""
_PATIENCE = 60.0
ALONE = "a worker ends, then another begins"
"""Where none is there while the first one's calls end."""


@dataclass(frozen=True)
class Outcome:
    """What was seen of one way to hand over."""

    name: str
    offered: int
    accepted: int
    gap: float
    """The longest time that passed between two calls of the gateway, in seconds."""
    opened: int
    """Times that its breaker opened."""
    wrong: int
    """Messages that were lost or sent twice."""
    waits: Sequence[float]
    """Seconds from a start's 201 until the gateway was called."""

    @property
    def is_missed(self) -> bool:
        """Whether it is not what it should be."""
        return bool(
            self.opened or self.wrong or self.accepted < self.offered or (self.gap > SLOW and self.name != ALONE)
        )


class Load:
    """A service of some workers, and messages that come while something is done to them."""

    def __init__(self, stack: ExitStack, folder: Path, workers: int) -> None:
        self._gateway = StandIn("gateway", Behaviour.FIFTH, 1000 * SLOW, timeout=10.0)
        self.rig = Rig.build(stack, folder, (self._gateway,))
        for _ in range(workers):
            self.rig.launch_worker()
        self.rig.wait_for_workers()
        self._pool = stack.enter_context(ThreadPoolExecutor(32))

    def watch(self, name: str, seconds: float, act: Callable[[Rig], None]) -> Outcome:
        """Let messages come for so long, and act meanwhile."""
        offered = round(seconds * PER_SECOND)
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self.rig.start_many, offered, PER_SECOND, self._pool)
            time.sleep(_SETTLED)
            act(self.rig)
            started = coming.result()
        until(lambda: not self.rig.waiting(), _PATIENCE, "messages are still waiting")
        time.sleep(SLOW)
        return self._outcome(name, offered, started)

    def _outcome(self, name: str, offered: int, started: Sequence[Started]) -> Outcome:
        served = sorted(self._gateway.served(self.rig.folder), key=lambda one: one.came)
        came = {self.rig.slot(one.dispatch)[0]: one.came for one in served}
        sent = Counter(self.rig.slot(one.dispatch)[0] for one in served)
        last = max(one.at for one in started)
        gaps = [later.came - earlier.came for earlier, later in pairwise(served) if earlier.came < last]
        logs = "".join(log.read_text() for log in self.rig.folder.glob("worker-*.log"))
        wrong = sum(sent[one.id] != 1 for one in started)
        waits = [max(0.0, came[one.id] - one.at) for one in started if one.id in came]
        return Outcome(name, offered, len(started), max(gaps), logs.count('"breaker_open"'), wrong, waits)


def _reload(times: int) -> Callable[[Rig], None]:
    def act(rig: Rig) -> None:
        for _ in range(times):
            for worker in rig.workers:
                os.kill(worker.pid, signal.SIGHUP)
            time.sleep(_SETTLED)

    return act


def _replace_all(rig: Rig) -> None:
    """Replace each worker by a new one, which begins when the old one has ended."""
    for worker in list(rig.workers):
        worker.process.terminate()
        worker.process.join()
        rig.workers.remove(worker)
        rig.launch_worker()
        rig.wait_for_workers()
        time.sleep(_SETTLED)


WAYS: Sequence[tuple[str, int, float, Callable[[Rig], None]]] = (
    ("a worker is reloaded, 4 times", 1, 60.0, _reload(4)),
    ("two workers are reloaded at once, 4 times", 2, 60.0, _reload(4)),
    ("two workers are replaced, one by one", 2, 60.0, _replace_all),
    (ALONE, 1, 45.0, _replace_all),
)


def main() -> int:
    """Measure and print; return 1 when the objective was missed."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="otp-service-handover-") as name:
        seen = [_measure(Path(name) / f"{place}", *way) for place, way in enumerate(WAYS)]
    _print(seen)
    return ended_short_of([one.name for one in seen if one.is_missed])


def _measure(folder: Path, name: str, workers: int, seconds: float, act: Callable[[Rig], None]) -> Outcome:
    with ExitStack() as stack:
        return Load(stack, folder, workers).watch(name, seconds, act)


def _print(seen: Sequence[Outcome]) -> None:
    print(
        f"\n{PER_SECOND:g} messages a second, each fifth call takes {SLOW:g} s, the others none; {os.cpu_count()} "
        "cores shared by all:\n\n"
        "| | starts refused | longest gap s | breaker opened | lost or doubled | to the gateway p50, p95, max s |\n"
        "|---|---:|---:|---:|---:|---:|"
    )
    for one in seen:
        waits = ", ".join(f"{percentile(one.waits, share):.2f}" for share in (0.5, 0.95, 1))
        refused = f"{one.offered - one.accepted} of {one.offered}"
        print(f"| {one.name} | {refused} | {one.gap:.1f} | {one.opened} | {one.wrong} | {waits} |")


if __name__ == "__main__":
    sys.exit(main())
