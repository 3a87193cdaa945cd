"""Whether something grew during a soak, by figures that are made up."""

import pytest
from support_programs import programs_of

(growth,) = programs_of("benchmarks", "growth")


def _samples(*values: float) -> list:
    return [growth.Sample(5.0 * place, {"keys": value}) for place, value in enumerate(values)]


def test_what_grows_is_told_by_its_share():
    (seen,) = growth.growths(_samples(*range(100, 200)), 0)

    assert (seen.first, seen.last, seen.highest) == (109.5, 189.5, 199)
    assert seen.share == pytest.approx(0.73, abs=0.01)


def test_only_the_time_after_the_warm_up_is_judged():
    (seen,) = growth.growths(_samples(*range(50), *[50] * 50), 250)

    assert (seen.first, seen.last, seen.share) == (50, 50, 0)


def test_what_was_not_there_at_first_has_grown():
    nothing, something = (growth.growths(_samples(0, 0, 0, 0, last), 0)[0] for last in (0, 7))

    assert (nothing.share, something.share) == (0, 1)
