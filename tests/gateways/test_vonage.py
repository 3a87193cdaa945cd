"""Vonage, beyond what the contract samples show."""

import time
from dataclasses import replace

import pytest
from pydantic import ValidationError
from support_gateways import MESSAGE, make

from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import ForgedRequestError, ReceiptRequest
from otp_service.gateways.vonage import VonageSettings, signature
from otp_service.testing.samples import CannedResponse

ACCOUNT = {"api_key": "abcd1234", "api_secret": "secret-of-the-test", "from": "AcmeInc"}
SIGNED = {"signature_secret": "signature-secret-of-the-test"}
MARKED = {"receipt_secret": "receipt-secret-of-the-test"}
URL = MESSAGE.receipt_url
SDK = {
    "message-timestamp": "2013-11-21 15:27:30",
    "messageId": "020000001B0FE827",
    "msisdn": "14843472194",
    "text": "Test again",
    "timestamp": "1385047698",
    "to": "13239877404",
    "type": "text",
}
"""Values that the tests of Vonage's SDK for PHP sign with the secret ``my_secret_key_for_testing``."""


@pytest.fixture
def vonage(provider):
    provider.response = CannedResponse(body='{"messages": [{"status": "0", "message-id": "0C1"}]}')
    return provider


def sent(vonage, message=MESSAGE, **settings):
    make("vonage", **ACCOUNT, **settings, base_url=vonage.url).send(message)
    return vonage.received[0].form


def report(body=b"", url=URL, dispatch_id=MESSAGE.dispatch_id, **query):
    return ReceiptRequest("POST", url, {}, query, {}, body, "192.0.2.7", dispatch_id)


SHA512 = (
    "e0d3c650f8c9d1a5c174d10dddbfb003e561f59b265616208b0487c5d819481c"
    "d3c311d59cf6165ecd1139622d5ba3a256c0d763ac4a9ad9144b5a426b94fe82"
)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("md5hash", "d2e7b1dc968737c5998ad624e02f90b7"),
        ("md5", "ddebd46008c2d4e93cce578a332a52d5"),
        ("sha1", "27d0d05c2876c7cb1720dbcdba4d492e1e55c09a"),
        ("sha256", "ddb8397c2b90aac7f3882d306475c9a5058c92322eef43c92b298b6e0fc0d330"),
        ("sha512", SHA512),
    ],
)
def test_a_signature_is_the_one_that_vonages_own_sdk_expects(method, expected):
    assert signature({**SDK, "sig": "not signed itself"}, "my_secret_key_for_testing", method) == expected


def test_ampersands_and_equals_signs_are_signed_as_underscores():
    """A genuine inbound message, from the tests of Vonage's SDK for PHP."""
    members = {
        "keyword": "TEST",
        "message-timestamp": "2017-04-04 22:57:47",
        "messageId": "0B00000042AC53BD",
        "msisdn": "14843472194",
        "nonce": "929d6744-bd28-42c8-b6cf-31d5b4f43732",
        "text": "Test with & and =",
        "timestamp": "1491346667",
        "to": "12192259404",
        "type": "text",
    }

    assert signature(members, "my_secret_key_for_testing", "md5hash") == "e06d9763e3fd0b9c31beb5fc2fcb011c"


@pytest.mark.parametrize(
    ("text", "kind"), [("Your {code} is €5", "text"), ("Your code’s 5", "unicode"), ("کوڈ", "unicode")]
)
def test_a_text_that_gsm_has_letters_for_is_not_sent_as_unicode(vonage, text, kind):
    assert sent(vonage, replace(MESSAGE, text=text))["type"] == kind


@pytest.mark.parametrize(("expires_in", "ttl"), [(1, "20000"), (20, "20000"), (287, "287000"), (700_000, "604800000")])
def test_a_message_lives_no_longer_than_its_code_within_the_bounds_of_vonage(vonage, expires_in, ttl):
    assert sent(vonage, replace(MESSAGE, expires_in=expires_in))["ttl"] == ttl


def test_without_a_proof_no_receipts_are_asked_for(vonage):
    assert "callback" not in sent(vonage)


@pytest.mark.parametrize("proof", [SIGNED, MARKED])
def test_with_a_proof_receipts_are_asked_for(vonage, proof):
    assert sent(vonage, **proof)["callback"] == URL


@pytest.mark.parametrize(("length", "asked"), [(100, True), (101, False)])
def test_an_address_that_vonage_would_refuse_costs_the_receipt_and_not_the_message(vonage, length, asked):
    form = sent(vonage, replace(MESSAGE, receipt_url=URL.ljust(length, "0")), **SIGNED)

    assert ("callback" in form) is asked


def test_an_address_is_marked_only_where_receipts_are_not_signed():
    marked = make("vonage", **ACCOUNT, **MARKED).sign_receipt_url(URL, MESSAGE.dispatch_id)

    assert marked.startswith(f"{URL}?t=")
    assert len(marked) == len(URL) + 15
    assert make("vonage", **ACCOUNT, **SIGNED).sign_receipt_url(URL, MESSAGE.dispatch_id) == URL


def test_a_marked_address_proves_itself_and_no_other():
    gateway = make("vonage", **ACCOUNT, **MARKED)
    token = gateway.sign_receipt_url(URL, MESSAGE.dispatch_id).partition("?t=")[2]

    assert gateway.parse_receipt(report(b'{"status": "delivered"}', t=token)).status is DeliveryStatus.DELIVERED
    for forged in (report(t=token, dispatch_id="dp_1"), report(t=token.lower()), report(t=""), report()):
        with pytest.raises(ForgedRequestError):
            gateway.parse_receipt(forged)


def test_installations_mark_addresses_differently():
    others = make("vonage", **ACCOUNT, receipt_secret="another-secret-of-the-test")
    url = make("vonage", **ACCOUNT, **MARKED).sign_receipt_url(URL, MESSAGE.dispatch_id)

    assert others.sign_receipt_url(URL, MESSAGE.dispatch_id) != url


@pytest.mark.parametrize("body", [b"", b"{}", b'{"status": "delivered"}', b"[", b'"sig"'])
def test_without_a_proof_no_receipt_is_believed(body):
    with pytest.raises(ForgedRequestError):
        make("vonage", **ACCOUNT).parse_receipt(report(body, t=""))


def signed_body(**members):
    whole = {"status": "delivered", "client-ref": MESSAGE.dispatch_id, "timestamp": str(int(time.time())), **members}
    mac = signature(whole, SIGNED["signature_secret"], "sha256")
    return "{" + ", ".join(f'"{name}": "{value}"' for name, value in {**whole, "sig": mac}.items()) + "}"


@pytest.mark.parametrize(
    "members",
    [
        {"timestamp": ""},
        {"timestamp": "1" * 5000},
        {"timestamp": "\u0661\u0667\u0669\u0665\u0660\u0660\u0660\u0660\u0660\u0660"},
        {"timestamp": "-1"},
        {"client-ref": ""},
    ],
)
def test_a_signed_receipt_without_a_time_or_a_dispatch_is_refused(members):
    gateway = make("vonage", **ACCOUNT, **SIGNED)
    assert gateway.parse_receipt(report(signed_body().encode())).status is DeliveryStatus.DELIVERED
    with pytest.raises(ForgedRequestError):
        gateway.parse_receipt(report(signed_body(**members).encode()))


def test_a_member_cannot_be_hidden_in_the_name_of_another():
    """The signature would be the same: ``&err-code=3&status=failed`` is signed as one text."""
    gateway = make("vonage", **ACCOUNT, **SIGNED)
    body = signed_body(**{"err-code": "3", "messageId": "0B1"})
    hidden = body.replace('"err-code": "3", "messageId": "0B1"', '"err-code=3&messageId": "0B1"')
    assert hidden != body
    assert gateway.parse_receipt(report(body.encode())).reason == "destination 3"
    with pytest.raises(ForgedRequestError):
        gateway.parse_receipt(report(hidden.encode()))


@pytest.mark.parametrize(
    "body", [b'{"sig": "\\ud800"}', b'{"\\udfff": 1}', b'{"status": ["delivered"]}', b"[" * 100_000]
)
def test_a_strange_body_is_refused_and_breaks_nothing(body):
    with pytest.raises(ForgedRequestError):
        make("vonage", **ACCOUNT, **SIGNED).parse_receipt(report(body))


def test_receipts_have_one_proof():
    with pytest.raises(ValidationError, match="either signature_secret or receipt_secret"):
        VonageSettings.model_validate({**ACCOUNT, **SIGNED, **MARKED})


def test_a_receipt_secret_cannot_be_guessed():
    with pytest.raises(ValidationError, match="at least 16"):
        VonageSettings.model_validate({**ACCOUNT, "receipt_secret": "short"})
