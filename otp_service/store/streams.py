"""The streams that the scripts write: their limits, the names of entries, and how entries are read."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from otp_service.store.connection import translate_errors


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Limits of the streams."""

    age: int
    """Seconds."""
    outbox: int
    """Entries of a queue."""
    events: int
    """Approximate entries; unrecorded events stay, up to twice as many: then no start is accepted."""
    decisions: int = 100_000
    """Approximate entries."""

    @property
    def milliseconds(self) -> int:
        """The age in milliseconds."""
        return self.age * 1000

    @property
    def unrecorded(self) -> int:
        """Events from which on no start is accepted: so many only wait while no event is recorded."""
        return 2 * self.events


_END = 2**64
"""The parts of an entry's name are below it."""


def entry_id(bucket: str, entry: str) -> str:
    """Return an operator's name of an entry: bucket, a colon, the entry."""
    return f"{bucket}:{entry}"


def parse_entry_id(name: str, buckets: Collection[str]) -> tuple[str, str] | None:
    """Return bucket and entry of a name; ``None`` for a name of another bucket or form."""
    bucket, _, entry = name.partition(":")
    milliseconds, _, sequence = entry.partition("-")
    is_entry = all(part.isdecimal() and part.isascii() and int(part) < _END for part in (milliseconds, sequence))
    return (bucket, entry) if bucket in buckets and is_entry else None


def entry_values(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return a stream entry's values, from a field of JSON or from a field for each; invalid text is replaced."""
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
