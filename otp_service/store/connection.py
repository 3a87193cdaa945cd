"""The connection to Redis: explicit time-outs, no retries, one error when it does not answer."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from otp_service.core.errors import StoreUnavailableError


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


@contextmanager
def answered() -> Iterator[None]:
    """Turn every failure of Redis into `StoreUnavailableError`."""
    try:
        yield
    except redis.RedisError as lost:
        raise StoreUnavailableError("The store does not answer.") from lost
