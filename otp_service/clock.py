"""The time of this host, in milliseconds since the epoch. Events in Redis have Redis' own time."""

import time
from datetime import UTC, datetime
from functools import lru_cache


def now() -> int:
    """Return the milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def rfc3339(milliseconds: int) -> str:
    """Return a time in RFC 3339, UTC, whole seconds."""
    return _rfc3339(milliseconds // 1000)


@lru_cache(maxsize=1024)  # answers of the same second repeat a few times
def _rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
