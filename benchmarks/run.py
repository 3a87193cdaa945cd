"""Requests a second and processor time a request, as ratios to floors measured in the same run.

Bare times say more about a machine than about a service; so a constant answer by the same server and framework, and
the same with one Redis ``GET``, are measured in turn with the service, round by round, and medians are compared.
"""

import argparse
import os
import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from processes import Process, cpu_seconds, free_port, start_valkey, wait_for_port
from seeding import BenchSettings, seed_checks

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent


@dataclass
class Target:
    """One thing to measure."""

    name: str
    url: str
    script: str
    process: Process
    before: Callable[[], dict[str, str]] = dict
    """Prepares a round; returns what wrk's script needs in its environment."""
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    errors: int = 0

    def measure(self, seconds: float, connections: int) -> None:
        """Put the target under load for a while and keep what was seen."""
        environment = {**os.environ, **self.before()}
        began = cpu_seconds(self.process.pid)
        command = [
            "wrk",
            "-t2",
            f"-c{connections}",
            f"-d{seconds}s",
            "--latency",
            "-s",
            str(HERE / self.script),
            self.url,
        ]
        output = Process.output_of(command, environment)
        spent = cpu_seconds(self.process.pid) - began
        requests = int(_found(r"(\d+) requests in", output))
        self.rates.append(float(_found(r"Requests/sec:\s+([\d.]+)", output)))
        self.costs.append(1e6 * spent / max(1, requests))
        self.p50.append(_milliseconds(_found(r"(?m)^\s+50%\s+(\S+)", output)))
        self.p99.append(_milliseconds(_found(r"(?m)^\s+99%\s+(\S+)", output)))
        self.errors += int(_found(r"Non-2xx or 3xx responses: (\d+)", output, "0"))


def main() -> int:
    """Measure and print a table; return 1 when an answer was not the expected one."""
    options = _options()
    if shutil.which("wrk") is None:
        print("The benchmark needs wrk (Debian: apt install wrk).", file=sys.stderr)
        return 2
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otp-service-bench-")))
        targets = _start_all(stack, folder, options.processes, int(options.seconds * 6000))
        for _ in range(options.rounds):
            for target in targets:
                target.measure(options.seconds, options.connections)
        _print(targets, options)
    return 1 if any(target.errors for target in targets) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--processes", type=int, default=2, help="application processes")
    return parser.parse_args()


def _start_all(stack: ExitStack, folder: Path, processes: int, checks: int) -> list[Target]:
    valkey_url = start_valkey(stack, folder)
    settings = BenchSettings.make(folder, valkey_url, processes)
    floors = [_floor(stack, name, valkey_url, processes) for name in ("constant", "one_get")]
    service = Process.start(stack, [str(BIN / "otp-service"), "serve", "--config", str(settings.path)])
    wait_for_port(settings.port)
    base = f"http://127.0.0.1:{settings.port}"
    key = {"BENCH_API_KEY": settings.api_key}

    def fresh_codes() -> dict[str, str]:
        return {**key, "BENCH_CODES": str(seed_checks(settings, folder / "codes", checks))}

    return [
        *floors,
        Target("start", f"{base}/v1/verifications", "start.lua", service, lambda: key),
        Target("check", base, "check.lua", service, fresh_codes),
    ]


def _floor(stack: ExitStack, name: str, valkey_url: str, processes: int) -> Target:
    port = free_port()
    command = [
        str(BIN / "granian"), "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--workers",
        str(processes), "--blocking-threads", "2", "--factory", "--no-ws", "--http", "1", "--log-level", "error",
        "--working-dir", str(HERE), f"floor:{name}",
    ]  # fmt: skip
    process = Process.start(stack, command, {"BENCH_REDIS_URL": valkey_url})
    wait_for_port(port)
    return Target(name.replace("_", " "), f"http://127.0.0.1:{port}/", "post.lua", process)


def _print(targets: list[Target], options: argparse.Namespace) -> None:
    floor = statistics.median(targets[0].rates)
    print(
        f"\nMedians of {options.rounds} rounds of {options.seconds} s, {options.connections} connections, "
        f"{options.processes} processes of 2 threads, one Valkey, {os.cpu_count()} cores shared by all:\n"
    )
    print("| target | requests/s | of constant | CPU µs a request | p50 ms | p99 ms | unexpected answers |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for target in targets:
        rate = statistics.median(target.rates)
        print(
            f"| {target.name} | {rate:,.0f} | {rate / floor:.2f} | {statistics.median(target.costs):.0f} "
            f"| {statistics.median(target.p50):.1f} | {statistics.median(target.p99):.1f} | {target.errors} |"
        )


def _found(pattern: str, text: str, default: str | None = None) -> str:
    match = re.search(pattern, text)
    if match:
        return match[1]
    if default is None:
        raise SystemExit(f"wrk said something unexpected:\n{text}")
    return default


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


if __name__ == "__main__":
    sys.exit(main())
