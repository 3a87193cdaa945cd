"""Sentinels replace the primary under load: ``make failover``. Five minutes with two servers, as many with three.

A primary, a replica (``--servers 3``: two) and three Sentinels; a service of two processes and a worker. Callers
start verifications and check them, wrong codes and right ones; what is answered with 503 they ask again with the same
idempotency key. In turn the primary is killed with -9 and started again as a replica, and is stopped where it stands
until another was promoted. Then the books are settled. Ends with 1 when an approval or a wrong code that was answered
is forgotten, a code was approved twice, an answer was neither the right one nor 503, a message was neither sent nor
told to be given up, nobody could verify for more than ten seconds, a code ended, or of those in hand at a kill fewer
than 99 of 100 were approved afterwards. A pause may end codes where there are three: a primary that goes on may bring
more to one replica while Sentinels let the other take over.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from breaches import ended_with
from gateway_standin import StandIn
from rig import Rig
from support_sentinel import URL, Node, nodes, primary_of, sentinels, wait_until
from verifying_callers import PATIENCE, Callers, looking_at

GATEWAY = StandIn("first", milliseconds=5)
LONGEST = 10.0
"""Seconds in which nobody can verify, at most."""
TWO = 2
"""Servers, of which the one that takes over has all that was answered, also where the other was paused."""
APPROVED = 0.99
"""Of the codes that are in hand at a kill, at least."""


@dataclass
class Strike:
    """A primary that is taken away. Times in seconds."""

    kills: bool
    """Or it is paused."""
    began: float = 0.0
    promoted: float = 0.0
    """Until another one was the primary."""
    away: float = 0.0
    """For how long nobody was approved."""
    approved: int = 0
    """Of the codes that were in hand when it was killed."""
    ended: int = 0
    """Right codes that were answered to have expired."""


def main() -> int:
    """Strike, settle the books, print them; return 1 when they show what must not be."""
    options = _options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otp-service-failover-")))
        first = Node(folder / "0")
        servers = [first, *(Node(folder / str(place), first.port) for place in range(1, options.servers))]
        stack.enter_context(nodes(*servers))
        ports = stack.enter_context(sentinels(folder, first.port))
        place = folder / "rig"
        place.mkdir()
        gateways = {GATEWAY.name: {**GATEWAY.settings(GATEWAY.start(stack, place, 1)), "json": {"id": "{to}"}}}
        redis = {"url": URL, "sentinels": [f"127.0.0.1:{port}" for port in ports]}
        rig = Rig.over(stack, place, f"redis://127.0.0.1:{first.port}/0", gateways, redis=redis)
        rig.launch_worker()
        rig.wait_for_workers()
        callers = Callers(rig, looking_at(rig))
        with callers.at_work(options.callers):
            strikes = [
                _strike(servers, ports, Strike(turn % 2 == 0), callers, options) for turn in range(options.rounds)
            ]
            time.sleep(options.calm)
        breaches = callers.settle(GATEWAY)
    ends = [one.began for one in strikes[1:]] + [callers.approved_at[-1]]
    for one, end in zip(strikes, ends, strict=True):
        one.away = callers.gap(one.began, end)
        one.ended = sum(one.began < at <= end for at in callers.ended)
        if one.away > LONGEST:
            breaches.append(f"nobody could verify for {one.away:.1f} s")
        if one.kills and one.approved < APPROVED * options.in_hand:
            breaches.append(f"of {options.in_hand} codes in hand {one.approved} were approved")
        if one.ended and (one.kills or options.servers == TWO):
            breaches.append(f"{one.ended} codes ended")
    _print(options, callers, strikes)
    return ended_with(breaches)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--servers", type=int, default=2, choices=(2, 3))
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--calm", type=float, default=5.0, help="seconds between two strikes")
    parser.add_argument("--in-hand", type=int, default=1000, help="codes that are in hand at each kill")
    return parser.parse_args()


def _strike(
    servers: Sequence[Node], ports: Sequence[int], strike: Strike, callers: Callers, options: argparse.Namespace
) -> Strike:
    """Take the primary away until another one is, and give it back."""
    time.sleep(options.calm)
    held = callers.hold(options.in_hand) if strike.kills else {}
    was = primary_of(ports)
    (struck,) = (one for one in servers if one.port == was)
    strike.began = time.monotonic()
    if strike.kills:
        struck.kill()
    else:
        struck.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: primary_of(ports) != was)
    strike.promoted = time.monotonic() - strike.began
    if strike.kills:
        struck.start(primary_of(ports))
    else:
        struck.process.send_signal(signal.SIGCONT)
    wait_until(lambda: _all_follow(servers, ports), PATIENCE)
    strike.approved = callers.redeem(held)
    return strike


def _all_follow(servers: Sequence[Node], ports: Sequence[int]) -> bool:
    (primary,) = (one for one in servers if one.port == primary_of(ports))
    return bool(primary.replication().get("connected_slaves") == len(servers) - 1)


def _print(options: argparse.Namespace, callers: Callers, strikes: list[Strike]) -> None:
    rows = {}
    for what, kills in (("killed", True), ("paused", False)):
        same = [one for one in strikes if one.kills is kills]
        rows[f"primary {what}: a replica was promoted after, s"] = " ".join(f"{one.promoted:.1f}" for one in same)
        rows[f"{what}: nobody was approved for, s"] = " ".join(f"{one.away:.1f}" for one in same)
        rows[f"{what}: codes that ended"] = " ".join(str(one.ended) for one in same)
        if kills:
            approved = " ".join(f"{one.approved:,}" for one in same)
            rows[f"approved afterwards, of {options.in_hand:,} codes in hand at each kill"] = approved
    rows |= {
        "verifications, approved": f"{len(callers.stories):,}, {len(callers.approved_at):,}",
        "answers": ", ".join(f"{status}: {count:,}" for status, count in callers.answers.items()),
    }
    print(f"\n{options.callers} callers, {options.servers} servers, 3 Sentinels:\n\n| | |\n|---|---:|")
    for name, figure in rows.items():
        print(f"| {name} | {figure} |")


if __name__ == "__main__":
    sys.exit(main())
