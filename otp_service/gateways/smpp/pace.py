"""Pace: how long an SMSC that calls itself overrun is left alone."""

import asyncio
from collections.abc import Callable

FIRST, LONGEST = 0.25, 8.0
"""Seconds."""


class Pace:
    """Of one link, for all threads. A refusal for haste holds the link; the next one after that, twice as long."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start without a hold; ``clock`` tells seconds, those of deadlines."""
        self._clock = clock
        self._step = 0.0
        self._until = 0.0

    def refused(self) -> float:
        """Note that we were too fast; return the seconds to wait. Refusals of one burst count once."""
        now = self._clock()
        if now >= self._until:
            self._step = min(LONGEST, max(FIRST, 2 * self._step))
            self._until = now + self._step
        return self._until - now

    def accepted(self) -> None:
        """Note that the pace was right: the next hold is shorter."""
        if self._clock() >= self._until:
            self._step = self._step / 2 if self._step > FIRST else 0.0

    async def wait(self, deadline: float) -> float:
        """Wait while the link is held; return 0, or at once the seconds to wait when they are too many."""
        while (left := self._until - self._clock()) > 0:
            if self._until >= deadline:
                return left
            await asyncio.sleep(left)
        return 0.0
