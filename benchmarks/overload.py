"""More load than the service bears, behind its proxy: ``make overload``. A minute; needs wrk and HAProxy.

Starts from more and more connections, each of which asks again as soon as it is answered, also when it was told to
come back later: nobody behaves worse. Meanwhile a probe asks every tenth of a second. Afterwards it is seen how long it
takes until a start is accepted. Each row is a service and a Valkey of its own. Ends with 1 when somebody waited too
long, when a probe was not answered, or when the service did not recover.
"""

import argparse
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import requests
import wrk
from breaches import ended_with
from processes import Process, start_valkey, wait_for_port
from seeding import BenchSettings
from support_proxy import proxied
from support_service import eventually

HERE = Path(__file__).parent
IN_TIME = 1.5
"""Seconds within which everybody is answered."""
RECOVERED_WITHIN = 2.0
"""Seconds after the load within which starts are accepted again."""
_MAIN = "from otp_service.cli.main import main; main()"


@dataclass(frozen=True)
class Seen:
    """What came of so many connections."""

    connections: int
    told: wrk.Finding
    """What is refused was told to come back."""
    probe: float
    """Seconds that the slowest probe took."""
    failed_probes: int
    recovery: float
    """Seconds from the end of the load until a start was accepted."""

    @property
    def breaches(self) -> list[str]:
        """What must not be."""
        rows = {
            f"somebody waited for {self.told.slowest:.2f} s": self.told.slowest > IN_TIME,
            f"a probe took {self.probe:.2f} s": self.probe > IN_TIME,
            f"{self.failed_probes} probes failed": self.failed_probes,
            f"it recovered after {self.recovery:.2f} s": self.recovery > RECOVERED_WITHIN,
            f"{self.told.unanswered} times no answer came": self.told.unanswered,
        }
        return [f"{self.connections} connections: {breach}" for breach, there in rows.items() if there]


class Prober:
    """Asks whether the service lives and is ready, while a block runs."""

    def __init__(self, base: str) -> None:
        self.slowest = 0.0
        self.failed = 0
        self._base = base
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._over.wait(0.1):
            for path in ("healthz", "readyz"):
                began = time.monotonic()
                try:
                    self.failed += not requests.get(f"{self._base}/{path}", timeout=10).ok
                except requests.RequestException:
                    self.failed += 1
                self.slowest = max(self.slowest, time.monotonic() - began)


def main() -> int:
    """Measure and print; return 1 when it was not as it must be."""
    options = _options()
    rows = [_measured(count, options.seconds, options.code) for count in options.connections]
    print(
        "| connections | accepted/s | refused/s | p50 | p99 | slowest | slowest probe | accepts again after |\n"
        "|---:|---:|---:|---:|---:|---:|---:|---:|"
    )
    for one in rows:
        told = one.told
        times = " | ".join(map(_shown, (told.p50, told.p99, told.slowest, one.probe, one.recovery)))
        print(f"| {one.connections:,} | {told.accepted:,.0f} | {told.refused:,.0f} | {times} |")
    return ended_with([breach for one in rows for breach in one.breaches])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=[16, 64, 256, 1024])
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--code", type=Path, default=HERE.parent, help="another checkout, to be measured instead")
    return parser.parse_args()


def _measured(connections: int, seconds: int, code: Path) -> Seen:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otp-service-overload-")))
        settings = BenchSettings.make(folder, start_valkey(stack, folder), 2, "INFO")
        command = [sys.executable, "-c", _MAIN, "serve", "--config", str(settings.path)]
        Process.start(stack, command, {"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"}, log=folder / "serve.log")
        wait_for_port(settings.port)
        proxy = stack.enter_context(proxied(folder, [settings.port]))
        eventually(lambda: proxy.is_up(0))
        base = proxy.base
        with Prober(base) as prober:
            key = {"BENCH_API_KEY": settings.api_key}
            told = wrk.load(f"{base}/v1/verifications", "start.lua", connections, seconds, key)
        recovery = _recovery(f"{base}/v1/verifications", settings.api_key)
    return Seen(connections, told, prober.slowest, prober.failed, recovery)


def _recovery(url: str, api_key: str) -> float:
    """Return how many seconds it takes until starts are accepted, one after the other."""
    began, headers = time.monotonic(), {"Authorization": f"Bearer {api_key}"}
    in_a_row, since = 0, began
    while in_a_row < 10 and time.monotonic() < began + 30:  # noqa: PLR2004 - both processes, most likely
        asked = time.monotonic()
        body = {"to": f"+92301{int(1e6 * asked) % 10_000_000:07d}", "client_ip": "10.254.0.1"}
        accepted = requests.post(url, json=body, headers=headers, timeout=30).status_code == 201  # noqa: PLR2004
        since = since if accepted and in_a_row else asked
        in_a_row = in_a_row + 1 if accepted else 0
        time.sleep(0.02)
    return since - began if in_a_row else 30.0


def _shown(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


if __name__ == "__main__":
    sys.exit(main())
