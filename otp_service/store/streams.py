"""The streams that the scripts write: how much of them is kept, how entries are named and read."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from otp_service.store.connection import translate_errors


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How much of the streams is kept."""

    age: int
    """Seconds."""
    outbox: int
    """Entries of one queue."""
    events: int
    """Entries, about; those that are not in the ledger yet are kept, up to twice as many: then nothing is accepted."""
    decisions: int = 100_000
    """Entries, about."""

    @property
    def milliseconds(self) -> int:
        """The age as Redis counts it."""
        return self.age * 1000

    @property
    def unrecorded(self) -> int:
        """Events from which on nothing is accepted: so many can only be there while none is recorded."""
        return 2 * self.events

    @property
    def decision_limits(self) -> tuple[int, int]:
        """Age and number of the decisions that are kept, as the scripts take them."""
        return self.milliseconds, self.decisions


_END = 2**64
"""What Redis keeps the parts of an entry in."""


def entry_id(bucket: str, entry: str) -> str:
    """Return how an operator names an entry: bucket, a colon, the entry."""
    return f"{bucket}:{entry}"


def parse_entry_id(name: str, buckets: Collection[str]) -> tuple[str, str] | None:
    """Return bucket and entry of a name; ``None`` when it is none of these buckets."""
    bucket, _, entry = name.partition(":")
    milliseconds, _, sequence = entry.partition("-")
    is_entry = all(part.isdecimal() and part.isascii() and int(part) < _END for part in (milliseconds, sequence))
    return (bucket, entry) if bucket in buckets and is_entry else None


def entry_values(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return what a stream's entry holds: one field of JSON, or a field for each value; what is no text is replaced."""
    values = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()}
    if "json" not in values:
        return values
    packed = values.pop("json")
    try:
        return {**values, **{name: str(value) for name, value in json.loads(packed).items()}}
    except (ValueError, AttributeError):
        return {**values, "json": packed}


def read_pages(client: redis.Redis, stream: str, begin: str = "-", end: str = "+", *, size: int) -> Iterator[list[Any]]:
    """Yield the entries of a stream between two identifiers, the oldest first, at most ``size`` at once."""
    while True:
        with translate_errors():
            entries: Any = client.xrange(stream, begin, end, count=size)
        if entries:
            yield entries
        if len(entries) < size:
            return
        begin = "(" + entries[-1][0].decode()
