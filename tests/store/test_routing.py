"""Which gateway is called, and why: decided by one script that knows all calls and the health of all gateways."""

from dataclasses import replace
from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_outbox import choices, deliver_all, dispatch, dispatched, jobs_of, paced, report, settle

from otp_service.bootstrap import Installation
from otp_service.domain.keyring import new_dispatch_id
from otp_service.domain.routing import CallResult, Room
from otp_service.domain.verification import DeliveryStatus
from otp_service.services.context import Context
from otp_service.store.outbox import NEVER, Dispatched, DispatchResult, Dropped, Job, NextStep, NoGatewayFree

ROUTE = ("first", "second", "third")
FAILED = DispatchResult(NextStep.NEXT, DeliveryStatus.FAILED, reason="unavailable http 503")


@pytest.fixture
def installation(frozen: FrozenValkey) -> Installation:
    return frozen.world().install(
        limits={"number": ["1000/hour"]},
        purposes={"login": {"resend_delays": [0], "max_sends": 10, "channels": ["sms", "voice"]}},
    )


@pytest.fixture
def context(installation: Installation) -> Context:
    return installation.context


@pytest.fixture
def shop(installation: Installation) -> Caller:
    return Caller(installation)


@pytest.fixture
def job(shop: Caller, context: Context) -> Job:
    shop.start()
    (made,) = jobs_of(context)
    return made


def _choose(context: Context, job: Job, *called: str, **members: Any) -> tuple[str, str]:
    """Choose a gateway, let its call fail, and return it with the reason."""
    made = dispatched(context, job, *ROUTE, called=called, **members)
    settle(context, job, made, FAILED)
    return made.gateway, made.choice


def _resent(shop: Caller, context: Context, job: Job, channel: str | None = None) -> Job:
    """Ask for a further message of a job's verification."""
    shop.resend(job.id, channel=channel)
    (further,) = jobs_of(context)
    return further


def _break(context: Context, *gateways: str) -> None:
    """Let calls fail until the breakers open."""
    for gateway in gateways:
        for _ in range(5):
            context.store.health.observe(gateway, new_dispatch_id("00"), CallResult.BAD)


def test_the_first_gateway_of_a_route_is_called_as_configured(context: Context, job: Job) -> None:
    assert _choose(context, job) == ("first", "configured")


def test_a_failure_goes_on_to_each_other_gateway_once(context: Context, job: Job) -> None:
    chosen = [_choose(context, job, *ROUTE[:place]) for place in range(3)]

    assert chosen == [("first", "configured"), ("second", "fail_over"), ("third", "fail_over")]
    found = dispatch(context, job, ROUTE, called=ROUTE)
    assert isinstance(found, NoGatewayFree)
    assert found.wait == NEVER


def test_a_further_round_begins_with_what_was_called_least(context: Context, job: Job) -> None:
    _choose(context, job)
    _choose(context, job, "first")

    assert _choose(context, job) == ("third", "fail_over")
    assert _choose(context, job) == ("first", "retry")
    assert _choose(context, job) == ("second", "fail_over")


def test_the_reason_of_each_choice_is_recorded(shop: Caller, context: Context, job: Job) -> None:
    _choose(context, job)
    _choose(context, job, "first")
    dispatched(context, job, "first", "second")

    assert choices(shop, job.id) == [("first", "configured"), ("second", "fail_over"), ("first", "retry")]


def test_a_resend_prefers_a_gateway_that_was_not_tried(shop: Caller, context: Context, job: Job) -> None:
    _choose(context, job)
    second = _resent(shop, context, job)
    assert _choose(context, second) == ("second", "already_tried")
    assert _choose(context, second, "second") == ("third", "already_tried")
    assert _choose(context, second, "second", "third") == ("first", "configured")
    third = _resent(shop, context, second)

    assert _choose(context, third) == ("second", "already_tried"), "the first was tried twice by now"


def test_another_channel_begins_with_the_first_gateway(shop: Caller, context: Context, job: Job) -> None:
    _choose(context, job)
    spoken = _resent(shop, context, job, "voice")

    assert _choose(context, spoken) == ("first", "configured")


def test_calls_of_another_verification_change_no_choice(shop: Caller, context: Context, job: Job) -> None:
    _choose(context, job)
    shop.start()
    (other,) = jobs_of(context)

    assert _choose(context, other) == ("first", "configured")


def test_a_gateway_with_an_open_breaker_is_passed_over(context: Context, job: Job) -> None:
    _break(context, "first")

    assert _choose(context, job) == ("second", "breaker")
    assert _choose(context, job, "second") == ("third", "breaker")


def test_a_gateway_that_throttles_is_passed_over_for_as_long_as_it_asked(
    frozen: FrozenValkey, context: Context, job: Job
) -> None:
    context.store.health.observe("first", new_dispatch_id("00"), CallResult.THROTTLED, 7000)
    assert _choose(context, job) == ("second", "limit")
    frozen.advance(6.999)
    assert _choose(context, job) == ("third", "limit")
    frozen.advance(0.001)

    assert _choose(context, job) == ("first", "configured")


def test_when_all_are_left_alone_a_message_waits_for_the_one_that_is_free_first(context: Context, job: Job) -> None:
    for gateway, rest in (("first", 9000), ("second", 4000), ("third", 6000)):
        context.store.health.observe(gateway, new_dispatch_id("00"), CallResult.THROTTLED, rest)
    found = dispatch(context, job, ROUTE)
    assert isinstance(found, NoGatewayFree)
    assert found.wait == 4000
    rest = dispatch(context, job, ROUTE, called=["second"])

    assert isinstance(rest, NoGatewayFree)
    assert rest.wait == 6000
    assert not any(each.gateway for each in rest.verification.deliveries), "nothing is recorded of a call not made"


def test_when_breakers_shut_all_the_next_one_is_tried_all_the_same(context: Context, job: Job) -> None:
    _break(context, *ROUTE)

    assert _choose(context, job) == ("first", "last_resort")
    assert _choose(context, job) == ("second", "last_resort")


def test_no_last_resort_is_tried_while_another_gateway_is_only_held_back_by_its_rate(
    frozen: FrozenValkey, context: Context, job: Job
) -> None:
    _break(context, "first", "third")
    context.store.health.observe("second", new_dispatch_id("00"), CallResult.THROTTLED, 2000)
    found = dispatch(context, job, ROUTE)
    assert isinstance(found, NoGatewayFree)
    assert found.wait == 2000
    frozen.advance(2.0)

    assert _choose(context, job) == ("second", "breaker")


def test_the_last_resort_calls_nobody_twice_in_one_go(context: Context, job: Job) -> None:
    _break(context, "first")
    again = dispatch(context, job, ["first"], called=["first"])

    assert isinstance(again, NoGatewayFree)
    assert again.wait == NEVER


def test_a_message_that_may_have_been_sent_goes_on_so_often_and_not_once_more(
    shop: Caller, context: Context, job: Job
) -> None:
    for _ in range(3):
        dispatched(context, job, *ROUTE, max_ambiguous=2)

    assert dispatch(context, job, ROUTE, max_ambiguous=2) == Dropped("too_many_ambiguous")
    assert isinstance(dispatch(context, _resent(shop, context, job), ROUTE, max_ambiguous=2), Dispatched)


def test_a_channel_does_not_bring_new_dispatches(context: Context, job: Job) -> None:
    for channel in ("sms", "voice", "sms"):
        dispatched(context, job.with_channel(channel), *ROUTE, max_ambiguous=2)

    assert dispatch(context, job.with_channel("voice"), ROUTE, max_ambiguous=2) == Dropped("too_many_ambiguous")


def _break_off(
    context: Context, job: Job, times: int, gateway: str, status: DeliveryStatus = DeliveryStatus.FAILED
) -> None:
    """Let a gateway answer with errors of its own."""
    for _ in range(times):
        made = dispatched(context, job, gateway, max_ambiguous=99)
        settle(context, job, made, DispatchResult(NextStep.NEXT, status, reason="error http 500"))


def test_a_gateway_that_answered_a_message_with_four_errors_is_not_called_for_it_again(
    shop: Caller, context: Context, job: Job
) -> None:
    _break_off(context, job, 3, "first")
    assert _choose(context, job, "second", "third") == ("first", "retry"), "not yet; and what sent nothing counts not"
    _break_off(context, job, 1, "first")
    for gateway in ("second", "third"):
        context.store.health.open(gateway, 5000, "cli:ali")
    found = dispatch(context, job, ROUTE)
    rest = dispatch(context, job, ROUTE, called=["second", "third"])

    assert isinstance(found, NoGatewayFree)
    assert 4900 <= found.wait <= 5000, "nobody waits for it"
    assert isinstance(rest, NoGatewayFree)
    assert rest.wait == NEVER
    assert dispatched(context, _resent(shop, context, job), "first").gateway == "first", "for another message it is"


def test_the_choice_beside_a_gateway_that_is_left_out_is_a_fail_over(context: Context, job: Job) -> None:
    _break_off(context, job, 4, "first")
    chosen = [_choose(context, job) for _ in range(12)]

    assert chosen == [("second", "fail_over"), ("third", "fail_over")] * 6, "also when they were called more often"


def test_no_last_resort_is_tried_that_answered_with_four_errors(context: Context, job: Job) -> None:
    _break_off(context, job, 4, "first")
    for _ in range(10):
        _choose(context, job)
    _break(context, *ROUTE)

    assert _choose(context, job) == ("second", "last_resort")


@pytest.mark.parametrize("status", [DeliveryStatus.FAILED, DeliveryStatus.UNKNOWN])
def test_a_message_is_given_up_when_all_gateways_answered_with_four_errors(
    context: Context, job: Job, status: DeliveryStatus
) -> None:
    for gateway in ("first", "second"):
        _break_off(context, job, 4, gateway, status)
    found = [dispatch(context, job.with_channel(one), ROUTE[:2], max_ambiguous=99) for one in ("sms", "voice")]

    assert found == [Dropped("too_many_errors")] * 2
    assert dispatched(context, job, *ROUTE, max_ambiguous=99).gateway == "third"


@pytest.mark.parametrize("status", ["sent", "delivered"])
def test_what_was_reported_to_be_taken_is_not_sent_again(shop: Caller, context: Context, job: Job, status: str) -> None:
    """A time-out, or a worker's death, and then the receipt: another call would only cost another message."""
    settle(context, job, dispatched(context, job, *ROUTE), replace(FAILED, status=DeliveryStatus.UNKNOWN))
    other = dispatched(context, job, *ROUTE, called=["first"])
    settle(context, job, other, replace(FAILED, status=DeliveryStatus.UNKNOWN))
    report(context, other, status, gateway="second")

    assert dispatch(context, job, ROUTE, called=["first", "second"]) == Dropped("sent")
    assert dispatch(context, job, ROUTE, max_ambiguous=0) == Dropped("sent"), "whatever became of the other call"
    further = _resent(shop, context, job)
    assert dispatched(context, further, *ROUTE).gateway == "third", "a message that is asked for is another one"


def test_a_report_that_it_did_not_arrive_lets_the_message_go_on(context: Context, job: Job) -> None:
    made = dispatched(context, job, *ROUTE)
    settle(context, job, made, replace(FAILED, status=DeliveryStatus.UNKNOWN))
    report(context, made, "undelivered")

    assert _choose(context, job, "first", max_ambiguous=0) == ("second", "fail_over")


def test_a_gateway_takes_no_more_messages_a_second_than_its_operator_allows(
    frozen: FrozenValkey, shop: Caller, context: Context, job: Job
) -> None:
    slow = paced(per_second=4)
    assert _choose(context, job, first=slow) == ("first", "configured")
    shop.start()
    (other,) = jobs_of(context)
    frozen.advance(0.24)
    blocked = dispatch(context, other, ["first"], first=slow)
    assert isinstance(blocked, NoGatewayFree)
    assert 10 <= blocked.wait <= 11, "the clock runs on within its millisecond"
    assert _choose(context, other, first=slow) == ("second", "limit")
    frozen.advance(0.011)

    assert dispatched(context, other, "first", first=slow).gateway == "first"


def test_a_rate_below_one_a_second_is_kept_too(frozen: FrozenValkey, context: Context, job: Job) -> None:
    dispatched(context, job, "first", first=paced(per_second=0.5))
    frozen.advance(1.5)
    blocked = dispatch(context, job, ["first"], first=paced(per_second=0.5))

    assert isinstance(blocked, NoGatewayFree)
    assert 498 <= blocked.wait <= 501


def test_a_pause_brings_no_credit(frozen: FrozenValkey, context: Context, job: Job) -> None:
    """An operator that allows ten a second does not want sixty after six seconds."""
    ten = paced(per_second=10)
    dispatched(context, job, "first", first=ten)
    frozen.advance(6)
    dispatched(context, job, "first", first=ten)

    assert isinstance(dispatch(context, job, ["first"], first=ten), NoGatewayFree)


def test_a_gateway_has_no_more_calls_in_flight_than_allowed(shop: Caller, context: Context, job: Job) -> None:
    two = paced(in_flight=2)
    made = [dispatched(context, job, "first", first=two) for _ in range(2)]
    assert isinstance(dispatch(context, job, ["first"], first=two), NoGatewayFree)
    assert context.store.health.of(("first",))["first"].in_flight == 2
    shop.start()
    (other,) = jobs_of(context)
    assert _choose(context, other, first=two) == ("second", "limit")
    context.store.health.observe("first", made[0].dispatch_id, CallResult.WELL)

    assert dispatched(context, job, "first", first=two).gateway == "first"
    assert isinstance(dispatch(context, job, ["first"], first=two), NoGatewayFree)


def test_a_call_whose_worker_died_is_waited_for_no_longer_than_it_may_take(
    frozen: FrozenValkey, context: Context, job: Job
) -> None:
    one = paced(in_flight=1, lease=3000)
    dispatched(context, job, "first", first=one)
    frozen.advance(2.999)
    assert isinstance(dispatch(context, job, ["first"], first=one), NoGatewayFree)
    frozen.advance(0.001)

    assert dispatched(context, job, "first", first=one).gateway == "first"


def test_a_message_moves_through_its_next_channel_in_the_same_record(shop: Caller, context: Context, job: Job) -> None:
    settle(
        context,
        job,
        dispatched(context, job, *ROUTE),
        DispatchResult(NextStep.RETRY, reason="channel 21614", channel="voice"),
    )
    (spoken,) = jobs_of(context)
    made = dispatched(context, spoken, *ROUTE)
    shown = shop.read(job.id).verification

    assert (spoken.channel, spoken.message, made.number, made.choice) == ("voice", 1, 2, "configured")
    assert (shown.channel, shown.sends, [one.channel for one in shown.deliveries]) == ("voice", 1, ["sms", "voice"])


def test_an_earlier_message_does_not_change_the_channel_that_is_shown(shop: Caller, context: Context, job: Job) -> None:
    spoken = _resent(shop, context, job, "voice")
    dispatched(context, job, *ROUTE)
    assert shop.read(job.id).verification.channel == "voice"
    dispatched(context, spoken, *ROUTE)

    assert shop.read(job.id).verification.channel == "voice"


def test_a_delivered_message_goes_out_once(shop: Caller, context: Context) -> None:
    one = shop.start()
    assert deliver_all(context) == 1
    assert deliver_all(context) == 0

    assert choices(shop, one) == [("sandbox", "configured")]


def test_a_gateway_without_room_that_answers_is_waited_for(context: Context, job: Job) -> None:
    found = dispatch(context, job, ROUTE, rooms={"first": Room.FULL})

    assert isinstance(found, NoGatewayFree)
    assert found.wait == 1000


def test_one_that_does_not_answer_is_passed_over(context: Context, job: Job) -> None:
    assert _choose(context, job, rooms={"first": Room.SILENT}) == ("second", "limit")


def test_where_none_has_room_a_message_waits(context: Context, job: Job) -> None:
    found = dispatch(context, job, ROUTE, rooms=dict.fromkeys(ROUTE, Room.SILENT))
    assert isinstance(found, NoGatewayFree)
    assert found.wait == 1000
    context.store.health.observe("third", new_dispatch_id("00"), CallResult.THROTTLED, 400)
    found = dispatch(context, job, ROUTE, rooms=dict.fromkeys(ROUTE[:2], Room.SILENT))

    assert isinstance(found, NoGatewayFree)
    assert found.wait == 400


def test_one_without_room_whose_breaker_is_open_is_not_waited_for(context: Context, job: Job) -> None:
    _break(context, "first")

    assert _choose(context, job, rooms={"first": Room.FULL}) == ("second", "breaker")


def test_one_without_room_is_no_last_resort(context: Context, job: Job) -> None:
    _break(context, *ROUTE)

    assert _choose(context, job, rooms={"first": Room.FULL, "second": Room.SILENT}) == ("third", "last_resort")
