"""How workers share the buckets of numbers: each renews a lease, and workers with a lease divide the buckets evenly.

A share only saves calls: a message or an event belongs to the worker that took it. So two workers may serve a bucket
while leases change hands, and a worker that lost its lease finishes its work.
"""

from contextlib import suppress
from typing import Final

from otp_service.errors import StoreUnavailableError
from otp_service.store import keys
from otp_service.store.script_runner import ScriptRunner
from otp_service.store.signatures.servers import LEASE_RENEW, LeaseRenewArguments, LeaseRenewed, LeaseRenewKeys

LEASE_RENEWAL: Final = 1.0
"""Seconds between two renewals of a lease."""
_LIFE: Final = 3000
"""Milliseconds without a renewal after which other workers serve a worker's share."""
LEAST_SHARE: Final = 4
"""Buckets that each worker serves at least; with few buckets some workers serve the same ones.

So no worker is idle while others are busy, and with no more buckets than this a worker's death delays nothing.
"""


class BucketShare:
    """The buckets that this process serves: all of them, until it renews a lease."""

    def __init__(self, scripts: ScriptRunner, duty: str, buckets: tuple[str, ...]) -> None:
        """Share ``buckets`` with the workers that have the same duty."""
        self._scripts = scripts
        self._key = keys.leases(duty)
        self._all = buckets
        self._own: tuple[str, ...] = ()
        self.buckets = buckets
        """The buckets to serve now."""
        self._turn = 0

    def next(self, count: int) -> tuple[str, ...]:
        """Return up to ``count`` buckets of the share, which take turns."""
        own, begin = self.buckets, self._turn
        self._turn = (begin + count) % len(own)
        return tuple(own[(begin + place) % len(own)] for place in range(min(count, len(own))))

    def renew(self, worker: str) -> None:
        """Renew this worker's lease, and update its share; without an answer the share stays.

        A bucket that another worker gets is served for one more renewal, until that worker knows.
        """
        if len(self._all) <= LEAST_SHARE:
            return
        with suppress(StoreUnavailableError):
            place, workers = self._renew(worker, _LIFE)
            count = len(self._all)
            begin, end = place * count // workers, (place + 1) * count // workers
            end = max(end, begin + LEAST_SHARE)
            own = tuple(self._all[bucket % count] for bucket in range(begin, end))
            self.buckets = tuple(dict.fromkeys(own + self._own))
            self._own = own

    def release(self, worker: str) -> None:
        """End the lease; this worker serves its share until it ends."""
        if len(self._all) > LEAST_SHARE:
            with suppress(StoreUnavailableError):
                self._renew(worker, 0)

    def _renew(self, worker: str, life: int) -> LeaseRenewed:
        return self._scripts.call(LEASE_RENEW, LeaseRenewKeys(self._key), LeaseRenewArguments(worker, life))
