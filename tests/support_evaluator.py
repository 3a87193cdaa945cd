"""The evaluator of limits on its own, as the scripts include it, for comparison with the limits library."""

from collections.abc import Sequence
from dataclasses import dataclass

import redis
from limits import RateLimitItem
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter

from otp_service.core.guard.limits import Limit, Scope, Strategy
from otp_service.store import keys, scripts
from otp_service.store.limits import WindowItem
from otp_service.store.windows import Window, limit_arguments

_BODY = """
local list = limits.read(tonumber(ARGV[1]), 2, 1)
local place, wait = limits.refusal(list)
if place then return {place, wait} end
limits.spend(list)
return {0, 0}
"""


@dataclass(frozen=True)
class Verdict:
    """What the evaluator says: the place of the window that refused, 0 when none did, and the wait."""

    place: int
    wait: int

    @property
    def allowed(self) -> bool:
        return self.place == 0


def hit(client: redis.Redis, windows: Sequence[Window]) -> Verdict:
    """Test all windows, and spend them all if each has room."""
    text = "\n".join([scripts._read("include_clock"), scripts._read("include_limits"), _BODY])
    names = [key for window in windows for key in window.keys]
    arguments = [part for window in windows for part in limit_arguments(window.limit)]
    place, wait = client.eval(text, len(names), *names, len(windows), *arguments)
    return Verdict(place, wait)


def window(scope: Scope, amount: int, seconds: int, name: str = "somebody") -> Window:
    """Return a limit with keys as the library would name them."""
    limit = Limit(scope, amount, seconds)
    named = f"{name}/{seconds}"
    moving = limit.strategy is Strategy.MOVING_WINDOW
    return Window(limit, keys.moving(named) if moving else keys.sliding(named))


def item(one: Window) -> tuple[RateLimitItem, str]:
    """Return a window in the library's terms: its item, and its identifier."""
    name = one.keys[0].removeprefix(f"{keys.PREFIX}:").removeprefix("{").removesuffix("}")
    return WindowItem(one.limit), name


def library(client: redis.Redis, scope: Scope, prefix: str = keys.PREFIX) -> RateLimiter:
    """Return the library's own strategy for a scope, over the same Redis."""
    storage = RedisStorage("redis://", connection_pool=client.connection_pool, key_prefix=prefix)
    moving = Limit(scope, 1, 1).strategy is Strategy.MOVING_WINDOW
    return MovingWindowRateLimiter(storage) if moving else SlidingWindowCounterRateLimiter(storage)


def snapshot(client: redis.Redis) -> dict[bytes, tuple[bytes | None, int]]:
    """Return every key's bytes and remaining life."""
    return {name: (client.dump(name), client.pttl(name)) for name in client.scan_iter()}
