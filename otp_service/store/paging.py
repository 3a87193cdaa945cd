"""A stream, read page by page."""

from collections.abc import Iterator
from typing import Any

import redis

from otp_service.store.connection import answered


def pages_of(client: redis.Redis, stream: str, begin: str = "-", end: str = "+", *, size: int) -> Iterator[list[Any]]:
    """Yield the entries of a stream between two identifiers, the oldest first, at most ``size`` at once."""
    while True:
        with answered():
            entries: Any = client.xrange(stream, begin, end, count=size)
        if entries:
            yield entries
        if len(entries) < size:
            return
        begin = "(" + entries[-1][0].decode()
