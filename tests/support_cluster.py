"""Servers in cluster mode, where a script may touch keys of one slot only; and clusters of them."""

import signal
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import redis
import support_installation
import support_valkey
from redis.crc import key_slot
from support_memory import folder_in_memory
from support_sentinel import wait_until
from support_tls import Secured

from otp_service import bootstrap
from otp_service.bootstrap import Installation
from otp_service.settings import Settings
from otp_service.store import ceiling_shares, mirror
from otp_service.store.cluster import ClusterClient, SlotMap
from otp_service.store.connection import Connection
from otp_service.store.script_runner import ScriptRunner

SLOTS = 16384
_ALONE = "the connection to one server"
OF_ONE_SERVER = {
    "store/test_sentinel_tls.py::test_a_server_that_takes_over": "Sentinels",
    **{
        f"store/test_scripts.py::test_{name}": _ALONE
        for name in (
            "a_server_that_is_gone",
            "a_silent_server",
            "an_answer_that_comes_late",
            "while_the_server_is_silent",
            "a_server_that_was_silent",
            "a_call_that_is_broken_off",
            "a_connection_that_an_operator_killed",
            "a_connection_that_the_server_closed",
            "rules_that_the_server_forgot",
            "a_server_that_may_not_write_is_not_available[a replica itself]",
            "a_server_that_is_busy",
            "a_script_that_fails",
        )
    },
    **{
        f"store/test_connection.py::test_{name}": _ALONE
        for name in (
            "a_connection_that_was_closed_meanwhile",
            "a_database_a_user_and_a_unix_socket",
            "a_server_that_may_not_be_written_to",
            "answers_that_nobody_waits_for",
            "what_was_written_is_read",
            "where_the_server_closed_before_it_answered",
        )
    },
    "store/test_endpoint.py::test_a_server_that_is_alone": _ALONE,
    "store/test_endpoint.py::test_commands_that_a_server_lacks": "a cluster is not made without the commands",
    "store/test_limits_oracle.py": "scripts of the test's own, with keys of several slots",
    "store/test_attempts.py::test_a_start_writes_a_message": "what one server tells of its commands",
    "store/test_move_to_cluster.py": "it begins with one server",
    "store/test_library.py::test_scripts_that_processes_of_another_release": "scripts that each server has, or none",
    "store/test_waking.py::test_nobody_is_woken_by_nothing": "nobody waits at several servers",
    "store/test_write_access.py::test_who_can_watch_commands": "what one server tells of its commands",
}
"""Tests that a cluster has nothing to do with, and why."""


def use_cluster_nodes(count: int) -> None:
    """Let each server that is started from now on be a cluster of so many, and installations know."""
    support_valkey.CLUSTER_NODES, support_valkey.join = count, join
    support_installation.REDIS |= {"replicas": 0}
    support_installation.KEYS |= {"buckets": 1}  # tests name the only one; several have tests of their own
    mirror.LOOK_AGAIN = 0  # type: ignore[misc]
    ceiling_shares.EXHAUSTED_SECONDS = 0  # type: ignore[misc]
    install, begin = bootstrap.install, ScriptRunner.__init__

    def install_over(settings: Settings, client: redis.Redis | None = None) -> Installation:
        return install(settings, client.seed if isinstance(client, AllServers) else client)

    def begin_over(runner: ScriptRunner, client: Any, *more: Any, **named: Any) -> None:
        if isinstance(client, AllServers):
            client, named["slots"] = client.seed, SlotMap(client.seed)
        begin(runner, client, *more, **named)

    bootstrap.install = install_over
    ScriptRunner.__init__ = begin_over  # type: ignore[method-assign]


def join(clients: list[redis.Redis], pass_time: Callable[[], None]) -> redis.Redis:
    """Let servers be a cluster, each with as many slots; return a client for all."""
    each = -(-SLOTS // len(clients))
    for place, client in enumerate(clients):
        if not _ask(client, "CLUSTER SLOTS"):
            _ask(client, "CLUSTER SET-CONFIG-EPOCH", place + 1)
            _ask(client, "CLUSTER ADDSLOTSRANGE", place * each, min((place + 1) * each, SLOTS) - 1)
        given = client.get_connection_kwargs()
        _ask(clients[0], "CLUSTER MEET", "127.0.0.1", given["port"], _bus(client))
    while not all(_is_whole(client, len(clients)) for client in clients):
        pass_time()
    return AllServers(clients[0])  # type: ignore[return-value]


def _ask(client: redis.Redis, *command: str | int) -> Any:
    return client.execute_command(*command, NEVER_DECODE=True)


def _bus(client: redis.Redis) -> int:
    return int(client.config_get("cluster-port")["cluster-port"])


def _is_whole(client: redis.Redis, nodes: int) -> bool:
    told: Any = client.cluster("info")
    return bool(told["cluster_state"] == "ok" and told["cluster_known_nodes"] == str(nodes) == told["cluster_size"])


class AllServers(ClusterClient):
    """All servers of a cluster, as tests look at one."""

    def __init__(self, seed: redis.Redis) -> None:
        super().__init__(SlotMap(seed))
        self.seed = seed

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in _OF_EACH:
            return partial(self._ask_each, name)
        return super().__getattr__(name)

    def _ask_each(self, name: str, *arguments: Any, **options: Any) -> Any:
        first, *_ = [getattr(one, name)(*arguments, **options) for one in self.all()]
        return first

    def scan_iter(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        return (name for one in self.all() for name in one.scan_iter(*arguments, **options))

    def keys(self, pattern: str = "*") -> list[Any]:
        return [name for one in self.all() for name in one.keys(pattern)]

    def dbsize(self) -> int:
        return sum(one.dbsize() for one in self.all())

    def delete(self, *names: str | bytes) -> int:
        return sum(self._of_one("delete", name) for name in names)

    def exists(self, *names: str | bytes) -> int:
        return sum(self._of_one("exists", name) for name in names)

    def _of_one(self, command: str, name: str | bytes) -> int:
        return int(self.reach(name, lambda server: getattr(server, command)(name)))

    def reach(self, key: str | bytes, ask: Callable[[redis.Redis], Any]) -> Any:
        return super().reach(key.decode() if isinstance(key, bytes) else key, ask)

    def eval(self, script: str, count: int, *arguments: Any) -> Any:
        key = arguments[0] if count else ""
        return self.reach(key, lambda server: server.eval(script, count, *arguments))

    def execute_command(self, name: str, *arguments: Any) -> Any:
        if name.startswith("ACL"):
            return self._ask_each("execute_command", name, *arguments)
        key = str(arguments[0]) if arguments else ""
        return self.reach(key, lambda server: server.execute_command(name, *arguments))

    def close(self) -> None:
        """Nothing: installations of a test share it."""


_OF_EACH = frozenset(
    {"flushall", "function_list", "function_load", "function_flush", "function_delete", "config_set", "config_get",
     "config_resetstat", "ping", "info", "client_list", "slowlog_get", "script_flush"}
)  # fmt: skip
"""What all servers are asked, and the first one's answer is the answer."""


class Cluster:
    """Primaries of a cluster, each with as many slots, and replicas of some. `stop` it."""

    def __init__(self, folder: Path, primaries: int = 3, secured: Secured | None = None) -> None:
        self.nodes = [ClusterNode(folder / str(place), secured) for place in range(primaries)]
        each = -(-SLOTS // primaries)
        for place, node in enumerate(self.nodes):
            node.ask("CLUSTER SET-CONFIG-EPOCH", place + 1)
            node.ask("CLUSTER ADDSLOTSRANGE", place * each, min((place + 1) * each, SLOTS) - 1)
            self.nodes[0].meet(node)
        wait_until(lambda: all(node.knows(primaries) for node in self.nodes))

    def add(self, folder: Path) -> "ClusterNode":
        """Add a server without slots."""
        added = ClusterNode(folder)
        self.nodes[0].meet(added)
        self.nodes.append(added)
        wait_until(lambda: all(node.knows(len(self.nodes)) for node in self.nodes))
        return added

    def add_replica(self, folder: Path, of: "ClusterNode") -> "ClusterNode":
        replica = self.add(folder)
        replica.ask("CLUSTER REPLICATE", of.id)
        wait_until(lambda: replica.follows() and all(node.knows_replica(replica, of) for node in self.nodes))
        if of in self.primaries():
            wait_until(lambda: of.tells_of(replica))
        return replica

    def of(self, key: str) -> "ClusterNode":
        """Return the primary that has a key, by what the first one that lives knows."""
        return self.primary_of(key_slot(key.encode()))

    def primary_of(self, slot: int) -> "ClusterNode":
        port = self.living[0].has(slot)
        return next(node for node in self.nodes if node.port == port)

    def move(self, key: str, to: "ClusterNode") -> None:
        """Move the slot of a key, as operators should, and wait until all know."""
        slot = key_slot(key.encode())
        self.move_slots(slot, slot, to)

    def move_slots(self, first: int, last: int, to: "ClusterNode") -> None:
        """Move slots that one server has to another."""
        self.primary_of(first).ask("CLUSTER MIGRATESLOTS", "SLOTSRANGE", first, last, "NODE", to.id)
        wait_until(lambda: all(node.has(slot) == to.port for node in self.living for slot in (first, last)), 60)

    @property
    def living(self) -> "list[ClusterNode]":
        return [node for node in self.nodes if node.process.poll() is None]

    def primaries(self) -> "list[ClusterNode]":
        """Return who has slots, by what the first one that lives knows."""
        ports = [port for _, _, (_, port, *_), *_ in self.living[0].slots()]
        return [node for node in self.nodes if node.port in ports]

    def remove(self, *gone: "ClusterNode") -> None:
        """Let the others forget servers that have no slots, and stop them."""
        self.nodes = [node for node in self.nodes if node not in gone]
        for one in gone:
            for node in self.nodes:
                with suppress(redis.ResponseError):  # another told it already
                    node.ask("CLUSTER FORGET", one.id)
            one.kill()

    def stop(self) -> None:
        for node in self.nodes:
            node.process.send_signal(signal.SIGCONT)
            node.kill()


class ClustersAhead:
    """Clusters of three primaries that are made while others are in use: it takes two seconds. `stop` it."""

    def __init__(self) -> None:
        self._hands = ThreadPoolExecutor(2)
        self._made = deque(self._begin() for _ in range(2))

    def take(self) -> Cluster:
        self._made.append(self._begin())
        return self._made.popleft().result()

    def stop(self) -> None:
        for one in self._made:
            one.result().stop()
        self._hands.shutdown()

    def _begin(self) -> Future[Cluster]:
        return self._hands.submit(lambda: Cluster(folder_in_memory("cluster")))


class ClusterNode:
    """A server in cluster mode, alone at first."""

    def __init__(self, folder: Path, secured: Secured | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self._bus = support_valkey.free_port(), support_valkey.free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder, self._secured = folder, secured
        self.client = secured.client(self.port) if secured else redis.Redis(port=self.port, socket_timeout=5.0)
        self.start()
        self.id = self.ask("CLUSTER MYID").decode()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                self._secured.program if self._secured else support_valkey.server_program(),
                "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--save", "",
                "--appendonly", "yes", "--cluster-enabled", "yes", "--cluster-port", str(self._bus),
                "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no",
                "--repl-diskless-sync-delay", "0", "--hash-max-listpack-value", "1024",
                *(self._secured.options(self.port) if self._secured else ()),
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(self._answers)

    def ask(self, *command: str | int) -> Any:
        return self.client.execute_command(*command, NEVER_DECODE=True)

    def meet(self, other: "ClusterNode") -> None:
        self.ask("CLUSTER MEET", "127.0.0.1", other.port, other._bus)

    def knows(self, nodes: int) -> bool:
        told: Any = self.client.cluster("info")
        return bool(told["cluster_state"] == "ok" and told["cluster_known_nodes"] == str(nodes))

    def slots(self) -> list[Any]:
        with closing(Connection(self.client)) as asked:
            return list(asked.ask("CLUSTER", "SLOTS"))

    def tells_of(self, replica: "ClusterNode") -> bool:
        """Tell whether it names a replica to clients: it has heard by then how far that has come."""
        return any(port == replica.port for _, _, _, *replicas in self.slots() for _, port, *_ in replicas)

    def knows_replica(self, replica: "ClusterNode", of: "ClusterNode") -> bool:
        told: Any = self.client.cluster("nodes")
        return any((one["node_id"], one["master_id"]) == (replica.id, of.id) for one in told.values())

    def has(self, slot: int) -> int:
        """Return the port of who has a slot, as far as this one knows."""
        return next((port for first, last, (_, port, *_), *_ in self.slots() if first <= slot <= last), 0)

    def follows(self) -> bool:
        """Tell whether it is a replica that has all that its primary has."""
        return bool(self.client.info("replication").get("master_link_status") == "up")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        with suppress(redis.RedisError):
            return bool(self.client.ping())
        return False
