"""What every key in Redis must keep to, whatever was done."""

import redis

from otp_service.core import idempotency
from otp_service.store import keys

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
    if keys.is_persistent(name):
        return life == -1
    if life == -2:  # it went between the two looks
        return True
    return 0 <= life <= 1000 * _longest(name, window, retention)


def _longest(name: str, window: int, retention: int) -> int:
    """Return how long a key may live at most, in seconds, by what it is."""
    code_and_grace = 600 + 600
    if name.endswith((":delayed", ":dead")):
        return retention
    if ":idempotency:" in name:
        return idempotency.KEPT
    if ":v:" in name or ":dispatch:" in name or ":{sandbox}:" in name:
        return code_and_grace
    if name == keys.WORKER:
        return 60
    assert ("number/" in name) or ("failed_checks/" in name) or ("ip/" in name) or ("application/" in name), name
    return 2 * window
