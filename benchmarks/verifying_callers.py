"""Callers that verify all the time while servers are taken away, and the books of what they were answered."""

import itertools
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests
from gateway_standin import StandIn
from rig import Rig
from support_caller import Caller, wrong_code

from otp_service import bootstrap
from otp_service.domain.guard import DAY
from otp_service.domain.verification import DeliveryStatus
from otp_service.errors import NotFoundError
from otp_service.settings import load_settings
from otp_service.store import keys

PATIENCE = 60.0
"""Seconds in which whatever is asked for is answered, and what waits is sent."""
HELD_FROM = 5_000_000
"""The first number whose code is held."""
HOLDERS = 8
OK, CREATED, FORBIDDEN, AWAY = 200, 201, 403, 503


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
class Callers:
    """Verify all the time, each in a thread of its own."""

    rig: Rig
    shop: Caller
    stories: dict[str, Story] = field(default_factory=dict)
    approved_at: list[float] = field(default_factory=list)
    """Seconds of the monotonic clock."""
    ended: list[float] = field(default_factory=list)
    """When a right code was answered to have expired, so soon."""
    answers: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    _numbers: Any = field(default_factory=itertools.count)

    @contextmanager
    def at_work(self, count: int) -> Iterator[None]:
        """Let so many verify meanwhile."""
        threads = [threading.Thread(target=self.run) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in threads:
                thread.join()

    def run(self) -> None:
        """Verify until it is over."""
        session = self.session()
        while not self.over.is_set():
            try:
                self.verify(session, next(self._numbers))
            except WrongAnswerError as wrong:
                self.faults.append(str(wrong))

    def session(self) -> requests.Session:
        """Return a connection of the application's."""
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {self.rig.api_key}"
        return session

    def verify(self, session: requests.Session, number: int) -> None:
        """Start a verification, and mostly check it; some with a wrong code first, some once more."""
        one, story = self.start(session, number, is_waited_for=number % 3 == 0)
        if story.is_waited_for:
            return
        code = self.code(one)
        if number % 4 == 0:
            answer = self.check(session, one, wrong_code(code))
            story.wrong += answer["reason"] == "wrong_code"
        answer = self.check(session, one, code)
        if answer["reason"] == "expired":
            self.ended.append(time.monotonic())
            return
        if not answer["valid"]:
            raise WrongAnswerError(f"{one}: its code is {answer['reason']}")
        story.approvals += 1
        self.approved_at.append(time.monotonic())
        if number % 8 == 1:  # nobody is approved twice, whatever came between
            story.approvals += self.check(session, one, code)["valid"]

    def hold(self, count: int) -> dict[str, str]:
        """Start so many verifications beside the others; return their codes."""
        first = HELD_FROM + len(self.stories)

        def start(place: int) -> tuple[str, str]:
            one, _ = self.start(self.session(), first + place)
            return one, self.code(one)

        with ThreadPoolExecutor(HOLDERS) as pool:
            return dict(pool.map(start, range(count)))

    def redeem(self, held: Mapping[str, str]) -> int:
        """Check codes that were held; return how many are approved."""

        def check(one: str) -> bool:
            approved: bool = self.check(self.session(), one, held[one])["valid"]
            self.stories[one].approvals += approved
            return approved

        with ThreadPoolExecutor(HOLDERS) as pool:
            return sum(pool.map(check, held))

    def start(self, session: requests.Session, number: int, *, is_waited_for: bool = False) -> tuple[str, Story]:
        """Start a verification."""
        to = f"+92345{number:07d}"
        one = self.ask(session, "", {"to": to}, CREATED)["id"]
        story = self.stories[one] = Story(to, is_waited_for)
        return one, story

    def check(self, session: requests.Session, one: str, code: str) -> Any:
        """Return the answer to a code."""
        return self.ask(session, f"/{one}/check", {"code": code}, OK)

    def code(self, one: str) -> str:
        """Return the code of a verification: the handset knows it, also while the store is away."""
        while True:
            try:
                return self.shop.code(one)
            except Exception as away:
                if self.over.is_set():
                    raise WrongAnswerError(f"{one} cannot be read: {away!r}") from away
                time.sleep(0.05)

    def ask(self, session: requests.Session, path: str, body: object, expected: int) -> Any:
        """Return an answer; what is answered with 503 is asked again, with the same idempotency key."""
        headers, end = {"Idempotency-Key": str(uuid.uuid4())}, time.monotonic() + PATIENCE
        while time.monotonic() < end:
            url = f"{self.rig.base}/v1/verifications{path}"
            answer = session.post(url, json=body, headers=headers, timeout=10)
            self.answers[answer.status_code] += 1
            if answer.status_code == expected:
                return answer.json()
            if answer.status_code != AWAY:
                raise WrongAnswerError(f"{path or 'start'}: {answer.status_code} {answer.text}")
            time.sleep(0.05)
        raise WrongAnswerError(f"{path or 'start'}: 503 for {PATIENCE:g} s")

    def gap(self, began: float, ended: float) -> float:
        """Return the seconds in which nobody was approved between two times, at most."""
        times = [began, *(one for one in sorted(self.approved_at) if began < one < ended), ended]
        return max(after - before for before, after in itertools.pairwise(times))

    def settle(self, gateway: StandIn) -> list[str]:
        """Return what is not as it was answered, once nothing waits to be sent by the gateway."""
        end = time.monotonic() + PATIENCE
        while self._waiting() and time.monotonic() < end:
            time.sleep(0.1)
        dead = {one.member("record").rpartition(":")[2] for one in self.shop.context.store.dead_letters.since(DAY)}
        sent = Counter(call.dispatch for call in gateway.served(self.rig.folder))
        self.answers["sent twice"] = sum(count - 1 for count in sent.values() if count > 1)  # type: ignore[index]
        breaches = list(self.faults)
        for one, story in self.stories.items():
            try:
                found = self.shop.read(one).verification
            except NotFoundError:
                breaches.append(f"{one} was started, and is not known")
                continue
            if story.approvals and found.status != "approved":
                breaches.append(f"{one} was approved, and is {found.status}")
            if story.approvals > 1:
                breaches.append(f"{one} was approved {story.approvals} times")
            if found.checks != story.wrong + story.approvals:
                told = f"{story.wrong} wrong codes and {story.approvals} approvals were answered"
                breaches.append(f"{one}: {told}, {found.checks} checks are known")
            is_told = one in dead or found.deliveries[-1].status == DeliveryStatus.EXPIRED  # by a fence
            if story.is_waited_for and not sent[story.number] and not is_told:
                breaches.append(f"{one} was neither sent nor given up")
        return breaches

    def _waiting(self) -> int:
        """Return how many messages wait, are in hand, or come back later."""
        client, buckets = self.rig.client, self.shop.context.keyring.buckets
        queued = sum(client.xlen(one.decode()) for bucket in buckets for one in client.hkeys(keys.queues(bucket)))
        return queued + sum(client.zcard(keys.delayed(bucket)) for bucket in buckets)


def looking_at(rig: Rig) -> Caller:
    """Return the application as a process beside the service's own sees it; the rig looks where that looks."""
    looking = bootstrap.install(load_settings(rig.config))
    bootstrap.watch(looking).start()
    rig.client = looking.client
    return Caller(looking, "bench")
