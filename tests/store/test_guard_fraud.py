"""Buckets of unapproved messages: of addresses, blocks and countries. They drain on approval, and spare the known."""

from functools import partial
from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_guard import (
    ADDRESS,
    approve,
    come_in,
    guarded,
    later,
    learn_block,
    learn_usual,
    number,
    passed,
    passes,
    refused,
    told,
)

HOUR, DAY = 3600, 86_400
BRITISH = "+447400123"


def british(last: int) -> str:
    return f"{BRITISH}{last:03}"


def _shop(frozen: FrozenValkey, *rules: str, **sections: Any) -> Caller:
    return Caller(guarded(frozen, *rules, **sections))


def _fresh(shop: Caller, count: int, begin: int = 1000, **members: Any) -> int:
    """Try so many numbers of one block, each once; return how many pass."""
    return sum(passes(shop, number(begin + place), **members) for place in range(count))


def test_a_block_closes_after_a_handful_of_messages_that_nobody_approved(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "block.unapproved")

    assert sum(passes(shop, number(last), client_ip=f"192.0.2.{last}") for last in range(100)) == 4
    assert passes(shop, number(1, "+92300124")), "the next block"
    later(frozen, DAY / 2)
    assert _fresh(shop, 100) == 1, "one in twelve hours"


def test_a_block_counts_over_all_applications(frozen: FrozenValkey) -> None:
    installation = guarded(frozen, "block.unapproved")
    shop, bank = Caller(installation), Caller(installation, "bank")
    assert _fresh(shop, 2) + _fresh(bank, 2, 2000) == 4

    assert not passes(bank, number(5))


def test_an_approval_gives_back_all_messages_of_its_verification(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "block.unapproved")
    one = shop.start(number(1))
    shop.resend(one)
    shop.resend(one)
    shop.start(number(2))
    assert not passes(shop, number(3))
    come_in(shop, one)

    assert _fresh(shop, 100) == 4, "three are given back, and there is room for one more"


def test_a_block_where_people_come_in_grows_with_them_and_shrinks_again(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "block.unapproved", guard={"block": {"unapproved": ["4/2 days"]}})
    learn_block(frozen, shop, 20)
    for last in range(40):
        approve(shop, number(last))
    assert _fresh(shop, 100) == 4 + 40
    later(frozen, 1.1 * HOUR)
    assert _fresh(shop, 100, 2000) in {1, 2}, "one in 65 minutes"
    later(frozen, 5 * DAY)

    assert _fresh(shop, 100, 3000) == 4


@pytest.mark.parametrize(
    ("growth", "grown"), [([0.0], 4), ([2.5], 29), ([5.0, 1.0], 14), ([1.0, 5.0], 14), ([3.0], 34)]
)
def test_each_bucket_of_a_block_grows_by_its_own_factor(frozen: FrozenValkey, growth: list[float], grown: int) -> None:
    rules = {"block": {"unapproved": ["4/day", "4/2 days"], "growth": growth}}
    shop = _shop(frozen, "block.unapproved", guard=rules)
    learn_block(frozen, shop, 5)
    for last in range(10):
        approve(shop, number(last))

    assert _fresh(shop, 100) == grown, "what the smaller one of the two holds"


@pytest.mark.parametrize(("daily", "room"), [(0, 4 + 4), (2, 4 + 8), (3, 4 + 12), (100, 4 + 20)])
def test_a_block_grows_to_twice_what_was_usual_in_it_whoever_verifies_numbers_of_his_own(
    frozen: FrozenValkey, daily: float, room: int
) -> None:
    shop = _shop(frozen, "block.unapproved", guard={"block": {"unapproved": ["4/2 days"]}})
    for last in range(20):
        approve(shop, number(last))
    learn_block(frozen, shop, daily)

    assert _fresh(shop, 100) == room


def test_an_hour_may_bring_a_block_what_six_usually_do(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "block.unapproved", guard={"block": {"unapproved": ["4/hour"]}})
    for last in range(40):
        approve(shop, number(last))
    learn_block(frozen, shop, 24)

    assert _fresh(shop, 100) == 4 + 2 * 6


def test_new_people_in_a_block_make_themselves_usual(frozen: FrozenValkey) -> None:
    """A hundred newcomers a day where nobody came before, of whom six of ten approve."""
    shop = _shop(frozen, "block.unapproved")
    for turn in range(300):
        act = approve if turn % 5 < 3 else Caller.start
        assert not refused(partial(act, shop, number(turn)))
        later(frozen, DAY / 100)


def test_a_bucket_that_filled_while_it_was_large_lets_one_more_in_as_soon_as_a_small_one(frozen: FrozenValkey) -> None:
    rules = {"block": {"unapproved": ["4/hour"], "growth": [3.0]}}
    shop = _shop(frozen, "block.unapproved", guard=rules)
    learn_block(frozen, shop, 60)
    for last in range(30):
        approve(shop, number(last))
    assert _fresh(shop, 200) == 4 + 3 * 30
    for quarter in range(1, 17):
        later(frozen, HOUR / 4 + 1)
        assert _fresh(shop, 100, 1000 + 100 * quarter) >= 1, "nobody waits longer than a quarter of an hour"
    later(frozen, HOUR)

    assert _fresh(shop, 100, 3000) == 4, "and nothing is left of what it was"


def test_known_numbers_pass_a_block_that_is_full_and_are_not_counted_in_it(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "block.unapproved", guard={"block": {"unapproved": ["4/hour"]}})
    approve(shop, number(1))
    later(frozen, 2 * HOUR)
    assert passes(shop, number(1))
    assert _fresh(shop, 100) == 4
    assert passes(shop, number(1))
    later(frozen, 89 * DAY)
    assert _fresh(shop, 100, 1000) == 4
    assert passes(shop, number(1))
    later(frozen, DAY)

    assert passed(shop, number(1), 20) == 4, "after 90 days it is as any other"


@pytest.mark.parametrize(("block", "starts"), [("+92300123", 3), ("+4474001", 2)])
def test_a_known_number_that_approves_nothing_is_a_stranger_until_the_next_right_code(
    frozen: FrozenValkey, block: str, starts: int
) -> None:
    """At home after three messages, abroad after two."""
    shop = _shop(frozen, "block.unapproved", guard={"block": {"unapproved": ["1/hour"], "growth": [0]}})
    to = number(1, block).ljust(13, "7")
    approve(shop, to)
    later(frozen, 2 * HOUR)
    ones = [shop.start(to) for _ in range(starts)]
    assert passed(shop, to, 3) == 1, "the one that the block has room for"
    assert refused(lambda: shop.resend(ones[0])), "whoever it was when that began"
    assert shop.check(ones[-1], shop.code(ones[-1]))[1]
    later(frozen, 1)

    assert passed(shop, to, starts) == starts


@pytest.mark.parametrize(("block", "messages"), [("+92300123", 3), ("+4474001", 2)])
def test_further_messages_make_a_known_number_a_stranger_too(frozen: FrozenValkey, block: str, messages: int) -> None:
    shop = _shop(frozen, "block.unapproved", guard={"block": {"unapproved": ["1/hour"], "growth": [0]}})
    to = number(1, block).ljust(13, "7")
    approve(shop, to)
    later(frozen, 2 * HOUR)
    one = shop.start(to)
    for _ in range(messages - 1):
        shop.resend(one)
    assert passes(shop, number(2, block).ljust(13, "7")), "none of them counts in the block"
    assert refused(lambda: shop.resend(one))
    assert not passes(shop, to)
    come_in(shop, one)

    assert passes(shop, to)


def test_what_began_before_the_last_right_code_makes_no_stranger(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "block.unapproved", guard={"block": {"unapproved": ["2/hour"], "growth": [0]}})
    first = shop.start(number(1))
    approve(shop, number(1))
    for _ in range(3):
        shop.resend(first)

    assert passed(shop, number(1), 3) == 3


def test_an_approval_gives_back_what_a_stranger_in_the_middle_was_counted_for(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "block.unapproved", guard={"block": {"unapproved": ["2/2 days"], "growth": [0]}})
    approve(shop, number(1))
    later(frozen, 5 * DAY)
    one = shop.start(number(1))
    for _ in range(4):
        shop.resend(one)
    assert not passes(shop, number(2)), "the last two are counted"
    come_in(shop, one)

    assert _fresh(shop, 100) == 2


def test_an_approval_of_what_counted_nowhere_makes_no_room_whoever_it_is_by_then(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "block.unapproved", guard={"block": {"unapproved": ["2/2 days"], "growth": [2.0]}})
    approve(shop, number(1))
    later(frozen, 5 * DAY)
    ones = [shop.start(number(1)) for _ in range(3)]
    come_in(shop, ones[-1])

    assert _fresh(shop, 100) == 2


def test_messages_that_made_it_a_stranger_are_as_many_as_the_settings_say(frozen: FrozenValkey) -> None:
    rules = {"block": {"unapproved": ["1/hour"], "growth": [0]}, "number": {"known_messages": 5}}
    shop = _shop(frozen, "block.unapproved", guard=rules)
    approve(shop, number(1))
    later(frozen, 2 * HOUR)

    assert passed(shop, number(1), 20) == 5 + 1


def test_a_resend_counts_in_block_and_country_and_is_refused_by_them(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "block.unapproved")
    one = shop.start(number(1))
    for _ in range(3):
        shop.resend(one)

    assert refused(lambda: shop.resend(one))
    assert not passes(shop, number(2))


def test_a_country_that_was_never_seen_has_a_small_budget_and_home_a_large_one(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "country.unapproved", guard={"country": {"unapproved": ["30/day"], "home": ["60/day"]}})

    assert sum(passes(shop, british(last)) for last in range(100)) == 30
    assert _fresh(shop, 100) == 60


def test_countries_grow_with_what_is_approved_and_count_for_each_application(frozen: FrozenValkey) -> None:
    """By two for each, at home as abroad."""
    own = {"shop": {"countries": ["PK", "GB"]}, "bank": {"countries": ["PK", "GB"]}}
    rules = {"country": {"unapproved": ["5/day"], "home": ["5/day"]}}
    installation = guarded(frozen, "country.unapproved", guard=rules, applications=own)
    shop, bank = Caller(installation), Caller(installation, "bank")
    for last in range(8):
        approve(shop, british(last))
        approve(shop, number(last))
    learn_usual(shop, GB=8, PK=8)

    assert sum(passes(shop, british(100 + last)) for last in range(100)) == 5 + 2 * 8
    assert sum(passes(bank, british(200 + last)) for last in range(100)) == 5
    assert _fresh(shop, 100) == 5 + 2 * 8
    assert _fresh(bank, 100, 2000) == 5


@pytest.mark.parametrize(("usual", "room"), [(0, 5 + 5), (2, 5 + 2 * 2 * 2), (3, 5 + 2 * 2 * 3), (100, 5 + 2 * 8)])
def test_growth_is_bounded_by_twice_what_usual_approvals_give_or_by_the_amount(
    frozen: FrozenValkey, usual: float, room: int
) -> None:
    """So that who verifies numbers of his own opens no more to himself, at home too."""
    shop = _shop(frozen, "country.unapproved", guard={"country": {"home": ["5/day"]}})
    for last in range(8):
        approve(shop, number(last))
    learn_usual(shop, PK=usual)

    assert _fresh(shop, 100) == room


def test_what_is_unblocked_keeps_the_room_that_approvals_made(frozen: FrozenValkey) -> None:
    """An operator who opens a country does not make it smaller by that."""
    shop = _shop(frozen, "country.unapproved", guard={"country": {"home": ["5/day"]}})
    for last in range(8):
        approve(shop, number(last))
    learn_usual(shop, PK=8)
    assert _fresh(shop, 100) == 5 + 2 * 8
    assert shop.context.store.guard.forget_country("shop", "PK") == 1

    assert _fresh(shop, 100, 2000) == 5 + 2 * 8
    assert shop.context.store.guard.forget_country("shop", "GB") == 0


def test_an_application_has_the_home_that_it_names(frozen: FrozenValkey) -> None:
    rules = {"country": {"unapproved": ["3/day"], "home": ["9/day"]}}
    shop = _shop(frozen, "country.unapproved", guard=rules, applications={"shop": {"home": "GB"}})

    assert sum(passes(shop, british(last)) for last in range(100)) == 9
    assert _fresh(shop, 100) == 3


def test_unapproved_starts_from_an_address_are_bounded_and_approvals_give_back(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "address.unapproved", guard={"address": {"unapproved": ["3/hour"]}})
    assert _fresh(shop, 10, client_ip=ADDRESS) == 3
    assert _fresh(shop, 10, 2000, client_ip="192.0.2.2") == 3
    assert _fresh(shop, 9, 3000) == 9, "without an address it does not apply"
    later(frozen, 2 * HOUR)
    for last in range(9):
        approve(shop, number(last), client_ip=ADDRESS)

    assert _fresh(shop, 20, client_ip=ADDRESS) == 3 + 9, "and one more for each that is approved there"


def test_a_known_context_passes_the_rules_on_its_address_and_is_not_counted_in_them(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "address.unapproved", guard={"address": {"unapproved": ["3/hour"]}})
    approve(shop, number(1), client_ip=ADDRESS, context="own phone")
    later(frozen, 2 * HOUR)
    assert passed(shop, number(1), 5, client_ip=ADDRESS, context="own phone") == 5
    assert _fresh(shop, 10, client_ip=ADDRESS) == 3
    assert passed(shop, number(1), 5, client_ip=ADDRESS, context="own phone") == 5

    assert not passes(shop, number(1), client_ip=ADDRESS), "it is the context that is known, not the number"


def test_only_numbers_that_are_new_to_an_address_count_as_different_ones(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "address.numbers", guard={"address": {"numbers": ["3/day"]}})
    assert passed(shop, number(1), 10, client_ip=ADDRESS) == 10
    one = shop.start(number(2), client_ip=ADDRESS)
    assert passes(shop, number(3), client_ip=ADDRESS)
    assert not passes(shop, number(4), client_ip=ADDRESS)
    assert passes(shop, number(1), client_ip=ADDRESS)
    come_in(shop, one)

    assert passes(shop, number(4), client_ip=ADDRESS), "an approved one is given back"
    assert passes(shop, number(5), client_ip=ADDRESS), "and makes room for one more"
    assert not passes(shop, number(6), client_ip=ADDRESS)


def test_only_countries_that_are_new_to_an_address_count_as_different_ones(frozen: FrozenValkey) -> None:
    own = {"shop": {"countries": ["PK", "GB", "AE"]}}
    shop = _shop(frozen, "address.countries", guard={"address": {"countries": ["2/day"]}}, applications=own)
    assert passed(shop, number(1), 5, client_ip=ADDRESS) == 5
    one = shop.start(british(1), client_ip=ADDRESS)
    assert passes(shop, british(2), client_ip=ADDRESS)
    assert not passes(shop, "+971501234567", client_ip=ADDRESS)
    come_in(shop, one)

    assert passes(shop, "+971501234567", client_ip=ADDRESS)
    later(frozen, DAY)
    assert passes(shop, british(2), client_ip=ADDRESS)


def test_ipv6_counts_by_64_and_by_48_and_a_mapped_address_as_ipv4(frozen: FrozenValkey) -> None:
    rules = {"address": {"unapproved": ["2/hour"], "network": ["5/day"]}}
    shop = _shop(frozen, "address.unapproved", "address.network", guard=rules)

    assert _fresh(shop, 9, client_ip="2001:db8:1:1::1") == 2
    assert not passes(shop, number(1), client_ip="2001:db8:1:1:ffff::9"), "the same /64"
    assert _fresh(shop, 9, client_ip="2001:db8:1:2::1") == 2
    assert _fresh(shop, 9, client_ip="2001:db8:1:3::1") == 1, "the /48 is full"
    assert _fresh(shop, 9, client_ip="2001:db8:2:1::1") == 2, "another /48"
    assert _fresh(shop, 1, client_ip=ADDRESS) + _fresh(shop, 9, client_ip=f"::ffff:{ADDRESS}") == 2


def test_who_holds_more_than_a_48_gets_no_further_than_his_32_and_6to4_is_the_ipv4_address(
    frozen: FrozenValkey,
) -> None:
    rules = {"address": {"unapproved": ["2/hour"], "network": ["5/day"], "provider": ["7/day"]}}
    shop = _shop(frozen, "address.unapproved", "address.network", "address.provider", guard=rules)

    assert sum(_fresh(shop, 1, client_ip=f"2001:db8:{site:x}::1") for site in range(20)) == 7
    assert _fresh(shop, 9, client_ip="2001:db9::1") == 2, "another /32"
    assert _fresh(shop, 1, client_ip=ADDRESS) == 1
    packed = "".join(f"{int(part):02x}" for part in ADDRESS.split("."))
    assert sum(_fresh(shop, 1, client_ip=f"2002:{packed[:4]}:{packed[4:]}:{net:x}::1") for net in range(9)) == 1


@pytest.mark.parametrize("rule", ["block.unapproved", "country.unapproved", "address.unapproved", "address.numbers"])
def test_the_safe_list_passes_the_rules_against_fraud_and_is_not_counted_by_them(
    frozen: FrozenValkey, rule: str
) -> None:
    rules = {
        "destinations": {"safe": [number(1)]},
        "block": {"unapproved": ["2/day"]},
        "country": {"home": ["2/day"]},
        "address": {"unapproved": ["2/day"], "numbers": ["2/day"]},
    }
    shop = _shop(frozen, rule, guard=rules)
    approve(shop, number(1), client_ip=ADDRESS)
    frozen.client.delete(*frozen.client.keys("*:number:*"))
    assert passed(shop, number(1), 9, client_ip=ADDRESS) == 9

    assert _fresh(shop, 9, client_ip=ADDRESS) == 2
    assert passed(shop, number(1), 9, client_ip=ADDRESS) == 9
    assert {one for one, _ in told(shop)} == {rule}


@pytest.mark.parametrize(("rule", "limits"), [("number.sends", {"number": ["3/day"]}), ("number.cooldown", {})])
def test_the_safe_list_passes_no_rule_on_the_number_itself(frozen: FrozenValkey, rule: str, limits: Any) -> None:
    shop = _shop(frozen, rule, guard={"destinations": {"safe": [number(1)]}}, limits=limits)

    assert passed(shop, number(1), 9) == (3 if limits else 1)
