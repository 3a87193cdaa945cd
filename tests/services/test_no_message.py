"""A message that cannot be written: nobody is called, what was prepared for the call is given back, and it is told."""

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs
from support_caller import Caller
from support_frozen import FrozenValkey
from support_installation import NUMBER, key
from support_outbox import Scripted, Sender, choices, dispatched, jobs_of, letters, refused, waiting

from otp_service.domain.keyring import new_dispatch_id
from otp_service.domain.messages import Message
from otp_service.domain.numbers import parse_destination
from otp_service.domain.routing import BreakerState, CallResult, GatewayHealth
from otp_service.services.context import Context
from otp_service.services.delivery import compose_message
from otp_service.services.number_history import Why, find_number_history
from otp_service.store.outbox import Dispatched, Job

PSEUDONYM, OLD, NEW = key(), f"k1:{key()}", f"k2:{key()}"
ONE_AT_A_TIME = {"max_in_flight": 1, "timeout": 30.0}


def _shop(frozen: FrozenValkey, root: str = NEW, **first: Any) -> Caller:
    return Caller(
        frozen.world().install(
            keys={"root": root, "pseudonym": PSEUDONYM},
            limits={"number": ["1000/hour"]},
            gateways={"first": {"kind": "sandbox", **first}, "second": {"kind": "sandbox"}},
            routes=[{"gateways": ["first", "second"]}],
        )
    )


def _lose_the_key(frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch) -> str:
    """Start a verification whose root key is not in the configuration any more."""
    return _shop(frozen, OLD).start()


def _break_the_words(frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch) -> str:
    """Start a verification whose message this service cannot write."""
    one = _shop(frozen).start()

    def broken(context: Context, job: Job, dispatched: Dispatched) -> Message:
        if job.id == one:
            raise ZeroDivisionError(f"about {NUMBER}")
        return compose_message(context, job, dispatched)

    monkeypatch.setattr("otp_service.services.delivery.compose_message", broken)
    return one


Prepare = Callable[[FrozenValkey, pytest.MonkeyPatch], str]
HOW = pytest.mark.parametrize(
    ("prepare", "reason", "why"),
    [(_lose_the_key, "unreadable", Why.UNREADABLE), (_break_the_words, "defect", Why.DEFECT)],
    ids=["lost key", "defect"],
)


def _calls(shop: Caller, one: str) -> list[tuple[str | None, str, str | None, str | None]]:
    """Return gateway, status, reason and choice of each call, whatever key the verification is of."""
    record = shop.context.store.verifications.read("00", one)
    assert record is not None
    return [(each.gateway, str(each.status), each.reason, str(each.choice)) for each in record.deliveries]


def _health(shop: Caller) -> GatewayHealth:
    return shop.context.store.health.of(("first",))["first"]


def _break(shop: Caller) -> None:
    for _ in range(5):
        shop.context.store.health.observe("first", new_dispatch_id("00"), CallResult.BAD)


@HOW
def test_it_is_given_up_at_once_and_told_as_it_is(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch, prepare: Prepare, reason: str, why: Why
) -> None:
    one = prepare(frozen, monkeypatch)
    shop = _shop(frozen)
    sender = Sender(shop, first=Scripted(), second=Scripted())
    sender.deliver()

    assert sender.sent() == []
    assert _calls(shop, one) == [("first", "failed", reason, "configured")]
    assert letters(frozen.client) == [reason]
    assert waiting(frozen.client) == 0
    (case,) = find_number_history(shop.context, parse_destination(NUMBER, None)).verifications
    assert case.explanation.why is why


@HOW
def test_the_probe_of_a_breaker_is_given_back_and_the_next_message_tries(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch, prepare: Prepare, reason: str, why: Why
) -> None:
    shop = _shop(frozen)
    _break(shop)
    frozen.advance(30)
    one = prepare(frozen, monkeypatch)
    sender = Sender(shop, first=Scripted(), second=Scripted())
    sender.deliver()
    assert _calls(shop, one) == [("first", "failed", reason, "configured")]
    assert _health(shop).state is BreakerState.HALF_OPEN, "neither closed by it nor opened again"
    other = shop.start()
    sender.deliver()

    assert choices(shop, other) == [("first", "configured")]
    assert _health(shop).state is BreakerState.CLOSED


@HOW
def test_the_place_among_the_calls_in_flight_is_given_back(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch, prepare: Prepare, reason: str, why: Why
) -> None:
    shop = _shop(frozen, **ONE_AT_A_TIME)
    prepare(frozen, monkeypatch)
    sender = Sender(shop, first=Scripted(), second=Scripted())
    sender.deliver()
    other = shop.start()
    sender.deliver()

    assert choices(shop, other) == [("first", "configured")]


@HOW
def test_it_says_nothing_of_the_gateway(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch, prepare: Prepare, reason: str, why: Why
) -> None:
    """Four bad calls in a row are neither ended by it, nor made five."""
    shop = _shop(frozen)
    for _ in range(4):
        shop.context.store.health.observe("first", new_dispatch_id("00"), CallResult.BAD)
    prepare(frozen, monkeypatch)
    sender = Sender(shop, first=Scripted(refused("unavailable")), second=Scripted())
    sender.deliver()
    assert (_health(shop).state, _health(shop).calls) == (BreakerState.CLOSED, 4)
    shop.start()
    sender.deliver()

    assert _health(shop).state is BreakerState.OPEN


@HOW
def test_it_does_not_end_the_pause_of_a_gateway_that_throttled(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch, prepare: Prepare, reason: str, why: Why
) -> None:
    shop = _shop(frozen)
    shop.context.store.health.observe("first", new_dispatch_id("00"), CallResult.THROTTLED)
    frozen.advance(1)
    prepare(frozen, monkeypatch)
    Sender(shop, first=Scripted(), second=Scripted()).deliver()
    shop.context.store.health.observe("first", new_dispatch_id("00"), CallResult.THROTTLED)

    assert _health(shop).throttled_for == 2000, "it was not well in between"


def test_the_probe_of_another_message_is_not_given_back(frozen: FrozenValkey) -> None:
    shop = _shop(frozen)
    _break(shop)
    frozen.advance(30)
    shop.start()
    (probe, *_) = jobs_of(shop.context)
    assert dispatched(shop.context, probe).gateway == "first"
    shop.context.store.health.observe("first", new_dispatch_id("00"), CallResult.NONE)
    shop.start()
    (other,) = jobs_of(shop.context)

    assert dispatched(shop.context, other).gateway == "second", "the probe is still on its way"


def test_the_log_names_the_defect_and_not_what_it_says(frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    _break_the_words(frozen, monkeypatch)
    with capture_logs() as lines:
        Sender(_shop(frozen), first=Scripted()).deliver()

    assert [line["error"] for line in lines if line["event"] == "composition_defect"] == ["ZeroDivisionError"]
    assert NUMBER[-7:] not in str(lines)
