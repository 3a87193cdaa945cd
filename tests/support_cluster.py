"""Servers in cluster mode, where a script may touch keys of one slot only; and clusters of them."""

import signal
import subprocess
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import redis
import support_valkey
from redis.crc import key_slot
from support_sentinel import wait_until

from otp_service import bootstrap
from otp_service.store import keys, scripts
from otp_service.store.connection import Argument, Connection
from otp_service.store.scripts import MIXED_SLOTS, ScriptRunner
from otp_service.store.store import open_store

SLOTS = 16384
_KEEP = "tonumber, unpack, ipairs = all.tonumber, all.unpack, all.ipairs"
_ONE_BY_ONE = """
  local real = redis
  redis = setmetatable({ call = function(name, ...)
    if name ~= 'MGET' then return real.call(name, ...) end
    local values = { ... }
    for i, key in ipairs(values) do values[i] = real.call('GET', key) end
    return values
  end }, { __index = real })
"""
"""A command that reads several keys is refused where they are of several slots, whatever the script may."""
_TAKE_KEYS = """for _ = 1, tonumber(table.remove(arguments, 1)) do keys[#keys + 1] = table.remove(arguments, 1) end"""


def count_in_two_steps() -> None:
    """Let shared subjects be in other slots than numbers: scripts mix no slots then, but with gateways."""
    bootstrap.open_store = partial(open_store, shared_elsewhere=True)  # type: ignore[attr-defined]
    for name in ("start", "resend", "check", "dispatch_settle", "guard_give_back"):
        del MIXED_SLOTS[name]  # type: ignore[attr-defined]


def use_cluster_nodes() -> None:
    """Let each server that is started from now on be such a node, with all slots.

    Scripts that are known to mix slots may: they are told all keys but the first by arguments, and read one at a time.
    What the release before has in places without a tag goes into the bucket.
    """
    support_valkey.CLUSTER_NODES = True
    for former in (keys.former_mirror, keys.former_mirror_builder, keys.former_fence):
        object.__setattr__(former, "pattern", former.pattern.replace("otp:", "otp:{00}:former/"))
    assert scripts._BEGIN.count(_KEEP) == 1
    scripts._BEGIN = scripts._BEGIN.replace(_KEEP, _KEEP + _ONE_BY_ONE)
    write, ask = scripts._function, ScriptRunner._ask_loaded
    register = "redis.register_function("

    def function(name: str, body: str, parts: Mapping[str, str]) -> str:
        text = write(name, body, parts)
        if name not in MIXED_SLOTS:
            return text
        first, _, rest = text.removeprefix(register).partition(", ")
        callback = rest.rstrip().removesuffix(")").replace(scripts._KEEP, f"{scripts._KEEP}\n{_TAKE_KEYS}", 1)
        named = f"{{ function_name = {first}, flags = {{ 'allow-cross-slot-keys' }}, callback = {callback} }}"
        return f"redis.register_function({named})\n"

    def ask_loaded(runner: ScriptRunner, connection: Connection, command: tuple[Argument, ...], *more: Any) -> Any:
        _, name, count, *others = command
        if str(name).removeprefix(f"{runner.library_name}_") in MIXED_SLOTS:
            command = ("FCALL", name, 1, others[0], int(count) - 1, *others[1:])
        return ask(runner, connection, command, *more)

    scripts._function = function
    ScriptRunner._ask_loaded = ask_loaded  # type: ignore[method-assign]


class Cluster:
    """Primaries of a cluster, each with as many slots, and replicas of some. `stop` it."""

    def __init__(self, folder: Path, primaries: int = 3) -> None:
        self.nodes = [ClusterNode(folder / str(place)) for place in range(primaries)]
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
        wait_until(lambda: replica.follows() and all(node.tells_of(replica) for node in self.nodes))
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


class ClusterNode:
    """A server in cluster mode, alone at first."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self._bus = support_valkey.free_port(), support_valkey.free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self.client = redis.Redis(port=self.port, socket_timeout=5.0)
        self.start()
        self.id = self.ask("CLUSTER MYID").decode()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                support_valkey.server_program(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir",
                str(self._folder), "--save", "", "--appendonly", "yes", "--cluster-enabled", "yes", "--cluster-port",
                str(self._bus), "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no",
                "--repl-diskless-sync-delay", "0", "--hash-max-listpack-value", "1024",
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
        """Tell whether it names a replica to clients."""
        return any(port == replica.port for _, _, _, *replicas in self.slots() for _, port, *_ in replicas)

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
