"""Pace: how long an SMSC that calls itself overrun is left alone."""

import asyncio
from collections.abc import Callable

FIRST, LONGEST = 0.25, 8.0
"""Seconds."""
LEAST = 0.001
"""Seconds: less would be rounded to no pause at all."""


class Pace:
    """Of one link, for all threads. A refusal for haste holds the link; the next one after that, twice as long.

    The seconds that it returns are what the workers are told, so that they leave the SMSC alone for as long as this
    link does. What waits here is only what was under way before they knew.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start without a hold; ``clock`` tells seconds, those of deadlines."""
        self._clock = clock
        self._step = 0.0
        self._until = 0.0

    def refused(self) -> float:
        """Note that we were too fast; return the seconds to wait, `FIRST` at least. Refusals of a burst count once."""
        now = self._clock()
        if now >= self._until:
            self._step = min(LONGEST, max(FIRST, 2 * self._step))
            self._until = now + self._step
        self._until = max(self._until, now + FIRST)
        return self._until - now

    def accepted(self) -> None:
        """Note that the pace was right: the next hold is shorter."""
        if self._clock() >= self._until:
            self._step = self._step / 2 if self._step > FIRST else 0.0

    async def wait(self, patience: float) -> float:
        """Wait while the link is held; return 0, or at once the seconds that are left when it lasts beyond a time."""
        while (left := self._until - self._clock()) > 0:
            if self._until >= patience:
                return max(LEAST, left)
            await asyncio.sleep(left)
        return 0.0
