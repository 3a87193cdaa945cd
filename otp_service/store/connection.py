"""The connection to Redis: explicit time-outs, no retries, one error when it cannot serve."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    ClusterDownError,
    ExecAbortError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)
from redis.retry import Retry

from otp_service.errors import StoreUnavailableError

_STATES: Final = (
    redis.ConnectionError,  # loading, and a wrong password, too
    redis.TimeoutError,
    ClusterDownError,  # a replica without its primary, too
    ExecAbortError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)
_NO_DATABASE: Final = "DB index is out of range"
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


def now_of(client: redis.Redis) -> int:
    """Return the server's time in milliseconds since the epoch."""
    return milliseconds(client.time())


def milliseconds(time: tuple[int, int]) -> int:
    """Return what ``TIME`` answers, seconds and microseconds, in milliseconds."""
    seconds, micros = time
    return seconds * 1000 + micros // 1000


def unavailable(error: redis.RedisError) -> bool:
    """Tell whether an error is about the server's state: away, silent, full, busy, not letting us, or no Redis at all.

    Any other, such as a script's own or ``WRONGTYPE``, is a defect of ours: it must stay loud.
    """
    code = error.status_code or str(error).rpartition(_PIPELINED)[2].partition(" ")[0]
    return isinstance(error, _STATES) or code in _CODES or _NO_DATABASE in str(error)


class Hindrance(StrEnum):
    """What keeps us from a server."""

    SILENT = "silent"
    """It does not answer, or is not able to."""
    USER = "user"
    """It does not know the user, or not with this password."""
    RIGHTS = "rights"
    """The user may not do this."""
    MEMORY = "memory"
    """It is full."""
    REPLICA = "replica"
    """It takes no writes."""
    DATABASE = "database"
    """It has no database of this number."""
    STRANGER = "stranger"
    """It is no Redis."""


_HINDRANCES: Final = (
    (redis.AuthenticationError, Hindrance.USER),
    (NoPermissionError, Hindrance.RIGHTS),
    (OutOfMemoryError, Hindrance.MEMORY),
    (ReadOnlyError, Hindrance.REPLICA),
    (InvalidResponse, Hindrance.STRANGER),
)


def hindrance_of(error: StoreUnavailableError) -> Hindrance:
    """Return why the store was not available."""
    cause = error.__cause__
    if _NO_DATABASE in str(cause):
        return Hindrance.DATABASE
    return next((found for kind, found in _HINDRANCES if isinstance(cause, kind)), Hindrance.SILENT)


@contextmanager
def answered() -> Iterator[None]:
    """Turn a failure of Redis into `StoreUnavailableError`; leave a defect of ours as it is."""
    try:
        yield
    except redis.RedisError as failed:
        if unavailable(failed):
            raise StoreUnavailableError("The store does not answer, or refuses to.") from failed
        raise
