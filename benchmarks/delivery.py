"""How fast messages are delivered: ``make bench-delivery``. While a gateway is dead, and through one that is slow.

First, how long it takes from a start's 201 to the acceptance by the route's second gateway while the first one is dead,
in each way that gateways die: before the breaker opens, and after. Second, how many messages a second one worker
process keeps moving through a gateway that takes 200 ms a call, and what a message costs it in processor time, as a
ratio to a bare call by ``requests``. Ends with 1 when an objective is missed.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import outage
import throughput
from breaches import ended_short_of
from gateway_standin import StandIn
from outage import Waits
from rig import percentile
from smsc import Smsc
from throughput import Flow

ENOUGH = 250
"""Messages a second that one worker process keeps moving."""


def main() -> int:
    """Measure and print; return 1 when an objective was missed."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="otp-service-delivery-") as name:
        waits = _waits(Path(name), options)
        _print_waits(waits, options)
        floor, flows = _flows(Path(name), options)
        _print_flows(floor, flows, options)
    return ended_short_of([*_too_slow(waits), *_too_few(flows)])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waits", type=int, default=200, help="messages for each death, breaker closed and open each")
    parser.add_argument("--per-second", type=float, default=20, help="of these")
    parser.add_argument("--messages", type=int, default=3000, help="through a slow gateway")
    return parser.parse_args()


def _waits(folder: Path, options: argparse.Namespace) -> list[Waits]:
    load = (options.waits, options.per_second)
    well = outage.at_peace(folder / "well", *load)
    return [
        well,
        *(one for death, behaviour in outage.DEATHS.items() for one in outage.suffer(folder / behaviour, death, *load)),
    ]


def _flows(folder: Path, options: argparse.Namespace) -> tuple[float, list[Flow]]:
    gateways = (StandIn("http", milliseconds=throughput.CALL), Smsc("smpp", milliseconds=throughput.CALL))
    flows = [throughput.push(folder / f"through-{one.name}", one, options.messages) for one in gateways]
    return throughput.plain_call_cost(folder / "plain", options.messages), flows


def _print_waits(waits: Sequence[Waits], options: argparse.Namespace) -> None:
    well = percentile(waits[0].seconds, 0.5)
    print(
        f"\nFrom 201 to accepted by a gateway, {options.waits} messages a row at {options.per_second:g} a second, one "
        f"worker,\ntime-out {outage.TIMEOUT:g} s, {outage.CALL} ms a call where it is answered, {os.cpu_count()} cores "
        "shared by all:\n\n"
        "| the first gateway | breaker | p50 ms | of well | p95 ms | max ms | p95 may be ms |\n"
        "|---|---|---:|---:|---:|---:|---:|"
    )
    for one in waits:
        p50, p95, most = (percentile(one.seconds, share) for share in (0.5, 0.95, 1))
        print(
            f"| {one.first} | {one.breaker} | {1000 * p50:,.0f} | {p50 / well:.1f} | {1000 * p95:,.0f} "
            f"| {1000 * most:,.0f} | {1000 * one.bound:,.0f} |"
        )


def _print_flows(floor: float, flows: Sequence[Flow], options: argparse.Namespace) -> None:
    print(
        f"\nOne worker process of {throughput.THREADS} threads, {options.messages:,} messages that wait, "
        f"{throughput.CALL} ms a call\n(if nothing else took time: {throughput.MOST:g} a second):\n\n"
        "| gateway | messages/s | of possible | CPU µs a message | of a plain call |\n|---|---:|---:|---:|---:|"
    )
    for one in flows:
        print(
            f"| {one.gateway} | {one.per_second:.0f} | {one.per_second / throughput.MOST:.2f} | {one.cost:,.0f} "
            f"| {one.cost / floor:.1f} |"
        )
    print(f"| a plain call by requests, nothing else | | | {floor:,.0f} | 1.0 |")


def _too_slow(waits: Sequence[Waits]) -> list[str]:
    p95 = [(one, percentile(one.seconds, 0.95)) for one in waits]
    return [
        f"the first gateway {one.first}, breaker {one.breaker}: p95 {seconds:.3f} s, at most {one.bound:g} s"
        for one, seconds in p95
        if seconds > one.bound
    ]


def _too_few(flows: Sequence[Flow]) -> list[str]:
    return [
        f"{one.gateway}: {one.per_second:.0f} messages a second, at least {ENOUGH}"
        for one in flows
        if one.per_second < ENOUGH
    ]


if __name__ == "__main__":
    sys.exit(main())
