"""A message that arrived, or is on its way, goes out no second time, whatever else is heard of it."""

from typing import Any

import pytest
from structlog.testing import capture_logs
from support_caller import Caller
from support_frozen import FrozenValkey
from support_outbox import (
    DELAYED,
    Scripted,
    Sender,
    dispatched,
    events,
    jobs_of,
    letters,
    refused,
    report,
    settle,
    story,
    timed_out,
    waiting,
)  # fmt: skip

from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import Receipt
from otp_service.services.receipts import record_receipt
from otp_service.store.outbox import DispatchResult, FinishResult, NextStep

GATEWAYS = {"first": {"kind": "sandbox"}, "second": {"kind": "sandbox"}}
FAILURES = {
    "timed out": timed_out(),
    "unavailable": refused("unavailable"),
    "throttled": refused("throttled"),
    "channel": refused("channel"),
    "rejected": refused("rejected"),
    "destination": refused("destination"),
}


@pytest.fixture
def shop(frozen: FrozenValkey) -> Caller:
    return _shop(frozen)


def _shop(frozen: FrozenValkey, **second: Any) -> Caller:
    return Caller(
        frozen.world().install(
            limits={"number": ["1000/hour"]},
            purposes={"login": {"channels": ["sms", "voice"], "resend_delays": [0]}},
            gateways={**GATEWAYS, "second": {"kind": "sandbox", **second}},
            routes=[{"gateways": ["first", "second"]}],
        )
    )


def _reported(shop: Caller, sender: Sender, gateway: str, status: str) -> None:
    """Let a gateway report on its last call."""
    made = sender.gateways[gateway].sent[-1].dispatch_id
    assert record_receipt(shop.context, gateway, made, Receipt(DeliveryStatus(status), status.upper()))


def _first_is_reported_while_the_second_fails(shop: Caller, status: str, answer: str) -> Sender:
    """Let the first gateway time out, and report on that while the second one is called, which fails."""

    def report_the_first_and_fail() -> None:
        _reported(shop, sender, "first", status)
        raise FAILURES[answer]

    sender = Sender(shop, first=Scripted(timed_out()), second=Scripted(report_the_first_and_fail))
    return sender


def _use_up_the_turn(shop: Caller, gateway: str) -> None:
    """Let a gateway be called for another message just now."""
    shop.start()
    (job,) = jobs_of(shop.context)
    allowance = shop.context.gateway_limits[gateway]
    settle(
        shop.context, job, dispatched(shop.context, job, gateway, **{gateway: allowance}), DispatchResult(NextStep.DONE)
    )


def _assert_nothing_is_left(frozen: FrozenValkey, sender: Sender) -> None:
    frozen.advance(120)
    assert sender.deliver() == 0
    assert sender.held == []
    assert waiting(frozen.client) == 0
    assert not frozen.client.exists(DELAYED)
    assert letters(frozen.client) == []
    assert "message.given_up" not in events(frozen.client)


@pytest.mark.parametrize("status", ["sent", "delivered"])
@pytest.mark.parametrize("answer", FAILURES)
def test_after_a_receipt_that_came_before_the_answer_nothing_more_is_sent(
    frozen: FrozenValkey, shop: Caller, status: str, answer: str
) -> None:
    """Whatever the gateway answers then, or does not."""

    def report_and_fail() -> None:
        _reported(shop, sender, "first", status)
        raise FAILURES[answer]

    sender = Sender(shop, first=Scripted(report_and_fail), second=Scripted())
    one = shop.start()
    sender.deliver()

    assert sender.sent() == ["first"]
    assert [each[3] for each in story(shop, one)] == [status]
    _assert_nothing_is_left(frozen, sender)


@pytest.mark.parametrize("status", ["sent", "delivered"])
@pytest.mark.parametrize("answer", ["rejected", "destination", "unavailable"])
def test_a_call_that_fails_gives_nothing_up_that_an_earlier_one_brought_over(
    frozen: FrozenValkey, shop: Caller, status: str, answer: str
) -> None:
    sender = _first_is_reported_while_the_second_fails(shop, status, answer)
    one = shop.start()
    sender.deliver()

    assert [each[3] for each in story(shop, one)] == [status, "failed"]
    _assert_nothing_is_left(frozen, sender)


@pytest.mark.parametrize(
    ("following", "settled"),
    [
        (NextStep.DONE, FinishResult.FINISHED),
        (NextStep.NEXT, FinishResult.ARRIVED),
        (NextStep.RETRY, FinishResult.ARRIVED),
        (NextStep.DEAD, FinishResult.ARRIVED),
    ],
)
@pytest.mark.parametrize("status", ["sent", "delivered"])
def test_who_asks_for_more_is_told_that_it_arrived(
    frozen: FrozenValkey, shop: Caller, status: str, following: NextStep, settled: FinishResult
) -> None:
    shop.start()
    (job,) = jobs_of(shop.context)
    made = dispatched(shop.context, job)
    report(shop.context, made, status)

    assert settle(shop.context, job, made, DispatchResult(following, DeliveryStatus.UNKNOWN)) is settled
    assert waiting(frozen.client) == 0
    assert not frozen.client.exists(DELAYED)


@pytest.mark.parametrize("status", ["undelivered", "failed", "expired", "unknown"])
def test_a_receipt_of_anything_else_leaves_what_follows_as_it_is(shop: Caller, status: str) -> None:
    shop.start()
    (job,) = jobs_of(shop.context)
    made = dispatched(shop.context, job)
    report(shop.context, made, status)

    assert (
        settle(shop.context, job, made, DispatchResult(NextStep.NEXT, DeliveryStatus.UNKNOWN)) is FinishResult.FINISHED
    )


@pytest.mark.parametrize("status", ["sent", "delivered"])
def test_a_receipt_while_the_message_waits_for_the_next_gateways_turn_spares_the_call(
    frozen: FrozenValkey, status: str
) -> None:
    shop = _shop(frozen, per_second=2)
    sender = Sender(shop, first=Scripted(timed_out()), second=Scripted())
    _use_up_the_turn(shop, "second")
    one = shop.start()
    sender.deliver()
    assert len(sender.held) == 1
    _reported(shop, sender, "first", status)
    frozen.advance(1)
    with capture_logs() as lines:
        sender.go_on()

    assert sender.sent() == ["first"]
    assert [each[2:4] for each in story(shop, one)] == [("first", status)]
    assert [line["reason"] for line in lines if line["event"] == "message_dropped"] == ["sent"]
    _assert_nothing_is_left(frozen, sender)


@pytest.mark.parametrize("status", ["sent", "delivered"])
def test_a_receipt_while_the_message_rests_spares_the_next_round(
    frozen: FrozenValkey, shop: Caller, status: str
) -> None:
    sender = Sender(shop, first=Scripted(timed_out()), second=Scripted(refused("unavailable")))
    one = shop.start()
    sender.deliver()
    assert frozen.client.zcard(DELAYED) == 1
    _reported(shop, sender, "first", status)
    frozen.advance(30)
    sender.deliver()

    assert sender.sent() == ["first", "second"]
    assert [each[3] for each in story(shop, one)] == [status, "failed"]
    _assert_nothing_is_left(frozen, sender)


@pytest.mark.parametrize("status", ["sent", "delivered"])
@pytest.mark.parametrize("answer", ["timed out", "unavailable", "throttled", "channel"])
def test_a_receipt_of_an_earlier_call_while_the_next_one_is_made_is_the_last_word(
    frozen: FrozenValkey, shop: Caller, answer: str, status: str
) -> None:
    sender = _first_is_reported_while_the_second_fails(shop, status, answer)
    one = shop.start()
    sender.deliver()
    sender.deliver()

    assert sender.sent() == ["first", "second"]
    assert [each[3] for each in story(shop, one)] == [status, "unknown" if answer == "timed out" else "failed"]
    _assert_nothing_is_left(frozen, sender)


# --- falling back to another channel -----------------------------------------------------------------------------


def _sent_by_two(shop: Caller) -> tuple[Sender, str]:
    """Send a message that the first gateway may have sent, and the second one has taken."""
    sender = Sender(shop, first=Scripted(timed_out()), second=Scripted())
    one = shop.start()
    sender.deliver()
    assert sender.sent() == ["first", "second"]
    return sender, one


def test_what_one_call_delivered_is_not_sent_through_another_channel_because_of_the_other_call(
    frozen: FrozenValkey, shop: Caller
) -> None:
    sender, one = _sent_by_two(shop)
    _reported(shop, sender, "first", "delivered")
    _reported(shop, sender, "second", "undelivered")

    assert shop.read(one).verification.sends == 1
    _assert_nothing_is_left(frozen, sender)


def test_what_one_call_sent_and_nobody_delivered_is_sent_through_another_channel(shop: Caller) -> None:
    sender, one = _sent_by_two(shop)
    _reported(shop, sender, "first", "sent")
    _reported(shop, sender, "second", "undelivered")
    sender.deliver()

    assert shop.read(one).verification.sends == 2
    assert sender.gateways["first"].sent[-1].channel == "voice"


def test_what_was_delivered_is_sent_again_when_a_person_asks_for_it(shop: Caller) -> None:
    sender, one = _sent_by_two(shop)
    _reported(shop, sender, "first", "delivered")
    shop.resend(one)
    sender.deliver()

    assert [each[0] for each in story(shop, one)] == [1, 1, 2]


def test_an_earlier_message_that_was_delivered_does_not_keep_a_later_one_from_another_channel(shop: Caller) -> None:
    """The person asked for the later one: what came before did not help."""
    sender, one = _sent_by_two(shop)
    _reported(shop, sender, "second", "delivered")
    shop.resend(one)
    sender.deliver()
    (last,) = [each[2] for each in story(shop, one) if each[0] == 2]
    _reported(shop, sender, last, "undelivered")
    sender.deliver()

    assert [each.channel for each in shop.read(one).verification.deliveries] == ["sms", "sms", "sms", "voice"]
