"""A host that dies with what its replica had not received yet: ``make replication``. Five minutes.

A primary's replica is some milliseconds away. Callers in several processes start verifications and check them, wrong
codes and right ones, as fast as they are answered. Then the primary is killed with -9, and all that is on its way is
lost; the replica takes over. Whatever was answered has to be known there: an approval, and a wrong code that was
counted. First with ``redis.replicas`` 0, which shows what is lost, then with 1. Ends with 1 when something is lost with
1, nothing was with 0, or a code was approved twice.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any

from breaches import ended_with
from support_caller import Caller
from support_failover import Answered, verify_for
from support_racers import Racers, racing
from support_sentinel import URL, Node, TellingSentinel, nodes
from support_service import LIMITS
from support_slow import Distance

from otp_service.bootstrap import Installation
from otp_service.domain.verification import Verification
from otp_service.errors import NotFoundError, StoreUnavailableError

PROCESSES, THREADS = 4, 6
PATIENCE = 60.0
"""Seconds in which what is known is told."""
_NUMBERS = 500_000
"""That a process may use in a round."""


@dataclass
class Books:
    """What was answered, and what of it the replica knows."""

    approved: int = 0
    guesses: int = 0
    lost_approvals: int = 0
    lost_guesses: int = 0
    twice: int = 0
    rounds: int = 0


def main() -> int:
    """Kill primaries without and with ``WAIT``, print what was lost; return 1 when it is not as it must be."""
    options = _options()
    lossy = _rounds(options, replicas=0, wanted=options.lossy)
    kept = _rounds(options, replicas=1, wanted=options.approvals)
    print(
        "\n| `redis.replicas` | hosts died | approvals answered | lost | wrong codes counted | lost | approved twice |"
        "\n|---:|---:|---:|---:|---:|---:|---:|"
    )
    for replicas, books in ((0, lossy), (1, kept)):
        print(
            f"| {replicas} | {books.rounds} | {books.approved:,} | {books.lost_approvals} | {books.guesses:,} |"
            f" {books.lost_guesses} | {books.twice} |"
        )
    breaches = [f"{kept.lost_approvals} approvals were lost"] * bool(kept.lost_approvals)
    breaches += [f"{kept.lost_guesses} wrong codes were lost"] * bool(kept.lost_guesses)
    breaches += ["a code was approved twice"] * bool(kept.twice or lossy.twice)
    breaches += ["nothing was lost without WAIT: this shows nothing"] * (not lossy.lost_approvals)
    return ended_with(breaches)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--approvals", type=int, default=100_000, help="with WAIT")
    parser.add_argument("--lossy", type=int, default=10_000, help="approvals without WAIT")
    parser.add_argument("--seconds", type=float, default=15.0, help="before a host dies")
    parser.add_argument("--milliseconds", type=float, default=5.0, help="to the replica")
    return parser.parse_args()


def _rounds(options: argparse.Namespace, replicas: int, wanted: int) -> Books:
    books, sentinel = Books(), TellingSentinel()
    sections: dict[str, Any] = {
        "redis": {"url": URL, "sentinels": [sentinel.address], "replicas": replicas},
        "limits": LIMITS,
        "streams": {"max_events": 1_000_000, "max_outbox": 1_000_000},
        "ledger": {"rebuild_lost_mirror": True},
    }
    with tempfile.TemporaryDirectory(prefix="otp-service-replication-") as name:
        folder = Path(name)
        with _far_pair(folder / "first", options.milliseconds) as first:
            sentinel.primary = first[0].port
            with racing(PROCESSES, URL, **sections) as (racers, looking):
                racers.race(verify_for, [(0, 1, 0.0)] * PROCESSES)  # on a busy machine they start after the host died
                _round(first, sentinel, racers, looking, options, books)
                while books.approved < wanted:
                    with _far_pair(folder / str(books.rounds), options.milliseconds) as pair:
                        sentinel.primary = pair[0].port
                        looking.context.store.server.follow_primary()
                        looking.context.mirror_sync.refresh()
                        _round(pair, sentinel, racers, looking, options, books)
    sentinel.close()
    return books


@contextmanager
def _far_pair(folder: Path, milliseconds: float) -> Iterator[tuple[Node, Node, Distance]]:
    folder.mkdir()
    with ExitStack() as stack:
        primary = Node(folder / "primary")
        stack.enter_context(nodes(primary))
        between = Distance(primary.port)
        stack.callback(between.lose)
        replica = Node(folder / "replica", between.port)
        stack.enter_context(nodes(replica))
        between.set(milliseconds / 1000)
        yield primary, replica, between


def _round(
    pair: tuple[Node, Node, Distance],
    sentinel: TellingSentinel,
    racers: Racers,
    looking: Installation,
    options: argparse.Namespace,
    books: Books,
) -> None:
    """Let racers verify, kill the primary with all that is on its way, and ask the replica what it knows."""
    primary, replica, between = pair
    first = books.rounds * _NUMBERS * PROCESSES
    books.rounds += 1
    given = [(first + place * _NUMBERS, THREADS, options.seconds + 1) for place in range(PROCESSES)]
    death = Timer(options.seconds, _die, (primary, between))
    death.start()
    answered = Answered()
    for one in racers.race(verify_for, given):
        answered += one
    death.join()
    replica.client.replicaof("NO", "ONE")
    sentinel.primary, sentinel.replicas = replica.port, [primary.port]
    with nodes(Node(primary.folder.parent / "another", replica.port)):
        _settle(Caller(looking), answered, books)


def _die(primary: Node, between: Distance) -> None:
    between.lose()
    primary.kill()


def _settle(shop: Caller, answered: Answered, books: Books) -> None:
    """Compare what was answered with what is known."""
    books.approved += len(answered.approved)
    books.guesses += len(answered.guesses)
    with ThreadPoolExecutor(PROCESSES) as pool:
        known = dict(zip(answered.codes, pool.map(partial(_read, shop), answered.codes), strict=True))
        some = [one for one in answered.approved[::10] if known[one]]
        books.twice += sum(pool.map(lambda one: _patiently(shop.check, one, answered.codes[one])[1], some))
    books.lost_approvals += sum(one is None or one.status != "approved" for one in map(known.get, answered.approved))
    for one, left in answered.guesses.items():
        found = known[one]
        books.lost_guesses += found is None or found.purpose.max_checks - found.checks > left


def _read(shop: Caller, one: str) -> Verification | None:
    with suppress(NotFoundError):
        return _patiently(shop.read, one).verification
    return None


def _patiently(ask: Callable[..., Any], *about: str) -> Any:
    """Return an answer of the store, which is there, but on a busy machine not at once."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return ask(*about)
        except StoreUnavailableError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
