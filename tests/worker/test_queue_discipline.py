"""Whose message goes next when more wait than can go at once; by workers that work, on a real server."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any
from unittest.mock import Mock

import pytest
from support_caller import PAYMENT, Caller
from support_installation import World, key
from support_outbox import DELAYED, jobs_of, pending, queue, settle, waiting
from support_service import eventually
from support_valkey import ValkeyServer
from support_worker import Journal, working

from otp_service.bootstrap import Installation
from otp_service.errors import StoreUnavailableError
from otp_service.store import keys
from otp_service.store.outbox import DispatchResult, Dropped, NextStep
from otp_service.worker.worker import Worker

KEYS = {"root": f"k1:{key()}", "pseudonym": key()}
NEAR = 24
"""Messages that may go before one that was queued after them: what is in hand, and some turns of others."""


@pytest.fixture
def world(valkey: ValkeyServer) -> World:
    return World(valkey.client, valkey.url, time.sleep)


def _install(world: World, gateway: dict[str, Any] | None = None, **sections: Any) -> Installation:
    defaults = {
        "keys": KEYS,
        "limits": {"number": ["100000/hour"], "application": []},
        "gateways": {"sandbox": {"kind": "sandbox", "timeout": 1.0, **(gateway or {})}},
        "worker": {"concurrency": 4},
    }
    return world.install(**{**defaults, **sections})


def _end(world: World) -> None:
    """Wait until nothing waits, nor comes back later."""
    eventually(lambda: not waiting(world.client) and not world.client.zcard(DELAYED))


def test_a_flood_of_one_application_does_not_delay_another(world: World):
    installation, gateway = _install(world), Journal(0.005)
    shop, bank = Caller(installation), Caller(installation, "bank")
    for _ in range(300):
        shop.start()
    with working(installation, sandbox=gateway):
        eventually(lambda: len(gateway.served) > 20)
        one = bank.start()
        before = len(gateway.served)
        place = eventually(lambda: gateway.place_of(one))

        assert waiting(world.client) > 100, "the flood is still there"
        assert place <= before + NEAR
        _end(world)
    assert len(gateway.served) == 301


def test_a_flood_of_logins_does_not_delay_a_payment(world: World):
    installation, gateway = _install(world), Journal(0.005)
    shop = Caller(installation)
    for _ in range(300):
        shop.start()
    with working(installation, sandbox=gateway):
        eventually(lambda: len(gateway.served) > 20)
        one = shop.start(purpose="payment", transaction=PAYMENT)
        before = len(gateway.served)

        assert eventually(lambda: gateway.place_of(one)) <= before + NEAR
        _end(world)


def test_retries_do_not_delay_a_fresh_message_and_are_not_forgotten(world: World):
    installation, gateway = _install(world), Journal(0.005)
    shop = Caller(installation)
    for _ in range(200):
        shop.start()
    for job in jobs_of(installation.context, count=200):
        settle(installation.context, job, Dropped("gone"), DispatchResult(NextStep.RETRY))
    with working(installation, sandbox=gateway):
        eventually(lambda: len(gateway.served) > 20)
        ids = {shop.start() for _ in range(50)}
        eventually(lambda: all(gateway.place_of(one) is not None for one in ids))
        fresh = sorted(gateway.place_of(one) or 0 for one in ids)
        between = fresh[-1] - fresh[0] - 49

        assert world.client.xlen(queue(kind="retry")) > 50, "the fresh ones overtook them"
        assert 1 <= between <= 40, "one turn of seven is theirs, and what was in hand"
        _end(world)
    assert len(gateway.served) == 250


def test_who_waits_for_a_slow_gateway_leaves_threads_to_others(world: World):
    gateways = {"slow": {"kind": "sandbox", "per_second": 2}, "quick": {"kind": "sandbox"}}
    routes = [{"purposes": ["login"], "gateways": ["slow"]}, {"purposes": ["payment"], "gateways": ["quick"]}]
    installation = _install(world, gateways=gateways, routes=routes, worker={"concurrency": 8})
    slow, quick = Journal(), Journal()
    shop, bank = Caller(installation), Caller(installation, "bank")
    for caller in (shop, bank):
        for _ in range(40):
            caller.start()
    with working(installation, slow=slow, quick=quick):
        eventually(lambda: len(slow.served) >= 2)
        began = time.monotonic()
        ids = [shop.start(purpose="payment", transaction=PAYMENT) for _ in range(20)]
        eventually(lambda: all(quick.place_of(one) is not None for one in ids))

        assert time.monotonic() - began < 5, "eighty logins need forty seconds"
        assert len(slow.served) < 14


@pytest.mark.parametrize("workers", [1, 2])
def test_all_workers_together_keep_to_the_operators_rate(world: World, workers: int):
    installations = [_install(world, {"per_second": 25}) for _ in range(workers)]
    gateway, shop = Journal(), Caller(installations[0])
    ids = [shop.start() for _ in range(30)]
    with working(*installations, sandbox=gateway):
        _end(world)
    times = sorted(shop.read(one).verification.deliveries[0].begun for one in ids)

    assert len(gateway.served) == 30
    assert all(later - earlier >= 1000 // 25 - 1 for earlier, later in pairwise(times)), "a turn every 40 ms"


def test_a_message_goes_as_soon_as_its_gateways_turn_has_come(world: World):
    installation, gateway = _install(world, {"per_second": 10}), Journal()
    shop = Caller(installation)
    ids = [shop.start() for _ in range(20)]
    with working(installation, sandbox=gateway):
        _end(world)
    begun = sorted(shop.read(one).verification.deliveries[0].begun for one in ids)
    turns = sorted(later - earlier for earlier, later in pairwise(begun))

    assert 99 <= turns[len(turns) // 2] < 150, "what an operator allows is used"


def test_a_backlog_that_waits_for_a_gateway_asks_redis_no_more_than_one_message_does(world: World):
    installation, gateway = _install(world, {"max_in_flight": 1, "timeout": 10}), Journal(3)
    shop = Caller(installation)
    for _ in range(200):
        shop.start()

    def scripts() -> int:
        return int(world.client.info("commandstats")["cmdstat_fcall"]["calls"])

    with working(installation, sandbox=gateway):
        eventually(lambda: gateway.served)
        before = scripts()
        time.sleep(2)
        asked = scripts() - before

        assert len(gateway.served) == 1
        assert waiting(world.client) == 200
        assert asked < 300, "a message asks twenty times a second whether the other call is over"


def test_a_worker_that_holds_messages_goes_on_when_its_server_has_lost_its_data(world: World):
    installation, gateway = _install(world, {"per_second": 0.5}, worker={"claim_margin": 0.5}), Journal()
    shop = Caller(installation)
    for _ in range(3):
        shop.start()
    with working(installation, sandbox=gateway):
        eventually(lambda: gateway.served)
        eventually(lambda: pending(world.client) == 2)
        time.sleep(0.5)  # it says that it is busy with them more often than it asks for their turn
        world.client.flushall()
        eventually(lambda: world.client.exists(keys.mirror("00")))
        one = shop.start()

        assert eventually(lambda: gateway.place_of(one), seconds=10) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_all_workers_together_keep_to_the_calls_in_flight(world: World, workers: int):
    installations = [_install(world, {"max_in_flight": 3}, worker={"concurrency": 8}) for _ in range(workers)]
    gateway, shop = Journal(0.05), Caller(installations[0])
    for _ in range(30):
        shop.start()
    with working(*installations, sandbox=gateway):
        _end(world)

    assert len(gateway.served) == 30
    assert gateway.most_at_once == 3


def test_whoever_ends_a_call_makes_the_next_one_of_its_queue(world: World):
    """The place in flight is free now: whoever waits for it has not to wait until he asks again."""
    installation = _install(world, {"max_in_flight": 1})
    gateway, shop = Journal(), Caller(installation)
    installation.context.gateways.update(sandbox=gateway)  # type: ignore[attr-defined] # filled once
    worker = Worker(installation, threading.Event())
    for _ in range(3):
        shop.start()
    first, *others = jobs_of(shop.context)
    for job in (first, *others):
        worker._in_flight.add(job)
    for job in others:
        worker._in_flight.pause(job)
        worker._held_jobs.hold(job, 3_600_000, frozenset({"sandbox"}))
    worker._deliver(first)

    assert len(gateway.served) == 3
    assert not waiting(world.client)


def test_a_duty_that_cannot_be_done_keeps_no_message_back(world: World, monkeypatch: pytest.MonkeyPatch):
    """What it has to ask may be on a server of a cluster that is away, and the message on another."""
    installation = _install(world)
    gateway, shop, outbox = Journal(), Caller(installation), installation.context.store.outbox
    installation.context.gateways.update(sandbox=gateway)  # type: ignore[attr-defined] # filled once
    for what, failure in (("lag", StoreUnavailableError("away")), ("sweep", RuntimeError("a defect"))):
        monkeypatch.setattr(outbox, what, Mock(side_effect=failure))
    worker = Worker(installation, threading.Event())
    shop.start()
    with ThreadPoolExecutor() as worker._pool:
        worker._run_once()

    assert len(gateway.served) == 1


def test_a_worker_that_waits_for_retries_asks_redis_a_few_times_a_second_only(world: World):
    installation, gateway = _install(world), Journal()
    shop = Caller(installation)
    ids = [shop.start() for _ in range(20)]
    for place, job in enumerate(jobs_of(installation.context)):
        settle(
            installation.context,
            job,
            Dropped("gone"),
            DispatchResult(NextStep.RETRY, delay=3000 + 60_000 * (place > 0)),
        )
    with working(installation, sandbox=gateway):
        began = time.monotonic()
        time.sleep(0.5)  # what it does at the start
        before = world.client.info("stats")["total_commands_processed"]
        time.sleep(2)
        asked = world.client.info("stats")["total_commands_processed"] - before
        eventually(lambda: gateway.served)

    assert asked < 150, "with those that scripts call, over six queues"
    assert [one.message.verification_id for one in gateway.served] == [ids[0]]
    assert gateway.served[0].began - began < 3.3, "and it is there in time"


def test_a_message_is_taken_at_once_by_a_worker_that_waits(world: World):
    installation, gateway = _install(world), Journal()
    shop = Caller(installation)
    waits = []
    with working(installation, sandbox=gateway):
        eventually(lambda: installation.context.store.server.worker_age() is not None)
        for place in range(20):
            began = time.monotonic()
            shop.start()
            eventually(lambda expected=place + 1: len(gateway.served) == expected)
            waits.append(gateway.served[-1].began - began)

    assert sorted(waits)[len(waits) // 2] < 0.1
    assert all(earlier.began < later.began for earlier, later in pairwise(gateway.served))
