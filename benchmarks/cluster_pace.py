"""What a start costs on a cluster, by processor time: ``make cluster-pace``. Three minutes.

One server and the three primaries of a cluster are called in turns, each alone and for numbers of its own buckets, so
that all meet the same neighbours and are woken as often. Without replicas. Half of the starts come from IPv6 (``--ipv6
1``: all). Prints the time within the server's calls, its processor time without what it spends idle, and that of the
calling thread within the store; and how many starts the cluster bears when each primary has a core of its own and its
share of the numbers. Ends with 1 when calls take more than 1.1 times, or the thread more than 1.3 times, what they take
with one server, or when the cluster bears less than 1.9 times as many starts.
"""

import argparse
import itertools
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
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
from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.settings import settings_from
from otp_service.store import keys
from otp_service.store.verifications import Verifications

MAX_WITHIN_CALLS, MAX_OF_CALLER, MIN_LOAD = 1.1, 1.3, 1.9
BUCKETS = 16
THREADS = 8
"""That call at once: a server that is busy is woken less often."""
APPLICATIONS = tuple(f"shop-{place}" for place in range(16))
_MANY = ["100000000/minute"]


@dataclass
class Side:
    """A server, and what each turn took, in microseconds a start."""

    name: str
    server: redis.Redis
    callers: Sequence[Caller]
    buckets: Collection[str]
    """Those that the server has."""
    within_calls: list[float] = field(default_factory=list)
    of_server: list[float] = field(default_factory=list)
    of_caller: list[float] = field(default_factory=list)
    idle: float = 0.0
    """Processor time of a second without calls, in seconds."""
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(THREADS))

    def measure_idle(self, seconds: float) -> None:
        """Measure what the server spends without calls."""
        before = self._spent()
        time.sleep(seconds)
        self.idle = (self._spent() - before) / seconds

    def take(self, starts: Iterator[tuple[str, str]], count: int, clock: list[float]) -> None:
        """Start verifications of own numbers; ``clock`` has the seconds of threads within the store."""
        own = list(itertools.islice(filter(self._is_own, starts), count))
        clock.clear()
        self.server.config_resetstat()
        before, began = self._spent(), time.monotonic()
        list(self._threads.map(self._start, own, itertools.cycle(self.callers)))
        spent = self._spent() - before - self.idle * (time.monotonic() - began)
        calls: Any = self.server.info("commandstats")
        self.within_calls.append(calls["cmdstat_fcall"]["usec"] / count)
        self.of_server.append(1e6 * spent / count)
        self.of_caller.append(1e6 * sum(clock) / count)

    def forget(self) -> None:
        """Forget the turns."""
        for figures in (self.within_calls, self.of_server, self.of_caller):
            figures.clear()

    def _is_own(self, start: tuple[str, str]) -> bool:
        keyring = self.callers[0].context.keyring
        return subject_key(keyring, parse_destination(start[0], None)).bucket in self.buckets

    @staticmethod
    def _start(start: tuple[str, str], caller: Caller) -> None:
        to, client_ip = start
        caller.start(to, client_ip=client_ip)

    def _spent(self) -> float:
        cpu: Any = self.server.info("cpu")
        return float(cpu["used_cpu_user_main_thread"]) + float(cpu["used_cpu_sys_main_thread"])

    @property
    def share(self) -> float:
        """The part of all numbers that the server has."""
        return len(self.buckets) / BUCKETS


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
        of_cluster = _callers(url=cluster.nodes[0].url, replicas=0)
        buckets = of_cluster[0].context.keyring.buckets
        sides = [Side("one server", alone.client, _callers(url=alone.url), buckets)]
        for place, node in enumerate(cluster.nodes, start=1):
            own = {bucket for bucket in buckets if cluster.of(keys.mirror(bucket)) is node}
            sides.append(Side(f"primary {place}", node.client, of_cluster, own))
        clock, starts = _clock_within_the_store(), _starts(options.ipv6)
        for side in sides:
            side.take(starts, options.starts, clock)  # scripts are loaded, connections opened
            side.forget()
            side.measure_idle(2.0)
        for turn in range(options.turns):
            for side in sides if turn % 2 else reversed(sides):
                side.take(starts, options.starts, clock)
    return _report(*sides)


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
    """Yield unknown numbers, each once, with addresses in networks of their own; ``ipv6`` is the share of IPv6."""
    draw = Random(1)
    for place in itertools.count():
        number = place * 12_345_679 % 200_000_000  # coprime: no number comes twice
        yield f"+92{3_000_000_000 + number}", _address(draw, is_long=draw.random() < ipv6)


def _address(draw: Random, *, is_long: bool) -> str:
    if is_long:
        return "2a01:{:x}:{:x}:{:x}::1".format(*(draw.randrange(65536) for _ in range(3)))
    return "81.{}.{}.{}".format(*(draw.randrange(256) for _ in range(3)))


def _clock_within_the_store() -> list[float]:
    """Return a list that gets each start's processor time within the store, in seconds."""
    clock, start = list[float](), Verifications.start

    def timed(*arguments: Any, **options: Any) -> Any:
        began = time.thread_time()
        try:
            return start(*arguments, **options)
        finally:
            clock.append(time.thread_time() - began)

    Verifications.start = timed  # type: ignore[method-assign]
    return clock


def _report(one: Side, *primaries: Side) -> int:
    print("| µs a start | numbers | within calls | ratio | server | ratio | calling thread, in the store | ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    breaches, load = [], math.inf
    of_one = [statistics.median(figures) for figures in (one.within_calls, one.of_server, one.of_caller)]
    for side in (one, *primaries):
        figures = [statistics.median(figures) for figures in (side.within_calls, side.of_server, side.of_caller)]
        ratios = [figure / base for figure, base in zip(figures, of_one, strict=True)]
        columns = [f"{figure:.0f} | {ratio:.2f}" for figure, ratio in zip(figures, ratios, strict=True)]
        print(f"| {side.name} | {side.share:.0%} | {' | '.join(columns)} |")
        if side is not one:
            load = min(load, 1 / (ratios[1] * side.share))
        if ratios[0] > MAX_WITHIN_CALLS:
            breaches.append(f"within calls of {side.name}: {ratios[0]:.2f} times, more than {MAX_WITHIN_CALLS}")
        if ratios[2] > MAX_OF_CALLER:
            breaches.append(f"the thread that calls {side.name}: {ratios[2]:.2f} times, more than {MAX_OF_CALLER}")
    print(f"\nThree primaries, each with a core of its own, bear {load:.2f} times as many starts.")
    if load < MIN_LOAD:
        breaches.append(f"the load: {load:.2f} times, less than {MIN_LOAD}")
    return ended_with(breaches)


if __name__ == "__main__":
    sys.exit(main())
