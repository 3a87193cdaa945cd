"""Calls of which nobody knows whether they sent the message: so many and no more, whoever left it open."""

from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_installation import NUMBER
from support_outbox import Scripted, Sender, letters, refused, story, timed_out

from otp_service.domain.numbers import parse_destination
from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import Receipt
from otp_service.services.delivery import RetryPolicy
from otp_service.services.number_history import Why, find_number_history
from otp_service.services.receipts import record_receipt

GATEWAYS = {name: {"kind": "sandbox"} for name in ("first", "second", "third")}
GONE = 1300
"""Seconds after which nothing of a verification is left but events."""


def die() -> None:
    raise KeyboardInterrupt


def fail_in_time() -> None:
    raise refused("unavailable")


def time_out() -> None:
    raise timed_out()


@pytest.fixture
def shop(frozen: FrozenValkey) -> Caller:
    return Caller(
        frozen.world().install(
            limits={"number": ["1000/hour"]}, gateways=GATEWAYS, routes=[{"gateways": list(GATEWAYS)}]
        )
    )


def _policy(**members: Any) -> RetryPolicy:
    return RetryPolicy(**{"max_ambiguous": 1, "backoff": (1.0,), **members})


def _deliver(frozen: FrozenValkey, sender: Sender, policy: RetryPolicy) -> None:
    """Deliver what there is, with workers that die and others that take over from them, until nothing is left."""
    for _ in range(12):
        jobs = [*sender.context.store.outbox.claim("heir", 9, 15_000), *_new(sender)]
        for job in jobs:
            try:
                sender.hand_over(job, policy)
            except KeyboardInterrupt:
                frozen.advance(15)
        frozen.advance(1)


def _new(sender: Sender) -> list[Any]:
    return sender.context.store.outbox.take("worker", 9)


def _calls(shop: Caller, one: str) -> list[str]:
    return [f"{status} {reason}" for _, _, _, status, reason in story(shop, one)]


@pytest.mark.parametrize(("most", "calls"), [(0, 1), (1, 2), (2, 3)])
def test_calls_that_workers_died_in_are_counted_before_each_further_one(
    frozen: FrozenValkey, shop: Caller, most: int, calls: int
) -> None:
    sender = Sender(shop, **{name: Scripted(*[die] * 9) for name in GATEWAYS})
    one = shop.start()
    _deliver(frozen, sender, _policy(max_ambiguous=most))

    assert len(sender.sent()) == calls
    assert _calls(shop, one) == ["unknown interrupted"] * calls
    assert letters(frozen.client) == ["too_many_ambiguous"]


@pytest.mark.parametrize(
    "script", [(die, time_out), (time_out, die), (time_out, time_out)], ids=["died first", "died last", "timed out"]
)
def test_of_time_outs_and_deaths_together_no_more_are_risked(frozen: FrozenValkey, shop: Caller, script: Any) -> None:
    sender = Sender(shop, first=Scripted(script[0]), second=Scripted(script[1]), third=Scripted())
    one = shop.start()
    _deliver(frozen, sender, _policy())

    assert sender.sent() == ["first", "second"]
    assert [each[3] for each in story(shop, one)] == ["unknown", "unknown"]
    assert letters(frozen.client) == ["too_many_ambiguous"]


def test_certain_failures_in_between_change_nothing(frozen: FrozenValkey, shop: Caller) -> None:
    sender = Sender(
        shop, first=Scripted(die, fail_in_time), second=Scripted(fail_in_time, die), third=Scripted(fail_in_time)
    )
    one = shop.start()
    _deliver(frozen, sender, _policy())

    assert [each[3] for each in story(shop, one)].count("unknown") == 2
    assert letters(frozen.client) == ["too_many_ambiguous"]


def test_another_channel_brings_no_new_budget(frozen: FrozenValkey, shop: Caller) -> None:
    sender = Sender(shop, first=Scripted(die, die), second=Scripted(refused("channel", "21614")))
    one = shop.start()
    _deliver(frozen, sender, _policy())

    assert [(message.channel) for message in sender.gateways["first"].sent] == ["sms", "voice"]
    assert _calls(shop, one) == ["unknown interrupted", "failed channel 21614", "unknown interrupted"]
    assert letters(frozen.client) == ["too_many_ambiguous"]


def test_another_message_has_a_budget_of_its_own(frozen: FrozenValkey, shop: Caller) -> None:
    sender = Sender(shop, first=Scripted(time_out), second=Scripted(time_out), third=Scripted())
    one = shop.start()
    _deliver(frozen, sender, _policy())
    frozen.advance(30)
    shop.resend(one)
    _deliver(frozen, sender, _policy())

    assert story(shop, one)[-1] == (2, 1, "third", "sent", None)


def test_a_report_that_it_failed_makes_a_call_certain(frozen: FrozenValkey, shop: Caller) -> None:
    sender = Sender(shop, first=Scripted(die), second=Scripted(time_out), third=Scripted())
    one = shop.start()

    def be_told() -> None:
        (made, *_) = sender.gateways["first"].sent
        record_receipt(shop.context, "first", made.dispatch_id, Receipt(DeliveryStatus.EXPIRED, "EXPIRED"))
        time_out()

    sender.gateways["second"].script[:] = [be_told]
    _deliver(frozen, sender, _policy())

    assert [each[3] for each in story(shop, one)] == ["expired", "unknown", "sent"]
    assert letters(frozen.client) == []


def test_a_message_that_is_put_back_by_hand_has_a_new_budget(frozen: FrozenValkey, shop: Caller) -> None:
    sender = Sender(shop, first=Scripted(time_out), second=Scripted(time_out), third=Scripted())
    one = shop.start()
    _deliver(frozen, sender, _policy())
    (letter,) = shop.context.store.dead_letters.newest(1)
    shop.context.store.dead_letters.redrive(letter)
    _deliver(frozen, sender, _policy())

    assert story(shop, one)[-1][2:4] == ("third", "sent")


def test_that_nobody_knows_is_told_now_and_when_the_record_has_gone(frozen: FrozenValkey, shop: Caller) -> None:
    sender = Sender(shop, first=Scripted(die), second=Scripted(die), third=Scripted())
    shop.start()
    _deliver(frozen, sender, _policy())
    told = []
    for wait in (0, GONE):
        frozen.advance(wait)
        (case,) = find_number_history(shop.context, parse_destination(NUMBER, None)).verifications
        told.append(case.explanation.why)

    assert told == [Why.NOBODY_KNOWS, Why.NOBODY_KNOWS]
