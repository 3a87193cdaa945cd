"""The clock of the ledger's host, which stamps what is recorded."""

import time


def now() -> int:
    """Return the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
