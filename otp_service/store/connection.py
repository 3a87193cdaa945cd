"""The connection to Redis: explicit time-outs, no retries, one error when it cannot serve."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    ClusterDownError,
    ExecAbortError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)
from redis.retry import Retry

from otp_service.core.errors import StoreUnavailableError

_STATES: Final = (
    redis.ConnectionError,  # loading, and a wrong password, too
    redis.TimeoutError,
    ClusterDownError,  # a replica without its primary, too
    ExecAbortError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)
_CODES: Final = frozenset({"BUSY", "MISCONF", "NOGROUP", "NOREPLICAS", "UNBLOCKED"})
"""First words of answers that redis-py has no class for. ``NOGROUP``: the server has lost its data."""
_PIPELINED: Final = " caused error: "
"""What redis-py puts before the server's own words when a command of a pipeline fails."""


def connect(url: str, *, timeout: float, connect_timeout: float) -> redis.Redis:
    """Return a client for a ``redis://``, ``rediss://`` or ``unix://`` address; opens no connection yet.

    Both time-outs in seconds. Nothing is ever sent again by the client: with redis-py's own retries a lost
    answer counted one wrong guess twice and turned an approval into ``already_approved``.
    """
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=connect_timeout,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        client_name="otp-service",
    )


def unavailable(error: redis.RedisError) -> bool:
    """Tell whether an error is about the server's state: away, silent, full, busy, or not letting us.

    Any other, such as a script's own or ``WRONGTYPE``, is a defect of ours: it must stay loud.
    """
    code = error.status_code or str(error).rpartition(_PIPELINED)[2].partition(" ")[0]
    return isinstance(error, _STATES) or code in _CODES


def refused(error: StoreUnavailableError) -> str | None:
    """Return what the server refuses, in words, when it does answer; ``None`` when it is silent or not able to."""
    if isinstance(error.__cause__, redis.AuthenticationError):
        return "the user or the password"
    return "a command to this user" if isinstance(error.__cause__, NoPermissionError) else None


@contextmanager
def answered() -> Iterator[None]:
    """Turn a failure of Redis into `StoreUnavailableError`; leave a defect of ours as it is."""
    try:
        yield
    except redis.RedisError as failed:
        if unavailable(failed):
            raise StoreUnavailableError("The store does not answer, or refuses to.") from failed
        raise
