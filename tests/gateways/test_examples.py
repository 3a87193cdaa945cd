"""The ready configurations in ``config/examples``: complete as they stand, and understood by whom they are for."""

import json
import time
import tomllib
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest
from support_cli import run
from support_gateways import MESSAGE, make
from support_installation import key
from support_sources import ROOT

from otp_service.gateways.base import Accepted, ForgedRequestError, GatewayError, ReceiptRequest
from otp_service.testing.samples import CannedResponse

EXAMPLES = ROOT / "config" / "examples"
SECRETS = {
    "kannel": {
        "KANNEL__SECRETS__PASSWORD": "a-password-of-kannel",
        "KANNEL__RECEIPTS__SECRET": "a-secret-of-receipts",
        "KANNEL__INBOUND__SECRET": "a-secret-of-answers",
    },
    "aggregator-json": {"AGGREGATOR__SECRETS__KEY": "a-key-of-the-account"},
    "lifetimesms": {
        "LIFETIMESMS__SECRETS__TOKEN": "a-token-of-the-account",
        "LIFETIMESMS__SECRETS__SECRET": "a-secret-of-the-account",
    },
    "infobip": {"INFOBIP__SECRETS__KEY": "a-key-of-the-account", "INFOBIP__RECEIPTS__SECRET": "a-secret-of-receipts"},
    "sendpk": {"SENDPK__SECRETS__KEY": "a-key-of-the-account"},
    "jazz": {"JAZZ__SECRETS__PASSWORD": "a-password-of-jazz"},
    "zong": {"ZONG__SECRETS__PASSWORD": "a-password-of-zong"},
}
OURS = {"secret": "a-secret-of-receipts"}
PLAIN = replace(MESSAGE, text="Your Acme Shop code is 482913.")
URDU = replace(MESSAGE, text="آپ کا کوڈ 482913 ہے۔")


def section(name, gateway, provider):
    """Return an example's section of a gateway, with the stand-in in the provider's place."""
    table = tomllib.loads((EXAMPLES / f"{name}.toml").read_text())["gateways"][gateway]
    assert table.pop("kind") == "http"
    if "inbound" in table:
        table["inbound"] |= OURS
    return {**table, "url": provider.url + urlsplit(table["url"]).path}


def outcome(message, **settings):
    try:
        return make("http", **settings).send(message)
    except GatewayError as failure:
        told = str(failure.kind), failure.provider_code, failure.ambiguous
        return (*told, "of the message") if failure.message_specific else told


NOT_TRIED = ("infobip", "jazz", "lifetimesms", "sendpk", "zong")


@pytest.mark.parametrize("name", NOT_TRIED)
def test_what_nobody_has_tried_says_so_and_goes_encrypted(name):
    text = (EXAMPLES / f"{name}.toml").read_text()

    assert "NOT TRIED AGAINST THE PROVIDER" in text
    assert tomllib.loads(text)["gateways"][name]["url"].startswith("https://")
    assert ("query" in tomllib.loads(text)["gateways"][name]) == (name == "jazz"), "a query ends up in logs"


def test_every_example_is_tested():
    of_gateways = {path.stem for path in EXAMPLES.glob("*.toml") if "gateways" in tomllib.loads(path.read_text())}
    assert of_gateways == SECRETS.keys()


@pytest.mark.parametrize("name", SECRETS)
def test_an_example_is_complete_for_production_but_for_its_secrets(name):
    keys = {"OTP_SERVICE_ROOT_KEYS": f"k1:{key()}", "OTP_SERVICE_PSEUDONYM_KEY": key()}
    environ = {"OTP_SERVICE_CONFIG": str(EXAMPLES / f"{name}.toml"), **keys}
    secrets = {f"OTP_SERVICE__GATEWAYS__{variable}": value for variable, value in SECRETS[name].items()}

    complete = run("config", "check", environ=environ | secrets)
    assert (complete.exit_code, complete.output) == (
        0,
        "The configuration is complete: production, 1 application, 1 purpose, 1 gateway.\n",
    )
    for variable in secrets:
        lacking = {named: value for named, value in secrets.items() if named != variable}
        assert run("config", "check", environ=environ | lacking).exit_code == 1, variable
        assert variable in (EXAMPLES / f"{name}.toml").read_text()


@pytest.mark.parametrize(
    ("message", "unicode"), [pytest.param(PLAIN, "0", id="GSM-7"), pytest.param(URDU, "1", id="Urdu")]
)
def test_the_aggregator_with_json_is_asked_as_it_documents(provider, message, unicode):
    provider.response = CannedResponse(
        body='{"status": "success", "code": "000", "message": "Message queued successfully", '
        '"message_id": "RSMS-123456"}'
    )
    settings = section("aggregator-json", "aggregator", provider)

    assert outcome(message, secrets={"key": "secret"}, **settings) == Accepted("RSMS-123456")
    (received,) = provider.received
    assert (received.method, received.path) == ("POST", "/api/send-message")
    assert received.headers["content-type"] == "application/json"
    assert received.document == {
        "email": "otp@shop.example",
        "key": "secret",
        "mask": "ACME",
        "to": "923001234567",
        "message": message.text,
        "unicode": unicode,
    }


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("101", ("unavailable", "sending failed", False, "of the message")),
        ("201", ("unavailable", "general error", True)),
        ("202", ("account", "configuration", False)),
        ("203", ("account", "configuration", False)),
        ("204", ("account", "no balance", False)),
        ("205", ("account", "no balance", False)),
        ("999", ("unavailable", "http 200 without the mark of success", True)),
    ],
)
def test_the_codes_of_the_aggregator_with_json_are_understood(provider, code, expected):
    provider.response = CannedResponse(body=f'{{"status": "error", "code": "{code}", "message": "923001234567"}}')
    settings = section("aggregator-json", "aggregator", provider)

    assert outcome(PLAIN, secrets={"key": "secret"}, **settings) == expected


@pytest.mark.parametrize(
    ("message", "kind"),
    [pytest.param(PLAIN, {}, id="GSM-7"), pytest.param(URDU, {"type": "unicode"}, id="Urdu")],
)
def test_lifetime_sms_is_asked_as_it_documents(provider, message, kind):
    provider.response = CannedResponse(body="OK : 798149e144b88bbe5255")
    settings = section("lifetimesms", "lifetimesms", provider)

    sent = outcome(message, secrets={"token": "token", "secret": "secret"}, **settings)
    assert sent == Accepted("798149e144b88bbe5255")
    (received,) = provider.received
    assert (received.method, received.path, received.query) == ("POST", "/plain", {})
    assert received.form == {
        "api_token": "token",
        "api_secret": "secret",
        "to": "923001234567",
        "from": "ACME",
        "message": message.text,
        **kind,
    }


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("OK : 798149e144b88bbe5255", "798149e144b88bbe5255"),
        ("OK:12", "12"),
        ("OK 12 more", "12"),
        ("OK :", PLAIN.dispatch_id),
        ("OK" + 60_000 * " ", PLAIN.dispatch_id),
    ],
    ids=["as documented", "without blanks", "without a colon", "without a reference", "blanks"],
)
def test_the_reference_of_lifetime_sms_is_found_at_once(provider, answer, reference):
    provider.response = CannedResponse(body=answer)
    settings = section("lifetimesms", "lifetimesms", provider)
    began = time.monotonic()

    assert outcome(PLAIN, secrets={"token": "token", "secret": "secret"}, **settings) == Accepted(reference)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-1", ("account", "configuration", False)),
        ("-2", ("destination", "-2", False)),
        ("-2 Invalid Recipient Number.", ("destination", "-2", False)),
        ("-3", ("account", "configuration", False)),
        ("-4", ("account", "configuration", False)),
        ("-5", ("account", "configuration", False)),
        ("-6", ("account", "-6", False)),
        ("-7", ("unavailable", "-7", False, "of the message")),
        ("-8", ("account", "configuration", False)),
        ("-9", ("unavailable", "-9", True)),
        ("-10", ("unavailable", "-10", False)),
        ("-11", ("account", "configuration", False)),
        ("", ("unavailable", "http 200 without the mark of success", True)),
    ],
)
def test_the_numbers_of_lifetime_sms_are_understood(provider, text, expected):
    provider.response = CannedResponse(body=text)
    settings = section("lifetimesms", "lifetimesms", provider)

    assert outcome(PLAIN, secrets={"token": "token", "secret": "secret"}, **settings) == expected


@pytest.mark.parametrize(
    ("message", "coding"), [pytest.param(PLAIN, "0", id="GSM-7"), pytest.param(URDU, "2", id="Urdu")]
)
def test_kannel_is_asked_as_it_documents(provider, message, coding):
    provider.response = CannedResponse(status=202, body="0: Accepted for delivery")
    settings = section("kannel", "kannel", provider)
    receipts = settings.pop("receipts") | OURS

    sent = outcome(message, secrets={"password": "secret"}, receipts=receipts, **settings)
    assert sent == Accepted(message.dispatch_id)
    (received,) = provider.received
    assert (received.method, received.path) == ("GET", "/cgi-bin/sendsms")
    assert received.query == {
        "username": "otp",
        "password": "secret",
        "from": "Acme",
        "to": "+923001234567",
        "text": message.text,
        "charset": "UTF-8",
        "coding": coding,
        "validity": "5",
        "account": message.dispatch_id,
        "dlr-mask": "19",
        "dlr-url": f"{message.receipt_url}&status=%d&error=%D",
    }


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (202, "3: Queued for later delivery", Accepted(PLAIN.dispatch_id)),
        (202, "something else", ("unavailable", "http 202 without the mark of success", True)),
        (200, "0: Accepted for delivery", ("unavailable", "http 200 without the mark of success", True)),
        (
            400,
            "Number(s) has/have been denied by white- and/or black-lists.",
            ("destination", "denied by lists", False),
        ),
        (400, "Missing receiver number, rejected", ("rejected", "http 400", False)),
        (403, "Authorization failed for sendsms", ("account", "http 403", False)),
        (503, "Temporal failure, try again later.", ("unavailable", "http 503", False)),
    ],
)
def test_the_answers_of_kannel_are_understood(provider, status, body, expected):
    provider.response = CannedResponse(status=status, body=body)
    settings = section("kannel", "kannel", provider)
    receipts = settings.pop("receipts") | OURS

    assert outcome(PLAIN, secrets={"password": "secret"}, receipts=receipts, **settings) == expected


def test_infobip_is_asked_as_it_documents(provider):
    provider.response = CannedResponse(
        body='{"bulkId": "1", "messages": [{"messageId": "dp_1", "destination": "923001234567", '
        '"status": {"groupId": 1, "groupName": "PENDING", "id": 26, "name": "PENDING_ACCEPTED"}}]}'
    )
    settings = section("infobip", "infobip", provider)
    receipts = settings.pop("receipts") | OURS

    assert outcome(PLAIN, secrets={"key": "secret"}, receipts=receipts, **settings) == Accepted("dp_1")
    (received,) = provider.received
    assert (received.path, received.headers["authorization"]) == ("/sms/3/messages", "App secret")
    assert received.document == {
        "messages": [
            {
                "sender": "ACME",
                "destinations": [{"to": "923001234567", "messageId": PLAIN.dispatch_id}],
                "content": {"text": PLAIN.text},
                "options": {"validityPeriod": {"amount": PLAIN.expires_in, "timeUnit": "SECONDS"}},
                "webhooks": {
                    "delivery": {"url": PLAIN.receipt_url, "contentType": "application/json", "maxBucketSize": 1}
                },
            }
        ]
    }


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"groupId": 5, "name": "REJECTED_NOT_ENOUGH_CREDITS"}, ("account", "credits or sender", False)),
        ({"groupId": 5, "name": "REJECTED_PREFIX_MISSING"}, ("destination", "destination", False)),
        ({"groupId": 5, "name": "REJECTED_NETWORK"}, ("unavailable", "rejected", False, "of the message")),
        ({"groupId": 7}, ("unavailable", "http 200 without the mark of success", True)),
    ],
)
def test_the_answers_of_infobip_are_understood(provider, status, expected):
    provider.response = CannedResponse(body=json.dumps({"messages": [{"status": status}]}))
    settings = section("infobip", "infobip", provider)
    receipts = settings.pop("receipts") | OURS

    assert outcome(PLAIN, secrets={"key": "secret"}, receipts=receipts, **settings) == expected


@pytest.mark.parametrize(
    ("group", "error", "status", "kind"),
    [
        ("PENDING", "NO_ERROR", "sent", None),
        ("DELIVERED", "NO_ERROR", "delivered", None),
        ("UNDELIVERABLE", "EC_UNKNOWN_SUBSCRIBER", "undelivered", "destination"),
        ("EXPIRED", "EC_ABSENT_SUBSCRIBER", "expired", None),
        ("PONDERED", "NO_ERROR", "unknown", None),
    ],
)
def test_a_report_of_infobip_is_read(provider, group, error, status, kind):
    settings = section("infobip", "infobip", provider)
    settings |= {"receipts": settings["receipts"] | OURS, "secrets": {"key": "secret"}}
    gateway = make("http", **settings)
    url = gateway.sign_receipt_url(PLAIN.receipt_url, PLAIN.dispatch_id)
    result = {"to": "923001234567", "status": {"groupName": group, "name": "X"}, "error": {"name": error}}
    query, body = dict(parse_qsl(urlsplit(url).query)), json.dumps({"results": [result]}).encode()
    request = ReceiptRequest("POST", url, {}, query, {}, body, "192.0.2.7", PLAIN.dispatch_id)
    read = gateway.parse_receipt(request)

    assert (str(read.status), read.kind) == (status, kind)
    with pytest.raises(ForgedRequestError):
        gateway.parse_receipt(replace(request, query={}))


@pytest.mark.parametrize(
    ("message", "kind"), [pytest.param(PLAIN, {}, id="GSM-7"), pytest.param(URDU, {"type": "unicode"}, id="Urdu")]
)
def test_sendpk_is_asked_by_a_form(provider, message, kind):
    provider.response = CannedResponse(body="OK ID:123")

    sent = outcome(message, secrets={"key": "secret"}, **section("sendpk", "sendpk", provider))
    assert sent == Accepted(message.dispatch_id)
    (received,) = provider.received
    assert (received.method, received.path, received.query) == ("POST", "/api/sms.php", {})
    assert received.form == {
        "api_key": "secret",
        "sender": "ACME",
        "mobile": "923001234567",
        "message": message.text,
        **kind,
    }


def test_jazz_is_asked_by_its_query(provider):
    provider.response = CannedResponse(body="Message Sent Successfully!")

    sent = outcome(URDU, secrets={"password": "secret"}, **section("jazz", "jazz", provider))
    assert sent == Accepted(URDU.dispatch_id)
    (received,) = provider.received
    assert (received.method, received.path) == ("GET", "/sendsms_url.html")
    assert received.query == {
        "Username": "03001234567",
        "Password": "secret",
        "From": "ACME",
        "To": "923001234567",
        "Message": URDU.text,
    }


@pytest.mark.parametrize(
    ("message", "unicode"), [pytest.param(PLAIN, "0", id="GSM-7"), pytest.param(URDU, "1", id="Urdu")]
)
def test_zong_is_asked_in_json(provider, message, unicode):
    sent = outcome(message, secrets={"password": "secret"}, **section("zong", "zong", provider))
    assert sent == Accepted(message.dispatch_id)
    (received,) = provider.received
    assert received.path == "/reachrestapi/home/SendQuickSMS"
    assert received.document == {
        "loginId": "923101234567",
        "loginPassword": "secret",
        "Destination": "923001234567",
        "Mask": "ACME",
        "Message": message.text,
        "UniCode": unicode,
        "ShortCodePrefered": "n",
    }


@pytest.mark.parametrize(("name", "secret"), [("sendpk", "key"), ("jazz", "password")])
def test_an_answer_that_nobody_knows_may_be_a_message_that_went(provider, name, secret):
    provider.response = CannedResponse(body="7")

    told = outcome(PLAIN, secrets={secret: "secret"}, **section(name, name, provider))
    assert told == ("unavailable", "http 200 without the mark of success", True)
