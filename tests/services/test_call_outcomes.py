"""What a failed call tells of its gateway, and what of its message only; and for how long it asks to be left alone."""

from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_outbox import Scripted, Sender, choices, refused, story

from otp_service.domain.keyring import new_dispatch_id
from otp_service.domain.routing import BreakerState, CallResult, GatewayHealth
from otp_service.gateways.base import FailureKind, GatewayError

PAUSE = {"throttled_for": 2.0, "max_throttled_for": 30.0}


def _shop(frozen: FrozenValkey, **first: Any) -> Caller:
    gateways = {"first": {"kind": "sandbox", **first}, "second": {"kind": "sandbox"}}
    routes = [{"gateways": ["first", "second"]}]
    return Caller(
        frozen.world().install(limits={"number": ["1000/hour"]}, gateways=gateways, routes=routes, breaker=PAUSE)
    )


@pytest.fixture
def shop(frozen: FrozenValkey) -> Caller:
    return _shop(frozen)


def _sent(shop: Caller, count: int, *first: GatewayError) -> Sender:
    """Send messages one after the other, the first of which a gateway answers so."""
    sender = Sender(shop, first=Scripted(*first), second=Scripted())
    for _ in range(count):
        shop.start()
        sender.deliver()
    return sender


def _health(shop: Caller) -> GatewayHealth:
    return shop.context.store.health.of(("first",))["first"]


@pytest.mark.parametrize("ambiguous", [False, True])
def test_a_failure_that_is_about_the_message_says_nothing_of_the_gateway(shop: Caller, ambiguous: bool) -> None:
    """Otherwise a stranger could have it left alone for everybody, by the numbers that he picks."""
    about_it = refused("unavailable", "30003", message_specific=True, ambiguous=ambiguous)
    sender = _sent(shop, 8, *[about_it] * 8)

    assert sender.sent() == ["first"] * 8 + ["second"] * 8, "each went on to the next gateway all the same"
    assert _health(shop).state is BreakerState.CLOSED
    assert _health(shop).bad == 0


def test_the_same_failure_of_the_gateway_opens_its_breaker(shop: Caller) -> None:
    sender = _sent(shop, 8, *[refused("unavailable", "30003")] * 8)

    assert sender.sent() == ["first"] * 5 + ["second"] * 8
    assert _health(shop).state is BreakerState.OPEN


def test_failures_about_messages_end_a_row_of_bad_calls_like_any_answer_in_time(shop: Caller) -> None:
    bad, about_it = refused("unavailable"), refused("unavailable", "30003", message_specific=True)
    _sent(shop, 9, *[bad] * 4, about_it, *[bad] * 4)

    assert _health(shop).state is BreakerState.CLOSED


def test_an_answer_about_the_message_that_comes_late_is_a_bad_call(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, slow=1e-9)
    _sent(shop, 6, *[refused("unavailable", message_specific=True)] * 6)

    assert _health(shop).state is BreakerState.OPEN


@pytest.mark.parametrize("asked", [0.25, 1.0, 7.5, 90.0])
def test_a_gateway_is_left_alone_for_exactly_as_long_as_it_asks(
    frozen: FrozenValkey, shop: Caller, asked: float
) -> None:
    """Shorter than the pause of the configuration, or longer than its longest."""
    _sent(shop, 1, refused("throttled", "http 429", retry_after=asked))
    assert _health(shop).throttled_for == 1000 * asked
    frozen.advance(asked - 0.001)
    early = shop.start()
    Sender(shop, first=Scripted(), second=Scripted()).deliver()
    frozen.advance(0.001)
    later = shop.start()
    Sender(shop, first=Scripted(), second=Scripted()).deliver()

    assert choices(shop, early) == [("second", "limit")]
    assert choices(shop, later) == [("first", "configured")]


def test_what_a_gateway_asks_for_is_not_doubled(frozen: FrozenValkey, shop: Caller) -> None:
    for _ in range(3):
        _sent(shop, 1, refused("throttled", retry_after=0.5))
        assert _health(shop).throttled_for == 500
        frozen.advance(0.5)


def test_a_gateway_that_does_not_say_for_how_long_is_left_alone_for_the_pause(
    frozen: FrozenValkey, shop: Caller
) -> None:
    for pause in (2000, 4000, 8000):
        _sent(shop, 1, refused("throttled"))
        assert _health(shop).throttled_for == pause
        frozen.advance(pause / 1000)


@pytest.mark.parametrize(
    ("asked", "given"), [(-5.0, 2000), (1e9, 1_800_000), (float("inf"), 1_800_000), (float("nan"), 2000)]
)
def test_what_nobody_can_mean_is_bounded(shop: Caller, asked: float, given: int) -> None:
    _sent(shop, 1, refused("throttled", retry_after=asked))

    assert _health(shop).throttled_for == given


@pytest.mark.parametrize(("asked", "given"), [(60.0, 60_000), (1e9, 1_800_000), (-5.0, 0), (float("nan"), 0)])
def test_what_a_gateway_asks_for_that_cannot_now_is_granted_as_where_it_throttles(
    frozen: FrozenValkey, shop: Caller, asked: float, given: int
) -> None:
    one = shop.start()
    failed = GatewayError(FailureKind.UNAVAILABLE, "http 503", retry_after=asked)
    Sender(shop, first=Scripted(failed), second=Scripted()).deliver()
    assert (_health(shop).throttled_for, _health(shop).bad) == (given, 1)
    assert [each[2] for each in story(shop, one)] == ["first", "second"]
    frozen.advance(given / 1000 - 0.001)
    early = shop.start()
    Sender(shop, first=Scripted(), second=Scripted()).deliver()
    frozen.advance(0.001)
    later = shop.start()
    Sender(shop, first=Scripted(), second=Scripted()).deliver()

    assert choices(shop, early) == [("second", "limit") if given else ("first", "configured")]
    assert choices(shop, later) == [("first", "configured")]


@pytest.mark.parametrize("kind", ["throttled", "unavailable"])
def test_what_is_asked_for_because_of_a_number_leaves_the_gateway_to_all_others(shop: Caller, kind: str) -> None:
    _sent(shop, 1, refused(kind, retry_after=60.0, message_specific=True))

    assert _health(shop).throttled_for == 0


def test_the_last_resort_waits_for_as_long_as_the_gateway_asked(frozen: FrozenValkey) -> None:
    """Its breaker is open, no other gateway is left, and it said when to come back."""
    shop = _shop(frozen)
    shop.context.store.health.open("second", 3_600_000, "cli:ali")
    for _ in range(5):
        shop.context.store.health.observe("first", new_dispatch_id("00"), CallResult.BAD, 90_000)
    sender = Sender(shop, first=Scripted(), second=Scripted())
    assert _health(shop).state is BreakerState.OPEN
    one = shop.start()
    frozen.advance(25)  # past the last resort's ten seconds, before the breaker's thirty
    sender.deliver()
    assert sender.sent() == []
    frozen.advance(66)
    sender.go_on()

    assert choices(shop, one)[-1][0] == "first"
