"""Attacks beside honest traffic, played against the use cases with a clock that is moved: the simulator's, small."""

import heapq
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from support_caller import Caller
from support_events import record_events
from support_frozen import FrozenValkey
from support_outbox import forget_queues
from support_sources import ROOT

from otp_service.bootstrap import Installation
from otp_service.errors import OtpServiceError

sys.path.append(str(ROOT / "benchmarks"))  # a folder of programs, which import each other

import abuse_attacks as attacks  # noqa: F401 - for those who import this
import abuse_numbers as numbers  # noqa: F401
import abuse_traffic as traffic
from abuse_people import Town
from abuse_traffic import Visit, What

MIDNIGHT = 1_795_046_400_000
"""The first one after the frozen clock begins."""


@dataclass
class Books:
    """What became of visits, by group and kind."""

    visits: Counter[tuple[str, str]] = field(default_factory=Counter)
    messages: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    rules: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Refusals by group and rule."""
    before_closing: int = 0
    """Messages to the attack before its first refusal."""

    def of(self, counted: Counter[tuple[str, str]], group: str, word: str = "") -> int:
        """Return a sum over the kinds of a group, or those that have a word in them."""
        return sum(count for (of, kind), count in counted.items() if of == group and word in (*kind.split(" "), ""))


class Days:
    """Plays visits, day by day."""

    def __init__(self, frozen: FrozenValkey, installation: Installation) -> None:
        self._frozen = frozen
        self._context = installation.context
        self._callers = {name: Caller(installation, name) for name in installation.context.applications}

    def play(self, visits: Iterable[Visit], day: int) -> Books:
        """Play the visits of a day, each act at its time; return what became of them."""
        books = Books()
        acts: list[Any] = [(day * traffic.DAY + one.at, place, None, one, "") for place, one in enumerate(visits)]
        heapq.heapify(acts)
        place = len(acts)
        while acts:
            at, _, what, visit, one = heapq.heappop(acts)
            self._frozen.move_to(MIDNIGHT + round(1000 * at))
            if what is not None:
                self._follow(books, visit, what, one)
                continue
            started = self._start(books, visit)
            for act in visit.acts if started else ():
                place += 1
                heapq.heappush(acts, (at + act.after, place, act.what, visit, started))
        return books

    def _start(self, books: Books, visit: Visit) -> str | None:
        """Start a verification; return its identifier, ``None`` when it is refused."""
        name = (visit.group.value, visit.kind)
        books.visits[name] += 1
        forget_queues(self._frozen.client)  # as if workers delivered
        try:
            started = self._callers[visit.application].start(
                visit.number, client_ip=visit.address, context=visit.context
            )
        except OtpServiceError as refused:
            self._refused(books, visit, refused)
            return None
        books.messages[name] += 1
        if visit.group is traffic.Group.ATTACK and not books.of(books.refused, "attack"):
            books.before_closing += 1
        return started

    def _follow(self, books: Books, visit: Visit, what: What, one: str) -> None:
        caller = self._callers[visit.application]
        try:
            if what is What.RESEND:
                caller.resend(one)
                books.messages[visit.group.value, visit.kind] += 1
            else:
                caller.check(one, caller.code(one) if what is What.APPROVE else caller.wrong(one))
                record_events(self._context)
        except OtpServiceError as refused:
            self._refused(books, visit, refused)

    def _refused(self, books: Books, visit: Visit, refused: OtpServiceError) -> None:
        books.refused[visit.group.value, visit.kind] += 1
        decision = self._context.store.decisions.find(refused.decision) if refused.decision else None
        books.rules[visit.group.value, decision.rule if decision else refused.code] += 1


def town(honest: int) -> Town:
    """Return a town with so many honest starts a day."""
    return Town(5, honest)


@dataclass(frozen=True)
class Snapshot:
    """All that a server holds at a moment."""

    now: int
    keys: list[tuple[str, bytes, int]]
    """Names, contents, and when each expires; 0 for never."""

    @classmethod
    def of(cls, frozen: FrozenValkey) -> Self:
        names = [name.decode() for name in frozen.client.scan_iter(count=10_000)]
        found = frozen.client.pipeline(transaction=False)
        for name in names:
            found.dump(name)
            found.pexpiretime(name)
        answers = found.execute()
        return cls(
            frozen.now, [(*one, max(0, ends)) for *one, ends in zip(names, answers[::2], answers[1::2], strict=True)]
        )

    def restore(self, frozen: FrozenValkey) -> None:
        """Let the server hold this and nothing else, at that moment."""
        frozen.client.flushall()
        frozen.move_to(self.now)
        kept = frozen.client.pipeline(transaction=False)
        for name, content, ends in self.keys:
            kept.restore(name, ends, content, absttl=True)
        kept.execute()
