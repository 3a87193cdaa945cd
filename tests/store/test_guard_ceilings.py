"""Ceilings of money: hard to the last cent, for a calendar hour and day, of an application and of a country."""

from typing import Any

import pytest
from support_caller import Caller
from support_frozen import START, FrozenValkey
from support_guard import SMS, guarded, later, number, passed, passes, priced, refused, spent, told
from support_outbox import Scripted, Sender

from otp_service.errors import TooManyError

HOUR, DAY = 3600, 86_400


def _sender(shop: Caller) -> Sender:
    return Sender(shop, first=Scripted(), second=Scripted())


@pytest.mark.parametrize("spend", [{"hour": "10"}, {"day": "10"}, {"countries": {"PK": {"day": "10"}}}])
def test_a_ceiling_is_reached_to_the_last_cent_and_not_passed(frozen: FrozenValkey, spend: Any) -> None:
    shop = priced(frozen, {"PK": "2.50", "GB": "0.01"}, spend=spend)

    assert passed(shop, number(1), 9) == 4
    assert told(shop)[0] == ("spend.country" if "countries" in spend else "spend.application", "enforce")


def test_a_ceiling_refuses_what_is_dearer_than_the_rest_of_it_and_passes_what_is_not(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"PK": "3", "GB": "1"}, spend={"hour": "10"})
    assert passed(shop, number(1), 9) == 3

    assert passed(shop, "+447400123456", 9) == 1


def test_the_caller_is_told_plainly_and_until_when(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"PK": "3"}, spend={"hour": "5", "day": "9"})
    shop.start(number(1))
    error = refused(lambda: shop.start(number(1)))

    assert isinstance(error, TooManyError)
    assert str(error) == "The application's spending ceiling is reached."
    assert error.retry_after == HOUR - START // 1000 % HOUR


def test_the_next_hour_begins_anew_and_the_day_goes_on(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"PK": "2"}, spend={"hour": "4", "day": "6"})
    assert passed(shop, number(1), 9) == 2
    later(frozen, HOUR - START // 1000 % HOUR - 1)
    assert not passes(shop, number(1))
    later(frozen, 1)
    assert spent(shop) == {"hour": 0, "day": 4}
    assert passed(shop, number(1), 9) == 1
    later(frozen, DAY)

    assert passed(shop, number(1), 9) == 2


def test_what_is_settled_in_the_next_hour_takes_nothing_off_that_hour(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"PK": "2"}, {"PK": "7"}, spend={"hour": "100", "day": "100"})
    frozen.advance(HOUR - START // 1000 % HOUR - 1)
    shop.start(number(1))
    frozen.advance(2)
    shop.start(number(2))
    _sender(shop).deliver()

    assert spent(shop) == {"hour": 2, "day": 4}


def test_a_clock_that_ran_far_ahead_does_not_hold_the_ceiling_for_days(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"*": "1"}, spend={"hour": "3"})
    right = frozen.now
    frozen.move_to(right + 30 * 86_400_000)
    assert passed(shop, number(1), 9) == 3
    frozen.move_to(right)

    assert passed(shop, number(2), 9) == 3, "an hour of its own"
    assert spent(shop) == {"hour": 3}
    frozen.move_to(right + 3_600_000)
    assert passed(shop, number(3), 9) == 3


def test_countries_have_ceilings_of_their_own_and_those_not_named_one_each(frozen: FrozenValkey) -> None:
    own = {
        "spend": {"countries": {"GB": {"day": "4"}, "US": {}, "*": {"day": "2"}}},
        "countries": ["PK", "GB", "US", "AE"],
    }
    installation = guarded(
        frozen,
        "spend.country",
        gateways={"sandbox": {"kind": "sandbox", "prices": {"*": "1"}}},
        applications={"shop": own, "bank": {"spend": {}}},
        purposes=SMS,
    )
    shop, bank = Caller(installation), Caller(installation, "bank")

    assert passed(shop, "+447400123456", 9) == 4
    assert passed(shop, number(1), 9) == 2
    assert passed(shop, "+971501234567", 9) == 2
    assert passed(shop, "+14155550123", 9) == 9, "named, with no ceiling"
    assert passed(bank, number(1), 9) == 9, "another application has none"
    assert (spent(shop, "GB"), spent(shop, "PK")) == ({"day": 4}, {"day": 2})
