"""What a worker costs that has nothing to do, and how soon it is there when it has; by workers on a real server."""

import time
from collections import Counter

import pytest
import redis
from support_caller import PAYMENT, Caller
from support_installation import World
from support_outbox import BUCKET, queue
from support_service import eventually
from support_valkey import ValkeyServer
from support_worker import Journal, working

from otp_service.bootstrap import Installation
from otp_service.store import keys
from otp_service.store.outbox import CONSUMER_GROUP

QUEUES = 100
WATCHED = 3
"""Seconds."""


@pytest.fixture
def installation(valkey: ValkeyServer) -> Installation:
    world = World(valkey.client, valkey.url, time.sleep)
    made = world.install(limits={"number": ["100000/hour"], "application": []}, worker={"concurrency": 4})
    made.context.mirror_sync.refresh()  # to build the mirror is work, and not what is counted here
    return made


def _make_empty_queues(client: redis.Redis) -> None:
    """Make queues as they are when all that they held was delivered, and before they are forgotten."""
    with client.pipeline(transaction=False) as pipeline:
        for place in range(QUEUES):
            name = queue(f"shop-{place}")
            pipeline.xgroup_create(name, CONSUMER_GROUP, "0", mkstream=True)
            pipeline.hset(keys.queues(BUCKET), name, 1)
            pipeline.sadd(keys.ready(BUCKET), name)
        pipeline.execute()


def _wait_until_it_waits(client: redis.Redis) -> None:
    """Wait until a worker has done what it does at its beginning: it forgets queues that are empty."""
    # The recorder waits too, and who does not wait any more is still listed with what he did last.
    eventually(lambda: any(one["cmd"] == "blpop" and "b" in one["flags"] for one in client.client_list()))


def _asked(client: redis.Redis) -> Counter[str]:
    """Return how often each command was called since the server was told to forget."""
    stats = client.info("commandstats")
    calls = Counter({name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()})
    return Counter({name: count for name, count in calls.items() if not name.startswith(("info", "config"))})


def test_a_worker_without_work_asks_little_however_many_queues_are_empty(
    valkey: ValkeyServer, installation: Installation
) -> None:
    with working(installation, sandbox=Journal()):
        _wait_until_it_waits(valkey.client)
        _make_empty_queues(valkey.client)
        eventually(lambda: not valkey.client.exists(keys.ready(BUCKET)))
        valkey.client.config_resetstat()
        began = time.monotonic()
        time.sleep(WATCHED)
        asked, seconds = _asked(valkey.client), time.monotonic() - began
        assert valkey.client.hlen(keys.queues(BUCKET)) == QUEUES

    assert asked["blpop"] >= 1, "it waits"
    assert asked["fcall"] <= 8 * (WATCHED + 1), "a round a second, of which one more may have begun"
    assert asked["xreadgroup"] <= 2 * WATCHED, "by the recorder; queues without anything new are not looked into"
    assert asked["xpending"] <= 2 * QUEUES * WATCHED, "but for what the dead left there, about once a second"
    assert asked["xrange"] <= 2 * QUEUES, "and for its oldest message, every five seconds"
    rest = sum(calls for name, calls in asked.items() if name not in {"xpending", "xrange"})
    assert rest / seconds <= 60


@pytest.mark.parametrize("queues", [0, QUEUES])
def test_a_fresh_message_is_there_at_once(valkey: ValkeyServer, installation: Installation, queues: int) -> None:
    """Its queue may be new, or have been empty for a while."""
    gateway, shop, bank = Journal(), Caller(installation), Caller(installation, "bank")
    starts = [
        shop.start,
        bank.start,
        lambda: shop.start(channel="voice"),
        lambda: shop.start("+447400123456"),
        lambda: shop.start(purpose="payment", transaction=PAYMENT),
    ]
    waits = []
    with working(installation, sandbox=gateway):
        _wait_until_it_waits(valkey.client)
        if queues:
            _make_empty_queues(valkey.client)
        for start in starts:
            time.sleep(0.3)  # it has looked around for the last time, and waits again
            began, before = time.monotonic(), len(gateway.served)
            start()
            eventually(lambda expected=before + 1: len(gateway.served) == expected)
            waits.append(gateway.served[-1].began - began)

    assert sorted(waits)[len(waits) // 2] < 0.2, waits
