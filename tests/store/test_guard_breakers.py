"""Breakers on conversion: they close a place that nobody types codes in from, and no weapon against who is known."""

from copy import copy
from itertools import count
from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_guard import approve, come_in, decisions, guarded, later, modes, number, passed, passes

from otp_service.store import keys

MINUTE, DAY = 60, 86_400
_fresh = count(10_000)


@pytest.fixture(autouse=True)
def at_the_beginning_of_a_minute(frozen: FrozenValkey) -> None:
    frozen.move_to(frozen.now - frozen.now % 60_000)


def british() -> str:
    """Return a British number that nobody used."""
    return f"+4474{next(_fresh):08}"


def pakistani() -> str:
    """Return a Pakistani number in a block that nobody used."""
    place = next(_fresh)
    return f"+9231{place // 1000 % 10}{place % 1000:03}0001"


def _shop(frozen: FrozenValkey, *rules: str, **of_conversion: Any) -> Caller:
    applications = {"shop": {"countries": ["PK", "GB"]}, "bank": {"countries": ["PK", "GB"]}}
    conversion = {"home_sends": 20, **of_conversion}
    return Caller(guarded(frozen, *rules, guard={"conversion": conversion}, applications=applications))


def _bank(shop: Caller) -> Caller:
    """Return another application of the same installation."""
    other = copy(shop)
    other.application = shop.context.applications["bank"]
    return other


def _minutes(
    frozen: FrozenValkey, shop: Caller, minutes: int, starts: int, rate: float = 0.0, to: Any = british
) -> int:
    """Let some minutes pass with so many starts in each, of which a share is approved; return how many passed."""
    lets = 0
    for _ in range(minutes):
        for place in range(starts):
            if place < rate * starts:
                approve(shop, to())
                lets += 1
            else:
                lets += passes(shop, to())
        later(frozen, MINUTE)
    return lets


def _changes(shop: Caller) -> list[tuple[str, str]]:
    return [(one.rule, one.mode) for one in decisions(shop) if one.kind == "change"]


def test_a_country_closes_after_tens_of_messages_and_opens_again_with_a_trickle(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "country.conversion", trickle="2/10 minutes")

    assert _minutes(frozen, shop, 10, 10) == 40, "at the fifth minute three are judged, and one is too young"
    assert _changes(shop) == [("country.conversion", "open")]
    assert not passes(shop, british())
    assert passes(shop, pakistani()), "another country"
    assert passes(_bank(shop), british()), "another application"
    later(frozen, 9 * MINUTE - 1)
    assert not passes(shop, british()), "the last second of its quarter of an hour"
    later(frozen, 1)
    assert sum(passes(shop, british()) for _ in range(10)) == 2


def test_it_is_closed_for_twice_as_long_each_time_that_it_was_no_better(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "country.conversion", trickle="20/10 minutes", max_closed_for=3600)
    _minutes(frozen, shop, 6, 10)
    blocks = []
    for _ in range(4):
        (last,) = [one for one in decisions(shop) if one.kind == "change"][-1:]
        blocks.append((last.until - last.at) / 60_000)
        later(frozen, (last.until - frozen.now) / 1000)
        _minutes(frozen, shop, 5, 5)

    assert blocks == [15, 30, 60, 60], "and never longer than the longest"


def test_how_often_it_was_closed_is_forgotten_when_nothing_is_sent_for_hours(frozen: FrozenValkey) -> None:
    """Although its row is kept for days, for what is spent."""
    shop = _shop(frozen, "country.conversion", max_closed_for=3600, home="100/hour", home_block="2/hour")
    blocks = []
    for _ in range(2):
        _minutes(frozen, shop, 6, 10)
        (last,) = [one for one in decisions(shop) if one.kind == "change"][-1:]
        blocks.append((last.until - last.at) / 60_000)
        later(frozen, 4 * 60 * MINUTE)

    assert blocks == [15, 15]


@pytest.mark.parametrize(("approved", "closed"), [(1, True), (2, False)])
def test_a_country_where_enough_people_type_their_codes_in_stays_open(
    frozen: FrozenValkey, approved: int, closed: bool
) -> None:
    shop = _shop(frozen, "country.conversion")
    ones = []
    for _ in range(4):
        ones = [shop.start(british()) for _ in range(10)]
        for one in ones[:approved]:
            come_in(shop, one)
        later(frozen, MINUTE)

    assert passes(shop, british()) != closed


def test_the_start_at_which_a_country_closes_is_counted_nowhere(frozen: FrozenValkey) -> None:
    guard = {"conversion": {"sends": 5}, "country": {"unapproved": ["1000/30 days"]}}
    countries = {"shop": {"countries": ["PK", "GB"]}}
    shop = Caller(guarded(frozen, "country.conversion", "country.unapproved", guard=guard, applications=countries))
    starts = 0
    while passes(shop, british()):
        starts += 1
        later(frozen, 20)
    _, kept = shop.context.store.guard._read(keys.country("00", "shop", "GB"))

    assert kept["lu2592000"] == pytest.approx(starts, abs=0.5)
    assert kept["b"][1] == 0, "the breaker judges what is sent from now on"


def test_a_trickle_that_is_approved_opens_the_country_again(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "country.conversion", trickle="10/minute")
    _minutes(frozen, shop, 6, 10)
    later(frozen, 15 * MINUTE)
    _minutes(frozen, shop, 5, 5, rate=0.6)

    assert _changes(shop) == [("country.conversion", "open"), ("country.conversion", "closed")]
    assert sum(passes(shop, british()) for _ in range(30)) == 30


def test_few_messages_are_not_judged(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "country.conversion", "block.conversion")

    assert _minutes(frozen, shop, 60, 1) == 60


def test_approvals_that_come_late_count_for_the_minute_of_their_start(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "country.conversion")
    ones: list[list[str]] = []
    for _ in range(9):
        ones.append([shop.start(british()) for _ in range(10)])
        if len(ones) > 2:
            for one in ones[-3][:4]:
                come_in(shop, one)
        later(frozen, MINUTE)

    assert _changes(shop) == []


def test_approvals_of_what_was_sent_before_it_closed_do_not_open_it_again(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "country.conversion", trickle="10/minute")
    before = []
    for _ in range(4):
        before += [shop.start(british()) for _ in range(10)]
        later(frozen, MINUTE)
    assert not passes(shop, british())
    for one in before[-20:]:
        come_in(shop, one)
    later(frozen, 15 * MINUTE)
    _minutes(frozen, shop, 5, 5)

    assert [mode for _, mode in _changes(shop)] == ["open", "open"]


def test_a_clock_that_is_set_back_makes_a_breaker_no_older(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "country.conversion")
    for _ in range(3):
        _minutes(frozen, shop, 1, 9)
        frozen.move_to(frozen.now - 50_000)
        passes(shop, british())
        later(frozen, 50)

    assert _minutes(frozen, shop, 10, 10) < 30, "what was sent counts as before"


def test_resends_are_no_further_verifications_to_a_breaker(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "country.conversion")
    for _ in range(8):
        for _ in range(2):
            one = shop.start(british())
            for _ in range(4):
                shop.resend(one)
        later(frozen, MINUTE)

    assert _changes(shop) == []


def test_a_block_closes_for_all_applications_and_its_neighbours_do_not(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "block.conversion")
    own = count(1)
    lets = _minutes(frozen, shop, 10, 10, to=lambda: number(next(own)))

    assert lets == 40
    assert not passes(_bank(shop), number(5000))
    assert passes(shop, number(5000, "+92300124"))


def test_known_numbers_pass_every_breaker_and_are_not_judged(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "country.conversion", "block.conversion")
    known, at_home = british(), number(1)
    approve(shop, known)
    approve(shop, at_home)
    _minutes(frozen, shop, 8, 10)
    _minutes(frozen, shop, 8, 10, to=lambda: number(next(_fresh) % 9000 + 1000))

    assert ("country.conversion", "open") in _changes(shop)
    assert not passes(shop, british())
    assert passed(shop, known, 1) == 1
    assert passed(shop, at_home, 3) == 3, "the breaker is no weapon against who is known"
    later(frozen, MINUTE * 3)
    assert passed(shop, known, 1) == 1, "two in all, which abroad is what a number may take that nobody approves"


def test_approvals_of_known_numbers_hide_no_attack(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "country.conversion")
    regulars = [british() for _ in range(10)]
    for to in regulars:
        approve(shop, to)
    later(frozen, 180 * MINUTE)
    for _ in range(8):
        for to in regulars:
            approve(shop, to)
        _minutes(frozen, shop, 1, 10)

    assert _changes(shop) == [("country.conversion", "open")]


def test_approvals_of_what_began_as_a_known_numbers_hide_no_attack(frozen: FrozenValkey) -> None:
    """Also where further messages made a stranger of it, which buckets count, and breakers do not."""
    roomy = {"country": {"unapproved": ["1000/day"]}}
    shop = Caller(guarded(frozen, "country.conversion", "country.unapproved", guard=roomy))
    regulars = [british() for _ in range(20)]
    for to in regulars:
        approve(shop, to)
    later(frozen, 180 * MINUTE)
    begun = [shop.start(to) for to in regulars]
    for one in 2 * begun:
        shop.resend(one)
    for one in begun:
        come_in(shop, one)
    _minutes(frozen, shop, 5, 10)

    assert _changes(shop) == [("country.conversion", "open")]


def test_the_home_country_is_never_closed_but_comes_down_to_a_trickle(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "country.conversion", home="7/day", home_block="2/2 days")
    known = number(1)
    approve(shop, known)
    assert _minutes(frozen, shop, 3, 10, to=pakistani) == 30
    assert sum(passes(shop, pakistani()) for _ in range(50)) == 7
    assert _changes(shop) == [("country.conversion", "open")]

    assert passed(shop, known, 3) == 3
    later(frozen, DAY / 2)
    assert sum(passes(shop, pakistani()) for _ in range(50)) >= 3, "and it goes on, at home, by day and night"


def test_while_home_is_down_each_block_of_it_has_its_own_trickle(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "country.conversion", "block.conversion", home="50/day", home_block="2/2 days")
    assert _minutes(frozen, shop, 4, 10, to=pakistani) == 40

    assert sum(passes(shop, number(last)) for last in range(30)) == 2
    assert sum(passes(shop, number(last, "+92300777")) for last in range(30)) == 2


def test_home_is_judged_by_what_passes_and_is_open_again_when_people_come_in(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "country.conversion", home="500/day", home_block="9/day")
    assert _minutes(frozen, shop, 4, 10, to=pakistani) == 40
    assert _minutes(frozen, shop, 15, 10, rate=0.5, to=pakistani) == 150
    passes(shop, pakistani())

    assert _changes(shop) == [("country.conversion", "open"), ("country.conversion", "closed")]


@pytest.mark.parametrize("mode", ["record_only", "off"])
def test_a_breaker_that_only_records_or_is_off_closes_nothing(frozen: FrozenValkey, mode: str) -> None:
    guard = {"modes": modes("country.conversion", mode=mode), "conversion": {"home": "1/day", "home_sends": 20}}
    shop = Caller(guarded(frozen, guard=guard, applications={"shop": {"countries": ["PK", "GB"]}}))

    assert _minutes(frozen, shop, 8, 10) == 80
    assert _minutes(frozen, shop, 8, 10, to=pakistani) == 80
    assert (len(_changes(shop)) == 2) == (mode == "record_only")
