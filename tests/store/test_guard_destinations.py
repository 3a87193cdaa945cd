"""Rules on destinations: they judge a number by itself, call no gateway, and decide although Redis is away."""

from contextlib import nullcontext
from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_guard import decisions, guarded, modes, number
from support_outbox import Scripted, Sender, waiting
from support_valkey import free_port

from otp_service import bootstrap
from otp_service.bootstrap import Installation
from otp_service.domain.guard import GUARD_RULES, WithoutStore
from otp_service.errors import NumberTypeNotAllowedError, PrefixDeniedError, StoreUnavailableError, UnacceptableError
from otp_service.store.connection import connect

LANDLINE, SATELLITE, FRENCH = "+442079460123", "+881612345678", "+33612345678"
RULES = ("destination.country", "destination.type", "destination.prefix")


def _installed(frozen: FrozenValkey, *, of_shop: Any = None, **destinations: Any) -> Installation:
    guard = {"modes": modes(*RULES), "destinations": destinations}
    return guarded(frozen, guard=guard, applications={"shop": of_shop or {}})


def _shop(frozen: FrozenValkey, **members: Any) -> Caller:
    return Caller(_installed(frozen, **members))


REFUSED = {
    "destination.country": (FRENCH, {}, "country-not-allowed"),
    "destination.type": (LANDLINE, {}, "number-type-not-allowed"),
    "destination.prefix": (number(1), {"denied": ["+92300"]}, "number-not-allowed"),
}


@pytest.mark.parametrize("rule", REFUSED)
def test_an_unwanted_destination_is_refused_with_no_call_and_a_decision(frozen: FrozenValkey, rule: str) -> None:
    to, settings, _ = REFUSED[rule]
    shop = _shop(frozen, **settings)
    with pytest.raises(UnacceptableError) as refused:
        shop.start(to)
    sender = Sender(shop, sandbox=Scripted())
    (decision,) = decisions(shop)

    assert (refused.value.rule, refused.value.decision) == (rule, decision.id)
    assert (decision.rule, decision.mode, decision.until) == (rule, "enforce", 0)
    assert (waiting(frozen.client), sender.deliver(), sender.sent()) == (0, 0, [])
    assert [name for name in frozen.client.scan_iter() if not name.endswith((b":decisions", b":server"))] == []


@pytest.mark.parametrize("rule", REFUSED)
def test_they_decide_although_redis_is_away_and_all_else_refuses_as_unavailable(
    frozen: FrozenValkey, rule: str
) -> None:
    to, settings, code = REFUSED[rule]
    away = connect(f"redis://127.0.0.1:{free_port()}/0", timeout=0.2, connect_timeout=0.2)
    lost = Caller(bootstrap.install(_installed(frozen, **settings).settings, away))
    with pytest.raises(UnacceptableError) as refused:
        lost.start(to)
    with pytest.raises(StoreUnavailableError):
        lost.start(number(1, "+92301123"))

    assert (refused.value.code, refused.value.decision) == (code, None)


@pytest.mark.parametrize("rule", [rule for rule in GUARD_RULES if rule not in REFUSED])
def test_every_rule_that_counts_refuses_without_redis_as_the_list_of_rules_says(
    frozen: FrozenValkey, rule: str
) -> None:
    away = connect(f"redis://127.0.0.1:{free_port()}/0", timeout=0.2, connect_timeout=0.2)
    lost = Caller(bootstrap.install(guarded(frozen, rule).settings, away))
    with pytest.raises(StoreUnavailableError):
        lost.start(number(1))

    assert GUARD_RULES[rule].without_store is WithoutStore.REFUSES
    assert all(GUARD_RULES[one].without_store is WithoutStore.DECIDES for one in REFUSED)


@pytest.mark.parametrize("mode", ["record_only", "off"])
@pytest.mark.parametrize("rule", REFUSED)
def test_one_that_only_records_lets_a_message_pass(frozen: FrozenValkey, rule: str, mode: str) -> None:
    to, settings, _ = REFUSED[rule]
    guard = {"modes": {**modes(*RULES), rule: mode}, "destinations": settings}
    shop = Caller(guarded(frozen, guard=guard))
    one = shop.start(to)

    assert [(each.rule, each.mode, each.verification) for each in decisions(shop)] == (
        [(rule, "record_only", one)] if mode == "record_only" else []
    )


@pytest.mark.parametrize(
    ("denied", "allowed", "passes"),
    [
        (["+92300"], ["+923001"], True),
        (["+92300", "+9230012"], ["+923001"], False),
        (["+92300", "+9230012"], ["+923001", "+923001234"], True),
        (["+92300"], ["+92"], False),
        (["+92300"], ["+92300"], True),
        (["+92301"], [], True),
        ([number(1)], [], True),
        (["+923001234567"], [], False),
    ],
)
def test_of_two_prefixes_the_longer_one_decides(
    frozen: FrozenValkey, denied: list[str], allowed: list[str], passes: bool
) -> None:
    shop = _shop(frozen, denied=denied, allowed=allowed)
    with nullcontext() if passes else pytest.raises(PrefixDeniedError):
        shop.start("+923001234567")


@pytest.mark.parametrize("mode", ["enforce", "record_only", "off"])
def test_a_number_of_no_country_is_refused_whatever_the_mode(frozen: FrozenValkey, mode: str) -> None:
    guard = {"modes": {**modes(*RULES), "destination.type": mode}}
    shop = Caller(guarded(frozen, guard=guard, applications={"shop": {"countries": ["*"]}}))
    with pytest.raises(NumberTypeNotAllowedError) as refused:
        shop.start(SATELLITE)
    (decision,) = decisions(shop)

    assert (refused.value.rule, decision.rule, decision.country) == ("destination.type", "destination.type", "")
    assert waiting(frozen.client) == 0


def test_the_safe_list_passes_no_rule_on_destinations(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, denied=["+92300"], safe=[number(1), FRENCH, LANDLINE])
    for to in (number(1), FRENCH, LANDLINE):
        with pytest.raises(UnacceptableError):
            shop.start(to)


def test_types_of_numbers_are_the_operators_to_choose(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, types=["fixed_line"])

    assert shop.start(LANDLINE)
    with pytest.raises(UnacceptableError):
        shop.start(number(1))
