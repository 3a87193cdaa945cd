"""Streams that nobody reads stay bounded, by length and by age, and are never lost with their groups."""

from dataclasses import replace

import pytest
from support_caller import Caller
from support_evaluator import snapshot
from support_frozen import FrozenValkey

from otp_service.bootstrap import Installation
from otp_service.core.errors import BacklogFullError
from otp_service.core.keyring import new_dispatch_id
from otp_service.store.outbox import GROUP, Dropped, Next, Settlement
from otp_service.store.retention import Retention
from otp_service.store.store import open_store

OUTBOX, EVENTS, DEAD = "otp:{00}:outbox", "otp:{00}:events", "otp:{00}:dead"
OTHER = "+923007654321"
NODE = 100
"""Entries that the server trims together, by default: what `about` means in a length."""
DAY = 24 * 3600


def _install(frozen: FrozenValkey, kept: Retention) -> Installation:
    made = frozen.world().install(
        limits={"number": ["100000/hour"], "failed_checks": ["100000/hour"], "application": []},
        purposes={"login": {"max_checks": 10, "resend_delays": [0], "max_sends": 10}},
    )
    store = open_store(frozen.client, made.context.keyring, made.context.limits, kept)
    return replace(made, context=replace(made.context, store=store))


def _many(shop: Caller, count: int) -> None:
    for _ in range(count):
        shop.start()


def test_streams_that_nobody_reads_are_bounded_by_length(frozen: FrozenValkey) -> None:
    shop, client = Caller(_install(frozen, Retention(age=7 * DAY, outbox=500, events=150))), frozen.client
    _many(shop, 500)
    before = snapshot(client)
    for retry in (None, shop.retry("key", "start")):
        with pytest.raises(BacklogFullError):
            shop.start(OTHER, retry)

    assert snapshot(client) == before, "what would not be delivered is refused, and costs nothing"
    assert client.xlen(OUTBOX) == 500
    assert 150 <= client.xlen(EVENTS) <= 150 + NODE
    newest = client.xrevrange(OUTBOX, count=1)[0][1]
    assert newest[b"id"] == client.xrevrange(EVENTS, count=1)[0][1][b"id"], "the oldest events go, not the newest"


def test_a_backlog_refuses_resends_too_and_answers_what_was_asked_before(frozen: FrozenValkey) -> None:
    shop = Caller(_install(frozen, Retention(age=7 * DAY, outbox=2, events=1000)))
    one, _ = shop.start(retry=shop.retry("key", "start")), shop.start()
    before = snapshot(frozen.client)
    with pytest.raises(BacklogFullError):
        shop.resend(one, shop.retry("another", "resend"))

    assert snapshot(frozen.client) == before
    assert shop.start(retry=shop.retry("key", "start")) == one
    assert shop.check(one, shop.code(one))[1]


@pytest.mark.parametrize("how", ["start", "resend"])
def test_streams_that_nobody_reads_are_bounded_by_age(frozen: FrozenValkey, how: str) -> None:
    shop = Caller(_install(frozen, Retention(age=7 * DAY, outbox=100_000, events=100_000)))
    _many(shop, 450)
    frozen.advance(8 * DAY)
    one = shop.start()
    if how == "resend":
        shop.resend(one)

    assert frozen.client.xlen(OUTBOX) <= NODE + 2
    assert frozen.client.xlen(EVENTS) <= NODE + 2


def test_what_is_young_enough_is_kept(frozen: FrozenValkey) -> None:
    shop = Caller(_install(frozen, Retention(age=7 * DAY, outbox=100_000, events=100_000)))
    _many(shop, 250)
    frozen.advance(6 * DAY)
    shop.start()

    assert frozen.client.xlen(OUTBOX) == 251
    assert frozen.client.xlen(EVENTS) == 251


@pytest.mark.parametrize("limit", ["length", "age"])
def test_checks_that_go_on_for_ever_do_not_fill_the_events(frozen: FrozenValkey, limit: str) -> None:
    shop = Caller(_install(frozen, Retention(age=7 * DAY, outbox=100_000, events=50 if limit == "length" else 100_000)))
    for _ in range(40):
        one = shop.start()
        wrong = shop.wrong(one)
        for _ in range(9):
            shop.check(one, wrong)
        shop.cancel(one)
    if limit == "age":
        assert frozen.client.xlen(EVENTS) == 440
        frozen.advance(8 * DAY)
        one = shop.start()
        shop.check(one, shop.wrong(one))

    assert frozen.client.xlen(EVENTS) <= 50 + NODE


def test_dead_letters_are_bounded_and_go_away(frozen: FrozenValkey) -> None:
    installation = _install(frozen, Retention(age=7 * DAY, outbox=100_000, events=60))
    shop, outbox = Caller(installation), installation.context.store.outbox
    _many(shop, 300)
    jobs = outbox.read("worker", 300, 1) or outbox.read("worker", 300, 1)
    for job in jobs:
        outbox.settle(job, outbox.dispatch(job, new_dispatch_id("00"), ("sandbox",), 5), Settlement(Next.DEAD))

    assert len(jobs) == 300
    assert 60 <= frozen.client.xlen(DEAD) <= 60 + NODE
    assert 60 <= frozen.client.xlen(EVENTS) <= 60 + NODE
    frozen.advance(7 * DAY + 1)
    assert not frozen.client.exists(DEAD)


def test_retries_that_come_back_push_out_nothing_that_was_accepted(frozen: FrozenValkey) -> None:
    installation = _install(frozen, Retention(age=7 * DAY, outbox=150, events=1000))
    shop, outbox = Caller(installation), installation.context.store.outbox
    _many(shop, 150)
    jobs = outbox.read("worker", 150, 1) or outbox.read("worker", 150, 1)
    for job in jobs:
        outbox.settle(job, Dropped("gone"), Settlement(Next.RETRY, delay=1000))
    _many(shop, 150)
    frozen.advance(2)
    outbox.requeue(150)

    assert frozen.client.xlen(OUTBOX) == 300


def test_a_group_outlives_a_year_without_traffic(frozen: FrozenValkey) -> None:
    installation = _install(frozen, Retention(age=7 * DAY, outbox=1000, events=1000))
    shop, outbox = Caller(installation), installation.context.store.outbox
    shop.start()
    assert len(outbox.read("worker", 1, 1) or outbox.read("worker", 1, 1)) == 1
    frozen.advance(365 * DAY)
    one = shop.start()

    assert [group["name"] for group in frozen.client.xinfo_groups(OUTBOX)] == [GROUP.encode()]
    assert [job.id for job in outbox.read("worker", 10, 1)] == [one]
