"""The traffic of the simulation of attacks keeps the ratios that it promises, and is the same for the same seed."""

import sys
from collections import Counter
from statistics import median

import phonenumbers
import pytest
from support_sources import ROOT

sys.path.append(str(ROOT / "benchmarks"))  # a folder of programs, which import each other

import abuse_attacks as attacks
import abuse_numbers as numbers
import abuse_people as people
import abuse_traffic as traffic

HONEST = 20_000
HOURS = 24
WHAT = traffic.What


@pytest.fixture(scope="module")
def town():
    return people.Town(7, HONEST)


@pytest.fixture(scope="module")
def attacked(town):
    return town.blocks[numbers.HOME]


@pytest.fixture(scope="module")
def day(town, attacked):
    return [
        one
        for one in traffic.honest_traffic(town, HOURS, attacked)
        if one.group is traffic.Group.HONEST
    ]  # fmt: skip


def share(visits, wanted):
    visits = list(visits)
    return sum(map(bool, map(wanted, visits))) / len(visits)


def acts(visit):
    return [act.what for act in visit.acts]


def test_a_day_is_as_long_and_as_busy_as_promised(day):
    assert len(day) == pytest.approx(HONEST, rel=0.02)
    assert 0 <= day[0].at <= day[-1].at <= HOURS * traffic.HOUR
    assert [one.at for one in day] == sorted(one.at for one in day)


def test_the_same_seed_makes_the_same_traffic_whatever_was_made_before(town, attacked, day):
    traffic.honest_traffic(town, 1)
    again = traffic.honest_traffic(people.Town(7, HONEST), HOURS, attacked)

    assert [one for one in again if one.group is traffic.Group.HONEST] == day
    assert traffic.honest_traffic(people.Town(8, HONEST), 1)[0] != traffic.honest_traffic(town, 1)[0]


def test_of_all_honest_visits_sixty_percent_are_approved_after_25_seconds_in_the_median(day):
    typed = [visit.acts[0].after for visit in day if WHAT.APPROVE in acts(visit)]

    assert share(day, lambda visit: WHAT.APPROVE in acts(visit)) == pytest.approx(0.6, abs=0.015)
    assert median(typed) == pytest.approx(25, rel=0.05)


def test_of_those_who_type_a_code_in_five_percent_mistype_it_first(day):
    converted = [visit for visit in day if WHAT.APPROVE in acts(visit)]

    assert share(converted, lambda visit: acts(visit) == [WHAT.MISTYPE, WHAT.APPROVE]) == pytest.approx(0.05, abs=0.01)


def test_half_of_the_others_ask_for_another_message_after_45_seconds(day):
    others = [visit for visit in day if WHAT.APPROVE not in acts(visit)]

    assert share(others, lambda visit: visit.acts == (traffic.Act(45, WHAT.RESEND),)) == pytest.approx(0.5, abs=0.02)
    assert all(visit.acts in {(), (traffic.Act(45, WHAT.RESEND),)} for visit in others)


def test_thirty_percent_are_new_and_a_tenth_of_these_in_attacked_blocks(town, attacked, day):
    known = {one.number for one in (*town.known, *town.known_abroad)}
    new = [visit for visit in day if visit.number not in known]
    at_home = [visit for visit in new if numbers.country_of(visit.number) == numbers.HOME]

    assert len(new) / len(day) == pytest.approx(0.3, abs=0.015)
    assert share(at_home, lambda visit: numbers.block_of(visit.number) in attacked) == pytest.approx(0.1, abs=0.02)
    assert len({visit.number for visit in new}) == len(new)
    assert all(visit.kind.startswith("new") for visit in new)
    assert all(visit.kind.endswith("inside") == (numbers.block_of(visit.number) in attacked) for visit in day)


def test_half_a_percent_goes_abroad(day):
    assert share(day, lambda visit: "abroad" in visit.kind) == pytest.approx(0.005, abs=0.00125)
    assert all(("abroad" in visit.kind) == (numbers.country_of(visit.number) == numbers.ABROAD) for visit in day)


def test_half_of_the_people_are_behind_twenty_addresses_and_a_tenth_in_families_of_four(town):
    everybody = [*town.known, *town.known_abroad]
    shared = Counter(one.address for one in everybody if one.address.startswith("203.0.113."))
    families = Counter(one.address.rpartition("::")[0] for one in everybody if ":" in one.address)
    own = [one.address for one in everybody if one.address.startswith("39.")]

    assert len(shared) == 20
    assert shared.total() / len(everybody) == pytest.approx(0.5, abs=0.02)
    assert families.total() / len(everybody) == pytest.approx(0.1, abs=0.01)
    assert set(list(families.values())[:-1]) == {4}
    assert len(set(own)) == len(own)


def test_nobody_who_is_known_comes_back_while_the_last_code_lives(day):
    last = {}
    for visit in day:
        if visit.kind == "known":
            assert visit.at - last.get(visit.number, -traffic.DAY) > traffic.AWAY
            last[visit.number] = visit.at


def test_a_known_person_always_comes_with_the_same_browser(town, day):
    contexts = {one.number: one.context for one in (*town.known, *town.known_abroad)}

    assert all(contexts.get(visit.number, visit.context) == visit.context for visit in day)


def test_on_the_days_before_everybody_who_is_known_comes_once_and_the_victim_too(town):
    visits = traffic.warm_up(town, 0)

    assert Counter(visit.number for visit in visits) == Counter(
        one.number for one in (*town.known, *town.known_abroad, town.victim)
    )
    assert all(acts(visit) == [WHAT.APPROVE] and visit.context for visit in visits)


@pytest.mark.parametrize("country", [numbers.HOME, numbers.ABROAD, numbers.UNLISTED])
def test_the_numbers_of_a_country_are_valid_and_its_own(country):
    chance = traffic.random.Random(3)
    for block in numbers.blocks(country, 300, chance):
        parsed = phonenumbers.parse(f"{block}{chance.randrange(10_000):04d}")

        assert phonenumbers.is_valid_number(parsed)
        assert phonenumbers.region_code_for_number(parsed) == country
        assert phonenumbers.number_type(parsed) == phonenumbers.PhoneNumberType.MOBILE


def test_each_number_of_a_block_comes_once_before_any_comes_again():
    walk = numbers.numbers_in(("+92300123",), traffic.random.Random(1))
    first = [next(walk) for _ in range(numbers.BLOCK)]

    assert len(set(first)) == numbers.BLOCK
    assert next(walk) in first


@pytest.mark.parametrize("attack", [attacks.block, attacks.home_blocks, attacks.unlisted, attacks.weapon])
def test_an_attack_is_five_times_as_large_as_honest_traffic_and_each_address_fresh(town, attack):
    visits = attack(town, HOURS)

    assert len(visits) == 5 * HONEST
    assert len({visit.address for visit in visits}) == len(visits)
    assert all(visit.acts == () and visit.group is traffic.Group.ATTACK for visit in visits)


def test_pumping_goes_over_all_attacked_blocks_alike(town, attacked):
    counts = Counter(numbers.block_of(visit.number) for visit in attacks.home_blocks(town, HOURS))

    assert counts.keys() == set(attacked)
    assert set(counts.values()) == {500}


def test_the_slow_attack_is_one_message_a_minute_over_fifty_blocks(town):
    visits = attacks.slow(town, HOURS)

    assert [visit.at for visit in visits] == [60.0 * minute for minute in range(24 * 60)]
    assert len({numbers.block_of(visit.number) for visit in visits}) == 50


def test_one_number_is_bombed_from_three_applications_and_a_thousand_addresses(town):
    visits = attacks.bombing(town, HOURS)

    assert {visit.number for visit in visits} == {town.victim.number}
    assert len({visit.application for visit in visits}) == 3
    assert len({visit.address for visit in visits}) == 1000


def test_the_one_who_is_guessed_at_comes_in_meanwhile_with_a_browser_that_is_known(town):
    visits = attacks.guessing(town, HOURS)
    own = [visit for visit in visits if visit.group is traffic.Group.HONEST]

    assert {(visit.number, visit.context) for visit in own} == {(town.victim.number, town.victim.context)}
    assert {visit.number for visit in visits} == {town.victim.number}
    assert not {visit.context for visit in visits if visit.group is traffic.Group.ATTACK} - {None}


def test_a_code_is_sprayed_over_ten_thousand_numbers(town):
    visits = attacks.spraying(town, HOURS)

    assert len({visit.number for visit in visits}) == pytest.approx(10_000, rel=0.001)
    assert all(acts(visit) == [WHAT.SPRAY] for visit in visits)
