"""Replies to what people wrote back: few for a number, and waiting for a worker no longer than they are of use."""

from typing import Final, cast

import redis

from otp_service.store import keys
from otp_service.store.connection import answered, now_of

APART: Final = 24 * 3600
"""Seconds from one reply of a kind, by an application to a number, to the next."""
LATEST: Final = 600
"""Seconds after which a reply that waits is not sent any more."""
MOST: Final = 1000
"""Replies that wait at most; older ones go."""


class Replies:
    """The replies that wait. Raises `StoreUnavailableError` when Redis does not answer in time."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def spend(self, bucket: str, application: str, pseudonym: str, meaning: str) -> bool:
        """Tell whether a number may get an application's reply of a kind, and then none for a day, come what may."""
        place = keys.replied(bucket, application, pseudonym, meaning)
        with answered():
            return bool(self._client.set(place, 1, nx=True, ex=APART))

    def put(self, entry: bytes) -> None:
        """Let a reply wait for a worker."""
        with answered(), self._client.pipeline(transaction=True) as pipeline:
            stamp = now_of(self._client)
            pipeline.lpush(keys.REPLIES, b"%d " % stamp + entry)
            pipeline.ltrim(keys.REPLIES, 0, MOST - 1)
            pipeline.expire(keys.REPLIES, LATEST)
            pipeline.execute()

    def take(self) -> bytes | None:
        """Return the reply that waits longest, which nobody else gets; ``None`` when none waits."""
        with answered():
            while found := cast("bytes | None", self._client.rpop(keys.REPLIES)):
                stamp, _, entry = found.partition(b" ")
                if now_of(self._client) - int(stamp) < 1000 * LATEST:
                    return entry
        return None
