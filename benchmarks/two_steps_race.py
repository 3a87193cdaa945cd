"""Reserve, commit and give back in a race: a limit, or a ceiling, of 400 is never exceeded, also where processes die.

Each trial: eight processes start verifications of one application at once. Four in ten are refused by the number's
slot, after the application's has counted them. In most trials five of the processes are killed, at any instruction.
When nobody gets anything more, what was accepted is compared with the limit, and with what the application's slot
holds: units that leaked stay counted, so that a leak makes a limit narrower, never wider. Each process counts messages
ahead of their coming, which leak too where it is killed. Ends with 1 when a limit was exceeded, when something leaked
without a kill, or when nothing was refused by the number's slot.
"""

import argparse
import os
import random
import sys
import time
from functools import partial
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import redis
from breaches import ended_with
from support_caller import Caller
from support_guard import PERMISSIVE, modes
from support_installation import tree
from support_valkey import ValkeyServer

from otp_service import bootstrap
from otp_service.errors import StoreUnavailableError, TooManyError
from otp_service.settings import settings_from
from otp_service.store import keys
from otp_service.store.store import open_store

PROCESSES, KILLED, LIMIT = 8, 5, 400
REFUSED = 0.4
"""Share of starts that the number's slot refuses."""
ENOUGH = 25
"""Refusals in a row after which a process takes the limit for reached."""
USED_UP = tuple(f"+92300999{last:04}" for last in range(8))
"""Numbers that had their only message."""
FORK = get_context("fork")


def settings_of(url: str, *, money: bool) -> dict[str, Any]:
    """Return settings with one limit that is met, beside that of numbers."""
    own = tree(url)
    limits = {**PERMISSIVE, "number": ["1/day"], "application": ["1000000/day" if money else f"{LIMIT}/day"]}
    applications = {**own["applications"], "shop": {**own["applications"]["shop"], "client_ip": "none"}}
    if money:
        applications["shop"]["spend"] = {"day": str(LIMIT)}
    return {
        **own,
        "limits": limits,
        "applications": applications,
        "guard": {"modes": modes("number.sends", "application.requests", "spend.application")},
        "gateways": {"sandbox": {"kind": "sandbox", "timeout": 1.0, "prices": {"*": "1"}}},
        "streams": {"max_events": 100_000, "max_outbox": 100_000},
    }


def caller(settings: dict[str, Any]) -> Caller:
    """Return an application that counts in two steps."""
    bootstrap.open_store = partial(open_store, shared_elsewhere=True)
    return Caller(bootstrap.install(settings_from(settings)))


def race(settings: dict[str, Any], place: int, seed: int, go: float) -> None:
    """Start verifications until the limit is reached."""
    shop, draw, refused = caller(settings), random.Random(seed), 0
    time.sleep(max(0, go - time.time()))
    for turn in count():
        to = draw.choice(USED_UP) if draw.random() < REFUSED else f"+9230{place}{turn:07}"
        try:
            shop.start(to)
            refused = 0
        except TooManyError:
            refused += to not in USED_UP
        except StoreUnavailableError:
            continue
        if refused >= ENOUGH:
            break
        _give_back(shop)
    _give_back(shop, all_of_it=True)
    os._exit(0)


def _give_back(shop: Caller, *, all_of_it: bool = False) -> None:
    if shared := shop.context.store.shared:
        shared.give_back_ahead(all_of_it=all_of_it)


def trial(server: ValkeyServer, seed: int, *, money: bool, kills: int) -> tuple[int, int, int]:
    """Return how many were accepted, how many the application's slot holds, and how many its number's slot refused."""
    server.client.flushall()
    draw = random.Random(seed)
    settings = settings_of(server.url, money=money)
    shop = caller(settings)
    shop.context.mirror_sync.rebuild()
    for number in USED_UP:
        shop.start(number)
    _give_back(shop, all_of_it=True)
    go = time.time() + 1.5
    racers = [FORK.Process(target=race, args=(settings, place, seed * 10 + place, go)) for place in range(PROCESSES)]
    for one in racers:
        one.start()
    time.sleep(max(0, go - time.time()))
    for one in racers[:kills]:
        time.sleep(draw.uniform(0.02, 0.15))
        one.kill()
    for one in racers:
        one.join(60)
    return _accepted(server.client), _held(server.client, shop, money=money), _refused(server.client)


def _accepted(client: redis.Redis) -> int:
    return sum(b"verification.started" in values.get(b"json", b"") for _, values in client.xrange(keys.events("00")))


def _refused(client: redis.Redis) -> int:
    return sum(values[b"rule"] == b"number.sends" for _, values in client.xrange(keys.decisions("00")))


def _held(client: redis.Redis, shop: Caller, *, money: bool) -> int:
    ruleset = shop.context.rulesets["shop"]
    if money:
        spent = shop.context.store.guard.spent(ruleset.ruleset, "shop")
        return round(max(one.amount for one in spent) / 1_000_000)
    return _window(client)


def _window(client: redis.Redis) -> int:
    text = client.get(keys.application("shop")) or b""
    names, _, values = text.partition(b"\n")
    before = names.split()[: names.split().index(b"w86400")]
    offset = sum({"e": 6, "a": 12, "n": 4, "t": 6}[name.decode()[0]] for name in before)
    return int.from_bytes(values[offset : offset + 4], "little")


def main() -> int:
    """Run all trials; return 1 when a limit was exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=50)
    options = parser.parse_args()
    server, breaches, leaked, refusals = ValkeyServer(Path(mkdtemp(dir="/dev/shm"))), [], [], 0
    try:
        for number in range(options.trials):
            money, kills = number % 2 == 1, 0 if number % 5 == 0 else KILLED
            accepted, held, refused = trial(server, number, money=money, kills=kills)
            refusals += refused
            leaked.append(held - accepted)
            of = "money" if money else "requests"
            what = f"trial {number}: {of}, {kills} killed: {accepted} accepted, {held} held, {refused} refused"
            print(what, flush=True)
            if accepted > LIMIT or held > LIMIT or held < accepted or (not kills and held != accepted):
                breaches.append(what)
            if accepted < LIMIT - 10 * PROCESSES:
                breaches.append(f"too few: {what}")
    finally:
        server.stop(kill=True)
    print(
        f"leaked: {sum(leaked)} in {len(leaked)} trials, {max(leaked)} at most; {refusals} refused by the number's slot"
    )
    return ended_with([*breaches, *([] if refusals else ["nothing was refused by the number's slot"])])


if __name__ == "__main__":
    sys.exit(main())
