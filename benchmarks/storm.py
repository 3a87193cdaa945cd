"""A storm: ``make storm``. Verifications through the API while workers are struck and the first gateway fails.

A thousand verifications are started at a hundred a second. Every second, until nothing waits any more, one of the
workers is killed with -9; as long as verifications are started, another one is stopped where it stands, and goes on as
soon as others have taken over what it had in hand. Each is replaced. The route's first gateway answers half its calls
with 500. Then the books are settled: no message lost, none sent twice but what a worker was handing over at the moment
that it was killed or stopped, every story complete, and the dispatches in the ledger the calls that the gateways saw,
interrupted ones included. Ends with 1 when that does not hold.
"""

import argparse
import re
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from accounts import Books, Call, Entry, Story, Told, settle_books, settle_ledger
from breaches import ended_with
from gateway_standin import Behaviour, Served, StandIn
from ledger_entries import entries_of
from rig import Rig, Started, percentile
from rig_workers import BUCKET
from strikes import Strikes, Toll

from otp_service.settings.schema import WorkerSettings
from otp_service.store import keys

FIRST, SECOND = "first", "second"
GATEWAYS = (StandIn(FIRST, Behaviour.HALF, 5), StandIn(SECOND, Behaviour.ACCEPT, 100, per_second=110))
"""What the second one takes keeps some messages in flight at every strike, and others wait in hand for its turn."""
BREAKER = {"bad_percent": 100, "open_for": 0.1, "max_open_for": 0.4}
"""Opened by five bad calls in a row only, and for a moment: with the default, half of the calls failing would keep the
first gateway out of the storm."""
WORKER = {"metrics_port": 0, "max_ambiguous": 5}
"""A message may be struck again and again; by default it is given up when two calls may have been sent."""
SILENCE = max(one.timeout for one in GATEWAYS) + WorkerSettings().claim_margin
"""Seconds after which others take over what a silent worker has in hand."""
STEP = 0.02
STALL = 1.0
"""Seconds by which the storm itself may be held up; more, and calls time out that nobody struck."""
PATIENCE = 100.0
"""Seconds after which what still waits is taken for stuck."""


@dataclass(frozen=True)
class Found:
    """What the storm left behind."""

    started: list[Started]
    served: dict[str, list[Served]]
    calls: list[Call]
    stories: dict[str, Story]
    entries: list[Entry]
    """What the ledger has of calls."""
    dead: Counter[str]
    """The reasons of the dead letters."""
    logged: Counter[str]
    """What the workers' logs tell, by event."""
    stall: float
    """Seconds for which the machine did nothing, at most."""


def main() -> int:
    """Raise the storm, settle the books, print them; return 1 when they show what must not be."""
    options = _options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otp-service-storm-")))
        rig = Rig.build(stack, folder / "rig", GATEWAYS, seed=options.seed, breaker=BREAKER, worker=WORKER)
        for _ in range(options.workers):
            rig.launch_worker()
        rig.wait_for_workers()
        pool = stack.enter_context(ThreadPoolExecutor(32))
        strikes = Strikes(rig, options.seed, SILENCE)
        started, stall = _rage(rig, strikes, options, pool)
        entries_of(rig.client, rig.ledger)  # while there are workers that record
        rig.stop()  # those that went on have done by then what they may do
        found = _look(rig, started, stall, pool)
    struck = strikes.killed.open | strikes.stopped.open
    books = settle_books([one.id for one in started], found.calls, found.stories, struck)
    ledger = settle_ledger(found.entries, found.calls, found.stories, struck)
    breaches = [*books.breaches, *ledger, *_shortcomings(options, strikes, found)]
    _print(options, strikes, found, books)
    return ended_with(breaches)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verifications", type=int, default=1000)
    parser.add_argument("--per-second", type=float, default=100)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1, help="of the gateway's failures and of who is struck")
    return parser.parse_args()


def _rage(
    rig: Rig, strikes: Strikes, options: argparse.Namespace, pool: ThreadPoolExecutor
) -> tuple[list[Started], float]:
    """Start verifications and strike every second, until nothing waits and nobody is stopped any more.

    Return what was accepted, and by how many seconds the storm itself was held up.
    """
    load = pool.submit(rig.start_many, options.verifications, options.per_second, pool)
    began, stall = (last_strike := time.monotonic()), 0.0
    while strikes.let_go_on() or not load.done() or rig.waiting():
        if time.monotonic() > began + PATIENCE:
            break  # the books will show what is missing
        if time.monotonic() > last_strike + 1 and rig.waiting():
            last_strike = time.monotonic()
            strikes.kill()
            if not load.done():
                strikes.stop()
        lay_down = time.monotonic()
        time.sleep(STEP)
        stall = max(stall, time.monotonic() - lay_down - STEP)
    return load.result(), stall


def _look(rig: Rig, started: list[Started], stall: float, pool: ThreadPoolExecutor) -> Found:
    """Collect what the gateways saw and what the API tells."""
    served = {one.name: one.served(rig.folder) for one in GATEWAYS}
    calls = [
        Call(name, one.accepted, *rig.slot(one.dispatch))
        for name, calls in served.items()
        for one in calls
    ]  # fmt: skip
    told = pool.map(rig.story, [one.id for one in started])
    stories = {one.id: _by_slot(one.id, story) for one, story in zip(started, told, strict=True)}
    logs = "".join(log.read_text() for log in rig.folder.glob("worker-*.log"))
    logged = Counter(re.findall(r'"message": ?"(\w+)"', logs))
    dead = Counter(letter[b"reason"].decode() for _, letter in rig.client.xrange(keys.dead_letters(BUCKET)))
    return Found(started, served, calls, stories, entries_of(rig.client, rig.ledger), dead, logged, stall)


def _by_slot(verification: str, deliveries: list[dict[str, object]]) -> Story:
    """Return the dispatches that the API lists in order, by message and number."""
    numbers: Counter[int] = Counter()
    story = {}
    for one in deliveries:
        message = int(str(one["message"]))
        numbers[message] += 1
        gateway, status, reason, choice = (str(one[name] or "") for name in ("gateway", "status", "reason", "choice"))
        story[verification, message, numbers[message]] = Told(gateway, status, reason, choice)
    return story


def _shortcomings(options: argparse.Namespace, strikes: Strikes, found: Found) -> list[str]:
    """Return what must not be apart from the books, and what makes a storm prove too little."""
    refused = options.verifications - len(found.started)
    kills, stops = strikes.killed, strikes.stopped
    return [
        *([f"{refused} verifications were not accepted"] if refused else []),
        *(f"{count} given up: {reason}" for reason, count in found.dead.items()),
        *([f"the machine stood still for {found.stall:.1f} s: calls time out by that"] if found.stall > STALL else []),
        *([] if kills.workers >= options.verifications / options.per_second / 2 else [f"only {kills.workers} kills"]),
        *([] if kills.messages else ["no killed worker had anything in hand: nothing was proved"]),
        *([] if stops.messages else ["no stopped worker had anything in hand: nothing was proved"]),
        *([] if found.logged["message_overtaken"] else ["no worker was told that another one has its message"]),
        *([] if any(not one.accepted for one in found.served[FIRST]) else ["the first gateway refused nothing"]),
    ]


def _print(options: argparse.Namespace, strikes: Strikes, found: Found, books: Books) -> None:
    delays, last = _delays(found)
    first, second, logged = found.served[FIRST], found.served[SECOND], found.logged
    rows = {
        "verifications accepted": f"{len(found.started):,} of {options.verifications:,}",
        "workers killed, messages in their hands, of them being handed over": _toll(strikes.killed),
        "workers stopped, messages in their hands, of them being handed over": _toll(strikes.stopped),
        "times that a worker was told that another one has its message": f"{logged['message_overtaken']}",
        "calls whose outcome is told as unknown": f"{books.uncertain}",
        "lost": f"{books.lost}",
        "sent more than once": f"{books.repeated} ({books.surplus} messages)",
        "calls to the first gateway": f"{len(first):,}, {sum(not one.accepted for one in first):,} of them refused",
        "calls to the second gateway": f"{len(second):,}",
        "dispatches in the ledger, of them interrupted": ", ".join(
            f"{len({one.slot for one in found.entries if one.reason == reason or not reason}):,}"
            for reason in ("", "interrupted")
        ),
        "breaker opened (failed probes too), closed": f"{logged['breaker_open']}, {logged['breaker_closed']}",
        "from 201 to accepted, p50, p95, max": ", ".join(
            f"{value:.2f} s" for value in (percentile(delays, 0.5), percentile(delays, 0.95), max(delays, default=0))
        ),
        "last one accepted after the last start": f"{last:.1f} s",
    }
    print(
        f"\n{options.verifications:,} verifications at {options.per_second:g} a second, {options.workers} workers, "
        f"seed {options.seed}:\n\n| | |\n|---|---:|"
    )
    for name, figure in rows.items():
        print(f"| {name} | {figure} |")
    print()


def _toll(toll: Toll) -> str:
    return f"{toll.workers}, {toll.messages}, {len(toll.open)}"


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
