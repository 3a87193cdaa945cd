"""Telegram's Gateway API: what the contract suite cannot show by single messages."""

import hashlib
import hmac
import json
import time
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from otp_service.gateways.base import ForgedRequestError, Receipt, ReceiptRequest
from otp_service.gateways.telegram import TelegramGateway, TelegramSettings
from otp_service.testing.provider import FakeProvider, gateway_context
from otp_service.testing.samples import MESSAGE, CannedResponse

TOKEN = "AAHsecret-token"
NOW = 1_795_000_000
MESSAGE_HERE = replace(MESSAGE, channel="telegram")


def gateway(**members: Any) -> TelegramGateway:
    return TelegramGateway(TelegramSettings.model_validate({"token": TOKEN, **members}), gateway_context())


def report(body: bytes, stamp: str = str(NOW)) -> ReceiptRequest:
    key = hashlib.sha256(TOKEN.encode()).digest()
    signature = hmac.digest(key, f"{stamp}\n".encode() + body, "sha256").hex()
    headers = {"x-request-timestamp": stamp, "x-request-signature": signature}
    return ReceiptRequest("POST", "https://otp.example/", headers, {}, {}, body, "192.0.2.7", MESSAGE.dispatch_id)


def telling(**members: object) -> bytes:
    return json.dumps({"payload": MESSAGE.dispatch_id, **members}).encode()


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"ttl": 29}, "greater than or equal to 30"),
        ({"ttl": 3601}, "less than or equal to 3600"),
        ({"token": ""}, "at least 1 item"),
        ({"sender_username": "@acme"}, "match pattern"),
    ],
)
def test_settings_that_cannot_work_are_refused(members: dict[str, Any], sentence: str):
    with pytest.raises(ValidationError, match=sentence):
        gateway(**members)


@pytest.mark.parametrize(
    ("left", "ttl", "asked"), [(287, None, 287), (5, None, 30), (287, 60, 60), (45, 60, 45), (7200, None, 3600)]
)
def test_telegram_tries_as_long_as_the_code_lives_and_no_longer_than_it_may(left: int, ttl: int | None, asked: int):
    with FakeProvider() as provider:
        provider.response = CannedResponse(body='{"ok": true, "result": {"request_id": "1"}}')
        gateway(base_url=provider.url, ttl=ttl).send(replace(MESSAGE_HERE, expires_in=left))
        assert provider.received[0].document["ttl"] == asked


def test_without_a_public_address_no_receipt_is_asked_for():
    with FakeProvider() as provider:
        provider.response = CannedResponse(body='{"ok": true, "result": {"request_id": "1"}}')
        gateway(base_url=provider.url).send(replace(MESSAGE_HERE, receipt_url=None))
        assert "callback_url" not in provider.received[0].document


@pytest.mark.parametrize("stamp", [str(NOW - 301), str(NOW + 301), "", "now", "-1", "1" * 11, "\u0661"])
def test_a_report_of_another_time_or_none_is_refused(stamp: str):
    with pytest.raises(ForgedRequestError):
        gateway().parse_receipt(report(telling(), stamp))
    assert gateway().parse_receipt(report(telling(), str(NOW - 300))).status == "unknown"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"\xff", b"[" * 5000, b'{"payload": null}', b'{"payload": ["dp_1"]}']
)
def test_a_signed_report_that_names_no_dispatch_or_another_is_refused(body: bytes):
    with pytest.raises(ForgedRequestError):
        gateway().parse_receipt(report(body))


@pytest.mark.parametrize("delivery", [None, [], "sent", {}, {"status": None}, {"status": ["sent"]}])
def test_a_report_of_a_new_form_is_unknown(delivery: object):
    read = gateway().parse_receipt(report(telling(delivery_status=delivery, is_refunded="yes")))

    assert read == Receipt(read.status, read.raw_status)
    assert read.status == "unknown"
