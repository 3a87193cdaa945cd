"""Limits as an operator sees them, through the ``limits`` library: it reads and clears, it never hits."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import redis
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter

from otp_service.domain.guard import Limit, Limits, cautious
from otp_service.store import keys
from otp_service.store.connection import answered
from otp_service.store.fence import Fences


class WindowItem(RateLimitItemPerSecond):
    """A limit of ours in the library's terms: named by rule and window, not by amount."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(limit.amount, limit.seconds)

    def key_for(self, *identifiers: bytes | str | float) -> str:
        """Return the one identifier: it is the whole key as `keys` builds it."""
        (key,) = identifiers
        return str(key)


@dataclass(frozen=True, slots=True)
class WindowState:
    """How far a number's window is used."""

    limit: Limit
    """As it is now: after the store was fenced, half of what is configured."""
    application: str | None
    """``None`` for windows that count over all applications."""
    used: int
    remaining: int
    reset_in: float
    """Seconds until the oldest event leaves the window; 0 when it is empty."""


class LimitReader:
    """Shows and clears a number's windows."""

    def __init__(self, client: redis.Redis, limits: Limits, fences: Fences) -> None:
        """Take a client; the library stamps with this host's clock, which `clock_skew` compares."""
        self._client = client
        self._limits = limits
        self._fences = fences
        # The address is not used: the storage takes the connections of our client, and with them its time-outs.
        self.storage = RedisStorage("redis://", connection_pool=client.connection_pool, key_prefix=keys.PREFIX)
        self._windows = MovingWindowRateLimiter(self.storage)

    def windows(self, bucket: str, pseudonym: str, applications: Iterable[str]) -> list[WindowState]:
        """Return the state of every window of a number."""
        fence = self._fences.standing()
        halved = fence is not None and fence.is_new
        with answered():
            return [
                self._state(item, key, cautious(limit) if halved else limit, application)
                for item, key, limit, application in self._items(bucket, pseudonym, applications)
            ]

    def reset(self, bucket: str, pseudonym: str, applications: Iterable[str]) -> int:
        """Forget what was counted for a number; return how many windows were."""
        used = 0
        with answered():
            for item, key, _, _ in self._items(bucket, pseudonym, applications):
                used += self._windows.get_window_stats(item, key).remaining < item.amount
                self._windows.clear(item, key)
        return used

    def clock_skew(self) -> float:
        """Return by how many seconds this host's clock is ahead of Redis'."""
        with answered():
            seconds, micros = self._client.time()
        return time.time() - (seconds + micros / 1_000_000)

    def _state(self, item: RateLimitItem, key: str, limit: Limit, application: str | None) -> WindowState:
        stats = self._windows.get_window_stats(item, key)
        used = item.amount - stats.remaining
        reset_in = max(0.0, stats.reset_time - time.time()) if used else 0.0
        return WindowState(limit, application, used, max(0, limit.amount - used), reset_in)

    def _items(
        self, bucket: str, pseudonym: str, applications: Iterable[str]
    ) -> Iterable[tuple[WindowItem, str, Limit, str | None]]:
        for limit in self._limits.number:
            yield WindowItem(limit), keys.number_window(bucket, pseudonym, limit.seconds), limit, None
        for application in applications:
            for limit in self._limits.failed_checks:
                key = keys.failed_checks_window(bucket, application, pseudonym, limit.seconds)
                yield WindowItem(limit), key, limit, application
