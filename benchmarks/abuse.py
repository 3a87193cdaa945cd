"""Attacks on a service, and what they cost: ``make abuse``. A simulated day for each scenario, in some minutes.

The service is the real one, with its default rules: API and worker processes, the sandbox gateway, and a Valkey whose
clock runs many times as fast as ours (by libfaketime), so that windows, waits and lives pass at that pace while the
ratios of all traffic are kept. Honest people ask for codes beside each attack: most are known to the service, because
all of them came on the days before. *Loud attacks* come beside traffic that is the same at all hours. *Patient ones*
come to three sites whose newcomers come by hour of the week, weeks after those began (`abuse_memory` plays the same
days without a service). A table says for each scenario what was sent and paid, and who was refused by which rule. Ends
with 1 when an expectation is missed.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import abuse_memory as memory
import abuse_patient as patient
from abuse_caller import Caller
from abuse_clock import Clock, FastValkey
from abuse_driver import Driver
from abuse_numbers import ABROAD, HOME
from abuse_people import Town
from abuse_report import print_day, print_expectations
from abuse_scenarios import SCENARIOS, Expectation, Scenario
from abuse_site import EMPTY, Keys, Site
from abuse_tally import Tally
from abuse_traffic import DAY, EVE, HOUR, LEAD, Group, Visit, honest_traffic, in_order, warm_up
from abuse_watch import Watch

from otp_service.domain.newcomer_traffic import CountryTraffic, Notice

BEGINNING = 1_795_392_000.0
"""A midnight in November 2026."""
MOST_LATE, MOST_BEHIND = 20.0, 30.0
"""Simulated seconds for which a request may wait, and a message, an event, or what is to be judged: then time waits."""
LOOK = 0.02
"""Seconds of ours between two looks at that."""


@dataclass(frozen=True)
class Past:
    """What a server held at a time, and for how often each number had been asked for in vain."""

    time: float
    dump: Path | None
    in_vain: Mapping[str, int] = field(default_factory=dict)

    def at(self, moment: float) -> "Past":
        """Return it at a later time."""
        return replace(self, time=moment)


@dataclass(frozen=True)
class Day:
    """What came of some visits, and what the server holds then."""

    tally: Tally
    notices: list[Notice]
    past: Past


@dataclass(frozen=True)
class Stage:
    """What all days of a run share."""

    folder: Path
    keys: Keys
    options: argparse.Namespace

    def play(
        self, name: str, past: Past, visits: Sequence[Visit], lead: float = 0.0, shop: Mapping[str, Any] = EMPTY,
        learnt: Mapping[str, CountryTraffic] = EMPTY,
    ) -> Day:  # fmt: skip
        """Let visits come, of a day that begins so many simulated seconds after the past."""
        began = time.monotonic()
        with ExitStack() as stack:
            valkey = FastValkey.start(stack, self.folder / name, at=past.time, speed=self.options.speed, dump=past.dump)
            site = Site.start(stack, valkey, self.keys, shop, learnt)
            clock = Clock(valkey, lead=lead)
            tally = Tally(in_vain=dict(past.in_vain))
            asyncio.run(_play(valkey, clock, site, self.keys, visits, tally))
            notices = list(patient.notices_in(valkey.folder / "worker.log", clock))
            print(f"\n{name}: {(visits[-1].at - visits[0].at) / HOUR:.0f} h in {time.monotonic() - began:.0f} s.")
            _check(tally)
            return Day(tally, notices, Past(valkey.time(), valkey.save(), tally.in_vain))


def _check(tally: Tally) -> None:
    """Say how many honest visits were refused; stop where nothing that follows would be worth anything."""
    before, honest = tally.total(Group.LEAD), tally.total(Group.HONEST)
    rules = {
        rule: count
        for rule, counts in tally.by_rule().items()
        if (count := sum(one for (group, _), one in counts.items() if group is not Group.ATTACK))
    }
    why = ", ".join(f"{rule} {count}" for rule, count in sorted(rules.items())) or "none refused"
    print(f"Of {before.visits + honest.visits:,} honest visits: {why}.", flush=True)
    if before.refused > before.visits // 2:
        raise SystemExit("The service refuses most of those who are to be known.")


def main() -> int:
    """Simulate and print; return 1 when an expectation is missed."""
    options, began = _options(), time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    keys, missed = Keys.new(), []
    with tempfile.TemporaryDirectory(prefix="otp-service-abuse-") as name:
        if loud := [scenario for scenario in SCENARIOS if _is_chosen(scenario.name, options)]:
            missed += _loud(Stage(Path(name) / "loud", keys, options), loud)
        for site in options.site or memory.SITES:
            if days := [one for one in memory.SCENARIOS if site in one.http and _is_chosen(one.name, options)]:
                missed += _patient(Stage(Path(name) / site, keys, options), site, days)
        if _is_chosen(patient.FOREIGN_SITE, options):
            missed += _foreign(Stage(Path(name) / "foreign", keys, options))
    for one in missed:
        print(f"MISSED {one}", file=sys.stderr)
    found = f"{len(missed)} expectations missed" if missed else "Every expectation is met"
    print(f"\n{found}; {(time.monotonic() - began) / 60:.0f} minutes.")
    return 1 if missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="scenarios whose name begins so; may be given again")
    parser.add_argument(
        "--site", action="append", choices=list(memory.SITES), help="of patient attacks; all without it"
    )
    parser.add_argument("--speed", type=float, default=1200, help="simulated seconds in one of ours, at most")
    parser.add_argument("--seed", type=int, default=1, help="of all traffic")
    parser.add_argument("--honest", type=int, default=20_000, help="honest starts a day; a loud attack has five times")
    parser.add_argument("--hours", type=float, default=24, help="of the day of a loud attack")
    parser.add_argument("--warm-days", type=int, default=1, help="days before a loud one, when all who are known come")
    return parser.parse_args()


def _is_chosen(name: str, options: argparse.Namespace) -> bool:
    return options.only is None or name.startswith(tuple(options.only))


def _missed(name: str, expectations: list[Expectation]) -> list[str]:
    print_expectations(expectations)
    return [f"{name}: {one.sentence}" for one in expectations if one.met is False]


# --- Loud attacks --------------------------------------------------------------------------------------------------


def _loud(stage: Stage, scenarios: list[Scenario]) -> list[str]:
    """Play loud attacks; return what was missed."""
    options, past = stage.options, Past(BEGINNING, None)
    town = Town(options.seed, options.honest)
    for day in range(options.warm_days):
        past = stage.play(f"day {day - options.warm_days}", past, warm_up(town, day)).past
        past = past.at(past.time // DAY * DAY + DAY)
    eve = [visit for visit in honest_traffic(town, EVE, day="eve") if visit.at >= 0]
    past = stage.play("the day before", past, eve).past
    past = past.at((past.time // HOUR + 1) * HOUR)
    return [one for scenario in scenarios for one in _loud_day(stage, past, town, scenario)]


def _loud_day(stage: Stage, past: Past, town: Town, scenario: Scenario) -> list[str]:
    hours = stage.options.hours
    visits = scenario.attack(town, hours)
    if scenario.honest:
        visits = in_order(visits, honest_traffic(town, hours, scenario.attacked(town)))
    shop = {"spend": {"day": f"{scenario.spend:.2f}"}} if scenario.spend else EMPTY
    # What is bounded by the day is: the visits begin at midnight, an hour after the server does.
    tally = stage.play(scenario.name, past, visits, LEAD * HOUR, shop).tally
    print_day(f"{scenario.name}: {scenario.says} ({hours:g} simulated hours)", tally)
    return _missed(scenario.name, scenario.expectations(town, tally))


# --- Patient attacks -----------------------------------------------------------------------------------------------


def _patient(stage: Stage, site: str, scenarios: list[memory.Scenario]) -> list[str]:
    """Play a site's Friday again and again; return what was missed."""
    town, began = patient.town_of(site, stage.options.seed), time.monotonic()
    learnt = {HOME: memory.quiet_days(site, 0, patient.LEARNT_DAYS)[1]}
    print(f"\nThe weeks of the {site} site were learnt in memory, in {time.monotonic() - began:.0f} s.", flush=True)
    past = stage.play("warm-up", Past(60.0 * patient.WARM_DAY, None), warm_up(town, 0), learnt=learnt).past
    past = past.at(60.0 * patient.EVE)
    past = stage.play("eve", past, patient.eve_visits(site, town), learnt=learnt).past
    past = past.at(60.0 * (patient.FRIDAY + patient.OPENS))
    missed, rows = [], []
    for scenario in scenarios:
        row, own = _patient_day(stage, past, town, site, scenario)
        missed += own
        rows.append(row)
    print("\n".join(["", memory.HEAD, *rows]), flush=True)
    return missed


def _patient_day(
    stage: Stage, past: Past, town: Town, site: str, scenario: memory.Scenario
) -> tuple[str, list[str]]:  # fmt: skip
    visits = patient.over_http(site, scenario, town)
    shop = {"human_check": "assertion"} if scenario.can_ask else {"spend": {"day": f"{patient.ceiling(site):.2f}"}}
    day = stage.play(scenario.name, past, visits, -60.0 * patient.OPENS, shop)
    book, began = patient.book_of(scenario, day.tally, day.notices), patient.span_of(scenario)[0]
    print_day(f"{scenario.name}, {site} site", day.tally)
    expectations = [
        *memory.expectations(site, scenario, book, began),
        *patient.beside(site, scenario, day.tally),
    ]
    row = memory.row_of(site, scenario, book, began)
    print(f"\n{memory.HEAD}\n{row}")
    return row, _missed(f"{scenario.name}, {site}", expectations)


def _foreign(stage: Stage) -> list[str]:
    """Play forty foreign numbers that were verified once; return what was missed."""
    people = patient.Foreign(stage.options.seed)
    learnt = {ABROAD: memory.quiet_foreign_days(patient.LEARNT_DAYS)}
    past = stage.play("warm-up", Past(60.0 * patient.WARM_DAY, None), people.warm_up(), learnt=learnt).past
    past = past.at(60.0 * patient.EVE)
    day = stage.play(patient.FOREIGN_SITE, past, people.visits(), 0.0, {"human_check": "assertion"}, learnt)
    print_day(f"{patient.FOREIGN_SITE}: forty, verified once, asked for ten times a day", day.tally)
    print(", ".join(f"{one.finding} of {one.group}" for one in day.notices))
    return _missed(patient.FOREIGN_SITE, patient.foreign_expectations(day.tally))


async def _play(
    valkey: FastValkey, clock: Clock, site: Site, keys: Keys, visits: Sequence[Visit], tally: Tally
) -> None:
    """Let a day pass, and write it into the books."""
    over = asyncio.Event()
    watch = Watch(valkey, clock, tally)
    await asyncio.to_thread(watch.skip)
    caller = Caller(site.port, keys.applications)
    driver = Driver(caller, clock, site.keyring, tally, watch)
    async with asyncio.TaskGroup() as tasks:
        moving = tasks.create_task(clock.run()), tasks.create_task(_hold(clock, site, driver))
        watching = tasks.create_task(watch.run(over))
        await driver.play(visits)
        over.set()
        await watching
        for one in moving:
            one.cancel()
    caller.close()


async def _hold(clock: Clock, site: Site, driver: Driver) -> None:
    """Let time stand still while the service is behind."""
    waits = 0.0
    clock.behind = lambda: driver.late > MOST_LATE or waits > MOST_BEHIND
    while True:
        waits = await asyncio.to_thread(site.behind)
        await asyncio.sleep(LOOK)


if __name__ == "__main__":
    sys.exit(main())
