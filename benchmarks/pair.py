"""What a change costs: two checkouts of the project, each with its own Valkey, take turns under the same load.

A single run scatters by a tenth on a shared machine; the ratio of two that are seconds apart scatters less, and the
median of many such pairs is what is compared. Each checkout is served by its own code, and seeded by it (`paired.py`).
A process keeps what it was lucky with, its place in memory, as long as it lives, a tenth as well: so there are several.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import wrk

HERE = Path(__file__).parent
CONNECTIONS = 16
_CHECKS = 10_000
"""Verifications that are made ready for a second of checks: more than are checked."""
_FIGURES = ("rate", "cpu", "valkey")


@dataclass(frozen=True)
class Seen:
    """What one turn showed."""

    rate: float
    """Answers 2xx a second."""
    cpu: float
    """Processor time of the application's processes, microseconds a request."""
    valkey: float
    """The same of Valkey."""
    errors: int


class Checkout:
    """One of the two, being served."""

    def __init__(self, stack: ExitStack, tree: Path) -> None:
        # Both take the server of this wheel, whichever they prefer: on this path there is no other. Gateways are entry
        # points of an installed wheel, so each has an environment of its own.
        path = str(Path(sys.executable).parent)
        python = tree / ".venv" / "bin" / "python"
        environment = {**os.environ, "PATH": path, "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'benchmarks'}"}
        self._process = stack.enter_context(
            subprocess.Popen(
                [python, "-P", str(tree / "benchmarks" / "paired.py")], cwd=tree, env=environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
        )  # fmt: skip
        stack.callback(self._process.communicate, "")
        self._where = json.loads(self._answer())

    def turn(self, kind: str, seconds: int) -> Seen:
        """Put it under load for some seconds."""
        environment = {"BENCH_API_KEY": self._where["key"]}
        url = f"http://127.0.0.1:{self._where['port']}"
        if kind == "start":
            url += "/v1/verifications"
            self._ask("clean")
        else:
            environment["BENCH_CODES"] = self._ask(f"seed {seconds * _CHECKS}")
        before = json.loads(self._ask("cpu"))
        told = wrk.load(url, f"{kind}.lua", CONNECTIONS, seconds, environment)
        after = json.loads(self._ask("cpu"))
        service, valkey = (1e6 * (after[name] - before[name]) / told.requests for name in ("service", "valkey"))
        return Seen(told.accepted, service, valkey, told.failed)

    def _ask(self, what: str) -> str:
        print(what, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> str:
        return self._process.stdout.readline().strip() if self._process.stdout else ""


def main() -> int:
    """Measure and print; return 1 when an answer was not the expected one."""
    options = _options()
    errors = 0
    print("| call | figure | before | here | here / before: median | quartiles |\n|---|---|---:|---:|---:|---|")
    for kind in options.calls:
        pairs = [pair for _ in range(options.processes) for pair in _pairs(options, kind)]
        for figure in _FIGURES:
            _print(kind, figure, [[getattr(seen, figure) for seen in pair] for pair in pairs])
        errors += sum(seen.errors for pair in pairs for seen in pair)
    return 1 if errors else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="another checkout, in which make setup has run")
    parser.add_argument("--processes", type=int, default=5, help="how often both are started anew")
    parser.add_argument("--pairs", type=int, default=4, help="turns of both, each time")
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--calls", nargs="+", choices=("start", "check"), default=["start", "check"])
    return parser.parse_args()


def _pairs(options: argparse.Namespace, kind: str) -> list[list[Seen]]:
    """Start both, and return what they show in turns."""
    with ExitStack() as stack:
        both = [Checkout(stack, tree) for tree in (options.before.resolve(), HERE.parent)]
        for one in both:
            one.turn(kind, 2)
        return [_pair(both, kind, options.seconds, swapped=bool(turn % 2)) for turn in range(options.pairs)]


def _pair(both: Sequence[Checkout], kind: str, seconds: int, *, swapped: bool) -> list[Seen]:
    """Return what the two show, one right after the other; which comes first changes from pair to pair."""
    seen = [one.turn(kind, seconds) for one in (reversed(both) if swapped else both)]
    return seen[::-1] if swapped else seen


def _print(kind: str, figure: str, pairs: Sequence[Sequence[float]]) -> None:
    before, here = (statistics.median(figures) for figures in zip(*pairs, strict=True))
    lower, median, upper = statistics.quantiles([after / first for first, after in pairs], n=4)
    ratios = f"{median:.3f} | {lower:.3f} to {upper:.3f}"
    print(f"| {kind} | {figure} | {before:,.0f} | {here:,.0f} | {ratios} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
