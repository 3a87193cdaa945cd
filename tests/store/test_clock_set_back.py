"""A clock that was ahead, and is set back, refuses nobody for as long as it was ahead."""

import pytest
from support_caller import Caller
from support_frozen import START, FrozenValkey
from support_guard import ADDRESS, guarded, later, number, passes
from support_outbox import forget_queues

DAY = 86_400


def _after_a_month_ahead(frozen: FrozenValkey, shop: Caller, *starts: str, **members: str) -> None:
    """Let starts pass while the clock is a month ahead, and set it back."""
    frozen.move_to(START + 30 * DAY * 1000)
    assert all(passes(shop, to, **members) for to in starts)
    forget_queues(frozen.client)
    frozen.move_to(START)


@pytest.mark.parametrize(
    ("rule", "limits", "interval"),
    [
        ("application.requests", {"application": ["6/minute"]}, 61),
        ("address.starts", {"ip": ["6/10 minutes"]}, 601),
    ],
)
def test_sliding_windows_begin_anew(
    frozen: FrozenValkey, rule: str, limits: dict[str, list[str]], interval: int
) -> None:
    shop = Caller(guarded(frozen, rule, limits=limits))
    _after_a_month_ahead(frozen, shop, *(number(one) for one in range(5)), client_ip=ADDRESS)
    for one in range(12):
        assert passes(shop, number(10 + one), client_ip=ADDRESS)
        later(frozen, interval)
    assert [passes(shop, number(40 + one), client_ip=ADDRESS) for one in range(7)] == [*6 * [True], False]


def test_a_moving_window_forgets_what_is_to_come(frozen: FrozenValkey) -> None:
    shop = Caller(guarded(frozen, "number.sends", limits={"number": ["2/10 minutes"]}))
    _after_a_month_ahead(frozen, shop, number(1), number(1))

    assert [passes(shop, number(1)) for _ in range(3)] == [True, True, False]


def test_a_cool_down_forgets_what_is_to_come(frozen: FrozenValkey) -> None:
    shop = Caller(guarded(frozen, "number.cooldown"))
    _after_a_month_ahead(frozen, shop, number(1))

    assert [passes(shop, number(1)) for _ in range(2)] == [True, False]


@pytest.mark.parametrize("ahead", [30 * DAY, 7200])
def test_a_bucket_begins_anew(frozen: FrozenValkey, ahead: int) -> None:
    shop = Caller(guarded(frozen, "block.unapproved"))
    frozen.move_to(START + ahead * 1000)
    assert [passes(shop, number(one)) for one in range(5)] == [*4 * [True], False]
    forget_queues(frozen.client)
    frozen.move_to(START)

    assert [passes(shop, number(10 + one)) for one in range(5)] == [*4 * [True], False]


def test_a_clock_that_is_set_back_a_little_opens_nothing(frozen: FrozenValkey) -> None:
    shop = Caller(guarded(frozen, "block.unapproved"))
    frozen.move_to(START + 600_000)
    assert [passes(shop, number(one)) for one in range(5)] == [*4 * [True], False]
    forget_queues(frozen.client)
    frozen.move_to(START)

    assert not passes(shop, number(10))
