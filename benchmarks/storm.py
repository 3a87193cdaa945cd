"""A storm: ``make storm``. Verifications through the API while workers are killed and the first gateway fails.

A thousand verifications are started at a hundred a second. Every second, until nothing waits any more, one of the
workers is killed with -9 and another is started; the route's first gateway answers half its calls with 500. Then the
books are settled: no message lost, none sent twice but what a killed worker had in hand, every story complete. Ends
with 1 when that does not hold.
"""

import argparse
import random
import re
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from accounts import Books, Call, Stories, Told, settle_books
from rig import BUCKET, Rig, Started, percentile
from standin import Behaviour, Served, StandIn

from otp_service.store import keys

FIRST, SECOND = "first", "second"
GATEWAYS = (StandIn(FIRST, Behaviour.HALF, 5), StandIn(SECOND, Behaviour.ACCEPT, 100))
"""What the second one takes keeps some messages in flight at every kill."""
BREAKER = {"bad_percent": 100, "block": 0.1, "max_block": 0.4}
"""Opened by five bad calls in a row only, and for a moment: with the default, half of the calls failing would keep the
first gateway out of the storm."""
PATIENCE = 100.0
"""Seconds after which what still waits is taken for stuck."""
SHOWN = 20
"""Breaches that are printed."""


@dataclass
class Kills:
    """The workers that were killed, and what they had in hand."""

    count: int = 0
    held: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Found:
    """What the storm left behind."""

    started: list[Started]
    served: dict[str, list[Served]]
    calls: list[Call]
    stories: Stories
    dead: int
    changes: Counter[str]
    """Of the breakers, as the workers' logs tell."""


def main() -> int:
    """Raise the storm, settle the books, print them; return 1 when they show what must not be."""
    options = _options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otp-service-storm-")))
        rig = Rig.build(stack, folder / "rig", GATEWAYS, seed=options.seed, breaker=BREAKER)
        for _ in range(options.workers):
            rig.launch_worker()
        rig.wait_for_workers()
        pool = stack.enter_context(ThreadPoolExecutor(32))
        started, kills = _rage(rig, options, pool)
        found = _look(rig, started, pool)
    books = settle_books([one.id for one in started], found.calls, found.stories, kills.held)
    breaches = [*books.breaches, *_shortcomings(options, kills, found)]
    _print(options, kills, found, books)
    for breach in breaches[:SHOWN]:
        print(f"BREACH {breach}", file=sys.stderr)
    print(f"\n{f'{len(breaches)} breaches' if breaches else 'Everything as it must be'}.")
    return 1 if breaches else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verifications", type=int, default=1000)
    parser.add_argument("--per-second", type=float, default=100)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1, help="of the gateway's failures and of who is killed")
    return parser.parse_args()


def _rage(rig: Rig, options: argparse.Namespace, pool: ThreadPoolExecutor) -> tuple[list[Started], Kills]:
    """Start verifications and kill a worker every second, but not the only one, until nothing waits any more."""
    load = pool.submit(rig.start_many, options.verifications, options.per_second, pool)
    chance, kills, began = random.Random(options.seed), Kills(), time.monotonic()
    while not load.done() or rig.waiting():
        if time.monotonic() > began + PATIENCE:
            break  # the books will show what is missing
        time.sleep(max(0.05, began + kills.count + 1 - time.monotonic()))
        at_work = [worker for worker in rig.workers if worker.name]
        if len(at_work) > 1:
            kills.held.update(rig.kill(chance.choice(at_work)))
            kills.count += 1
            rig.launch_worker()
    return load.result(), kills


def _look(rig: Rig, started: list[Started], pool: ThreadPoolExecutor) -> Found:
    """Collect what the gateways saw and what the API tells."""
    served = {one.name: one.served(rig.folder) for one in GATEWAYS}
    calls = [
        Call(name, one.accepted, *rig.slot(one.dispatch))
        for name, calls in served.items()
        for one in calls
    ]  # fmt: skip
    told = pool.map(rig.story, [one.id for one in started])
    stories = {one.id: _by_slot(story) for one, story in zip(started, told, strict=True)}
    logs = "".join(log.read_text() for log in rig.folder.glob("worker-*.log"))
    changes = Counter(re.findall(r'"breaker_(\w+)"', logs))
    return Found(started, served, calls, stories, rig.client.xlen(keys.dead_letters(BUCKET)), changes)


def _by_slot(story: list[dict[str, object]]) -> dict[tuple[int, int], Told]:
    """Return the dispatches that the API lists in order, by message and number."""
    numbers: Counter[int] = Counter()
    found = {}
    for one in story:
        message = int(str(one["message"]))
        numbers[message] += 1
        gateway, status, reason, choice = (str(one[name] or "") for name in ("gateway", "status", "reason", "choice"))
        found[message, numbers[message]] = Told(gateway, status, reason, choice)
    return found


def _shortcomings(options: argparse.Namespace, kills: Kills, found: Found) -> list[str]:
    """Return what must not be apart from the books, and what makes a storm prove too little."""
    refused = options.verifications - len(found.started)
    return [
        *([f"{refused} verifications were not accepted"] if refused else []),
        *([f"{found.dead} dead letters"] if found.dead else []),
        *([] if kills.count >= options.verifications / options.per_second / 2 else [f"only {kills.count} kills"]),
        *([] if kills.held else ["no killed worker had anything in hand: nothing was proved"]),
        *([] if any(not one.accepted for one in found.served[FIRST]) else ["the first gateway refused nothing"]),
    ]


def _print(options: argparse.Namespace, kills: Kills, found: Found, books: Books) -> None:
    delays, last = _delays(found)
    first, second = found.served[FIRST], found.served[SECOND]
    rows = {
        "verifications accepted": f"{len(found.started):,} of {options.verifications:,}",
        "workers killed": f"{kills.count}",
        "messages in their hands": f"{kills.held.total()}",
        "calls that a kill interrupted": f"{books.interrupted}",
        "lost": f"{books.lost}",
        "sent more than once": f"{books.repeated} ({books.surplus} messages)",
        "calls to the first gateway": f"{len(first):,}, {sum(not one.accepted for one in first):,} of them refused",
        "calls to the second gateway": f"{len(second):,}",
        "breaker opened (failed probes too), closed": f"{found.changes['open']}, {found.changes['closed']}",
        "from 201 to accepted, p50, p95, max": ", ".join(
            f"{value:.2f} s" for value in (percentile(delays, 0.5), percentile(delays, 0.95), max(delays, default=0))
        ),
        "last one accepted after the last start": f"{last:.1f} s",
    }
    print(
        f"\n{options.verifications:,} verifications at {options.per_second:g} a second, {options.workers} workers, one "
        f"killed every second, seed {options.seed}:\n\n| | |\n|---|---:|"
    )
    for name, figure in rows.items():
        print(f"| {name} | {figure} |")
    print()


def _delays(found: Found) -> tuple[list[float], float]:
    """Return the seconds from each start's answer to its first acceptance, and from the last start to the last one."""
    first: dict[str, float] = {}
    accepted = [one.answered for calls in found.served.values() for one in calls]
    for call, at in zip(found.calls, accepted, strict=True):
        if call.accepted:
            first[call.verification] = min(at, first.get(call.verification, at))
    delays = [max(0.0, first[one.id] - one.at) for one in found.started if one.id in first]
    latest = max((one.at for one in found.started), default=0.0)
    return delays, max(0.0, max(first.values(), default=latest) - latest)


if __name__ == "__main__":
    sys.exit(main())
