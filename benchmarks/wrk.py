"""Load by wrk: some connections, each of which asks again as soon as it is answered; and what wrk tells of it."""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
_TIME_OUT = 10
"""Seconds after which wrk takes a request for lost: more than anybody may wait."""
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True)
class Finding:
    """What wrk tells of one load. To refuse is cheap, and no work done: what was accepted is counted apart."""

    requests: int
    accepted: float
    """Answers 2xx, a second."""
    errors: int
    """Other answers; they are in the times."""
    refused: float
    """The same, a second."""
    p50: float
    p99: float
    slowest: float
    """Seconds."""
    unanswered: int
    """Connections that were refused or broke, and requests that took too long."""

    @property
    def failed(self) -> int:
        """Answers other than 2xx, and what was not answered."""
        return self.errors + self.unanswered


def load(url: str, script: str, connections: int, seconds: int, environment: Mapping[str, str]) -> Finding:
    """Put a service under load with one of the scripts here, which get the environment too; return what was seen."""
    threads = min(2, connections)
    how = [f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--latency", f"--timeout={_TIME_OUT}s"]
    command = ["wrk", *how, "-s", str(HERE / script), url]
    environment = {**os.environ, "BENCH_THREADS": str(threads), **environment}
    return read(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def read(text: str) -> Finding:
    """Return what wrk printed. Raises `ValueError` when a figure is missing."""
    requests = int(_found(r"(\d+) requests in", text))
    errors = int(_found(r"Non-2xx or 3xx responses: (\d+)", text, "0"))
    a_second = float(_found(r"Requests/sec:\s+([\d.]+)", text))
    refused = a_second * errors / max(1, requests)
    return Finding(
        requests=requests,
        accepted=a_second - refused,
        errors=errors,
        refused=refused,
        p50=_seconds(_found(r"(?m)^\s+50%\s+(\S+)", text)),
        p99=_seconds(_found(r"(?m)^\s+99%\s+(\S+)", text)),
        slowest=_seconds(_found(r"Latency\s+\S+\s+\S+\s+(\S+)", text)),
        unanswered=sum(map(int, re.findall(r"\d+", _found(r"Socket errors: (.*)", text, "")))),
    )


def _found(pattern: str, text: str, default: str | None = None) -> str:
    match = re.search(pattern, text)
    if match:
        return match[1]
    if default is None:
        raise ValueError(f"wrk said something unexpected:\n{text}")
    return default


def _seconds(told: str) -> float:
    """Return a time that wrk tells, such as 1.5ms."""
    match = re.fullmatch(r"([\d.]+)([a-z]+)", told)
    if not match:
        raise ValueError(f"wrk told a time that is none: {told}")
    return float(match[1]) * _UNITS[match[2]]
