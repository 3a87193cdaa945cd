"""What every key in Redis must keep to, whatever was done."""

from collections.abc import Mapping
from functools import cache

import redis

from otp_service.core import idempotency
from otp_service.settings.guard import GuardSettings
from otp_service.settings.ruleset import ruleset_of
from otp_service.settings.sections import LimitsSettings
from otp_service.settings.spend import SpendSettings
from otp_service.store import keys
from otp_service.store.health import BY_HAND
from otp_service.store.references import EARLY

DAY = 24 * 3600
RETENTION = 7 * DAY
"""Of streams, and of what waits for another try."""


def assert_all_keys_expire(client: redis.Redis, *, window: int = DAY, retention: int = RETENTION) -> int:
    """Assert that every key goes away by itself, in time; return how many keys there are.

    ``window`` is the longest window of any limit and ``retention`` that of streams, both in seconds. Only the
    keys that `keys.is_persistent` names have no TTL.
    """
    names = [name.decode() for name in client.scan_iter(count=1000)]
    lives = {name: client.pttl(name) for name in names}
    wrong = {name: life for name, life in lives.items() if not _in_bounds(name, life, window, retention)}
    assert not wrong, f"keys and their remaining milliseconds: {wrong}"
    return len(names)


def _in_bounds(name: str, life: int, window: int, retention: int) -> bool:
    if life == -2:  # it went between the two looks
        return True
    if keys.is_persistent(name):
        return life == -1
    return 0 <= life <= 1000 * _longest(name, window, retention)


@cache
def _guard_lives() -> Mapping[str, int]:
    """Return how long the guard keeps each of its parts under the default rules, in milliseconds."""
    ruleset = ruleset_of(GuardSettings(), LimitsSettings().to_core(), SpendSettings(day="1"))
    return {**ruleset.lives, "standing": ruleset.known}


def _longest(name: str, window: int, retention: int) -> int:
    """Return how long a key may live at most, in seconds, by what it is."""
    code_and_grace = 600 + 600
    lives = {
        ":delayed": retention,
        ":dead": retention,
        ":decisions": retention,
        ":attempts": retention,
        ":recent:": retention,
        ":health:": 2 * BY_HAND // 1000,  # it may be opened by hand, and is forgotten as long after that
        ":flights:": DAY,
        ":reference:": code_and_grace,
        ":early:": EARLY // 1000,
        ":idempotency:": idempotency.KEPT,
        ":v:": code_and_grace,
        ":dispatch:": code_and_grace,
        ":{sandbox}:": code_and_grace,
        keys.WORKER: 60,
        ":wake": 60,
        **{f":guard/{part}/": life // 1000 for part, life in _guard_lives().items()},
        **dict.fromkeys(("number/", "failed_checks/", "ip/", "application/"), 2 * window),
    }
    found = [life for part, life in lives.items() if part in name]
    assert found, name
    return found[0]
