"""The evaluator of limits on its own, as the scripts include it, for comparison with the limits library."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache

import redis
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter

from otp_service.domain.guard import STRATEGY_OF, Limit, LimitScope, Strategy
from otp_service.store import keys
from otp_service.store.library import part_texts

_PARTS = ("clock", "fence", "rows", "counters", "limits", "rule_hits", "guard")
_BODY = f"""
clock.read() fence.read('{keys.fence("00")}')
local place, longest = 0, 0
for i, limit in ipairs(windows) do
  local text, hits = redis.call('GET', KEYS[i]), {{}}
  limit.milliseconds = 1000 * limit.seconds
  ruleset.windows = {{ [limit.scope] = {{ limit }} }}
  if limit.strategy == 'moving-window' then
    limit.times = text or ''
    guard.test_moving(hits, limit.scope, limit.times, false)
  else
    limit.row, limit.place = rows.unpack(KEYS[i], text, rows.layout('ends w' .. limit.seconds)), 2
    guard.test_sliding(hits, limit.scope, limit.row)
  end
  if hits[1] and hits[1].wait > longest then place, longest = i, hits[1].wait end
end
if place > 0 then return {{ place, longest }} end
for i, limit in ipairs(windows) do
  if limit.times then
    local max_count, longest_window = 0, 0
    for _, other in ipairs(windows) do
      if other.scope == limit.scope then
        max_count, longest_window = math.max(max_count, other.amount), math.max(longest_window, other.milliseconds)
      end
    end
    ruleset.windows = {{ [limit.scope] = {{ max_count = max_count, longest = longest_window }} }}
    redis.call('SET', KEYS[i], limits.with_now(limit.scope, limit.times), 'PX', limit.milliseconds)
  else
    rows.write(limit.row, 2 * limit.milliseconds)
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
        shared = "" if STRATEGY_OF[self.limit.scope] is Strategy.MOVING_WINDOW else self.limit.seconds
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
    rules = [{**asdict(one), "strategy": STRATEGY_OF[one.scope]} for one in limits]
    return "\n".join(
        [
            f"local windows, ruleset = cjson.decode('{json.dumps(rules)}'), {{ windows = {{}} }}",
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
    moving = STRATEGY_OF[scope] is Strategy.MOVING_WINDOW
    return MovingWindowRateLimiter(storage) if moving else SlidingWindowCounterRateLimiter(storage)


def snapshot(client: redis.Redis) -> dict[bytes, tuple[bytes | None, int]]:
    """Return every key's bytes and remaining life, but for what tells of refusals."""
    return {name: (client.dump(name), client.pttl(name)) for name in client.scan_iter() if not name.endswith(LOGS)}
