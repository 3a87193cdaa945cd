"""What a load run measures, and when an objective is missed."""

import math

import pytest
from support_programs import programs_of

journal, books, figures = programs_of("load", "journal", "books", "figures")
OBJECTIVES = {one.name: one for one in figures.OBJECTIVES}


def entry(scenario="login", call="start", status=201, *, began=10.0, took=0.1, number="+923001234567", **members):
    told = {"code": "", "verification": f"vf_{began}", **members}
    return journal.Entry(scenario, call, f"k{began}", number, began, began + took, status, **told)


def run(*entries, taken=(), strikes=()):
    return figures.Run(entries, taken, strikes)


def test_answers_while_redis_was_away_are_neither_slow_nor_errors():
    away = books.Strike("redis", 20.0, 25.0)
    struck = entry(status=503, began=21.0, took=1.4)
    measured = run(entry(), struck, strikes=[away])

    assert measured.seconds("start") == pytest.approx([0.1])
    assert OBJECTIVES["errors while Redis is there, share of the answers"].measure(measured) == 0
    assert OBJECTIVES["errors while Redis is there, share of the answers"].measure(run(entry(), struck)) == 0.5
    assert OBJECTIVES["slowest 503"].measure(measured) == pytest.approx(1.4)


def test_a_delivery_lasts_from_the_answer_to_the_first_acceptance_after_it():
    times = ((True, 9.0), (False, 10.2), (True, 10.5), (True, 11.0))
    ends = {"lost": False, "reported": False}
    calls = [books.Taken("primary", f"dp_{at}", "+923001234567", took, at=at, **ends) for took, at in times]

    assert run(entry(), taken=calls).deliveries() == pytest.approx([0.4])


def test_the_most_that_fraudsters_get_is_counted_by_block_and_without_honest_people():
    attack = [entry("abuse", began=float(at), number=f"+92345000{at:04d}") for at in range(3)]
    honest = [entry(began=float(at), number=f"+92345000{at:04d}") for at in range(50, 60)]

    assert run(*attack, *honest).most_in_a_block() == 3


@pytest.mark.parametrize("one", figures.OBJECTIVES, ids=lambda one: one.name)
def test_an_objective_that_could_not_be_measured_is_not_met(one):
    assert not one.met(math.nan)
    assert one.met(one.limit)


def test_the_table_has_a_line_for_each_scenario_and_call():
    lines = figures.rows(run(entry(), entry(began=11.0), entry("abuse", status=429, began=12.0, code="rate-limited")))

    assert [line[:3] for line in lines] == [("abuse", "start", "1"), ("login", "start", "2")]
    assert lines[0][-1] == "rate-limited 1"
