"""The purges of a worker: in a thread of their own, for SQL must not hold up deliveries."""

import threading
from typing import Final

from otp_service.bootstrap import Installation
from otp_service.services.maintenance import Purging
from otp_service.services.mirror import Watch

_PERIOD: Final = 60.0
"""Seconds between two looks whether a purge is due."""
_REST: Final = 0.05
"""Seconds between two batches, in which others can write."""


def purges(installation: Installation, stop: threading.Event) -> Watch:
    """Return the watch that purges until ``stop`` is set; it is not started yet."""
    keeping = installation.settings.retention.to_core()
    purging = Purging(installation.context, keeping, lambda: stop.wait(_REST))
    return Watch({"purge": purging.turn}, _PERIOD)
