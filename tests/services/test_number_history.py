"""What support is told of a number: from the record while there is one, and the same from the events later."""

import re
from dataclasses import replace

import pytest
from support_caller import Caller
from support_events import events_of, record_events
from support_frozen import FrozenValkey
from support_installation import NUMBER, World, key
from support_ledger import another_ledger
from support_outbox import Scripted, Sender, dispatched, jobs_of, refused, report, timed_out

from otp_service.bootstrap import Installation
from otp_service.domain.numbers import parse_destination
from otp_service.domain.verification import Status
from otp_service.ledger.ledger import Ledger
from otp_service.services.context import Context
from otp_service.services.events import record_events as record
from otp_service.services.number_history import (
    NumberHistory,
    VerificationHistory,
    Why,
    find_number_history,
    find_verification,
)
from otp_service.store.events import EVENT_SPAN, History
from otp_service.store.script_runner import ScriptRunner

GONE = 1300
"""Seconds after which nothing of a verification is left but events."""
GATEWAYS = {"first": {"kind": "sandbox"}, "second": {"kind": "sandbox"}}


@pytest.fixture
def world(frozen: FrozenValkey) -> World:
    return frozen.world()


@pytest.fixture
def installation(world: World) -> Installation:
    limits = {"number": ["1000/hour"]}
    return world.install(gateways=GATEWAYS, routes=[{"gateways": ["first", "second"]}], limits=limits)


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
    (job,) = [job for job in jobs_of(shop.context) if job.message == 2]
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
    hurried = History(world.client, ScriptRunner(world.client), ("00",), page=1, max_pages=1)
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


# --- ledger and events ---------------------------------------------------------------------------------------


def without_ledger(shop: Caller) -> Context:
    return replace(shop.context, ledger=Ledger("sqlite:////nowhere/ledger.db", 1.0))


def recorded(world: World, shop: Caller) -> None:
    """Record what happened, and let the stream forget it."""
    record_events(shop.context)
    world.client.xtrim("otp:{00}:events", maxlen=0, approximate=False)


def answered(shop: Caller) -> str:
    """Start a verification that two gateways fail, and that is sent again, checked and canceled."""
    one = shop.start()
    sender(shop, refused("unavailable"), second=(timed_out(),)).deliver()
    shop.check(one, shop.wrong(one))
    shop.cancel(one)
    return one


def test_the_ledger_tells_what_the_record_told_when_the_stream_has_forgotten_it(world: World, shop: Caller) -> None:
    answered(shop)
    before, why = only(shop)
    recorded(world, shop)
    later, why_later = told_later(shop, world)

    assert without_times(later) == without_times(before)
    assert why_later == why


def test_the_ledger_tells_it_too_when_redis_has_lost_everything(world: World, shop: Caller) -> None:
    ids = []
    for _ in range(21):
        ids.append(shop.start())
        world.advance(1)
    recorded(world, shop)
    world.client.flushall()
    telling = found(shop)

    assert [case.history.id for case in telling.verifications] == ids[:0:-1]
    assert {case.history.status for case in telling.verifications} == {Status.EXPIRED}
    assert (telling.complete, telling.from_ledger) == (True, True)


def test_what_is_not_recorded_yet_is_told_beside_what_is(world: World, shop: Caller) -> None:
    one = shop.start()
    sender(shop, refused("unavailable"), second=(timed_out(),)).deliver()
    recorded(world, shop)
    shop.check(one, shop.wrong(one))
    shop.cancel(one)
    other = shop.start()
    before = [case.history for case in found(shop).verifications]
    world.advance(GONE)
    later = [case.history for case in found(shop).verifications]

    assert [(each.id, each.status) for each in later] == [(other, Status.EXPIRED), (one, Status.CANCELED)]
    assert [without_times(each) for each in later[1:]] == [without_times(each) for each in before[1:]]


def test_an_event_that_a_recorder_wrote_and_did_not_acknowledge_counts_once(world: World, shop: Caller) -> None:
    one = shop.start()
    record_events(shop.context)
    shop.check(one, shop.wrong(one))
    for batch in events_of(shop.context):
        record(shop.context, batch.events)
    shop.cancel(one)

    history, _ = told_later(shop, world)
    assert (history.checks, history.status, len(history.deliveries)) == (1, Status.CANCELED, 1)


def test_what_one_recorder_still_holds_is_told_in_its_place(world: World, shop: Caller) -> None:
    """A start that is not recorded yet, though what followed it is."""
    one = shop.start()
    (held,) = shop.context.store.events.take("slow", 1)
    world.advance(2)
    shop.check(one, shop.wrong(one))
    shop.cancel(one)
    record_events_of_others(shop)
    alive = find_verification(shop.context, one).verifications[0]
    world.advance(GONE)
    later = find_verification(shop.context, one).verifications[0]

    assert held.events[0].type == "verification.started"
    assert later.events == alive.events
    assert later.history.started == alive.history.started
    assert [each.type for each in later.events] == [
        "verification.started", "check.failed", "verification.canceled",
    ]  # fmt: skip


def record_events_of_others(shop: Caller) -> None:
    for batch in events_of(shop.context):
        record(shop.context, batch.events)
        shop.context.store.events.acknowledge(batch)


def test_redis_alone_is_read_while_the_ledger_is_away_and_that_is_said(world: World, shop: Caller) -> None:
    answered(shop)
    record_events(shop.context)
    world.advance(GONE)
    whole, alone = found(shop), find_number_history(without_ledger(shop), parse_destination(NUMBER, None))

    assert (whole.from_ledger, alone.from_ledger) == (True, False)
    assert [case.history for case in alone.verifications] == [case.history for case in whole.verifications]
    assert alone.complete


def test_a_stream_that_the_ledger_has_is_not_read(world: World, shop: Caller) -> None:
    answered(shop)
    record_events(shop.context)
    world.advance(GONE)
    before = reads(world)
    (case,) = find_number_history(paged(world, shop), parse_destination(NUMBER, None)).verifications

    assert len(case.events) > 4
    assert reads(world) - before == 1


def reads(world: World) -> int:
    return int(world.client.info("commandstats").get("cmdstat_xrange", {"calls": 0})["calls"])


def paged(world: World, shop: Caller, most: int = 200) -> Context:
    """Return a context that reads the stream entry by entry."""
    history = History(world.client, ScriptRunner(world.client), ("00",), page=1, max_pages=most)
    return replace(shop.context, store=replace(shop.context.store, history=history))


def test_a_recorder_that_is_far_behind_is_not_waited_for_and_that_is_said(world: World, shop: Caller) -> None:
    shop.start()
    record_events(shop.context)
    for _ in range(25):
        shop.start("+923007654321")
    world.advance(GONE)

    assert not find_number_history(paged(world, shop), parse_destination(NUMBER, None)).complete
    assert found(shop).complete


def test_no_more_than_twenty_are_told_whoever_remembers_them(world: World, shop: Caller) -> None:
    ids = []
    for place in range(30):
        ids.append(shop.start())
        world.advance(1)
        if place == 24:
            record_events(shop.context)

    assert [case.history.id for case in found(shop).verifications] == ids[:9:-1]


# --- by identifier -------------------------------------------------------------------------------------------


def test_a_verification_is_found_by_its_identifier_with_all_that_happened(world: World, shop: Caller) -> None:
    one = answered(shop)
    shop.start()
    (case,) = find_verification(shop.context, one).verifications
    recorded(world, shop)
    (recorded_case,) = find_verification(shop.context, one).verifications
    world.advance(GONE)
    (later,) = find_verification(shop.context, one).verifications

    assert case == recorded_case
    assert (case.history.id, case.history.status, case.history.mask) == (one, Status.CANCELED, "+92 ••• ••••567")
    assert [each.type for each in case.events] == [
        *("verification.started", "delivery.failed", "delivery.unknown"),
        *("check.failed", "verification.canceled"),
    ]
    assert later.events == case.events
    assert without_times(later.history) == replace(without_times(case.history), mask="")


def test_no_pseudonym_goes_along_with_what_happened(world: World, shop: Caller) -> None:
    one = shop.start()
    telling = find_verification(shop.context, one)

    assert telling.verifications[0].events
    assert shop.context.keyring.pseudonym(NUMBER) not in repr(telling)


@pytest.mark.parametrize(
    "name", ["", "vf_", "00:1-0", "vf_k1_00" + "0" * 32, "vf_zz_ff" + "0" * 32, "'; DROP TABLE events"]
)
def test_what_nobody_knows_is_not_found(shop: Caller, name: str) -> None:
    shop.start()

    assert find_verification(shop.context, name).verifications == ()


def test_a_verification_whose_key_has_left_is_found_in_the_ledger(world: World) -> None:
    pseudonym, ledger = key(), {"url": another_ledger()}
    before = Caller(world.install(keys={"root": f"k1:{key()}", "pseudonym": pseudonym}, ledger=ledger))
    one = before.start()
    before.cancel(one)
    recorded(world, before)
    world.advance(GONE)
    later = world.install(keys={"root": f"k2:{key()}", "pseudonym": pseudonym}, ledger=ledger)
    (case,) = find_verification(later.context, one).verifications

    assert (case.history.id, case.history.status) == (one, Status.CANCELED)


def test_a_live_verification_is_found_while_the_ledger_is_away(world: World, shop: Caller) -> None:
    one = shop.start()
    telling = find_verification(without_ledger(shop), one)

    assert [case.history.id for case in telling.verifications] == [one]
    assert not telling.from_ledger


def test_one_whose_record_has_gone_before_anything_was_recorded_is_found_in_the_stream(
    world: World, shop: Caller
) -> None:
    shop.start("+923007654321")
    record_events(shop.context)
    one = shop.start()
    world.advance(GONE)
    (case,) = find_verification(shop.context, one).verifications

    assert (case.history.id, case.history.status, case.history.application) == (one, Status.EXPIRED, "shop")


def test_of_the_stream_only_the_time_of_a_live_verification_is_read_while_the_ledger_is_away(
    world: World, shop: Caller
) -> None:
    for _ in range(10):
        shop.start("+923007654321")
    sender(shop).deliver()
    world.advance(EVENT_SPAN / 1000 + 1)
    one = shop.start()
    alone = replace(paged(world, shop, most=5), ledger=without_ledger(shop).ledger)
    telling = find_verification(alone, one)

    assert (len(telling.verifications[0].events), telling.complete) == (1, True)


def test_when_a_new_code_may_be_asked_for_is_told(world: World, shop: Caller) -> None:
    one = shop.start()
    world.advance(10)
    assert found(shop).verifications[0].again_in == 20_000

    world.advance(60)
    assert found(shop).verifications[0].again_in == 0

    shop.cancel(one)
    assert found(shop).verifications[0].again_in == 0
