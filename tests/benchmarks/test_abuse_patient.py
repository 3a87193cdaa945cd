"""Days of patient attacks keep the ratios that they promise, and their books tell what came of them."""

import asyncio
import sys
from collections import Counter
from pathlib import Path

import pytest
from support_sources import ROOT

from otp_service.domain.detection import Finding
from otp_service.domain.newcomer_traffic import Cause, Notice, NumberGroup

sys.path.append(str(ROOT / "benchmarks"))  # a folder of programs, which import each other

import abuse_clock as clocks
import abuse_memory as memory
import abuse_patient as patient
from abuse_tally import Met, Outcome, Refusal, Tally
from abuse_traffic import Group, Visit, What

BY_NAME = {one.name: one for one in memory.SCENARIOS}
FROM_10_000 = BY_NAME["8.3 a minute from 10,000 addresses"]
ALARM = Notice(patient.FRIDAY + memory.AT + 30, Finding.ALARM, NumberGroup.UNKNOWN_NUMBERS, "", Cause.UNKNOWN_NUMBERS)


@pytest.fixture(scope="module")
def town():
    return patient.town_of("middle", 1)


@pytest.fixture(scope="module")
def friday(town):
    return patient.over_http("middle", FROM_10_000, town)


def of(visits, group, kind=""):
    return [one for one in visits if one.group is group and kind in one.kind]


def test_a_day_has_the_newcomers_that_its_site_promises_by_the_hour(friday):
    day = [one for one in of(friday, Group.HONEST, "new") if patient.DAY / 3 <= one.at < 4 * patient.DAY / 3]
    hours = Counter(int(one.at // 3600) % 24 for one in day)

    assert len(day) == pytest.approx(memory.SITES["middle"], rel=0.25)
    assert hours[20] > 5 * hours[3] > 0
    assert sum(bool(one.acts) and one.acts[-1].what is What.APPROVE for one in day) / len(day) == pytest.approx(
        memory.SHARE, abs=0.04
    )
    assert sum(one.passes_check for one in day) / len(day) == pytest.approx(memory.PASSES_CHECK, abs=0.02)
    assert len({one.number for one in day}) == len(day)


def test_the_attack_lasts_a_day_from_ten_on_and_has_as_many_addresses_as_it_says(friday, town):
    attack = of(friday, Group.ATTACK)
    each = of(patient.over_http("middle", BY_NAME["8 a minute, an address for each"], town), Group.ATTACK)

    assert len(attack) == pytest.approx(8.3 * 1440, rel=0.05)
    assert 60 * memory.AT <= attack[0].at <= attack[-1].at < 60 * memory.AT + patient.DAY
    assert len({one.address for one in attack}) == 10_000
    assert len({one.address for one in each}) == len(each)
    assert not any(one.passes_check or one.acts for one in attack)


def test_who_took_three_codes_in_a_row_in_vain_is_a_stranger_until_the_next_right_one():
    visit, tally = Visit(0.0, Group.HONEST, "known", "+923001234567", "203.0.113.1"), Tally()
    kinds = [tally.as_it_is(visit).kind]  # nobody knows it yet
    tally.approve(visit)
    for count in (tally.resend, tally.accept, tally.resend, tally.resend, tally.approve):
        kinds.append(tally.as_it_is(visit).kind)
        count(visit)

    assert [*kinds, tally.as_it_is(visit).kind] == ["lapsed", *3 * ["known"], *2 * ["lapsed"], "known"]


def met(minute, what, group=Group.ATTACK, kind="attack", refusal=None, asked_by=""):
    visit = Visit(60.0 * (memory.AT + minute), group, kind, "+923001234567", "203.0.113.1")
    return Outcome(visit, what, refusal, asked_by)


def test_a_book_counts_what_passes_before_it_is_told_before_newcomers_are_asked_and_after():
    tally = Tally(outcomes=[
        met(60, Met.SENT), met(0, Met.SENT), met(29, Met.SENT), met(31, Met.SENT), met(40, Met.ASKED, asked_by="a"),
        met(40, Met.CHECKED, Group.HONEST, "new"), met(-60, Met.SENT, Group.HONEST, "new"),
        met(50, Met.REFUSED, Group.HONEST, "known"),
    ], rules={"a": "country.unknown_numbers"})  # fmt: skip
    book = patient.book_of(FROM_10_000, tally, [ALARM])

    assert (book.passed_before_told, book.passed_before_asked, book.passed_after_asked) == (2, 3, 1)
    assert book.asked_minutes == memory.LASTS - 40
    assert book.honest == {"inside": [1, 1, 0], "outside": [1, 0, 0]}


def test_newcomers_who_get_the_trickle_count_as_asked_and_other_rules_do_not():
    trickled, other = (Refusal(Group.ATTACK, "attack", one, True, 0) for one in ("a", "b"))
    tally = Tally(outcomes=[
        met(4, Met.ASKED, asked_by="b"), met(5, Met.REFUSED, refusal=other), met(10, Met.REFUSED, refusal=trickled),
    ])  # fmt: skip
    tally.rules = {"a": "country.unknown_numbers", "b": "block.unapproved"}

    assert patient.book_of(FROM_10_000, tally, []).first_asked == patient.FRIDAY + memory.AT + 10


def test_time_stands_still_while_the_service_is_behind(tmp_path):
    valkey = clocks.FastValkey("", tmp_path, None, at=1000.0, speed=100.0)
    clock = clocks.Clock(valkey, lead=-50.0)
    behind = True
    clock.behind = lambda: behind

    async def play():
        nonlocal behind
        moving = asyncio.create_task(clock.run())
        await asyncio.sleep(0.1)
        stood = clock.now()
        behind = False
        await clock.until(stood + 1)
        moving.cancel()
        return stood

    assert asyncio.run(play()) == 50.0
    assert clock.now() >= 51.0
    assert (tmp_path / "clock").read_text().startswith("1970-01-01 00:16:4")  # 950 s and 51 more: 16 minutes 41


def test_what_a_worker_told_is_read_from_its_log(tmp_path):
    log = Path(tmp_path) / "worker.log"
    log.write_text(
        "not JSON\n"
        '{"event": "unknown_numbers_unusual", "timestamp": "2026-11-28T10:00:00Z", "why": "alarm", '
        '"whose": "unknown_numbers", "number_prefix": "92300", "cause": "unknown_numbers", "country": "PK"}\n'
    )
    clock = clocks.Clock(clocks.FastValkey("", tmp_path, None, at=6000.0, speed=1.0))

    (told,) = patient.notices_in(log, clock)

    assert told == Notice(100, Finding.ALARM, NumberGroup.UNKNOWN_NUMBERS, "92300", Cause.UNKNOWN_NUMBERS)
