"""A cluster: which server has which slot, and plain commands that go to the server that has their key."""

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count as counting
from typing import Any, Final, Self

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import MovedError

from otp_service.errors import StoreUnavailableError
from otp_service.store.connection import Connection, FailFast, is_encrypted

Address = tuple[str, int]
_LOOK_AGAIN: Final = 0.1
"""Seconds between two looks at who has which slot, by all threads of a process."""


@dataclass(frozen=True, eq=False, slots=True)
class Peer:
    """A server that scripts are called on, and what is known of it."""

    address: Address | None = None
    """``None`` for the one that the client names."""
    pool: redis.ConnectionPool | None = None
    """For plain commands, of a cluster's server."""
    fail_fast: FailFast = field(default_factory=FailFast)
    replicas_away: FailFast = field(default_factory=FailFast)
    sentinels_away: FailFast = field(default_factory=FailFast)
    """While no Sentinel answers: who has a connection goes on."""

    @property
    def name(self) -> str:
        """Its address as operators write it."""
        return f"{self.address[0]}:{self.address[1]}" if self.address else ""

    @property
    def client(self) -> redis.Redis:
        """For plain commands."""
        return redis.Redis(connection_pool=self.pool)


class SlotMap:
    """Which server of a cluster has which slot, as far as is known. Safe to be used by several threads.

    It is looked up (``CLUSTER SLOTS``) before the first call, and again after any that did not reach its server.
    """

    def __init__(self, seed: redis.Redis) -> None:
        """Take a client for any server of the cluster, whose credentials and time limits all others share."""
        self._seed = seed
        self._peers: dict[Address, Peer] = {}
        self._slots: list[Peer | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._present: frozenset[Peer] = frozenset()
        """Those that it was told of last: others have left, and may be anybody's."""
        self._suspects: set[Peer] = set()
        self._stale = True
        self._looked = 0.0
        self._lost: redis.RedisError | None = None
        """Why the last look failed, if it did."""
        self._turn = threading.Lock()
        self._versions = counting(1)
        self.version = 0
        """Another one since any slot was found at another server."""

    def peer_of(self, key: str) -> Peer:
        """Return the server that has a key. Raises `StoreUnavailableError` where none has, or none tells."""
        slot = key_slot(key.encode())
        if self._stale or self._slots[slot] is None:
            self._look()
        if (found := self._slots[slot]) is None:
            raise StoreUnavailableError("No server of the cluster has the slot.", nothing_ran=True) from self._lost
        return found

    def peers(self) -> Sequence[Peer]:
        """Return all servers that have slots. Raises `StoreUnavailableError` if no server is known."""
        if self._stale:
            self._look()
        if not (found := tuple(dict.fromkeys(one for one in self._slots if one))):
            raise StoreUnavailableError("No server of the cluster is known.") from self._lost
        return found

    def by_reachability(self) -> list[Peer]:
        """Return all servers that have slots, in any order, but those last that could not be reached."""
        return sorted(self.peers(), key=lambda peer: (peer in self._suspects, secrets.randbits(16)))

    def unserved(self) -> int:
        """Return how many slots no server has, as is told now. Raises `StoreUnavailableError` if no server is known."""
        return self._told().count(None)

    def learn(self, moved: MovedError) -> Peer:
        """Return the server that has a slot by what another one told; look up the others at the next call."""
        self._slots[int(moved.slot_id)] = found = self._peer((moved.host, int(moved.port)))
        self.version = next(self._versions)
        self._stale = True
        return found

    def suspect(self, peer: Peer) -> None:
        """Note that a server could not be reached: look up who has its slots now, and ask others first."""
        self._suspects.add(peer)
        self._stale = True

    def refresh(self) -> None:
        """Look up who has which slot. Raises `StoreUnavailableError` if no server is known."""
        self._stale = True
        self._look()

    def _look(self) -> None:
        """Look up who has which slot, unless another thread does, or has just done."""
        if not self._turn.acquire(blocking=not self._looked):
            return
        try:
            if self._stale and time.monotonic() - self._looked >= _LOOK_AGAIN:
                self._looked = time.monotonic()
                before, self._slots, self._stale = self._slots, self._told(), False
                if self._slots != before:
                    self.version = next(self._versions)
        finally:
            self._turn.release()

    def _told(self) -> list[Peer | None]:
        """Return who has which slot, by the first server that tells; those that could be reached last come first."""
        there = [address for address, peer in self._peers.items() if peer in self._present]
        known = sorted(there, key=lambda one: (self._peers[one] in self._suspects, secrets.randbits(16)))
        lost: redis.RedisError | None = None
        for address in (*known, None):
            try:
                told = self._ask(address)
            except redis.RedisError as failed:
                lost = failed
                continue
            if not told:  # it has left the cluster, or never was there
                continue
            self._present = frozenset(peer for _, _, *peers in told for peer in peers)
            slots: list[Peer | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
            for first, last, peer, *_ in told:
                slots[first : last + 1] = [peer] * (last + 1 - first)
            self._lost = None
            return slots
        self._lost = lost
        raise StoreUnavailableError("No server of the cluster tells who has which slot.", nothing_ran=True) from lost

    def replica_of(self, peer: Peer) -> Peer | None:
        """Return a replica of a server, as it tells itself; raise `redis.RedisError` where it does not."""
        return next(
            (others[0] for _, _, primary, *others in self._ask(peer.address) if primary is peer and others), None
        )

    def shard_of(self, peer: Peer) -> tuple[int, list[redis.Redis]]:
        """Return how many servers the shard of a server has, itself included, and a client for each that is not down.

        The server is asked for that; raises `redis.RedisError` where it does not answer.
        """
        connection = Connection(self._seed, address=peer.address)
        try:
            own, shards = connection.ask("CLUSTER", "MYID"), connection.ask("CLUSTER", "SHARDS")
        finally:
            connection.close()
        known = (list(map(_pairs, _pairs(shard)[b"nodes"])) for shard in shards)
        (nodes,) = (nodes for nodes in known if own in {node[b"id"] for node in nodes})
        port = b"tls-port" if is_encrypted(self._seed) else b"port"
        running = [node for node in nodes if node[b"health"] != b"fail"]
        addresses = (((node[b"endpoint"] or node[b"ip"]).decode(), node[port]) for node in running)
        return len(nodes), [self._peer(address).client for address in addresses]

    def _ask(self, address: Address | None) -> list[tuple[Any, ...]]:
        """Return what a server tells: the ends of ranges of slots, who has them, and the replicas."""
        connection = Connection(self._seed, address=address)
        try:
            told = connection.ask("CLUSTER", "SLOTS")
        finally:
            connection.close()
        given = self._seed.get_connection_kwargs()
        itself = address[0] if address else given["host"]  # a server may leave out its own host
        self._suspects.discard(self._peer(address or (given["host"], given["port"])))
        return [
            (first, last, *(self._peer((host.decode() if host else itself, port)) for host, port, *_ in nodes))
            for first, last, *nodes in told
        ]

    def _peer(self, address: Address) -> Peer:
        if (found := self._peers.get(address)) is None:
            given = {**self._seed.get_connection_kwargs(), "host": address[0], "port": address[1]}
            pool = redis.ConnectionPool(self._seed.connection_pool.connection_class, **given)
            found = self._peers.setdefault(address, Peer(address, pool))
        return found


def _pairs(flat: list[Any]) -> dict[bytes, Any]:
    """Return a map that was answered as a flat list."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


class ClusterClient:
    """Plain commands, as `redis.Redis` has them, each sent to the server that has its key, which comes first.

    What a server that has not the key refuses is asked of the one that has it: nothing was done.
    """

    def __init__(self, slots: SlotMap) -> None:
        self.slots: Final = slots

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a command."""

        def ask(key: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as `redis.Redis` does
            return self.reach(key, lambda server: getattr(server, name)(key, *arguments, **options))

        return ask

    def mget(self, names: Sequence[str]) -> Any:  # noqa: ANN401
        """Return the values of keys of one slot."""
        return self.__getattr__("mget")(names[0], *names[1:])

    def reach(self, key: str, ask: Callable[[redis.Redis], Any]) -> Any:  # noqa: ANN401
        """Return what the server that has a key answers, wherever the key has moved to."""
        peer = self.slots.peer_of(key)
        try:
            return ask(peer.client)
        except MovedError as moved:
            return ask(self.slots.learn(moved).client)
        except (redis.ConnectionError, redis.TimeoutError):
            self.slots.suspect(peer)
            raise

    def primary_and_replica(self, primary: str) -> tuple[redis.Redis, redis.Redis]:
        """Return clients for a server that has slots (host:port) and a replica of it; raise `ValueError` else."""
        self.slots.refresh()
        found = {one.name: one for one in self.slots.peers()}
        if not (peer := found.get(primary)):
            raise ValueError(f"Name one of the cluster's primaries: {', '.join(sorted(found))}.")
        if not (replica := self.slots.replica_of(peer)):
            raise ValueError(f"{primary} has no replica.")
        return peer.client, replica.client

    def all(self) -> Iterable[redis.Redis]:
        """Yield a client for each server that has slots."""
        return (one.client for one in self.slots.peers())

    def reach_any(self, ask: Callable[[redis.Redis], Any]) -> Any:  # noqa: ANN401
        """Return the answer of any server; those that could not be reached last come last."""
        peers = self.slots.by_reachability()
        while len(peers) > 1:
            try:
                return ask(peers[0].client)
            except (redis.ConnectionError, redis.TimeoutError):
                self.slots.suspect(peers.pop(0))
        return ask(peers[0].client)

    def time(self) -> Any:  # noqa: ANN401
        """Return the time of any server: their hosts' clocks are kept together."""
        return self.reach_any(lambda server: server.time())

    def pipeline(self, *, transaction: bool = True) -> "ClusterPipeline":
        """Return commands that are sent together, those of one transaction by slot."""
        return ClusterPipeline(self, by_slot=transaction)

    def close(self) -> None:
        """Close all connections."""
        for one in self.all():
            with suppress(redis.RedisError):
                one.close()


def servers(client: redis.Redis | ClusterClient) -> Iterable[redis.Redis]:
    """Return a client for each server: the one, or all of a cluster that have slots."""
    return client.all() if isinstance(client, ClusterClient) else (client,)


_Command = tuple[str, tuple[Any, ...], Mapping[str, Any]]
_LOOK_FOR_ENTRIES: Final = 0.05
"""Seconds between two looks at streams of several servers, none of which can be waited for."""


def read_group(
    client: redis.Redis, group: str, consumer: str, streams: Mapping[Any, Any], count: int, block: int | None
) -> Any:  # noqa: ANN401 - as `redis.Redis.xreadgroup`
    """Return entries of streams, as ``XREADGROUP`` does, which a cluster does of one slot only."""
    if not isinstance(client, ClusterClient):
        return client.xreadgroup(group, consumer, dict(streams), count=count, block=block)
    end = time.monotonic() + (block or 0) / 1000
    while True:
        found = [
            entries
            for stream, after in streams.items()
            for entries in client.reach(stream, partial(_read_of, group, consumer, stream, after, count)) or ()
        ]
        if found or time.monotonic() >= end:
            return found
        time.sleep(_LOOK_FOR_ENTRIES)


def _read_of(group: str, consumer: str, stream: str, after: str, count: int, server: redis.Redis) -> Any:  # noqa: ANN401
    return server.xreadgroup(group, consumer, {stream: after}, count=count)


class ClusterPipeline:
    """Plain commands that are sent together to each server, or as a transaction of each slot."""

    def __init__(self, client: ClusterClient, *, by_slot: bool) -> None:
        self._client = client
        self._by_slot = by_slot
        self._commands: list[_Command] = []

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._commands = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Return a command, which is sent later."""
        return lambda *arguments, **options: self._commands.append((name, arguments, options))

    def execute(self, *, raise_on_error: bool = True) -> list[Any]:
        """Send all, and return the answers in their order; what is of a server that is away stops no other."""
        commands, self._commands = self._commands, []
        groups: dict[Any, list[int]] = {}
        for place, command in enumerate(commands):
            groups.setdefault(self._group(command), []).append(place)
        answers: list[Any] = [None] * len(commands)
        for group, places in groups.items():
            own = [commands[place] for place in places]
            for place, answer in zip(places, self._of_group(group, own), strict=True):
                answers[place] = answer
        for refused in answers if raise_on_error else ():
            if isinstance(refused, Exception):
                raise refused
        return answers

    def _group(self, command: _Command) -> Any:  # noqa: ANN401
        """Return what commands have in common that are sent together: a slot, a server, or that they have no key."""
        _, arguments, _ = command
        if not arguments:
            return None
        if self._by_slot:
            return f"slot {key_slot(arguments[0].encode())}"
        try:
            return self._client.slots.peer_of(arguments[0])
        except StoreUnavailableError as away:
            return away

    def _of_group(self, group: Any, commands: Sequence[_Command]) -> list[Any]:  # noqa: ANN401
        try:
            if isinstance(group, StoreUnavailableError):
                raise group
            return self._told(commands) if group else self._client.reach_any(partial(_send, commands, self._by_slot))
        except (redis.RedisError, StoreUnavailableError) as lost:
            return [lost] * len(commands)

    def _told(self, commands: Sequence[_Command]) -> list[Any]:
        """Return the answers of a server; what is of a slot that it has no more was not done, and is asked again."""
        _, (key, *_), _ = commands[0]
        answers: list[Any] = self._client.reach(key, partial(_send, commands, self._by_slot))
        for place, (name, arguments, options) in enumerate(commands):
            if isinstance(answers[place], MovedError):
                answers[place] = getattr(self._client, name)(*arguments, **options)
        return answers


def _send(commands: Sequence[_Command], transaction: bool, server: redis.Redis) -> list[Any]:  # noqa: FBT001
    """Send commands together; return the answers, errors in their places."""
    pipeline = server.pipeline(transaction=transaction)
    for name, arguments, options in commands:
        getattr(pipeline, name)(*arguments, **options)
    answers: list[Any] = pipeline.execute(raise_on_error=False)
    return answers
