"""What a start's calls of the store cost on a cluster, by processor time: ``make cluster-pace``. Two minutes.

One server and a cluster of three primaries take turns, so that both meet the same neighbours; nobody waits for
replicas. Half of the starts come from IPv6 (``--ipv6 1``: all). Prints the processor time that all servers spend, what
they spend idle taken off, and that of the thread that calls, within the store; and how many starts the busiest server
of the cluster bears against the one. Ends with 1 when the servers of the cluster spend more than 1.1 times, or the
thread more than 1.3 times, what they do with one server, or when three primaries bear less than 1.9 times as much.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import redis
from breaches import ended_with
from permissive_guard import PERMISSIVE
from support_caller import Caller
from support_cluster import Cluster
from support_installation import tree
from support_valkey import ValkeyServer

from otp_service import bootstrap
from otp_service.settings import settings_from
from otp_service.store.verifications import Verifications

MAX_OF_SERVERS, MAX_OF_CALLER, MIN_LOAD = 1.1, 1.3, 1.9
BUCKETS = 16
THREADS = 8
"""That call at once: a server that is busy is woken less often."""
APPLICATIONS = tuple(f"shop-{place}" for place in range(16))
_MANY = ["100000000/minute"]


@dataclass
class Side:
    """An installation, its servers, and what each turn took, in microseconds a start."""

    name: str
    servers: Sequence[redis.Redis]
    callers: Sequence[Caller]
    of_servers: list[list[float]] = field(default_factory=list)
    """Of each server."""
    of_caller: list[float] = field(default_factory=list)
    idle: float = 0.0
    """Processor time that each server spends in a second without calls, in seconds."""
    _hands: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(THREADS))

    def look_idle(self, seconds: float) -> None:
        """Look what servers spend that nobody calls."""
        before = self._spent()
        time.sleep(seconds)
        self.idle = sum(after - one for one, after in zip(before, self._spent(), strict=True))
        self.idle /= seconds * len(self.servers)

    def take(self, starts: Sequence[tuple[str, str]], clock: list[float]) -> None:
        """Start verifications, and note what that took; ``clock`` has the seconds of threads in the store."""
        clock.clear()
        before, began = self._spent(), time.monotonic()
        list(self._hands.map(self._start, starts, itertools.cycle(self.callers)))
        idle = self.idle * (time.monotonic() - began)
        each = 1e6 / len(starts)
        self.of_servers.append(
            [max(0.0, after - one - idle) * each for one, after in zip(before, self._spent(), strict=True)]
        )
        self.of_caller.append(sum(clock) * each)

    @staticmethod
    def _start(start: tuple[str, str], caller: Caller) -> None:
        to, client_ip = start
        caller.start(to, client_ip=client_ip)

    def _spent(self) -> list[float]:
        told = [server.info("cpu") for server in self.servers]
        return [float(one["used_cpu_user_main_thread"]) + float(one["used_cpu_sys_main_thread"]) for one in told]

    @property
    def servers_spend(self) -> float:
        """What all servers spend on a start."""
        return statistics.median(map(sum, self.of_servers))

    @property
    def busiest_spends(self) -> float:
        """What the busiest server spends on a start, those that others serve alone too."""
        return max(statistics.median(spent) for spent in zip(*self.of_servers, strict=True))

    @property
    def caller_spends(self) -> float:
        """What the thread spends on a start within the store."""
        return statistics.median(self.of_caller)


def main() -> int:
    """Measure and print; return 1 when a start costs more than it may."""
    options = _options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otp-service-pace-", dir="/dev/shm")))
        (folder / "alone").mkdir()
        alone = ValkeyServer(folder / "alone")
        stack.callback(alone.stop)
        cluster = Cluster(folder / "cluster")
        stack.callback(cluster.stop)
        sides = [
            Side("one server", [alone.client], _callers(url=alone.url)),
            Side(
                "three primaries",
                [one.client for one in cluster.nodes],
                _callers(url=cluster.nodes[0].url, replicas=0),
            ),
        ]
        clock, made = _clock_within_the_store(), _starts(options.ipv6)
        for side in sides:
            side.take([next(made) for _ in range(options.starts)], clock)  # scripts are loaded, connections opened
            side.of_servers.clear(), side.of_caller.clear()
            side.look_idle(2.0)
        for turn in range(options.turns):
            for side in sides if turn % 2 else reversed(sides):
                side.take([next(made) for _ in range(options.starts)], clock)
    return _told(*sides)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--starts", type=int, default=100, help="of a turn")
    parser.add_argument("--ipv6", type=float, default=0.5, help="share of the starts")
    return parser.parse_args()


def _callers(**redis: Any) -> list[Caller]:
    own = tree(redis["url"])
    application = {**own["applications"]["shop"], "keys": []}
    settings = {
        **own,
        "redis": redis,
        "keys": {**own["keys"], "buckets": BUCKETS},
        "guard": PERMISSIVE,
        "limits": {"number": _MANY, "application": _MANY, "ip": _MANY},
        "applications": {name: {**application, "name": name} for name in APPLICATIONS},
        "streams": {"max_events": 1_000_000, "max_outbox": 1_000_000},
    }
    installation = bootstrap.install(settings_from(settings))
    bootstrap.prepare(installation)
    bootstrap.watch(installation).start()  # whose processor time is that of a server that nobody calls
    return [Caller(installation, name) for name in APPLICATIONS]


def _starts(ipv6: float) -> Iterator[tuple[str, str]]:
    """Yield numbers that were never asked for, and addresses, such a share of them IPv6, in networks of their own."""
    draw = Random(1)
    while True:
        yield f"+92{300 + draw.randrange(20)}{draw.randrange(10**7):07}", _address(draw, is_long=draw.random() < ipv6)


def _address(draw: Random, *, is_long: bool) -> str:
    if is_long:
        return "2a01:{:x}:{:x}:{:x}::1".format(*(draw.randrange(65536) for _ in range(3)))
    return "81.{}.{}.{}".format(*(draw.randrange(256) for _ in range(3)))


def _clock_within_the_store() -> list[float]:
    """Let the processor time of a start's thread within the store be counted, in seconds."""
    clock, start = list[float](), Verifications.start

    def timed(*arguments: Any, **options: Any) -> Any:
        began = time.thread_time()
        try:
            return start(*arguments, **options)
        finally:
            clock.append(time.thread_time() - began)

    Verifications.start = timed  # type: ignore[method-assign]
    return clock


def _told(one: Side, three: Side) -> int:
    rows = {
        "processor time of all servers, µs a start": (one.servers_spend, three.servers_spend),
        "of the busiest server, µs a start": (one.busiest_spends, three.busiest_spends),
        "of the calling thread within the store, µs a start": (one.caller_spends, three.caller_spends),
    }
    print(f"| | {one.name} | {three.name} | ratio |\n|---|---:|---:|---:|")
    for name, (before, after) in rows.items():
        print(f"| {name} | {before:.0f} | {after:.0f} | {after / before:.2f} |")
    load = one.busiest_spends / three.busiest_spends
    print(f"\nOn cores of their own three primaries bear {load:.2f} times as much.")
    bounds = [
        ("servers", three.servers_spend / one.servers_spend, MAX_OF_SERVERS),
        ("the calling thread", three.caller_spends / one.caller_spends, MAX_OF_CALLER),
    ]
    breaches = [f"{name}: {ratio:.2f} times, more than {bound}" for name, ratio, bound in bounds if ratio > bound]
    return ended_with([*breaches, *([f"the load: {load:.2f} times, less than {MIN_LOAD}"] if load < MIN_LOAD else [])])


if __name__ == "__main__":
    sys.exit(main())
