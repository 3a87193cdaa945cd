"""Reads and changes records of verifications, and reads entries of streams."""

from collections.abc import Mapping
from typing import Any

import redis

from otp_service.store.streams import entry_values
from otp_service.store.verifications import _FIXED, _POLICY, _RARE, _STATE, _Row, record_values


def record_of(client: redis.Redis, key: str | bytes) -> dict[str, bytes]:
    """Return the values of a record by name; empty where there is none."""
    fields: Any = client.hgetall(key)
    return record_values({name.decode(): value for name, value in fields.items()})


def change_record(client: redis.Redis, key: str | bytes, **values: str | int | bytes) -> None:
    """Write some values into a record."""
    changed = {name: value if isinstance(value, bytes) else str(value).encode() for name, value in values.items()}
    row = record_of(client, key) | changed
    created = int(row["created"])
    state = row | {"last_send": b"%d" % max(0, int(row["last_send"]) - created)}
    fixed = row | {
        "life": b"%d" % (int(row["expires"]) - created),
        "rare": _packed(_RARE, row),
        "policy": b"|".join(row[name] for name in _POLICY),
    }
    client.hset(key, mapping={"f": _packed(_FIXED, fixed), "s": _packed(_STATE, state)})


def _packed(row: _Row, values: Mapping[str, bytes]) -> bytes:
    """Return the values of a row as the scripts write them."""
    numbers = [int(values[name]).to_bytes(size, "little") for name, size in row._numbers]
    texts = [len(values[name]).to_bytes(size, "little") + values[name] for name, size in row._texts]
    return b"".join((*numbers, *texts, values.get(row._rest, b"")))


def entries_of(client: redis.Redis, stream: str | bytes) -> list[dict[str, str]]:
    """Return what the entries of a stream hold, the first ones first."""
    entries: Any = client.xrange(stream)
    return [entry_values(fields) for _, fields in entries]
