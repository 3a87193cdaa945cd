"""What is remembered of numbers and verifications beyond their records: for people who ask why."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis

from otp_service.domain.verification import GRACE, LONGEST_LIFE
from otp_service.store import keys
from otp_service.store.connection import answered
from otp_service.store.paging import pages_of

SPAN = 1500 * (LONGEST_LIFE + GRACE)
"""Milliseconds from its start in which all of a verification happens: its record's life, and half as much again."""
PAGE = 1000
"""Events that are read at once."""
MOST = 200
"""Pages that are read for one question."""


@dataclass(frozen=True, slots=True)
class Started:
    """A verification of a number, as it is remembered after its record has gone."""

    id: str
    at: int
    """When it started: milliseconds since the epoch, by Redis' clock."""


@dataclass(frozen=True, slots=True)
class Event:
    """An entry of the event stream."""

    at: int
    type: str
    fields: Mapping[str, str]

    def member(self, name: str) -> str:
        """Return a field, empty when the event has none of that name."""
        return self.fields.get(name, "")


@dataclass(frozen=True, slots=True)
class Past:
    """What the event stream tells of some verifications."""

    events: Mapping[str, tuple[Event, ...]] = field(default_factory=dict)
    """By verification, in the order in which they happened."""
    complete: bool = True
    """Whether all that was kept has been read: a busy stream is not read without end."""

    def of(self, verification_id: str) -> tuple[Event, ...]:
        """Return the events of a verification."""
        return self.events.get(verification_id, ())


class History:
    """The number's last verifications, the event stream, and the lanes."""

    def __init__(self, client: redis.Redis, buckets: tuple[str, ...], *, page: int = PAGE, most: int = MOST) -> None:
        self._client = client
        self._buckets = buckets
        self._page = page
        self._most = most

    def recent(self, bucket: str, pseudonym: str) -> tuple[Started, ...]:
        """Return a number's last verifications, of all applications, newest first."""
        with answered():
            found: Any = self._client.lrange(keys.recent(bucket, pseudonym), 0, -1)
        pairs = (entry.decode().partition("|") for entry in found)
        return tuple(Started(one, int(at)) for one, _, at in pairs)

    def past(self, bucket: str, since: Mapping[str, int]) -> Past:
        """Return the events of some verifications, each from a time on for `SPAN`; the newest ones first to be read."""
        found: dict[str, list[Event]] = {one: [] for one in since}
        pages, complete = self._most, True
        for begin, end in _spans(since.values()):
            for entries in pages_of(self._client, keys.events(bucket), str(begin), str(end), size=self._page):
                for event in map(_event, entries):
                    if event.member("id") in found:
                        found[event.member("id")].append(event)
                pages -= 1
                if not pages:
                    break
            complete = complete and pages > 0
            if not pages:
                break
        return Past({one: tuple(events) for one, events in found.items()}, complete)

    def waiting(self) -> Mapping[str, int]:
        """Return how many messages wait, by the application that they are of, over all lanes."""
        with answered(), self._client.pipeline(transaction=False) as pipeline:
            for bucket in self._buckets:
                pipeline.hkeys(keys.lanes(bucket))
            lanes = sorted(lane.decode() for known in pipeline.execute() for lane in known)
            for lane in lanes:
                pipeline.xlen(lane)
            lengths: list[int] = pipeline.execute()
        waiting: Counter[str] = Counter()
        for lane, length in zip(lanes, lengths, strict=True):
            waiting[lane.rsplit(":", 3)[1]] += length
        return waiting


def _spans(begins: Iterable[int]) -> list[tuple[int, int]]:
    """Return the times to look at, newest first; those that overlap are one."""
    spans: list[tuple[int, int]] = []
    for begin in sorted(begins, reverse=True):
        if spans and begin + SPAN >= spans[-1][0]:
            spans[-1] = (begin, spans[-1][1])
        else:
            spans.append((begin, begin + SPAN))
    return spans


def _event(entry: tuple[bytes, Mapping[bytes, bytes]]) -> Event:
    at, raw = entry
    fields = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in raw.items()}
    return Event(int(at.partition(b"-")[0]), fields.pop("type", ""), fields)
