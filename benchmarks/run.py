"""Requests a second and processor time a request, as ratios to floors measured in the same run.

Bare times say more about a machine than about a service; so a constant answer by the same server and framework, and
the same with one Redis ``GET``, are measured in turn with the service, round by round, and medians are compared.
The service runs as in production: one log line a request, at level INFO, to a file. A second table says what a request
costs in Redis, by the server's own counters; more than one round trip is an error.
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

import redis
from commands import Commands
from processes import Process, cpu_seconds, free_port, start_valkey, wait_for_port
from seeding import BenchSettings, seed_checks

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
ONE = 1.05
"""One round trip a request, and what a few connections need to begin with."""


@dataclass
class Target:
    """One thing to measure."""

    name: str
    url: str
    script: str
    process: Process
    commands: Commands
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
        load = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(HERE / self.script), self.url]
        self.commands.begin()
        began = cpu_seconds(self.process.pid)
        output = Process.output_of(load, environment)
        spent = cpu_seconds(self.process.pid) - began
        requests = int(_found(r"(\d+) requests in", output))
        self.commands.end(requests)
        self.rates.append(float(_found(r"Requests/sec:\s+([\d.]+)", output)))
        self.costs.append(1e6 * spent / max(1, requests))
        self.p50.append(_milliseconds(_found(r"(?m)^\s+50%\s+(\S+)", output)))
        self.p99.append(_milliseconds(_found(r"(?m)^\s+99%\s+(\S+)", output)))
        self.errors += int(_found(r"Non-2xx or 3xx responses: (\d+)", output, "0"))


def main() -> int:
    """Measure and print; return 1 when an answer was not the expected one or took more than one round trip."""
    options = _options()
    if shutil.which("wrk") is None:
        print("The benchmark needs wrk (Debian: apt install wrk).", file=sys.stderr)
        return 2
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otp-service-bench-")))
        targets = _start_all(stack, folder, options)
        for _ in range(options.rounds):
            for target in targets:
                target.measure(options.seconds, options.connections)
        _print(targets, options)
        _print_commands(targets)
    return 1 if any(target.errors or target.commands.round_trips > ONE for target in targets) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--processes", type=int, default=2, help="application processes")
    parser.add_argument("--log-level", default="INFO", help="of the service")
    return parser.parse_args()


def _start_all(stack: ExitStack, folder: Path, options: argparse.Namespace) -> list[Target]:
    valkey_url = start_valkey(stack, folder)
    client = stack.enter_context(redis.Redis.from_url(valkey_url))
    settings = BenchSettings.make(folder, valkey_url, options.processes, options.log_level)
    floors = [_floor(stack, name, client, valkey_url, options.processes) for name in ("constant", "one_get")]
    serve = [str(BIN / "otp-service"), "serve", "--config", str(settings.path)]
    service = Process.start(stack, serve, log=folder / "service.log")
    wait_for_port(settings.port)
    base = f"http://127.0.0.1:{settings.port}"
    key = {"BENCH_API_KEY": settings.api_key}

    def fresh_codes() -> dict[str, str]:
        return {**key, "BENCH_CODES": str(seed_checks(settings, folder / "codes", options.seconds * 6000))}

    return [
        *floors,
        Target("start", f"{base}/v1/verifications", "start.lua", service, Commands(client), lambda: key),
        Target("check", base, "check.lua", service, Commands(client), fresh_codes),
    ]


def _floor(stack: ExitStack, name: str, client: redis.Redis, valkey_url: str, processes: int) -> Target:
    port = free_port()
    command = [
        str(BIN / "granian"), "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--workers",
        str(processes), "--blocking-threads", "2", "--factory", "--no-ws", "--http", "1", "--log-level", "error",
        "--working-dir", str(HERE), f"floor:{name}",
    ]  # fmt: skip
    process = Process.start(stack, command, {"BENCH_REDIS_URL": valkey_url})
    wait_for_port(port)
    return Target(name.replace("_", " "), f"http://127.0.0.1:{port}/", "post.lua", process, Commands(client))


def _print(targets: list[Target], options: argparse.Namespace) -> None:
    rate_floor, cost_floor = statistics.median(targets[0].rates), statistics.median(targets[0].costs)
    print(
        f"\nMedians of {options.rounds} rounds of {options.seconds} s, {options.connections} connections, "
        f"{options.processes} processes of 2 threads, log level {options.log_level}, one Valkey, "
        f"{os.cpu_count()} cores shared by all:\n"
    )
    print(
        "| target | requests/s | of constant | CPU µs a request | of constant | p50 ms | p99 ms | unexpected answers |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for target in targets:
        rate, cost = statistics.median(target.rates), statistics.median(target.costs)
        print(
            f"| {target.name} | {rate:,.0f} | {rate / rate_floor:.2f} | {cost:.0f} | {cost / cost_floor:.1f} "
            f"| {statistics.median(target.p50):.1f} | {statistics.median(target.p99):.1f} | {target.errors} |"
        )


def _print_commands(targets: list[Target]) -> None:
    print("\n| target | round trips a request | Redis commands a request, inside scripts too |")
    print("|---|---:|---|")
    for target in targets:
        figures = target.commands.per_request()
        named = ", ".join(f"{name} {figure:.2f}" for name, figure in figures.items()) or "none"
        print(f"| {target.name} | {target.commands.round_trips:.2f} | {sum(figures.values()):.1f}: {named} |")


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
