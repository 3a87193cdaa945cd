"""The outbox of webhooks: written with what it tells of, taken by one worker at a time, held and replayed."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import time_machine
from sqlalchemy import select
from support_ledger_events import NUMBER, agreed, event, started
from support_webhooks import AT_ONCE, LEASE, endpoint

from otp_service.clock import now
from otp_service.domain.audit import OperatorAction, OperatorActionEntry
from otp_service.domain.consents import EVERY_APPLICATION, Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.keyring import Signer
from otp_service.domain.webhooks import (
    DELAYS,
    EndpointStatus,
    Pace,
    Webhook,
    WebhookAttempt,
    WebhookCall,
    WebhookDeliveryStatus,
    WebhookSlots,
    WebhookType,
    webhook_of,
)
from otp_service.errors import EndpointLimitError
from otp_service.ledger.retention import Purge
from otp_service.ledger.schema import ACCESS, WEBHOOKS, deliveries, endpoints, webhooks
from otp_service.ledger.webhooks import WebhookDeliveryFilter

START = 1_795_000_000
DAY = 24 * 3600
ALL = WebhookDeliveryFilter()
STORY = (
    started(),
    event("delivery.sent", at=1100, gateway="first", channel="sms", slot="d1.1", reference="r"),
    event("check.failed", at=1150, reason="wrong_code"),
    event("verification.approved", at=1200),
)


@pytest.fixture
def clock():
    with time_machine.travel(START, tick=False) as clock:
        yield clock


def claim(ledger, most=100):
    return ledger.webhook_outbox.claim(WebhookSlots(2 * most), LEASE, AT_ONCE)


def tried(status=200, **members):
    return WebhookAttempt(now(), 12, status, **members)


def found(ledger, **members):
    return ledger.webhook_outbox.find(replace(ALL, **members), 1000)


def in_flight(deliveries):
    return [WebhookCall(one.endpoint.application, one.endpoint.id, Pace.QUICK) for one in deliveries]


def test_an_application_leaves_half_of_a_workers_slots_to_others(ledger):
    for _ in range(10):
        endpoint(ledger)
    endpoint(ledger, application="bank")
    story = [Webhook(one, "verification.started", now()) for one in ["shop"] * 8 + ["bank"] * 4]
    ledger.webhook_outbox.add(story[:8])
    quick = {one.id for one in ledger.endpoints.of()}
    first = ledger.webhook_outbox.claim(WebhookSlots(16, quick=quick), LEASE, AT_ONCE)
    assert Counter(one.endpoint.application for one in first) == {"shop": 8}
    ledger.webhook_outbox.add(story[8:])
    second = ledger.webhook_outbox.claim(WebhookSlots(16, in_flight(first), quick), LEASE, AT_ONCE)

    assert Counter(one.endpoint.application for one in second) == {"bank": 4}


def test_an_endpoint_is_slow_while_its_calls_take_long_and_has_half_of_them_at_once(ledger):
    mine = endpoint(ledger)
    ledger.verifications.record([started(f"vf_{one}") for one in range(40)])
    latencies, calls = [], []
    for seconds in (0.9, 14, 0.1, 4, 0.1, 0.1):
        taken = claim(ledger)
        calls.append(len(taken))
        for one in taken:
            ledger.webhook_outbox.settle(one, WebhookAttempt(now(), round(1000 * seconds), 200))
        latencies.append(ledger.endpoints.find(mine.id).latency)

    assert latencies == [None, 14_000, 7_050, 5_525, 2_812, 1_456]
    assert calls == [4, 4, 2, 2, 2, 2]
    for one in claim(ledger):
        ledger.webhook_outbox.settle(one, WebhookAttempt(now(), 100, 200))
    assert ledger.endpoints.find(mine.id).latency is None
    assert len(claim(ledger)) == 4


def test_a_call_that_fails_late_is_slow_too(ledger):
    mine = endpoint(ledger)
    ledger.verifications.record([started()])
    (one,) = claim(ledger)
    ledger.webhook_outbox.settle(one, WebhookAttempt(now(), 15_000, 0, "timeout"))

    assert ledger.endpoints.find(mine.id).latency == 15_000


def test_what_happens_is_told_with_the_transaction_that_records_it(ledger):
    endpoint(ledger)
    ledger.verifications.record(STORY)

    told = claim(ledger)
    assert [(one.webhook.type, one.sequence) for one in sorted(told, key=lambda one: one.sequence)] == [
        ("verification.started", 1),
        ("delivery.sent", 2),
        ("verification.approved", 3),
    ]
    assert {one.webhook.verification for one in told} == {"vf_1"}
    assert {name for one in told for name in one.webhook.details} == {"purpose", "country", "channel"}


def test_what_is_recorded_twice_is_told_once(ledger):
    endpoint(ledger)
    for _ in range(2):
        ledger.verifications.record(STORY)

    assert len(found(ledger)) == 3


def test_a_webhook_is_named_after_its_event_also_in_a_copy_of_the_ledger(ledger):
    endpoint(ledger)
    ledger.verifications.record(STORY)

    assert {one.webhook for one in found(ledger)} == {told.id for told in map(webhook_of, STORY) if told}


def test_nothing_is_told_of_a_batch_that_is_not_recorded(ledger):
    endpoint(ledger)
    broken = agreed("vf_2", place=0)
    with pytest.raises(TypeError):
        ledger.verifications.record(
            [*STORY, type(broken)(broken.id, broken.at, broken.type, {**broken.fields, "consent": "{}"})]
        )

    assert found(ledger) == ()


@pytest.mark.parametrize(
    ("types", "kinds"),
    [
        (("verification",), {"verification.started", "verification.approved"}),
        (("verification.approved",), {"verification.approved"}),
        (("delivery", "verification.started"), {"delivery.sent", "verification.started"}),
        (("suppression",), set()),
        (("verification.approve",), set()),
    ],
)
def test_an_endpoint_is_told_what_it_chose(ledger, types, kinds):
    endpoint(ledger, *types)
    ledger.verifications.record(STORY)

    assert {one.type for one in found(ledger)} == kinds


def test_an_application_is_told_nothing_of_another(ledger):
    endpoint(ledger, application="bank")
    ledger.verifications.record(STORY)

    assert found(ledger) == ()


def test_an_endpoint_counts_without_a_gap_whoever_else_is_told(ledger):
    one, other = endpoint(ledger, "verification"), endpoint(ledger, "verification.approved")
    for number in range(5):
        ledger.verifications.record([started(f"vf_{number}"), event("verification.approved", f"vf_{number}", at=1200)])

    assert sorted(each.sequence for each in found(ledger, endpoint=one.id)) == list(range(1, 11))
    assert sorted(each.sequence for each in found(ledger, endpoint=other.id)) == list(range(1, 6))


def test_sequences_are_given_once_by_recorders_at_once(ledger):
    mine = endpoint(ledger)
    batches = [[started(f"vf_{batch}_{one}") for one in range(20)] for batch in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ledger.verifications.record, batches))

    assert sorted(one.sequence for one in found(ledger, endpoint=mine.id)) == list(range(1, 161))


def suppression(application="shop", **members):
    return Suppression(
        NUMBER, application, SuppressionScope.ALL, SuppressionSource.OPERATOR, "said by phone", **members
    )


def test_a_suppression_is_told_to_who_knows_the_number_by_its_last_verification(ledger):
    for whose in ("shop", "bank", "club"):
        endpoint(ledger, "suppression", application=whose)
    ledger.verifications.record([started("vf_1"), started("vf_2", at=2000)])
    other = started("vf_3", at=3000)
    ledger.verifications.record([replace(other, fields={**other.fields, "application": "bank"})])
    ledger.suppressions.add([suppression(EVERY_APPLICATION)])

    assert {(one.type, one.verification) for one in found(ledger)} == {
        ("suppression.added", "vf_2"),
        ("suppression.added", "vf_3"),
    }
    ledger.suppressions.lift(suppression(EVERY_APPLICATION, lifted=True))
    assert [one.type for one in found(ledger)].count("suppression.lifted") == 2


def test_a_suppression_of_one_application_is_told_to_no_other(ledger):
    for whose in ("shop", "bank"):
        endpoint(ledger, "suppression", application=whose)
    other = started("vf_3")
    ledger.verifications.record([started("vf_1"), replace(other, fields={**other.fields, "application": "bank"})])
    ledger.suppressions.add([suppression("bank")])

    assert [(one.verification, one.type) for one in found(ledger)] == [("vf_3", "suppression.added")]


def test_an_opt_out_that_a_gateway_told_is_a_suppression_too(ledger):
    endpoint(ledger, "suppression")
    out = event("delivery.opted_out", gateway="first", opted_out="1", pseudonym=NUMBER, ledger="0")
    ledger.verifications.record([started(), out])

    assert [one.type for one in found(ledger)] == ["suppression.added"]


def test_other_code_tells_of_a_factor_by_one_call(ledger):
    endpoint(ledger, "factor")
    ledger.webhook_outbox.add([Webhook("shop", WebhookType.FACTOR_ACTIVATED, now(), details={"factor": "fa_1"})])

    (told,) = claim(ledger)
    assert told.webhook.details == {"factor": "fa_1"}


def test_a_posting_is_one_workers_until_its_lease_is_over(ledger, clock):
    endpoint(ledger)
    ledger.verifications.record(STORY)
    first = claim(ledger)

    assert len(first) == 3
    assert claim(ledger) == []
    clock.shift(LEASE / 1000 - 1)
    assert claim(ledger) == []
    clock.shift(2)
    assert {one.id for one in claim(ledger)} == {one.id for one in first}


def test_a_late_failure_of_who_lost_the_lease_changes_nothing(ledger, clock):
    endpoint(ledger, "verification.started")
    ledger.verifications.record(STORY)
    (late,) = claim(ledger)
    clock.shift(LEASE / 1000 + 1)
    (again,) = claim(ledger)
    ledger.webhook_outbox.settle(late, tried(500))

    assert found(ledger)[0].tries == ()
    ledger.webhook_outbox.settle(again, tried(200))
    assert found(ledger)[0].status is WebhookDeliveryStatus.DELIVERED


def test_a_late_success_is_one_all_the_same(ledger, clock):
    endpoint(ledger, "verification.started")
    ledger.verifications.record(STORY)
    (late,) = claim(ledger)
    clock.shift(LEASE / 1000 + 1)
    (again,) = claim(ledger)
    ledger.webhook_outbox.settle(late, tried(200))
    ledger.webhook_outbox.settle(again, tried(500))

    assert found(ledger)[0].status is WebhookDeliveryStatus.DELIVERED


def test_workers_at_once_take_each_posting_once(ledger):
    for _ in range(3):
        endpoint(ledger)
    ledger.verifications.record([started(f"vf_{one}") for one in range(60)])
    taken, lock = [], threading.Lock()

    def work(_):
        misses = 0
        while misses < 50:
            mine = ledger.webhook_outbox.claim(WebhookSlots(16), 60_000, AT_ONCE)
            misses = 0 if mine else misses + 1
            for one in mine:
                ledger.webhook_outbox.settle(one, tried())
            with lock:
                taken.extend(one.id for one in mine)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert len(taken) == len(set(taken)) == 180


def test_an_endpoint_has_four_calls_at_once_and_one_while_it_fails(ledger, clock):
    endpoint(ledger)
    other = endpoint(ledger)
    ledger.verifications.record([started(f"vf_{one}") for one in range(10)])
    first = claim(ledger)
    assert sorted([one.endpoint.id for one in first]) == sorted(
        [*[first[0].endpoint.id] * 4, *[first[-1].endpoint.id] * 4]
    )
    mine = [one for one in first if one.endpoint.id != other.id]
    ledger.webhook_outbox.settle(mine[0], tried(500))
    assert claim(ledger) == []
    for one in mine[1:]:
        ledger.webhook_outbox.settle(one, tried(500))

    assert len(claim(ledger)) == 1


def test_a_failure_is_tried_again_by_the_schedule_and_then_no_more(ledger, clock):
    endpoint(ledger, "verification.started")
    ledger.verifications.record(STORY)
    waits = []
    for _ in DELAYS:
        (one,) = claim(ledger)
        ledger.webhook_outbox.settle(one, tried(503))
        (report,) = found(ledger)
        if report.next is not None:
            waits.append(report.next - now())
            clock.move_to((report.next - 10) / 1000)
            assert claim(ledger) == []
            clock.move_to(report.next / 1000 + 0.001)

    assert all(0.8 <= wait / (1000 * planned) <= 1.2 for wait, planned in zip(waits, DELAYS[1:], strict=True))
    assert report.status is WebhookDeliveryStatus.FAILED
    assert [one.status for one in report.tries] == [503] * len(DELAYS)
    clock.shift(30 * DAY)
    assert claim(ledger) == []


def test_who_asks_to_be_left_alone_is(ledger, clock):
    endpoint(ledger, "verification.started")
    ledger.verifications.record(STORY)
    (one,) = claim(ledger)
    ledger.webhook_outbox.settle(one, tried(429, retry_after=600.0))

    assert found(ledger)[0].next == now() + 600_000


def test_an_endpoint_that_is_gone_is_disabled_at_once_and_what_waits_is_held(ledger):
    mine = endpoint(ledger)
    ledger.verifications.record(STORY)
    first, *others = claim(ledger)

    assert ledger.webhook_outbox.settle(first, tried(410)) is EndpointStatus.GONE
    assert ledger.endpoints.find(mine.id).status is EndpointStatus.GONE
    for one in others:
        assert ledger.webhook_outbox.settle(one, tried(410)) is None
    ledger.verifications.record([started("vf_9")])
    assert {one.status for one in found(ledger)} == {WebhookDeliveryStatus.HELD}
    assert claim(ledger) == []


def test_an_endpoint_is_disabled_after_five_days_of_failures_and_not_before(ledger, clock):
    mine = endpoint(ledger, "verification.started")
    for day in range(6):
        ledger.verifications.record([started(f"vf_{day}")])
        (one, *_) = claim(ledger)
        status = ledger.webhook_outbox.settle(one, tried(500))
        assert status is (EndpointStatus.FAILING if day == 5 else None)
        clock.shift(DAY)

    assert ledger.endpoints.find(mine.id).status is EndpointStatus.FAILING


def test_a_success_ends_a_run_of_failures(ledger, clock):
    mine = endpoint(ledger, "verification.started")
    for day in range(12):
        ledger.verifications.record([started(f"vf_{day}")])
        ledger.webhook_outbox.settle(next(one for one in claim(ledger)), tried(200 if day % 4 == 3 else 500))
        clock.shift(DAY)
        for one in claim(ledger):
            ledger.webhook_outbox.settle(one, tried(200))

    assert ledger.endpoints.find(mine.id).status is EndpointStatus.ENABLED


def test_what_was_held_goes_with_a_replay_after_enabling(ledger):
    mine = endpoint(ledger)
    ledger.verifications.record(STORY)
    first, *others = claim(ledger)
    ledger.webhook_outbox.settle(others[0], tried())
    ledger.webhook_outbox.settle(first, tried(410))
    ledger.webhook_outbox.settle(others[1], tried(500))
    enabled = ledger.endpoints.change(
        mine.id, "shop", lambda one: replace(one, status=EndpointStatus.ENABLED, failing_since=None)
    )

    assert claim(ledger) == []
    assert ledger.webhook_outbox.replay_since(enabled, 0, delivered=False) == 2
    assert {one.webhook.id for one in claim(ledger)} == {first.webhook.id, others[1].webhook.id}


@pytest.mark.parametrize(
    ("since", "delivered", "count"), [(0, False, 0), (0, True, 3), (1100, True, 2), (1201, True, 0)]
)
def test_a_replay_reaches_back_to_a_time(ledger, since, delivered, count):
    mine = endpoint(ledger)
    ledger.verifications.record(STORY)
    names = {one.webhook.id: one for one in claim(ledger)}
    for one in names.values():
        ledger.webhook_outbox.settle(one, tried())

    assert ledger.webhook_outbox.replay_since(mine, since, delivered=delivered) == count
    again = claim(ledger)
    assert len(again) == count
    assert all(names[one.webhook.id].sequence == one.sequence for one in again)


def test_however_many_wait_all_are_held_and_all_are_replayed(ledger, monkeypatch):
    monkeypatch.setattr("otp_service.ledger.webhooks.CHANGE_BATCH", 16)
    mine = endpoint(ledger)
    other = endpoint(ledger)
    ledger.verifications.record([started(f"vf_{one}") for one in range(100)])
    ledger.endpoints.change(mine.id, "shop", lambda one: replace(one, status=EndpointStatus.DISABLED))

    assert [one.status for one in found(ledger, endpoint=mine.id)] == [WebhookDeliveryStatus.HELD] * 100
    assert {one.status for one in found(ledger, endpoint=other.id)} == {WebhookDeliveryStatus.WAITING}
    ledger.endpoints.change(mine.id, "shop", lambda one: replace(one, status=EndpointStatus.ENABLED))
    assert ledger.webhook_outbox.replay_since(mine, 0, delivered=False) == 100
    assert [one.status for one in found(ledger, endpoint=mine.id)] == [WebhookDeliveryStatus.WAITING] * 100


def test_a_replay_begins_the_schedule_anew(ledger, clock):
    mine = endpoint(ledger, "verification.started")
    ledger.verifications.record(STORY)
    for _ in DELAYS:
        (one,) = claim(ledger)
        ledger.webhook_outbox.settle(one, tried(503))
        clock.move_to((found(ledger)[0].next or now()) / 1000 + 0.001)
    assert ledger.webhook_outbox.replay_since(mine, 0, delivered=False) == 1
    (one,) = claim(ledger)
    ledger.webhook_outbox.settle(one, tried(503))

    assert found(ledger)[0].status is WebhookDeliveryStatus.WAITING
    assert found(ledger)[0].next - now() <= 6_000


def test_one_webhook_is_replayed_and_only_by_its_application(ledger):
    endpoint(ledger, "verification.started")
    ledger.verifications.record(STORY)
    (one,) = claim(ledger)
    ledger.webhook_outbox.settle(one, tried())

    assert ledger.webhook_outbox.replay("bank", one.webhook.id) is None
    assert ledger.webhook_outbox.replay("shop", "wh_other") is None
    assert ledger.webhook_outbox.replay("shop", one.webhook.id) == 1
    assert [again.id for again in claim(ledger)] == [one.id]


def test_what_a_worker_is_at_is_not_replayed(ledger):
    endpoint(ledger, "verification.started")
    ledger.verifications.record(STORY)
    (one,) = claim(ledger)

    assert ledger.webhook_outbox.replay("shop", one.webhook.id) == 0


def test_an_application_has_only_so_many_endpoints_however_many_are_made_at_once(ledger):
    def add(_):
        try:
            return ledger.endpoints.add(replace(template, id=f"we_{_}"), 3)
        except EndpointLimitError:
            return None

    template = endpoint(ledger)
    with ThreadPoolExecutor(6) as pool:
        made = list(filter(None, pool.map(add, range(6))))
    assert len(made) == 2
    assert len(ledger.endpoints.of("shop")) == 3


def test_a_removed_endpoint_is_found_by_nobody_and_told_nothing(ledger):
    mine = endpoint(ledger)
    gone = ledger.endpoints.change(mine.id, "shop", lambda one: replace(one, secret=""), removes=True)
    ledger.verifications.record(STORY)

    assert gone is not None
    assert ledger.endpoints.find(mine.id) is None
    assert ledger.endpoints.of() == ()
    assert found(ledger) == ()


def test_another_applications_endpoint_is_not_there(ledger):
    mine = endpoint(ledger)

    assert ledger.endpoints.find(mine.id, "bank") is None
    assert ledger.endpoints.change(mine.id, "bank", lambda one: replace(one, url="https://evil.example/")) is None
    assert ledger.endpoints.find(mine.id).url == mine.url


def test_an_operators_act_is_recorded_with_what_it_says(ledger):
    mine = endpoint(ledger)
    act = OperatorActionEntry(OperatorAction.ENDPOINT_DISABLED, "cli:ali", target=mine.id)
    ledger.endpoints.change(mine.id, None, lambda one: replace(one, status=EndpointStatus.DISABLED), act)
    ledger.endpoints.change("we_none", None, lambda one: one, act)

    (recorded,) = ledger.operator_actions.between(None, None, 10)
    assert (recorded.action, recorded.by, recorded.application, recorded.target) == (
        "endpoint-disabled",
        "cli:ali",
        "shop",
        mine.id,
    )


def test_webhooks_are_purged_by_age_and_removed_endpoints_with_keys(ledger, clock):
    mine = endpoint(ledger, "verification.started")
    ledger.verifications.record([started("vf_1", at=1000), started("vf_2", at=now())])
    ledger.endpoints.change(mine.id, "shop", lambda one: one, removes=True)
    clock.shift(1)
    endpoint(ledger)
    signer = Signer(b"s" * 32)
    for data in (WEBHOOKS, ACCESS):
        list(ledger.purges.run(Purge(data, now(), now(), signer)))
    with ledger.database.read() as connection:
        left = [len(connection.execute(select(table)).all()) for table in (webhooks, deliveries, endpoints)]

    assert left == [0, 0, 1]


def test_since_when_the_first_waits_is_told_of_enabled_endpoints_only(ledger, clock):
    mine = endpoint(ledger)
    assert ledger.webhook_outbox.oldest_due() is None
    ledger.verifications.record(STORY)
    since = now()
    clock.shift(10)
    assert ledger.webhook_outbox.oldest_due() == since
    ledger.endpoints.change(mine.id, "shop", lambda one: replace(one, status=EndpointStatus.DISABLED))
    assert ledger.webhook_outbox.oldest_due() is None
