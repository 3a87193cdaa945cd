"""Every call to a gateway ends in an event that tells its outcome and its cost, whatever becomes of its worker."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_outbox import EVENTS, POLICY, Scripted, Sender, dispatched, letters, refused, settle, story, timed_out
from support_records import entries_of

from otp_service.domain.numbers import parse_destination
from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import Accepted, Receipt
from otp_service.services.number_history import find_number_history
from otp_service.services.receipts import record_receipt
from otp_service.store import keys
from otp_service.store.outbox import DispatchResult, Job, NextStep

GATEWAYS = {name: {"kind": "sandbox", "prices": {"*": "2.5"}} for name in ("first", "second", "third")}
PRICE = "2500000"
SILENT = 15
"""Seconds after which a worker counts as dead."""
GONE = 1300
"""Seconds after which nothing of a verification is left but events."""
NUMBER = "+923001234567"


def die() -> None:
    raise KeyboardInterrupt


@pytest.fixture
def shop(frozen: FrozenValkey) -> Caller:
    return Caller(
        frozen.world().install(
            limits={"number": ["100000/hour"]},
            purposes={"login": {"channels": ["sms"], "resend_delays": [0], "max_sends": 10}},
            gateways=GATEWAYS,
            routes=[{"gateways": list(GATEWAYS)}],
        )
    )


def _told(frozen: FrozenValkey) -> list[dict[str, str]]:
    """Return what the events say of calls, oldest first."""
    return [
        one for one in entries_of(frozen.client, EVENTS) if one["type"].startswith("delivery.") and one.get("gateway")
    ]


def _outcomes(frozen: FrozenValkey) -> list[tuple[str, ...]]:
    return [(one["slot"], one["gateway"], one["type"], one["reason"], one.get("cost", "")) for one in _told(frozen)]


def _killed(frozen: FrozenValkey, shop: Caller, script: Callable[[], None] = die) -> tuple[str, Sender, Job]:
    """Let a worker die during its call; return who takes the job over, and the job."""
    sender = Sender(shop, first=Scripted(script), second=Scripted(), third=Scripted())
    one = shop.start()
    with pytest.raises(KeyboardInterrupt):
        sender.deliver()
    assert _told(frozen) == []
    frozen.advance(SILENT)
    (job,) = shop.context.store.outbox.claim("heir", 9, 1000 * SILENT)
    return one, sender, job


INTERRUPTED = ("d1.1", "first", "delivery.unknown", "interrupted", PRICE)


def test_a_call_that_its_worker_died_in_is_told_once_by_who_takes_over(frozen: FrozenValkey, shop: Caller) -> None:
    one, sender, job = _killed(frozen, shop)
    sender.hand_over(job)

    assert _outcomes(frozen) == [INTERRUPTED, ("d1.2", "second", "delivery.sent", "", PRICE)]
    (interrupted, _) = _told(frozen)
    assert {name: interrupted[name] for name in ("id", "application", "purpose", "country", "channel", "choice")} == {
        "id": one, "application": "shop", "purpose": "login", "country": "PK", "channel": "sms", "choice": "configured",
    }  # fmt: skip
    assert not frozen.client.exists(keys.calls("00"))


def test_it_is_told_once_however_often_the_job_changes_hands(frozen: FrozenValkey, shop: Caller) -> None:
    _, sender, job = _killed(frozen, shop)
    for name in GATEWAYS:
        shop.context.store.health.open(name, 3_600_000, "cli:ops")
    for heir in ("one", "two", "three"):
        assert sender.hand_over(job), "no gateway is free"
        frozen.advance(SILENT)
        (job,) = shop.context.store.outbox.claim(heir, 9, 1000 * SILENT)

    assert _outcomes(frozen) == [INTERRUPTED]


def _cancel(shop: Caller, one: str, job: Job) -> Job:
    shop.cancel(one)
    return job


def _lose_application(shop: Caller, _: str, job: Job) -> Job:
    del shop.context.applications["shop"]  # type: ignore[attr-defined] # filled once by the composition root
    return job


def _lose_route(shop: Caller, _: str, job: Job) -> Job:
    shop.context.routes.channels_of.update(dict.fromkeys(GATEWAYS, frozenset()))
    return job


@pytest.mark.parametrize(
    ("meanwhile", "seconds", "end"),
    [
        (_cancel, 0, []),
        (_lose_application, 0, ["no_application"]),
        (_lose_route, 0, ["no_route"]),
        (lambda _, __, job: job, 300, ["expired"]),
        (lambda _, __, job: job, GONE, ["gone"]),
    ],
    ids=["canceled", "application", "route", "expired", "record"],
)
def test_it_is_told_where_no_call_follows(
    frozen: FrozenValkey, shop: Caller, meanwhile: Callable[..., Job], seconds: int, end: list[str]
) -> None:
    one, sender, job = _killed(frozen, shop)
    frozen.advance(seconds)
    sender.hand_over(meanwhile(shop, one, job))

    assert _outcomes(frozen) == [INTERRUPTED]
    assert letters(frozen.client) == end
    assert not frozen.client.exists(keys.calls("00"))


def _report_of(shop: Caller, sender: Sender, status: str) -> None:
    made = sender.gateways["first"].sent[-1].dispatch_id
    assert record_receipt(shop.context, "first", made, Receipt(DeliveryStatus(status), status.upper()))


@pytest.mark.parametrize("status", ["sent", "delivered", "undelivered", "unknown"])
def test_a_report_in_between_takes_nothing_from_it(frozen: FrozenValkey, shop: Caller, status: str) -> None:
    def be_reported_and_die() -> None:
        _report_of(shop, sender, status)
        die()

    sender = Sender(shop, first=Scripted(be_reported_and_die), second=Scripted(), third=Scripted())
    one = shop.start()
    with pytest.raises(KeyboardInterrupt):
        sender.deliver()
    frozen.advance(SILENT)
    (job,) = shop.context.store.outbox.claim("heir", 9, 1000 * SILENT)
    sender.hand_over(job)

    assert _outcomes(frozen)[:2] == [("d1.1", "first", f"delivery.{status}", "", ""), INTERRUPTED]
    assert story(shop, one)[0][3] == status, "what was reported stands"
    frozen.advance(GONE)
    (case,) = find_number_history(shop.context, parse_destination(NUMBER, None)).verifications
    assert case.history.deliveries[0].status == status


@pytest.mark.parametrize("status", ["sent", "delivered", "undelivered"])
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Accepted("SM1"), ("delivery.sent", "", PRICE)),
        (timed_out(), ("delivery.unknown", "unavailable timeout", PRICE)),
        (refused("rejected", "30001"), ("delivery.failed", "rejected 30001", "0")),
    ],
    ids=["accepted", "timed out", "refused"],
)
def test_an_answer_that_a_report_overtook_is_told_with_its_cost(
    frozen: FrozenValkey, shop: Caller, status: str, answer: Any, outcome: tuple[str, ...]
) -> None:
    def be_reported() -> None:
        _report_of(shop, sender, status)
        if not isinstance(answer, Accepted):
            raise answer

    sender = Sender(shop, first=Scripted(be_reported), second=Scripted(), third=Scripted())
    one = shop.start()
    sender.deliver()
    before = story(shop, one)[0]

    assert _outcomes(frozen)[:2] == [("d1.1", "first", f"delivery.{status}", "", ""), ("d1.1", "first", *outcome)]
    frozen.advance(GONE)
    (case,) = find_number_history(shop.context, parse_destination(NUMBER, None)).verifications
    told = case.history.deliveries[0]
    assert (told.message, told.dispatch, told.gateway, str(told.status), told.reason) == before, "retold as it was"


def test_that_the_holder_wants_no_messages_is_told_also_after_a_report(frozen: FrozenValkey, shop: Caller) -> None:
    def be_reported() -> None:
        _report_of(shop, sender, "undelivered")
        raise refused("destination", "21610", opted_out=True)

    sender = Sender(shop, first=Scripted(be_reported))
    shop.start()
    sender.deliver()

    assert [one.get("opted_out") for one in _told(frozen)] == [None, "1"]


@pytest.mark.parametrize(("status", "cost"), [("sent", 2_000_000), ("failed", 0)])
def test_what_a_stopped_worker_tells_late_corrects_it(
    frozen: FrozenValkey, shop: Caller, status: str, cost: int
) -> None:
    shop.start()
    (job,) = shop.context.store.outbox.take("stopped", 9)
    made = dispatched(shop.context, job, *GATEWAYS)
    frozen.advance(SILENT)
    (taken,) = shop.context.store.outbox.claim("heir", 9, 1000 * SILENT)
    again = dispatched(shop.context, taken, *GATEWAYS)
    for _ in range(2):
        settle(shop.context, job, made, DispatchResult(NextStep.DONE, DeliveryStatus(status), cost=cost))
    settle(shop.context, taken, again, DispatchResult(NextStep.DONE, DeliveryStatus.SENT, cost=2_000_000))

    assert _outcomes(frozen) == [
        INTERRUPTED,
        ("d1.1", "first", f"delivery.{status}", "", str(cost)),
        ("d1.2", "second", "delivery.sent", "", "2000000"),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_the_calls_that_are_told_are_those_that_were_made(frozen: FrozenValkey, shop: Caller, seed: int) -> None:
    """Whatever comes together: deaths, reports early and late, refusals, cancellations, resends, the end of codes."""
    chance, made = random.Random(seed), Counter[tuple[str, str]]()

    def act(name: str) -> Callable[[], None]:
        def answer() -> None:
            message = sender.gateways[name].sent[-1]
            made[message.dispatch_id, name] += 1
            if chance.random() < 0.3:
                word = chance.choice(["sent", "delivered", "undelivered", "failed"])
                record_receipt(shop.context, name, message.dispatch_id, Receipt(DeliveryStatus(word), word))
            if chance.random() < 0.2:
                shop.cancel(message.verification_id)
            match chance.randrange(4):
                case 0:
                    die()
                case 1:
                    raise timed_out()
                case 2:
                    raise refused(chance.choice(["unavailable", "throttled", "rejected", "channel", "destination"]))

        return answer

    sender = Sender(shop, **{name: Scripted(*[act(name)] * 500) for name in GATEWAYS})
    for _ in range(25):
        shop.start()
    for _ in range(40):
        for job in [*shop.context.store.outbox.claim("heir", 99, 1000 * SILENT), *_new(shop)]:
            try:
                sender.hand_over(job)
            except KeyboardInterrupt:
                continue
        frozen.advance(chance.choice([1, SILENT, SILENT]))
        sender.go_on()

    slots = Counter[tuple[str, str]]()
    for name in frozen.client.scan_iter(keys.dispatch("00", "*")):
        slot, gateway = frozen.client.hmget(name, "slot", "gateway")
        slots[name.decode().rpartition(":")[2], gateway.decode()] += 1
        assert slot
    costs = {(one["id"], one["slot"], one["gateway"]): one["cost"] for one in _told(frozen) if one.get("cost")}
    assert POLICY.max_ambiguous == 1
    assert sum(made.values()) == len(made) > 20
    assert slots == made
    assert len(costs) == len(made)
    assert not frozen.client.exists(keys.calls("00"))


def _new(shop: Caller) -> list[Job]:
    return shop.context.store.outbox.take("worker", 99)
