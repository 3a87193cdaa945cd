"""Whose job it is: before a message is handed over, and before a job is ended, its worker is asked for."""

from collections.abc import Callable

import pytest
import redis
from support_caller import Caller
from support_frozen import FrozenValkey
from support_outbox import (
    DEAD,
    DELAYED,
    Scripted,
    Sender,
    dispatch,
    dispatched,
    events,
    jobs_of,
    letters,
    pending,
    queue,
    refused,
    report,
    settle,
    story,
    waiting,
)  # fmt: skip

from otp_service.domain.verification import DeliveryStatus
from otp_service.services.context import Context
from otp_service.store import keys
from otp_service.store.outbox import CONSUMER_GROUP, DispatchResult, Dropped, FinishResult, Job, NextStep
from otp_service.store.signatures.outbox import LeaseLost

SENT = DispatchResult(NextStep.DONE, DeliveryStatus.SENT)
LATER = DispatchResult(NextStep.RETRY, DeliveryStatus.FAILED, reason="unavailable http 503", delay=1000)
GIVEN_UP = DispatchResult(NextStep.DEAD, DeliveryStatus.FAILED, reason="destination 21211")


@pytest.fixture
def shop(frozen: FrozenValkey) -> Caller:
    return Caller(frozen.world().install(limits={"number": ["1000/hour"]}, gateways={"first": {"kind": "sandbox"}}))


@pytest.fixture
def context(shop: Caller) -> Context:
    return shop.context


@pytest.fixture
def old(shop: Caller, context: Context) -> Job:
    """A job whose worker is about to be silent."""
    shop.start()
    (job,) = jobs_of(context, "old")
    return job


def _claimed(frozen: FrozenValkey, context: Context, by: str = "new") -> Job:
    frozen.advance(60)
    (job,) = context.store.outbox.claim(by, 1, 15_000)
    return job


def test_a_job_that_another_has_claimed_is_not_dispatched_and_leaves_no_trace(
    frozen: FrozenValkey, shop: Caller, context: Context, old: Job
) -> None:
    new = _claimed(frozen, context)
    before = frozen.client.hgetall(keys.record("00", old.id))
    assert isinstance(dispatch(context, old), LeaseLost)

    assert frozen.client.hgetall(keys.record("00", old.id)) == before
    assert not list(frozen.client.scan_iter("otp:*:dispatch:*"))
    assert not list(frozen.client.scan_iter("otp:{gateways}:*"))
    assert dispatched(context, new, "first").number == 1


def test_a_call_of_the_one_who_has_it_is_not_told_as_interrupted_by_the_one_who_had_it(
    frozen: FrozenValkey, shop: Caller, context: Context, old: Job
) -> None:
    dispatched(context, _claimed(frozen, context), "first")
    dispatch(context, old)

    assert story(shop, old.id) == [(1, 1, "first", "queued", None)]


@pytest.mark.parametrize("result", [SENT, LATER, GIVEN_UP], ids=["sent", "put back", "given up"])
def test_a_job_that_another_has_brought_to_an_end_is_not_dispatched(
    frozen: FrozenValkey, shop: Caller, context: Context, old: Job, result: DispatchResult
) -> None:
    new = _claimed(frozen, context)
    settle(context, new, dispatched(context, new, "first"), result)

    assert isinstance(dispatch(context, old), LeaseLost)
    assert len(story(shop, old.id)) == 1


@pytest.mark.parametrize(
    "lose",
    [
        lambda client: client.delete(queue()),
        lambda client: client.xgroup_destroy(queue(), CONSUMER_GROUP),
        lambda client: client.set(queue(), "something else"),
    ],
    ids=["queue", "group", "type"],
)
def test_a_job_that_is_lost_is_nobodys(
    frozen: FrozenValkey, context: Context, old: Job, lose: Callable[[redis.Redis], object]
) -> None:
    lose(frozen.client)

    assert isinstance(dispatch(context, old), LeaseLost)


def test_a_job_whose_entry_was_trimmed_is_still_its_workers(frozen: FrozenValkey, context: Context, old: Job) -> None:
    frozen.client.xtrim(queue(), maxlen=0)

    assert dispatched(context, old, "first").number == 1


def test_a_job_that_a_worker_claims_from_itself_or_renews_is_still_its_own(
    frozen: FrozenValkey, context: Context, old: Job
) -> None:
    again = _claimed(frozen, context, "old")
    context.store.outbox.renew("old", [again])

    assert dispatched(context, old, "first").number == 1


def test_a_job_that_came_back_to_its_first_worker_is_that_ones_again(
    frozen: FrozenValkey, context: Context, old: Job
) -> None:
    new = _claimed(frozen, context)
    _claimed(frozen, context, "old")

    assert isinstance(dispatch(context, new), LeaseLost)
    assert dispatched(context, old, "first").number == 1


@pytest.mark.parametrize("result", [SENT, LATER, GIVEN_UP], ids=["done", "put back", "given up"])
def test_who_made_no_call_ends_nothing_that_is_anothers(
    frozen: FrozenValkey, shop: Caller, context: Context, old: Job, result: DispatchResult
) -> None:
    _claimed(frozen, context)
    before = events(frozen.client)

    assert settle(context, old, Dropped("gone"), result) is FinishResult.LEASE_LOST
    assert (waiting(frozen.client), pending(frozen.client)) == (1, 1)
    assert not frozen.client.exists(DELAYED, DEAD)
    assert events(frozen.client) == before


def test_who_made_no_call_ends_what_is_its_own(frozen: FrozenValkey, context: Context, old: Job) -> None:
    assert settle(context, old, Dropped("gone"), GIVEN_UP) is FinishResult.FINISHED

    assert waiting(frozen.client) == 0
    assert letters(frozen.client) == ["destination 21211"]


def test_the_answer_to_a_call_ends_the_job_also_when_another_has_it_but_made_no_call(
    frozen: FrozenValkey, shop: Caller, context: Context, old: Job
) -> None:
    """The gateway has the message: the one who took the job over must not hand it in again."""
    made = dispatched(context, old, "first")
    new = _claimed(frozen, context)

    assert settle(context, old, made, SENT) is FinishResult.FINISHED
    assert isinstance(dispatch(context, new), LeaseLost)
    assert story(shop, old.id) == [(1, 1, "first", "sent", None)]
    assert waiting(frozen.client) == 0


@pytest.mark.parametrize("answer", [SENT, LATER, GIVEN_UP], ids=["sent", "put back", "given up"])
def test_the_answer_to_a_call_that_another_has_repeated_is_recorded_and_decides_nothing(
    frozen: FrozenValkey, shop: Caller, context: Context, old: Job, answer: DispatchResult
) -> None:
    made = dispatched(context, old, "first")
    dispatched(context, _claimed(frozen, context), "first")

    assert settle(context, old, made, answer) is FinishResult.LEASE_LOST
    assert story(shop, old.id)[0][3] == answer.status
    assert story(shop, old.id)[1][3] == "queued"
    assert frozen.client.hlen(keys.calls("00")) == 1, "the second call is still under way"
    assert frozen.client.pttl(keys.calls("00")) > 0
    assert (waiting(frozen.client), pending(frozen.client)) == (1, 1)
    assert not frozen.client.exists(DELAYED, DEAD)


@pytest.mark.parametrize("answer", [SENT, LATER, GIVEN_UP], ids=["sent", "put back", "given up"])
def test_the_answer_to_a_call_for_a_message_that_another_has_given_up_is_recorded_and_decides_nothing(
    frozen: FrozenValkey, shop: Caller, context: Context, old: Job, answer: DispatchResult
) -> None:
    made = dispatched(context, old, "first")
    new = _claimed(frozen, context)
    found = dispatch(context, new, max_ambiguous=0)
    assert isinstance(found, Dropped)
    settle(context, new, found, DispatchResult(NextStep.DEAD, reason=found.reason))

    assert settle(context, old, made, answer) is FinishResult.LEASE_LOST
    assert letters(frozen.client) == ["too_many_ambiguous"]
    assert not frozen.client.exists(DELAYED)


def test_an_outcome_that_is_told_twice_is_news_once(
    frozen: FrozenValkey, shop: Caller, context: Context, old: Job
) -> None:
    made = dispatched(context, old, "first")
    settle(context, old, made, SENT)
    frozen.advance(1)
    settle(context, old, made, SENT)

    assert events(frozen.client).count("delivery.sent") == 1
    assert shop.read(old.id).verification.deliveries[0].at == made.now


def test_a_report_that_comes_again_is_no_news(frozen: FrozenValkey, shop: Caller, context: Context, old: Job) -> None:
    made = dispatched(context, old, "first")
    told = []
    for _ in range(2):
        reported = report(context, made, "delivered")
        told.append(reported and reported.news)
        frozen.advance(1)

    assert told == [True, False]
    assert events(frozen.client).count("delivery.delivered") == 1
    assert shop.read(old.id).verification.deliveries[0].at == made.now


def test_a_worker_that_is_overtaken_between_two_gateways_calls_no_second_one(frozen: FrozenValkey) -> None:
    gateways = {"first": {"kind": "sandbox"}, "second": {"kind": "sandbox"}}
    shop = Caller(frozen.world().install(gateways=gateways, routes=[{"gateways": ["first", "second"]}]))

    def be_silent_and_fail() -> None:
        _claimed(frozen, shop.context)
        raise refused("unavailable")

    sender = Sender(shop, first=Scripted(be_silent_and_fail), second=Scripted())
    one = shop.start()
    sender.deliver()

    assert sender.sent() == ["first"]
    assert [each[3] for each in story(shop, one)] == ["failed"]
    assert (waiting(frozen.client), pending(frozen.client)) == (1, 1)
