"""The event stream on its way into the ledger: taken by a consumer group, trimmed when it is recorded."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from otp_service.domain.events import CONSENTED, Happening
from otp_service.store import keys
from otp_service.store.connection import answered, now_of
from otp_service.store.entries import name_of
from otp_service.store.paging import pages_of
from otp_service.store.retention import Retention

GROUP = "ledger"
"""Consumer group of the recorders."""
_TRIMMED_AT_ONCE = 10_000
"""Entries that are looked at to find how far a stream that is too long may be trimmed."""
_SILENT = 24 * 3600 * 1000
"""Milliseconds after which a recorder that holds nothing is taken for gone."""
_NO_GROUP = "NOGROUP"


@dataclass(frozen=True, slots=True)
class Taken:
    """Some entries of one bucket's stream."""

    bucket: str
    entries: tuple[str, ...]
    """Their names in the stream."""
    happenings: tuple[Happening, ...]
    """What they say."""

    @property
    def consents(self) -> tuple[str, ...]:
        """The entries with consents that came with starts."""
        pairs = zip(self.entries, self.happenings, strict=True)
        return tuple(entry for entry, one in pairs if one.type == CONSENTED)

    def singly(self) -> Iterator["Taken"]:
        """Yield the entries one by one."""
        for entry, happening in zip(self.entries, self.happenings, strict=True):
            yield Taken(self.bucket, (entry,), (happening,))


class EventLog:
    """The events of all buckets. Raises `StoreUnavailableError` when Redis does not answer in time."""

    def __init__(self, client: redis.Redis, retention: Retention, buckets: tuple[str, ...]) -> None:
        self._client = client
        self._kept = retention
        self._buckets = buckets

    def take(self, consumer: str, most: int, wait: int = 0) -> list[Taken]:
        """Return new entries, at most ``most`` of each bucket; they are this consumer's until they are acknowledged.

        Where there are none, they are waited for: ``wait`` milliseconds, fewer than the client's time-out.
        """
        streams: dict[Any, Any] = {keys.events(bucket): ">" for bucket in self._buckets}
        found = self._with_groups(
            lambda: self._client.xreadgroup(GROUP, consumer, streams, count=most, block=wait or None)
        )
        return [_taken(bucket, entries) for bucket, entries in self._by_bucket(found) if entries]

    def claim(self, consumer: str, most: int, idle: int) -> list[Taken]:
        """Take over entries that were taken ``idle`` milliseconds ago, and not acknowledged: nobody else will."""
        found = ((bucket, self._claimed(keys.events(bucket), consumer, most, idle)) for bucket in self._buckets)
        return [_taken(bucket, entries) for bucket, entries in found if entries]

    def _claimed(self, stream: str, consumer: str, most: int, idle: int) -> list[Any]:
        answer = self._with_groups(lambda: self._client.xautoclaim(stream, GROUP, consumer, idle, count=most))
        return [entry for entry in answer[1] if entry[1]]  # one that was deleted meanwhile has no fields

    def acknowledge(self, taken: Taken) -> None:
        """Note that entries are recorded; consents go with that."""
        stream, consents = keys.events(taken.bucket), taken.consents
        with answered(), self._client.pipeline() as pipeline:
            if consents:
                pipeline.xdel(stream, *consents)
            pipeline.xack(stream, GROUP, *taken.entries)
            pipeline.execute()

    def consents(self, bucket: str, pseudonym: str) -> Iterator[Taken]:
        """Yield the consents of a number that are not known to be recorded, some at once; whoever has them goes on."""
        stream = keys.events(bucket)
        with answered():
            begin = "{}-{}".format(*self._recorded(stream))
        for entries in pages_of(self._client, stream, begin, "+", size=_TRIMMED_AT_ONCE):
            taken = _taken(bucket, entries)
            mine = [
                one for one in taken.singly() if one.consents and one.happenings[0].member("pseudonym") == pseudonym
            ]
            yield from mine

    def trim(self) -> None:
        """Let go what is recorded, and too old or too much."""
        with answered():
            oldest = now_of(self._client) - self._kept.milliseconds
        for bucket in self._buckets:
            stream = keys.events(bucket)
            with answered():
                bound = min(self._recorded(stream), max((oldest, 0), self._superfluous(stream)))
                if bound > (0, 0):
                    self._client.xtrim(stream, minid="{}-{}".format(*bound), approximate=False)

    def forget_recorders(self) -> None:
        """Forget recorders that took nothing for a day and hold nothing: each process has a name of its own."""
        for bucket in self._buckets:
            stream = keys.events(bucket)
            with answered():
                consumers: Any = self._client.xinfo_consumers(stream, GROUP) if any(self._groups(stream)) else ()
                for one in consumers:
                    if not one["pending"] and one["idle"] > _SILENT:
                        self._client.xgroup_delconsumer(stream, GROUP, one["name"])

    def unrecorded(self) -> int:
        """Return how many events are not in the ledger yet, about."""
        total = 0
        for bucket in self._buckets:
            with answered():
                for group in self._groups(keys.events(bucket)):
                    total += group["pending"] + (group.get("lag") or 0)
        return total

    def _recorded(self, stream: str) -> tuple[int, int]:
        """Return the first entry that is not known to be recorded: all before it are."""
        for group in self._groups(stream):
            pending: Any = self._client.xpending(stream, GROUP)
            if pending["pending"]:
                return _place(pending["min"])
            milliseconds, count = _place(group["last-delivered-id"])
            return milliseconds, count + 1
        return 0, 0

    def _superfluous(self, stream: str) -> tuple[int, int]:
        """Return the first entry that stays when the stream is cut to its greatest length."""
        too_many = self._client.xlen(stream) - self._kept.events
        if too_many <= 0:
            return 0, 0
        entries: Any = self._client.xrange(stream, count=min(too_many, _TRIMMED_AT_ONCE) + 1)
        return _place(entries[-1][0])

    def _groups(self, stream: str) -> Iterator[Mapping[str, Any]]:
        if self._client.exists(stream):
            yield from (group for group in self._client.xinfo_groups(stream) if group["name"] == GROUP.encode())

    def _with_groups(self, ask: Any) -> Any:  # noqa: ANN401 - whatever the command answers
        """Ask; where a stream has no group of ours yet, or lost it with all else, make it and ask again."""
        with answered():
            try:
                return ask()
            except redis.ResponseError as error:
                if _NO_GROUP not in str(error):
                    raise
            for bucket in self._buckets:
                self._make_group(keys.events(bucket))
            return ask()

    def _make_group(self, stream: str) -> None:
        try:
            self._client.xgroup_create(stream, GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _by_bucket(self, found: Any) -> Iterator[tuple[str, Sequence[Any]]]:  # noqa: ANN401 - of two protocols
        buckets = {keys.events(bucket).encode(): bucket for bucket in self._buckets}
        for stream, entries in found.items() if isinstance(found, dict) else found or ():
            yield buckets[stream], entries


def _taken(bucket: str, entries: Sequence[Any]) -> Taken:
    names = tuple(entry.decode() for entry, _ in entries)
    return Taken(bucket, names, tuple(_happening(bucket, entry.decode(), fields) for entry, fields in entries))


def _happening(bucket: str, entry: str, raw: Mapping[bytes, bytes]) -> Happening:
    fields = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in raw.items()}
    at, kind = int(entry.partition("-")[0]), fields.pop("type", "")
    return Happening(f"{name_of(bucket, entry)}:{_digest(raw)}", at, kind, fields)


def _digest(raw: Mapping[bytes, bytes]) -> str:
    """Return a short name of what an entry holds: after a fail-over another may have the name of one that was lost."""
    return hashlib.blake2b(repr(sorted(raw.items())).encode(), digest_size=4).hexdigest()


def _place(entry: bytes | str) -> tuple[int, int]:
    milliseconds, _, count = (entry.decode() if isinstance(entry, bytes) else entry).partition("-")
    return int(milliseconds), int(count)
