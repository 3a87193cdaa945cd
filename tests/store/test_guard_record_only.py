"""What the guard leaves behind: rules that only record change nothing, and what is refused counts nowhere."""

import random

import pytest
import redis
from support_caller import Caller
from support_evaluator import LOGS, snapshot
from support_frozen import FrozenValkey
from support_guard import ADDRESS, decisions, guarded, later, modes, number, refused
from support_installation import key
from support_rules import MET, PRICED, TIGHT, first, meeting

from otp_service.domain.guard import GUARD_RULES
from otp_service.errors import OtpServiceError

SPEND = {"spend": {"hour": "3", "countries": {"*": {"hour": "2"}}}}
RARE = {"number.lock", "address.network", "address.provider", "country.unknown_numbers"}
"""What a short life need not meet; nobody judges its newcomers."""
COUNTED = [rule for rule in GUARD_RULES if not rule.startswith("destination.")]


def _installed(frozen: FrozenValkey, mode: str) -> Caller:
    guard = {**TIGHT["guard"], "modes": modes(*GUARD_RULES, mode=mode)}
    own = {"limits": TIGHT["limits"], "gateways": PRICED, "applications": {"shop": SPEND}, "keys": KEYS}
    return Caller(guarded(frozen, guard=guard, **own))


@pytest.mark.parametrize("seed", range(3))
def test_rules_that_only_record_answer_and_count_as_if_they_were_off(frozen: FrozenValkey, seed: int) -> None:
    """All that a caller gets to see is the same, and so are the names of all keys that are not the guard's own."""
    lives = []
    for mode in ("record_only", "off"):
        frozen.reset()
        shop = _installed(frozen, mode)
        lives.append((_answers(frozen, shop, random.Random(seed)), _shape(frozen.client)))
        met = {each.rule for one in decisions(shop) for each in one.rule_hits}
        assert met >= ({*COUNTED} - RARE if mode == "record_only" else set())
    (recorded, kept), (off, without) = lives

    assert recorded == off
    assert set(recorded) > {"201", "wrong_code", None}
    assert kept == without


KEYS = {"root": f"k1:{key()}", "pseudonym": key()}


def _answers(frozen: FrozenValkey, shop: Caller, chance: random.Random) -> list[str | None]:
    """Live a while; return what the caller heard."""
    ones: list[str] = []
    heard: list[str | None] = []
    for _ in range(150):
        later(frozen, chance.choice([0, 0, 1, 5, 40]))
        act = chance.random()
        try:
            if act < 0.5 or not ones:
                to = chance.choice([number(chance.randrange(30)), "+447400123456", "+442079460123", "+14155550123"])
                members = {"context": chance.choice([None, "a"]), "client_ip": chance.choice([ADDRESS, "2001:db8::1"])}
                ones.append(shop.start(to, **members))
                heard.append("201")
            elif act < 0.65:
                shop.resend(ones[-1])
                heard.append("202")
            else:
                code = shop.wrong(ones[-1]) if act < 0.9 else shop.code(ones[-1])
                heard.append(shop.check(ones[-1], code)[3])
        except OtpServiceError as error:
            heard.append(error.code)
    return heard


def _shape(client: redis.Redis) -> list[str]:
    """Return what is stored apart from the guard, with names that differ from run to run left out."""
    subjects = (":number:", ":application_state:", ":country:", ":block:", ":address:", ":network:", ":provider:")
    left_out = (*subjects, *(one.decode() for one in LOGS))
    names = [name.decode() for name in client.scan_iter() if not any(one in name.decode() for one in left_out)]
    return sorted(name.partition(":v:")[0] for name in names)


@pytest.mark.parametrize("rule", MET)
def test_a_start_that_a_rule_refuses_leaves_every_other_key_byte_for_byte(frozen: FrozenValkey, rule: str) -> None:
    shop = meeting(frozen, rule)
    before = snapshot(frozen.client)
    for _ in range(2):
        assert refused(lambda: first(shop))

    assert snapshot(frozen.client) == before
    assert {one.rule for one in decisions(shop) if one.mode == "enforce"} == {rule}


@pytest.mark.parametrize("rule", [rule for rule in MET if not rule.startswith(("address.", "number.cooldown"))])
def test_a_resend_that_a_rule_refuses_leaves_every_other_key_byte_for_byte(frozen: FrozenValkey, rule: str) -> None:
    shop = meeting(frozen, rule)
    one = next(each.verification for each in shop.context.store.attempts.all())
    before = snapshot(frozen.client)
    for _ in range(2):
        assert refused(lambda: shop.resend(one))

    assert snapshot(frozen.client) == before
