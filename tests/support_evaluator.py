"""The evaluator of limits on its own, as the scripts include it, for comparison with the limits library."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache

import redis
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter

from otp_service.domain.guard import Limit, LimitScope, Strategy
from otp_service.store import keys
from otp_service.store.scripts import part_texts

_PARTS = ("clock", "fence", "rows", "counters", "limits")
_BODY = f"""
clock.read() fence.read('{keys.FENCE}')
local place, longest, sliding = 0, 0, {{}}
for i, limit in ipairs(ruleset.windows) do
  local text = redis.call('GET', KEYS[i])
  if limit.strategy == 'moving-window' then
    limit.times = text or ''
  else
    limit.place, sliding[limit.scope] = 2, true
    limit.values, limit.layout, limit.tail = rows.unpack(text, rows.layout('ends w' .. limit.seconds))
  end
  local wait = limits.test(limit, false)
  if wait > longest then place, longest = i, wait end
end
if place > 0 then return {{ place, longest }} end
for scope in pairs(sliding) do limits.spend(scope) end
for i, limit in ipairs(ruleset.windows) do
  limit.key = KEYS[i]
  if limit.times then
    redis.call('SET', KEYS[i], limits.with_now(limit.scope, limit.times), 'PX', 1000 * limit.seconds)
  else
    rows.write(limit, 2000 * limit.seconds)
  end
end
return {{ 0, 0 }}
"""
LOGS = (b":decisions",)
"""What a refusal leaves behind."""


@dataclass(frozen=True)
class Window:
    """A limit, and of whom it is."""

    limit: Limit
    name: str

    @property
    def key(self) -> str:
        """Where its count is: moving windows share the times of events."""
        shared = "" if self.limit.strategy is Strategy.MOVING_WINDOW else self.limit.seconds
        return f"{self.limit.scope}:{self.name}:{shared}"


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
    script = client.register_script(_script(tuple(one.limit for one in windows)))
    return Verdict(*script([one.key for one in windows]))


@cache
def _script(limits: tuple[Limit, ...]) -> str:
    rules = [{**asdict(one), "strategy": one.strategy} for one in limits]
    return "\n".join(
        [
            f"local ruleset = cjson.decode('{json.dumps({'windows': rules})}')",
            *part_texts(_PARTS),
            _BODY,
        ]
    )


def window(scope: LimitScope, amount: int, seconds: int, name: str = "somebody") -> Window:
    """Return a limit of somebody."""
    return Window(Limit(scope, amount, seconds), name)


def item(one: Window) -> tuple[RateLimitItem, str]:
    """Return a window in the library's terms: its item, and its identifier."""
    return _Item(one.limit.amount, one.limit.seconds), one.name


class _Item(RateLimitItemPerSecond):
    """An item that is named by its window, not by its amount, as our limits are."""

    def key_for(self, *identifiers: bytes | str | float) -> str:
        return f"{'/'.join(map(str, identifiers))}/{self.multiples}"


def library(client: redis.Redis, scope: LimitScope) -> RateLimiter:
    """Return the library's own strategy for a scope, over the same Redis."""
    storage = RedisStorage("redis://", connection_pool=client.connection_pool, key_prefix="oracle")
    moving = Limit(scope, 1, 1).strategy is Strategy.MOVING_WINDOW
    return MovingWindowRateLimiter(storage) if moving else SlidingWindowCounterRateLimiter(storage)


def snapshot(client: redis.Redis) -> dict[bytes, tuple[bytes | None, int]]:
    """Return every key's bytes and remaining life, but for what tells of refusals."""
    return {name: (client.dump(name), client.pttl(name)) for name in client.scan_iter() if not name.endswith(LOGS)}
