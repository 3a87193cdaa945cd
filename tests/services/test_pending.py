"""One verification of a number and purpose at a time: sent again while it is pending, and found by the number."""

from dataclasses import replace

import pytest
from support_caller import PAYMENT, Caller
from support_installation import NUMBER, World
from support_outbox import deliver_all

from otp_service.api.twilio.verifications import read_latest, start_or_resend
from otp_service.bootstrap import Installation
from otp_service.domain.verification import Status
from otp_service.errors import NotFoundError
from otp_service.services.start import StartRequest
from otp_service.services.verifications import VerificationView

LOGIN = {"resend_delays": [0], "max_sends": 5, "channels": ["sms", "voice"]}


@pytest.fixture
def installation(still_world: World) -> Installation:
    return still_world.install(purposes={"login": LOGIN, "payment": {"kind": "transaction", **LOGIN}})


@pytest.fixture
def shop(installation: Installation) -> Caller:
    return Caller(installation)


@pytest.fixture
def bank(installation: Installation) -> Caller:
    return Caller(installation, "bank")


def send(caller: Caller, to: str = NUMBER, **members: object) -> VerificationView:
    return start_or_resend(caller.context, caller.application, StartRequest(to=to, **members))


def latest(caller: Caller, purpose: str = "login") -> str:
    return read_latest(caller.context, caller.application, purpose, NUMBER).verification.id


def test_one_is_started_while_what_may_be_pending_is(shop: Caller):
    first = shop.start()
    second = shop.start(allowed_pending=first)
    third = shop.start(allowed_pending="*")

    assert len({first, second, third}) == 3


def test_a_pending_one_is_sent_again_with_its_channel_or_another(shop: Caller):
    first = send(shop).verification
    again, called = send(shop).verification, send(shop, channel="voice").verification

    assert first.id == again.id == called.id == send(shop).verification.id
    assert (again.sends, called.channel) == (2, "voice")


def test_what_has_ended_is_followed_by_a_new_one(shop: Caller, still_world: World):
    approved = send(shop).verification.id
    shop.check(approved, shop.code(approved))
    canceled = send(shop).verification.id
    shop.cancel(canceled)
    expired = send(shop).verification.id
    deliver_all(shop.context)
    still_world.advance(301)
    last = send(shop).verification.id

    assert len({approved, canceled, expired, last}) == 4


def test_only_the_same_payment_is_sent_again(shop: Caller):
    other = replace(PAYMENT, amount="1600")
    first = send(shop, purpose="payment", transaction=PAYMENT).verification.id

    assert send(shop, purpose="payment", transaction=replace(PAYMENT, amount="1500.00")).verification.id == first
    second = send(shop, purpose="payment", transaction=other).verification.id
    assert second != first
    assert send(shop, purpose="payment", transaction=other).verification.id == second


def test_one_of_another_number_purpose_or_application_is_none(shop: Caller, bank: Caller):
    ids = {
        send(shop).verification.id,
        send(bank).verification.id,
        send(shop, to="+923001234568").verification.id,
        send(shop, purpose="payment", transaction=PAYMENT).verification.id,
    }

    assert len(ids) == 4


def test_the_newest_of_a_number_is_found_as_it_is_now(shop: Caller, still_world: World):
    with pytest.raises(NotFoundError):
        latest(shop)
    first = shop.start()
    assert latest(shop) == first
    second = shop.start()
    shop.resend(second)
    assert latest(shop) == second
    still_world.advance(301)
    assert read_latest(shop.context, shop.application, "login", NUMBER).verification.status is Status.EXPIRED
    still_world.advance(600)
    with pytest.raises(NotFoundError):
        latest(shop)


def test_the_newest_is_that_of_the_purpose_and_the_application(shop: Caller, bank: Caller):
    one = shop.start()
    paying = shop.start(purpose="payment", transaction=PAYMENT)
    bank.start()

    assert latest(shop) == one
    assert latest(shop, "payment") == paying
