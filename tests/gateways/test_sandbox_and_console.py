"""The gateways for development."""

import hmac
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError
from support_gateways import MESSAGE, make
from support_service import eventually

from otp_service.domain.verification import DeliveryStatus
from otp_service.errors import StoreUnavailableError
from otp_service.gateways import sandbox as sandbox_reports
from otp_service.gateways.base import FailureKind, ForgedRequestError, GatewayError, Receipt, ReceiptRequest
from otp_service.gateways.sandbox import SandboxGateway
from otp_service.testing.provider import Behaviour, FakeProvider, MemoryMailbox, ReceivedRequest

OVERTAKING = {"status": "delivered", "before_response": True}
FAILED = (FailureKind.UNAVAILABLE, "sandbox", False)


class LostMailbox:
    def put(self, _message):
        raise StoreUnavailableError


URL_OF_ANOTHER = "https://otp.example.com/v1/receipts/main/dp_2"


def reporting(provider, **faults):
    """Return a sandbox gateway with faults, and a message that it reports to the provider's stand-in."""
    gateway = make("sandbox", receipt_secret="secret-of-the-test", **faults)
    return gateway, replace(MESSAGE, receipt_url=f"{provider.url}/v1/receipts/main/dp_1")


def reports(provider, number):
    """Return as many reports as come in, in their order, once there are so many of them."""
    eventually(lambda: len(provider.received) >= number)
    return list(provider.received)


def read(gateway, report, url):
    """Return what the gateway reads in a report that came to an address."""
    return gateway.parse_receipt(ReceiptRequest("POST", url, report.headers, {}, {}, report.body, "127.0.0.1", "dp_1"))


def threads_beside(others):
    """Return the threads that post reports, without those that others' gateways still have."""
    return {thread for thread in threading.enumerate() if thread.name == "sandbox-reports"} - others


def outcome(gateway, message=MESSAGE):
    """Return the kind, the provider's code and whether it is ambiguous, or the word accepted."""
    try:
        gateway.send(message)
    except GatewayError as failure:
        return failure.kind, failure.provider_code, failure.ambiguous
    return "accepted"


def test_the_sandbox_catches_what_it_takes():
    mailbox = MemoryMailbox()
    make("sandbox", mailbox).send(MESSAGE)

    assert mailbox.messages == [MESSAGE]


@pytest.mark.parametrize("kind", FailureKind)
def test_the_sandbox_catches_nothing_of_what_it_refuses(kind):
    mailbox = MemoryMailbox()
    with pytest.raises(GatewayError) as failed:
        make("sandbox", mailbox, fail=kind).send(MESSAGE)

    assert failed.value.kind is kind
    assert mailbox.messages == []


def test_the_sandbox_catches_a_message_whose_call_timed_out():
    mailbox = MemoryMailbox()
    with pytest.raises(GatewayError) as failed:
        make("sandbox", mailbox, delay=10, timeout=0.01).send(MESSAGE)

    assert failed.value.ambiguous
    assert mailbox.messages == [MESSAGE]


def test_the_sandbox_is_unavailable_without_its_mailbox():
    with pytest.raises(GatewayError) as failed:
        make("sandbox", LostMailbox()).send(MESSAGE)

    assert (failed.value.kind, failed.value.ambiguous) == (FailureKind.UNAVAILABLE, False)


@pytest.mark.parametrize(
    ("connection", "told", "caught"),
    [
        ("refused", ("connection", False), 0),
        ("lost", ("connection", True), 1),
        ("timeout", ("timeout", True), 1),
        ("black_hole", ("timeout", True), 0),
    ],
)
def test_a_call_can_be_lost_on_its_way_with_or_without_its_message(connection, told, caught):
    mailbox = MemoryMailbox()
    gateway = make("sandbox", mailbox, connection=connection, timeout=0.3)
    began = time.monotonic()

    assert outcome(gateway) == (FailureKind.UNAVAILABLE, *told)
    assert len(mailbox.messages) == caught
    assert (time.monotonic() - began >= 0.3) == (told[0] == "timeout")


@pytest.mark.parametrize("kind", ["throttled", "unavailable", "error"])
def test_a_call_tells_when_to_come_back(kind):
    with pytest.raises(GatewayError) as failed:
        make("sandbox", fail=kind, retry_after=2.5).send(MESSAGE)

    assert failed.value.retry_after == 2.5


def test_every_nth_call_fails():
    gateway = make("sandbox", fail="unavailable", every=3)

    assert [outcome(gateway) for _ in range(7)] == ["accepted", "accepted", FAILED] * 2 + ["accepted"]


def test_every_nth_call_fails_also_when_calls_come_at_once():
    gateway = make("sandbox", fail="unavailable", every=2)
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: outcome(gateway), range(200)))

    assert outcomes.count(FAILED) == 100


@pytest.mark.parametrize(("rate", "least", "most"), [(0.0, 0, 0), (0.5, 300, 700), (1.0, 1000, 1000)])
def test_calls_fail_with_a_probability(rate, least, most):
    gateway = make("sandbox", fail="unavailable", rate=rate)

    assert least <= sum(outcome(gateway) == FAILED for _ in range(1000)) <= most


def test_a_call_that_the_fault_spares_is_as_slow_as_one_that_it_strikes():
    gateway = make("sandbox", fail="unavailable", every=2, delay=0.03)
    for expected in ("accepted", FAILED):
        began = time.monotonic()

        assert outcome(gateway) == expected
        assert time.monotonic() - began >= 0.03


@pytest.mark.parametrize(
    ("to", "covers"),
    [
        ("+923001234567", True),
        ("+92300123456", False),
        ("*4567", True),
        ("*4568", False),
        ("+92300*", True),
        ("+92301*", False),
        ("+92300*67", True),
        ("+92300*68", False),
        ("+923001234*234567", False),
        ("*", True),
    ],
)
def test_a_case_covers_numbers_by_their_digits(to, covers):
    gateway = make("sandbox", cases=[{"to": to, "fail": "unavailable"}])

    assert outcome(gateway) == (FAILED if covers else "accepted")


@pytest.mark.parametrize("to", ["", "03001234567", "+", "*12*", "+92300*x", "923001234567", "+92 300 1234567", "**"])
def test_a_pattern_that_no_number_could_match_is_refused_without_being_shown(to):
    with pytest.raises(ValidationError, match=r"cases\.0\.to") as refused:
        SandboxGateway.Settings.model_validate({"cases": [{"to": to}]})

    assert "300" not in str(refused.value)


def test_the_first_case_that_covers_a_message_decides_alone():
    cases = [
        {"to": "*67", "channels": ["voice"]},
        {"to": "*4567", "fail": "fraud", "every": 2},
        {"to": "*", "fail": "channel"},
    ]
    gateway = make("sandbox", fail="unavailable", cases=cases)

    assert outcome(gateway, replace(MESSAGE, channel="voice")) == "accepted"
    assert outcome(gateway) == "accepted"
    assert outcome(gateway, replace(MESSAGE, to="+923001234568"))[0] is FailureKind.CHANNEL
    assert outcome(gateway)[0] is FailureKind.FRAUD, "the count is the case's own"


def test_several_sandboxes_have_their_own_faults_and_one_mailbox():
    mailbox = MemoryMailbox()
    primary, backup = make("sandbox", mailbox, connection="lost"), make("sandbox", mailbox)

    assert (outcome(primary)[0], outcome(backup)) == (FailureKind.UNAVAILABLE, "accepted")
    assert mailbox.messages == [MESSAGE, MESSAGE]


@pytest.mark.parametrize(
    ("faults", "told"),
    [
        ({"fail": "fraud", "connection": "lost"}, "either fail or connection"),
        ({"fail": "fraud", "retry_after": 1}, "retry_after goes with"),
        ({"every": 2}, "every and rate need fail or connection"),
        ({"rate": 0.0}, "every and rate need fail or connection"),
        ({"fail": "fraud", "every": 2, "rate": 0.5}, "either every or rate"),
        ({"report": "sent", "reports": [{"status": "sent"}]}, "either report or reports"),
        ({"reports": [{"status": "sent", "after": 1, "before_response": True}]}, "before the answer or after it"),
        ({"report": "sent"}, "receipt_secret is needed"),
        ({"report": "sent", "receipt_secret": ""}, "receipt_secret is needed"),
        ({"cases": [{"to": "*", "reports": [{"status": "sent"}]}]}, "receipt_secret is needed"),
    ],
)
def test_faults_that_contradict_each_other_are_refused(faults, told):
    with pytest.raises(ValidationError, match=told):
        SandboxGateway.Settings.model_validate(faults)


def test_the_sandbox_reports_in_a_way_that_it_believes_itself_for_this_dispatch_only(provider):
    gateway, message = reporting(provider, report="undelivered")
    gateway.send(message)
    (report,) = reports(provider, 1)

    assert (report.method, report.path) == ("POST", urlsplit(message.receipt_url).path)
    assert read(gateway, report, message.receipt_url) == Receipt(DeliveryStatus.UNDELIVERED, "undelivered")
    with pytest.raises(ForgedRequestError):
        read(gateway, report, URL_OF_ANOTHER)


def test_a_report_tells_why_a_message_failed(provider):
    gateway, message = reporting(provider, reports=[{"status": "undelivered", "kind": "destination"}])
    gateway.send(message)
    (report,) = reports(provider, 1)

    assert read(gateway, report, message.receipt_url).kind is FailureKind.DESTINATION


@pytest.mark.parametrize("kind", ['"teleported"', "null", "[]", "{}", "7"])
def test_a_reason_that_nobody_has_seen_is_none(kind):
    gateway = make("sandbox", receipt_secret="secret-of-the-test")
    body = f'{{"status": "undelivered", "kind": {kind}}}'.encode()
    signature = hmac.digest(b"secret-of-the-test", URL_OF_ANOTHER.encode() + b"\n" + body, "sha256").hex()
    report = ReceivedRequest("POST", "", {}, {"x-sandbox-signature": signature}, body)

    assert read(gateway, report, URL_OF_ANOTHER) == Receipt(DeliveryStatus.UNDELIVERED, "undelivered")


def test_reports_come_late_twice_and_out_of_order_as_told(provider):
    told = [("delivered", 0.2), ("sent", 0.4), ("sent", 0.0), ("delivered", 0.2)]
    gateway, message = reporting(provider, reports=[{"status": status, "after": after} for status, after in told])
    began = time.monotonic()
    gateway.send(message)
    answered = time.monotonic()
    received = reports(provider, 4)

    assert [report.document["status"] for report in received] == ["sent", "delivered", "delivered", "sent"]
    assert answered - began < 0.4, "the answer waits for no report"
    assert time.monotonic() - began >= 0.4


def test_a_report_counts_its_seconds_from_the_answer(provider):
    gateway, message = reporting(provider, delay=0.2, report="delivered")
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(gateway.send, message)
        reports(provider, 1)
        assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("answer", [{}, {"connection": "timeout", "timeout": 0.5}])
def test_a_report_can_overtake_the_answer(provider, answer):
    gateway, message = reporting(provider, reports=[OVERTAKING], **answer)
    began = time.monotonic()
    outcome(gateway, message)

    assert len(provider.received) == 1
    assert time.monotonic() - began < 5, "the answer waits for the report and no longer"


def test_a_call_waits_for_a_report_that_is_to_overtake_no_longer_than_its_time_out(provider):
    provider.behaviour = Behaviour.SILENT
    gateway, message = reporting(provider, timeout=0.1, reports=[OVERTAKING] * 20)
    began = time.monotonic()

    assert outcome(gateway, message) == "accepted"
    assert time.monotonic() - began < 1.5


def test_a_message_whose_call_was_lost_is_reported_all_the_same(provider):
    gateway, message = reporting(provider, connection="lost", report="delivered")

    assert outcome(gateway, message)[2]
    assert len(reports(provider, 1)) == 1


@pytest.mark.parametrize("faults", [{"fail": "unavailable"}, {"connection": "black_hole", "timeout": 0.01}])
def test_a_message_that_was_not_caught_is_not_reported(provider, faults):
    gateway, message = reporting(provider, reports=[OVERTAKING], **faults)
    outcome(gateway, message)

    assert provider.received == []


def test_a_report_without_an_address_goes_nowhere(provider):
    gateway, _ = reporting(provider, report="delivered")
    others = threads_beside(set())

    assert outcome(gateway, replace(MESSAGE, receipt_url=None)) == "accepted"
    assert threads_beside(others) == set()


def test_a_forged_report_is_believed_by_nobody(provider):
    gateway, message = reporting(provider, reports=[{"status": "delivered", "forged": True}])
    gateway.send(message)
    (report,) = reports(provider, 1)

    assert report.headers["x-sandbox-signature"]
    with pytest.raises(ForgedRequestError):
        read(gateway, report, message.receipt_url)


def test_one_thread_posts_all_reports_and_ends_when_there_are_none_left(provider, monkeypatch):
    monkeypatch.setattr(sandbox_reports, "_IDLE_TIMEOUT", 0.2)
    others = threads_beside(set())
    gateway, message = reporting(provider, reports=[{"status": "delivered", "after": 0.1}] * 5)
    for _ in range(10):
        gateway.send(message)
    (thread,) = threads_beside(others)
    reports(provider, 50)

    assert thread.daemon, "it must not keep a process alive"
    eventually(lambda: not thread.is_alive())
    gateway.send(message)
    assert len(reports(provider, 55)) == 55


def test_what_waits_beyond_the_bound_is_lost_and_holds_nobody_up(provider, monkeypatch):
    monkeypatch.setattr(sandbox_reports, "MAX_PENDING", 2)
    gateway, message = reporting(provider, reports=[OVERTAKING, *[{"status": "sent", "after": 0.3}] * 3])
    began = time.monotonic()
    gateway.send(message)
    gateway.send(message)
    took = time.monotonic() - began
    reports(provider, 3)
    eventually(lambda: not gateway._poster._waiting)

    assert [report.document["status"] for report in provider.received] == ["delivered", "sent", "sent"]
    assert took < 5


def test_a_report_that_is_due_at_once_waits_for_no_later_one(provider):
    late = {"to": MESSAGE.to, "reports": [{"status": "delivered", "after": 30}]}
    gateway, message = reporting(provider, reports=[OVERTAKING], cases=[late])
    gateway.send(message)
    time.sleep(0.05)  # the thread waits for the late one by now
    began = time.monotonic()
    gateway.send(replace(message, to="+923001234568"))

    assert time.monotonic() - began < 5
    assert len(provider.received) == 1


def test_a_report_that_nobody_takes_is_lost_and_the_next_one_is_not(provider):
    with FakeProvider() as gone:
        nowhere = f"{gone.url}/v1/receipts/main/dp_1"
    gateway, message = reporting(provider, report="delivered")
    gateway.send(replace(message, receipt_url=nowhere))
    gateway.send(message)

    assert len(reports(provider, 1)) == 1


def test_the_console_shows_the_whole_message(capsys):
    accepted = make("console").send(replace(MESSAGE, text="one\ntwo"))

    assert accepted.reference == MESSAGE.dispatch_id
    assert capsys.readouterr().out == f"[main] sms to {MESSAGE.to}\n    one\n    two\n"


def test_the_sandbox_answers_after_its_delay_but_never_after_its_time_out(monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    make("sandbox", delay=3, timeout=5).send(MESSAGE)
    with pytest.raises(GatewayError):
        make("sandbox", delay=7, timeout=5).send(MESSAGE)

    assert slept == pytest.approx([3, 5], abs=0.5)
