"""What an approval gives back: what its own verification was counted for, once, and nothing that was never counted."""

from copy import copy
from typing import Any

import pytest
from support_caller import Caller
from support_events import events_of, record_events
from support_frozen import FrozenValkey
from support_guard import ADDRESS, approve, come_in, guarded, later, number, passes

from otp_service.domain.verification import RECORD_GRACE
from otp_service.services import events
from otp_service.store import keys

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
    come_in(shop, one)

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
    come_in(shop, second)
    for _ in range(4):
        shop.resend(first)
    come_in(shop, first)

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
    come_in(shop, early)

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
        come_in(shop, one)

    assert _fresh(shop, 9) == 4 + 2


def _block(frozen: FrozenValkey, amount: int = 4) -> Caller:
    return _shop(frozen, "block.unapproved", block={"unapproved": [f"{amount}/day"]})


def _type_in(shop: Caller, *ones: str) -> None:
    """Type right codes in, which no recorder sees yet."""
    for one in ones:
        assert shop.check(one, shop.code(one))[1]


def test_until_the_recorder_sees_an_approval_nothing_is_given_back(frozen: FrozenValkey) -> None:
    shop = _block(frozen)
    _type_in(shop, shop.start(number(1)))
    assert _fresh(shop, 9) == 3
    record_events(shop.context)

    assert _fresh(shop, 9, 2000) == 2


def test_an_approval_that_is_seen_twice_is_given_back_once(frozen: FrozenValkey) -> None:
    shop = _block(frozen)
    one = shop.start(number(1))
    assert _fresh(shop, 9) == 3
    _type_in(shop, one)
    for batch in events_of(shop.context) * 3:
        events.roll_back(shop.context, batch)
    record_events(shop.context)

    assert _fresh(shop, 9, 2000) == 2, "three are used of five"


def test_a_number_that_is_approved_twice_makes_room_for_one_more_once(frozen: FrozenValkey) -> None:
    shop = _block(frozen)
    _type_in(shop, *[shop.start(number(1)) for _ in range(3)])
    record_events(shop.context)

    assert _fresh(shop, 9) == 5


def test_approvals_that_are_seen_together_each_give_back_their_own(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more than one application, into one block, and more than one call of the script sees to."""
    monkeypatch.setattr(events, "MAX_AT_ONCE", 2)
    shop = _block(frozen, 20)
    bank = copy(shop)
    bank.application = shop.context.applications["bank"]
    ones = [shop.start(number(last)) for last in range(5)]
    others = [bank.start(number(10 + last)) for last in range(5)]
    shop.resend(ones[0])
    assert _fresh(shop, 3) == 3
    _type_in(shop, *ones)
    _type_in(bank, *others)
    record_events(shop.context)

    assert _fresh(shop, 40, 2000) == 20 + 10 - 3


def test_a_recorder_that_comes_after_a_record_has_gone_gives_nothing_back(frozen: FrozenValkey) -> None:
    shop = _block(frozen)
    one = shop.start(number(1))
    _type_in(shop, one)
    assert _fresh(shop, 9) == 3
    life = shop.read(one).verification.purpose.ttl
    later(frozen, life + RECORD_GRACE + 1)
    record_events(shop.context)

    assert not frozen.client.exists(keys.record("00", one))
    assert _fresh(shop, 9, 2000) == 0
