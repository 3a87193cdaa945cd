"""What a caller is told when a rule of the guard refuses: alike of a recipient, plainly of itself, with a decision."""

from typing import Any

import pytest
from support_api import START, Api
from support_frozen import FrozenValkey
from support_guard import PERMISSIVE, modes, number
from support_installation import World, tree
from support_rules import MET, PRICED
from support_rules import PERMISSIVE as ROOMY_GUARD
from support_valkey import free_port

from otp_service.domain.guard import GUARD_RULES, Disclosure
from otp_service.store.connection import connect

SMS = {"login": {"resend_delays": [0], "max_sends": 5, "channels": ["sms"]}}


def _api(world: World, rule: str, **guard: Any) -> Api:
    met = MET.get(rule)
    own = tree(world.url)["applications"]
    spend = {"day": "900", **(met.spend if met else {})}
    return Api(
        world,
        guard={**ROOMY_GUARD, **(met.guard if met else {}), **guard, "modes": modes(rule)},
        limits={**PERMISSIVE, **(met.limits if met else {})},
        purposes=SMS,
        gateways=PRICED,
        applications={**own, "shop": {**own["shop"], "spend": spend}},
    )


@pytest.mark.parametrize("rule", MET)
def test_a_refusal_is_429_with_a_decision_and_tells_the_caller_nothing_of_the_recipient(
    frozen: FrozenValkey, rule: str
) -> None:
    api = _api(frozen.world(), rule)
    MET[rule].before(api._caller)
    answer = api.post(START, {"to": number(1), "client_ip": "2001:db8::1"})
    problem = answer.json
    decision = api.installation.context.store.decisions.find(problem["decision"])
    alike = problem["detail"] == "Too many requests for this recipient."

    assert (answer.status_code, problem["code"]) == (429, "rate-limited")
    assert decision is not None
    assert decision.rule == rule
    assert rule not in answer.text
    assert answer.headers["Retry-After"] == str(problem["retry_after"])
    assert alike == (GUARD_RULES[rule].disclosure is Disclosure.UNIFORMLY)
    if alike:
        assert problem["retry_after"] % 10 == 0, "coarse"
    assert ("RateLimit" in answer.headers) == (rule == "application.requests")


@pytest.mark.parametrize(
    ("rule", "to", "code"),
    [
        ("destination.country", "+33612345678", "country-not-allowed"),
        ("destination.type", "+442079460123", "number-type-not-allowed"),
        ("destination.prefix", number(1), "number-not-allowed"),
    ],
)
def test_a_destination_is_refused_with_422_also_while_redis_is_away(
    frozen: FrozenValkey, rule: str, to: str, code: str
) -> None:
    denied = {"destinations": {"denied": ["+92300"]}}
    answer = _api(frozen.world(), rule, **denied).post(START, {"to": to})
    assert (answer.status_code, answer.json["code"]) == (422, code)
    assert answer.json["decision"]

    away = connect(f"redis://127.0.0.1:{free_port()}/0", timeout=0.2, connect_timeout=0.2)
    lost = _api(World(away, frozen.url, frozen.advance), rule, **denied)
    answer = lost.post(START, {"to": to})
    assert (answer.status_code, answer.json["code"]) == (422, code)
    assert "decision" not in answer.json
    assert lost.post(START, {"to": "+923011234567"}).status_code == 503
