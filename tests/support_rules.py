"""Each rule of the guard on its own: how it is made to refuse the next start soon, and what comes before that."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from support_caller import Caller
from support_frozen import FrozenValkey
from support_guard import guarded, guess, modes, number

from otp_service.domain.guard import GUARD_RULES

PERMISSIVE: dict[str, Any] = {
    "address": {name: ["900/day"] for name in ("unapproved", "numbers", "countries", "network", "provider")},
    "block": {"unapproved": ["900/day"]},
    "country": {"unapproved": ["900/day"], "home": ["900/day"]},
    "conversion": {"sends": 500},
    "number": {"cooldown": [0], "guess_waits": [0], "lock_after": 100},
    "failures": {"wrong": 1000},
}
PRICED = {"sandbox": {"kind": "sandbox", "timeout": 1.0, "prices": {"*": "1"}}}
ADDRESS = "2001:db8::1"
ABROAD = "+447400123456"


@dataclass(frozen=True)
class Met:
    """How a rule comes to refuse the next start."""

    before: Callable[[Caller], Any]
    guard: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    spend: dict[str, Any] = field(default_factory=dict)


def first(shop: Caller) -> str:
    """Start the verification that a rule is going to refuse."""
    return shop.start(number(1), client_ip=ADDRESS)


def _starts(count: int) -> Callable[[Caller], Any]:
    return lambda shop: [first(shop) for _ in range(count)]


def _wrong(count: int) -> Callable[[Caller], Any]:
    def act(shop: Caller) -> None:
        ones = [first(shop) for _ in range(3)]
        for turn in range(count):
            guess(shop, ones[turn % 3])

    return act


def _numbers(shop: Caller) -> None:
    for last in (2, 3):
        shop.start(number(last), client_ip=ADDRESS)


def _address(name: str, notation: str) -> dict[str, Any]:
    return {"address": {**PERMISSIVE["address"], name: [notation]}}


def _number(**own: Any) -> dict[str, Any]:
    return {"number": {**PERMISSIVE["number"], **own}}


MET = {
    "number.sends": Met(_starts(2), limits={"number": ["2/hour"]}),
    "number.cooldown": Met(first, _number(cooldown=[60])),
    "number.guesses": Met(_wrong(2), limits={"failed_checks": ["2/hour"]}),
    "number.guess_wait": Met(_wrong(1), _number(guess_waits=[60])),
    "number.lock": Met(_wrong(10), _number(lock_after=10)),
    "address.starts": Met(_starts(2), limits={"ip": ["2/hour"]}),
    "address.unapproved": Met(_starts(2), _address("unapproved", "2/hour")),
    "address.numbers": Met(_numbers, _address("numbers", "2/day")),
    "address.countries": Met(lambda shop: shop.start(ABROAD, client_ip=ADDRESS), _address("countries", "1/day")),
    "address.network": Met(_starts(2), _address("network", "2/day")),
    "address.provider": Met(_starts(2), _address("provider", "2/day")),
    "block.unapproved": Met(_starts(2), {"block": {"unapproved": ["2/hour"]}}),
    "country.unapproved": Met(_starts(2), {"country": {"home": ["2/day"]}}),
    "spend.application": Met(_starts(2), spend={"hour": "2"}),
    "spend.country": Met(_starts(2), spend={"countries": {"*": {"hour": "2"}}}),
    "application.requests": Met(_starts(2), limits={"application": ["2/hour"]}),
    "application.failures": Met(_wrong(10), {"failures": {"wrong": 10, "share": 0.1}}),
}


def meeting(frozen: FrozenValkey, rule: str, mode: str = "enforce") -> Caller:
    """Return a caller whose next start a rule refuses, while all others count too and are far away."""
    own = MET[rule]
    shop = Caller(
        guarded(
            frozen,
            guard={**PERMISSIVE, **own.guard, "modes": {**modes(*GUARD_RULES), rule: mode}},
            limits=own.limits,
            gateways=PRICED,
            applications={"shop": {"spend": {"day": "900", **own.spend}}},
        )
    )
    own.before(shop)
    return shop


TIGHT: dict[str, Any] = {
    "guard": {
        "address": {"unapproved": ["2/hour"], "numbers": ["2/day"], "countries": ["1/day"], "network": ["2/day"]},
        "block": {"unapproved": ["2/hour"]},
        "country": {"unapproved": ["2/day"], "home": ["2/day"]},
        "conversion": {
            "sends": 5,
            "home_sends": 5,
            "rate": 0.9,
            "closed_for": 60,
            "home": "1/day",
            "home_block": "1/day",
        },
        "number": {"cooldown": [60], "guess_waits": [60], "lock_after": 10},
        "failures": {"wrong": 10, "share": 0.1},
    },
    "limits": {"number": ["2/hour"], "ip": ["2/hour"], "application": ["3/hour"], "failed_checks": ["2/hour"]},
}
"""Every rule as it is met soon."""
