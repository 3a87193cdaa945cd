"""What workers take and take over: whatever a queue is, as much as they have threads for, and nobody waits for ever."""

from collections import Counter
from typing import Any

import pytest
import redis
from support_caller import PAYMENT, Caller
from support_frozen import FrozenValkey
from support_outbox import BUCKET, deliver_all, jobs_of, pending, queue, waiting

from otp_service.services.context import Context
from otp_service.store import keys
from otp_service.store.outbox import CONSUMER_GROUP

STARTS = range(28)
"""Where the turns may begin: all that differ, with four queues of a kind at most."""
STRANGE = ["bulk", "consent_2", "x", "Retry"]
"""Kinds of queues that a later release may have."""


@pytest.fixture
def shop(frozen: FrozenValkey) -> Caller:
    return Caller(_install(frozen))


@pytest.fixture
def context(shop: Caller) -> Context:
    return shop.context


def _install(frozen: FrozenValkey, **sections: Any) -> Any:
    return frozen.world().install(limits={"number": ["100000/hour"], "application": [], "ip": []}, **sections)


def _list(client: redis.Redis, name: str) -> None:
    """Put a queue on both lists, as a job that is queued does."""
    client.hset(keys.queues(BUCKET), name, 1)
    client.sadd(keys.ready(BUCKET), name)


def _moved(client: redis.Redis, shop: Caller, kind: str) -> str:
    """Start a verification, and move its job to a queue of a kind."""
    one = shop.start()
    ((entry, fields),) = client.xrevrange(queue(), count=1)
    client.xdel(queue(), entry)
    client.xadd(queue(kind=kind), fields)
    _list(client, queue(kind=kind))
    return one


def _block(client: redis.Redis, application: str) -> str:
    """Put something that is no queue where one should be."""
    name = queue(application)
    client.set(name, "not a stream")
    _list(client, name)
    return name


# --- queues that this release does not know -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", STRANGE)
def test_a_job_in_a_queue_of_a_kind_that_this_release_does_not_know_is_delivered(
    frozen: FrozenValkey, shop: Caller, context: Context, kind: str
) -> None:
    one = _moved(frozen.client, shop, kind)
    assert deliver_all(context) == 1

    assert [str(each.status) for each in shop.read(one).verification.deliveries] == ["sent"]
    assert waiting(frozen.client) == 0


@pytest.mark.parametrize("start", STARTS)
def test_it_gets_the_turns_of_retries(
    frozen: FrozenValkey, shop: Caller, context: Context, monkeypatch: pytest.MonkeyPatch, start: int
) -> None:
    strange = {_moved(frozen.client, shop, "bulk") for _ in range(9)}
    for _ in range(9):
        shop.start()
        shop.start(purpose="payment", transaction=PAYMENT)
    monkeypatch.setattr("secrets.randbelow", lambda _: start)

    assert len(strange & {job.id for job in jobs_of(context, count=7)}) == 1


def test_it_is_taken_over_from_a_worker_that_died(frozen: FrozenValkey, shop: Caller, context: Context) -> None:
    one = _moved(frozen.client, shop, "bulk")
    jobs_of(context, "dead")
    frozen.advance(20)

    assert [job.id for job in context.store.outbox.claim("heir", 9, 15_000)] == [one]


# --- what is no queue ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", STARTS)
def test_a_key_of_another_type_in_the_way_costs_no_job(
    frozen: FrozenValkey, shop: Caller, context: Context, monkeypatch: pytest.MonkeyPatch, start: int
) -> None:
    """Neither those that were taken before it was met, nor those that come after it."""
    ids = [shop.start(), shop.start(purpose="payment", transaction=PAYMENT), shop.start(channel="voice")]
    for application in ("aaa", "sho", "zzz"):
        _block(frozen.client, application)
    monkeypatch.setattr("secrets.randbelow", lambda _: start)
    taken = jobs_of(context, count=9)

    assert sorted(job.id for job in taken) == sorted(ids)
    assert sum(pending(frozen.client, name) for name in {job.queue for job in taken}) == 3


def test_what_is_no_queue_is_asked_once(frozen: FrozenValkey, context: Context) -> None:
    name = _block(frozen.client, "aaa")
    jobs_of(context)

    assert not frozen.client.sismember(keys.ready(BUCKET), name)
    assert frozen.client.get(name) == b"not a stream", "and it is left alone: nobody knows whose it is"


def test_what_is_no_queue_keeps_nobody_from_taking_over(frozen: FrozenValkey, shop: Caller, context: Context) -> None:
    one = shop.start()
    jobs_of(context, "dead")
    for application in ("aaa", "zzz"):
        _block(frozen.client, application)
    frozen.advance(20)

    assert [job.id for job in context.store.outbox.claim("heir", 9, 15_000)] == [one]


# --- as many as there are threads for ----------------------------------------------------------------------------


@pytest.mark.parametrize("buckets", [1, 4])
@pytest.mark.parametrize("count", [1, 5, 12, 100])
def test_no_more_is_taken_than_asked_for_over_all_queues_and_buckets(
    frozen: FrozenValkey, buckets: int, count: int
) -> None:
    context = _full(frozen, buckets)
    taken = jobs_of(context, count=count)

    assert len(taken) == min(count, 48)
    assert _in_hands(frozen.client) == {b"worker": len(taken)}


@pytest.mark.parametrize("buckets", [1, 4])
@pytest.mark.parametrize("count", [1, 5, 12, 100])
def test_no_more_is_taken_over_than_asked_for_over_all_queues_and_buckets(
    frozen: FrozenValkey, buckets: int, count: int
) -> None:
    context = _full(frozen, buckets)
    held = {(job.queue, job.entry) for job in jobs_of(context, "dead")}
    frozen.advance(20)
    claimed = context.store.outbox.claim("heir", count, 15_000)

    assert len(claimed) == len({(job.queue, job.entry) for job in claimed} & held) == min(count, 48)
    assert _in_hands(frozen.client) == Counter({b"heir": len(claimed), b"dead": 48 - len(claimed)})
    assert not list(frozen.client.scan_iter("otp:{*}:ready")), "none of it is new"


def test_what_is_left_is_taken_over_by_who_comes_next(frozen: FrozenValkey) -> None:
    context = _full(frozen, 4)
    jobs_of(context, "dead")
    frozen.advance(20)
    claimed = [len(context.store.outbox.claim(f"heir-{place}", 20, 15_000)) for place in range(4)]

    assert claimed == [20, 20, 8, 0]


def test_one_that_died_is_found_behind_many_that_live(frozen: FrozenValkey) -> None:
    """However few jobs are asked for."""
    shop = Caller(_install(frozen))
    for _ in range(40):
        shop.start()
    jobs = jobs_of(shop.context, "alive")
    last = jobs.pop()
    frozen.advance(20)
    shop.context.store.outbox.renew("alive", jobs)

    assert [job.entry for job in shop.context.store.outbox.claim("heir", 1, 15_000)] == [last.entry]


def _full(frozen: FrozenValkey, buckets: int) -> Context:
    """Return an installation with 48 messages in queues of two kinds and two channels, in all its buckets."""
    roots = _install(frozen).settings.keys
    material = {
        "root": roots.root.get_secret_value(),
        "pseudonym": roots.pseudonym.get_secret_value(),
        "buckets": buckets,
    }
    shop = Caller(_install(frozen, keys=material))
    for place in range(16):
        number = f"+923001{place:02d}4567"
        shop.start(number)
        shop.start(number, channel="voice")
        shop.start(number, purpose="payment", transaction=PAYMENT)
    return shop.context


def _in_hands(client: redis.Redis) -> Counter[bytes]:
    """Return how many jobs each worker holds, over all queues."""
    held = Counter[bytes]()
    for name in client.scan_iter("otp:{*}:outbox:*"):
        for consumer in client.xinfo_consumers(name, CONSUMER_GROUP) if client.xinfo_groups(name) else ():
            held[consumer["name"]] += consumer["pending"]
    return +held


# --- nobody waits for ever ---------------------------------------------------------------------------------------


@pytest.fixture
def flooded(frozen: FrozenValkey) -> Context:
    """An application with a thousand messages in four queues, and another one with one message."""
    installation = _install(frozen)
    shop = Caller(installation)
    for place in range(1000):
        shop.start("+923001234567" if place % 2 else "+447400123456", channel="sms" if place % 4 < 2 else "voice")
    Caller(installation, "bank").start()
    return installation.context


def test_a_thousand_messages_in_many_queues_delay_anothers_by_one_round(
    frozen: FrozenValkey, flooded: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the turns begin: a queue that was served is behind all others."""
    places = set()
    for start in STARTS:
        monkeypatch.setattr("secrets.randbelow", lambda _, start=start: start)
        taken = [job.application for job in flooded.store.outbox.take(f"worker-{start}", 5)]
        places.add(taken.index("bank"))
        frozen.client.xgroup_destroy(queue("bank"), CONSUMER_GROUP)  # its message is new again
        _list(frozen.client, queue("bank"))

    assert max(places) <= 4
    assert len(places) > 1, "nor is it always the same one that waits longest"


def test_who_takes_one_at_a_time_comes_to_each_queue(flooded: Context) -> None:
    taken = Counter(flooded.store.outbox.take("worker", 1)[0].queue for _ in range(60))

    assert len(taken) == 4 + 1
