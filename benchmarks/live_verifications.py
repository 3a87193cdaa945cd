"""Verifications that live in Redis, as many as are asked for: copies of one that was started as usual.

Each copy has names of its own, its number, its address, its block and its identifier, and the same values, byte by
byte. So what one takes in memory is what a start takes, and a million are there in a minute or two. The two streams are
not copied: what is in them goes when a worker has delivered and recorded it.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import redis
from seeding import BenchSettings

from otp_service.services.start import StartRequest, start

_NUMBER, _ADDRESS = "+923009999999", "10.255.255.254"
_AT_ONCE = 500
"""Verifications whose keys are sent before an answer is read."""
_SHARED = (b":country:", b":application_state:", b":outbox:", b":events", b":queues", b":ready", b":wake")
"""Parts of the names of what all verifications have together."""


@dataclass(frozen=True)
class _Key:
    """One key of the original."""

    name: bytes
    value: bytes
    """As ``DUMP`` gives it."""
    life: int
    """Milliseconds."""


class Living:
    """Fills a store with live verifications."""

    def __init__(self, client: redis.Redis, settings: BenchSettings) -> None:
        """Start the one that is copied."""
        self._client = client
        context = settings.installation.context
        before = set(client.scan_iter(count=10_000))
        request = StartRequest(to=_NUMBER, client_ip=_ADDRESS)
        verification = start(context, context.applications["bench"], request).verification
        self._keys = [_key(client, name) for name in set(client.scan_iter(count=10_000)) - before if _own(name)]
        own = [key.name.rpartition(b":")[2] for key in self._keys if b":address:" in key.name or b":block:" in key.name]
        self._names = (verification.id[-32:].encode(), verification.pseudonym.encode(), *own)
        self.count = 1
        self._taken = 0

    def grow(self, count: int) -> None:
        """Copy until there are so many."""
        before = self._memory()
        while self.count < count:
            many = min(_AT_ONCE, count - self.count)
            with self._client.pipeline(transaction=False) as pipeline:
                for name, value, life in (key for _ in range(many) for key in self._copy()):
                    pipeline.execute_command("RESTORE", name, life, value)
                pipeline.execute()
            self.count += many
        self._taken += self._memory() - before

    @property
    def bytes_each(self) -> float:
        """Memory that a copy takes, by the server's own count, the table of names included."""
        return self._taken / (self.count - 1)

    def _copy(self) -> Iterator[tuple[bytes, bytes, int]]:
        fresh = [(old, _alike(old)) for old in self._names]
        for key in self._keys:
            name = key.name
            for old, new in fresh:
                name = name.replace(old, new)
            yield name, key.value, key.life

    def _memory(self) -> int:
        return int(self._client.info("memory")["used_memory"])


def _own(name: bytes) -> bool:
    return not any(part in name for part in _SHARED)


def _key(client: redis.Redis, name: bytes) -> _Key:
    return _Key(name, bytes(client.dump(name)), int(client.pttl(name)))


def _alike(name: bytes) -> bytes:
    """Return another name of the same length; hexadecimal for the end of an identifier, which is."""
    return secrets.token_hex(len(name)).encode()[: len(name)]
