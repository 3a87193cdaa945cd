"""Applications share a worker's calls of endpoints: those whose receivers are slow do not slow down another's."""

import math
import statistics
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from support_service import eventually
from support_webhooks import LOOPBACK, receiving

from otp_service.domain.webhooks import Webhook
from otp_service.services.webhooks import Actor, add_endpoint
from otp_service.worker.webhooks import WebhookSender

SLOW = 14.0
"""Seconds: within the time-out, so that each call is a success."""
PERIOD, COUNT = 0.1, 60
"""Seconds between two webhooks of the quick application, and their number."""


@pytest.fixture
def site(world, ledger_url):
    made = world.install(ledger={"url": ledger_url}, webhooks={"networks": LOOPBACK})
    yield made
    made.context.ledger.database.close()


def tell(site, application, count=1):
    """Write webhooks; return when, by their ids."""
    told = [Webhook(application, "verification.started", round(1000 * time.time())) for _ in range(count)]
    site.context.ledger.webhook_outbox.add(told)
    return {one.id: time.time() for one in told}


def seconds_of_each(site, receiver):
    """Return how long the webhooks of the quick application took to arrive."""
    told = {}
    for _ in range(COUNT):
        told |= tell(site, "bank")
        time.sleep(PERIOD)
    eventually(lambda: told.keys() <= {one.id for one in receiver.requests}, 60)
    arrived = {one.id: one.at for one in reversed(receiver.requests)}
    return sorted(arrived[name] - at for name, at in told.items())


@contextmanager
def sending(*sites):
    senders = [WebhookSender(site, f"worker-{place}") for place, site in enumerate(sites)]
    for sender in senders:
        sender.start()
    try:
        yield
    finally:
        threads = [threading.Thread(target=sender.stop) for sender in senders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def p95(seconds):
    return seconds[math.ceil(0.95 * len(seconds)) - 1]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("applications", "endpoints", "workers"), [(1, 4, 1), (1, 10, 2), (48, 1, 1)])
def test_slow_receivers_of_others_do_not_slow_down_an_application(site, applications, endpoints, workers):
    with receiving() as quick, receiving() as slow:
        slow.slow = SLOW
        add_endpoint(site.context, "bank", f"{quick.url}/ok", ("verification",), Actor("tests", "bank"))
        shops = [f"shop{one}" for one in range(applications)]
        for shop in shops:
            for _ in range(endpoints):
                add_endpoint(site.context, shop, f"{slow.url}/ok", ("verification",), Actor("tests", shop))
        with sending(*[site] * workers):
            alone = seconds_of_each(site, quick)
            for shop in shops:
                tell(site, shop, 40)
            beside = seconds_of_each(site, quick)

    figures = [f"median {statistics.median(seconds):.3f} s, p95 {p95(seconds):.3f} s" for seconds in (alone, beside)]
    sys.stdout.write(f"\nalone: {figures[0]}; beside: {figures[1]}; slow calls at once: {slow.most_at_once}\n")
    assert slow.most_at_once >= min(applications * endpoints, 4)
    assert statistics.median(beside) < 2 * statistics.median(alone)
    assert p95(beside) < 2 * p95(alone) + 0.1
