"""The sending of webhooks: signed as the official packages verify, bounded, tried again, shared by workers."""

import base64
import json
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError
from support_ledger_events import event, started
from support_service import eventually
from support_webhooks import LOOPBACK, receiving

from otp_service.clock import now
from otp_service.domain.keyring import Keyring
from otp_service.domain.webhooks import EndpointStatus, WebhookDeliveryStatus, WebhookSlots, signature_headers
from otp_service.errors import LedgerUnavailableError
from otp_service.ledger.webhooks import WebhookDeliveryFilter
from otp_service.services.webhooks import (
    Actor,
    add_endpoint,
    enable_endpoint,
    remove_endpoint,
    replay_since,
    reseal_secrets,
    root_keys_in_use,
    rotate_endpoint,
    send_webhook,
)
from otp_service.telemetry import metrics
from otp_service.worker.webhooks import WebhookSender

BY = Actor("tests", "shop")
OLD, NEW = b"o" * 32, b"n" * 32


@pytest.fixture
def receiver():
    with receiving() as opened:
        yield opened


@pytest.fixture
def site(world, ledger_url):
    """An installation whose webhooks may go to this host."""
    made = world.install(
        ledger={"url": ledger_url}, webhooks={"networks": LOOPBACK, "timeout": 1.0}, worker={"claim_margin": 0.5}
    )
    yield made
    made.context.ledger.database.close()


def endpoint(site, receiver, path="/ok", *types):
    return add_endpoint(site.context, "shop", receiver.url + path, types or ("verification",), BY)


def tell(site, count=1, kind="verification.approved"):
    site.context.ledger.verifications.record([event(kind, f"vf_{one}", at=now()) for one in range(count)])


def reports(site):
    return site.context.ledger.webhook_outbox.find(WebhookDeliveryFilter(), 10_000)


@contextmanager
def sending(*sites):
    """Send with a worker for each site."""
    senders = [WebhookSender(site, f"worker-{place}") for place, site in enumerate(sites)]
    for sender in senders:
        sender.start()
    try:
        yield
    finally:
        for sender in senders:
            sender.stop()


def send_now(site, most=100):
    """Send what is due, one after the other."""
    for delivery in site.context.ledger.webhook_outbox.claim(WebhookSlots(2 * most), site.settings.webhook_lease, 4):
        send_webhook(site.context, delivery)


def test_the_vector_of_the_standard_is_reproduced():
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signature_headers([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_official_package_verifies_what_is_sent_and_nothing_else(site, receiver):
    made = endpoint(site, receiver)
    tell(site)
    send_now(site)
    (request,) = receiver.requests
    verifier = Verifier(made.secret)

    assert verifier.verify(request.body, request.headers) == request.json
    for wrong in (
        (request.body + b" ", request.headers),
        (request.body, {**request.headers, "webhook-id": "wh_other"}),
        (request.body, {**request.headers, "webhook-timestamp": str(int(request.headers["webhook-timestamp"]) + 1)}),
    ):
        with pytest.raises(WebhookVerificationError):
            verifier.verify(*wrong)


def test_a_body_is_thin_and_says_what_happened(site, receiver):
    endpoint(site, receiver)
    site.context.ledger.verifications.record([started("vf_1", at=1_795_000_000_123, metadata="x", attempt="y")])
    send_now(site)
    (request,) = receiver.requests

    assert request.json == {
        "type": "verification.started",
        "timestamp": "2026-11-18T11:06:40.123Z",
        "data": {
            "id": request.id,
            "sequence": 1,
            "application": "shop",
            "verification": "vf_1",
            "purpose": "login",
            "country": "PK",
            "channel": "sms",
        },
    }
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == "otp-service"


def test_within_a_rotation_both_secrets_verify_and_then_the_new_one_alone(site, receiver):
    made = endpoint(site, receiver)
    rotated = rotate_endpoint(site.context, made.endpoint.id, 60, BY)
    tell(site)
    send_now(site)
    for secret in (made.secret, rotated.secret):
        Verifier(secret).verify(receiver.requests[0].body, receiver.requests[0].headers)
    assert len(receiver.requests[0].headers["webhook-signature"].split(" ")) == 2

    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=61)):
        tell(site, kind="verification.failed")
        send_now(site)
        last = receiver.requests[-1]
        Verifier(rotated.secret).verify(last.body, last.headers)
        with pytest.raises(WebhookVerificationError):
            Verifier(made.secret).verify(last.body, last.headers)


def test_a_rotation_without_overlap_ends_the_old_secret_at_once(site, receiver):
    made = endpoint(site, receiver)
    rotate_endpoint(site.context, made.endpoint.id, 0, BY)
    tell(site)
    send_now(site)

    with pytest.raises(WebhookVerificationError):
        Verifier(made.secret).verify(receiver.requests[0].body, receiver.requests[0].headers)


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/ok", 200, ""),
        ("/created", 201, ""),
        ("/bad", 500, ""),
        ("/hang", 0, "timeout"),
        ("/drip", 0, "timeout"),
        ("/drip-fields", 200, ""),
        ("/drip-busy", 503, ""),
        ("/redirect", 307, ""),
        ("/close", 0, "connection"),
        ("/endless", 200, ""),
    ],
)
def test_only_2xx_is_a_success_and_each_try_is_told(site, receiver, path, status, reason):
    receiver.answers.update({"/bad": 500, "/created": 201})
    endpoint(site, receiver, path)
    tell(site)
    send_now(site)
    (report,) = reports(site)

    assert [(one.status, one.reason) for one in report.tries] == [(status, reason)]
    delivered = 200 <= status < 300
    assert report.status is (WebhookDeliveryStatus.DELIVERED if delivered else WebhookDeliveryStatus.WAITING)
    assert (report.next is None) is delivered
    assert [one.path for one in receiver.requests] == [path]


def test_an_endpoint_that_answers_410_is_disabled_and_told_to_the_operator(site, receiver, caplog, capsys):
    receiver.answers["/gone"] = 410
    made = endpoint(site, receiver, "/gone")
    tell(site, 3)
    send_now(site, 1)
    tell(site, 1, "verification.failed")
    send_now(site)

    assert site.context.ledger.endpoints.find(made.endpoint.id).status is EndpointStatus.GONE
    assert len(receiver.requests) == 1
    assert "endpoint_disabled" in capsys.readouterr().out
    receiver.answers["/gone"] = 200
    enable_endpoint(site.context, made.endpoint.id, BY)
    send_now(site)
    assert len(receiver.requests) == 1
    assert replay_since(site.context, made.endpoint.id, 0, BY) == 4
    send_now(site)
    assert {one.status for one in reports(site)} == {WebhookDeliveryStatus.DELIVERED}


def test_a_repetition_has_the_same_id_sequence_and_body_and_a_time_of_its_own(site, receiver):
    receiver.answers["/bad"] = 500
    endpoint(site, receiver, "/bad")
    tell(site)
    send_now(site)
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=10)):
        send_now(site)
    one, other = receiver.requests

    assert (one.id, one.body) == (other.id, other.body)
    assert one.headers["webhook-timestamp"] != other.headers["webhook-timestamp"]


def test_several_workers_deliver_all_once_and_call_an_endpoint_four_times_at_once(site, receiver):
    receiver.slow = 0.05
    endpoint(site, receiver)
    tell(site, 60)
    with sending(site, site, site):
        eventually(lambda: {one.status for one in reports(site)} == {WebhookDeliveryStatus.DELIVERED})

    assert sorted(one.json["data"]["sequence"] for one in receiver.requests) == list(range(1, 61))
    assert 1 < receiver.most_at_once <= 4


def test_receivers_that_hang_do_not_hold_up_the_others(site, receiver):
    with receiving() as dead:
        for _ in range(3):
            endpoint(site, dead, "/hang")
        endpoint(site, receiver)
        tell(site, 40)
        began = time.monotonic()
        with sending(site):
            eventually(lambda: len(receiver.requests) >= 40, 15)

    assert time.monotonic() - began < 10


def test_a_worker_that_stops_finishes_what_it_is_at(site, receiver):
    receiver.slow = 0.5
    endpoint(site, receiver)
    tell(site, 1)
    with sending(site):
        eventually(lambda: receiver.requests)

    assert reports(site)[0].status is WebhookDeliveryStatus.DELIVERED


def test_receivers_that_hang_do_not_hold_up_the_end_or_a_reload_of_a_worker(world, ledger_url, receiver):
    site = world.install(ledger={"url": ledger_url}, webhooks={"networks": LOOPBACK, "timeout": 10.0})
    endpoint(site, receiver, "/hang")
    tell(site, 3)
    with sending(site):
        eventually(lambda: receiver.requests)
        began = time.monotonic()

    assert time.monotonic() - began < 4.5
    site.context.ledger.database.close()


def test_disabled_endpoints_are_counted_until_they_are_removed(site, receiver):
    receiver.answers["/gone"] = 410
    made, sender = endpoint(site, receiver, "/gone"), WebhookSender(site, "worker")
    tell(site)
    send_now(site)
    counts = []
    for act in (lambda *_: None, remove_endpoint):
        act(site.context, made.endpoint.id, BY)
        sender._count_endpoints()
        counts.append(metrics.REGISTRY.get_sample_value("otp_service_endpoints_disabled", {"application": "shop"}))

    assert counts == [1.0, 0.0]


def test_a_slow_endpoint_is_logged_once_and_counted_until_it_is_quick_again(site, receiver, capsys):
    made, sender = endpoint(site, receiver), WebhookSender(site, "worker")
    counts = []
    for seconds, calls in ((1.05, 1), (1.05, 1), (0.0, 2)):
        receiver.slow = seconds
        for _ in range(calls):
            tell(site, kind="verification.failed")
            send_now(site)
        sender._count_endpoints()
        counts.append(metrics.REGISTRY.get_sample_value("otp_service_endpoints_slow", {"application": "shop"}))

    assert counts == [1.0, 1.0, 0.0]
    said = capsys.readouterr().out
    assert said.count("endpoint_slow") == 1
    assert made.endpoint.id in said


def test_an_outcome_that_could_not_be_noted_is_sent_once_more(site, receiver, monkeypatch):
    endpoint(site, receiver)
    tell(site)
    own, failures = site.context.ledger.webhook_outbox, [True]
    settle = type(own).settle

    def away(outbox, *arguments):
        if outbox is own and failures:  # a worker of the test before may still be at its last one
            failures.clear()
            raise LedgerUnavailableError("away")
        return settle(outbox, *arguments)

    monkeypatch.setattr(type(own), "settle", away)
    with sending(site):
        eventually(lambda: reports(site)[0].status is WebhookDeliveryStatus.DELIVERED)

    assert len(receiver.requests) == 2
    assert len({one.id for one in receiver.requests}) == 1


def test_a_defect_ends_no_worker(site, receiver, monkeypatch):
    endpoint(site, receiver)
    calls = iter([True])

    def broken(context, delivery):
        if next(calls, False):
            raise RuntimeError("a defect")
        send_webhook(context, delivery)

    monkeypatch.setattr("otp_service.worker.webhooks.send_webhook", broken)
    tell(site)
    with sending(site):
        eventually(lambda: reports(site)[0].status is WebhookDeliveryStatus.DELIVERED)


def test_a_target_that_became_forbidden_is_not_called(site, receiver):
    endpoint(site, receiver)
    tell(site)
    (delivery,) = site.context.ledger.webhook_outbox.claim(WebhookSlots(2), 1000, 4)
    targets = replace(site.context.webhooks.targets, networks=())
    send_webhook(replace(site.context, webhooks=replace(site.context.webhooks, targets=targets)), delivery)

    assert reports(site)[0].tries[0].reason == "address not allowed"
    assert receiver.requests == []


def with_keys(site, **roots):
    return replace(site.context, keyring=Keyring(roots, b"p" * 32))


def test_secrets_outlive_a_root_key_once_they_are_sealed_anew(site, receiver):
    old, both, new = with_keys(site, k1=OLD), with_keys(site, k2=NEW, k1=OLD), with_keys(site, k2=NEW)
    made = add_endpoint(old, "shop", receiver.url + "/ok", ("verification",), BY)
    rotated = rotate_endpoint(old, made.endpoint.id, 3600, BY)

    assert root_keys_in_use(both.ledger.endpoints.of(), now()) == {"k1": 1}
    assert reseal_secrets(new, "cli:ali") == (0, 1)
    assert reseal_secrets(both, "cli:ali") == (1, 0)
    assert reseal_secrets(both, "cli:ali") == (0, 0)
    assert root_keys_in_use(both.ledger.endpoints.of(), now()) == {"k2": 1}
    tell(site)
    (delivery,) = new.ledger.webhook_outbox.claim(WebhookSlots(2), 1000, 4)
    send_webhook(new, delivery)
    for secret in (made.secret, rotated.secret):
        Verifier(secret).verify(receiver.requests[0].body, receiver.requests[0].headers)


def test_without_its_root_key_a_webhook_waits_and_no_try_is_counted(site, receiver, capsys):
    add_endpoint(with_keys(site, k1=OLD), "shop", receiver.url + "/ok", ("verification",), BY)
    tell(site)
    (delivery,) = site.context.ledger.webhook_outbox.claim(WebhookSlots(2), 1000, 4)
    send_webhook(with_keys(site, k2=NEW), delivery)
    (report,) = reports(site)

    assert report.tries == ()
    assert report.status is WebhookDeliveryStatus.WAITING
    assert report.next - now() > 200_000
    assert receiver.requests == []
    assert "webhook_secret_unreadable" in capsys.readouterr().out


def test_a_secret_that_was_moved_to_another_endpoint_signs_nothing(site, receiver):
    one, other = endpoint(site, receiver), endpoint(site, receiver, "/other")
    stolen = replace(one.endpoint, secret=other.endpoint.secret)
    site.context.ledger.endpoints.change(one.endpoint.id, "shop", lambda _: stolen)
    tell(site)
    send_now(site)

    assert [request.path for request in receiver.requests] == ["/other"]


def test_nothing_of_a_receivers_answer_is_kept(site, receiver):
    endpoint(site, receiver)
    tell(site)
    send_now(site)

    assert "ok" not in json.dumps([one.reason for one in reports(site)[0].tries])


def test_threads_end_with_the_worker(site):
    before = threading.active_count()
    with sending(site), suppress(AssertionError):
        eventually(lambda: False, 0.3)

    assert threading.active_count() == before
