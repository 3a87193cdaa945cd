"""Falling back to another channel: the same code, the same budgets, asked for or after a report."""

from collections.abc import Callable
from typing import Any

import pytest
from support_caller import Caller
from support_installation import World
from support_outbox import Scripted, Sender, jobs_of, story, timed_out

from otp_service.domain.verification import DeliveryStatus
from otp_service.errors import ChannelNotAvailableError, NoSendsLeftError, ResendTooSoonError
from otp_service.gateways.base import FailureKind, Receipt
from otp_service.services.receipts import record_receipt
from otp_service.store import keys

LOGIN = {"channels": ["sms", "voice", "whatsapp"], "resend_delays": [30], "max_sends": 3}


def _shop(world: World, login: dict[str, Any] | None = None, **sections: Any) -> Caller:
    return Caller(world.install(purposes={"login": {**LOGIN, **(login or {})}}, **sections))


@pytest.fixture
def shop(still_world: World) -> Caller:
    return _shop(still_world)


class Handset:
    """Everything that reached it, and what its gateway reports."""

    def __init__(self, shop: Caller) -> None:
        self.shop = shop
        self.gateway = Scripted()
        self.sender = Sender(shop, sandbox=self.gateway)

    def get(self) -> list[tuple[str, str]]:
        """Let a worker deliver what waits; return channel and code of all messages so far."""
        while self.sender.deliver():
            pass
        return [(message.channel, message.variables["code"]) for message in self.gateway.sent]

    def report(self, status: str, place: int = -1, kind: FailureKind | None = None) -> bool:
        """Report on a message that was sent, by its place."""
        made = self.gateway.sent[place].dispatch_id
        return record_receipt(
            self.shop.context, "sandbox", made, Receipt(DeliveryStatus(status), status.upper(), None, kind)
        )


@pytest.fixture
def handset(shop: Caller) -> Handset:
    return Handset(shop)


def test_another_channel_that_is_asked_for_carries_the_same_code_and_counts_as_a_message(
    still_world: World, shop: Caller, handset: Handset
):
    one = shop.start()
    handset.get()
    with pytest.raises(ResendTooSoonError):
        shop.resend(one, channel="voice")
    still_world.advance(30)
    shown = shop.resend(one, channel="voice").verification

    assert (shown.channel, shown.sends_left) == ("voice", 1)
    assert handset.get() == [("sms", shop.code(one)), ("voice", shop.code(one))]


def test_a_channel_that_the_purpose_does_not_offer_is_refused(still_world: World):
    shop = _shop(still_world, {"channels": ["sms"]})
    one = shop.start()
    still_world.advance(30)
    with pytest.raises(ChannelNotAvailableError):
        shop.resend(one, channel="voice")

    assert shop.read(one).verification.sends == 1


@pytest.mark.parametrize("status", ["undelivered", "failed"])
def test_what_did_not_arrive_goes_out_through_the_next_channel_with_the_same_code(
    shop: Caller, handset: Handset, status: str
):
    one = shop.start()
    handset.get()
    handset.report(status)

    assert handset.get() == [("sms", shop.code(one)), ("voice", shop.code(one))]
    assert story(shop, one) == [(1, 1, "sandbox", status, None), (2, 1, "sandbox", "sent", None)]
    shown = shop.read(one).verification
    assert (shown.channel, shown.sends, shown.sends_left) == ("voice", 2, 1)


def test_it_carries_the_same_code_also_where_a_resend_would_make_a_new_one(still_world: World):
    shop = _shop(still_world, {"resend": "new_code"})
    handset = Handset(shop)
    one = shop.start()
    code = shop.code(one)
    handset.get()
    handset.report("undelivered")

    assert handset.get() == [("sms", code), ("voice", code)]
    assert shop.check(one, code)[1]


def test_it_goes_through_all_channels_and_ends_with_the_last(shop: Caller, handset: Handset):
    one = shop.start()
    for _ in range(5):
        handset.get()
        handset.report("undelivered")

    assert [channel for channel, _ in handset.get()] == ["sms", "voice", "whatsapp"]
    assert shop.read(one).verification.sends == 3


def test_it_brings_no_message_more_than_the_verification_has(still_world: World):
    shop = _shop(still_world, {"max_sends": 2})
    handset = Handset(shop)
    one = shop.start()
    for _ in range(3):
        handset.get()
        handset.report("undelivered")

    assert [channel for channel, _ in handset.get()] == ["sms", "voice"]
    still_world.advance(60)
    with pytest.raises(NoSendsLeftError):
        shop.resend(one)


def test_it_brings_no_message_more_than_the_number_may_get(still_world: World):
    shop = _shop(still_world, limits={"number": ["2/hour"]})
    handset = Handset(shop)
    shop.start()
    for _ in range(3):
        handset.get()
        handset.report("undelivered")

    assert [channel for channel, _ in handset.get()] == ["sms", "voice"]


def test_it_brings_no_new_guesses(shop: Caller, handset: Handset):
    one = shop.start()
    handset.get()
    for _ in range(4):
        shop.check(one, shop.wrong(one))
    handset.report("undelivered")
    handset.get()

    assert shop.check(one, shop.wrong(one)) == ("max_attempts_reached", False, 0, "wrong_code")


def test_it_does_not_happen_to_a_number_that_is_locked_for_guesses(still_world: World):
    shop = _shop(still_world, limits={"failed_checks": ["2/day"]})
    handset = Handset(shop)
    one = shop.start()
    handset.get()
    for _ in range(2):
        shop.check(one, shop.wrong(one))
    handset.report("undelivered")

    assert len(handset.get()) == 1


def test_it_does_not_lengthen_the_life_of_the_code(still_world: World, shop: Caller, handset: Handset):
    one = shop.start()
    handset.get()
    expires = shop.read(one).verification.expires
    still_world.advance(120)
    handset.report("undelivered")
    handset.get()

    assert shop.read(one).verification.expires == expires
    assert handset.gateway.sent[-1].expires_in == 180


def test_it_is_no_request_of_the_application(still_world: World):
    shop = _shop(still_world, limits={"application": ["2/minute"]})
    handset = Handset(shop)
    shop.start()
    handset.get()
    handset.report("undelivered")

    assert len(handset.get()) == 2
    assert shop.send("+923001234568").quota.remaining == 0


def test_a_report_that_comes_twice_sends_once(shop: Caller, handset: Handset):
    one = shop.start()
    handset.get()
    for _ in range(3):
        assert handset.report("undelivered", 0)
    handset.get()
    for _ in range(3):
        assert handset.report("undelivered", 0)

    assert [channel for channel, _ in handset.get()] == ["sms", "voice"]
    assert shop.read(one).verification.sends == 2


@pytest.mark.parametrize("status", ["sent", "delivered", "expired", "unknown", "queued"])
def test_no_other_report_sends_anything(shop: Caller, handset: Handset, status: str):
    shop.start()
    handset.get()
    handset.report(status)

    assert len(handset.get()) == 1


@pytest.mark.parametrize("kind", [FailureKind.DESTINATION, FailureKind.REJECTED, FailureKind.FRAUD])
def test_a_number_that_nothing_reaches_is_not_tried_through_another_channel(
    shop: Caller, handset: Handset, kind: FailureKind
):
    shop.start()
    handset.get()
    handset.report("undelivered", kind=kind)

    assert len(handset.get()) == 1


def test_a_last_word_that_comes_late_leaves_in_the_record_what_was_sent_instead(
    still_world: World, shop: Caller, handset: Handset
):
    one = shop.start()
    handset.get()
    handset.report("undelivered", 0)
    handset.report("undelivered", 0, FailureKind.DESTINATION)

    assert still_world.client.hget(keys.record("00", one), "after1") == b"2"


def test_what_arrived_and_is_then_said_not_to_have_sends_nothing(shop: Caller, handset: Handset):
    one = shop.start()
    handset.get()
    handset.report("delivered")
    handset.report("undelivered")

    assert len(handset.get()) == 1
    assert story(shop, one) == [(1, 1, "sandbox", "delivered", None)]


def test_an_earlier_message_that_did_not_arrive_sends_nothing(still_world: World, shop: Caller, handset: Handset):
    one = shop.start()
    handset.get()
    still_world.advance(30)
    shop.resend(one)
    handset.get()
    handset.report("undelivered", 0)

    assert [channel for channel, _ in handset.get()] == ["sms", "sms"]


def _approve(shop: Caller, one: str) -> None:
    assert shop.check(one, shop.code(one))[1]


@pytest.mark.parametrize("end", [_approve, Caller.cancel], ids=["approved", "canceled"])
def test_after_the_end_nothing_is_sent(shop: Caller, handset: Handset, end: Callable[[Caller, str], Any]):
    one = shop.start()
    handset.get()
    end(shop, one)
    handset.report("undelivered")

    assert len(handset.get()) == 1


def test_after_the_codes_life_nothing_is_sent(still_world: World, shop: Caller, handset: Handset):
    shop.start()
    handset.get()
    still_world.advance(300)
    handset.report("undelivered")

    assert len(handset.get()) == 1


def test_it_can_be_turned_off(still_world: World):
    shop = _shop(still_world, {"fallback": False})
    handset = Handset(shop)
    shop.start()
    handset.get()
    handset.report("undelivered")

    assert len(handset.get()) == 1


def test_a_live_verification_keeps_the_policy_of_its_start(still_world: World):
    material = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
    keys = {"root": f"k1:{material}", "pseudonym": material}
    before = _shop(still_world, {"fallback": False}, keys=keys)
    before.start()
    handset = Handset(_shop(still_world, keys=keys))
    handset.get()
    handset.report("undelivered")

    assert len(handset.get()) == 1


@pytest.mark.parametrize(("full", "sends"), [("voice", 1), ("sms", 2)])
def test_a_backlog_that_is_full_takes_no_fallback_either(
    still_world: World, shop: Caller, handset: Handset, full: str, sends: int
):
    """That of the channel that it would go through: what waits for the other one is not in its way."""
    one = shop.start()
    handset.get()
    shop.start("+923001234568", channel=full)
    jobs_of(shop.context, "a worker that does nothing")
    still_world.advance(299)
    handset.report("undelivered")

    assert shop.read(one).verification.sends == sends


def _sent_by_two(world: World) -> tuple[Caller, Sender, str, Callable[..., None]]:
    """Send a message through a gateway that does not answer, and another; return how each reports."""
    gateways = {"first": {"kind": "sandbox"}, "second": {"kind": "sandbox"}}
    shop = _shop(world, gateways=gateways, routes=[{"gateways": ["first", "second"]}])
    sender = Sender(shop, first=Scripted(timed_out()), second=Scripted())
    one = shop.start()
    sender.deliver()

    def undelivered(gateway: str, kind: FailureKind | None = None) -> None:
        made = sender.gateways[gateway].sent[0].dispatch_id
        record_receipt(shop.context, gateway, made, Receipt(DeliveryStatus.UNDELIVERED, "UNDELIV", None, kind))

    return shop, sender, one, undelivered


def test_of_a_message_that_went_to_two_gateways_only_the_last_call_decides(still_world: World):
    shop, sender, one, undelivered = _sent_by_two(still_world)
    undelivered("first")
    assert sender.deliver() == 0, "the second one may still deliver it"
    undelivered("second")
    sender.deliver()

    assert [each[:4] for each in story(shop, one)] == [
        (1, 1, "first", "undelivered"),
        (1, 2, "second", "undelivered"),
        (2, 1, "first", "sent"),
    ]


@pytest.mark.parametrize("login", [{}, {"fallback": False}])
def test_a_report_that_our_account_is_refused_goes_on_to_the_next_gateway_and_counts_against_this_one(
    still_world: World, login: dict[str, Any]
):
    gateways = {"first": {"kind": "sandbox"}, "second": {"kind": "sandbox"}}
    shop = _shop(still_world, login, gateways=gateways, routes=[{"gateways": ["first", "second"]}])
    sender = Sender(shop, first=Scripted(), second=Scripted())
    said = Receipt(DeliveryStatus.FAILED, "failed", "account 30002", FailureKind.ACCOUNT)
    one = shop.start()
    sender.deliver()
    for name in ("first", "first", "second"):  # a report that comes twice tells nothing new
        record_receipt(shop.context, name, sender.gateways[name].sent[0].dispatch_id, said)
        known = shop.context.store.health.of((name,))[name]
        assert (known.bad, known.refusal) == (1, "account 30002")
        sender.deliver()

    assert [each[:4] for each in story(shop, one)][:2] == [(1, 1, "first", "failed"), (2, 1, "second", "failed")]
    further = [message.channel for message in sender.gateways["first"].sent[1:]]
    assert further == ([] if login else ["voice"]), "by the next channel once all gateways refused"


def test_what_the_last_call_said_of_the_number_stands(still_world: World):
    _, sender, _, undelivered = _sent_by_two(still_world)
    undelivered("second", FailureKind.DESTINATION)
    undelivered("first")

    assert sender.deliver() == 0
