"""The outbox: nothing accepted is lost, nothing unwanted goes out, every outcome is written once and in order."""

from dataclasses import replace
from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_installation import NUMBER
from support_keys import assert_all_keys_expire

from otp_service.bootstrap import Installation
from otp_service.core.keyring import new_dispatch_id
from otp_service.core.verification import DeliveryStatus
from otp_service.services.deliver import Policy, deliver
from otp_service.store.outbox import FAR, GROUP, Dispatched, Dropped, Job, Next, Outbox, Settlement

OUTBOX, EVENTS, DEAD, RETRIES = "otp:{00}:outbox", "otp:{00}:events", "otp:{00}:dead", "otp:{00}:delayed"
GATEWAYS = ("first", "second")
DONE = Settlement(Next.DONE, DeliveryStatus.SENT, reference="SM1")


@pytest.fixture
def installation(frozen: FrozenValkey) -> Installation:
    return frozen.world().install(
        limits={"number": ["1000/hour"]},
        purposes={"login": {"resend": "new_code", "resend_delays": [0], "channels": ["sms", "voice"]}},
    )


@pytest.fixture
def shop(installation: Installation) -> Caller:
    return Caller(installation)


@pytest.fixture
def outbox(installation: Installation) -> Outbox:
    return installation.context.store.outbox


def _jobs(outbox: Outbox, consumer: str = "worker") -> list[Job]:
    """Return what is new; the first look makes the group."""
    return outbox.read(consumer, 100, 1) or outbox.read(consumer, 100, 1)


def _nothing_is_new(frozen: FrozenValkey) -> bool:
    """Look without waiting: while the clock stands still a wait has no end."""
    return not frozen.client.xreadgroup("workers", "worker", {OUTBOX: ">"})


def _dispatch(outbox: Outbox, job: Job, gateways: tuple[str, ...] = GATEWAYS, most: int = 5) -> Dispatched:
    dispatched = outbox.dispatch(job, new_dispatch_id("00"), gateways, most)
    assert isinstance(dispatched, Dispatched), dispatched
    return dispatched


def _story(shop: Caller, one: str) -> list[tuple[Any, ...]]:
    deliveries = shop.read(one).verification.deliveries
    return [(each.message, each.dispatch, each.gateway, str(each.status), each.reason) for each in deliveries]


def _events(frozen: FrozenValkey) -> list[str]:
    return [fields[b"type"].decode() for _, fields in frozen.client.xrange(EVENTS)]


def test_what_was_queued_before_there_was_a_worker_is_delivered(
    frozen: FrozenValkey, shop: Caller, outbox: Outbox
) -> None:
    ids = [shop.start(), shop.start()]

    assert [job.id for job in _jobs(outbox)] == ids
    assert _nothing_is_new(frozen)


def test_a_job_says_what_is_to_be_delivered_and_nothing_personal(shop: Caller, outbox: Outbox) -> None:
    one = shop.start(channel="voice")
    shop.resend(one)
    first, second = _jobs(outbox)

    assert (first.id, first.application, first.purpose, first.country) == (one, "shop", "login", "PK")
    assert (first.channel, first.message, first.generation) == ("voice", 1, 0)
    assert (second.channel, second.message, second.generation) == ("voice", 2, 1)
    assert first.expires == second.expires == shop.read(one).verification.expires
    assert NUMBER[-7:] not in str(first)


@pytest.mark.parametrize("call", ["read", "claim"])
def test_a_group_that_is_lost_is_made_again_and_begins_with_what_is_left(
    frozen: FrozenValkey, shop: Caller, outbox: Outbox, call: str
) -> None:
    ids = [shop.start(), shop.start(), shop.start()]
    done, *_ = _jobs(outbox)
    outbox.settle(done, _dispatch(outbox, done), DONE)
    frozen.client.xgroup_destroy(OUTBOX, "workers")
    if call == "claim":
        assert outbox.claim("worker", 10, 0) == []

    assert [job.id for job in _jobs(outbox)] == ids[1:]


def test_a_stream_that_is_lost_altogether_is_made_again(frozen: FrozenValkey, shop: Caller, outbox: Outbox) -> None:
    shop.start()
    _jobs(outbox)
    frozen.client.flushall()
    one = shop.start()

    assert [job.id for job in _jobs(outbox)] == [one]


def test_a_delivered_message_leaves_nothing_in_the_outbox(frozen: FrozenValkey, shop: Caller, outbox: Outbox) -> None:
    one = shop.start()
    (job,) = _jobs(outbox)
    dispatched = _dispatch(outbox, job)
    assert _story(shop, one) == [(1, 1, "first", "queued", None)]
    outbox.settle(job, dispatched, DONE)

    assert _story(shop, one) == [(1, 1, "first", "sent", None)]
    assert frozen.client.xlen(OUTBOX) == 0
    assert frozen.client.xpending(OUTBOX, "workers")["pending"] == 0
    assert frozen.client.hget(f"otp:{{00}}:dispatch:{dispatched.dispatch_id}", "reference") == b"SM1"


def test_another_dispatch_that_follows_at_once_keeps_the_job(
    frozen: FrozenValkey, shop: Caller, outbox: Outbox
) -> None:
    one = shop.start()
    (job,) = _jobs(outbox)
    failed = Settlement(Next.NEXT, DeliveryStatus.FAILED, reason="unavailable 500")
    outbox.settle(job, _dispatch(outbox, job), failed)
    assert frozen.client.xlen(OUTBOX) == 1
    assert frozen.client.xpending(OUTBOX, "workers")["pending"] == 1
    outbox.settle(job, _dispatch(outbox, job), DONE)

    assert _story(shop, one) == [(1, 1, "first", "failed", "unavailable 500"), (1, 2, "second", "sent", None)]


def test_dispatches_go_round_the_gateways_and_end(shop: Caller, outbox: Outbox) -> None:
    shop.start()
    (job,) = _jobs(outbox)
    assert [_dispatch(outbox, job, most=3).gateway for _ in range(3)] == ["first", "second", "first"]

    assert outbox.dispatch(job, new_dispatch_id("00"), GATEWAYS, 3) == Dropped("too_many_dispatches")


def test_each_message_of_a_verification_has_dispatches_of_its_own(shop: Caller, outbox: Outbox) -> None:
    one = shop.start()
    first = _jobs(outbox)[0]
    _dispatch(outbox, first)
    shop.resend(one, channel="voice")
    (second,) = _jobs(outbox)

    assert (_dispatch(outbox, second).number, second.message, second.channel) == (1, 2, "voice")
    assert [(each[0], each[2]) for each in _story(shop, one)] == [(1, "first"), (2, "first")]
    assert [each.channel for each in shop.read(one).verification.deliveries] == ["sms", "voice"]


def test_a_dispatch_that_a_dead_worker_left_open_is_told_as_unknown(shop: Caller, outbox: Outbox) -> None:
    one = shop.start()
    (job,) = _jobs(outbox)
    _dispatch(outbox, job)
    _dispatch(outbox, job)

    assert _story(shop, one) == [(1, 1, "first", "unknown", "interrupted"), (1, 2, "second", "queued", None)]


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
def test_a_message_that_is_no_longer_wanted_is_dropped(shop: Caller, outbox: Outbox, end: Any, reason: str) -> None:
    one = shop.start()
    (job,) = _jobs(outbox)
    end(shop, one)

    assert outbox.dispatch(job, new_dispatch_id("00"), GATEWAYS, 5) == Dropped(reason, job.first_slot)
    assert not any(each[2] for each in _story(shop, one))


def test_a_message_whose_code_has_expired_is_never_sent_late(
    frozen: FrozenValkey, shop: Caller, outbox: Outbox
) -> None:
    shop.start()
    (job,) = _jobs(outbox)
    frozen.advance(299.999)
    _dispatch(outbox, job)
    frozen.advance(0.001)
    assert outbox.dispatch(job, new_dispatch_id("00"), GATEWAYS, 5) == Dropped("expired")
    frozen.advance(600.001)

    assert outbox.dispatch(job, new_dispatch_id("00"), GATEWAYS, 5) == Dropped("gone")


def test_another_applications_job_does_not_find_the_record(shop: Caller, outbox: Outbox) -> None:
    shop.start()
    (job,) = _jobs(outbox)

    assert outbox.dispatch(replace(job, application="bank"), new_dispatch_id("00"), GATEWAYS, 5) == Dropped("gone")


@pytest.mark.parametrize(
    ("before", "report", "after"),
    [
        ("sent", "delivered", "delivered"),
        ("sent", "undelivered", "undelivered"),
        ("unknown", "sent", "sent"),
        ("unknown", "delivered", "delivered"),
        ("sent", "unknown", "sent"),
        ("sent", "queued", "sent"),
        ("delivered", "sent", "delivered"),
        ("delivered", "failed", "delivered"),
        ("failed", "delivered", "failed"),
        ("expired", "sent", "expired"),
        ("undelivered", "delivered", "undelivered"),
    ],
)
def test_a_report_moves_a_delivery_forward_only(
    frozen: FrozenValkey, shop: Caller, outbox: Outbox, before: str, report: str, after: str
) -> None:
    one = shop.start()
    (job,) = _jobs(outbox)
    dispatched = _dispatch(outbox, job)
    outbox.settle(job, dispatched, Settlement(Next.DONE, DeliveryStatus(before)))
    events = len(_events(frozen))

    assert outbox.receipt("00", dispatched.dispatch_id, "first", DeliveryStatus(report), "why")
    assert _story(shop, one)[0][3:] == (after, None if before == after else "why")
    assert _events(frozen)[events:] == ([] if before == after else [f"delivery.{after}"])


def test_a_report_that_overtakes_the_answer_is_not_overwritten(shop: Caller, outbox: Outbox) -> None:
    one = shop.start()
    (job,) = _jobs(outbox)
    dispatched = _dispatch(outbox, job)
    outbox.receipt("00", dispatched.dispatch_id, "first", DeliveryStatus.DELIVERED, "")
    outbox.settle(job, dispatched, DONE)

    assert _story(shop, one) == [(1, 1, "first", "delivered", None)]


def test_only_the_gateway_that_was_called_may_report(shop: Caller, outbox: Outbox) -> None:
    one = shop.start()
    (job,) = _jobs(outbox)
    dispatched = _dispatch(outbox, job)

    assert not outbox.receipt("00", dispatched.dispatch_id, "second", DeliveryStatus.DELIVERED, "")
    assert not outbox.receipt("00", new_dispatch_id("00"), "first", DeliveryStatus.DELIVERED, "")
    assert _story(shop, one) == [(1, 1, "first", "queued", None)]


def test_a_report_approves_nothing(shop: Caller, outbox: Outbox) -> None:
    one = shop.start()
    (job,) = _jobs(outbox)
    outbox.receipt("00", _dispatch(outbox, job).dispatch_id, "first", DeliveryStatus.DELIVERED, "")

    assert shop.read(one).verification.status == "pending"
    assert shop.check(one, shop.code(one))[1]


def test_a_retry_waits_for_its_time_and_is_the_same_job(frozen: FrozenValkey, shop: Caller, outbox: Outbox) -> None:
    shop.start()
    (job,) = _jobs(outbox)
    failed = Settlement(Next.RETRY, DeliveryStatus.FAILED, reason="unavailable 500", delay=5000)
    outbox.settle(job, _dispatch(outbox, job), failed)
    assert frozen.client.xlen(OUTBOX) == 0
    assert outbox.requeue() == 5000
    frozen.advance(4.999)
    assert outbox.requeue() == 1
    assert _nothing_is_new(frozen)
    frozen.advance(0.001)
    assert outbox.requeue() == FAR
    (again,) = _jobs(outbox)

    assert replace(again, entry=job.entry) == job
    assert frozen.client.zcard(RETRIES) == 0
    assert outbox.requeue() == FAR
    assert _dispatch(outbox, again).number == 2


def test_retries_come_back_in_bounded_steps(frozen: FrozenValkey, shop: Caller, outbox: Outbox) -> None:
    for _ in range(5):
        shop.start()
    for job in _jobs(outbox):
        outbox.settle(job, _dispatch(outbox, job), Settlement(Next.RETRY, delay=1000))
    frozen.advance(2)

    assert (outbox.requeue(2), frozen.client.xlen(OUTBOX), frozen.client.zcard(RETRIES)) == (0, 2, 3)
    assert (outbox.requeue(9), frozen.client.xlen(OUTBOX), frozen.client.zcard(RETRIES)) == (FAR, 5, 0)


def test_a_message_that_is_given_up_is_kept_with_its_reason_and_reported(
    frozen: FrozenValkey, shop: Caller, outbox: Outbox
) -> None:
    one = shop.start()
    (job,) = _jobs(outbox)
    outbox.settle(job, _dispatch(outbox, job), Settlement(Next.DEAD, DeliveryStatus.FAILED, reason="destination 21211"))
    ((_, letter),) = frozen.client.xrange(DEAD)

    assert (letter[b"reason"], letter[b"id"]) == (b"destination 21211", one.encode())
    assert _events(frozen)[-1] == "message.given_up"
    assert _story(shop, one) == [(1, 1, "first", "failed", "destination 21211")]
    assert shop.read(one).verification.status == "pending"
    assert frozen.client.xlen(OUTBOX) == 0
    assert frozen.client.pttl(DEAD) > 0


def test_what_a_dead_worker_held_is_claimed_and_what_a_live_one_holds_is_not(
    frozen: FrozenValkey, shop: Caller, outbox: Outbox
) -> None:
    held, other = shop.start(), shop.start()
    jobs = {job.id: job for job in _jobs(outbox, "old")}
    frozen.advance(20)
    outbox.renew("old", [jobs[held]])
    assert [job.id for job in outbox.claim("new", 10, 15_000)] == [other]
    frozen.advance(14.9)
    assert outbox.claim("newer", 10, 15_000) == []
    frozen.advance(0.1)

    assert {job.id for job in outbox.claim("newer", 10, 15_000)} == {held, other}


def test_a_claimed_job_that_was_trimmed_meanwhile_is_forgotten(
    frozen: FrozenValkey, shop: Caller, outbox: Outbox
) -> None:
    shop.start()
    (job,) = _jobs(outbox, "old")
    frozen.client.xdel(OUTBOX, job.entry)
    frozen.advance(20)

    assert outbox.claim("new", 10, 1000) == []


def test_a_worker_leaves_the_group_unless_it_holds_something(
    frozen: FrozenValkey, shop: Caller, outbox: Outbox
) -> None:
    shop.start()
    (job,) = _jobs(outbox)
    outbox.leave("worker")
    assert len(frozen.client.xinfo_consumers(OUTBOX, "workers")) == 1
    outbox.settle(job, _dispatch(outbox, job), DONE)
    outbox.leave("worker")

    assert frozen.client.xinfo_consumers(OUTBOX, "workers") == []


@pytest.mark.parametrize("bits", [0, 2, 8])
def test_numbers_of_all_buckets_are_started_delivered_and_checked(frozen: FrozenValkey, bits: int) -> None:
    roots = frozen.world().install(limits={"number": ["9/hour"]}).settings.keys
    keys = {"root": roots.root.get_secret_value(), "pseudonym": roots.pseudonym.get_secret_value(), "bucket_bits": bits}
    installation = frozen.world().install(keys=keys, purposes={"login": {"resend_delays": [0]}})
    shop, context = Caller(installation), installation.context
    ids = {shop.start(f"+9230012345{place:02d}"): place for place in range(24)}
    shop.resend(next(iter(ids)))
    outbox = context.store.outbox
    jobs = _jobs(outbox)
    for job in jobs:
        assert job.bucket == context.keyring.bucket_of_id(job.id)
        deliver(context, job, Policy(3, (1.0,)))
    buckets = {job.bucket for job in jobs}

    assert len(jobs) == 25
    assert buckets <= set(context.keyring.buckets)
    assert len(buckets) >= min(2**bits, 4)
    for one, place in ids.items():
        (newest, *_) = context.store.mailbox.messages("shop", one)
        assert newest.to.endswith(f"{place + 500:03d}")
        code = shop.code(one)
        assert code in newest.text
        assert shop.check(one, code)[1]
    assert all(frozen.client.xlen(f"otp:{{{bucket}}}:outbox") == 0 for bucket in buckets)
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
    frozen: FrozenValkey, shop: Caller, outbox: Outbox, fields: dict[str, str]
) -> None:
    frozen.client.xadd(OUTBOX, fields)
    one = shop.start()

    assert [job.id for job in _jobs(outbox)] == [one]
    ((_, letter),) = frozen.client.xrange(DEAD)
    assert letter == {b"reason": b"unreadable", **{name.encode(): value.encode() for name, value in fields.items()}}
    assert frozen.client.xlen(OUTBOX) == 1


def test_a_job_with_one_field_more_is_read(frozen: FrozenValkey, shop: Caller, outbox: Outbox) -> None:
    one = shop.start()
    ((entry, fields),) = frozen.client.xrange(OUTBOX)
    frozen.client.xdel(OUTBOX, entry)
    frozen.client.xadd(OUTBOX, {**fields, "later": "more"})

    assert [job.id for job in _jobs(outbox)] == [one]


def test_a_record_with_more_than_this_release_knows_is_read_and_kept(
    frozen: FrozenValkey, shop: Caller, outbox: Outbox
) -> None:
    one = shop.start()
    frozen.client.hset(f"otp:{{00}}:v:{one}", mapping={"later": "more", "d1.1": "sms|first|queued|1|again|raw|more"})
    outbox.settle(_jobs(outbox)[0], Dropped("gone", "d1.1"), Settlement(Next.DONE, DeliveryStatus.SENT, reason="now"))

    assert _story(shop, one) == [(1, 1, "first", "sent", "now")]
    assert frozen.client.hget(f"otp:{{00}}:v:{one}", "d1.1").endswith(b"|now|raw|more")


def test_a_record_of_a_format_to_come_is_not_guessed_at(frozen: FrozenValkey, shop: Caller) -> None:
    one = shop.start()
    frozen.client.hset(f"otp:{{00}}:v:{one}", "v", "2")

    with pytest.raises(ValueError, match="format 2"):
        shop.read(one)


def test_a_worker_that_was_overtaken_tells_the_outcome_and_decides_nothing(
    frozen: FrozenValkey, shop: Caller, outbox: Outbox
) -> None:
    one = shop.start()
    (job,) = _jobs(outbox, "slow")
    slow = _dispatch(outbox, job)
    frozen.advance(60)
    (taken,) = outbox.claim("other", 1, 15_000)
    other = _dispatch(outbox, taken)

    assert not outbox.settle(job, slow, Settlement(Next.RETRY, DeliveryStatus.FAILED, reason="late", delay=1))
    assert frozen.client.xlen(OUTBOX) == 1
    assert frozen.client.exists("otp:{00}:delayed") == 0
    assert outbox.settle(taken, other, Settlement(Next.DONE, DeliveryStatus.SENT))
    assert [status for _, _, _, status, _ in _story(shop, one)] == ["failed", "sent"]
    assert frozen.client.xlen(OUTBOX) == 0


def test_consumers_that_died_are_forgotten_and_those_that_hold_something_are_not(
    frozen: FrozenValkey, shop: Caller, outbox: Outbox
) -> None:
    outbox.forget_idle(1000)  # before there is a group
    shop.start()
    assert len(_jobs(outbox, "holds")) == 1
    frozen.client.xgroup_createconsumer(OUTBOX, GROUP, "idle")
    frozen.advance(10)
    outbox.forget_idle(5000)

    assert [one["name"] for one in frozen.client.xinfo_consumers(OUTBOX, GROUP)] == [b"holds"]


def test_what_cannot_be_read_among_the_delayed_goes_to_the_dead_letters(
    frozen: FrozenValkey, shop: Caller, outbox: Outbox
) -> None:
    frozen.client.zadd("otp:{00}:delayed", {"not json": 1, "7": 2})
    outbox.requeue()
    one = shop.start()

    assert [job.id for job in _jobs(outbox)] == [one]
    assert {letter[b"unreadable"] for _, letter in frozen.client.xrange(DEAD)} == {b"not json", b"7"}
