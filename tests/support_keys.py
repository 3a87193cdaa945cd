"""What every key in Redis must keep to, whatever was done."""

from collections.abc import Callable
from functools import cache
from typing import Any

import redis

from otp_service.settings.guard_ruleset import build_ruleset
from otp_service.settings.schema import GuardSettings, LimitsSettings, SpendSettings
from otp_service.store.keys import Key, Spans, all_keys
from otp_service.store.rulesets import compile_ruleset

DAY = 24 * 3600
RETENTION = 7 * DAY
"""Of streams, and of what waits for another try."""


def assert_all_keys_expire(client: redis.Redis, *, retention: int = RETENTION) -> int:
    """Assert that every key is one that the table knows, and goes away by itself in the time that is told there.

    ``retention`` is that of streams in seconds. Returns how many keys there are.
    """
    names = [name.decode() for name in client.scan_iter(count=1000)]
    found = {name: (client.type(name).decode(), client.pttl(name)) for name in names}
    spans = {"streams": retention, **guard_lives()}
    wrong = {name: seen for name, seen in found.items() if not _is_known(name, *seen, spans)}
    assert not wrong, f"keys, their types and their remaining milliseconds: {wrong}"
    return len(names)


def _is_known(name: str, kind: str, life: int, spans: Spans) -> bool:
    if life == -2:  # it went between the two looks
        return True
    kinds = kinds_of(name)
    return len(kinds) == 1 and kinds[0].type == kind and kinds[0].life.fits(life, spans)


def kinds_of(key: str) -> tuple[Key, ...]:
    """Return the kinds to which the name of a key belongs: exactly one, if the key is ours."""
    return tuple(kind for kind in all_keys() if kind.has(key))


@cache
def guard_lives() -> dict[str, int]:
    """Return how long each subject is kept under the default rules, in seconds."""
    ruleset = build_ruleset(GuardSettings(), LimitsSettings().parsed, SpendSettings(day="1"))
    return {subject: -(-life // 1000) for subject, life in compile_ruleset(ruleset).lives.items()}


def make_key(client: redis.Redis, name: str, kind: str) -> None:
    """Make a key of a type, as ``TYPE`` answers it, with something in it."""
    makers: dict[str, Callable[[], Any]] = {
        "string": lambda: client.set(name, "x"),
        "hash": lambda: client.hset(name, "x", "x"),
        "list": lambda: client.rpush(name, "x"),
        "set": lambda: client.sadd(name, "x"),
        "zset": lambda: client.zadd(name, {"x": 1}),
        "stream": lambda: client.xadd(name, {"x": "x"}),
    }
    makers[kind]()
