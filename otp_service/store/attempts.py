"""The log of attempts: starts, resends and codes, for trying them again under other rules."""

import heapq
from collections.abc import Iterator, Mapping

import redis

from otp_service.domain.guard_model import Attempt, Kind
from otp_service.store import keys
from otp_service.store.paging import pages_of

PAGE = 1000
"""Attempts that are read at once."""


class Attempts:
    """Reads the log."""

    def __init__(self, client: redis.Redis, buckets: tuple[str, ...]) -> None:
        self._client = client
        self._buckets = buckets

    def all(self) -> Iterator[Attempt]:
        """Yield all attempts that are kept, in the order in which they were made."""
        return heapq.merge(*map(self._of, self._buckets), key=lambda one: one.at)

    def _of(self, bucket: str) -> Iterator[Attempt]:
        for entries in pages_of(self._client, keys.attempts(bucket), size=PAGE):
            yield from map(_attempt, entries)


def _attempt(entry: tuple[bytes, Mapping[bytes, bytes]]) -> Attempt:
    name, raw = entry
    fields = {key.decode(): value.decode() for key, value in raw.items()}
    at = int(name.decode().partition("-")[0])
    return Attempt(at, Kind(fields["kind"]), fields["id"], fields["refused"], fields["what"])
