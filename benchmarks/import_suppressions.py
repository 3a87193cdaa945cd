"""A long list of suppressed numbers: ``make bench-import``. What it takes, what it costs, and whether starts notice.

The service runs as in production. Verifications are started at a steady pace: first alone, then while a list is
imported by the command line, then alone again, over all that was imported. The table has the latencies of these starts,
the import's time and memory, and what Redis and the ledger take for each number. Some numbers of the list are tried at
the end: each must be refused. Ends with 1 when one is not.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import requests
from processes import start_valkey
from rig import COMMAND, Rig, percentile

_REFUSED = 403


def main() -> int:
    """Import, measure, print; return 1 when a number of the list is not refused."""
    options = _options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otp-service-import-")))
        url = start_valkey(stack, folder)
        rig = Rig.over(stack, folder, url, {"sandbox": {"kind": "sandbox"}}, streams={"max_outbox": 10_000_000})
        rig.launch_worker()
        rig.wait_for_workers()
        numbers = folder / "numbers.txt"
        numbers.write_text("".join(f"{number}\n" for number in _numbers(options.numbers)))
        before = _used(rig)
        alone = _latencies(rig, options.per_second, options.seconds)
        command = [COMMAND, "suppressions", "import", str(numbers), "--config", str(rig.config), "--reason", "a list"]
        began = time.monotonic()
        with (folder / "import.log").open("wb") as log:
            running = subprocess.Popen(command, stdout=log, stderr=log)
            beside = _latencies(rig, options.per_second, None, running)
        took = time.monotonic() - began
        if running.returncode:
            raise SystemExit((folder / "import.log").read_text())
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        after = _latencies(rig, options.per_second, options.seconds)
        used, size = _used(rig) - before, (folder / "ledger.db").stat().st_size
        passed = _passed(rig, options.numbers)
    _print(options, {
        "import": f"{took:.0f} s, {options.numbers / took:,.0f} numbers a second",
        "memory of the import, at most (of any process that was started)": f"{memory:.0f} MB",
        "Redis, for each number": f"{used / options.numbers:.0f} bytes",
        "the ledger, for each number": f"{size / options.numbers:.0f} bytes",
        "start, before: p50, p95, p99": _told(alone),
        "start, during: p50, p95, p99": _told(beside),
        "start, after: p50, p95, p99": _told(after),
        "starts for numbers of the list that were not refused": f"{passed} of 100",
    })  # fmt: skip
    return 1 if passed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", type=int, default=1_000_000)
    parser.add_argument("--per-second", type=float, default=20)
    parser.add_argument("--seconds", type=float, default=20, help="for which starts alone are measured")
    return parser.parse_args()


def _numbers(count: int) -> Iterator[str]:
    """Yield different mobile numbers; those that the rig starts verifications for are others."""
    return (f"+9230{i % 10}{i // 10:07d}" for i in range(count))


def _latencies(
    rig: Rig, per_second: float, seconds: float | None, running: "subprocess.Popen[bytes] | None" = None
) -> list[float]:
    """Start verifications at a steady pace, for some seconds or while something runs; return what each took."""
    began, taken = time.monotonic(), []
    with ThreadPoolExecutor(8) as pool:
        place = 0
        while running.poll() is None if running else time.monotonic() < began + (seconds or 0):
            time.sleep(max(0.0, began + place / per_second - time.monotonic()))
            taken.append(pool.submit(_start, rig))
            place += 1
    return [one.result() for one in taken]


def _start(rig: Rig) -> float:
    began = time.monotonic()
    if rig.start() is None:
        raise SystemExit("A start was refused.")
    return time.monotonic() - began


def _used(rig: Rig) -> int:
    return int(rig.client.info("memory")["used_memory"])


def _passed(rig: Rig, count: int) -> int:
    """Return how many of some numbers of the list are not refused."""
    passed = 0
    for number in list(_numbers(count))[:: max(1, count // 100)][:100]:
        answer = requests.post(
            f"{rig.base}/v1/verifications", json={"to": number}, timeout=30,
            headers={"Authorization": f"Bearer {rig.api_key}"},
        )  # fmt: skip
        passed += answer.status_code != _REFUSED
    return passed


def _told(seconds: list[float]) -> str:
    return ", ".join(f"{1000 * percentile(seconds, share):.1f} ms" for share in (0.5, 0.95, 0.99))


def _print(options: argparse.Namespace, rows: dict[str, str]) -> None:
    cores = os.cpu_count()
    print(f"\n{options.numbers:,} numbers, {options.per_second:g} starts a second, {cores} cores:\n\n| | |\n|---|---:|")
    for name, figure in rows.items():
        print(f"| {name} | {figure} |")


if __name__ == "__main__":
    sys.exit(main())
