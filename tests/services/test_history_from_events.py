"""Why a code did or did not arrive: one answer for everything that can be known of its messages."""

from typing import Any

import pytest

from otp_service.domain.routing import BreakerState, GatewayHealth
from otp_service.domain.verification import Delivery, DeliveryStatus, Status
from otp_service.services.number_history import DeliveryConditions, VerificationHistory, Why, explain

WELL = GatewayHealth(BreakerState.CLOSED)
BLOCKED = GatewayHealth(BreakerState.OPEN, probe_in=1000)
THROTTLED = GatewayHealth(BreakerState.CLOSED, throttled_for=1000)
HALF_OPEN = GatewayHealth(BreakerState.HALF_OPEN)


def one(
    status: str,
    reason: str | None = None,
    *,
    gateway: str | None = "first",
    raw: str | None = None,
    message: int = 1,
    dispatch: int = 1,
) -> Delivery:
    return Delivery(message, dispatch, "sms", gateway, DeliveryStatus(status), 0, reason, raw_status=raw)


def waiting(message: int = 1) -> Delivery:
    return one("queued", gateway=None, message=message)


def told(
    *deliveries: Delivery,
    status: str | None = "pending",
    given_up: dict[int, str] | None = None,
    worker: bool = True,
    route: dict[str, GatewayHealth] | None = None,
) -> Why:
    state = Status(status) if status else None
    history = VerificationHistory("vf_1", "shop", "login", "PK", "+92 •••", 0, state, 0, deliveries, given_up or {})
    return explain(history, DeliveryConditions(worker, {"first": WELL} if route is None else route)).why


@pytest.mark.parametrize(
    ("deliveries", "around", "why"),
    [
        # what came of it
        ([one("delivered")], {}, Why.DELIVERED),
        ([one("delivered"), one("failed", "unavailable x", message=2)], {}, Why.DELIVERED),
        ([one("delivered")], {"status": "approved"}, Why.DELIVERED),
        ([one("sent")], {"status": "approved"}, Why.CHECKED),
        ([one("unknown", "unavailable timeout")], {"status": "approved"}, Why.CHECKED),
        ([], {"status": "approved"}, Why.CHECKED),
        ([one("sent")], {}, Why.TAKEN),
        ([one("sent")], {"status": "expired"}, Why.TAKEN),
        ([one("failed", "unavailable http 503"), one("sent", gateway="second", dispatch=2)], {}, Why.TAKEN),
        # what a gateway reported
        ([one("undelivered", "30003", raw="undelivered")], {}, Why.UNDELIVERED),
        ([one("failed", "30008", raw="failed")], {}, Why.UNDELIVERED),
        ([one("failed", "destination 30005", raw="failed")], {}, Why.DESTINATION),
        ([one("unknown", None, raw="odd")], {}, Why.NOBODY_KNOWS),
        ([one("expired", raw="EXPIRED")], {}, Why.TOO_LATE_THERE),
        # what a gateway said at once
        ([one("failed", "destination 21211")], {"given_up": {1: "destination 21211"}}, Why.DESTINATION),
        ([one("failed", "rejected 20003")], {"given_up": {1: "rejected 20003"}}, Why.REJECTED),
        ([one("failed", "fraud 30450")], {"given_up": {1: "fraud 30450"}}, Why.FRAUD),
        ([one("failed", "channel 21612")], {"given_up": {1: "channel 21612"}}, Why.CHANNEL),
        ([one("failed", "channel 21612")], {}, Why.TRIED_AGAIN),
        ([one("failed", "suppressed", gateway=None)], {}, Why.SUPPRESSED),
        ([one("failed", "frozen", gateway=None)], {}, Why.FROZEN),
        ([one("failed", "consent-required", gateway=None)], {}, Why.NO_CONSENT),
        ([one("failed", "unavailable http 503")], {"given_up": {1: "spend_ceiling"}}, Why.SPENT),
        # calls that failed
        ([one("failed", "unavailable http 503")], {}, Why.TRIED_AGAIN),
        ([one("unknown", "unavailable timeout")], {}, Why.TRIED_AGAIN),
        ([one("failed", "unavailable http 503")], {"given_up": {1: "unavailable http 503"}}, Why.ALL_FAILED),
        ([one("failed", "unavailable http 503")], {"given_up": {2: "no_route"}}, Why.TRIED_AGAIN),
        ([one("failed", "unavailable http 503")], {"status": "expired"}, Why.ALL_FAILED),
        ([one("failed", "unavailable http 503")], {"given_up": {1: "expired"}, "status": "expired"}, Why.ALL_FAILED),
        ([one("unknown", "unavailable timeout")], {"given_up": {1: "unavailable timeout"}}, Why.NOBODY_KNOWS),
        (
            [one("unknown", "unavailable timeout"), one("failed", "unavailable http 503", dispatch=2)],
            {"status": "expired"},
            Why.NOBODY_KNOWS,
        ),
        (
            [one("unknown", "unavailable timeout"), one("failed", "unavailable http 503", message=2)],
            {"status": "expired"},
            Why.ALL_FAILED,
        ),
        ([one("unknown", "interrupted")], {"given_up": {1: "too_many_ambiguous"}}, Why.NOBODY_KNOWS),
        ([one("failed", "unreadable")], {"given_up": {1: "unreadable"}}, Why.UNREADABLE),
        ([one("failed", "defect")], {"given_up": {1: "defect"}}, Why.DEFECT),
        ([one("failed", "unavailable http 503")], {"given_up": {1: "no_route"}}, Why.NO_ROUTE),
        ([one("failed", "error http 500")], {"given_up": {1: "too_many_errors"}}, Why.ALL_FAILED),
        # messages that no gateway was called for
        ([waiting()], {}, Why.WAITS),
        ([one("sent"), waiting(2)], {}, Why.WAITS),
        ([waiting()], {"worker": False}, Why.NO_WORKER),
        ([waiting()], {"route": {}}, Why.NO_ROUTE),
        ([waiting()], {"route": {"first": BLOCKED, "second": THROTTLED}}, Why.BLOCKED),
        ([waiting()], {"route": {"first": BLOCKED, "second": WELL}}, Why.WAITS),
        ([waiting()], {"route": {"first": HALF_OPEN}}, Why.WAITS),
        ([waiting()], {"status": "expired"}, Why.TOO_LATE),
        ([waiting()], {"status": None}, Why.TOO_LATE),
        ([waiting()], {"status": "canceled"}, Why.ENDED_FIRST),
        ([waiting()], {"given_up": {1: "no_route"}}, Why.NO_ROUTE),
        ([waiting()], {"given_up": {1: "no_application"}}, Why.UNREADABLE),
        ([waiting()], {"given_up": {1: "gone"}, "status": None}, Why.TOO_LATE),
        ([one("expired", "expired", gateway=None)], {"status": "expired"}, Why.TOO_LATE),
        ([one("failed", "canceled", gateway=None)], {"status": "canceled"}, Why.ENDED_FIRST),
        ([one("failed", "max_attempts_reached", gateway=None)], {"status": "max_attempts_reached"}, Why.ENDED_FIRST),
        ([one("failed", "no_route", gateway=None)], {"status": "expired"}, Why.NO_ROUTE),
        ([one("failed", "no_route", gateway=None)], {"given_up": {1: "no_route"}}, Why.NO_ROUTE),
        ([one("failed", "no_route", gateway=None)], {}, Why.TRIED_AGAIN),  # it was put back
        ([one("failed", "no_gateway", gateway=None)], {"status": "expired"}, Why.ALL_FAILED),
        ([one("failed", "policy simswap", gateway=None)], {"given_up": {1: "policy simswap"}}, Why.POLICY),
        ([one("failed", "no_verdict simswap", gateway=None)], {"status": "expired"}, Why.POLICY),
        ([one("failed", "policy simswap", gateway=None)], {}, Why.TRIED_AGAIN),  # it was put back
        ([one("failed", "channel 21614"), waiting(2)], {"given_up": {2: "policy simswap"}}, Why.POLICY),
        # a call that has no outcome
        ([one("queued")], {}, Why.IN_HAND),
        ([one("queued")], {"status": "expired"}, Why.NOBODY_KNOWS),
        ([one("queued")], {"given_up": {1: "gone"}}, Why.NOBODY_KNOWS),
        ([], {}, Why.FORGOTTEN),
        ([], {"status": None}, Why.FORGOTTEN),
    ],
)  # fmt: skip
def test_there_is_one_reason_for_whatever_is_known(
    deliveries: list[Delivery], around: dict[str, Any], why: Why
) -> None:
    assert told(*deliveries, **around) == why


def test_every_reason_stands_in_the_table() -> None:
    (table,) = (
        mark for mark in test_there_is_one_reason_for_whatever_is_known.pytestmark if mark.name == "parametrize"
    )

    assert {why for _, _, why in table.args[1]} == set(Why)


def test_an_explanation_names_the_calls_for_the_last_message_that_failed() -> None:
    first, second = one("failed", "unavailable a"), one("unknown", "unavailable b", dispatch=2)
    later = one("failed", "unavailable c", message=2)
    history = VerificationHistory("vf_1", "shop", "login", "PK", "+92 •••", 0, Status.EXPIRED, 0, (first, second))

    assert explain(history, DeliveryConditions(True, {})).failures == (first, second)
    again = VerificationHistory("vf_1", "shop", "login", "PK", "+92 •••", 0, Status.EXPIRED, 0, (first, second, later))
    assert explain(again, DeliveryConditions(True, {})).failures == (later,)
