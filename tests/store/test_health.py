"""Breakers: shared by all workers, open on failures, try once, close by themselves, and can be moved by hand."""

from dataclasses import dataclass
from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_installation import key
from support_outbox import dispatch, jobs_of, paced

from otp_service.bootstrap import Installation
from otp_service.domain.keyring import new_dispatch_id
from otp_service.domain.routing import BreakerState, CallResult, CountedCalls, GatewayLimits
from otp_service.store.guard import MAX_MANUAL_OPEN
from otp_service.store.outbox import Dispatched, DispatchResult, NextStep, NoGatewayFree

KEYS = {"root": f"k1:{key()}", "pseudonym": key()}
BLOCKS = [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]
"""Seconds: doubled from half a minute up to half an hour."""


def _install(frozen: FrozenValkey, **sections: Any) -> Installation:
    return frozen.world().install(keys=KEYS, limits={"number": ["1000/hour"]}, **sections)


@dataclass
class Bench:
    """A gateway whose calls are made by verifications of their own, and answered as a test says."""

    shop: Caller

    @property
    def state(self) -> BreakerState:
        return self.health("first").state

    def health(self, gateway: str) -> Any:
        return self.shop.context.store.health.of((gateway,))[gateway]

    def learn(self, *calls: CallResult, dispatch_id: str = "", throttled_for: int = 0) -> list[BreakerState | None]:
        """Tell of calls that were begun whenever; return the changes."""
        store = self.shop.context.store.health
        return [store.observe("first", dispatch_id or new_dispatch_id("00"), call, throttled_for) for call in calls]

    def call(self, *gateways: str, **gateway_limits: GatewayLimits) -> Dispatched | NoGatewayFree:
        """Begin a call for a new verification."""
        self.shop.start()
        (job,) = jobs_of(self.shop.context)
        found = dispatch(self.shop.context, job, gateways or ("first",), **gateway_limits)
        self.shop.context.store.dispatches.finish(job, "", DispatchResult(NextStep.DONE))
        assert isinstance(found, Dispatched | NoGatewayFree)
        return found

    def begin(self, *gateways: str, **gateway_limits: GatewayLimits) -> Dispatched:
        found = self.call(*gateways, **gateway_limits)
        assert isinstance(found, Dispatched), found
        return found

    def end(self, made: Dispatched, call: CallResult) -> BreakerState | None:
        (changed,) = self.learn(call, dispatch_id=made.dispatch_id)
        return changed

    def break_it(self) -> None:
        assert self.learn(*[CallResult.BAD] * 5)[-1] is BreakerState.OPEN


@pytest.fixture
def bench(frozen: FrozenValkey) -> Bench:
    return Bench(Caller(_install(frozen)))


def test_five_bad_calls_in_a_row_open_it(bench: Bench) -> None:
    assert bench.learn(*[CallResult.BAD] * 4) == [None] * 4
    assert bench.state is BreakerState.CLOSED
    assert bench.learn(CallResult.BAD) == [BreakerState.OPEN]

    health = bench.health("first")
    assert (health.state, health.opened_by, health.probe_in, health.open_for) == (BreakerState.OPEN, "", 30_000, 30_000)


def test_a_good_call_ends_the_row(bench: Bench) -> None:
    bench.learn(*[CallResult.BAD] * 4, CallResult.WELL, *[CallResult.BAD] * 4)

    assert bench.state is BreakerState.CLOSED


def test_a_row_is_one_however_slowly_it_comes(frozen: FrozenValkey, bench: Bench) -> None:
    for _ in range(4):
        bench.learn(CallResult.BAD)
        frozen.advance(40)

    assert bench.learn(CallResult.BAD) == [BreakerState.OPEN]


def test_half_of_the_calls_of_a_window_open_it_from_twenty_on(bench: Bench) -> None:
    assert set(bench.learn(*[CallResult.WELL, CallResult.BAD] * 9, CallResult.WELL)) == {None}
    assert bench.learn(CallResult.BAD) == [BreakerState.OPEN]


def test_less_than_half_of_them_do_not(bench: Bench) -> None:
    assert set(bench.learn(*[CallResult.WELL, CallResult.BAD, CallResult.WELL] * 20)) == {None}


def test_a_good_call_opens_nothing_however_many_were_bad(bench: Bench) -> None:
    assert set(bench.learn(*[CallResult.BAD, CallResult.BAD, CallResult.WELL] * 6, CallResult.BAD)) == {None}
    assert bench.learn(CallResult.WELL) == [None], "the twentieth, of which thirteen were bad"

    assert bench.learn(CallResult.BAD) == [BreakerState.OPEN]


def test_a_new_window_begins_to_count_anew(frozen: FrozenValkey, bench: Bench) -> None:
    bench.learn(*[CallResult.WELL, CallResult.BAD] * 9, CallResult.WELL)
    frozen.advance(30)

    assert bench.learn(CallResult.BAD) == [None]
    assert (bench.health("first").calls, bench.health("first").bad) == (1, 1)


def test_the_policy_is_the_configurations(frozen: FrozenValkey) -> None:
    policy = {"bad_in_a_row": 2, "open_for": 5.0, "max_open_for": 7.0}
    bench = Bench(Caller(_install(frozen, breaker=policy)))
    bench.learn(CallResult.BAD, CallResult.BAD)
    assert bench.health("first").open_for == 5000
    frozen.advance(5)
    bench.end(bench.begin(), CallResult.BAD)

    assert bench.health("first").open_for == 7000


def test_all_workers_share_what_one_has_learnt(frozen: FrozenValkey, bench: Bench) -> None:
    another = Bench(Caller(_install(frozen)))
    bench.learn(*[CallResult.BAD] * 3)
    another.learn(*[CallResult.BAD] * 2)

    assert bench.state is another.state is BreakerState.OPEN
    assert another.begin("first", "second").gateway == "second"


def test_one_gateway_says_nothing_of_another(bench: Bench) -> None:
    bench.break_it()

    assert bench.health("second").state is BreakerState.CLOSED


def test_while_it_is_open_nothing_goes_through_and_then_one_call_does(frozen: FrozenValkey, bench: Bench) -> None:
    bench.break_it()
    frozen.advance(29.999)
    assert bench.begin("first", "second").gateway == "second"
    assert bench.state is BreakerState.OPEN
    frozen.advance(0.001)
    assert bench.state is BreakerState.HALF_OPEN

    assert [bench.begin("first", "second").gateway for _ in range(3)] == ["first", "second", "second"]


def test_a_probe_that_ends_well_closes_it_and_all_flows_again(frozen: FrozenValkey, bench: Bench) -> None:
    bench.break_it()
    frozen.advance(30)
    assert bench.end(bench.begin("first", "second"), CallResult.WELL) is BreakerState.CLOSED

    assert bench.state is BreakerState.CLOSED
    assert [bench.begin("first", "second").gateway for _ in range(3)] == ["first"] * 3
    assert bench.learn(*[CallResult.BAD] * 4) == [None] * 4, "what was before is forgotten"
    assert bench.learn(CallResult.BAD) == [BreakerState.OPEN]
    assert bench.health("first").open_for == 30_000


def test_each_probe_that_fails_doubles_the_time_from_half_a_minute_to_half_an_hour(
    frozen: FrozenValkey, bench: Bench
) -> None:
    bench.break_it()
    blocks = []
    for _ in BLOCKS:
        blocks.append(bench.health("first").probe_in // 1000)
        frozen.advance(blocks[-1] - 0.001)
        assert bench.begin("first", "second").gateway == "second"
        frozen.advance(0.001)
        assert bench.end(bench.begin("first", "second"), CallResult.BAD) is BreakerState.OPEN

    assert blocks == BLOCKS


def test_a_probe_whose_worker_died_is_given_up_after_its_lease(frozen: FrozenValkey, bench: Bench) -> None:
    bench.break_it()
    frozen.advance(30)
    lost = bench.begin("first", "second")
    frozen.advance(1.999)
    assert bench.begin("first", "second").gateway == "second"
    frozen.advance(0.001)
    other = bench.begin("first", "second")
    assert (lost.gateway, other.gateway) == ("first", "first")
    assert bench.end(lost, CallResult.BAD) is None, "another one tries by now"

    assert bench.end(other, CallResult.WELL) is BreakerState.CLOSED


@pytest.mark.parametrize("late", [CallResult.WELL, CallResult.BAD])
def test_calls_that_were_begun_before_it_opened_change_nothing(
    frozen: FrozenValkey, bench: Bench, late: CallResult
) -> None:
    before = bench.begin()
    bench.break_it()
    assert bench.end(before, late) is None
    assert bench.health("first").probe_in == 30_000
    frozen.advance(30)
    assert bench.end(before, late) is None

    assert bench.state is BreakerState.HALF_OPEN


def _counted(*results: tuple[CallResult, int, int]) -> list[CountedCalls]:
    return [CountedCalls(*one) for one in results]


def test_calls_are_counted_in_the_order_that_is_told_whichever_ended(bench: Bench) -> None:
    store = bench.shop.context.store.health
    well, bad = CallResult.WELL, CallResult.BAD
    assert store.observe("first", "dp_1", bad, counted=()) is None
    assert store.observe("first", "dp_2", well, counted=_counted((bad, 4, 90), (well, 6, 80), (bad, 4, 70))) is None
    assert (bench.health("first").calls, bench.health("first").bad) == (14, 8)
    assert store.observe("first", "dp_3", well, counted=_counted((bad, 1, 60), (well, 1, 50))) is BreakerState.OPEN


def test_their_share_counts_from_twenty_on_in_the_midst_of_them(bench: Bench) -> None:
    store = bench.shop.context.store.health
    rows = [(CallResult.BAD, 4, 0), (CallResult.WELL, 4, 0)]
    assert store.observe("first", "dp_1", CallResult.WELL, counted=_counted(*rows, *rows)) is None

    assert store.observe("first", "dp_2", CallResult.WELL, counted=_counted(*rows)) is BreakerState.OPEN


def test_a_call_that_is_throttled_tells_of_those_that_waited_for_it(bench: Bench) -> None:
    store = bench.shop.context.store.health
    row = _counted((CallResult.BAD, 5, 0))

    assert store.observe("first", "dp_1", CallResult.THROTTLED, counted=row) is BreakerState.OPEN
    assert bench.health("first").throttled_for == 1000


def test_calls_from_before_it_opened_are_not_counted_after_it_has_closed(frozen: FrozenValkey, bench: Bench) -> None:
    """Of a gateway that hung many calls are still in flight when it is well again."""
    store = bench.shop.context.store.health
    bench.break_it()
    assert bench.end(bench.begin(), CallResult.WELL) is BreakerState.CLOSED
    frozen.advance(3)
    assert store.observe("first", "dp_1", CallResult.LATE, counted=_counted((CallResult.BAD, 9, 3001))) is None
    assert bench.health("first").calls == 0
    assert store.observe("first", "dp_2", CallResult.BAD, counted=_counted((CallResult.BAD, 4, 3000))) is None
    assert bench.health("first").calls == 4

    assert bench.learn(CallResult.BAD) == [BreakerState.OPEN]


def test_calls_from_before_it_was_opened_by_hand_are_not_counted_either(frozen: FrozenValkey, bench: Bench) -> None:
    store = bench.shop.context.store.health
    store.open("first", 1000, "cli:ali")
    frozen.advance(1)
    assert bench.end(bench.begin(), CallResult.WELL) is BreakerState.CLOSED

    assert store.observe("first", "dp_1", CallResult.BAD, counted=_counted((CallResult.BAD, 9, 1001))) is None
    assert bench.health("first").calls == 0


def test_a_call_that_lasts_too_long_is_bad_and_still_in_flight(bench: Bench) -> None:
    store = bench.shop.context.store.health
    made = bench.begin(first=paced(in_flight=3))
    for number in range(4):
        assert store.observe("first", f"dp_{number}", CallResult.LATE, counted=_counted((CallResult.BAD, 1, 0))) is None
    row = _counted((CallResult.BAD, 1, 0))
    assert store.observe("first", made.dispatch_id, CallResult.LATE, counted=row) is BreakerState.OPEN
    assert bench.health("first").in_flight == 1
    assert bench.end(made, CallResult.BAD) is None

    assert bench.health("first").in_flight is None


def test_a_probe_that_lasts_too_long_is_a_probe_that_fails(frozen: FrozenValkey, bench: Bench) -> None:
    bench.break_it()
    frozen.advance(30)
    probe = bench.begin("first", "second")
    assert bench.end(probe, CallResult.LATE) is BreakerState.OPEN
    assert bench.health("first").open_for == 60_000

    assert bench.end(probe, CallResult.BAD) is None


def test_the_last_resort_is_tried_once_in_ten_seconds_and_does_not_double_the_time(
    frozen: FrozenValkey, bench: Bench
) -> None:
    bench.break_it()
    first = bench.begin()
    assert first.choice == "last_resort"
    blocked = bench.call()
    assert isinstance(blocked, NoGatewayFree), "one at a time"
    assert blocked.wait == 10_000
    assert bench.end(first, CallResult.BAD) is None
    frozen.advance(9.999)
    assert isinstance(bench.call(), NoGatewayFree)
    frozen.advance(0.001)
    assert bench.begin().choice == "last_resort"

    assert (bench.health("first").open_for, bench.health("first").probe_in) == (30_000, 20_000)


def test_the_last_resort_that_ends_well_closes_it(bench: Bench) -> None:
    bench.break_it()
    assert bench.end(bench.begin(), CallResult.WELL) is BreakerState.CLOSED

    assert bench.begin().choice == "configured"


def test_a_last_resort_that_takes_longer_is_waited_for_until_it_ends(frozen: FrozenValkey, bench: Bench) -> None:
    bench.break_it()
    probe = bench.begin(first=paced(lease=25_000))
    frozen.advance(12)
    blocked = bench.call()
    assert isinstance(blocked, NoGatewayFree)
    assert blocked.wait == 13_000
    bench.end(probe, CallResult.BAD)

    assert bench.begin().choice == "last_resort"


def test_it_is_opened_by_hand_for_a_time_and_is_no_last_resort_then(frozen: FrozenValkey, bench: Bench) -> None:
    bench.shop.context.store.health.open("first", 60_000, "cli:ali")
    assert (bench.state, bench.health("first").opened_by) == (BreakerState.OPEN, "cli:ali")
    assert bench.begin("first", "second").choice == "breaker"
    blocked = bench.call()
    assert isinstance(blocked, NoGatewayFree)
    assert blocked.wait == 60_000
    frozen.advance(60)
    assert bench.end(bench.begin(), CallResult.WELL) is BreakerState.CLOSED

    assert not bench.health("first").opened_by


def test_what_is_opened_by_hand_without_an_end_still_ends(frozen: FrozenValkey, bench: Bench) -> None:
    bench.shop.context.store.health.open("first", 10 * MAX_MANUAL_OPEN, "cli:ali")

    assert bench.health("first").probe_in == MAX_MANUAL_OPEN


def test_it_is_closed_by_hand_and_forgets_what_was_counted(bench: Bench) -> None:
    bench.break_it()
    bench.shop.context.store.health.close("first")

    assert bench.begin().choice == "configured"
    assert bench.learn(*[CallResult.BAD] * 4) == [None] * 4


def test_a_gateway_that_throttles_rests_longer_each_time_and_its_breaker_stays_closed(
    frozen: FrozenValkey, bench: Bench
) -> None:
    rests = []
    for _ in range(7):
        bench.learn(CallResult.THROTTLED)
        rests.append(bench.health("first").throttled_for)
        frozen.advance(rests[-1] / 1000)

    assert rests == [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]
    assert bench.state is BreakerState.CLOSED


def test_a_burst_that_is_throttled_counts_once(frozen: FrozenValkey, bench: Bench) -> None:
    bench.learn(*[CallResult.THROTTLED] * 10)
    assert bench.health("first").throttled_for == 1000
    frozen.advance(1)
    bench.learn(*[CallResult.THROTTLED] * 10)

    assert bench.health("first").throttled_for == 2000


def test_a_gateway_that_asks_for_longer_is_left_alone_for_longer(frozen: FrozenValkey, bench: Bench) -> None:
    bench.learn(CallResult.THROTTLED, throttled_for=90_000)
    bench.learn(CallResult.THROTTLED)
    assert bench.health("first").throttled_for == 90_000
    bench.learn(CallResult.THROTTLED, throttled_for=100_000)
    assert bench.health("first").throttled_for == 100_000
    frozen.advance(100)
    bench.learn(CallResult.THROTTLED)

    assert bench.health("first").throttled_for == 30_000


def test_a_rest_that_was_asked_for_once_is_not_lengthened_by_whoever_is_throttled_meanwhile(
    frozen: FrozenValkey, bench: Bench
) -> None:
    bench.learn(CallResult.THROTTLED, throttled_for=1_800_000)
    frozen.advance(10)
    bench.learn(CallResult.THROTTLED)

    assert bench.health("first").throttled_for == 1_790_000


@pytest.mark.parametrize("call", [CallResult.THROTTLED, CallResult.BAD])
def test_who_asks_for_less_does_not_shorten_a_rest(bench: Bench, call: CallResult) -> None:
    bench.learn(CallResult.BAD, throttled_for=90_000)
    bench.learn(call, throttled_for=10_000)

    assert bench.health("first").throttled_for == 90_000


def test_a_call_that_was_begun_before_does_not_end_the_rest(frozen: FrozenValkey, bench: Bench) -> None:
    before = bench.begin()
    bench.learn(CallResult.THROTTLED)
    bench.end(before, CallResult.WELL)
    assert bench.health("first").throttled_for == 1000
    frozen.advance(1)
    bench.end(bench.begin(), CallResult.WELL)
    bench.learn(CallResult.THROTTLED)

    assert bench.health("first").throttled_for == 1000, "it was well in between"


def test_a_probe_that_is_throttled_lets_another_try_after_the_rest(frozen: FrozenValkey, bench: Bench) -> None:
    bench.break_it()
    frozen.advance(30)
    assert bench.end(bench.begin(), CallResult.THROTTLED) is None
    assert bench.begin("first", "second").choice == "limit"
    alone = bench.call()
    assert isinstance(alone, NoGatewayFree), "it asked for the rest itself: that is no last resort"
    assert alone.wait == 1000
    frozen.advance(1)

    assert bench.end(bench.begin("first", "second"), CallResult.WELL) is BreakerState.CLOSED


def test_a_rest_that_was_asked_for_is_not_cut_short_by_the_last_resort(frozen: FrozenValkey, bench: Bench) -> None:
    bench.break_it()
    frozen.advance(30)
    bench.learn(CallResult.THROTTLED, dispatch_id=bench.begin().dispatch_id, throttled_for=60_000)
    frozen.advance(11)
    blocked = bench.call()

    assert isinstance(blocked, NoGatewayFree)
    assert blocked.wait == 49_000


def test_what_is_known_of_a_gateway_is_forgotten_after_a_day(frozen: FrozenValkey, bench: Bench) -> None:
    bench.learn(CallResult.BAD)
    bench.shop.context.store.health.open("second", 1000, "cli:ali")
    frozen.advance(24 * 3600 + 31)

    assert bench.health("first").calls == 0
    assert not frozen.client.exists("otp:{gateways}:health:first")
