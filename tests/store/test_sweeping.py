"""What is forgotten by and by: queues that are empty, and workers that hold nothing. Nothing else, ever."""

import pytest
from support_caller import PAYMENT, Caller
from support_frozen import FrozenValkey
from support_outbox import BUCKET, deliver_all, dispatched, jobs_of, pending, queue, queues, settle

from otp_service.domain.verification import DeliveryStatus
from otp_service.services.context import Context
from otp_service.store import keys
from otp_service.store.outbox import CONSUMER_GROUP, DispatchResult, NextStep

SILENT = 3_600_000
"""Milliseconds."""


@pytest.fixture
def shop(frozen: FrozenValkey) -> Caller:
    return Caller(frozen.world().install(limits={"number": ["1000/hour"]}))


@pytest.fixture
def context(shop: Caller) -> Context:
    return shop.context


def _known(frozen: FrozenValkey) -> set[str]:
    return {name.decode() for name in frozen.client.hkeys(keys.queues(BUCKET))}


def _listed(frozen: FrozenValkey, which: str) -> set[str]:
    return {name.decode() for name in frozen.client.smembers(which)}


def _consumers(frozen: FrozenValkey, name: str) -> set[str]:
    return {one["name"].decode() for one in frozen.client.xinfo_consumers(name, CONSUMER_GROUP)}


def test_a_queue_that_is_empty_is_forgotten_with_all_that_names_it(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    shop.start()
    shop.start(purpose="payment", transaction=PAYMENT)
    deliver_all(context)
    assert len(queues(frozen.client)) == len(_known(frozen)) == 2
    context.store.outbox.sweep(SILENT)

    assert queues(frozen.client) == []
    assert not frozen.client.exists(keys.queues(BUCKET), keys.ready(BUCKET))


def test_a_queue_that_was_emptied_but_still_counts_as_ready_is_forgotten_altogether(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    """Otherwise it would come back without being on the list of those that may hold what dead workers had."""
    shop.start()
    (job,) = jobs_of(context, count=1)
    settle(context, job, dispatched(context, job), DispatchResult(NextStep.DONE, DeliveryStatus.SENT))
    assert _listed(frozen, keys.ready(BUCKET)) == {queue()}, "nobody has seen yet that it is empty"
    context.store.outbox.sweep(SILENT)
    assert not frozen.client.exists(keys.ready(BUCKET))
    one = shop.start()
    jobs_of(context, "dead")
    frozen.advance(60)

    assert [job.id for job in context.store.outbox.claim("heir", 9, 15_000)] == [one]


def test_a_queue_that_holds_a_message_stays_whether_or_not_anybody_has_it(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    shop.start()
    assert len(jobs_of(context)) == 1
    shop.start(channel="voice")
    shop.start(purpose="payment", transaction=PAYMENT)
    deliver_all(context)
    shop.start(channel="voice")
    frozen.advance(7200)
    context.store.outbox.sweep(SILENT)

    kept = {queue(), queue(channel="voice")}
    assert set(queues(frozen.client)) == _known(frozen) == kept
    assert _listed(frozen, keys.ready(BUCKET)) == {queue(channel="voice")}
    assert pending(frozen.client) == 1
    assert len(jobs_of(context)) == 1


def test_what_comes_after_its_queue_was_forgotten_is_delivered(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    shop.start()
    deliver_all(context)
    context.store.outbox.sweep(SILENT)
    one = shop.start()

    assert deliver_all(context) == 1
    assert [str(each.status) for each in shop.read(one).verification.deliveries] == ["sent"]


def test_what_rests_comes_back_into_a_queue_that_was_forgotten(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    one = shop.start()
    (job,) = jobs_of(context)
    settle(context, job, dispatched(context, job), DispatchResult(NextStep.RETRY, DeliveryStatus.FAILED, delay=1000))
    context.store.outbox.sweep(SILENT)
    assert queues(frozen.client) == []
    frozen.advance(1)

    assert [again.id for again in jobs_of(context)] == [one]


def test_the_door_of_a_queue_that_was_forgotten_is_open(frozen: FrozenValkey, shop: Caller, context: Context) -> None:
    shop.start()
    frozen.advance(299)
    deliver_all(context)
    context.store.outbox.sweep(SILENT)

    assert shop.start()


def test_a_worker_that_is_silent_is_forgotten_at_its_time_and_one_that_holds_something_is_not(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    shop.start()
    jobs_of(context, "holds")
    frozen.client.xgroup_createconsumer(queue(), CONSUMER_GROUP, "silent")
    frozen.advance(SILENT / 1000)
    frozen.client.xgroup_createconsumer(queue(), CONSUMER_GROUP, "fresh")
    context.store.outbox.sweep(SILENT)
    assert _consumers(frozen, queue()) == {"holds", "silent", "fresh"}
    frozen.advance(0.001)
    context.store.outbox.sweep(SILENT)

    assert _consumers(frozen, queue()) == {"holds", "fresh"}
    assert [job.id for job in context.store.outbox.claim("heir", 9, SILENT)] != []


def test_the_queues_of_all_buckets_are_swept(frozen: FrozenValkey) -> None:
    shop = Caller(frozen.world().install(keys={"buckets": 4}))
    for place in range(64):
        shop.start(f"+923001{place:02d}4567")
    assert len(queues(frozen.client)) == 4
    deliver_all(shop.context)
    shop.context.store.outbox.sweep(SILENT)

    assert queues(frozen.client) == []
    assert not list(frozen.client.scan_iter("otp:{*}:queues"))


def test_sweeping_an_empty_house_does_no_harm(frozen: FrozenValkey, context: Context) -> None:
    context.store.outbox.sweep(SILENT)

    assert not set(frozen.client.keys()) - {keys.server(BUCKET).encode()}


def test_a_queue_that_has_lost_its_group_stays_and_stops_nobody(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    shop.start()
    jobs_of(context)
    frozen.client.xgroup_destroy(queue(), CONSUMER_GROUP)
    context.store.outbox.sweep(SILENT)

    assert queues(frozen.client) == [queue()]
