"""The outbox: nothing accepted is lost, nothing unwanted goes out, every outcome is written once and in order."""

from dataclasses import replace
from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_installation import NUMBER
from support_keys import assert_all_keys_expire
from support_outbox import (
    BUCKET,
    DEAD,
    DELAYED,
    EVENTS,
    POLICY,
    dispatch,
    dispatched,
    events,
    jobs_of,
    pending,
    queue,
    report,
    requeue,
    settle,
    story,
    waiting,
)  # fmt: skip
from support_records import entries_of

from otp_service.bootstrap import Installation
from otp_service.domain.keyring import new_dispatch_id
from otp_service.domain.verification import DeliveryStatus
from otp_service.services.context import Context
from otp_service.services.delivery import deliver
from otp_service.store.outbox import (
    CONSUMER_GROUP,
    DispatchResult,
    Dropped,
    FinishResult,
    NextStep,
)
from otp_service.store.signatures.outbox import LeaseLost

DONE = DispatchResult(NextStep.DONE, DeliveryStatus.SENT, reference="SM1")


@pytest.fixture
def installation(frozen: FrozenValkey) -> Installation:
    return frozen.world().install(
        limits={"number": ["1000/hour"]},
        purposes={"login": {"resend": "new_code", "resend_delays": [0], "channels": ["sms", "voice"]}},
    )


@pytest.fixture
def context(installation: Installation) -> Context:
    return installation.context


@pytest.fixture
def shop(installation: Installation) -> Caller:
    return Caller(installation)


def test_what_was_queued_before_there_was_a_worker_is_delivered(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    ids = [shop.start(), shop.start()]

    assert [job.id for job in jobs_of(context)] == ids
    assert jobs_of(context) == []


def test_a_job_says_what_is_to_be_delivered_and_nothing_personal(shop: Caller, context: Context) -> None:
    one = shop.start(channel="voice")
    shop.resend(one)
    first, second = jobs_of(context)

    assert (first.id, first.application, first.purpose, first.country) == (one, "shop", "login", "PK")
    assert (first.channel, first.message, first.generation) == ("voice", 1, 0)
    assert (second.channel, second.message, second.generation) == ("voice", 2, 1)
    assert first.expires == second.expires == shop.read(one).verification.expires
    assert NUMBER[-7:] not in str(first)


@pytest.mark.parametrize("call", ["claim", "start"])
def test_a_group_that_is_lost_is_made_again_and_begins_with_what_is_left(
    frozen: FrozenValkey, shop: Caller, context: Context, call: str
) -> None:
    """The next worker that looks after dead ones notices, or the next one that takes what comes."""
    ids = [shop.start(), shop.start(), shop.start()]
    done, *_ = jobs_of(context)
    settle(context, done, dispatched(context, done), DONE)
    frozen.client.xgroup_destroy(queue(), "workers")
    if call == "claim":
        assert context.store.outbox.claim("worker", 10, 0) == []
    else:
        ids.append(shop.start())

    assert [job.id for job in jobs_of(context)] == ids[1:]
    assert jobs_of(context) == []


def test_a_stream_that_is_lost_altogether_is_made_again(frozen: FrozenValkey, shop: Caller, context: Context) -> None:
    shop.start()
    jobs_of(context)
    frozen.client.flushall()
    context.mirror_sync.refresh()
    one = shop.start()

    assert [job.id for job in jobs_of(context)] == [one]


def test_a_delivered_message_leaves_nothing_in_the_outbox(frozen: FrozenValkey, shop: Caller, context: Context) -> None:
    one = shop.start()
    (job,) = jobs_of(context)
    made = dispatched(context, job)
    assert story(shop, one) == [(1, 1, "first", "queued", None)]
    settle(context, job, made, DONE)

    assert story(shop, one) == [(1, 1, "first", "sent", None)]
    assert waiting(frozen.client) == 0
    assert pending(frozen.client) == 0
    (delivery,) = shop.read(one).verification.deliveries
    assert (delivery.reference, delivery.choice, delivery.raw_status) == ("SM1", "configured", None)


def test_another_dispatch_that_follows_at_once_keeps_the_job(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    one = shop.start()
    (job,) = jobs_of(context)
    failed = DispatchResult(NextStep.NEXT, DeliveryStatus.FAILED, reason="unavailable 500")
    settle(context, job, dispatched(context, job), failed)
    assert waiting(frozen.client) == 1
    assert pending(frozen.client) == 1
    settle(context, job, dispatched(context, job), DONE)

    assert story(shop, one) == [(1, 1, "first", "failed", "unavailable 500"), (1, 2, "second", "sent", None)]


def test_dispatches_go_round_the_gateways_and_end(shop: Caller, context: Context) -> None:
    shop.start()
    (job,) = jobs_of(context)
    assert [dispatched(context, job).gateway for _ in range(3)] == ["first", "second", "first"]

    assert dispatch(context, job, max_ambiguous=2) == Dropped("too_many_ambiguous")


def test_each_message_of_a_verification_has_dispatches_of_its_own(shop: Caller, context: Context) -> None:
    one = shop.start()
    first = jobs_of(context)[0]
    dispatched(context, first)
    shop.resend(one, channel="voice")
    (second,) = jobs_of(context)

    assert (dispatched(context, second).number, second.message, second.channel) == (1, 2, "voice")
    assert [(each[0], each[2]) for each in story(shop, one)] == [(1, "first"), (2, "first")]
    assert [each.channel for each in shop.read(one).verification.deliveries] == ["sms", "voice"]


def test_a_dispatch_that_a_dead_worker_left_open_is_told_as_unknown(shop: Caller, context: Context) -> None:
    one = shop.start()
    (job,) = jobs_of(context)
    dispatched(context, job)
    dispatched(context, job)

    assert story(shop, one) == [(1, 1, "first", "unknown", "interrupted"), (1, 2, "second", "queued", None)]


def _approve(shop: Caller, one: str) -> None:
    assert shop.check(one, shop.code(one))[1]


def _exhaust(shop: Caller, one: str) -> None:
    for _ in range(5):
        shop.check(one, shop.wrong(one))


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (_approve, "approved"),
        (_exhaust, "max_attempts_reached"),
        (lambda shop, one: shop.cancel(one), "canceled"),
        (lambda shop, one: shop.resend(one), "superseded"),
    ],
)
def test_a_message_that_is_no_longer_wanted_is_dropped(shop: Caller, context: Context, end: Any, reason: str) -> None:
    one = shop.start()
    (job,) = jobs_of(context)
    end(shop, one)

    assert dispatch(context, job) == Dropped(reason, job.first_slot)
    assert not any(each[2] for each in story(shop, one))


def test_a_message_that_was_dropped_tells_when_it_was_queued(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    one = shop.start()
    queued = frozen.now
    (job,) = jobs_of(context)
    frozen.advance(10)
    shop.cancel(one)
    dropped = dispatch(context, job)
    assert isinstance(dropped, Dropped)
    settle(context, job, dropped, DispatchResult(NextStep.DONE, reason=dropped.reason))

    (delivery,) = shop.read(one).verification.deliveries
    assert (delivery.status, delivery.at, delivery.begun) == ("failed", frozen.now, queued)


def test_a_further_message_that_was_dropped_tells_when_it_was_queued(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    one = shop.start()
    frozen.advance(60)
    shop.resend(one)
    queued = frozen.now
    *_, job = jobs_of(context)
    frozen.advance(10)
    shop.cancel(one)
    dropped = dispatch(context, job)
    settle(context, job, dropped, DispatchResult(NextStep.DONE, reason=dropped.reason))

    *_, delivery = shop.read(one).verification.deliveries
    assert (delivery.message, delivery.at, delivery.begun) == (2, frozen.now, queued)


def test_a_message_whose_code_has_expired_is_never_sent_late(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    shop.start()
    (job,) = jobs_of(context)
    frozen.advance(299.999)
    dispatched(context, job)
    frozen.advance(0.001)
    assert dispatch(context, job) == Dropped("expired")
    frozen.advance(600.001)

    assert dispatch(context, job) == Dropped("gone")


def test_another_applications_job_does_not_find_the_record(shop: Caller, context: Context) -> None:
    shop.start()
    (job,) = jobs_of(context)

    assert dispatch(context, replace(job, application="bank")) == Dropped("gone")


@pytest.mark.parametrize(
    ("before", "told", "after"),
    [
        ("sent", "delivered", "delivered"),
        ("sent", "undelivered", "undelivered"),
        ("unknown", "sent", "sent"),
        ("unknown", "delivered", "delivered"),
        ("sent", "unknown", "sent"),
        ("sent", "queued", "sent"),
        ("delivered", "sent", "delivered"),
        ("delivered", "failed", "delivered"),
        ("failed", "delivered", "delivered"),
        ("failed", "sent", "failed"),
        ("failed", "undelivered", "failed"),
        ("expired", "sent", "expired"),
        ("undelivered", "delivered", "undelivered"),
    ],
)
def test_a_report_moves_a_delivery_forward_only(
    frozen: FrozenValkey, shop: Caller, context: Context, before: str, told: str, after: str
) -> None:
    one = shop.start()
    (job,) = jobs_of(context)
    made = dispatched(context, job)
    settle(context, job, made, DispatchResult(NextStep.DONE, DeliveryStatus(before)))
    before_it = len(events(frozen.client))

    assert report(context, made, told, reason="why")
    assert story(shop, one)[0][3:] == (after, None if before == after else "why")
    assert events(frozen.client)[before_it:] == ([] if before == after else [f"delivery.{after}"])


def test_a_report_tells_that_the_money_came_back(frozen: FrozenValkey, shop: Caller, context: Context) -> None:
    for refunded in (True, False):
        shop.start()
        (job,) = jobs_of(context)
        made = dispatched(context, job)
        settle(context, job, made, DispatchResult(NextStep.DONE, DeliveryStatus.SENT, cost=5))
        store = context.store.dispatches
        store.report(BUCKET, made.dispatch_id, "first", DeliveryStatus.UNDELIVERED, "", "", refunded=refunded)

    told = [one.get("cost") for one in entries_of(frozen.client, EVENTS) if one["type"].startswith("delivery.")]
    assert told == ["5", "0", "5", None]


def test_what_a_report_said_to_have_failed_is_not_delivered_later(shop: Caller, context: Context) -> None:
    """Only what a gateway's answer made us take for failed may turn out to have arrived."""
    one = shop.start()
    (job,) = jobs_of(context)
    made = dispatched(context, job)
    report(context, made, "failed", raw="REJECTD")
    report(context, made, "delivered", raw="DELIVRD")

    assert story(shop, one)[0][3] == "failed"
    assert shop.read(one).verification.deliveries[0].raw_status == "REJECTD"


def test_a_report_that_overtakes_the_answer_is_not_overwritten(shop: Caller, context: Context) -> None:
    one = shop.start()
    (job,) = jobs_of(context)
    made = dispatched(context, job)
    report(context, made, "delivered")
    settle(context, job, made, DONE)

    assert story(shop, one) == [(1, 1, "first", "delivered", None)]


def test_only_the_gateway_that_was_called_may_report(shop: Caller, context: Context) -> None:
    one = shop.start()
    (job,) = jobs_of(context)
    made = dispatched(context, job)

    assert not report(context, made, "delivered", gateway="second")
    assert not report(context, replace(made, dispatch_id=new_dispatch_id("00")), "delivered")
    assert story(shop, one) == [(1, 1, "first", "queued", None)]


def test_a_report_approves_nothing(shop: Caller, context: Context) -> None:
    one = shop.start()
    (job,) = jobs_of(context)
    report(context, dispatched(context, job), "delivered")

    assert shop.read(one).verification.status == "pending"
    assert shop.check(one, shop.code(one))[1]


def test_a_retry_waits_for_its_time_and_is_the_same_job(frozen: FrozenValkey, shop: Caller, context: Context) -> None:
    shop.start()
    (job,) = jobs_of(context)
    failed = DispatchResult(NextStep.RETRY, DeliveryStatus.FAILED, reason="unavailable 500", delay=5000)
    settle(context, job, dispatched(context, job), failed)
    assert waiting(frozen.client) == 0
    frozen.advance(4.999)
    assert jobs_of(context) == []
    frozen.advance(0.001)
    (again,) = jobs_of(context)

    assert again.queue == queue(kind="retry")
    assert replace(again, queue=job.queue, entry=job.entry) == job
    assert frozen.client.zcard(DELAYED) == 0
    assert dispatched(context, again).number == 2


def test_retries_come_back_in_bounded_steps(frozen: FrozenValkey, shop: Caller, context: Context) -> None:
    for _ in range(130):
        shop.start()
    for job in jobs_of(context, count=130):
        settle(context, job, dispatched(context, job), DispatchResult(NextStep.RETRY, delay=1000))
    frozen.advance(1)
    moved = []
    for _ in range(2):
        requeue(context)
        moved.append((waiting(frozen.client), frozen.client.zcard(DELAYED)))

    assert moved == [(100, 30), (130, 0)]


def test_a_retry_does_not_come_back_with_an_earlier_one(frozen: FrozenValkey, shop: Caller, context: Context) -> None:
    ids = [shop.start(), shop.start()]
    for job, delay in zip(jobs_of(context), (1000, 1001), strict=True):
        settle(context, job, dispatched(context, job), DispatchResult(NextStep.RETRY, delay=delay))
    frozen.advance(1)

    assert [job.id for job in jobs_of(context)] == ids[:1]


def test_a_message_that_is_given_up_is_kept_with_its_reason_and_reported(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    one = shop.start()
    (job,) = jobs_of(context)
    settle(
        context,
        job,
        dispatched(context, job),
        DispatchResult(NextStep.DEAD, DeliveryStatus.FAILED, reason="destination 21211"),
    )
    ((_, letter),) = frozen.client.xrange(DEAD)

    assert (letter[b"reason"], letter[b"id"]) == (b"destination 21211", one.encode())
    assert events(frozen.client)[-1] == "message.given_up"
    assert story(shop, one) == [(1, 1, "first", "failed", "destination 21211")]
    assert shop.read(one).verification.status == "pending"
    assert waiting(frozen.client) == 0
    assert frozen.client.pttl(DEAD) > 0


def test_what_a_dead_worker_held_is_claimed_and_what_a_live_one_holds_is_not(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    held, other = shop.start(), shop.start()
    jobs = {job.id: job for job in jobs_of(context, "old")}
    frozen.advance(20)
    context.store.outbox.renew("old", [jobs[held]])
    assert [job.id for job in context.store.outbox.claim("new", 10, 15_000)] == [other]
    frozen.advance(14.9)
    assert context.store.outbox.claim("newer", 10, 15_000) == []
    frozen.advance(0.1)

    assert {job.id for job in context.store.outbox.claim("newer", 10, 15_000)} == {held, other}


def test_a_claimed_job_that_was_trimmed_meanwhile_is_forgotten(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    shop.start()
    (job,) = jobs_of(context, "old")
    frozen.client.xdel(queue(), job.entry)
    frozen.advance(20)

    assert context.store.outbox.claim("new", 10, 1000) == []


@pytest.mark.parametrize("buckets", [1, 4, 256])
def test_numbers_of_all_buckets_are_started_delivered_and_checked(frozen: FrozenValkey, buckets: int) -> None:
    roots = frozen.world().install(limits={"number": ["9/hour"]}).settings.keys
    keys = {"root": roots.root.get_secret_value(), "pseudonym": roots.pseudonym.get_secret_value(), "buckets": buckets}
    installation = frozen.world().install(keys=keys, purposes={"login": {"resend_delays": [0]}})
    shop, context = Caller(installation), installation.context
    ids = {shop.start(f"+923001{place:02d}4{place + 500:03d}"): place for place in range(24)}
    shop.resend(next(iter(ids)))
    jobs = jobs_of(context)
    for job in jobs:
        assert job.bucket == context.keyring.bucket_of_id(job.id)
        deliver(context, job, POLICY)
    used = {job.bucket for job in jobs}

    assert len(jobs) == 25
    assert used <= set(context.keyring.buckets)
    assert len(used) >= min(buckets, 4)
    for one, place in ids.items():
        (newest, *_) = context.store.mailbox.messages("shop", one)
        assert newest.to.endswith(f"{place + 500:03d}")
        code = shop.code(one)
        assert code in newest.text
        assert shop.check(one, code)[1]
    assert waiting(frozen.client) == 0
    assert_all_keys_expire(frozen.client)


@pytest.mark.parametrize(
    "fields",
    [
        {"v": "2", "id": "vf_1", "something": "new"},
        {"v": "1", "id": "vf_1"},
        {"v": "1", "id": "vf_1", "application": "shop", "purpose": "login", "country": "PK", "channel": "sms",
         "message": "one", "generation": "0", "expires": "1"},
        {"garbage": "garbage"},
    ],
)  # fmt: skip
def test_a_job_that_cannot_be_read_goes_to_the_dead_letters_and_stops_nobody(
    frozen: FrozenValkey, shop: Caller, context: Context, fields: dict[str, str]
) -> None:
    frozen.client.xadd(queue(), fields)
    one = shop.start()

    assert [job.id for job in jobs_of(context)] == [one]
    ((_, letter),) = frozen.client.xrange(DEAD)
    assert letter == {b"reason": b"unreadable", **{name.encode(): value.encode() for name, value in fields.items()}}
    assert waiting(frozen.client) == 1


def test_a_job_with_one_field_more_is_read(frozen: FrozenValkey, shop: Caller, context: Context) -> None:
    one = shop.start()
    ((entry, fields),) = frozen.client.xrange(queue())
    frozen.client.xdel(queue(), entry)
    frozen.client.xadd(queue(), {**fields, "later": "more"})

    assert [job.id for job in jobs_of(context)] == [one]


def test_a_record_with_more_than_this_release_knows_is_read_and_kept(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    one = shop.start()
    (job,) = jobs_of(context)
    made = dispatched(context, job)
    slot = "sms|first|queued|1|again|configured|1|raw|SM1|more"
    frozen.client.hset(f"otp:{{00}}:v:{one}", mapping={"later": "more", "d1.1": slot})
    settle(context, job, made, DispatchResult(NextStep.DONE, DeliveryStatus.SENT, reason="now"))

    assert story(shop, one) == [(1, 1, "first", "sent", "now")]
    assert frozen.client.hget(f"otp:{{00}}:v:{one}", "d1.1").endswith(b"|now|configured|1|raw|SM1|more")


def test_a_worker_that_was_overtaken_tells_the_outcome_and_decides_nothing(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    one = shop.start()
    (job,) = jobs_of(context, "slow")
    slow = dispatched(context, job)
    frozen.advance(60)
    (taken,) = context.store.outbox.claim("other", 1, 15_000)
    other = dispatched(context, taken)
    late = DispatchResult(NextStep.RETRY, DeliveryStatus.FAILED, reason="late", delay=1)

    assert settle(context, job, slow, late) is FinishResult.LEASE_LOST
    assert waiting(frozen.client) == 1
    assert frozen.client.exists(DELAYED) == 0
    assert settle(context, taken, other, DONE) is FinishResult.FINISHED
    assert [status for _, _, _, status, _ in story(shop, one)] == ["failed", "sent"]
    assert waiting(frozen.client) == 0


def test_a_worker_that_was_overtaken_makes_no_call_and_records_none(shop: Caller, context: Context) -> None:
    one = shop.start()
    (job,) = jobs_of(context, "slow")
    (taken,) = context.store.outbox.claim("other", 1, 0)
    before = story(shop, one)

    assert isinstance(dispatch(context, job), LeaseLost)
    assert story(shop, one) == before
    assert context.store.dispatches.finish(job, "", DispatchResult(NextStep.DEAD)) is FinishResult.LEASE_LOST
    assert settle(context, taken, dispatched(context, taken), DONE) is FinishResult.FINISHED
    assert isinstance(dispatch(context, job), LeaseLost), "it was brought to an end meanwhile"


@pytest.mark.parametrize("act", ["renew", "requeue_job"])
def test_a_worker_that_was_overtaken_takes_nothing_back(
    frozen: FrozenValkey, shop: Caller, context: Context, act: str
) -> None:
    """Otherwise a worker that was away would send what another one is just sending."""
    ids = [shop.start(), shop.start()]
    jobs = jobs_of(context, "slow")
    frozen.advance(20)
    context.store.outbox.renew("slow", jobs[1:])
    (taken,) = context.store.outbox.claim("other", 2, 15_000)
    call = dispatched(context, taken)
    frozen.advance(10)
    getattr(context.store.outbox, act)("slow", jobs)

    assert taken.id == ids[0]
    assert isinstance(dispatch(context, jobs[0]), LeaseLost)
    left = [job.id for job in context.store.outbox.claim("third", 2, 15_000)]
    assert left == {"renew": [], "requeue_job": ids[1:]}[act]
    assert settle(context, taken, call, DONE) is FinishResult.FINISHED
    assert [each[2:4] for each in story(shop, ids[0])] == [("first", "sent")]


def test_what_is_renewed_where_nothing_is_left_stops_nobody(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    """The server was emptied, or another worker brought the job to an end and its queue was forgotten."""
    shop.start()
    jobs = jobs_of(context)
    frozen.client.flushall()
    context.store.outbox.renew("worker", jobs)
    context.store.outbox.requeue_job("worker", jobs)

    assert isinstance(dispatch(context, jobs[0]), LeaseLost)
    assert frozen.client.dbsize() == 0


def test_consumers_that_died_are_forgotten_and_those_that_hold_something_are_not(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    context.store.outbox.sweep(1000)  # before there is a group
    shop.start()
    assert len(jobs_of(context, "holds")) == 1
    frozen.client.xgroup_createconsumer(queue(), CONSUMER_GROUP, "idle")
    frozen.advance(10)
    context.store.outbox.sweep(5000)

    assert [one["name"] for one in frozen.client.xinfo_consumers(queue(), CONSUMER_GROUP)] == [b"holds"]


def test_what_cannot_be_read_among_the_delayed_goes_to_the_dead_letters(
    frozen: FrozenValkey, shop: Caller, context: Context
) -> None:
    frozen.client.zadd(DELAYED, {"not json": 1, "7": 2})
    one = shop.start()

    assert [job.id for job in jobs_of(context)] == [one]
    assert {letter["unreadable"] for letter in entries_of(frozen.client, DEAD)} == {"not json", "7"}
