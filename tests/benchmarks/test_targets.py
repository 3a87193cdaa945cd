"""What a round of the benchmark showed, as wrk tells it."""

import pytest
from support_programs import programs_of

(targets,) = programs_of("benchmarks", "targets")
TOLD = """Running 4s test @ http://127.0.0.1:8080
  2 threads and 256 connections
  Latency Distribution
     50%   20.00ms
     75%  100.00ms
     90%  500.00ms
     99%  754.00ms
  8000 requests in 4.00s, 2.00MB read
{refused}Requests/sec:   2000.00
"""


def test_a_rate_is_of_what_was_accepted_and_refusals_are_told_apart():
    seen = targets.sample_of(TOLD.format(refused="  Non-2xx or 3xx responses: 6000\n"), 0.8)

    assert (seen.rate, seen.refused, seen.errors) == (500, 1500, 6000)
    assert (seen.p50, seen.p99, seen.cost) == (20, 754, pytest.approx(100))


def test_where_nothing_is_refused_all_counts():
    seen = targets.sample_of(TOLD.format(refused=""), 0.8)

    assert (seen.rate, seen.refused, seen.errors) == (2000, 0, 0)
