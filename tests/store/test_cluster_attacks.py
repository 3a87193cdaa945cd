"""A cluster of which a part is away, or that changes: who is on servers that are there is not held up."""

import signal
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from support_caller import Caller
from support_cluster import Cluster
from support_guard import PERMISSIVE, modes, number, passes
from support_installation import tree
from support_memory import folder_in_memory

from otp_service import bootstrap
from otp_service.domain.audit import Event
from otp_service.domain.consents import ConsentMode
from otp_service.domain.tallies import Tally, What, Who
from otp_service.domain.verification import Status
from otp_service.errors import StoreUnavailableError
from otp_service.services.events import count_codes
from otp_service.settings import settings_from
from otp_service.store import keys
from otp_service.store.cluster import ClusterClient, SlotMap
from otp_service.store.connection import PAUSE, connect
from otp_service.store.events import EventBatch
from otp_service.store.mirror import Fences
from otp_service.store.rulesets import NO_RULES
from otp_service.store.script_runner import ScriptCall, ScriptRunner
from otp_service.store.verifications import FurtherMessage, Refusal

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
    own = tree(cluster.nodes[0].url, redis={"url": cluster.nodes[0].url, "cluster": True, "replicas": 0})
    own["guard"] = {"modes": modes("application.requests", "block.unapproved"), "block": {"unapproved": ["8/day"]}}
    own["limits"] = {**PERMISSIVE, "application": ["8/hour"]}
    own["purposes"]["login"]["resend_delays"] = [0]
    installation = bootstrap.install(settings_from(own))
    bootstrap.prepare(installation)
    return Caller(installation)


def _tries(shop: Caller, count: int) -> int:
    """Start so many times, and return how often the store was not available."""
    away = 0
    for last in range(count):
        try:
            shop.start(number(last))
        except StoreUnavailableError:
            away += 1
    return away


def test_who_asks_for_numbers_whose_server_is_away_takes_no_room_from_others(cluster: Cluster, shop: Caller) -> None:
    alone = cluster.add(folder_in_memory("added"))
    cluster.move(keys.number("00", "any"), alone)
    shop.start(number(90))
    alone.kill()

    assert _tries(shop, 20) == 20
    alone.start()
    time.sleep(2.5)  # until it is one of the cluster again
    assert [passes(shop, number(last)) for last in range(3)] == [True] * 3, "of four one is used"


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


def test_codes_of_an_application_that_is_away_let_no_other_wait(cluster: Cluster, shop: Caller) -> None:
    alone = cluster.add(folder_in_memory("added"))
    cluster.move(keys.application("shop"), alone)
    alone.kill()
    wrong = Event("1-0", 0, "check.failed", {"application": "shop", "reason": "wrong_code"})

    count_codes(shop.context, EventBatch("00", ("1-0",), (wrong,)))
    shop.context.store.traffic.add({"shop": {Tally("PK", "", 1, Who.UNKNOWN, What.MESSAGE): 1}})


def test_a_resend_of_what_had_ended_by_another_clock_is_to_be_asked_for_again(shop: Caller) -> None:
    one = shop.start(number(1))
    store, query = shop.context.store.verifications, shop.context.mirror_sync.query(ConsentMode.OFF)
    found = store.read("00", one)
    assert found is not None
    ended = replace(found, status=Status.EXPIRED)

    assert store.resend("00", ended, FurtherMessage("sms"), query, NO_RULES) is Refusal.CONFLICT
