"""What a simulation reads in Redis beside the API: what gateways took, and which rule decided what."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

import redis
from abuse_clock import Clock, FastValkey
from abuse_tally import Tally
from abuse_traffic import Visit
from rig_workers import BUCKET

from otp_service.store import keys
from otp_service.store.events import Decision, parse_decision
from otp_service.store.verifications import delivery_slot

SETTLED = 620.0
"""Seconds after a start at which its record is read: all is done then, and it lives for 280 more."""
EVERY = 60.0
"""Seconds between two looks."""
ALARM = "application.failures"
_FIRST_DISPATCHES = tuple(delivery_slot(message, 1) for message in range(1, 4))
_ACCEPTED = {b"sent", b"delivered"}
_AT_ONCE = 1000


def read_decisions(client: redis.Redis, after: str) -> list[Decision]:
    """Return the next decisions after an entry, the oldest first; ``"-"`` begins at the first one."""
    since = after if after == "-" else f"({after}"
    return [parse_decision(BUCKET, entry) for entry in client.xrange(keys.decisions(BUCKET), since, count=_AT_ONCE)]


@dataclass
class Watch:
    """Looks now and then, in a thread of its own, until it is told that the day is over."""

    valkey: FastValkey
    clock: Clock
    tally: Tally
    last: str = "-"
    """The last entry that was read."""
    _waiting: deque[tuple[float, str, Visit]] = field(default_factory=deque)

    def expect(self, verification: str, visit: Visit) -> None:
        """Look at a verification once all is done."""
        self._waiting.append((self.clock.now() + SETTLED, verification, visit))

    async def run(self, over: asyncio.Event) -> None:
        """Look until the day is over and nothing waits any more."""
        while not over.is_set() or self._waiting:
            await asyncio.sleep(EVERY / self.clock.speed)
            await asyncio.to_thread(self.look)
        await asyncio.to_thread(self.look)

    def skip(self) -> None:
        """Pass over the decisions that are there."""
        while found := read_decisions(self.valkey.client, self.last):
            self.last = found[-1].entry

    def look(self) -> None:
        """Look once."""
        self._look_at_records()
        while found := read_decisions(self.valkey.client, self.last):
            self.last = found[-1].entry
            for one in found:
                self._note(one)

    def _note(self, decision: Decision) -> None:
        self.tally.rules[decision.id] = decision.rule
        if decision.rule == ALARM and self.tally.alarm is None:
            self.tally.alarm = decision.at / 1000 - self.clock.server

    def _look_at_records(self) -> None:
        while due := self._due():
            with self.valkey.client.pipeline(transaction=False) as pipeline:
                for verification, _ in due:
                    pipeline.hmget(keys.record(BUCKET, verification), "f", *_FIRST_DISPATCHES)
                for (_, visit), (fixed, *slots) in zip(due, pipeline.execute(), strict=True):
                    self.tally.receive(visit, sum(_taken(slot) for slot in slots))
                    self.tally.unexpected["records that were gone before they were read"] += fixed is None

    def _due(self) -> list[tuple[str, Visit]]:
        found: list[tuple[str, Visit]] = []
        now = self.clock.now()
        while self._waiting and self._waiting[0][0] <= now and len(found) < _AT_ONCE:
            found.append(self._waiting.popleft()[1:])
        return found


def _taken(slot: bytes | None) -> bool:
    return slot is not None and slot.split(b"|")[2] in _ACCEPTED
