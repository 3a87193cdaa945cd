"""What a caller sees of a message, however it ends."""

import pytest
from support_caller import Caller
from support_installation import World
from support_outbox import dispatched, jobs_of, letters

from otp_service.core.errors import StoreUnavailableError
from otp_service.services.deliver import Policy, deliver

POLICY = Policy(max_dispatches=2, max_ambiguous=1, backoff=(1.0,))


@pytest.fixture
def shop(fake_world: World) -> Caller:
    return Caller(fake_world.install())


def never(_application: str, _milliseconds: int) -> bool:
    """Wait for no gateway's turn."""
    return False


def story(caller: Caller, one: str) -> list[tuple[str | None, str, str | None]]:
    return [(each.gateway, each.status, each.reason) for each in caller.read(one).verification.deliveries]


def test_a_message_that_is_handed_over_is_sent(shop: Caller):
    one = shop.start()
    (job,) = jobs_of(shop.context)
    deliver(shop.context, job, POLICY, never)

    assert story(shop, one) == [("sandbox", "sent", None)]
    (caught,) = shop.context.store.mailbox.messages("shop", one)
    assert shop.code(one) in caught.text


def test_a_message_that_waited_too_long_is_expired(fake_world: World):
    shop = Caller(fake_world.install())
    one = shop.start()
    (job,) = jobs_of(shop.context)
    fake_world.advance(301)
    deliver(shop.context, job, POLICY, never)

    assert story(shop, one) == [(None, "expired", "expired")]
    assert letters(fake_world.client) == ["expired"]


def test_a_message_that_is_no_longer_wanted_is_told_as_not_sent(shop: Caller):
    one = shop.start()
    (job,) = jobs_of(shop.context)
    shop.cancel(one)
    deliver(shop.context, job, POLICY, never)

    assert story(shop, one) == [(None, "failed", "canceled")]
    assert shop.context.store.mailbox.messages("shop", one) == []


def test_a_message_without_a_route_is_told_as_failed(fake_world: World):
    material = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
    keys = {"root": f"k1:{material}", "pseudonym": material}
    shop = Caller(fake_world.install(keys=keys))
    one = shop.start()
    later = Caller(fake_world.install(keys=keys, routes=[{"countries": ["GB"], "gateways": ["sandbox"]}]))
    (job,) = jobs_of(later.context)
    deliver(later.context, job, POLICY, never)

    assert story(later, one) == [(None, "failed", "no_route")]


def test_a_message_whose_workers_died_again_and_again_is_given_up_as_unknown(fake_world: World):
    shop = Caller(fake_world.install())
    one = shop.start()
    (job,) = jobs_of(shop.context)
    for _ in range(2):
        dispatched(shop.context, job, "sandbox", most=POLICY.max_dispatches)
    deliver(shop.context, job, POLICY, never)

    assert story(shop, one) == [("sandbox", "unknown", "interrupted"), ("sandbox", "unknown", "interrupted")]
    assert letters(fake_world.client) == ["too_many_dispatches"]


def test_a_message_of_an_application_that_is_gone_is_told_as_failed(fake_world: World):
    shop = Caller(fake_world.install())
    one = shop.start()
    (job,) = jobs_of(shop.context)
    del shop.context.applications["shop"]
    deliver(shop.context, job, POLICY, never)

    assert story(shop, one) == [(None, "failed", "no_application")]


def test_what_was_handed_over_is_recorded_when_redis_is_back(shop: Caller, monkeypatch: pytest.MonkeyPatch):
    one = shop.start()
    (job,) = jobs_of(shop.context)
    dispatches, failures = shop.context.store.dispatches, [1, 2]
    settle = type(dispatches).settle

    def away(*arguments):
        if failures:
            failures.pop()
            raise StoreUnavailableError("away")
        return settle(*arguments)

    monkeypatch.setattr("otp_service.services.deliver._PATIENCE", 0.001)
    monkeypatch.setattr(type(dispatches), "settle", away)
    deliver(shop.context, job, POLICY, never)

    assert story(shop, one) == [("sandbox", "sent", None)]


@pytest.mark.parametrize(
    ("waited", "words"), [(0, "5 minutes"), (65, "4 minutes"), (235, "1 minute"), (270, "less than")]
)
def test_a_message_does_not_overstate_how_long_its_code_is_valid(fake_world: World, waited: int, words: str):
    shop = Caller(fake_world.install())
    one = shop.start()
    (job,) = jobs_of(shop.context)
    fake_world.advance(waited)
    deliver(shop.context, job, POLICY, never)

    assert f"valid for {words}" in shop.context.store.mailbox.messages("shop", one)[0].text
