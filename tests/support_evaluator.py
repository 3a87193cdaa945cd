"""The evaluator of limits on its own, as the scripts include it, for comparison with the limits library."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import redis
from limits import RateLimitItem
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter

from otp_service.domain.guard import Limit, LimitScope, Ruleset, Strategy
from otp_service.domain.guard import Window as RuleWindow
from otp_service.store import keys
from otp_service.store.guard import WindowItem
from otp_service.store.scripts import compile_ruleset, part_texts
from otp_service.store.verifications import window_keys

_BODY = """
local list, place, longest = limits.windows(KEYS, 1, ARGV[1]), 0, 0
for i, limit in ipairs(list) do
  local wait = limits.test(limit, false)
  if wait > longest then place, longest = i, wait end
end
if place == 0 then limits.spend(list) end
return {place, longest}
"""
_READ = f"clock.read() fence.read('{keys.FENCE}')"
LOGS = (b":decisions",)
"""What a refusal leaves behind."""


@dataclass(frozen=True)
class Window:
    """A limit, and the keys that it counts in."""

    limit: Limit
    keys: tuple[str, ...]


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
    script = client.register_script(_script(tuple(_rule_of(one.limit) for one in windows)))
    names = [key for window in windows for key in window.keys]
    place, wait = script(names, [",".join({one.limit.scope for one in windows})])
    return Verdict(place, wait)


@cache
def _script(rules: tuple[RuleWindow, ...]) -> str:
    ruleset = compile_ruleset(Ruleset(windows=rules)).text
    return "\n".join(
        [f"local ruleset = cjson.decode('{ruleset}')", *part_texts(("clock", "fence", "limits")), _READ, _BODY]
    )


def _rule_of(limit: Limit) -> RuleWindow:
    return RuleWindow("test", limit.scope, limit.strategy, limit.amount, limit.seconds)


def window(scope: LimitScope, amount: int, seconds: int, name: str = "somebody") -> Window:
    """Return a limit with keys as the library would name them."""
    limit = Limit(scope, amount, seconds)
    return Window(limit, window_keys(_rule_of(limit), "00", name, name, name))


def item(one: Window) -> tuple[RateLimitItem, str]:
    """Return a window in the library's terms: its item, and its identifier."""
    name = keys.identifier(one.keys[0])
    moving = one.limit.strategy is Strategy.MOVING_WINDOW
    return WindowItem(one.limit), name if moving else name.removeprefix("{").removesuffix("}")


def library(client: redis.Redis, scope: LimitScope, prefix: str = keys.PREFIX) -> RateLimiter:
    """Return the library's own strategy for a scope, over the same Redis."""
    storage = RedisStorage("redis://", connection_pool=client.connection_pool, key_prefix=prefix)
    moving = Limit(scope, 1, 1).strategy is Strategy.MOVING_WINDOW
    return MovingWindowRateLimiter(storage) if moving else SlidingWindowCounterRateLimiter(storage)


def snapshot(client: redis.Redis) -> dict[bytes, tuple[bytes | None, int]]:
    """Return every key's bytes and remaining life, but for what tells of refusals."""
    return {name: (client.dump(name), client.pttl(name)) for name in client.scan_iter() if not name.endswith(LOGS)}
