"""A cluster is struck and changed under load: ``make cluster-failover``. Five minutes.

Three primaries, a replica each; a service of two processes and two workers. Callers verify all the time
(`verifying`): what is answered with 503 they ask again with the same idempotency key. Some check one code four times
at once, some check eight wrong codes at once, one freezes numbers whose right code it then has checked. In turn each
primary is killed with -9 and started again; slots are moved by ``MIGRATESLOTS``, there and back; a server with its
replica is added, gets a quarter of the slots, and is removed. Then the books are settled. Ends with 1 when an approval
or a wrong code that was answered is forgotten or counted twice, a code was approved twice, more wrong codes were
compared than may be, a frozen number was approved, an answer was neither the right one nor 503, a message was neither
sent nor told to be given up, too few raced, or nobody could verify for too long.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import requests
from breaches import ended_with
from gateway_standin import StandIn
from rig import Rig
from support_caller import wrong_code
from support_cluster import SLOTS, Cluster
from support_sentinel import wait_until
from verifying_callers import AWAY, FORBIDDEN, PATIENCE, Callers, WrongAnswerError, looking_at

from otp_service.domain.consents import SuppressionSource
from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.errors import StoreUnavailableError
from otp_service.services.subjects import freeze
from otp_service.telemetry.logging import Renderer, configure_logging

GATEWAY = StandIn("first", milliseconds=5)
BUCKETS = 16
"""Of the buckets: 64."""
RACES = 50
"""In which one code is checked by many at once, at least."""
AT_ONCE, GUESSES, BUDGET = 4, 8, 5
LONGEST = 20.0
"""Seconds in which nobody can verify, at most. Other shards go on, but callers ask on for what is of the one that is
away: all of them may come to wait for it, two seconds until its primary is taken for dead, and the vote."""
STEP = SLOTS // 12
"""Slots that are moved of each primary: a quarter."""


@dataclass
class Racers(Callers):
    """Callers some of whom race."""

    races: Counter[str] = field(default_factory=Counter)
    """What came of them."""
    _hands: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(32))

    def verify(self, session: requests.Session, number: int) -> None:
        """Race, or verify as others do."""
        match number % 10:
            case 4:
                self._race_for_approval(session, number)
            case 8:
                self._race_with_guesses(session, number)
            case _:
                super().verify(session, number)

    def freeze_numbers(self) -> None:
        """Freeze numbers that have a code, until it is over; ask again of all that were."""
        session, frozen = self.session(), dict[str, tuple[str, str]]()
        number = 9_000_000
        while not self.over.is_set():
            number += 1
            try:
                one, story = self.start(session, number)
                frozen[story.number] = one, self.code(one)
                self._freeze(story.number)
                for to, (started, code) in list(frozen.items())[-20:]:
                    self._ask_of_frozen(session, to, started, code)
            except WrongAnswerError as wrong:
                self.faults.append(str(wrong))
            time.sleep(0.2)

    def _freeze(self, number: str) -> None:
        to = subject_key(self.shop.context.keyring, parse_destination(number, None))
        while True:
            try:
                freeze(self.shop.context, to, "bench", SuppressionSource.API)
            except StoreUnavailableError:
                time.sleep(0.1)
            else:
                return

    def _ask_of_frozen(self, session: requests.Session, number: str, one: str, code: str) -> None:
        self.races["codes of frozen numbers"] += 1
        if self.check(session, one, code)["valid"]:
            self.faults.append(f"{one} of a frozen number was approved")
        answer = session.post(f"{self.rig.base}/v1/verifications", json={"to": number}, timeout=10)
        self.answers[answer.status_code] += 1
        if answer.status_code not in {FORBIDDEN, AWAY}:
            self.faults.append(f"a start with a frozen number: {answer.status_code} {answer.text}")

    def _race_for_approval(self, session: requests.Session, number: int) -> None:
        one, story = self.start(session, number)
        answers = self._check_at_once(one, [self.code(one)] * AT_ONCE)
        story.approvals += sum(answer["valid"] for answer in answers)
        if story.approvals == 1:
            self.races["one code, approved once"] += 1
            self.approved_at.append(time.monotonic())
        else:
            self.faults.append(f"{one}: {AT_ONCE} at once were approved {story.approvals} times")

    def _race_with_guesses(self, session: requests.Session, number: int) -> None:
        one, story = self.start(session, number)
        code = self.code(one)
        reasons = Counter(answer["reason"] for answer in self._check_at_once(one, [wrong_code(code)] * GUESSES))
        story.wrong += reasons["wrong_code"]
        last = self.check(session, one, code)
        if last["valid"] or story.wrong > BUDGET:
            self.faults.append(f"{one}: {story.wrong} wrong codes were compared, then {last}")
        elif story.wrong == BUDGET:
            self.races["guesses, as many as may be"] += 1
        else:
            self.faults.append(f"{one}: of {GUESSES} wrong codes {dict(reasons)}")

    def _check_at_once(self, one: str, codes: list[str]) -> list[dict[str, Any]]:
        return list(self._hands.map(lambda code: self.check(self.session(), one, code), codes))


@dataclass
class Strike:
    """What was done to the cluster. Times in seconds."""

    what: str
    began: float = 0.0
    took: float = 0.0
    away: float = 0.0
    """For how long nobody was approved."""


def main() -> int:
    """Strike, settle the books, print them; return 1 when they show what must not be."""
    options = _options()
    configure_logging("CRITICAL", Renderer.CONSOLE)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otp-service-cluster-")))
        cluster = Cluster(folder / "nodes")
        stack.callback(cluster.stop)
        for number, primary in enumerate(tuple(cluster.nodes)):
            cluster.add_replica(folder / f"replica-{number}", primary)
        place = folder / "rig"
        place.mkdir()
        gateways = {GATEWAY.name: {**GATEWAY.settings(GATEWAY.start(stack, place, 1)), "json": {"id": "{to}"}}}
        url = cluster.nodes[0].url
        rig = Rig.over(stack, place, url, gateways, redis={"url": url}, keys={"buckets": BUCKETS})
        for _ in range(2):
            rig.launch_worker()
        rig.wait_for_workers()
        callers = Racers(rig, looking_at(rig))
        with callers.at_work(options.callers):
            freezing = threading.Thread(target=callers.freeze_numbers)
            freezing.start()
            strikes = [_strike(what, do, options.calm) for what, do in _plan(cluster, folder, options.rounds)]
            time.sleep(options.calm)
        freezing.join()
        breaches = callers.settle(GATEWAY)
    ends = [one.began for one in strikes[1:]] + [callers.approved_at[-1]]
    for one, end in zip(strikes, ends, strict=True):
        one.away = callers.gap(one.began, end)
        if one.away > LONGEST:
            breaches.append(f"{one.what}: nobody could verify for {one.away:.1f} s")
    if callers.ended:
        breaches.append(f"{len(callers.ended)} codes ended")
    if (raced := callers.races["one code, approved once"]) < RACES:
        breaches.append(f"only {raced} races for one code")
    _print(options, callers, strikes)
    return ended_with(breaches)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="primaries that are killed")
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--calm", type=float, default=5.0, help="seconds between two strikes")
    return parser.parse_args()


def _plan(cluster: Cluster, folder: Path, rounds: int) -> list[tuple[str, Callable[[], None]]]:
    """Return what is done to the cluster, in turn."""
    added: list[int] = []
    killed = [("a primary is killed", partial(_kill, cluster, turn)) for turn in range(rounds)]
    return [
        *killed,
        ("slots are moved", partial(_turn_slots, cluster)),
        ("a server is added", partial(_add, cluster, folder, added)),
        ("a primary is killed", partial(_kill, cluster, 1)),
        ("it is removed", partial(_remove, cluster, added)),
    ]


def _strike(what: str, do: Callable[[], None], calm: float) -> Strike:
    time.sleep(calm)
    strike = Strike(what, began=time.monotonic())
    do()
    strike.took = time.monotonic() - strike.began
    print(f"{what}: {strike.took:.1f} s", flush=True)
    return strike


def _kill(cluster: Cluster, turn: int) -> None:
    """Kill a primary, wait until its replica has its slots, and start it again."""
    slot = _first_of_third(turn)
    struck = cluster.primary_of(slot)
    struck.kill()
    wait_until(lambda: cluster.living[0].has(slot) not in {struck.port, 0}, PATIENCE)
    struck.start()
    wait_until(struck.follows, PATIENCE)
    wait_until(lambda: all(node.has(slot) != struck.port for node in cluster.nodes), PATIENCE)


def _first_of_third(turn: int) -> int:
    return turn % 3 * -(-SLOTS // 3)


def _turn_slots(cluster: Cluster) -> None:
    """Move a quarter of each primary's slots to the next one, and back."""
    firsts = [_first_of_third(turn) for turn in range(3)]
    primaries = [cluster.primary_of(first + STEP) for first in firsts]
    for steps in (1, 0):
        for place, first in enumerate(firsts):
            cluster.move_slots(first, first + STEP - 1, primaries[(place + steps) % 3])


def _add(cluster: Cluster, folder: Path, added: list[int]) -> None:
    """Add a server and its replica; it gets a quarter of each other's slots."""
    new = cluster.add(folder / "added")
    replica = cluster.add_replica(folder / "added-replica", new)
    added += [new.port, replica.port]
    for turn in range(3):
        first = _first_of_third(turn)
        cluster.move_slots(first, first + STEP - 1, new)


def _remove(cluster: Cluster, added: list[int]) -> None:
    """Give its slots back, and remove it."""
    for turn in range(3):
        first = _first_of_third(turn)
        cluster.move_slots(first, first + STEP - 1, cluster.primary_of(first + STEP))
    cluster.remove(*(node for node in cluster.nodes if node.port in added))


def _print(options: argparse.Namespace, callers: Racers, strikes: list[Strike]) -> None:
    print(f"\n{options.callers} callers, 3 + 3 servers:\n")
    print("| strike | took, s | nobody was approved for, s |\n|---|---:|---:|")
    for one in strikes:
        print(f"| {one.what} | {one.took:.1f} | {one.away:.1f} |")
    rows = {
        "verifications, approved": f"{len(callers.stories):,}, {len(callers.approved_at):,}",
        "answers": ", ".join(f"{status}: {count:,}" for status, count in callers.answers.items()),
        "races": ", ".join(f"{what}: {count:,}" for what, count in sorted(callers.races.items())),
    }
    print("\n| | |\n|---|---|")
    for name, figure in rows.items():
        print(f"| {name} | {figure} |")


if __name__ == "__main__":
    sys.exit(main())
