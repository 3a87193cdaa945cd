"""What happened to verifications that are not over yet, where the ledger has one row for each."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from otp_service.domain.audit import CONSENT_GIVEN, Event
from otp_service.domain.stats import ENDINGS, STARTED
from otp_service.domain.verification import RECORD_GRACE
from otp_service.store.events import EntryPosition, EventBatch

_GRACE: Final = 1000 * RECORD_GRACE


@dataclass(slots=True)
class _Story:
    bucket: str
    until: int
    """When nothing more can happen, for its record is gone: milliseconds by Redis' clock."""
    is_over: bool = False
    """Whether somebody ended it; or its number wants no messages, which must be in force soon; or another recorder had
    its beginning, and its end was perhaps recorded meanwhile; or it keeps too much in the stream."""
    events: dict[str, Event] = field(default_factory=dict)
    """By their entries, in their order."""


class Stories:
    """Events that were taken, and wait for the end of their verification; they stay the recorder's in Redis until then.

    What comes later, or whose start another recorder has, does not wait.
    """

    def __init__(self) -> None:
        self._stories: dict[str, _Story] = {}
        self._known: set[tuple[str, str]] = set()

    def without_known(self, batch: EventBatch) -> EventBatch:
        """Return a batch without what waits already: who claims what is old claims his own, too."""
        return batch.only({entry for entry in batch.entries if (batch.bucket, entry) not in self._known})

    def waiting(self, batch: EventBatch) -> frozenset[str]:
        """Return the entries of a batch that are to wait."""
        begun, found = set[str](), set[str]()
        for entry, one in zip(batch.entries, batch.events, strict=True):
            if one.type == STARTED:
                begun.add(one.member("id"))
            if one.type != CONSENT_GIVEN and (one.member("id") in begun or one.member("id") in self._stories):
                found.add(entry)
        return frozenset(found)

    def add(self, batch: EventBatch) -> None:
        """Let a batch wait, of which all is to."""
        for entry, one in zip(batch.entries, batch.events, strict=True):
            name, ends = one.member("id"), int(one.member("expires") or one.at)
            story = self._stories.setdefault(name, _Story(batch.bucket, ends + _GRACE))
            story.events[entry] = one
            story.is_over |= batch.claimed or one.type in ENDINGS or bool(one.member("opted_out"))
            self._known.add((batch.bucket, entry))

    def end_before(self, bucket: str, place: EntryPosition) -> None:
        """Let what began before a place of a bucket's stream wait no longer: all that came since is kept with it."""
        for story in self._stories.values():
            story.is_over |= story.bucket == bucket and next(iter(story.events.values())).place < place

    def over(self, now: int, most: int) -> Iterator[EventBatch]:
        """Yield what waits no longer, about so many events of a bucket at once."""
        found: dict[str, dict[str, Event]] = {}
        for story in self._stories.values():
            if story.is_over or story.until <= now:
                some = found.setdefault(story.bucket, {})
                some |= story.events
                if len(some) >= most:
                    yield _batch(story.bucket, found.pop(story.bucket))
        yield from (_batch(bucket, some) for bucket, some in found.items())

    def forget(self, names: Collection[str]) -> None:
        """Let verifications go: what happened to them is recorded, or left for later."""
        for name in names:
            story = self._stories.pop(name)
            self._known -= {(story.bucket, entry) for entry in story.events}


def names_of(batch: EventBatch) -> frozenset[str]:
    """Return the verifications that events are of."""
    return frozenset(one.member("id") for one in batch.events)


def _batch(bucket: str, some: dict[str, Event]) -> EventBatch:
    return EventBatch(bucket, tuple(some), tuple(some.values()))
