"""The places of gateways among a worker's threads, and the order in which their breakers count calls."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from otp_service.domain.routing import CallResult, GatewayLimits, Room
from otp_service.services.gateway_calls import GatewayCalls, TrackedCall

LIMITS = GatewayLimits(per_second=0, in_flight=0, lease=15_000, slow=5.0)
WELL, BAD = CallResult.WELL, CallResult.BAD


@dataclass
class Clock:
    now: float = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("otp_service.services.gateway_calls.time", SimpleNamespace(monotonic=lambda: made.now))
    return made


@pytest.fixture
def calls(clock: Clock) -> GatewayCalls:
    return GatewayCalls(16, dict.fromkeys(("a", "b", "c"), LIMITS))


def _begin(calls: GatewayCalls, gateway: str) -> TrackedCall | None:
    """Begin a call if there is room."""
    rooms = calls.reserve([gateway])
    chosen = gateway if rooms[gateway] is Room.FREE else None
    calls.keep(rooms, chosen)
    return calls.begin(gateway, "dp_1") if chosen else None


def _begin_all(calls: GatewayCalls, gateway: str) -> list[TrackedCall]:
    """Begin calls as long as there is room."""
    begun = []
    while call := _begin(calls, gateway):
        begun.append(call)
    return begun


def _end(calls: GatewayCalls, call: TrackedCall, result: CallResult = WELL) -> list[tuple[CallResult, int, int]]:
    calls.leave(call.gateway)
    return [(one.result, one.calls, one.age) for one in calls.end(call, result)]


def test_a_gateway_has_half_of_the_threads(calls: GatewayCalls) -> None:
    begun = _begin_all(calls, "a")
    assert len(begun) == 8
    _end(calls, begun[3])

    assert len(_begin_all(calls, "a")) == 1
    assert calls.in_flight() == {"a": 8, "b": 0, "c": 0}


def test_two_have_a_third_each(calls: GatewayCalls) -> None:
    while _begin(calls, "a") and _begin(calls, "b"):
        pass

    assert calls.in_flight() == {"a": 6, "b": 5, "c": 0}
    assert _begin(calls, "c")


def test_those_that_do_not_answer_have_half_together(calls: GatewayCalls, clock: Clock) -> None:
    _begin_all(calls, "a")
    _begin(calls, "b")
    clock.now += 1.1

    assert calls.reserve(["a", "b", "c"]) == {"a": Room.SILENT, "b": Room.SILENT, "c": Room.FREE}


def test_one_that_answers_is_waited_for(calls: GatewayCalls, clock: Clock) -> None:
    first, second, *_ = _begin_all(calls, "a")
    clock.now += 0.9
    assert calls.reserve(["a"]) == {"a": Room.FULL}, "it has not had much time to answer"
    clock.now += 0.2
    assert calls.reserve(["a"]) == {"a": Room.SILENT}
    _end(calls, second, CallResult.THROTTLED)
    _begin(calls, "a")
    assert calls.reserve(["a"]) == {"a": Room.FULL}, "it answered while the first was in flight"
    _end(calls, first, BAD)
    clock.now += 9
    _begin(calls, "a")

    assert calls.reserve(["a"]) == {"a": Room.FULL}, "and since all others began"


def test_a_call_that_fails_is_no_answer(calls: GatewayCalls, clock: Clock) -> None:
    first, *_ = _begin_all(calls, "a")
    clock.now += 10
    _end(calls, first, BAD)
    _begin(calls, "a")

    assert calls.reserve(["a"]) == {"a": Room.SILENT}


def test_a_single_gateway_may_have_all_threads(clock: Clock) -> None:
    calls = GatewayCalls(4, {"a": LIMITS})
    for _ in range(4):
        assert _begin(calls, "a")

    assert calls.reserve(["a"]) == {"a": Room.FREE}


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_each_of_a_few_threads_may_call(clock: Clock, threads: int) -> None:
    calls = GatewayCalls(threads, {"a": LIMITS, "b": LIMITS})

    assert len(_begin_all(calls, "a")) == (threads + 1) // 2


def test_a_thread_that_chooses_has_a_place_at_each_gateway_and_keeps_one(calls: GatewayCalls) -> None:
    """Otherwise all threads could find room at the same time, and then call the same gateway."""
    choosing = [calls.reserve(["a", "b"]) for _ in range(8)]
    assert calls.reserve(["a", "b", "c"]) == {"a": Room.FULL, "b": Room.FULL, "c": Room.FREE}
    for rooms in choosing[:4]:
        calls.keep(rooms, "a")
    for rooms in choosing[4:]:
        calls.keep(rooms, None)
    calls.keep({"a": Room.FULL, "b": Room.FULL, "c": Room.FREE}, None)

    assert len(_begin_all(calls, "b")) == 6, "4 of 16 are taken"
    assert len(_begin_all(calls, "a")) == 1


def test_a_gateway_is_suspended_when_it_has_no_calls_and_has_none_then(calls: GatewayCalls) -> None:
    call = _begin(calls, "a")
    assert call
    assert not calls.suspend("a")
    assert _begin(calls, "a")
    for one in list(calls._in_flight["a"]):
        _end(calls, one)
    assert calls.suspend("a")
    assert calls.reserve(["a"]) == {"a": Room.FULL}
    calls.resume("a")

    assert _begin(calls, "a")


def test_calls_are_counted_in_the_order_in_which_they_began(calls: GatewayCalls, clock: Clock) -> None:
    begun = []
    for _ in range(5):
        begun.append(_begin(calls, "a"))
        clock.now += 0.1
    first, second, third, fourth, fifth = begun
    assert _end(calls, second) == []
    assert _end(calls, fourth, BAD) == []
    assert _end(calls, third) == []
    assert _end(calls, first) == [(WELL, 3, 500), (BAD, 1, 200)]

    assert _end(calls, fifth) == [(WELL, 1, 100)]


def test_what_says_nothing_of_the_gateway_is_not_counted_and_holds_nothing_up(calls: GatewayCalls) -> None:
    first, second, third = (_begin(calls, "a") for _ in range(3))
    assert _end(calls, third) == []
    assert _end(calls, second, CallResult.THROTTLED) == []

    assert _end(calls, first) == [(WELL, 2, 0)]


def test_gateways_do_not_wait_for_each_other(calls: GatewayCalls) -> None:
    _begin(calls, "a")
    call = _begin(calls, "b")

    assert _end(calls, call) == [(WELL, 1, 0)]


def test_a_call_is_bad_as_soon_as_it_lasts_too_long_and_once(calls: GatewayCalls, clock: Clock) -> None:
    slow = _begin(calls, "a")
    clock.now += 1
    quick = _begin(calls, "a")
    assert _end(calls, quick) == []
    clock.now += 3.9
    assert calls.judge_slow() == []
    clock.now += 0.2
    ((judged, counted),) = calls.judge_slow()
    assert judged is slow
    assert [(one.result, one.calls, one.age) for one in counted] == [(BAD, 1, 5100), (WELL, 1, 4100)]
    assert calls.judge_slow() == []
    assert calls.in_flight()["a"] == 1

    assert _end(calls, slow, BAD) == [], "it has been counted"


def test_many_slow_calls_are_judged_one_by_one(calls: GatewayCalls, clock: Clock) -> None:
    begun = [_begin(calls, gateway) for gateway in ("a", "a", "b")]
    clock.now += 6

    assert [(call, [one.calls for one in counted]) for call, counted in calls.judge_slow()] == [
        (call, [1]) for call in begun
    ]
