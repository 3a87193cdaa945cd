"""A cluster: which server has which slot, and plain commands that go to the server that has their key."""

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count as counting
from operator import methodcaller
from typing import Any, Final, Self

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import MovedError

from otp_service.errors import StoreUnavailableError
from otp_service.store.connection import Connection, FailFast, is_encrypted

Address = tuple[str, int]
_LOOK_AGAIN: Final = 0.1
"""Seconds between two lookups of the slots, by all threads of a process."""


@dataclass(frozen=True, eq=False, slots=True)
class Peer:
    """A server that scripts are called on."""

    address: Address | None = None
    """``None`` for the client's own address."""
    pool: redis.ConnectionPool | None = None
    """For plain commands, of a cluster's server."""
    fail_fast: FailFast = field(default_factory=FailFast)
    replicas_away: FailFast = field(default_factory=FailFast)
    sentinels_away: FailFast = field(default_factory=FailFast)
    """While no Sentinel answers, open connections go on."""

    @property
    def name(self) -> str:
        """Host and port, or empty."""
        return f"{self.address[0]}:{self.address[1]}" if self.address else ""

    @property
    def client(self) -> redis.Redis:
        """For plain commands."""
        return redis.Redis(connection_pool=self.pool)


class SlotMap:
    """The server of each slot of a cluster. Safe to be used by several threads.

    It is looked up (``CLUSTER SLOTS``) before the first call, and again after a call that did not reach its server.
    """

    def __init__(self, seed: redis.Redis) -> None:
        """Take a client for any server of the cluster, whose credentials and time limits all others share."""
        self._seed = seed
        self._peers: dict[Address, Peer] = {}
        self._slots: list[Peer | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._present: frozenset[Peer] = frozenset()
        """Servers of the last lookup: others have left, and may belong to another cluster."""
        self._suspects: set[Peer] = set()
        self._stale = True
        self._looked = 0.0
        self._lost: redis.RedisError | None = None
        """Why the last lookup failed, if it did."""
        self._turn = threading.Lock()
        self._versions = counting(1)
        self.version = 0
        """Changes whenever a slot is at another server."""

    def peer_of(self, key: str) -> Peer:
        """Return the server that has a key. Raises `StoreUnavailableError` if none has, or no server answers."""
        slot = key_slot(key.encode())
        if self._stale or self._slots[slot] is None:
            self._look()
        if (peer := self._slots[slot]) is None:
            raise StoreUnavailableError("No server of the cluster has the slot.", nothing_ran=True) from self._lost
        return peer

    def peers(self) -> Sequence[Peer]:
        """Return all servers that have slots. Raises `StoreUnavailableError` if no server is known."""
        if self._stale:
            self._look()
        if not (peers := tuple(dict.fromkeys(filter(None, self._slots)))):
            raise StoreUnavailableError("No server of the cluster is known.") from self._lost
        return peers

    def unserved(self) -> int:
        """Look up how many slots no server has. Raises `StoreUnavailableError` if no server is known."""
        return self._look_up().count(None)

    def learn(self, moved: MovedError) -> Peer:
        """Return the server that has a slot by another server's redirection; look up the others at the next call."""
        self._slots[int(moved.slot_id)] = peer = self._peer((moved.host, int(moved.port)))
        self.version = next(self._versions)
        self._stale = True
        return peer

    def suspect(self, peer: Peer) -> None:
        """Note that a server could not be reached: look its slots up again, and ask other servers first."""
        self._suspects.add(peer)
        self._stale = True

    def by_reachability(self, peers: Iterable[Peer]) -> list[Peer]:
        """Return servers in random order, but those last that could not be reached."""
        return sorted(peers, key=lambda peer: (peer in self._suspects, secrets.randbits(16)))

    def refresh(self) -> None:
        """Look up the server of each slot. Raises `StoreUnavailableError` if no server is known."""
        self._stale = True
        self._look()

    def _look(self) -> None:
        """Look up the server of each slot, unless another thread does, or has just done."""
        if not self._turn.acquire(blocking=not self._looked):
            return
        try:
            if self._stale and time.monotonic() - self._looked >= _LOOK_AGAIN:
                self._looked = time.monotonic()
                before, self._slots, self._stale = self._slots, self._look_up(), False
                if self._slots != before:
                    self.version = next(self._versions)
        finally:
            self._turn.release()

    def _look_up(self) -> list[Peer | None]:
        """Return the server of each slot, by the first server that answers."""
        known = self.by_reachability(peer for peer in self._peers.values() if peer in self._present)
        lost: redis.RedisError | None = None
        for address in (*(peer.address for peer in known), None):
            try:
                ranges = self._ask(address)
            except redis.RedisError as failed:
                lost = failed
                continue
            if not ranges:  # it has left the cluster, or never was in it
                continue
            self._present = frozenset(peer for _, _, *peers in ranges for peer in peers)
            slots: list[Peer | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
            for first, last, peer, *_ in ranges:
                slots[first : last + 1] = [peer] * (last + 1 - first)
            self._lost = None
            return slots
        self._lost = lost
        raise StoreUnavailableError("No server of the cluster tells who has which slot.", nothing_ran=True) from lost

    def replica_of(self, peer: Peer) -> Peer | None:
        """Ask a server for one of its replicas. Raises `redis.RedisError` if it does not answer."""
        return next(
            (others[0] for _, _, primary, *others in self._ask(peer.address) if primary is peer and others), None
        )

    def shard_of(self, peer: Peer) -> tuple[int, list[redis.Redis]]:
        """Ask a server how many servers its shard has, and return that with a client for each that is not down.

        Raises `redis.RedisError` if it does not answer.
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
        """Ask a server for the ranges of slots: first slot, last slot, primary, replicas."""
        connection = Connection(self._seed, address=address)
        try:
            ranges = connection.ask("CLUSTER", "SLOTS")
        finally:
            connection.close()
        settings = self._seed.get_connection_kwargs()
        own = address or (settings["host"], settings["port"])
        self._suspects.discard(self._peer(own))
        return [  # a server may leave out its own host
            (first, last, *(self._peer((host.decode() if host else own[0], port)) for host, port, *_ in nodes))
            for first, last, *nodes in ranges
        ]

    def _peer(self, address: Address) -> Peer:
        if (peer := self._peers.get(address)) is None:
            settings = {**self._seed.get_connection_kwargs(), "host": address[0], "port": address[1]}
            pool = redis.ConnectionPool(self._seed.connection_pool.connection_class, **settings)
            peer = self._peers.setdefault(address, Peer(address, pool))
        return peer


def _pairs(flat: list[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


class ClusterClient:
    """Plain commands, as `redis.Redis` has them, each sent to the server that has its key, the first argument.

    A server without the key redirects the command, and has done nothing.
    """

    def __init__(self, slots: SlotMap) -> None:
        self.slots: Final = slots

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(key: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as `redis.Redis` does
            return self.reach(key, lambda server: getattr(server, name)(key, *arguments, **options))

        return ask

    def mget(self, names: Sequence[str]) -> Any:  # noqa: ANN401
        """Return the values of keys of one slot."""
        return self.__getattr__("mget")(names[0], *names[1:])

    def reach(self, key: str, ask: Callable[[redis.Redis], Any]) -> Any:  # noqa: ANN401
        """Return the answer of the server that has a key."""
        peer = self.slots.peer_of(key)
        try:
            return ask(peer.client)
        except MovedError as moved:
            return ask(self.slots.learn(moved).client)
        except (redis.ConnectionError, redis.TimeoutError):
            self.slots.suspect(peer)
            raise

    def primary_and_replica(self, primary: str) -> tuple[redis.Redis, redis.Redis]:
        """Return clients for a primary (host:port) and a replica of it. Raises `ValueError` if there is none."""
        self.slots.refresh()
        primaries = {peer.name: peer for peer in self.slots.peers()}
        if not (peer := primaries.get(primary)):
            raise ValueError(f"Name one of the cluster's primaries: {', '.join(sorted(primaries))}.")
        if not (replica := self.slots.replica_of(peer)):
            raise ValueError(f"{primary} has no replica.")
        return peer.client, replica.client

    def all(self) -> Iterable[redis.Redis]:
        """Yield a client for each server that has slots."""
        return (peer.client for peer in self.slots.peers())

    def reach_any(self, ask: Callable[[redis.Redis], Any]) -> Any:  # noqa: ANN401
        """Return the answer of any server."""
        peers = self.slots.by_reachability(self.slots.peers())
        while len(peers) > 1:
            try:
                return ask(peers[0].client)
            except (redis.ConnectionError, redis.TimeoutError):
                self.slots.suspect(peers.pop(0))
        return ask(peers[0].client)

    def time(self) -> Any:  # noqa: ANN401
        """Return the time of any server: their hosts' clocks are synchronized."""
        return self.reach_any(lambda server: server.time())

    def pipeline(self, *, transaction: bool = True) -> "ClusterPipeline":
        """Return commands that are sent together, those of one transaction by slot."""
        return ClusterPipeline(self, by_slot=transaction)

    def close(self) -> None:
        """Close all connections."""
        for client in self.all():
            with suppress(redis.RedisError):
                client.close()


def servers(client: redis.Redis | ClusterClient) -> Iterable[redis.Redis]:
    """Return a client for each server: the client itself, or all of a cluster that have slots."""
    return client.all() if isinstance(client, ClusterClient) else (client,)


_Command = tuple[str, tuple[Any, ...], Mapping[str, Any]]
_LOOK_FOR_ENTRIES: Final = 0.05
"""Seconds between two reads of streams of several servers, for which no command can wait."""


def read_group(
    client: redis.Redis, group: str, consumer: str, streams: Mapping[Any, Any], count: int, block: int | None
) -> Any:  # noqa: ANN401 - as `redis.Redis.xreadgroup`
    """Return entries of streams, as ``XREADGROUP`` does, which on a cluster reads streams of a single slot only."""
    if not isinstance(client, ClusterClient):
        return client.xreadgroup(group, consumer, dict(streams), count=count, block=block)
    end = time.monotonic() + (block or 0) / 1000
    while True:
        entries = []
        for stream, after in streams.items():
            ask = methodcaller("xreadgroup", group, consumer, {stream: after}, count=count)
            entries += client.reach(stream, ask) or ()
        if entries or time.monotonic() >= end:
            return entries
        time.sleep(_LOOK_FOR_ENTRIES)


class ClusterPipeline:
    """Plain commands that are sent together to each server, or as a transaction of each slot."""

    def __init__(self, client: ClusterClient, *, by_slot: bool) -> None:
        self._client = client
        self._by_slot = by_slot
        self._commands: list[_Command] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._commands = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments, **options: self._commands.append((name, arguments, options))

    def execute(self, *, raise_on_error: bool = True) -> list[Any]:
        """Send all, and return the answers in their order; an unreachable server does not stop the others."""
        commands, self._commands = self._commands, []
        groups: dict[Any, list[int]] = {}
        for place, command in enumerate(commands):
            groups.setdefault(self._group(command), []).append(place)
        answers: list[Any] = [None] * len(commands)
        for group, places in groups.items():
            own = [commands[place] for place in places]
            for place, answer in zip(places, self._ask_group(group, own), strict=True):
                answers[place] = answer
        for refused in answers if raise_on_error else ():
            if isinstance(refused, Exception):
                raise refused
        return answers

    def _group(self, command: _Command) -> Any:  # noqa: ANN401
        """Return what commands that are sent together share: a slot, a server, its error, or ``None`` without keys."""
        _, arguments, _ = command
        if not arguments:
            return None
        if self._by_slot:
            return f"slot {key_slot(arguments[0].encode())}"
        try:
            return self._client.slots.peer_of(arguments[0])
        except StoreUnavailableError as away:
            return away

    def _ask_group(self, group: Any, commands: Sequence[_Command]) -> list[Any]:  # noqa: ANN401
        """Return a server's answers; a command of a slot that has moved did nothing, and is sent again."""
        if isinstance(group, StoreUnavailableError):
            return [group] * len(commands)
        send = partial(_send, commands, self._by_slot)
        try:
            answers: list[Any] = self._client.reach(commands[0][1][0], send) if group else self._client.reach_any(send)
            for place, (name, arguments, options) in enumerate(commands):
                if isinstance(answers[place], MovedError):
                    answers[place] = getattr(self._client, name)(*arguments, **options)
        except (redis.RedisError, StoreUnavailableError) as lost:
            return [lost] * len(commands)
        return answers


def _send(commands: Sequence[_Command], transaction: bool, server: redis.Redis) -> list[Any]:  # noqa: FBT001
    """Send commands together; return the answers, with errors in their places."""
    pipeline = server.pipeline(transaction=transaction)
    for name, arguments, options in commands:
        getattr(pipeline, name)(*arguments, **options)
    answers: list[Any] = pipeline.execute(raise_on_error=False)
    return answers
