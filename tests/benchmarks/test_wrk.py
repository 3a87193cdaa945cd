"""What a load showed, as wrk tells it."""

import pytest
from support_programs import programs_of

targets, wrk = programs_of("benchmarks", "targets", "wrk")
TOLD = """Running 4s test @ http://127.0.0.1:8080
  2 threads and 256 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    30.00ms   90.00ms   1.20s    91.00%
    Req/Sec     1.00k   100.00     1.30k    70.00%
  Latency Distribution
     50%   20.00ms
     75%  100.00ms
     90%  500.00ms
     99%  754.00ms
  8000 requests in 4.00s, 2.00MB read
{more}Requests/sec:   2000.00
"""


def test_what_was_accepted_and_what_was_refused_are_told_apart():
    told = wrk.read(TOLD.format(more="  Non-2xx or 3xx responses: 6000\n"))

    assert (told.requests, told.accepted, told.refused, told.errors) == (8000, 500, 1500, 6000)


def test_where_nothing_is_refused_all_counts():
    told = wrk.read(TOLD.format(more=""))

    assert (told.accepted, told.refused, told.errors) == (2000, 0, 0)


def test_times_are_in_seconds_whatever_their_unit():
    told = wrk.read(TOLD.format(more=""))

    assert (told.p50, told.p99, told.slowest) == (pytest.approx(0.02), pytest.approx(0.754), pytest.approx(1.2))


def test_what_was_not_answered_is_counted_too():
    whole = wrk.read(TOLD.format(more=""))
    broken = wrk.read(TOLD.format(more="  Socket errors: connect 0, read 3, write 0, timeout 1\n"))

    assert [(one.unanswered, one.failed) for one in (whole, broken)] == [(0, 0), (4, 4)]


@pytest.mark.parametrize("text", ["unable to connect to 127.0.0.1:8080", TOLD.replace("20.00ms", "-")])
def test_what_is_not_understood_is_no_figure(text: str):
    with pytest.raises(ValueError, match="wrk"):
        wrk.read(text)


def test_a_round_of_the_benchmark_has_its_cost_and_its_times_in_the_units_of_the_report():
    round_ = targets.Sample.of(wrk.read(TOLD.format(more="")), 0.8)

    assert (round_.cost, round_.p50, round_.p99) == tuple(map(pytest.approx, (100, 20, 754)))
