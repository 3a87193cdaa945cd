"""Decisions: every refusal and would-have-been one is told once, with what was counted, and of nobody."""

from contextlib import suppress
from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_guard import ADDRESS, approve, decisions, guarded, guess, later, modes, number, passes, refused, told
from support_records import entries_of
from support_rules import MET, TIGHT, first, meeting

from otp_service.domain.codes import derive_code
from otp_service.domain.guard import GUARD_RULES
from otp_service.errors import OtpServiceError
from otp_service.store import keys


def _tight(frozen: FrozenValkey, mode: str, *rules: str, **of_guard: Any) -> Caller:
    guard = {**TIGHT["guard"], **of_guard, "modes": modes(*rules, mode=mode)}
    return Caller(guarded(frozen, guard=guard, limits=TIGHT["limits"]))


@pytest.mark.parametrize("rule", MET)
def test_each_refusal_is_one_decision_that_the_caller_can_name(frozen: FrozenValkey, rule: str) -> None:
    shop = meeting(frozen, rule)
    known = len(decisions(shop))
    error = refused(lambda: first(shop))
    (decision,) = decisions(shop)[known:]

    assert error is not None
    assert error.decision == decision.id
    assert (decision.rule, decision.mode, decision.kind) == (rule, "enforce", "start")
    assert (decision.application, decision.purpose, decision.country) == ("shop", "login", "PK")
    assert decision.verification == ""
    assert decision.until == frozen.now + decision.rule_hits[0].wait
    assert [one.rule for one in decision.rule_hits] == [rule]
    assert shop.context.store.decisions.find(decision.id) == decision


@pytest.mark.parametrize("rule", MET)
def test_a_rule_that_only_records_tells_what_it_would_have_refused_and_lets_it_pass(
    frozen: FrozenValkey, rule: str
) -> None:
    enforced = meeting(frozen, rule)
    refused(lambda: first(enforced))
    expected = decisions(enforced)[-1]
    frozen.reset()
    shop = meeting(frozen, rule, "record_only")
    known = len(decisions(shop))
    one = first(shop)
    (decision,) = decisions(shop)[known:]

    assert (decision.rule, decision.mode, decision.verification) == (rule, "record_only", one)
    assert abs(decision.until - expected.until) <= 1
    assert [each.used for each in decision.rule_hits] == [each.used for each in expected.rule_hits]
    assert [each.mode for each in decision.rule_hits] == ["record_only"]


def test_the_rule_with_the_longest_wait_decides_and_the_others_are_told_with_it(frozen: FrozenValkey) -> None:
    shop = _tight(frozen, "enforce", "number.cooldown", "number.sends", "spend.application")
    shop.start(number(1))
    frozen.advance(60)
    shop.start(number(1))
    refused(lambda: shop.start(number(1)))
    (decision,) = decisions(shop)

    assert decision.rule == "number.sends"
    assert {one.rule: (one.used, one.most) for one in decision.rule_hits} == {
        "number.sends": (2, 2),
        "number.cooldown": (2, 0),
    }


def test_one_that_refuses_decides_before_one_that_only_records_and_would_for_longer(frozen: FrozenValkey) -> None:
    guard = {**TIGHT["guard"], "modes": {**modes("number.cooldown"), "block.unapproved": "record_only"}}
    shop = Caller(guarded(frozen, guard=guard))
    shop.start(number(1))
    shop.start(number(2))
    error = refused(lambda: shop.start(number(2)))

    assert told(shop) == [("number.cooldown", "enforce")]
    assert error is not None
    assert error.retry_after == 60


def test_a_guess_that_is_not_compared_is_a_decision_on_its_verification(frozen: FrozenValkey) -> None:
    shop = _tight(frozen, "enforce", "number.guess_wait")
    one = shop.start(number(1))
    guess(shop, one)
    guess(shop, one)
    (decision,) = shop.context.store.decisions.of_verification("00", one)

    assert (decision.rule, decision.kind, decision.verification) == ("number.guess_wait", "check", one)


def test_decisions_and_events_name_nobody(frozen: FrozenValkey) -> None:
    shop = _tight(frozen, "record_only", *GUARD_RULES)
    strict = _tight(frozen, "enforce", "number.cooldown")
    codes = []
    for last in (1, 1, 2, 3, 3):
        one = shop.start(number(last), client_ip=ADDRESS, context="canary-device")
        codes.append(derive_code(shop.context.keyring, shop.read(one).verification, 0, ""))
        guess(shop, one)
        shop.resend(one)
    with suppress(OtpServiceError):
        shop.start("+442079460123")
    approve(shop, number(1), client_ip=ADDRESS)
    strict.start(number(3), client_ip=ADDRESS, context="canary-device")
    assert refused(lambda: strict.start(number(3), client_ip=ADDRESS, context="canary-device"))
    logs = [entries_of(frozen.client, log) for log in (keys.decisions("00"), keys.events("00"))]
    written = repr(logs)

    assert len(decisions(shop)) > 5
    assert all(any("attempt" in entry for entry in log) for log in logs)
    for canary in (*codes, ADDRESS, "canary", number(1)[1:], "3001230001", "923001", "2079460123"):
        assert canary not in written, canary


def test_decisions_are_bounded_in_length_and_age(frozen: FrozenValkey) -> None:
    shop = _tight(frozen, "record_only", "block.unapproved", decisions=1000)
    name = keys.decisions("00")
    for _ in range(12):
        for _ in range(100):
            passes(shop, number(1))
        later(frozen, 1)
    assert 1000 <= frozen.client.xlen(name) < 1150
    for days in (6, 2):
        later(frozen, days * 86_400)
        for _ in range(10):
            passes(shop, number(1))
    (oldest, _), *_ = frozen.client.xrange(name)
    assert int(oldest.partition(b"-")[0]) == frozen.now - 2 * 86_400_000, "exactly those of the last seven days"
    later(frozen, 7 * 86_400 + 1)

    assert not frozen.client.exists(name)
