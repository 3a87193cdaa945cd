"""Records of verifications and entries of streams as tests look at them, and change them."""

from typing import Any

import redis

from otp_service.store.streams import entry_values
from otp_service.store.verifications import record_values


def record_of(client: redis.Redis, key: str | bytes) -> dict[str, bytes]:
    """Return the values of a record by name; empty where there is none."""
    fields: Any = client.hgetall(key)
    return record_values({name.decode(): value for name, value in fields.items()})


def change_record(client: redis.Redis, key: str | bytes, **values: str | int | bytes) -> None:
    """Write some values into a record, as who can write to Redis would: a field for each value is read too."""
    kept, ends = record_of(client, key), client.pexpiretime(key)
    with client.pipeline(transaction=True) as pipeline:
        pipeline.delete(key)
        pipeline.hset(key, mapping={**kept, "v": "1", **values})  # type: ignore[arg-type]
        pipeline.pexpireat(key, ends)  # type: ignore[arg-type]
        pipeline.execute()


def entries_of(client: redis.Redis, stream: str | bytes) -> list[dict[str, str]]:
    """Return what the entries of a stream hold, the first ones first."""
    entries: Any = client.xrange(stream)
    return [entry_values(fields) for _, fields in entries]
