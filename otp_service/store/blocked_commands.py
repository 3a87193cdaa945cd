"""Blocking commands on a cluster: each bucket's waits at the bucket's server, over a connection of its own."""

import math
import select
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import redis
from redis.exceptions import MovedError, ResponseError

from otp_service.errors import StoreUnavailableError
from otp_service.store.cluster import Peer, SlotMap
from otp_service.store.connection import Argument, Connection

MAX_WAIT: Final = 60
"""Seconds that a command waits before it is sent again."""
_MAX_DELAY: Final = 5.0
"""Seconds after a command's end in which its answer may still come."""


class _Link(NamedTuple):
    peer: Peer
    connection: Connection
    silences: int
    """Silences of the server when the connection was made: an older connection may lead nowhere."""


class BlockedCommands:
    """A blocking command for each of some buckets, for one thread.

    A command that ended, or whose server is away, begins again at the next `collect`.
    """

    def __init__(
        self,
        client: redis.Redis,
        slots: SlotMap,
        key: Callable[[str], str],
        command: Callable[[str], tuple[Argument, ...]],
    ) -> None:
        """Take a client for its credentials and time limits, and a bucket's key and command, which waits `MAX_WAIT`."""
        self._client = client
        self._slots = slots
        self._key = key
        self._command = command
        self._links: dict[str, _Link] = {}
        self._blocked: dict[str, float] = {}
        """Buckets whose command has no answer yet, and the end of the wait for it, by the monotonic clock."""

    def collect(self, buckets: Sequence[str], seconds: float) -> dict[str, Any]:
        """Begin the commands of ``buckets``; return the answers that arrive within some seconds, by bucket.

        Commands of other buckets go on until they end. An error is an answer, unless the connection was lost.
        """
        for bucket in buckets:
            self._begin(bucket)
        answers: dict[str, Any] = {}
        end = time.monotonic() + seconds
        while not answers and (readable := self._poll(max(0.0, end - time.monotonic()))):
            for bucket in readable:
                answers |= self._read(bucket)
        return answers

    def end(self) -> dict[str, list[Any]]:
        """End all commands; return the answers that arrived before, by bucket."""
        blocked, self._blocked = self._blocked, {}
        links = {bucket: self._links.pop(bucket).connection for bucket in blocked}
        for connection in links.values():
            connection.end_sending()
        return {bucket: connection.read_to_end() for bucket, connection in links.items()}

    def _begin(self, bucket: str) -> None:
        """Send the command of a bucket, unless it waits already at the bucket's server."""
        try:
            peer = self._slots.peer_of(self._key(bucket))
        except StoreUnavailableError:
            return
        link = self._links.get(bucket)
        is_over = time.monotonic() > self._blocked.get(bucket, math.inf)
        if link and (link.peer is not peer or link.silences != peer.fail_fast.silences or is_over):
            self._close(bucket)
            link = None
        if bucket in self._blocked or peer.fail_fast.is_silent:  # other calls notice its next answer
            return
        if link is None:
            connection = Connection(self._client, peer.address)
            link = self._links[bucket] = _Link(peer, connection, peer.fail_fast.silences)
        try:
            link.connection.write(self._command(bucket))
        except redis.RedisError as error:
            if isinstance(error, redis.TimeoutError):
                peer.fail_fast.trip()
            self._lose(bucket)
        else:
            self._blocked[bucket] = time.monotonic() + MAX_WAIT + _MAX_DELAY

    def _poll(self, seconds: float) -> list[str]:
        """Return the buckets whose command ended within some seconds."""
        waiting = select.poll()
        bucket_of = {self._links[bucket].connection.fileno(): bucket for bucket in self._blocked}
        for descriptor in bucket_of:
            waiting.register(descriptor, select.POLLIN)
        return [bucket_of[descriptor] for descriptor, _ in waiting.poll(1000 * seconds)]

    def _read(self, bucket: str) -> dict[str, Any]:
        """Return the bucket's answer by bucket; empty for a command that ended without an answer."""
        del self._blocked[bucket]
        try:
            (answer,) = self._links[bucket].connection.read(1)
        except redis.RedisError:
            self._lose(bucket)
            return {}
        if isinstance(answer, MovedError):
            self._slots.learn(answer)
            return {}
        if isinstance(answer, ResponseError):
            self._close(bucket)
        return {} if answer is None else {bucket: answer}

    def _lose(self, bucket: str) -> None:
        self._slots.suspect(self._links[bucket].peer)
        self._close(bucket)

    def _close(self, bucket: str) -> None:
        self._links.pop(bucket).connection.close()
        self._blocked.pop(bucket, None)
