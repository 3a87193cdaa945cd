"""How a gateway is, as operators are told, and what they do by hand."""

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_outbox import dispatched, jobs_of, paced

from otp_service.domain.routing import BreakerState, CallResult, GatewayHealth
from otp_service.store.guard import MAX_MANUAL_OPEN, Health

BREAKER = {"bad_in_a_row": 3, "window": 30.0, "open_for": 30.0}
MINUTE = 60_000


@pytest.fixture
def health(frozen: FrozenValkey) -> Health:
    return frozen.world().install(breaker=BREAKER).context.store.health


def of(health: Health, name: str = "first") -> GatewayHealth:
    return health.of((name,))[name]


def test_a_gateway_that_was_never_called_is_closed(health: Health) -> None:
    assert health.of(("first", "second")) == dict.fromkeys(("first", "second"), GatewayHealth(BreakerState.CLOSED))
    assert health.of(()) == {}


def test_the_bad_calls_of_the_present_window_are_told_and_no_older_ones(frozen: FrozenValkey, health: Health) -> None:
    for number, call in enumerate((CallResult.BAD, CallResult.WELL, CallResult.BAD)):
        health.observe("first", f"dp_{number}", call)
    assert (of(health).bad, of(health).calls) == (2, 3)

    frozen.advance(29.999)
    assert (of(health).bad, of(health).calls) == (2, 3)
    frozen.advance(0.001)
    assert (of(health).bad, of(health).calls) == (0, 0)


def test_an_open_breaker_is_told_with_the_time_until_it_is_tried(frozen: FrozenValkey, health: Health) -> None:
    for number in range(3):
        health.observe("first", f"dp_{number}", CallResult.BAD)
    frozen.advance(10)
    assert (of(health).state, of(health).probe_in, of(health).opened_by) == (BreakerState.OPEN, 20_000, "")

    frozen.advance(20)
    assert (of(health).state, of(health).probe_in) == (BreakerState.HALF_OPEN, 0)
    assert of(health, "second").state is BreakerState.CLOSED


def test_a_gateway_that_throttles_is_told_with_its_pause(frozen: FrozenValkey, health: Health) -> None:
    health.observe("first", "dp_1", CallResult.THROTTLED, 5000)
    frozen.advance(1)

    assert (of(health).state, of(health).throttled_for) == (BreakerState.CLOSED, 4000)


def test_a_breaker_opened_by_hand_stays_so_for_its_time_and_is_tried_then(frozen: FrozenValkey, health: Health) -> None:
    health.open("first", MINUTE, "cli:ali")
    assert (of(health).state, of(health).opened_by, of(health).probe_in) == (BreakerState.OPEN, "cli:ali", MINUTE)

    frozen.advance(60)
    assert (of(health).state, of(health).opened_by) == (BreakerState.HALF_OPEN, "cli:ali")


def test_nothing_stays_open_for_ever(frozen: FrozenValkey, health: Health) -> None:
    health.open("first", 10 * MAX_MANUAL_OPEN, "cli:ali")

    assert of(health).probe_in == MAX_MANUAL_OPEN
    (key,) = frozen.client.scan_iter("otp:{*}:health:first")
    assert 0 < frozen.client.pttl(key.decode()) <= 2 * MAX_MANUAL_OPEN


def test_calls_of_before_do_not_close_what_was_opened_by_hand(health: Health) -> None:
    health.open("first", MINUTE, "cli:ali")

    assert health.observe("first", "dp_before", CallResult.WELL) is None
    assert of(health).state is BreakerState.OPEN


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_breaker_is_closed_by_hand_whoever_opened_it(health: Health, *, by_hand: bool) -> None:
    if by_hand:
        health.open("first", MINUTE, "cli:ali")
    for number in range(3):
        health.observe("first", f"dp_{number}", CallResult.BAD)
    assert of(health).state is BreakerState.OPEN
    health.close("first")

    assert of(health) == GatewayHealth(BreakerState.CLOSED)
    health.observe("first", "dp_9", CallResult.BAD)
    assert of(health).state is BreakerState.CLOSED


def test_calls_in_flight_are_told_where_they_are_bounded(frozen: FrozenValkey) -> None:
    shop = Caller(frozen.world().install())
    shop.start()
    (job,) = jobs_of(shop.context)
    dispatched(shop.context, job, "first", first=paced(in_flight=5, lease=2000))

    assert of(shop.context.store.health).in_flight == 1
    assert of(shop.context.store.health, "second").in_flight is None
    frozen.advance(2)
    assert of(shop.context.store.health).in_flight == 0
