"""Sentinels replace the primary under load: ``make failover``. Three minutes.

A primary, a replica (``--servers 3``: two) and three Sentinels; a service of two processes and a worker. Callers
start verifications and check them, wrong codes and right ones; what is answered with 503 they ask again with the same
idempotency key. In turn the primary is killed with -9 and started again as a replica, and is stopped where it stands
until another was promoted. Then the books are settled. Ends with 1 when an approval or a wrong code that was answered
is forgotten, a code was approved twice, an answer was neither the right one nor 503, a message was neither sent nor
told to be given up, or nobody could verify for more than ten seconds after a kill. (Sentinels make a paused primary
that comes back a replica after eight seconds only; with two servers nothing is answered before, for want of a replica.)
"""

import argparse
import itertools
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from ending import ended_with
from rig import Rig
from standin import StandIn
from support_caller import Caller, wrong_code
from support_sentinel import URL, Node, nodes, primary_of, sentinels, wait_until

from otp_service import bootstrap
from otp_service.domain.guard import DAY
from otp_service.domain.verification import DeliveryStatus
from otp_service.errors import NotFoundError
from otp_service.settings import load_settings

GATEWAY = StandIn("first", milliseconds=5)
LONGEST = 10.0
"""Seconds in which nobody can verify, at most."""
PATIENCE = 60.0
_OK, _CREATED, _AWAY = 200, 201, 503


class WrongAnswerError(Exception):
    """An answer that is neither the right one nor 503."""


@dataclass
class Story:
    """A verification as its caller knows it."""

    number: str
    is_waited_for: bool
    """Whether nobody checks it: then its message is sent, or told to be given up."""
    wrong: int = 0
    """Wrong codes that were answered as such."""
    approvals: int = 0


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


@dataclass
class Callers:
    """Verify all the time, each in a thread of its own."""

    rig: Rig
    shop: Caller
    stories: dict[str, Story] = field(default_factory=dict)
    approved_at: list[float] = field(default_factory=list)
    """Seconds of the monotonic clock."""
    answers: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    _numbers: Any = field(default_factory=itertools.count)

    def run(self) -> None:
        """Verify until it is over."""
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {self.rig.api_key}"
        while not self.over.is_set():
            try:
                self._verify(session)
            except WrongAnswerError as wrong:
                self.faults.append(str(wrong))

    def _verify(self, session: requests.Session) -> None:
        number = next(self._numbers)
        to = f"+92345{number:07d}"
        one = self._ask(session, "", {"to": to}, _CREATED)["id"]
        story = self.stories[one] = Story(to, is_waited_for=number % 3 == 0)
        if story.is_waited_for:
            return
        code = self._code(one)
        if number % 4 == 0:
            answer = self._ask(session, f"/{one}/check", {"code": wrong_code(code)}, _OK)
            story.wrong += answer["reason"] == "wrong_code"
        if self._ask(session, f"/{one}/check", {"code": code}, _OK)["valid"]:
            story.approvals += 1
            self.approved_at.append(time.monotonic())
            if number % 8 == 1:  # nobody is approved twice, whatever came between
                story.approvals += self._ask(session, f"/{one}/check", {"code": code}, _OK)["valid"]

    def _code(self, one: str) -> str:
        while True:
            try:
                return self.shop.code(one)
            except Exception as away:  # the store is away: the handset knows its code all the same
                if self.over.is_set():
                    raise WrongAnswerError(f"{one} cannot be read: {away!r}") from away
                time.sleep(0.05)

    def _ask(self, session: requests.Session, path: str, body: object, expected: int) -> Any:
        headers, end = {"Idempotency-Key": str(uuid.uuid4())}, time.monotonic() + PATIENCE
        while time.monotonic() < end:
            url = f"{self.rig.base}/v1/verifications{path}"
            answer = session.post(url, json=body, headers=headers, timeout=10)
            self.answers[answer.status_code] += 1
            if answer.status_code == expected:
                return answer.json()
            if answer.status_code != _AWAY:
                raise WrongAnswerError(f"{path or 'start'}: {answer.status_code} {answer.text}")
            time.sleep(0.05)
        raise WrongAnswerError(f"{path or 'start'}: 503 for {PATIENCE:g} s")

    def gap(self, began: float, ended: float) -> float:
        """Return the seconds in which nobody was approved between two times, at most."""
        times = [began, *(one for one in sorted(self.approved_at) if began < one < ended), ended]
        return max(after - before for before, after in itertools.pairwise(times))


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
        looking = bootstrap.install(load_settings(rig.config))
        bootstrap.watch(looking).start()
        rig.client = looking.client
        callers = Callers(rig, Caller(looking, "bench"))
        threads = [threading.Thread(target=callers.run) for _ in range(options.callers)]
        for thread in threads:
            thread.start()
        strikes = [_strike(servers, ports, Strike(turn % 2 == 0), options.calm) for turn in range(options.rounds)]
        time.sleep(options.calm)
        callers.over.set()
        for thread in threads:
            thread.join()
        breaches = _settle(rig, callers)
    ends = [one.began for one in strikes[1:]] + [callers.approved_at[-1]]
    for one, end in zip(strikes, ends, strict=True):
        one.away = callers.gap(one.began, end)
        if one.kills and one.away > LONGEST:
            breaches.append(f"nobody could verify for {one.away:.1f} s")
    _print(options, callers, strikes)
    return ended_with(breaches)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--servers", type=int, default=2, choices=(2, 3))
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--calm", type=float, default=5.0, help="seconds between two strikes")
    return parser.parse_args()


def _strike(servers: Sequence[Node], ports: Sequence[int], strike: Strike, calm: float) -> Strike:
    """Take the primary away until another one is, and give it back."""
    time.sleep(calm)
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
    return strike


def _all_follow(servers: Sequence[Node], ports: Sequence[int]) -> bool:
    (primary,) = (one for one in servers if one.port == primary_of(ports))
    return bool(primary.replication().get("connected_slaves") == len(servers) - 1)


def _settle(rig: Rig, callers: Callers) -> list[str]:
    """Return what is not as it was answered."""
    end = time.monotonic() + PATIENCE
    while rig.waiting() and time.monotonic() < end:
        time.sleep(0.1)
    dead = {letter.member("record").rpartition(":")[2] for letter in callers.shop.context.store.dead_letters.since(DAY)}
    sent = Counter(call.dispatch for call in GATEWAY.served(rig.folder))
    breaches = list(callers.faults)
    for one, story in callers.stories.items():
        try:
            found = callers.shop.read(one).verification
        except NotFoundError:
            breaches.append(f"{one} was started, and is not known")
            continue
        if story.approvals and found.status != "approved":
            breaches.append(f"{one} was approved, and is {found.status}")
        if story.approvals > 1:
            breaches.append(f"{one} was approved {story.approvals} times")
        if found.checks < story.wrong + story.approvals:
            breaches.append(f"{one}: {story.wrong} wrong codes were counted, {found.checks} are known")
        is_told = one in dead or found.deliveries[-1].status == DeliveryStatus.EXPIRED  # by the fence
        if story.is_waited_for and not sent[story.number] and not is_told:
            breaches.append(f"{one} was neither sent nor given up")
    callers.answers["sent twice"] = sum(count - 1 for count in sent.values() if count > 1)  # type: ignore[index]
    return breaches


def _print(options: argparse.Namespace, callers: Callers, strikes: list[Strike]) -> None:
    rows = {}
    for what, kills in (("killed", True), ("paused", False)):
        same = [one for one in strikes if one.kills is kills]
        rows[f"primary {what}: a replica was promoted after, s"] = " ".join(f"{one.promoted:.1f}" for one in same)
        rows[f"{what}: nobody was approved for, s"] = " ".join(f"{one.away:.1f}" for one in same)
    rows |= {
        "verifications, approved": f"{len(callers.stories):,}, {len(callers.approved_at):,}",
        "answers": ", ".join(f"{status}: {count:,}" for status, count in callers.answers.items()),
    }
    print(f"\n{options.callers} callers, {options.servers} servers, 3 Sentinels:\n\n| | |\n|---|---:|")
    for name, figure in rows.items():
        print(f"| {name} | {figure} |")


if __name__ == "__main__":
    sys.exit(main())
