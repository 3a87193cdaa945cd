"""The time of this host. What happens in Redis has Redis's own time instead."""

import time


def now() -> int:
    """Return the milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
