"""A message that falls back to another channel by itself: the guard counts it, and refuses it, as what it is."""

from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_guard import come_in, decisions, guarded, number, passed, passes, spent
from support_outbox import Scripted, Sender, dispatched, jobs_of, report, settle

from otp_service.domain.consents import ConsentMode
from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import Receipt
from otp_service.services.receipts import record_receipt
from otp_service.store.outbox import DispatchResult, NextStep
from otp_service.store.verifications import FurtherMessage, Queued, Refusal

FALLING = {"login": {"resend_delays": [600], "max_sends": 5, "channels": ["sms", "voice"], "fallback": True}}


def _shop(frozen: FrozenValkey, *rules: str, **sections: Any) -> Caller:
    return Caller(guarded(frozen, *rules, purposes=FALLING, **sections))


def _fall_back(shop: Caller, one: str) -> int:
    """Deliver a verification's message, which does not arrive; return how many messages it has then."""
    gateway = Scripted()
    Sender(shop, sandbox=gateway).deliver()
    made = next(each.dispatch_id for each in gateway.sent if each.verification_id == one)
    record_receipt(shop.context, "sandbox", made, Receipt(DeliveryStatus.UNDELIVERED, "UNDELIVERED", None, None))
    return shop.read(one).verification.sends


def test_it_waits_for_no_cool_down_and_lengthens_none(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "number.cooldown")
    one = shop.start(number(1))
    assert _fall_back(shop, one) == 2
    frozen.advance(29)
    assert not passes(shop, number(1))
    frozen.advance(1)

    assert passes(shop, number(1))


def test_it_is_no_request_of_the_application(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "application.requests", limits={"application": ["2/hour"]})
    assert _fall_back(shop, shop.start(number(1))) == 2

    assert passed(shop, number(2), 9) == 1


def test_an_approval_gives_it_back_too(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "block.unapproved", guard={"block": {"unapproved": ["3/hour"]}})
    one = shop.start(number(1))
    assert _fall_back(shop, one) == 2
    assert passed(shop, number(2), 9) == 1
    come_in(shop, one)

    assert passed(shop, number(3), 9) == 3, "one is used of three, and one more for the one who was approved"


def test_it_is_a_message_to_the_number_and_into_its_block(frozen: FrozenValkey) -> None:
    shop = _shop(frozen, "number.sends", limits={"number": ["3/hour"]})
    assert _fall_back(shop, shop.start(number(1))) == 2
    assert passed(shop, number(1), 9) == 1
    frozen.reset()
    shop = _shop(frozen, "block.unapproved", guard={"block": {"unapproved": ["3/hour"]}})
    assert _fall_back(shop, shop.start(number(1))) == 2

    assert passed(shop, number(2), 9) == 1


@pytest.mark.parametrize(
    ("rule", "sections"),
    [
        ("number.sends", {"limits": {"number": ["1/hour"]}}),
        ("block.unapproved", {"guard": {"block": {"unapproved": ["1/hour"]}}}),
        ("country.unapproved", {"guard": {"country": {"home": ["1/hour"]}}}),
    ],
)
def test_it_is_refused_by_the_rules_on_who_receives_it_with_a_decision(
    frozen: FrozenValkey, rule: str, sections: Any
) -> None:
    shop = _shop(frozen, rule, **sections)
    one = shop.start(number(1))
    assert _fall_back(shop, one) == 1
    (decision,) = decisions(shop)

    assert (decision.rule, decision.kind, decision.verification) == (rule, "fallback", one)


@pytest.mark.parametrize(("ceiling", "messages"), [("12", 2), ("10", 1)])
def test_it_reserves_its_own_price_and_is_refused_where_that_does_not_fit(
    frozen: FrozenValkey, ceiling: str, messages: int
) -> None:
    prices = {"sandbox": {"kind": "sandbox", "timeout": 1.0, "prices": {"*": "2", "*/voice": "9"}}}
    shop = _shop(frozen, "spend.application", gateways=prices, applications={"shop": {"spend": {"day": ceiling}}})
    one = shop.start(number(1))
    assert spent(shop) == {"day": 9}, "the dearest that may follow"

    assert _fall_back(shop, one) == messages
    assert spent(shop) == {"day": 11 if messages == 2 else 2}


def test_of_two_reports_on_one_message_that_are_read_at_once_one_falls_back(frozen: FrozenValkey) -> None:
    shop = _shop(frozen)
    one = shop.start(number(1))
    Sender(shop, sandbox=Scripted()).deliver()
    found = shop.read(one).verification
    ruleset, further = shop.context.rulesets["shop"], FurtherMessage("voice", falls_back_from=1, after_dispatch=1)
    mirror_query = shop.context.mirror_sync.query("00", ConsentMode.OFF)
    answers = [shop.context.store.verifications.resend("00", found, further, mirror_query, ruleset) for _ in range(2)]

    assert isinstance(answers[0], Queued)
    assert answers[1] is Refusal.CONFLICT


def test_what_arrived_by_an_earlier_call_does_not_fall_back(frozen: FrozenValkey) -> None:
    shop = _shop(frozen)
    one = shop.start(number(1))
    (job,) = jobs_of(shop.context)
    first = dispatched(shop.context, job)
    settle(shop.context, job, first, DispatchResult(NextStep.NEXT, DeliveryStatus.UNKNOWN))
    second = dispatched(shop.context, job, called=["first"])
    settle(shop.context, job, second, DispatchResult(NextStep.DONE, DeliveryStatus.SENT))
    report(shop.context, first, "delivered")
    report(shop.context, second, "undelivered", gateway=second.gateway)
    found, further = shop.read(one).verification, FurtherMessage("voice", falls_back_from=1)
    mirror_query = shop.context.mirror_sync.query("00", ConsentMode.OFF)
    answer = shop.context.store.verifications.resend("00", found, further, mirror_query, shop.context.rulesets["shop"])

    assert answer is Refusal.CONFLICT
