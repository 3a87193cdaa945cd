"""What an approval gives back: what its own verification was counted for, once, and nothing that was never counted."""

from typing import Any

from support_caller import Caller
from support_frozen import FrozenValkey
from support_guard import ADDRESS, approve, guarded, later, number, passes

HOUR, DAY = 3600, 86_400
BRITISH, EMIRATI = "+447400123456", "+971501234567"


def _shop(frozen: FrozenValkey, *rules: str, **guard: Any) -> Caller:
    countries = {"shop": {"countries": ["PK", "GB", "AE"]}}
    return Caller(guarded(frozen, *rules, guard=guard, applications=countries))


def _fresh(shop: Caller, count: int, begin: int = 1000, **members: Any) -> int:
    """Try so many numbers of one block, each once; return how many pass."""
    return sum(passes(shop, number(begin + place), **members) for place in range(count))


def test_an_address_gets_back_one_start_however_many_messages_there_were(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "address.unapproved", address={"unapproved": ["3/day"]})
    one = shop.start(number(1), client_ip=ADDRESS)
    for _ in range(2):
        shop.resend(one)
    assert passes(shop, number(2), client_ip=ADDRESS)
    assert shop.check(one, shop.code(one))[1]

    assert _fresh(shop, 9, client_ip=ADDRESS) == 3, "one is left of two, where four may be"


def test_a_known_number_gives_a_block_and_a_country_nothing_back_and_makes_them_no_larger(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "block.unapproved", "country.unapproved", block={"unapproved": ["4/hour"]})
    approve(shop, number(1))
    later(frozen, 3 * HOUR)
    assert _fresh(shop, 9) == 4
    for _ in range(9):
        approve(shop, number(1))

    assert _fresh(shop, 9) == 0


def test_a_known_context_gives_its_address_nothing_back_and_makes_it_no_larger(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "address.unapproved", address={"unapproved": ["3/hour"]})
    approve(shop, number(1), client_ip=ADDRESS, context="own phone")
    later(frozen, 3 * HOUR)
    assert _fresh(shop, 9, client_ip=ADDRESS) == 3
    for _ in range(9):
        approve(shop, number(1), client_ip=ADDRESS, context="own phone")

    assert _fresh(shop, 9, client_ip=ADDRESS) == 0


def test_messages_that_were_not_counted_are_not_given_back(frozen: FrozenValkey) -> None:
    """A number that became known meanwhile gets its further messages uncounted."""
    shop = _shop(frozen, "block.unapproved", block={"unapproved": ["9/day"]})
    first, second = shop.start(number(1)), shop.start(number(1))
    assert _fresh(shop, 5) == 5
    assert shop.check(second, shop.code(second))[1]
    for _ in range(4):
        shop.resend(first)
    assert shop.check(first, shop.code(first))[1]

    assert _fresh(shop, 20, 2000) == 5, "5 of 9 are used, and one more for the one who was approved"


def test_an_approval_gives_a_trickle_nothing_back_that_it_was_not_counted_in(frozen: FrozenValkey) -> None:
    frozen.move_to(frozen.now - frozen.now % 60_000)
    guard = {"conversion": {"sends": 5, "closed_for": 60, "trickle": "4/10 minutes"}}
    shop = _shop(frozen, "country.conversion", **guard)
    fresh = (f"+4474001{place:05}" for place in range(99))
    early = ""
    while passes(shop, to := next(fresh)):
        early = shop.start(to)
        shop.resend(early)
        later(frozen, 10)
    later(frozen, 60)
    assert [passes(shop, next(fresh)) for _ in range(3)] == [True, True, True]
    assert shop.check(early, shop.code(early))[1]

    assert sum(passes(shop, next(fresh)) for _ in range(9)) == 1


def test_a_number_of_the_safe_list_gives_nothing_back(frozen: FrozenValkey) -> None:
    guard = {"destinations": {"safe": [number(1)]}, "block": {"unapproved": ["3/hour"]}}
    shop = _shop(frozen, "block.unapproved", **guard)
    assert _fresh(shop, 9) == 3
    approve(shop, number(1))

    assert _fresh(shop, 9) == 0


def test_only_the_start_for_which_a_number_was_new_gives_it_back_to_its_address(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "address.numbers", address={"numbers": ["3/day"]})
    assert _fresh(shop, 3, 1, client_ip=ADDRESS) == 3
    approve(shop, number(1), client_ip=ADDRESS)

    assert passes(shop, number(4), client_ip=ADDRESS), "an approval makes room for one more, and gives nothing back"
    assert not passes(shop, number(5), client_ip=ADDRESS)


def test_a_number_that_was_given_back_is_new_to_its_address_again(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "address.numbers", address={"numbers": ["2/day"]})
    approve(shop, number(1), client_ip=ADDRESS)
    assert passes(shop, number(1), client_ip=ADDRESS)
    assert passes(shop, number(2), client_ip=ADDRESS)
    assert passes(shop, number(3), client_ip=ADDRESS), "one more than two, for the approval"

    assert not passes(shop, number(4), client_ip=ADDRESS)


def test_a_country_that_was_given_back_is_new_to_its_address_again(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "address.countries", address={"countries": ["1/day"]})
    approve(shop, BRITISH, client_ip=ADDRESS)
    assert passes(shop, BRITISH, client_ip=ADDRESS)
    assert passes(shop, number(1), client_ip=ADDRESS), "one more than one, for the approval"

    assert not passes(shop, EMIRATI, client_ip=ADDRESS)


def test_what_an_address_asked_for_is_forgotten_after_a_day(frozen: FrozenValkey) -> None:
    """However often it asks meanwhile: the day begins with the first one."""
    shop = _shop(frozen, "address.numbers", address={"numbers": ["3/day"]})
    for _ in range(5):
        assert passes(shop, number(1), client_ip=ADDRESS)
        later(frozen, DAY / 4)
    assert passes(shop, number(1), client_ip=ADDRESS)
    assert _fresh(shop, 9, client_ip=ADDRESS) == 2, "it counted again"


def test_to_approve_a_bucket_that_leaked_meanwhile_makes_no_room_below_nothing(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "block.unapproved", block={"unapproved": ["4/minute"]})
    ones = [shop.start(number(last)) for last in range(3)]
    frozen.advance(120)
    for one in ones[:2]:
        assert shop.check(one, shop.code(one))[1]

    assert _fresh(shop, 9) == 4 + 2
