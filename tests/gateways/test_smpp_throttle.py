"""How long an SMSC that calls itself overrun is left alone, by a clock that is moved."""

import asyncio

import pytest

from otp_service.gateways.smpp.connection import Throttle


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def throttle(clock):
    return Throttle(clock)


def test_each_refusal_asks_for_a_quarter_of_a_second_at_least_and_those_of_one_burst_double_nothing(clock, throttle):
    told = []
    for seconds in (0.0, 0.2499, 0.1, 0.26, 0.4999, 0.26):
        clock.now += seconds
        told.append(round(throttle.slow_down(), 4))

    assert told == [0.25, 0.25, 0.25, 0.5, 0.25, 1.0]


def test_a_hold_grows_to_eight_seconds_and_shrinks_with_what_is_accepted(clock, throttle):
    def refused():
        hold = throttle.slow_down()
        clock.now += hold
        return hold

    assert [refused() for _ in range(7)] == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    for _ in range(2):
        throttle.speed_up()
    assert refused() == 4.0


def test_a_hold_that_is_all_but_over_is_told_as_a_pause_that_can_be_kept(clock, throttle):
    clock.now += throttle.slow_down() - 0.0001

    assert asyncio.run(throttle.wait(clock.now)) == 0.001


def test_after_the_pause_that_it_told_nothing_waits_once_more(clock, throttle):
    for seconds in (0.0, 0.2, 0.3, 0.1):
        clock.now += seconds
        told = throttle.slow_down()
    clock.now += told

    assert asyncio.run(throttle.wait(clock.now)) == 0.0
