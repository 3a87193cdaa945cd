"""Attacks on a service, and what they cost: ``make abuse``. A simulated day for each scenario, in some minutes.

The service is the real one, with its default rules: API and worker processes, the sandbox gateway, and a Valkey whose
clock runs many times as fast as ours (by libfaketime), so that windows, waits and lives pass at that pace while the
ratios of all traffic are kept. Honest people ask for codes beside each attack: most are known to the service, because
all of them came on the days before. A table says for each scenario what was sent and paid, and who was refused by
which rule. Ends with 1 when an expectation is missed.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from abuse_caller import Caller
from abuse_clock import Clock, FastValkey
from abuse_driver import Driver
from abuse_people import Town
from abuse_report import print_day, print_expectations
from abuse_scenarios import SCENARIOS, Expectation, Scenario
from abuse_site import Keys, Site
from abuse_tally import Tally
from abuse_traffic import DAY, EVE, HOUR, LEAD, Group, Visit, honest_traffic, in_order, warm_up
from abuse_watch import Watch

BEGINNING = 1_795_392_000.0
"""A midnight in November 2026."""


@dataclass(frozen=True)
class Past:
    """What a server held at a time."""

    time: float
    dump: Path | None


def main() -> int:
    """Simulate and print; return 1 when an expectation is missed."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    town, keys, missed = Town(options.seed, options.honest), Keys.new(), []
    with tempfile.TemporaryDirectory(prefix="otp-service-abuse-") as name:
        past = Past(BEGINNING, None)
        for day in range(options.warm_days):
            past = _warm_up(Path(name) / f"warm-{day}", past, town, keys, options, day)
        past = _eve(Path(name) / "eve", past, town, keys, options)
        for scenario in _chosen(options.only):
            expectations = _simulate(Path(name) / scenario.name, past, town, keys, options, scenario)
            missed += [f"{scenario.name}: {one.sentence}" for one in expectations if one.met is False]
    for one in missed:
        print(f"MISSED {one}", file=sys.stderr)
    print(f"\n{f'{len(missed)} expectations missed' if missed else 'Every expectation is met'}.")
    return 1 if missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--honest", type=int, default=20_000, help="honest starts a day; the attack has five times")
    parser.add_argument("--speed", type=float, default=300, help="simulated seconds in one of ours")
    parser.add_argument("--hours", type=float, default=24, help="simulated, of the day")
    parser.add_argument("--warm-days", type=int, default=2, help="days before, on each of which all who are known come")
    parser.add_argument("--seed", type=int, default=1, help="of all traffic")
    parser.add_argument("--only", action="append", help="a scenario; may be given again", choices=list(_names()))
    return parser.parse_args()


def _names() -> Iterator[str]:
    return (scenario.name for scenario in SCENARIOS)


def _chosen(only: list[str] | None) -> list[Scenario]:
    return [scenario for scenario in SCENARIOS if only is None or scenario.name in only]


def _warm_up(
    folder: Path, past: Past, town: Town, keys: Keys, options: argparse.Namespace, day: int
) -> Past:  # fmt: skip
    """Let all who are known come, and return what the server holds then, a day later."""
    began = time.monotonic()
    with ExitStack() as stack:
        valkey = FastValkey.start(stack, folder, at=past.time, speed=options.speed, dump=past.dump)
        site = Site.start(stack, valkey, keys)
        tally = asyncio.run(_play(valkey, site, keys, warm_up(town, day), 0.0))
        row = tally.total(Group.LEAD)
        print(
            f"Day {day - options.warm_days}: {row.approved:,} of {row.visits:,} known people came in, "
            f"{row.refused:,} refused, in {time.monotonic() - began:.0f} s."
        )
        if row.refused > row.visits // 2:  # nobody would be known, and every figure worthless
            raise SystemExit("The service refuses most of those who are to be known.")
        return Past(valkey.time() // DAY * DAY + DAY, valkey.save())


def _eve(folder: Path, past: Past, town: Town, keys: Keys, options: argparse.Namespace) -> Past:
    """Let a day of honest traffic pass, and return what the server holds in its last hour."""
    began = time.monotonic()
    visits = [visit for visit in honest_traffic(town, EVE, day="eve") if visit.at >= 0]
    with ExitStack() as stack:
        valkey = FastValkey.start(stack, folder, at=past.time, speed=options.speed, dump=past.dump)
        site = Site.start(stack, valkey, keys)
        tally = asyncio.run(_play(valkey, site, keys, visits, 0.0))
        row = tally.total(Group.HONEST)
        seconds = time.monotonic() - began
        print(f"The day before: {row.visits:,} honest visits, {row.refused:,} refused, in {seconds:.0f} s.")
        return Past((valkey.time() // HOUR + 1) * HOUR, valkey.save())


def _simulate(
    folder: Path, past: Past, town: Town, keys: Keys, options: argparse.Namespace, scenario: Scenario
) -> list[Expectation]:  # fmt: skip
    """Play a scenario and print what came of it."""
    visits = scenario.attack(town, options.hours)
    if scenario.honest:
        visits = in_order(visits, honest_traffic(town, options.hours, scenario.attacked(town)))
    with ExitStack() as stack:
        valkey = FastValkey.start(stack, folder, at=past.time, speed=options.speed, dump=past.dump)
        site = Site.start(stack, valkey, keys, spend=f"{scenario.spend:.2f}" if scenario.spend else None)
        # What is bounded by the day is: the visits begin at midnight, an hour after the server does.
        tally = asyncio.run(_play(valkey, site, keys, visits, LEAD * HOUR))
    print_day(scenario, tally, options.hours)
    expectations = scenario.expectations(town, tally)
    print_expectations(expectations)
    return expectations


async def _play(valkey: FastValkey, site: Site, keys: Keys, visits: list[Visit], lead: float) -> Tally:
    """Let a day pass; return the books."""
    tally, over = Tally(), asyncio.Event()
    clock = Clock.of(valkey, lead=lead)
    watch = Watch(valkey, clock, tally)
    await asyncio.to_thread(watch.skip)
    caller = Caller(site.port, keys.applications)
    watching = asyncio.create_task(watch.run(over))
    await Driver(caller, clock, site.keyring, tally, watch).play(visits)
    over.set()
    await watching
    caller.close()
    return tally


if __name__ == "__main__":
    sys.exit(main())
