"""Limits on addresses and applications that buckets share: summed over the buckets, and nothing below is refused."""

from itertools import pairwise

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_guard import ADDRESS, guarded, later, number, passes, refused
from support_sentinel import wait_until

from otp_service.store import keys
from otp_service.store.limit_sums import LimitSums, sum_windows
from otp_service.store.script_runner import ScriptRunner
from otp_service.worker.worker import sum_tasks

BLOCKS = [f"+92300{block:03d}" for block in range(200)]
RULES = "address.starts", "application.requests"
LATE = 10.001
"""Seconds after which a sum is late."""


@pytest.fixture(params=[4, 16])
def buckets(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def _shop(frozen: FrozenValkey, buckets: int, **limits: list[str]) -> Caller:
    return Caller(guarded(frozen, *RULES, limits=limits, keys={"buckets": buckets}))


@pytest.fixture
def shop(frozen: FrozenValkey, buckets: int) -> Caller:
    """An application where an address may start 40 in ten minutes."""
    return _shop(frozen, buckets, ip=["40/10 minutes"])


def _sum(shop: Caller) -> None:
    shop.context.store.limit_sums.update()


def _started(shop: Caller, tries: int, first: int = 0, *, is_summed: bool = True) -> list[bool]:
    """Start verifications of many blocks from one address, and sum after each; return whether each passed."""
    passed = []
    for place in range(first, first + tries):
        passed.append(passes(shop, number(place // 200, BLOCKS[place % 200]), client_ip=ADDRESS))
        if is_summed:
            _sum(shop)
    return passed


def test_an_address_has_its_limit_in_all_buckets_together(shop: Caller, frozen: FrozenValkey) -> None:
    for first in (0, 60):
        passed = _started(shop, 60, first)
        assert passed == sorted(passed, reverse=True)
        assert 40 <= sum(passed) <= 44
        later(frozen, 1200)


def test_a_full_address_waits_until_another_start_fits(shop: Caller, frozen: FrozenValkey) -> None:
    _started(shop, 60)
    later(frozen, 600)
    error = refused(lambda: shop.start(number(9), client_ip=ADDRESS))
    assert error
    later(frozen, (error.retry_after or 0) + 0.001)

    assert _started(shop, 1, 100) == [True]


def test_numbers_of_one_block_reach_the_limit(shop: Caller, frozen: FrozenValkey) -> None:
    for last in range(40):
        assert passes(shop, number(last), client_ip=ADDRESS)
        _sum(shop)
        later(frozen, 12)

    assert not passes(shop, number(50), client_ip=ADDRESS)


def test_a_bucket_allows_the_limit_while_no_sum_is_late(shop: Caller) -> None:
    assert [passes(shop, number(last), client_ip=ADDRESS) for last in range(41)] == [True] * 40 + [False]


@pytest.mark.parametrize(("limit", "shares"), [("40/10 minutes", {4: 30, 16: 8}), ("4/10 minutes", {4: 3, 16: 3})])
def test_a_bucket_allows_three_shares_once_a_sum_is_late(
    frozen: FrozenValkey, buckets: int, limit: str, shares: dict[int, int]
) -> None:
    shop = _shop(frozen, buckets, ip=[limit])
    part = max(1, int(limit.partition("/")[0]) // buckets)
    passed = sum(passes(shop, number(last), client_ip=ADDRESS) for last in range(part))
    for last, seconds in ((100, 2.0), (101, LATE)):
        passed += passes(shop, number(last), client_ip=ADDRESS)
        later(frozen, seconds)

    passed += sum(passes(shop, number(200 + last), client_ip=ADDRESS) for last in range(40))
    assert passed == shares[buckets]
    assert passes(shop, number(1), client_ip="192.0.2.77")


def test_a_request_that_is_lost_refuses_no_later_start(shop: Caller, frozen: FrozenValkey) -> None:
    for last in range(12):
        passes(shop, number(last), client_ip=ADDRESS)
    frozen.client.delete(keys.UNSUMMED)  # with the process that requested it
    later(frozen, 60)

    assert [passes(shop, number(20 + last), client_ip=ADDRESS) for last in range(20)] == [True] * 20


def test_a_late_sum_is_requested_by_what_it_refuses(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, 16, ip=["40/10 minutes"])
    for seconds in (0.001, 2.0, LATE):
        for last in range(4):
            passes(shop, number(last + int(1000 * seconds) % 7000), client_ip=ADDRESS)
        later(frozen, seconds)
    frozen.client.delete(keys.UNSUMMED)

    assert not passes(shop, number(1), client_ip=ADDRESS)
    _sum(shop)
    assert passes(shop, number(1), client_ip=ADDRESS)


def test_addresses_with_few_starts_are_not_summed(
    frozen: FrozenValkey, buckets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = _shop(frozen, buckets, ip=["40/10 minutes"])
    monkeypatch.delattr(LimitSums, "request")

    for last in range(40 // buckets):
        assert passes(shop, number(last), client_ip=ADDRESS)


def test_starts_and_resends_of_an_application_are_summed(frozen: FrozenValkey, buckets: int) -> None:
    shop = _shop(frozen, buckets, application=["40/10 minutes"])
    passed = 0
    for block in BLOCKS[:30]:
        error = refused(lambda block=block: shop.resend(shop.start(number(1, block))))  # type: ignore[misc]
        passed += not error
        _sum(shop)

    assert 20 <= passed <= 26


def test_the_quota_tells_the_last_sum(frozen: FrozenValkey, buckets: int) -> None:
    shop = _shop(frozen, buckets, application=["80/10 minutes"])
    for block in BLOCKS[:79]:
        quota = shop.send(number(1, block)).quota
        _sum(shop)

    assert quota
    assert quota.remaining < 12


def test_a_listed_application_does_not_keep_another_back(frozen: FrozenValkey, buckets: int) -> None:
    installation = guarded(frozen, *RULES, limits={"application": ["40/10 minutes"]}, keys={"buckets": buckets})
    shop, other = (Caller(installation, name) for name in sorted(installation.context.applications)[:2])
    for block in BLOCKS[:60]:
        passes(shop, number(1, block))
        _sum(shop)

    assert not passes(shop, number(2))
    assert passes(other, number(2))


def test_5000_addresses_are_listed_at_most(shop: Caller, frozen: FrozenValkey) -> None:
    sums = shop.context.store.limit_sums
    for place in range(5010):
        sums.request(["address"], "shop", str(place))

    assert frozen.client.scard(keys.UNSUMMED) == 5000
    _sum(shop)
    assert not frozen.client.exists(keys.UNSUMMED)


def test_nothing_to_sum_costs_a_command(shop: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ScriptRunner, "run_all")

    _sum(shop)


def test_a_worker_sums_each_second(frozen: FrozenValkey) -> None:
    installation = guarded(frozen, *RULES, keys={"buckets": 4})
    frozen.client.sadd(keys.UNSUMMED, "shop")
    tasks = sum_tasks(installation)
    tasks.start()
    try:
        wait_until(lambda: not frozen.client.exists(keys.UNSUMMED))
    finally:
        tasks.stop()


def test_one_bucket_sums_nothing(frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = _shop(frozen, 1, ip=["40/10 minutes"])
    monkeypatch.delattr(LimitSums, "request")

    assert _started(shop, 41, is_summed=False) == [True] * 40 + [False]
    assert " f600" not in shop.context.rulesets["shop"].text
    assert "sharing" not in shop.context.rulesets["shop"].text


@pytest.mark.parametrize(
    ("counts", "full_for"),
    [
        ([], 0),
        ([(4, 0, 500), (4, 9, 1)], 0),
        ([(10, 0, 500)], 501),
        ([(5, 10, 400), (0, 2, 300)], 0),
        ([(5, 10, 800), (1, 5, 300)], 301),
    ],
)
def test_a_window_is_full_until_another_fits(counts: list[tuple[int, int, int]], full_for: int) -> None:
    assert sum_windows(counts, 10, 1000).full_for == full_for


def test_a_sum_fades() -> None:
    rest = [sum_windows([(7, 9, 1000 - at), (3, 0, 1200 - at)], 8, 1200).full_for for at in range(0, 1000, 50)]

    assert all(before - after == 50 for before, after in pairwise(rest) if after)
