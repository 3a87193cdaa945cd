"""Receipts of the HTTP gateway: what a section can say of them, who is believed, and what is kept."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError
from support_gateways import make

from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import (
    FailureKind,
    ForgedRequestError,
    Receipt,
    ReceiptRequest,
    SupportsReceipts,
    SupportsSignedReceiptUrl,
)
from otp_service.gateways.http import HttpSettings

SECRET = "a-secret-of-the-tests"
DISPATCH = "dp_00112233445566778899aabbccddeeff"
URL = f"https://otp.example/v1/receipts/main/{DISPATCH}"
STATUSES = {"sent": [8], "delivered": ["1", "DELIVRD"], "undelivered": ["2"]}
BY_TOKEN = {"secret": SECRET, "status": {"query": "status"}, "statuses": STATUSES}
BY_NETWORK = {"allow_from": ["192.0.2.0/28", "2001:db8::/32"], "status": {"query": "status"}, "statuses": STATUSES}


def reporting(**receipts):
    return make("http", url="https://sms.example", receipts=receipts)


def token_of(gateway, dispatch=DISPATCH):
    return parse_qs(urlsplit(gateway.sign_receipt_url(URL, dispatch)).query)["token"][0]


def report(query=None, *, form=None, body=b"", peer="192.0.2.7", dispatch=DISPATCH):
    return ReceiptRequest("GET", URL, {}, query or {}, form or {}, body, peer, dispatch)


def test_it_reports_and_adds_to_the_address():
    gateway = reporting(**BY_TOKEN)

    assert isinstance(gateway, SupportsReceipts)
    assert isinstance(gateway, SupportsSignedReceiptUrl)
    assert gateway.sign_receipt_url(URL, DISPATCH) == f"{URL}?token=b6167ac0dd2677746e9c83db5fe56fbe"


def test_more_can_be_added_to_the_address_whether_it_has_a_token_or_not():
    for receipts in (BY_TOKEN, BY_NETWORK):
        url = reporting(**receipts).sign_receipt_url(URL, DISPATCH) + "&status=1"

        assert url.startswith(f"{URL}?")
        assert parse_qs(urlsplit(url).query)["status"] == ["1"]


def test_a_token_is_good_for_its_dispatch_and_its_secret_only():
    gateway, other = reporting(**BY_TOKEN), reporting(**{**BY_TOKEN, "secret": SECRET[::-1]})
    genuine = {"token": token_of(gateway), "status": "1"}

    assert gateway.parse_receipt(report(genuine)).status is DeliveryStatus.DELIVERED
    for forged in (
        report({**genuine, "token": token_of(gateway, f"{DISPATCH[:-1]}0")}),
        report(genuine, dispatch=f"{DISPATCH[:-1]}0"),
        report({**genuine, "token": token_of(other)}),
        report({**genuine, "token": ""}),
        report({**genuine, "token": genuine["token"][:-1]}),
        report({**genuine, "token": "é"}),
        report({"status": "1"}),
        report(form=genuine),
    ):
        with pytest.raises(ForgedRequestError):
            gateway.parse_receipt(forged)


@pytest.mark.parametrize(
    ("peer", "believed"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("2001:db8::1", True),
        ("192.0.2.16", False),
        ("::ffff:192.0.2.16", False),
        ("::192.0.2.7", False),
        ("2001:db9::1", False),
        ("", False),
        ("unix:", False),
    ],
)
def test_a_network_is_believed_in_every_spelling_and_no_other_one(peer, believed):
    gateway = reporting(**BY_NETWORK)
    if believed:
        assert gateway.parse_receipt(report({"status": "1"}, peer=peer)).status is DeliveryStatus.DELIVERED
    else:
        with pytest.raises(ForgedRequestError):
            gateway.parse_receipt(report({"status": "1"}, peer=peer))


def test_where_both_are_set_both_are_needed():
    gateway = reporting(**BY_NETWORK, secret=SECRET)
    token = token_of(gateway)

    assert gateway.parse_receipt(report({"token": token, "status": "8"})).status is DeliveryStatus.SENT
    for query, peer in (({"token": token, "status": "8"}, "198.51.100.1"), ({"status": "8"}, "192.0.2.7")):
        with pytest.raises(ForgedRequestError):
            gateway.parse_receipt(report(query, peer=peer))


def test_without_a_section_no_report_is_believed():
    gateway = make("http", url="https://sms.example")

    assert gateway.sign_receipt_url(URL, DISPATCH) == URL
    with pytest.raises(ForgedRequestError):
        gateway.parse_receipt(report({"token": "", "status": "1"}))


@pytest.mark.parametrize(
    ("word", "status", "raw"),
    [
        ("8", DeliveryStatus.SENT, "8"),
        ("DELIVRD", DeliveryStatus.DELIVERED, "DELIVRD"),
        (" delivrd ", DeliveryStatus.DELIVERED, " delivrd "),
        ("2", DeliveryStatus.UNDELIVERED, "2"),
        ("08", DeliveryStatus.UNKNOWN, "08"),
        ("BUFFERED", DeliveryStatus.UNKNOWN, "BUFFERED"),
        ("", DeliveryStatus.UNKNOWN, ""),
        ("Your code is 482913.", DeliveryStatus.UNKNOWN, ""),
        ("sent to +923001234567", DeliveryStatus.UNKNOWN, ""),
        ("x" * 41, DeliveryStatus.UNKNOWN, ""),
        ("کوڈ", DeliveryStatus.UNKNOWN, ""),
    ],
)
def test_a_status_is_normalised_and_only_plain_words_stay_beside_it(word, status, raw):
    gateway = reporting(**BY_NETWORK)

    assert gateway.parse_receipt(report({"status": word})) == Receipt(status, raw)


@pytest.mark.parametrize("place", ["query", "form", "json"])
def test_the_status_and_the_reason_stand_where_the_section_says(place):
    names = {"status": {place: "a.0.dlr"}, "reason": {place: "a.0.err"}}
    gateway = reporting(**{**BY_NETWORK, **names})
    members = {"a.0.dlr": "2", "a.0.err": "27"}
    places = {
        "query": report(members),
        "form": report(form=members),
        "json": report(body=json.dumps({"a": [{"dlr": 2, "err": 27, "text": "482913"}]}).encode()),
    }

    assert gateway.parse_receipt(places.pop(place)) == Receipt(DeliveryStatus.UNDELIVERED, "2", "27")
    for elsewhere in places.values():
        assert gateway.parse_receipt(elsewhere) == Receipt(DeliveryStatus.UNKNOWN, "")


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[" * 5000, b'{"a": 1}', b'{"a": {"b": {"c": "482913"}}}', b"2"])
def test_a_body_that_does_not_fit_is_unknown_and_not_an_error(body):
    gateway = reporting(**{**BY_NETWORK, "status": {"json": "a.b"}})

    assert gateway.parse_receipt(report(body=body)) == Receipt(DeliveryStatus.UNKNOWN, "")


@pytest.mark.parametrize(
    ("status", "code", "reason", "kind"),
    [
        ("2", "001", "destination 001", FailureKind.DESTINATION),
        ("2", "0B", "rejected 0B", FailureKind.REJECTED),
        ("2", "27", "27", None),
        ("2", "", None, None),
        ("2", "Your code is 482913", None, None),
        ("8", "001", None, None),
        ("1", "001", None, None),
        ("?", "001", "destination 001", FailureKind.DESTINATION),
    ],
)
def test_a_code_of_what_was_not_delivered_is_told_with_its_kind(status, code, reason, kind):
    kinds = {"destination": ["001"], "rejected": ["0b"]}
    gateway = reporting(**BY_NETWORK, reason={"query": "err"}, kinds=kinds)
    read = gateway.parse_receipt(report({"status": status, "err": code}))

    assert (read.reason, read.kind) == (reason, kind)


@pytest.mark.parametrize(
    ("change", "path", "word"),
    [
        ({"secret": None}, (), "needs secret or allow_from"),
        ({"secret": "short"}, ("secret",), "at least 16"),
        ({"allow_from": ["192.0.2.1/24"]}, ("allow_from", 0), "network"),
        ({"allow_from": ["0.0.0.0/0"]}, (), "proves nothing"),
        ({"allow_from": ["::/0"]}, (), "proves nothing"),
        ({"allow_from": ["::ffff:192.0.2.0/120"]}, (), "write it as IPv4"),
        ({"status": {}}, ("status",), "either query, form or json"),
        ({"status": {"query": "a", "json": "b"}}, ("status",), "either query, form or json"),
        ({"status": None}, ("status",), "valid"),
        ({"statuses": {}}, ("statuses",), "at least 1"),
        ({"statuses": {"unknown": ["9"]}}, ("statuses", "unknown", "[key]"), "sent"),
        ({"statuses": {"delivered": ["1"], "failed": [1]}}, (), "statuses has a word twice"),
        ({"kinds": {"destination": ["1"]}}, (), "kinds needs reason"),
        ({"reason": {"query": "e"}, "kinds": {"fraud": ["a"], "channel": ["A"]}}, (), "kinds has a word twice"),
        ({"surprise": 1}, ("surprise",), "not permitted"),
    ],
)
def test_a_fault_in_the_table_is_told_with_its_path(change, path, word):
    receipts = {**BY_TOKEN, **change}
    with pytest.raises(ValidationError) as refused:
        HttpSettings.model_validate({"url": "https://sms.example/", "receipts": receipts})

    (fault,) = refused.value.errors()
    assert fault["loc"] == ("receipts", *path)
    assert word in fault["msg"]
    assert SECRET not in str(refused.value)


def test_the_table_is_shown_as_it_is_written():
    receipts = {**BY_NETWORK, "secret": SECRET, "kinds": {"destination": ["1"]}, "reason": {"json": "a.b"}}
    settings = HttpSettings.model_validate({"url": "https://sms.example/", "receipts": receipts})
    shown = json.loads(settings.model_dump_json(exclude_defaults=True))

    assert shown["receipts"] == {**receipts, "secret": "**********"}
    assert HttpSettings.model_validate({**shown, "receipts": {**shown["receipts"], "secret": SECRET}}) == settings
