"""How workers share the buckets of numbers: each renews a lease, and those that have one divide the buckets evenly.

A share spares questions, and promises nothing: what makes a message or an event a worker's own is that this worker took
it. So two may serve a bucket while leases change hands, and a worker that lost its lease ends what it has begun.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from otp_service.errors import StoreUnavailableError
from otp_service.store import keys
from otp_service.store.script_runner import ScriptRunner
from otp_service.store.signatures.servers import LEASE_RENEW, LeaseRenewArguments, LeaseRenewed, LeaseRenewKeys

LEASE_RENEWAL: Final = 1.0
"""Seconds between two renewals of a lease."""
_LIFE: Final = 3000
"""Milliseconds without a renewal after which others serve a worker's share."""
LEAST_SHARE: Final = 4
"""Buckets that each worker serves at least: where there are fewer for each, some workers serve the same ones.

So none is idle while others are busy, and where there are no more buckets than this, a worker's death delays nothing.
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
        """What is to be served now."""
        self._turn = 0

    def next(self, count: int) -> tuple[str, ...]:
        """Return up to ``count`` buckets of the share, which take turns."""
        own, begin = self.buckets, self._turn
        self._turn = (begin + count) % len(own)
        return tuple(own[(begin + place) % len(own)] for place in range(min(count, len(own))))

    def renew(self, worker: str) -> None:
        """Renew this worker's lease, and learn its share; without an answer the share stays.

        A bucket that falls to another is served for one renewal more, in which that one learns of it.
        """
        if len(self._all) <= LEAST_SHARE:
            return
        with suppress(StoreUnavailableError):
            own = tuple(self._share(self._renew(worker, _LIFE)))
            self.buckets = tuple(dict.fromkeys(own + self._own))
            self._own = own

    def release(self, worker: str) -> None:
        """Let others have this worker's share; it serves it until it ends."""
        if len(self._all) > LEAST_SHARE:
            with suppress(StoreUnavailableError):
                self._renew(worker, 0)

    def _renew(self, worker: str, life: int) -> LeaseRenewed:
        return self._scripts.call(LEASE_RENEW, LeaseRenewKeys(self._key), LeaseRenewArguments(worker, life))

    def _share(self, renewed: LeaseRenewed) -> Iterator[str]:
        """Yield the buckets of the worker at a place: its part of them, and further ones where that is too small."""
        count, place, workers = len(self._all), renewed.place, renewed.workers
        begin, end = place * count // workers, (place + 1) * count // workers
        for bucket in range(begin, max(end, begin + LEAST_SHARE)):
            yield self._all[bucket % count]
