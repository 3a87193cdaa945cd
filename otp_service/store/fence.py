"""The fence, for after a restore or a fail-over that lost writes: what was started before it is expired.

The counters that such a loss set back are lost for good; so fewer messages may be sent for an hour. The scripts see to
both (``lua/include_fence.lua``).
"""

from dataclasses import dataclass
from typing import Final

import redis

from otp_service.domain import keyring
from otp_service.store import keys
from otp_service.store.connection import answered, milliseconds
from otp_service.store.scripts import ScriptRunner

CAUTIOUS: Final = 3_600_000
"""Milliseconds for which send limits are halved: in them the narrow windows fill again with what is true."""
STANDS: Final = 1000 * keyring.IDEMPOTENCY_SECONDS
"""Milliseconds that a fence is kept: then nothing is left that was started before. A record, and what names it, lives
for 20 minutes at most; but a start's idempotency key, which tells what became of it, for a day. On a server whose clock
is behind that of the lost one a record lives longer by as much: there is room for that too."""


@dataclass(frozen=True, slots=True)
class Fence:
    """A fence that stands. Times are milliseconds since the epoch, by Redis' clock."""

    at: int
    """What was started until then is expired."""
    until: int
    """Until then send limits are halved."""
    now: int

    @property
    def is_new(self) -> bool:
        """Tell whether send limits are halved now."""
        return self.now < self.until


class Fences:
    """Puts the fence and tells of it. Raises `StoreUnavailableError` when Redis does not answer in time."""

    def __init__(self, client: redis.Redis, scripts: ScriptRunner) -> None:
        self._client = client
        self._scripts = scripts

    def put(self) -> Fence:
        """Put a fence, in the place of one that stands. The server need not have the scripts."""
        now, at, until = self._scripts.run("fence", (keys.FENCE,), (CAUTIOUS, STANDS))
        return Fence(at, until, now)

    def standing(self) -> Fence | None:
        """Return the fence that stands, if one does."""
        with answered(), self._client.pipeline(transaction=False) as pipeline:
            pipeline.time()
            pipeline.hmget(keys.FENCE, ["at", "until"])
            time, (at, until) = pipeline.execute()
        return Fence(int(at), int(until), milliseconds(time)) if at else None
