"""A cluster of which a part is away, or that changes: who is on servers that are there is not held up."""

import signal
import threading
import time
from typing import Any

import pytest
from support_caller import Caller
from support_cluster import Cluster
from support_guard import PERMISSIVE, modes, passes
from support_installation import tree
from support_memory import folder_in_memory

from otp_service import bootstrap
from otp_service.errors import StoreUnavailableError
from otp_service.settings import settings_from
from otp_service.store import keys
from otp_service.store.cluster import ClusterClient, SlotMap
from otp_service.store.connection import PAUSE, connect
from otp_service.store.mirror import Fences
from otp_service.store.script_runner import ScriptCall, ScriptRunner

NETWORKS = [f"n{place}" for place in range(40)]


class Process:
    """What a process has of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        seed = connect(cluster.nodes[0].url, timeout=0.5, connect_timeout=0.25)
        self.slots = SlotMap(seed)
        self.runner = ScriptRunner(seed, slots=self.slots)
        self.client: Any = ClusterClient(self.slots)
        self.fences = Fences(self.client, self.runner, tuple(f"{bucket:02x}" for bucket in range(64)))

    def reserve(self) -> list[Any]:
        """Ask all servers at once."""
        return self.runner.run_all(
            [ScriptCall("page_count", (keys.page_requests(one),), (100, 60_000)) for one in NETWORKS]
        )


@pytest.fixture
def shop(cluster: Cluster) -> Caller:
    own = tree(cluster.nodes[0].url, redis={"replicas": 0}, keys={"buckets": 16})
    own["guard"] = {"modes": modes("application.requests", "block.unapproved"), "block": {"unapproved": ["8/day"]}}
    own["limits"] = {**PERMISSIVE, "application": ["100/hour"]}
    own["purposes"]["login"]["resend_delays"] = [0]
    installation = bootstrap.install(settings_from(own))
    bootstrap.prepare(installation)
    return Caller(installation)


def _bucket(shop: Caller, to: str) -> str:
    return shop.context.keyring.bucket(shop.context.keyring.pseudonym(to))


def _tries(shop: Caller, numbers: list[str]) -> int:
    """Start for some numbers, and return how often the store was not available."""
    away = 0
    for one in numbers:
        try:
            shop.start(one)
        except StoreUnavailableError:
            away += 1
    return away


def test_a_server_that_is_away_refuses_only_the_numbers_of_its_buckets(cluster: Cluster, shop: Caller) -> None:
    numbers = [f"+92300{block:03d}1234" for block in range(60)]
    bucket = _bucket(shop, numbers[0])
    alone = cluster.add(folder_in_memory("added"))
    cluster.move(keys.number(bucket, "any"), alone)
    alone.kill()

    own = [one for one in numbers if _bucket(shop, one) == bucket]
    others = [one for one in numbers if _bucket(shop, one) != bucket]
    assert _tries(shop, own) == len(own)
    assert [passes(shop, one) for one in others[:8]] == [True] * 8
    alone.start()
    time.sleep(2.5)  # until it is one of the cluster again
    assert passes(shop, own[0])


def test_a_silent_server_holds_up_one_of_those_who_reserve(cluster: Cluster) -> None:
    process = Process(cluster)
    steps = threading.Barrier(5)
    took = []

    def ask(place: int) -> None:
        process.reserve()  # each has a connection to each server
        for _ in range(2):
            steps.wait()
        time.sleep(0.02 * place)
        began = time.monotonic()
        process.reserve()
        took.append(time.monotonic() - began)

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(4)]
    for one in threads:
        one.start()
    process.reserve()
    steps.wait()
    silent = cluster.nodes[1].process
    silent.send_signal(signal.SIGSTOP)
    process.reserve()  # who learns it
    time.sleep(PAUSE)
    steps.wait()
    for one in threads:
        one.join()
    silent.send_signal(signal.SIGCONT)

    assert sum(one > 0.2 for one in took) == 1


def test_a_server_that_left_and_was_reset_is_not_believed(cluster: Cluster) -> None:
    process = Process(cluster)
    added = cluster.add(folder_in_memory("added"))
    first = cluster.nodes[0]
    own = next(slot for slot in range(16384) if first.has(slot) == first.port)
    cluster.move_slots(own, own, added)
    process.slots.refresh()
    cluster.move_slots(own, own, first)
    for node in cluster.nodes[:3]:
        node.ask("CLUSTER FORGET", added.id)
    added.ask("CLUSTER RESET", "HARD")

    for _ in range(30):
        process.slots.refresh()
        assert process.slots.peer_of(keys.page_requests("n1"))


def test_counts_go_to_the_servers_that_are_there_whichever_is_away(cluster: Cluster) -> None:
    process = Process(cluster)
    for one in NETWORKS:
        process.client.set(f"otp:{{{one}}}:n", 0)
    cluster.nodes[1].kill()
    with process.client.pipeline(transaction=False) as pipeline:
        for one in NETWORKS:
            pipeline.incr(f"otp:{{{one}}}:n")
        answers = pipeline.execute(raise_on_error=False)

    away = [one for one, answer in zip(NETWORKS, answers, strict=True) if isinstance(answer, Exception)]
    assert 0 < len(away) < len(NETWORKS)
    assert all(process.client.get(f"otp:{{{one}}}:n") == b"1" for one in NETWORKS if one not in away)
