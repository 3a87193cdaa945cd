"""A soak: ``make soak``. Twenty minutes at half load, in which nothing may grow that should not.

One service of two processes and one worker, as in production, with a gateway that is a stand-in. At first the gateway
stands still until the worker has all the threads that it may have, with their connections. Then callers start and check
verifications as fast as they are answered, for a few seconds: that is the whole load. Then they keep to half of it.
Every five seconds the memory, files and threads of each process are looked at, and the keys, memory and streams of
Valkey. All starts are for the same numbers, again and again, so that what is counted by number, some of it for days, is
counted of them once; and the streams are short, which by default keep a million events for seven days. What remains are
the records, which live ten minutes longer than their codes: after that time, and a margin, everything has to be flat.
Writes ``docs/performance/soak.md`` and ``soak.svg``. Ends with 1 when something grew, or a call failed.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breaches import ended_with
from gateway_standin import StandIn
from growth import Growth, Sample, growths
from machine import describe
from permissive_guard import PERMISSIVE
from plots import Lines, Series, picture
from processes import tree_of
from rig import Rig, until
from soak_callers import Callers
from soak_samples import Watch, command, threads

from otp_service.domain.verification import RECORD_GRACE
from otp_service.settings import load_settings

TTL = 60
"""Seconds that a code lives."""
SETTLED = TTL + RECORD_GRACE + 60
"""Seconds after which as many records end as begin."""
MEASURED = 10.0
"""Seconds for which as many calls are made as are answered."""
EVERY = 5.0
STILL = 0.0005
"""Share below which a figure did not change."""
MAY_GROW = 0.03
"""Share by which a figure may be higher at the end of what is judged than at its beginning."""
FEW = 3.0
"""What a figure may grow by in any case: a connection more, or a thread."""
GATEWAY = StandIn("gateway", milliseconds=20)
_MANY = ["100000000/minute"]
SECTIONS: dict[str, Any] = {
    "purposes": {"login": {"ttl": TTL, "resend_delays": [0]}},
    "limits": {"number": _MANY, "application": _MANY, "ip": _MANY, "failed_checks": _MANY},
    "guard": {**PERMISSIVE, "modes": {"number.cooldown": "off"}},
    "streams": {"max_events": 30_000},
}
"""Limits out of the way: a number gets many messages here. And short streams, which are full before all is settled."""


@dataclass(frozen=True)
class Soaked:
    """What was seen."""

    samples: Sequence[Sample]
    whole: float
    """Verifications a second, as fast as they were answered."""
    verifications: int
    """Those of the soak."""
    failures: Sequence[str]
    slowest: float
    waiting: int
    """Messages that had not been delivered some seconds after the last start."""
    machine: str


def main() -> int:
    """Soak, judge, write; return 1 when something must not be."""
    options = _options()
    seen = _soak(options)
    since = SETTLED if options.seconds > SETTLED + 120 else options.seconds / 2
    judged = growths(seen.samples, since)
    breaches = _breaches(options, seen, judged)
    options.report.mkdir(parents=True, exist_ok=True)
    (options.report / "soak.svg").write_text(_drawn(seen.samples))
    (options.report / "soak.md").write_text(told := _told(options, seen, judged, since))
    print(told)
    return ended_with(breaches)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1200)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--numbers", type=int, default=10_000, help="that are called, again and again")
    parser.add_argument("--report", type=Path, default=Path("docs/performance"), help="folder that is written to")
    return parser.parse_args()


def _soak(options: argparse.Namespace) -> Soaked:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otp-service-soak-")))
        rig = Rig.build(stack, folder / "rig", (GATEWAY,), **SECTIONS)
        callers = Callers(rig, options.numbers)
        worker = rig.launch_worker().pid
        rig.wait_for_workers()
        _occupy(worker, callers, load_settings(rig.config).worker.concurrency)
        pool = stack.enter_context(ThreadPoolExecutor(options.callers))
        whole = callers.call(pool, options.callers, MEASURED, None) / MEASURED
        until(lambda: not rig.waiting(), 120, "messages were still waiting")
        before = callers.verifications
        load = threading.Thread(target=callers.call, args=(pool, options.callers, options.seconds, whole / 2))
        load.start()
        samples = _watched(Watch(rig.client, rig.server, worker), load)
        time.sleep(5)
        return Soaked(
            samples, whole, callers.verifications - before, callers.failures, callers.slowest, rig.waiting(),
            describe(rig.client),
        )  # fmt: skip


def _occupy(worker: int, callers: Callers, most: int) -> None:
    """Let the gateway stand still until each thread that the worker may have waits for it."""
    (gateway,) = [pid for pid in tree_of(os.getpid()) if StandIn.program in command(pid)]
    before = threads(worker)
    os.kill(gateway, signal.SIGSTOP)
    callers.start(most)
    until(lambda: threads(worker) >= before + most, 60, "the worker has fewer threads than it may have")
    os.kill(gateway, signal.SIGCONT)


def _watched(watch: Watch, load: threading.Thread) -> list[Sample]:
    samples = []
    while load.is_alive():
        samples.append(watch.look())
        load.join(EVERY)
    return samples


def _breaches(options: argparse.Namespace, seen: Soaked, judged: Sequence[Growth]) -> list[str]:
    """Return what must not be."""
    grew = [one for one in judged if one.share > MAY_GROW and one.last - one.first > FEW]
    pace = seen.verifications / options.seconds / (seen.whole / 2)
    return [
        *(f"{one.name} grew from {one.first:,.1f} to {one.last:,.1f}" for one in grew),
        *seen.failures,
        *([f"{seen.waiting} messages were still waiting"] if seen.waiting else []),
        *([f"it was {pace:.2f} of half the load: nothing was proved"] if pace < 0.9 else []),  # noqa: PLR2004
    ]


def _drawn(samples: Sequence[Sample]) -> str:
    return picture(
        [
            _lines(samples, "Resident memory", "MB", ": resident MB"),
            _lines(samples, "Keys of Valkey", "keys", "Valkey: keys"),
            _lines(samples, "Memory of Valkey", "MB", "Valkey: used MB"),
            _lines(samples, "Open files", "files", ": files"),
        ]
    )


def _lines(samples: Sequence[Sample], title: str, unit: str, ending: str) -> Lines:
    names = [name for name in samples[0].figures if name.endswith(ending)]
    series = [
        Series(name.partition(":")[0], [(sample.at / 60, sample.figures[name]) for sample in samples]) for name in names
    ]
    return Lines(title, series, "minutes", unit)


def _told(options: argparse.Namespace, seen: Soaked, judged: Sequence[Growth], since: float) -> str:
    pace = seen.verifications / options.seconds
    done = (
        f"By `make soak`: {seen.verifications:,} verifications in {options.seconds / 60:.0f} minutes, {pace:.0f} a "
        f"second, half of the {seen.whole:.0f} that were reached before by {options.callers} callers. {seen.machine}"
    )
    judging = (
        f"Calls that failed: {len(seen.failures)}; the slowest start with its check: {seen.slowest:.2f} s. First and "
        f"last: means of a fifth of the time that is judged, which is from minute {since / 60:.0f} on."
    )
    moved = [one for one in judged if abs(one.share) >= STILL]
    rows = [
        f"| {one.name} | {one.first:,.1f} | {one.last:,.1f} | {one.share:+.1%} | {one.highest:,.1f} |" for one in moved
    ]
    still = ", ".join(f"{one.name} {one.last:,.1f}" for one in judged if one not in moved)
    head = ["| | first | last | growth | highest |", "|---|---:|---:|---:|---:|"]
    lines = [
        "# A soak",
        "",
        done,
        "",
        judging,
        "",
        *head,
        *rows,
        "",
        f"All else stood still: {still}.",
        "",
        "![Memory, keys and files over time](soak.svg)",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
