"""What a gateway that hangs costs the messages of others: ``make bench-hanging``. Ten minutes.

Two services run beside each other. In both, messages for Great Britain come at a steady rate through a gateway that is
well. In one, messages for Pakistan come thrice as often through a gateway, or two, that take every call and never
answer. Compares how long those for Great Britain take from a start's 201 to their acceptance, for several time-outs and
one and two workers with the default number of threads. Ends with 1 when the 95th percentile of any case is more than
twice that of the service where nothing hangs.
"""

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from breaches import ended_short_of
from gateway_standin import Behaviour, Served, StandIn
from rig import Rig, Started, percentile, until

CALL = 50
"""Milliseconds that a call of the gateway takes that is well."""
WELL, HANGING = 10.0, 30.0
"""Messages a second through it, and through those that hang."""
MOST = 2.0
"""How many times the quiet 95th percentile the other may be."""
_WARM = 20
"""Messages before anything is measured: connections are made, code is loaded."""
_GB, _PK = "+447400", "+92345"
_PATIENCE = 90.0


@dataclass(frozen=True)
class Case:
    """What is compared."""

    timeout: float
    gateways: int
    """How many hang."""
    workers: int

    @property
    def seconds(self) -> float:
        """How long messages come: until the breaker has opened, and a while longer."""
        return self.timeout / 2 + 15


@dataclass(frozen=True)
class Waits:
    """Seconds that the messages through the gateway that is well took."""

    case: Case
    quiet: Sequence[float]
    beside: Sequence[float]

    @property
    def ratio(self) -> float:
        """How many times longer they took beside gateways that hang: the 95th percentiles."""
        return percentile(self.beside, 0.95) / percentile(self.quiet, 0.95)


class Side:
    """A service with one gateway that is well, and perhaps some that hang."""

    def __init__(self, stack: ExitStack, folder: Path, case: Case, hanging: int) -> None:
        self._well = StandIn("well", milliseconds=CALL, timeout=case.timeout)
        silent = [StandIn(f"hangs-{place}", Behaviour.SILENT, timeout=case.timeout) for place in range(hanging)]
        routes = [{"countries": ["GB"], "gateways": ["well"]}, {"gateways": [one.name for one in silent] or ["well"]}]
        self._rig = Rig.build(stack, folder, (self._well, *silent), routes=routes)
        for _ in range(case.workers):
            self._rig.launch_worker()
        self._rig.wait_for_workers()
        self._pool = stack.enter_context(ThreadPoolExecutor(32))
        self.start(_WARM, WELL, _GB)

    def start(self, count: int, per_second: float, beginning: str) -> list[Started]:
        """Start verifications at a steady rate; return those that were accepted."""
        return self._rig.start_many(count, per_second, self._pool, beginning)

    def waits(self, started: Sequence[Started]) -> list[float]:
        """Return how long each of these took, once all have been accepted."""
        until(lambda: len(self._served()) >= _WARM + len(started), _PATIENCE, "some still wait")
        taken = {self._rig.slot(one.dispatch)[0]: one.answered for one in self._served()}
        return [max(0.0, taken[one.id] - one.at) for one in started]

    def kill(self) -> None:
        """End the workers at once: their calls would be waited for."""
        for worker in self._rig.workers:
            worker.kill()

    def _served(self) -> list[Served]:
        return self._well.served(self._rig.folder)


def main() -> int:
    """Measure and print; return 1 when the objective was missed."""
    options = _options()
    cases = list(itertools.starmap(Case, itertools.product(options.timeouts, options.gateways, options.workers)))
    with tempfile.TemporaryDirectory(prefix="otp-service-hanging-") as name:
        measured = [_measure(Path(name) / f"{place}", case) for place, case in enumerate(cases)]
    _print(measured)
    return ended_short_of(
        [f"{one.case}: {one.ratio:.1f} times the quiet 95th percentile" for one in measured if one.ratio > MOST]
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--timeouts", type=float, nargs="+", default=[10, 30, 60])
    parser.add_argument("--gateways", type=int, nargs="+", default=[1, 2], help="that hang")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    return parser.parse_args()


def _measure(folder: Path, case: Case) -> Waits:
    folder.mkdir()
    with ExitStack() as stack:
        quiet, beside = Side(stack, folder / "quiet", case, 0), Side(stack, folder / "beside", case, case.gateways)
        with ThreadPoolExecutor(3) as pool:
            others = pool.submit(beside.start, round(HANGING * case.seconds), HANGING, _PK)
            started = [pool.submit(side.start, round(WELL * case.seconds), WELL, _GB) for side in (quiet, beside)]
            others.result()
        waits = [side.waits(each.result()) for side, each in zip((quiet, beside), started, strict=True)]
        beside.kill()
    return Waits(case, *waits)


def _print(measured: Sequence[Waits]) -> None:
    print(
        f"\nFrom 201 to accepted by a gateway that is well, {WELL:g} messages a second, {CALL} ms a call: where\n"
        f"nothing else comes, and at the same time beside {HANGING:g} a second through gateways that hang;\n"
        f"{os.cpu_count()} cores shared by all:\n\n"
        "| time-out s | that hang | workers | quiet p50, p95, max ms | beside p50, p95, max ms | p95 of quiet |\n"
        "|---:|---:|---:|---:|---:|---:|"
    )
    for one in measured:
        quiet, beside = (
            ", ".join(f"{1000 * percentile(waits, share):,.0f}" for share in (0.5, 0.95, 1))
            for waits in (one.quiet, one.beside)
        )
        case = one.case
        print(f"| {case.timeout:g} | {case.gateways} | {case.workers} | {quiet} | {beside} | {one.ratio:.2f} |")


if __name__ == "__main__":
    sys.exit(main())
