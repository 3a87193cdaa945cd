"""What a caller sees of a message, however it ends."""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from support_caller import Caller
from support_installation import World
from support_outbox import dispatched, jobs_of, letters, pending, settle, waiting

from otp_service.errors import StoreUnavailableError
from otp_service.services.delivery import RetryPolicy, deliver
from otp_service.store.outbox import DispatchResult, NextStep

POLICY = RetryPolicy(max_ambiguous=1, backoff=(1.0,))


@pytest.fixture
def shop(still_world: World) -> Caller:
    return Caller(still_world.install())


def story(caller: Caller, one: str) -> list[tuple[str | None, str, str | None]]:
    return [(each.gateway, each.status, each.reason) for each in caller.read(one).verification.deliveries]


def test_a_message_that_is_handed_over_is_sent(shop: Caller):
    one = shop.start()
    (job,) = jobs_of(shop.context)
    deliver(shop.context, job, POLICY)

    assert story(shop, one) == [("sandbox", "sent", None)]
    (caught,) = shop.context.store.mailbox.messages("shop", one)
    assert shop.code(one) in caught.text


def test_a_message_that_waited_too_long_is_expired(still_world: World):
    shop = Caller(still_world.install())
    one = shop.start()
    (job,) = jobs_of(shop.context)
    still_world.advance(301)
    deliver(shop.context, job, POLICY)

    assert story(shop, one) == [(None, "expired", "expired")]
    assert letters(still_world.client) == ["expired"]


def test_a_message_that_is_no_longer_wanted_is_told_as_not_sent(shop: Caller):
    one = shop.start()
    (job,) = jobs_of(shop.context)
    shop.cancel(one)
    deliver(shop.context, job, POLICY)

    assert story(shop, one) == [(None, "failed", "canceled")]
    assert shop.context.store.mailbox.messages("shop", one) == []


def test_a_message_without_a_route_is_told_as_failed(still_world: World):
    material = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
    keys = {"root": f"k1:{material}", "pseudonym": material}
    shop = Caller(still_world.install(keys=keys))
    one = shop.start()
    later = Caller(still_world.install(keys=keys, routes=[{"countries": ["GB"], "gateways": ["sandbox"]}]))
    (job,) = jobs_of(later.context)
    deliver(later.context, job, POLICY)

    assert story(later, one) == [(None, "failed", "no_route")]


def test_a_message_that_was_called_for_and_then_lost_its_route_is_given_up(still_world: World):
    shop = Caller(still_world.install())
    shop.start()
    (job,) = jobs_of(shop.context)
    for _ in range(2):
        settle(shop.context, job, dispatched(shop.context, job, "sandbox"), DispatchResult(NextStep.NEXT))
    del shop.context.applications["shop"]
    deliver(shop.context, job, POLICY)

    assert letters(still_world.client) == ["no_application"]
    assert waiting(still_world.client) == 0


def test_who_no_longer_has_a_message_neither_sends_it_nor_gives_it_up(still_world: World):
    """A worker that was stopped in between, with a configuration that has grown old meanwhile."""
    shop = Caller(still_world.install())
    one = shop.start()
    (job,) = jobs_of(shop.context, "stopped")
    still_world.advance(0.001)
    shop.context.store.outbox.claim("heir", 1, 0)
    with capture_logs() as lines:
        assert deliver(shop.context, job, POLICY) is None
        del shop.context.applications["shop"]
        assert deliver(shop.context, job, POLICY) is None

    assert [line["event"] for line in lines] == ["message_overtaken"]
    assert story(shop, one) == [(None, "queued", None)]
    assert shop.context.store.mailbox.messages("shop", one) == []
    assert letters(still_world.client) == []
    assert pending(still_world.client) == 1


@pytest.mark.parametrize("max_ambiguous", [0, 1])
def test_a_message_whose_workers_died_again_and_again_is_given_up_as_unknown(still_world: World, max_ambiguous: int):
    shop = Caller(still_world.install())
    one = shop.start()
    for worker in ("first", "second"):
        still_world.advance(0.001)
        (job,) = jobs_of(shop.context, worker) or shop.context.store.outbox.claim(worker, 1, 0)
        dispatched(shop.context, job, "sandbox")
    still_world.advance(0.001)
    (job,) = shop.context.store.outbox.claim("third", 1, 0)
    deliver(shop.context, job, replace(POLICY, max_ambiguous=max_ambiguous))

    assert story(shop, one) == [("sandbox", "unknown", "interrupted"), ("sandbox", "unknown", "interrupted")]
    assert letters(still_world.client) == ["too_many_ambiguous"]
    assert waiting(still_world.client) == 0


def test_a_call_in_which_a_worker_died_counts_before_the_next_one_is_made(still_world: World):
    shop = Caller(still_world.install())
    one = shop.start()
    (job,) = jobs_of(shop.context, "dead")
    dispatched(shop.context, job, "sandbox")
    still_world.advance(0.001)
    (job,) = shop.context.store.outbox.claim("heir", 1, 0)
    deliver(shop.context, job, replace(POLICY, max_ambiguous=0))

    assert story(shop, one) == [("sandbox", "unknown", "interrupted")]
    assert letters(still_world.client) == ["too_many_ambiguous"]
    assert shop.context.store.mailbox.messages("shop", one) == []


def test_a_message_of_an_application_that_is_gone_is_told_as_failed(still_world: World):
    shop = Caller(still_world.install())
    one = shop.start()
    (job,) = jobs_of(shop.context)
    del shop.context.applications["shop"]
    deliver(shop.context, job, POLICY)

    assert story(shop, one) == [(None, "failed", "no_application")]


def test_what_was_handed_over_is_recorded_when_redis_is_back(shop: Caller, monkeypatch: pytest.MonkeyPatch):
    one = shop.start()
    (job,) = jobs_of(shop.context)
    dispatches, failures = shop.context.store.dispatches, [1, 2]
    settle = type(dispatches).finish

    def away(*arguments):
        if failures:
            failures.pop()
            raise StoreUnavailableError("away")
        return settle(*arguments)

    monkeypatch.setattr("otp_service.services.delivery._SETTLE_RETRY_DELAY", 0.001)
    monkeypatch.setattr(type(dispatches), "finish", away)
    deliver(shop.context, job, POLICY)

    assert story(shop, one) == [("sandbox", "sent", None)]


@pytest.mark.parametrize(
    ("waited", "words"), [(0, "5 minutes"), (65, "4 minutes"), (235, "1 minute"), (270, "less than")]
)
def test_a_message_does_not_overstate_how_long_its_code_is_valid(still_world: World, waited: int, words: str):
    shop = Caller(still_world.install())
    one = shop.start()
    (job,) = jobs_of(shop.context)
    still_world.advance(waited)
    deliver(shop.context, job, POLICY)

    assert f"valid for {words}" in shop.context.store.mailbox.messages("shop", one)[0].text
