"""What stands in a worker's way in Redis does not keep it from what it can do."""

import time

import pytest
from support_caller import Caller
from support_installation import World
from support_outbox import BUCKET, queue
from support_service import eventually
from support_valkey import ValkeyServer
from support_worker import Journal, working

from otp_service.store import keys


@pytest.mark.parametrize("ready", [False, True])
def test_a_key_of_another_type_among_the_queues_stops_no_delivery(valkey: ValkeyServer, *, ready: bool):
    world, gateway = World(valkey.client, valkey.url, time.sleep), Journal()
    installation = world.install()
    valkey.client.set(queue("zzz"), "not a stream")
    valkey.client.hset(keys.queues(BUCKET), queue("zzz"), 1)
    if ready:
        valkey.client.sadd(keys.ready(BUCKET), queue("zzz"))
    one = Caller(installation).start()
    with working(installation, sandbox=gateway):
        eventually(lambda: gateway.place_of(one) is not None, 5)
