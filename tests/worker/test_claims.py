"""Taking over from workers that died: by a worker that works, no more than it has threads for; and giving back."""

import time

import pytest
from support_caller import Caller
from support_installation import World
from support_outbox import jobs_of, queue, waiting
from support_service import eventually
from support_valkey import ValkeyServer
from support_worker import Gate, working

from otp_service.bootstrap import Installation
from otp_service.store.outbox import CONSUMER_GROUP

THREADS = 3
DEAD = b"dead"


@pytest.fixture
def installation(real_world: World) -> Installation:
    return real_world.install(
        limits={"number": ["100000/hour"], "application": []},
        gateways={"sandbox": {"kind": "sandbox", "timeout": 30.0}},
        worker={"concurrency": THREADS},
    )


def _held(valkey: ValkeyServer) -> dict[bytes, int]:
    """Return how many jobs each worker holds."""
    found = valkey.client.xinfo_consumers(queue(), CONSUMER_GROUP)
    return {one["name"]: one["pending"] for one in found if one["pending"]}


def test_a_worker_takes_over_as_many_jobs_as_it_has_threads_for(
    valkey: ValkeyServer, real_world: World, installation: Installation
) -> None:
    shop, gate = Caller(installation), Gate()
    ids = {shop.start() for _ in range(10)}
    assert len(jobs_of(installation.context, DEAD.decode())) == 10
    real_world.advance(60)
    with working(installation, sandbox=gate):
        eventually(lambda: len(gate.served) == THREADS)
        time.sleep(1.5)  # it has looked for more by now
        held = _held(valkey)
        gate.open_for_all()
        eventually(lambda: not waiting(valkey.client))

    assert sorted(held.values()) == [THREADS, 10 - THREADS]
    assert held[DEAD] == 10 - THREADS
    assert {one.message.verification_id for one in gate.served} == ids
    assert len(gate.served) == 10


def test_a_worker_that_is_busy_takes_nothing_over(
    valkey: ValkeyServer, real_world: World, installation: Installation
) -> None:
    shop, gate = Caller(installation), Gate()
    for _ in range(THREADS):
        shop.start()
    with working(installation, sandbox=gate):
        eventually(lambda: len(gate.served) == THREADS)
        shop.start()
        assert len(jobs_of(installation.context, DEAD.decode())) == 1
        valkey.client.xclaim(
            queue(),
            CONSUMER_GROUP,
            DEAD,
            0,
            [one["message_id"] for one in _pending(valkey, DEAD)],
            idle=60_000,
            justid=True,
        )
        time.sleep(1.5)
        held = _held(valkey)
        gate.open_for_all()
        eventually(lambda: not waiting(valkey.client))

    assert held[DEAD] == 1
    assert len(gate.served) == THREADS + 1, "as soon as it is not busy"


def _pending(valkey: ValkeyServer, consumer: bytes) -> list[dict[str, bytes]]:
    return list(valkey.client.xpending_range(queue(), CONSUMER_GROUP, "-", "+", 10, consumername=consumer))
