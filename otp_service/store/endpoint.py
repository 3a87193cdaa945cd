"""The mode of a Redis server, and the commands that managed services withhold."""

from dataclasses import dataclass
from typing import Final

import redis
from redis.exceptions import NoPermissionError, ResponseError

from otp_service.errors import RefusalName, StartRefusal, StartRefusedError, StoreUnavailableError
from otp_service.store.cluster import ClusterClient, SlotMap, servers
from otp_service.store.connection import Connection, has_sentinels, translate_errors


@dataclass(frozen=True, slots=True)
class MissingCommand:
    """A command that a server lacks, or forbids to the service's user. No process stops because of it."""

    command: str
    sentence: str
    """The missing check or confirmation, and its consequence."""
    action: str


CONFIG_MISSING: Final = MissingCommand(
    "CONFIG",
    "Redis does not tell its settings: whether it evicts counters, and what a crash loses, cannot be checked.",
    "Look at your provider's settings: maxmemory-policy must be noeviction, appendonly should be yes.",
)
INFO_MISSING: Final = MissingCommand(
    "INFO",
    "Redis refuses INFO: a fail-over or a restart goes unnoticed. Codes in hand are not ended then, so a used code may "
    "be approved again, and wrong guesses may be forgotten.",
    "Allow INFO to the service's user; or fence after each fail-over and restart: otp-service store fence",
)
WAIT_MISSING: Final = MissingCommand(
    "WAIT",
    "Redis refuses WAIT: no replica confirms approvals, wrong codes and payments for messages. A fail-over may forget "
    "them, and ends all pending codes.",
    "Allow WAIT to the service's user.",
)
WAIT_NEEDED: Final = MissingCommand(
    "WAIT",
    "Redis refuses WAIT, but redis.replicas demands that replicas confirm: starts and checks get 503.",
    "Allow WAIT to the service's user; or set redis.replicas = 0: then a fail-over may forget approvals.",
)
_WAIT: Final = ("WAIT", "0", "0")
"""Waits for no replica: it answers at once."""


def find_slots(client: redis.Redis) -> SlotMap | None:
    """Return the slot map of a server in cluster mode; ``None`` for a single server, or one behind Sentinels.

    A server that does not answer gets a slot map too, which asks again before the first call. Raises
    `StartRefusedError` if the address cannot be used in cluster mode.
    """
    if has_sentinels(client):
        return None
    options = client.get_connection_kwargs()
    pool = redis.ConnectionPool(client.connection_pool.connection_class, **{**options, "db": 0})
    seed = redis.Redis(connection_pool=pool)  # in cluster mode no other database can be selected
    connection = Connection(seed)
    try:
        # HELLO cannot be forbidden to a user. A server without it may have slots all the same.
        hello, slots = connection.ask_all(("HELLO",), ("CLUSTER", "SLOTS"))
    except redis.RedisError:
        return SlotMap(client)
    finally:
        connection.close()
    is_cluster = b"cluster" in hello if isinstance(hello, list) else isinstance(slots, list)
    if not is_cluster:
        return None
    if options.get("path"):
        sentence = "The server is in cluster mode, but the address is a socket: other servers cannot be reached by it."
        action = "Name host and port."
    elif database := options.get("db"):
        sentence = f"The server is in cluster mode, which has database 0 only, but the address names {database}."
        action = "Leave out the number, or write 0."
    else:
        return SlotMap(client)
    raise StartRefusedError(StartRefusal(RefusalName.CLUSTER_ADDRESS, "redis.url", sentence, action))


def default_replicas(client: redis.Redis, slots: SlotMap | None) -> int:
    """Return the number of replicas that must confirm where ``redis.replicas`` is not set.

    It is 1 if a replica may take over and can confirm before (``WAIT``), else 0; also 1 while no server answers.
    """
    if slots is None and not has_sentinels(client):
        return 0
    try:
        peers = slots.peers() if slots else ()
        if _is_missing(peers[0].client if peers else client, *_WAIT):
            return 0
        return int(slots is None or any(slots.shard_of(peer)[0] > 1 for peer in peers))
    except (redis.RedisError, StoreUnavailableError):
        return 1


def missing_commands(client: redis.Redis | ClusterClient, awaited_replicas: int) -> list[MissingCommand]:
    """Return the commands that a server, or any of a cluster, lacks or forbids. Raises `StoreUnavailableError`.

    ``WAIT`` counts only if a replica may take over.
    """
    commands: list[tuple[MissingCommand, tuple[str, ...]]]
    commands = [(CONFIG_MISSING, ("CONFIG GET", "maxmemory-policy")), (INFO_MISSING, ("INFO", "replication"))]
    if awaited_replicas:
        commands.append((WAIT_NEEDED, _WAIT))
    elif isinstance(client, ClusterClient) or has_sentinels(client):
        commands.append((WAIT_MISSING, _WAIT))
    with translate_errors():
        all_servers = tuple(servers(client))
        return [missing for missing, ask in commands if any(_is_missing(server, *ask) for server in all_servers)]


def _is_missing(server: redis.Redis, command: str, *arguments: str) -> bool:
    try:
        return server.execute_command(command, *arguments) in ([], {})  # type: ignore[no-untyped-call]
    except NoPermissionError:
        return True
    except ResponseError as refused:  # a replica refuses WAIT with another text
        return "unknown command" in str(refused)
