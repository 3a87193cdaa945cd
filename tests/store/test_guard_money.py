"""Money: reserved before a message is queued, settled by what was called, and never more than the ceiling."""

import re
from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_guard import approve, decisions, number, priced, spent
from support_outbox import Scripted, Sender, dispatch, dispatched, jobs_of, letters, settle, story, timed_out
from support_outbox import refused as failure

from otp_service.domain.payments import Transaction
from otp_service.domain.verification import DeliveryStatus
from otp_service.store import keys
from otp_service.store.outbox import Dispatched, DispatchResult, Dropped, NextStep
from otp_service.telemetry import metrics

SPOKEN = {"login": {"resend_delays": [0], "channels": ["sms", "voice"], "fallback": False}}
LONG_PAYMENT = Transaction("150000.00", "PKR", "Daraz Online Shopping Mall", "4821")


def _sender(shop: Caller, *first: Any) -> Sender:
    return Sender(shop, first=Scripted(*first), second=Scripted())


@pytest.mark.parametrize(
    ("first", "second", "reserved"),
    [
        ({"PK": "2"}, {"PK": "3"}, 3),
        ({"PK": "2", "*": "50"}, {"*": "4.25"}, 4.25),
        ({"PK": "2", "PK/sms": "6"}, {"*/sms": "5", "*": "9"}, 6),
        ({"PK": "2"}, {}, 2),
        ({}, {}, 0),
    ],
)
def test_a_start_reserves_the_dearest_gateway_of_its_route(
    frozen: FrozenValkey, first: Any, second: Any, reserved: float
) -> None:
    shop = priced(frozen, first, second)
    shop.start(number(1))

    assert spent(shop) == {"hour": reserved}


@pytest.mark.parametrize(("fallback", "reserved"), [(True, 9), (False, 3)])
def test_a_start_reserves_the_dearest_channel_that_it_may_go_on_through(
    frozen: FrozenValkey, fallback: bool, reserved: float
) -> None:
    purposes = {"login": {"resend_delays": [0], "channels": ["sms", "voice"], "fallback": fallback}}
    shop = priced(frozen, {"PK": "2", "PK/voice": "9"}, {"PK": "3"}, purposes=purposes)
    one = shop.start(number(1))
    assert spent(shop) == {"hour": reserved}
    shop.resend(one, channel="voice")

    assert spent(shop) == {"hour": reserved + 9}


def test_what_a_gateway_took_costs_its_price_and_the_rest_is_given_back(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"PK": "2.50"}, {"PK": "7"})
    shop.start(number(1))
    _sender(shop).deliver()

    assert spent(shop) == {"hour": 2.5}


def test_an_urdu_text_of_two_segments_costs_two_while_a_call_costs_one(frozen: FrozenValkey) -> None:
    purposes = {"payment": {"kind": "transaction", "resend_delays": [0], "channels": ["sms", "voice"]}}
    shop = priced(frozen, {"PK": "2"}, purposes=purposes)
    urdu = {"purpose": "payment", "transaction": LONG_PAYMENT, "locale": "ur"}
    one = shop.start(number(1), **urdu)
    assert spent(shop) == {"hour": 4}
    _sender(shop).deliver()
    assert spent(shop) == {"hour": 4}
    shop.resend(one)
    assert spent(shop) == {"hour": 8}
    shop.start(number(2), channel="voice", **urdu)

    assert spent(shop) == {"hour": 10}


def test_a_call_that_was_refused_gives_all_of_it_back(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"PK": "2"})
    one = shop.start(number(1))
    _sender(shop, failure("destination")).deliver()

    assert spent(shop) == {"hour": 0}
    assert story(shop, one)[0][3] == "failed"


def test_a_call_whose_end_nobody_knows_is_paid_for_and_the_next_one_too(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"PK": "2"}, {"PK": "7"})
    one = shop.start(number(1))
    _sender(shop, timed_out()).deliver()

    assert [each[2:4] for each in story(shop, one)] == [("first", "unknown"), ("second", "sent")]
    assert spent(shop) == {"hour": 9}


def test_a_further_call_reserves_again_until_it_is_settled(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"PK": "2"}, {"PK": "7"})
    shop.start(number(1))
    (job,) = jobs_of(shop.context)
    first = dispatched(shop.context, job)
    assert spent(shop) == {"hour": 7}
    settle(shop.context, job, first, DispatchResult(NextStep.NEXT, cost=2_000_000))
    assert spent(shop) == {"hour": 2}
    second = dispatched(shop.context, job, called=["first"])
    assert spent(shop) == {"hour": 9}
    settle(shop.context, job, second, DispatchResult(NextStep.DONE, DeliveryStatus.SENT, cost=1_000_000))

    assert spent(shop) == {"hour": 3}


def test_a_message_whose_further_call_does_not_fit_is_given_up(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"PK": "2"}, {"PK": "7"}, spend={"hour": "8"})
    one = shop.start(number(1))
    sender = _sender(shop, timed_out())
    sender.deliver()

    assert sender.sent() == ["first"]
    assert letters(frozen.client) == ["spend_ceiling"]
    assert story(shop, one)[0][2:4] == ("first", "unknown")
    assert spent(shop) == {"hour": 2}
    (told,) = decisions(shop)
    assert (told.rule, told.mode, told.kind, told.verification) == ("spend.application", "enforce", "dispatch", one)
    assert [(each.used, each.most) for each in told.rule_hits] == [(2_000_000, 8_000_000)]


def test_a_further_call_that_a_ceiling_refuses_is_counted_under_its_rule(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"PK": "2"}, {"PK": "7"}, spend={"hour": "8"})
    shop.start(number(1))
    before = _refused()
    _sender(shop, timed_out()).deliver()

    assert _refused() == before + 1


def _refused() -> float:
    labels = 'application="shop",country="PK",mode="enforce",rule="spend.application"'
    found = re.search(
        rf"^otp_service_guard_refusals_total\{{{labels}\}} (.+)$", metrics.exposition().decode(), re.MULTILINE
    )
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize("mode", ["record_only", "off"])
def test_a_ceiling_that_does_not_hold_gives_no_message_up(frozen: FrozenValkey, mode: str) -> None:
    guard = {"modes": {"spend.application": mode, "spend.country": "off"}}
    shop = priced(frozen, {"PK": "2"}, {"PK": "7"}, spend={"hour": "8"}, guard=guard)
    shop.start(number(1))
    sender = _sender(shop, timed_out())
    sender.deliver()

    assert sender.sent() == ["first", "second"]
    assert [(one.rule, one.mode, one.kind) for one in decisions(shop)] == (
        [("spend.application", "record_only", "dispatch")] if mode == "record_only" else []
    )


def test_to_settle_twice_changes_nothing(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"PK": "2"}, {"PK": "7"})
    for last in (1, 2):
        shop.start(number(last))
    job, _ = jobs_of(shop.context)
    made = dispatched(shop.context, job)
    for cost in (2_000_000, 2_000_000, 0, 7_000_000):
        settle(shop.context, job, made, DispatchResult(NextStep.NEXT, DeliveryStatus.SENT, cost=cost))
        assert spent(shop) == {"hour": 9}


@pytest.mark.parametrize("ends", ["approved", "canceled", "expired"])
def test_a_message_that_was_never_handed_over_gives_its_reservation_back(frozen: FrozenValkey, ends: str) -> None:
    shop = priced(frozen, {"PK": "2"})
    one = approve(shop, number(1)) if ends == "approved" else shop.start(number(1))
    if ends == "canceled":
        shop.cancel(one)
    assert spent(shop) == {"hour": 2}
    frozen.advance(301 if ends == "expired" else 1)
    sender = _sender(shop)
    sender.deliver()

    assert sender.sent() == []
    assert spent(shop) == {"hour": 0}


def test_what_a_dead_worker_began_stays_reserved_and_a_receipt_gives_nothing_back(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"PK": "2"}, {"PK": "7"})
    shop.start(number(1))
    (job,) = jobs_of(shop.context)
    dispatched(shop.context, job)
    again = dispatch(shop.context, job)
    assert isinstance(again, Dispatched)
    settle(shop.context, job, again, DispatchResult(NextStep.DONE, DeliveryStatus.SENT, cost=2_000_000))
    assert spent(shop) == {"hour": 9}
    shop.context.store.dispatches.report("00", again.dispatch_id, again.gateway, DeliveryStatus.UNDELIVERED, "", "")

    assert spent(shop) == {"hour": 9}


def test_to_drop_a_message_twice_gives_back_once(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"PK": "2"})
    for last in (1, 2):
        shop.start(number(last))
    job, _ = jobs_of(shop.context)
    for _ in range(2):
        settle(shop.context, job, Dropped("canceled", "d1.1"), DispatchResult(NextStep.DONE, reason="canceled"))

        assert spent(shop) == {"hour": 2}


def test_the_price_of_a_resend_is_that_of_its_channel_and_is_kept_for_its_further_calls(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"PK": "2", "PK/voice": "9"}, {"PK": "2", "PK/voice": "9"}, purposes=SPOKEN)
    one = shop.start(number(1))
    _sender(shop).deliver()
    shop.resend(one, channel="voice")
    assert spent(shop) == {"hour": 11}
    _sender(shop, timed_out()).deliver()

    assert spent(shop) == {"hour": 20}


@pytest.mark.parametrize("payee", ["D" * length for length in range(20, 31, 2)], ids=len)
@pytest.mark.parametrize("locale", ["en", "ur", "ur-Latn", "ar"])
def test_a_text_that_is_written_late_costs_no_more_than_was_reserved(
    frozen: FrozenValkey, locale: str, payee: str
) -> None:
    """In the last minute it says so in more words, which may need one segment more."""
    purposes = {"payment": {"kind": "transaction", "ttl": 180, "channels": ["sms"]}}
    shop = priced(frozen, {"PK": "2"}, purposes=purposes)
    payment = Transaction("150000.00", "PKR", payee, "4821")
    one = shop.start(number(1), purpose="payment", transaction=payment, locale=locale)
    reserved = spent(shop)
    frozen.advance(170)
    _sender(shop).deliver()

    assert story(shop, one)[0][3] == "sent"
    assert spent(shop)["hour"] <= reserved["hour"]


def test_what_redis_lost_meanwhile_is_not_given_back_below_nothing(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"PK": "2"})
    shop.start(number(1))
    frozen.client.delete(keys.application("00", "shop"))
    _sender(shop, failure("destination")).deliver()
    assert spent(shop) == {"hour": 0}
    shop.start(number(2))

    assert spent(shop) == {"hour": 2}
