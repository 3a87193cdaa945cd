"""What a caller sees of a message, however it ends."""

import pytest
from support_caller import Caller
from support_installation import World

from otp_service.core.errors import StoreUnavailableError
from otp_service.services.deliver import Policy, deliver
from otp_service.store.outbox import Job

POLICY = Policy(max_dispatches=2, backoff=(1.0,))


@pytest.fixture
def shop(fake_world: World) -> Caller:
    return Caller(fake_world.install())


def jobs_of(caller: Caller) -> list[Job]:
    outbox = caller.context.store.outbox
    return outbox.read("worker", 10, 1) or outbox.read("worker", 10, 1)


def story(caller: Caller, one: str) -> list[tuple[str | None, str, str | None]]:
    return [(each.gateway, each.status, each.reason) for each in caller.read(one).verification.deliveries]


def test_a_message_that_is_handed_over_is_sent(shop: Caller):
    one = shop.start()
    (job,) = jobs_of(shop)
    deliver(shop.context, job, POLICY)

    assert story(shop, one) == [("sandbox", "sent", None)]
    (caught,) = shop.context.store.mailbox.messages("shop", one)
    assert shop.code(one) in caught.text


def test_a_message_that_waited_too_long_is_expired(fake_world: World):
    shop = Caller(fake_world.install())
    one = shop.start()
    (job,) = jobs_of(shop)
    fake_world.advance(301)
    deliver(shop.context, job, POLICY)

    assert story(shop, one) == [(None, "expired", "expired")]
    assert fake_world.client.xlen("otp:{00}:dead") == 1


def test_a_message_that_is_no_longer_wanted_is_told_as_not_sent(shop: Caller):
    one = shop.start()
    (job,) = jobs_of(shop)
    shop.cancel(one)
    deliver(shop.context, job, POLICY)

    assert story(shop, one) == [(None, "failed", "canceled")]
    assert shop.context.store.mailbox.messages("shop", one) == []


def test_a_message_without_a_route_is_told_as_failed(fake_world: World):
    material = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
    keys = {"root": f"k1:{material}", "pseudonym": material}
    shop = Caller(fake_world.install(keys=keys))
    one = shop.start()
    later = Caller(fake_world.install(keys=keys, routes=[{"countries": ["GB"], "gateways": ["sandbox"]}]))
    (job,) = jobs_of(later)
    deliver(later.context, job, POLICY)

    assert story(later, one) == [(None, "failed", "no_route")]


def test_a_message_whose_workers_died_again_and_again_is_given_up_as_unknown(fake_world: World):
    shop = Caller(fake_world.install())
    one = shop.start()
    (job,) = jobs_of(shop)
    for number in (1, 2):
        shop.context.store.outbox.dispatch(job, f"dp_00{number:032x}", ("sandbox",), POLICY.max_dispatches)
    deliver(shop.context, job, POLICY)

    assert story(shop, one) == [("sandbox", "unknown", "interrupted"), ("sandbox", "unknown", "interrupted")]
    ((_, letter),) = fake_world.client.xrange("otp:{00}:dead")
    assert letter[b"reason"] == b"too_many_dispatches"


def test_a_message_of_an_application_that_is_gone_is_told_as_failed(fake_world: World):
    shop = Caller(fake_world.install())
    one = shop.start()
    (job,) = jobs_of(shop)
    del shop.context.applications["shop"]
    deliver(shop.context, job, POLICY)

    assert story(shop, one) == [(None, "failed", "no_application")]


def test_what_was_handed_over_is_recorded_when_redis_is_back(shop: Caller, monkeypatch: pytest.MonkeyPatch):
    one = shop.start()
    (job,) = jobs_of(shop)
    outbox, failures = shop.context.store.outbox, [1, 2]
    settle = type(outbox).settle

    def away(*arguments):
        if failures:
            failures.pop()
            raise StoreUnavailableError("away")
        return settle(*arguments)

    monkeypatch.setattr("otp_service.services.deliver._PATIENCE", 0.001)
    monkeypatch.setattr(type(outbox), "settle", away)
    deliver(shop.context, job, POLICY)

    assert story(shop, one) == [("sandbox", "sent", None)]


@pytest.mark.parametrize(
    ("waited", "words"), [(0, "5 minutes"), (65, "4 minutes"), (235, "1 minute"), (270, "less than")]
)
def test_a_message_does_not_overstate_how_long_its_code_is_valid(fake_world: World, waited: int, words: str):
    shop = Caller(fake_world.install())
    one = shop.start()
    (job,) = jobs_of(shop)
    fake_world.advance(waited)
    deliver(shop.context, job, POLICY)

    assert f"valid for {words}" in shop.context.store.mailbox.messages("shop", one)[0].text
