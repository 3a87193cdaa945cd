"""Who waits for messages is woken by the next one, wherever it comes from, and by nothing else."""

import time
from collections.abc import Callable

import pytest
from support_caller import PAYMENT, Caller
from support_installation import World
from support_outbox import BUCKET, Scripted, Sender, dispatched, jobs_of, refused, settle
from support_valkey import ValkeyServer

from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import Receipt
from otp_service.services.receipts import record_receipt
from otp_service.store import keys
from otp_service.store.outbox import DispatchResult, NextStep

LONG = 800
"""Milliseconds."""
AT_ONCE = 0.4
"""Seconds within which somebody is certain to have been woken, and not to have waited to the end."""
WAKE = keys.wake(BUCKET)


@pytest.fixture
def shop(valkey: ValkeyServer) -> Caller:
    world = World(valkey.client, valkey.url, time.sleep)
    return Caller(
        world.install(
            limits={"number": ["100000/hour"]},
            purposes={"login": {"resend_delays": [0], "channels": ["sms", "voice"], "max_sends": 9}},
        )
    )


def _waited(shop: Caller) -> float:
    """Return for how many seconds somebody waited that would wait long."""
    began = time.monotonic()
    shop.context.store.outbox.wait(LONG)
    return time.monotonic() - began


def _is_quiet(shop: Caller, valkey: ValkeyServer) -> None:
    """Take everything that is there, and forget who was woken for it."""
    jobs_of(shop.context, "another", 1000)
    valkey.client.delete(WAKE)


def _start(shop: Caller) -> Callable[[], object]:
    return shop.start


def _pay(shop: Caller) -> Callable[[], object]:
    return lambda: shop.start(purpose="payment", transaction=PAYMENT)


def _resend(shop: Caller) -> Callable[[], object]:
    one = shop.start()
    return lambda: shop.resend(one)


def _fall_back(shop: Caller) -> Callable[[], object]:
    gateway = Scripted()
    shop.start()
    Sender(shop, sandbox=gateway).deliver()
    made, lost = gateway.sent[0].dispatch_id, Receipt(DeliveryStatus.UNDELIVERED, "UNDELIV")
    return lambda: record_receipt(shop.context, "sandbox", made, lost)


def _come_back(shop: Caller) -> Callable[[], object]:
    shop.start()
    (job,) = jobs_of(shop.context)
    where = dispatched(shop.context, job)
    return lambda: settle(shop.context, job, where, DispatchResult(NextStep.RETRY))


def _put_back(shop: Caller) -> Callable[[], object]:
    shop.start()
    Sender(shop, sandbox=Scripted(refused("rejected"))).deliver()
    letters = shop.context.store.dead_letters
    (letter,) = letters.newest(1)
    return lambda: letters.redrive(letter)


@pytest.mark.parametrize("prepare", [_start, _pay, _resend, _fall_back, _come_back, _put_back])
def test_whoever_waits_is_woken_by_a_message(
    shop: Caller, valkey: ValkeyServer, prepare: Callable[[Caller], Callable[[], object]]
) -> None:
    queue = prepare(shop)
    _is_quiet(shop, valkey)
    queue()

    assert _waited(shop) < AT_ONCE
    assert len(jobs_of(shop.context)) == 1


def test_a_worker_waits_no_longer_than_until_the_next_retry(shop: Caller, valkey: ValkeyServer) -> None:
    shop.start()
    (job,) = jobs_of(shop.context)
    settle(shop.context, job, dispatched(shop.context, job), DispatchResult(NextStep.RETRY, delay=LONG // 4))
    assert jobs_of(shop.context) == []
    valkey.client.delete(WAKE)

    assert 0.05 < _waited(shop) < AT_ONCE


def test_a_retry_after_another_wakes_nobody(shop: Caller, valkey: ValkeyServer) -> None:
    shop.start()
    shop.start()
    first, second = jobs_of(shop.context)
    for job, delay in ((first, 1000), (second, 2000)):
        valkey.client.delete(WAKE)
        settle(shop.context, job, dispatched(shop.context, job), DispatchResult(NextStep.RETRY, delay=delay))
        assert valkey.client.llen(WAKE) == (job is first)


def test_nobody_is_woken_by_nothing(shop: Caller, valkey: ValkeyServer) -> None:
    shop.start()
    _is_quiet(shop, valkey)
    jobs_of(shop.context)

    assert _waited(shop) > AT_ONCE


def test_many_messages_of_a_queue_wake_one(shop: Caller, valkey: ValkeyServer) -> None:
    """The first of them did, and who is woken takes all that he can."""
    for _ in range(50):
        shop.start()

    assert valkey.client.llen(WAKE) == 1


@pytest.mark.parametrize(("count", "left"), [(49, True), (51, False)])
def test_who_cannot_take_all_wakes_another(shop: Caller, valkey: ValkeyServer, count: int, left: bool) -> None:
    for _ in range(50):
        shop.start()
    valkey.client.delete(WAKE)
    jobs_of(shop.context, count=count)

    assert (valkey.client.llen(WAKE) > 0) == left


def test_a_message_that_comes_after_all_were_taken_wakes_again(shop: Caller, valkey: ValkeyServer) -> None:
    for _ in range(3):
        shop.start()
        _is_quiet(shop, valkey)
        shop.start()
        assert valkey.client.llen(WAKE) == 1


def test_calls_that_nobody_hears_do_not_add_up(shop: Caller, valkey: ValkeyServer) -> None:
    for _ in range(100):
        shop.start()
        jobs_of(shop.context)

    assert valkey.client.llen(WAKE) == 64
    assert 0 < valkey.client.pttl(WAKE) <= 60_000
