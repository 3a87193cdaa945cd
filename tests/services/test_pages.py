"""Results of hosted pages in the store: used once, by their application, in time, and only of what has ended."""

import pytest
from support_caller import Caller
from support_installation import World

from otp_service.domain.verification import Status
from otp_service.errors import RateLimitedError
from otp_service.services.pages import count_request

SOON = 10**15
"""A time (ms) that never comes."""


@pytest.fixture
def caller(still_world: World) -> Caller:
    return Caller(still_world.install())


def redeem(caller: Caller, one: str, application: str = "shop", until: int = SOON) -> Status | None:
    bucket = caller.context.keyring.bucket_of_id(one)
    assert bucket is not None
    return caller.context.store.verifications.redeem_result(bucket, one, application, until)


def test_what_ended_is_told_once(caller: Caller):
    one = caller.start()
    caller.check(one, caller.code(one))

    assert redeem(caller, one) is Status.APPROVED
    assert redeem(caller, one) is None


def test_what_waits_is_told_when_it_ends(caller: Caller, still_world: World):
    one = caller.start()
    before = redeem(caller, one)
    still_world.advance(301)

    assert before is None
    assert redeem(caller, one) is Status.EXPIRED


def test_it_is_told_to_its_application_and_in_time(caller: Caller):
    one = caller.start()
    caller.check(one, caller.code(one))
    bucket = caller.context.keyring.bucket_of_id(one)
    now, _ = caller.context.store.verifications.read_at(bucket, one)

    assert redeem(caller, one, "bank") is None
    assert redeem(caller, one, until=now) is None
    assert redeem(caller, one, until=now + 1) is Status.APPROVED


def test_a_record_that_is_gone_does_not_come_back(caller: Caller, still_world: World):
    one = caller.start()
    caller.check(one, caller.code(one))
    still_world.client.delete(*still_world.client.keys("*:v:*"))

    assert redeem(caller, one) is None
    assert still_world.client.keys("*:v:*") == []


def test_requests_are_counted_by_minute_and_network(caller: Caller, still_world: World):
    def ask(address: str | None = "203.0.113.7") -> int:
        try:
            count_request(caller.context, address, 2)
        except RateLimitedError as refused:
            return refused.retry_after
        return 0

    assert [ask(), ask(), ask()] == [0, 0, 60]
    assert (ask("203.0.113.8"), ask(None)) == (0, 0)
    assert [ask("2001:db8::1"), ask("2001:db8::2"), ask("2001:db8::3")] == [0, 0, 60]
    still_world.advance(59)
    assert ask() == 1
    still_world.advance(1)
    assert ask() == 1, "the last moment of the minute"
    still_world.advance(1)
    assert ask() == 0
