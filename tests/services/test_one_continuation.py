"""What follows a call that failed is decided once: by its answer, or by the gateway's report on it, never by both."""

from collections.abc import Callable
from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_outbox import DELAYED, Scripted, Sender, letters, refused, story, timed_out, waiting

from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import Accepted, FailureKind, Receipt
from otp_service.services.receipts import record_receipt
from otp_service.store.outbox import RedriveResult

ANSWERS: dict[str, Any] = {
    "accepted": Accepted("SM1"),
    "timed out": timed_out(),
    "unavailable": refused("unavailable"),
    "throttled": refused("throttled"),
    "error": refused("error"),
    "channel": refused("channel"),
    "rejected": refused("rejected"),
    "destination": refused("destination"),
}
GOES_ON = ("timed out", "unavailable", "throttled", "error")
FAILED = ["undelivered", "failed"]


def _shop(frozen: FrozenValkey, channels: tuple[str, ...] = ("sms", "voice"), **sections: Any) -> Caller:
    return Caller(
        frozen.world().install(
            **{
                "limits": {"number": ["1000/hour"]},
                "purposes": {"login": {"channels": [*channels], "resend_delays": [0]}},
                "gateways": {"first": {"kind": "sandbox"}, "second": {"kind": "sandbox"}},
                "routes": [{"gateways": ["first", "second"]}],
                **sections,
            }
        )
    )


def _report(shop: Caller, sender: Sender, status: str, kind: FailureKind | None = None, place: int = 0) -> None:
    made = sender.gateways["first"].sent[place].dispatch_id
    assert record_receipt(shop.context, "first", made, Receipt(DeliveryStatus(status), status.upper(), None, kind))


def _answering(answer: Any, before: Callable[[], None] = lambda: None) -> Callable[[], None]:
    def act() -> None:
        before()
        if not isinstance(answer, Accepted):
            raise answer

    return act


def _finish(frozen: FrozenValkey, sender: Sender) -> list[tuple[str, str]]:
    """Let workers do all that is to be done; return gateway and channel of each call."""
    for _ in range(12):
        sender.deliver()
        sender.go_on()
        frozen.advance(10)
    assert waiting(frozen.client) == 0
    assert not frozen.client.exists(DELAYED)
    return [(name, message.channel) for name, gateway in sender.gateways.items() for message in gateway.sent]


@pytest.mark.parametrize("status", FAILED)
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_report_before_the_answer_is_what_decides(frozen: FrozenValkey, answer: str, status: str) -> None:
    shop = _shop(frozen)
    sender = Sender(shop, first=Scripted(), second=Scripted())
    sender.gateways["first"].script[:] = [_answering(ANSWERS[answer], lambda: _report(shop, sender, status))]
    one = shop.start()

    assert _finish(frozen, sender) == [("first", "sms"), ("first", "voice")]
    assert [each[:2] for each in story(shop, one)] == [(1, 1), (2, 1)]
    assert letters(frozen.client) == []


@pytest.mark.parametrize("status", FAILED)
@pytest.mark.parametrize("answer", ANSWERS)
def test_where_the_report_can_lead_nowhere_the_answer_decides(frozen: FrozenValkey, answer: str, status: str) -> None:
    shop = _shop(frozen, ("sms",))
    sender = Sender(shop, first=Scripted(), second=Scripted())
    sender.gateways["first"].script[:] = [_answering(ANSWERS[answer], lambda: _report(shop, sender, status))]
    shop.start()

    assert _finish(frozen, sender) == [("first", "sms"), *([("second", "sms")] if answer in GOES_ON else [])]


@pytest.mark.parametrize("kind", [FailureKind.DESTINATION, FailureKind.REJECTED, FailureKind.FRAUD])
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_report_that_ends_the_delivery_ends_it_whatever_the_answer(
    frozen: FrozenValkey, answer: str, kind: FailureKind
) -> None:
    shop = _shop(frozen)
    sender = Sender(shop, first=Scripted(), second=Scripted())
    early = _answering(ANSWERS[answer], lambda: _report(shop, sender, "undelivered", kind))
    sender.gateways["first"].script[:] = [early]
    shop.start()

    assert _finish(frozen, sender) == [("first", "sms")]


def _held(shop: Caller, sender: Sender) -> None:
    """Let the message wait in hand: its second gateway is shut."""
    shop.context.store.health.open("second", 500, "cli:ops")


def _resting(_: Caller, sender: Sender) -> None:
    """Let the message rest: its second gateway fails too, for certain."""
    sender.gateways["second"].script[:] = [refused("unavailable")]


@pytest.mark.parametrize("status", FAILED)
@pytest.mark.parametrize("answer", GOES_ON)
def test_a_report_while_the_message_waits_for_its_next_call_takes_the_place_of_that_call(
    frozen: FrozenValkey, answer: str, status: str
) -> None:
    shop = _shop(frozen)
    sender = Sender(shop, first=Scripted(ANSWERS[answer]), second=Scripted())
    _held(shop, sender)
    one = shop.start()
    sender.deliver()
    assert len(sender.held) == 1
    _report(shop, sender, status)
    calls = _finish(frozen, sender)

    if answer == "timed out" or status == "failed":  # nobody knew, or the report says the same as the answer
        assert [channel for _, channel in calls] == ["sms", "voice"]
        assert [each[:2] for each in story(shop, one)] == [(1, 1), (2, 1)]
    else:
        assert calls == [("first", "sms"), ("second", "sms")]


@pytest.mark.parametrize("status", FAILED)
def test_a_report_on_a_call_that_another_one_followed_decides_nothing(frozen: FrozenValkey, status: str) -> None:
    """Between the answer, a time-out, and the report the second gateway has been called."""
    shop = _shop(frozen)
    sender = Sender(shop, first=Scripted(timed_out()), second=Scripted())
    _resting(shop, sender)
    shop.start()
    sender.deliver()
    _report(shop, sender, status)
    calls = _finish(frozen, sender)

    assert calls == [("first", "sms"), ("first", "sms"), ("second", "sms")]


@pytest.mark.parametrize("status", FAILED)
def test_of_a_call_that_is_made_while_its_forerunner_is_reported_only_its_own_answer_decides(
    frozen: FrozenValkey, status: str
) -> None:
    """The report has read the record before the next call, and asks for a further message after it."""
    shop = _shop(frozen)
    sender = Sender(shop, first=Scripted(timed_out()), second=Scripted())
    _held(shop, sender)
    one = shop.start()
    sender.deliver()
    verifications = shop.context.store.verifications
    ask = verifications.resend

    def ask_late(*given: Any, **more: Any) -> Any:
        frozen.advance(1)
        sender.go_on()
        return ask(*given, **more)

    verifications.resend = ask_late  # type: ignore[method-assign]
    _report(shop, sender, status)
    verifications.resend = ask  # type: ignore[method-assign]

    assert _finish(frozen, sender) == [("first", "sms"), ("second", "sms")]
    assert shop.read(one).verification.sends == 1


@pytest.mark.parametrize("times", [1, 3])
def test_a_message_that_was_given_up_and_is_then_reported_goes_on_by_one_way(frozen: FrozenValkey, times: int) -> None:
    """By the report: a letter that is put back afterwards would be a second one."""
    shop = _shop(frozen, gateways={"first": {"kind": "sandbox"}}, routes=[{"gateways": ["first"]}])
    sender = Sender(shop, first=Scripted(timed_out(), timed_out()))
    shop.start()
    while not letters(frozen.client):
        sender.deliver()
        frozen.advance(10)
    for _ in range(times):
        _report(shop, sender, "undelivered", place=1)
    (letter,) = shop.context.store.dead_letters.newest(1)
    assert shop.context.store.dead_letters.redrive(letter) == (RedriveResult.UNWANTED, "reported")

    assert [channel for _, channel in _finish(frozen, sender)] == ["sms", "sms", "voice"]


def test_a_worker_that_died_in_a_call_that_is_reported_is_followed_by_one_way(frozen: FrozenValkey) -> None:
    shop = _shop(frozen)

    def be_reported_and_die() -> None:
        _report(shop, sender, "undelivered")
        raise KeyboardInterrupt

    sender = Sender(shop, first=Scripted(be_reported_and_die), second=Scripted())
    shop.start()
    with pytest.raises(KeyboardInterrupt):
        sender.deliver()
    frozen.advance(15)
    for job in shop.context.store.outbox.claim("heir", 9, 15_000):
        sender.hand_over(job)

    assert [channel for _, channel in _finish(frozen, sender)] == ["sms", "voice"]
