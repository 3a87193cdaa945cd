"""What support is told of a number: from the record while there is one, and the same from the events later."""

import re
from dataclasses import replace

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_installation import NUMBER, World
from support_outbox import Scripted, Sender, dispatched, jobs_of, refused, report, timed_out

from otp_service.bootstrap import Installation
from otp_service.domain.numbers import parse_destination
from otp_service.domain.verification import Status
from otp_service.services.number_history import NumberHistory, VerificationHistory, Why, find_number_history
from otp_service.store.events import History
from otp_service.store.scripts import ScriptRunner

GONE = 1300
"""Seconds after which nothing of a verification is left but events."""
GATEWAYS = {"first": {"kind": "sandbox"}, "second": {"kind": "sandbox"}}


@pytest.fixture
def world(frozen: FrozenValkey) -> World:
    return frozen.world()


@pytest.fixture
def installation(world: World) -> Installation:
    return world.install(gateways=GATEWAYS, routes=[{"gateways": ["first", "second"]}])


@pytest.fixture
def shop(installation: Installation) -> Caller:
    return Caller(installation)


def sender(shop: Caller, *first: object, second: tuple[object, ...] = ()) -> Sender:
    return Sender(shop, first=Scripted(*first), second=Scripted(*second))  # type: ignore[arg-type]


def found(shop: Caller, number: str = NUMBER) -> NumberHistory:
    return find_number_history(shop.context, parse_destination(number, None))


def only(shop: Caller) -> tuple[VerificationHistory, Why]:
    (case,) = found(shop).verifications
    return case.history, case.explanation.why


def told_later(shop: Caller, world: World) -> tuple[VerificationHistory, Why]:
    """Return what is told when the record has gone."""
    world.advance(GONE)
    return only(shop)


def without_times(history: VerificationHistory) -> VerificationHistory:
    return replace(history, deliveries=tuple(replace(one, at=0, begun=0) for one in history.deliveries))


def test_a_number_that_nobody_asked_for_has_no_past(shop: Caller) -> None:
    shop.start()

    assert found(shop, "+923007654321").verifications == ()


def test_the_last_verifications_of_all_applications_are_told_newest_first(
    world: World, installation: Installation, shop: Caller
) -> None:
    first = shop.start()
    world.advance(1)
    second = Caller(installation, "bank").start()

    histories = [case.history for case in found(shop).verifications]
    assert [(history.id, history.application) for history in histories] == [(second, "bank"), (first, "shop")]
    assert histories[0].started - histories[1].started == 1000


def test_neither_the_number_nor_a_code_is_told(world: World, shop: Caller) -> None:
    one = shop.start()
    code = shop.code(one)
    sender(shop, refused("unavailable")).deliver()

    for wait in (0, GONE):
        world.advance(wait)
        telling = found(shop)
        assert len(telling.verifications) == 1
        assert NUMBER[-7:] not in repr(telling)
        assert not re.search(rf"\b{code}\b", repr(telling))


def test_what_a_record_tells_the_events_tell_when_it_has_gone(world: World, shop: Caller) -> None:
    """Fail-over, an outcome that is not known, a resend and a report: gateway, choice, status, raw status, reason."""
    one = shop.start()
    sending = sender(shop, refused("unavailable"), second=(timed_out(),))
    sending.deliver()
    world.advance(30)
    shop.resend(one)
    job = jobs_of(shop.context)[-1]
    made = dispatched(shop.context, job)
    report(shop.context, made, "undelivered", gateway=made.gateway, reason="30003", raw="UNDELIV")
    shop.check(one, shop.wrong(one))
    shop.cancel(one)
    recorded, why = only(shop)

    assert [(each.gateway, each.choice, each.status, each.raw_status, each.reason) for each in recorded.deliveries] == [
        ("first", "configured", "failed", None, "unavailable http 503"),
        ("second", "fail_over", "unknown", None, "unavailable timeout"),
        ("first", "configured", "undelivered", "UNDELIV", "30003"),
    ]
    assert (recorded.status, recorded.checks, why) == (Status.CANCELED, 1, Why.UNDELIVERED)
    later, why_later = told_later(shop, world)
    assert without_times(later) == without_times(recorded)
    assert why_later == why


def test_a_code_that_was_typed_arrived_also_when_the_record_has_gone(world: World, shop: Caller) -> None:
    one = shop.start()
    sender(shop).deliver()
    shop.check(one, shop.code(one))
    recorded, why = only(shop)
    later, why_later = told_later(shop, world)

    assert (why, why_later) == (Why.CHECKED, Why.CHECKED)
    assert without_times(later) == without_times(recorded)
    assert [each.reference for each in later.deliveries] == ["SM1"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (refused("destination", "21211"), Why.DESTINATION),
        (refused("rejected", "20003"), Why.REJECTED),
        (refused("fraud", "30450"), Why.FRAUD),
    ],
)
def test_what_a_gateway_says_at_once_is_the_reason_now_and_later(
    world: World, shop: Caller, answer: object, why: Why
) -> None:
    shop.start()
    sender(shop, answer).deliver()

    assert only(shop)[1] == why
    assert told_later(shop, world)[1] == why


def test_a_message_that_was_put_back_is_not_told_as_given_up(world: World, shop: Caller) -> None:
    shop.start()
    sender(shop, timed_out(), second=(timed_out(),)).deliver()
    assert only(shop)[1] == Why.NOBODY_KNOWS
    (letter,) = shop.context.store.dead_letters.newest(1)
    shop.context.store.dead_letters.redrive(letter)

    assert only(shop)[1] == Why.TRIED_AGAIN


def test_a_call_that_a_worker_died_in_is_told_as_unknown_later(world: World, shop: Caller) -> None:
    shop.start()
    (job,) = jobs_of(shop.context)
    dispatched(shop.context, job)
    world.advance(60)
    (taken,) = shop.context.store.outbox.claim("another", 1, 0)
    made = dispatched(shop.context, taken)
    report(shop.context, made, "delivered", gateway=made.gateway)
    later, why = told_later(shop, world)

    assert [(each.status, each.reason) for each in later.deliveries] == [
        ("unknown", "interrupted"),
        ("delivered", None),
    ]
    assert why == Why.DELIVERED


def test_a_message_that_waits_is_told_with_what_it_waits_for(world: World, shop: Caller) -> None:
    shop.start()
    assert only(shop)[1] == Why.NO_WORKER

    shop.context.store.server.note_worker("one", 60)
    assert only(shop)[1] == Why.WAITS

    for name in GATEWAYS:
        shop.context.store.health.open(name, 60_000, "cli:ali")
    assert only(shop)[1] == Why.BLOCKED
    later, why = told_later(shop, world)
    assert [(each.channel, each.gateway) for each in later.deliveries] == [("sms", None)]
    assert (later.status, why) == (Status.EXPIRED, Why.TOO_LATE)


def test_what_the_events_no_longer_tell_is_said_to_be_forgotten(world: World, shop: Caller) -> None:
    shop.start()
    world.client.delete("otp:{00}:events")
    history, why = told_later(shop, world)

    assert (history.status, history.application, why) == (None, "", Why.FORGOTTEN)


def test_who_reads_is_told_when_there_is_too_much_to_read(world: World, shop: Caller) -> None:
    shop.start()
    hurried = History(world.client, ScriptRunner(world.client), ("00",), page=1, most=1)
    impatient = replace(shop.context, store=replace(shop.context.store, history=hurried))
    world.advance(GONE)

    assert found(shop).complete
    assert not find_number_history(impatient, parse_destination(NUMBER, None)).complete


def test_finding_writes_nothing(world: World, shop: Caller) -> None:
    shop.start()
    before = {key: world.client.dump(key) for key in world.client.scan_iter()}
    found(shop)

    assert {key: world.client.dump(key) for key in world.client.scan_iter()} == before


def test_a_gateway_that_could_report_but_does_not_know_where_is_not_waited_for(world: World, shop: Caller) -> None:
    asked = Caller(world.install(gateways=GATEWAYS, http={"public_url": "https://otp.example"}))

    assert found(shop).reporting == frozenset()
    assert found(asked).reporting == {"first", "second", "sandbox"}
