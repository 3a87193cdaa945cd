"""What the benchmark puts under load: two floors, and the service's starts and checks."""

import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import redis
import wrk
from commands import Commands
from processes import Process, cpu_seconds, free_port, start_valkey, wait_for_port
from seeding import BenchSettings, forget_messages, seed_checks

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
FLOORS = ("constant", "one get")
_SPARE = 2.0
"""Verifications that are made ready for a round of checks, as a multiple of the most that a round checked."""
_FIRST_CHECKS = 10_000
"""Those of a second of the first round."""


@dataclass(frozen=True)
class Sample:
    """What one round of load showed."""

    rate: float
    """Answers 2xx a second: to refuse is cheap, and no work done."""
    cost: float
    """Processor time of the target's processes, user and system, in microseconds a request."""
    p50: float
    """Milliseconds."""
    p99: float
    failed: int
    """Answers other than 2xx, which are in the times, and requests that were not answered."""

    @classmethod
    def of(cls, told: wrk.Finding, spent: float) -> Self:
        """Return what a round showed in which the target's processes spent so many seconds of processor time."""
        cost = 1e6 * spent / max(1, told.requests)
        return cls(told.accepted, cost, 1e3 * told.p50, 1e3 * told.p99, told.failed)


@dataclass(frozen=True)
class Measured:
    """What the rounds of one target showed."""

    name: str
    samples: Sequence[Sample]
    commands: Commands


@dataclass
class Target:
    """One thing to measure."""

    name: str
    url: str
    script: str
    process: Process
    commands: Commands
    prepare: Callable[[float], dict[str, str]] = lambda _: {}
    """Prepares a round of so many requests; returns what wrk's script needs in its environment."""
    samples: list[Sample] = field(default_factory=list)
    _most: float = 0.0
    """Answers a second of the fastest round."""

    def measure(self, seconds: int, connections: int) -> Sample:
        """Put the target under load for a while; keep and return what was seen."""
        environment = self.prepare((_SPARE * self._most or _FIRST_CHECKS) * seconds)
        self.commands.begin()
        began = cpu_seconds(self.process.pid)
        told = wrk.load(self.url, self.script, connections, seconds, environment)
        spent = cpu_seconds(self.process.pid) - began
        self.commands.end(told.requests)
        sample = Sample.of(told, spent)
        self.samples.append(sample)
        self._most = max(self._most, sample.rate)
        return sample

    def finished(self) -> Measured:
        """Return what the rounds up to now showed, and begin anew."""
        measured = Measured(self.name, self.samples, self.commands)
        self.samples, self.commands = [], Commands(self.commands.client)
        return measured


@dataclass(frozen=True)
class Bench:
    """A Valkey, and all targets over it."""

    client: redis.Redis
    settings: BenchSettings
    targets: tuple[Target, ...]

    @classmethod
    def build(cls, stack: ExitStack, folder: Path, *, processes: int, log_level: str = "INFO") -> "Bench":
        """Start everything; it ends with the stack."""
        folder.mkdir()
        url = start_valkey(stack, folder)
        client = stack.enter_context(redis.Redis.from_url(url))
        settings = BenchSettings.make(folder, url, processes, log_level)
        floors = [_floor(stack, name, client, url, processes) for name in FLOORS]
        serve = [str(BIN / "otp-service"), "serve", "--config", str(settings.path)]
        service = Process.start(stack, serve, log=folder / "service.log")
        wait_for_port(settings.port)
        base, key = f"http://127.0.0.1:{settings.port}", {"BENCH_API_KEY": settings.api_key}

        def numbers(_: float) -> dict[str, str]:
            forget_messages(client)
            return key

        def codes(requests: float) -> dict[str, str]:
            return {**numbers(requests), "BENCH_CODES": str(seed_checks(settings, folder / "codes", int(requests)))}

        start = Target("start", f"{base}/v1/verifications", "start.lua", service, Commands(client), numbers)
        check = Target("check", base, "check.lua", service, Commands(client), codes)
        return cls(client, settings, (*floors, start, check))

    def of(self, *names: str) -> tuple[Target, ...]:
        """Return targets by their names."""
        return tuple(target for target in self.targets if target.name in names)


def median(samples: Sequence[Sample], figure: str) -> float:
    """Return the median of a figure of samples."""
    return statistics.median(getattr(sample, figure) for sample in samples)


def _floor(stack: ExitStack, name: str, client: redis.Redis, valkey_url: str, processes: int) -> Target:
    port = free_port()
    command = [
        str(BIN / "granian"), "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--workers",
        str(processes), "--blocking-threads", "2", "--factory", "--no-ws", "--http", "1", "--log-level", "error",
        "--working-dir", str(HERE), f"floor:{name.replace(' ', '_')}",
    ]  # fmt: skip
    process = Process.start(stack, command, {"BENCH_REDIS_URL": valkey_url})
    wait_for_port(port)
    return Target(name, f"http://127.0.0.1:{port}/", "post.lua", process, Commands(client))
