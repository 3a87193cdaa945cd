"""For an hour after the store was fenced limits on messages allow half; the wait that is told knows when that ends."""

from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_guard import approve, guarded, later, number, passed
from support_installation import key

from otp_service.bootstrap import Installation
from otp_service.domain.guard import coarse_retry_after
from otp_service.errors import RateLimitedError
from otp_service.services.operator_actions import fence_store

SHOP = {"name": "Acme Shop", "purposes": ["login"], "countries": ["PK"], "client_ip": "required"}
HOUR = 3600
PLACES = iter(range(10**6))


def _installed(frozen: FrozenValkey, **limits: Any) -> Installation:
    roomy = {scope: ["1000/hour"] for scope in ("number", "ip", "application", "failed_checks")}
    return frozen.world().install(
        keys={"root": f"k1:{key()}", "pseudonym": key()}, limits={**roomy, **limits}, applications={"shop": SHOP}
    )


def _start(shop: Caller, scope: str) -> str:
    """Start one that counts together with the others in this scope alone."""
    place = next(PLACES)
    to = number(1) if scope == "number" else number(2 + place)
    address = "192.0.2.1" if scope == "ip" else f"198.51.{place // 250}.{place % 250}"
    return shop.start(to, client_ip=address)


def _passed(shop: Caller, scope: str, tries: int = 10) -> int:
    count = 0
    for _ in range(tries):
        try:
            _start(shop, scope)
        except RateLimitedError:
            return count
        count += 1
    return count


@pytest.mark.parametrize("scope", ["number", "ip", "application"])
def test_half_of_a_limit_is_allowed_for_an_hour_and_then_all_of_it(frozen: FrozenValkey, scope: str) -> None:
    shop = Caller(_installed(frozen, **{scope: ["5/10 minutes"]}))
    fence_store(shop.context)
    assert _passed(shop, scope) == 2
    later(frozen, HOUR - 0.001)
    assert _passed(shop, scope) == 2
    later(frozen, HOUR)

    assert _passed(shop, scope) == 5


@pytest.mark.parametrize("scope", ["number", "ip", "application"])
def test_with_the_hour_the_rest_of_a_limit_is_there_at_once(frozen: FrozenValkey, scope: str) -> None:
    shop = Caller(_installed(frozen, **{scope: ["5/day"]}))
    fence_store(shop.context)
    assert _passed(shop, scope) == 2
    later(frozen, HOUR)

    assert _passed(shop, scope) == 3


@pytest.mark.parametrize(("amount", "allowed"), [(1, 1), (2, 1), (3, 1), (4, 2)])
@pytest.mark.parametrize("scope", ["number", "ip", "application"])
def test_half_is_rounded_down_and_never_nothing(frozen: FrozenValkey, scope: str, amount: int, allowed: int) -> None:
    shop = Caller(_installed(frozen, **{scope: [f"{amount}/day"]}))
    fence_store(shop.context)

    assert _passed(shop, scope) == allowed


def test_what_was_counted_before_counts_against_the_half(frozen: FrozenValkey) -> None:
    shop = Caller(_installed(frozen, number=["6/day"]))
    for _ in range(2):
        _start(shop, "number")
    fence_store(shop.context)

    assert _passed(shop, "number") == 1


def test_all_wrong_codes_are_compared_that_the_limit_allows(frozen: FrozenValkey) -> None:
    shop = Caller(_installed(frozen, failed_checks=["4/day"]))
    fence_store(shop.context)
    one = _start(shop, "number")

    assert [shop.check(one, shop.wrong(one))[3] for _ in range(5)] == ["wrong_code"] * 4 + ["number_locked"]


def test_a_resend_counts_against_the_half_too(frozen: FrozenValkey) -> None:
    shop = Caller(_installed(frozen, number=["3/day"]))
    fence_store(shop.context)
    one = _start(shop, "number")
    frozen.advance(31)
    with pytest.raises(RateLimitedError):
        shop.resend(one)


def test_unknown_contexts_have_half_of_their_share(frozen: FrozenValkey) -> None:
    shop = Caller(guarded(frozen, "number.sends", limits={"number": ["10/day"]}))
    approve(shop, number(1), context="own phone")
    fence_store(shop.context)

    assert passed(shop, number(1), 20) == 2, "with the owner's own message it is half of 60 % of ten"
    assert passed(shop, number(1), 20, context="own phone") == 2, "and then half of ten"


def test_the_quota_that_is_told_is_what_is_there(frozen: FrozenValkey) -> None:
    shop = Caller(_installed(frozen, application=["5/minute", "100/hour"]))
    fence_store(shop.context)
    told = [shop.send(number(place), client_ip="192.0.2.1").quota for place in range(2)]
    with pytest.raises(RateLimitedError) as refused:
        _start(shop, "application")
    later(frozen, HOUR)
    told.append(shop.send(number(3), client_ip="192.0.2.1").quota)

    assert [(one.amount, one.seconds, one.remaining) for one in told] == [(2, 60, 1), (2, 60, 0), (5, 60, 4)]
    assert (refused.value.quota.amount, refused.value.quota.remaining) == (2, 0)


def test_the_quota_that_a_resend_is_told_is_what_is_there_too(frozen: FrozenValkey) -> None:
    shop = Caller(_installed(frozen, application=["6/minute"]))
    fence_store(shop.context)
    one = _start(shop, "application")
    frozen.advance(31)
    told = shop.resend(one).quota

    assert (told.amount, told.remaining) == (3, 1)


def test_a_decision_tells_how_many_were_allowed(frozen: FrozenValkey) -> None:
    shop = Caller(_installed(frozen, application=["5/minute"]))
    fence_store(shop.context)
    _passed(shop, "application")
    with pytest.raises(RateLimitedError) as refused:
        _start(shop, "application")
    (finding,) = shop.context.store.decisions.find(refused.value.decision).rule_hits

    assert (finding.used, finding.most) == (2, 2)


@pytest.mark.parametrize("scope", ["number", "ip", "application"])
@pytest.mark.parametrize(("used", "wait"), [(2, HOUR - 60), (4, 24 * HOUR - 60)])
def test_nobody_is_told_to_wait_for_longer_than_is_true(frozen: FrozenValkey, scope: str, used: int, wait: int) -> None:
    shop = Caller(_installed(frozen, **{scope: ["4/day"]}))
    for _ in range(used):
        _start(shop, scope)
    fence_store(shop.context)
    later(frozen, 60)
    with pytest.raises(RateLimitedError) as refused:
        _start(shop, scope)

    told = refused.value.retry_after
    assert wait - 1 <= told <= (wait + 1 if scope == "application" else coarse_retry_after(1000 * (wait + 1)))
    later(frozen, told)
    _start(shop, scope)
