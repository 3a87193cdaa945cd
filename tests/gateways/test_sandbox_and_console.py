"""The gateways for development."""

import threading
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError
from support_gateways import MESSAGE, make

from otp_service.core.errors import StoreUnavailableError
from otp_service.core.verification import DeliveryStatus
from otp_service.gateways.base import FailureKind, GatewayError, ReceiptRequest
from otp_service.gateways.contract.bench import MemoryMailbox
from otp_service.gateways.sandbox import SandboxGateway


class LostMailbox:
    def put(self, _message):
        raise StoreUnavailableError


def wait_for_a_report(provider):
    """Return a report's request once the sandbox's thread is done."""
    for thread in threading.enumerate():
        if thread.name.endswith("(_report)"):
            thread.join(5)
    (received,) = provider.received
    return received


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


@pytest.mark.parametrize("secret", [None, ""])
def test_the_sandbox_needs_a_secret_to_report(secret):
    with pytest.raises(ValidationError, match="receipt_secret is needed"):
        SandboxGateway.Settings.model_validate({"report": "delivered", "receipt_secret": secret})


def test_the_sandbox_reports_in_a_way_that_it_believes_itself(provider, monkeypatch):
    gateway = make("sandbox", report="undelivered", receipt_secret="secret-of-the-test")
    url = f"{provider.url}/v1/receipts/main/dp_1"
    gateway.send(replace(MESSAGE, receipt_url=url))
    report = wait_for_a_report(provider)

    assert (report.method, report.path) == ("POST", urlsplit(url).path)
    request = ReceiptRequest("POST", url, report.headers, {}, {}, report.body, "127.0.0.1", "dp_1")
    assert gateway.receipt(request).status is DeliveryStatus.UNDELIVERED


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

    assert slept == [3, 5]
