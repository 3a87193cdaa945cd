"""Streams that nobody reads stay bounded, by length and by age, and are never lost with their groups."""

from dataclasses import replace

import pytest
import redis
from support_caller import Caller
from support_evaluator import snapshot
from support_frozen import FrozenValkey
from support_installation import QUIET
from support_outbox import DEAD, EVENTS, dispatched, jobs_of, next_retry, queue, requeue, settle, waiting

from otp_service.bootstrap import Installation
from otp_service.errors import BacklogFullError, LedgerUnavailableError
from otp_service.services.context import Context
from otp_service.store.outbox import CONSUMER_GROUP, DispatchResult, Dropped, NextStep
from otp_service.store.script_runner import ScriptRunner
from otp_service.store.store import open_store
from otp_service.store.streams import StreamLimits

OTHER = "+923007654321"
NODE = 100
"""Entries that the server trims together, by default: what `about` means in a length."""
DAY = 24 * 3600
HOUR = 3_600_000
"""Milliseconds."""


def _install(frozen: FrozenValkey, kept: StreamLimits) -> Installation:
    made = frozen.world().install(
        limits={"number": ["100000/hour"], "failed_checks": ["100000/hour"], "application": []},
        guard={"modes": {**QUIET, "number.lock": "off"}},
        purposes={"login": {"max_checks": 10, "resend_delays": [0], "max_sends": 10}},
    )
    breaker = made.settings.breaker.thresholds
    scripts = ScriptRunner(frozen.client)
    context = made.context
    store = open_store(frozen.client, scripts, context.keyring, context.limits, context.rulesets, kept, breaker)
    return replace(made, context=replace(context, store=store))


def _many(shop: Caller, count: int) -> None:
    for _ in range(count):
        shop.start()


def test_streams_that_nobody_reads_are_bounded_by_length(frozen: FrozenValkey) -> None:
    shop, client = Caller(_install(frozen, StreamLimits(age=7 * DAY, outbox=500, events=500))), frozen.client
    _many(shop, 500)
    before = snapshot(client)
    for retry in (None, shop.retry("key", "start")):
        with pytest.raises(BacklogFullError):
            shop.start(OTHER, retry)

    assert snapshot(client) == before, "what would not be delivered is refused, and costs nothing"
    assert waiting(client) == 500
    assert client.xlen(EVENTS) == 500, "they go when they are recorded, and not before"


def test_events_that_nobody_records_end_what_is_accepted(frozen: FrozenValkey) -> None:
    shop, client = Caller(_install(frozen, StreamLimits(age=7 * DAY, outbox=500, events=100))), frozen.client
    one = shop.start()
    _many(shop, 199)
    before = snapshot(client)
    with pytest.raises(LedgerUnavailableError):
        shop.start(OTHER)
    with pytest.raises(LedgerUnavailableError):
        shop.resend(one)

    assert snapshot(client) == before


def test_a_backlog_refuses_resends_too_and_answers_what_was_asked_before(frozen: FrozenValkey) -> None:
    shop = Caller(_install(frozen, StreamLimits(age=7 * DAY, outbox=2, events=1000)))
    one, _ = shop.start(retry=shop.retry("key", "start")), shop.start()
    before = snapshot(frozen.client)
    with pytest.raises(BacklogFullError):
        shop.resend(one, shop.retry("another", "resend"))

    assert snapshot(frozen.client) == before
    assert shop.start(retry=shop.retry("key", "start")) == one
    assert shop.check(one, shop.code(one))[1]


def _take_all(client: redis.Redis, context: Context, following: NextStep = NextStep.DONE) -> None:
    """Take what is new, and let it end or be tried again, in silence."""
    for job in jobs_of(context, count=1000):
        settle(context, job, Dropped("gone"), DispatchResult(following))
    while next_retry(client) is not None:
        requeue(context)


def _put_one_more_into_the_lane_of_retries(shop: Caller) -> None:
    one = shop.start()
    (newest,) = [job for job in jobs_of(shop.context, count=1000) if job.id == one]
    settle(shop.context, newest, Dropped("gone"), DispatchResult(NextStep.RETRY))
    requeue(shop.context)


def test_a_queue_that_nobody_reads_is_bounded_by_age(frozen: FrozenValkey) -> None:
    shop = Caller(_install(frozen, StreamLimits(age=7 * DAY, outbox=100_000, events=100_000)))
    _many(shop, 450)
    _take_all(frozen.client, shop.context, NextStep.RETRY)
    assert frozen.client.xlen(queue(kind="retry")) == 450
    frozen.advance(8 * DAY)
    _put_one_more_into_the_lane_of_retries(shop)
    shop.context.store.outbox.sweep(HOUR)

    assert 0 < frozen.client.xlen(queue(kind="retry")) <= NODE + 1


def test_what_is_young_enough_is_kept(frozen: FrozenValkey) -> None:
    shop = Caller(_install(frozen, StreamLimits(age=7 * DAY, outbox=100_000, events=100_000)))
    _many(shop, 250)
    _take_all(frozen.client, shop.context, NextStep.RETRY)
    frozen.advance(6 * DAY)
    _put_one_more_into_the_lane_of_retries(shop)
    shop.context.store.outbox.sweep(HOUR)

    assert frozen.client.xlen(EVENTS) == 251
    assert frozen.client.xlen(queue(kind="retry")) == 251


def _give_up(shop: Caller, count: int) -> None:
    _many(shop, count)
    for job in jobs_of(shop.context, count=count):
        settle(shop.context, job, dispatched(shop.context, job), DispatchResult(NextStep.DEAD))


def test_dead_letters_are_bounded_and_go_away(frozen: FrozenValkey) -> None:
    shop = Caller(_install(frozen, StreamLimits(age=7 * DAY, outbox=100_000, events=200)))
    _give_up(shop, 390)
    assert 200 <= frozen.client.xlen(DEAD) <= 200 + NODE
    frozen.advance(7 * DAY + 1)

    assert not frozen.client.exists(DEAD)


def test_dead_letters_go_when_they_are_too_old_though_others_come(frozen: FrozenValkey) -> None:
    shop = Caller(_install(frozen, StreamLimits(age=7 * DAY, outbox=100_000, events=500)))
    _give_up(shop, 250)
    frozen.advance(6 * DAY)
    _give_up(shop, 1)
    assert frozen.client.xlen(DEAD) == 251
    frozen.advance(2 * DAY)
    _give_up(shop, 1)

    assert 2 <= frozen.client.xlen(DEAD) <= 2 + NODE


def test_retries_that_come_back_push_out_nothing_that_was_accepted(frozen: FrozenValkey) -> None:
    installation = _install(frozen, StreamLimits(age=7 * DAY, outbox=150, events=1000))
    shop, context = Caller(installation), installation.context
    _many(shop, 150)
    jobs = jobs_of(context, count=150)
    for job in jobs:
        settle(context, job, Dropped("gone"), DispatchResult(NextStep.RETRY, delay=1000))
    _many(shop, 150)
    frozen.advance(2)
    requeue(context)
    requeue(context)

    assert waiting(frozen.client) == 300


def test_a_group_outlives_a_year_without_traffic(frozen: FrozenValkey) -> None:
    installation = _install(frozen, StreamLimits(age=7 * DAY, outbox=1000, events=1000))
    shop, context = Caller(installation), installation.context
    shop.start()
    (job,) = jobs_of(context)
    settle(context, job, dispatched(context, job), DispatchResult(NextStep.DONE))
    frozen.advance(365 * DAY)
    one = shop.start()

    assert [group["name"] for group in frozen.client.xinfo_groups(queue())] == [CONSUMER_GROUP.encode()]
    assert [job.id for job in jobs_of(context)] == [one]
