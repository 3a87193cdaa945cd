"""How fast the service answers, as ratios to floors measured in the same run; writes ``docs/performance/report.md``.

Bare times say more about a machine than about a service; so a constant answer by the same server and framework, and
the same with one Redis ``GET``, are measured in turn with the service, round by round, and medians are compared.
The service runs as in production: one log line a request, at level INFO, to a file. Round trips and commands are the
Redis server's own count; more than one round trip a request is an error. Then: how it grows with connections, with
processes, and with verifications that live in Redis; and where the time of a request goes.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from anatomy import anatomies
from in_process import within
from live_verifications import Living
from machine import describe
from report import Curve, Findings, Life, ratio_table, write
from targets import Bench, Sample, Target

ONE = 1.05
"""One round trip a request, and what a few connections need to begin with."""
CONNECTIONS = (1, 4, 16, 64, 256)
PROCESSES = (1, 2, 4)
LIVES = (1_000, 10_000, 100_000, 1_000_000)
COMPARED = ("start", "check", "constant")
_REPORT = Path(__file__).resolve().parents[1] / "docs" / "performance"


def main() -> int:
    """Measure, print and write; return 1 when an answer was not the expected one or took more than one round trip."""
    options = _options()
    if shutil.which("wrk") is None:
        print("The benchmark needs wrk (Debian: apt install wrk).", file=sys.stderr)
        return 2
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otp-service-bench-")))
        findings = _measure(stack, folder, options)
    print("\n".join(["", findings.how, "", *ratio_table(findings), "", *findings.missed]))
    write(options.report, findings)
    print(f"\nThe report: {options.report / 'report.md'}")
    return 1 if findings.failed or any(measured.commands.round_trips > ONE for measured in findings.targets) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of a round")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--processes", type=int, default=2, help="application processes")
    parser.add_argument("--log-level", default="INFO", help="of the service")
    parser.add_argument("--live", type=int, default=LIVES[-1], help="verifications that live in Redis at the end")
    parser.add_argument("--report", type=Path, default=_REPORT, help="folder that the report is written into")
    return parser.parse_args()


def _measure(stack: ExitStack, folder: Path, options: argparse.Namespace) -> Findings:
    bench = Bench.build(stack, folder / "main", processes=options.processes, log_level=options.log_level)
    for round_ in range(options.rounds):
        _tell(f"round {round_ + 1} of {options.rounds}")
        for target in bench.targets:
            target.measure(options.seconds, options.connections)
    machine, targets = describe(bench.client), [target.finished() for target in bench.targets]
    _tell("taking a call apart")
    apart = anatomies(bench.client, bench.settings, folder)
    _tell("calls without a server")
    alone = within(bench.client, bench.settings, folder)
    by_connections = _by_connections(bench, options)
    by_processes = _by_processes(folder, options)
    lives = _lives(stack, folder, options)
    how = (
        f"Medians of {options.rounds} rounds of {options.seconds} s, {options.connections} connections, "
        f"{options.processes} processes of 2 threads, log level {options.log_level}, one Valkey with an append-only "
        "file."
    )
    return Findings(machine, how, targets, by_connections, by_processes, lives, apart, alone)


def _by_connections(bench: Bench, options: argparse.Namespace) -> Mapping[str, Curve]:
    curves: dict[str, list[tuple[int, Sample]]] = {name: [] for name in COMPARED}
    for connections in CONNECTIONS:
        _tell(f"{connections} connections")
        for target in bench.of(*COMPARED):
            curves[target.name].append((connections, _middle(target, options.seconds, connections)))
    return curves


def _by_processes(folder: Path, options: argparse.Namespace) -> Mapping[str, Curve]:
    curves: dict[str, list[tuple[int, Sample]]] = {name: [] for name in COMPARED}
    for processes in PROCESSES:
        _tell(f"{processes} processes")
        with ExitStack() as stack:
            bench = Bench.build(stack, folder / f"processes-{processes}", processes=processes)
            for target in bench.of(*COMPARED):
                curves[target.name].append((processes, _middle(target, options.seconds, options.connections)))
    return curves


def _lives(stack: ExitStack, folder: Path, options: argparse.Namespace) -> list[Life]:
    bench = Bench.build(stack, folder / "lives", processes=options.processes)
    start, check = bench.of("start", "check")
    for target in (start, check):
        target.measure(1, 1)  # what a first call makes is not what one verification takes
    living = Living(bench.client, bench.settings)
    found = []
    for count in (one for one in LIVES if one <= options.live):
        _tell(f"{count:,} live verifications")
        living.grow(count)
        each = living.bytes_each
        one, other = (_middle(target, options.seconds, 1) for target in (start, check))
        found.append(Life(count, each, one.p50, other.p50, one.failed + other.failed))
    return found


def _middle(target: Target, seconds: int, connections: int) -> Sample:
    """Return the middle one of three rounds, by its rate."""
    return sorted((target.measure(seconds, connections) for _ in range(3)), key=lambda sample: sample.rate)[1]


def _tell(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
