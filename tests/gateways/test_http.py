"""The HTTP gateway: what a section of the configuration can say, and what it cannot."""

import json
from dataclasses import replace

import pytest
from pydantic import ValidationError
from support_gateways import MESSAGE, make

from otp_service.gateways.base import GatewayError
from otp_service.gateways.http import HttpSettings
from otp_service.testing.samples import CannedResponse

HOSTILE = 'a"}, "to": "+1", {secret.key} {text} \\ & = ? # % + \u2028 \U0001f600\r\nX-Injected: yes'


def asked(provider, message=MESSAGE, **settings):
    """Send one message; return what the provider received."""
    make("http", secrets={"key": "k/e y&="}, **settings).send(message)
    (received,) = provider.received
    return received


def test_values_are_encoded_in_the_path_and_the_query_of_the_url(provider):
    received = asked(
        provider,
        replace(MESSAGE, text="a/b?c&d=e"),
        method="GET",
        url=f"{provider.url}/v1/{{secret.key}}/send.json?text={{text}}",
        query={"to": "{to}"},
    )

    assert received.method == "GET"
    assert received.path == "/v1/k%2Fe%20y%26%3D/send.json"
    assert received.query == {"text": "a/b?c&d=e", "to": MESSAGE.to}
    assert received.body == b""


@pytest.mark.parametrize("body", ["form", "json"])
def test_a_hostile_text_stays_one_value(provider, body):
    received = asked(
        provider, replace(MESSAGE, text=HOSTILE), url=provider.url, query={"q": "{text}"}, **{body: {"m": "<{text}>"}}
    )

    assert received.query == {"q": HOSTILE}
    assert (received.form if body == "form" else received.document) == {"m": f"<{HOSTILE}>"}
    assert "x-injected" not in received.headers


def test_json_keeps_its_shape_and_its_types(provider):
    template = {
        "messages": [{"to": ["{to_plain}"], "ttl": "{expires_in}", "note": "{expires_in} s", "flash": False}],
        "route": None,
        "version": 2,
        "{to}": "keys are left alone",
    }
    received = asked(provider, url=provider.url, json=template)

    assert received.headers["content-type"] == "application/json"
    assert received.document == {
        "messages": [{"to": [MESSAGE.to[1:]], "ttl": 287, "note": "287 s", "flash": False}],
        "route": None,
        "version": 2,
        "{to}": "keys are left alone",
    }


def test_a_text_can_be_sent_as_hexadecimal_ucs_2(provider):
    received = asked(provider, replace(MESSAGE, text="Aی😀"), url=provider.url, form={"hex": "{text_hex_ucs2}"})

    assert received.form == {"hex": "004106CCD83DDE00"}


RECEIPTS = {"allow_from": ["192.0.2.0/24"], "status": {"query": "s"}, "statuses": {"delivered": ["1"]}}


def test_the_receipts_address_is_encoded_once_with_what_is_added_to_it(provider):
    address = "{receipt_url}&status=%d&error=%%"
    message = replace(MESSAGE, receipt_url="https://otp.example/x?token=ab%20c")
    received = asked(
        provider,
        message,
        method="GET",
        url=provider.url,
        receipts=RECEIPTS,
        query={"dlr-url": address},
    )

    assert received.query == {"dlr-url": "https://otp.example/x?token=ab%20c&status=%d&error=%%"}


@pytest.mark.parametrize("body", ["form", "json"])
def test_members_whose_placeholder_has_no_value_are_left_out(provider, body):
    received = asked(
        provider,
        replace(MESSAGE, receipt_url=None),
        url=provider.url,
        receipts=RECEIPTS,
        headers={"X-Report": "{receipt_url}", "X-To": "{to_plain}"},
        query={"report": "<{receipt_url}>", "to": "{to}"},
        **{body: {"report": "{receipt_url}", "to": "{to}"}},
    )

    assert received.query == {"to": MESSAGE.to}
    assert (received.form if body == "form" else received.document) == {"to": MESSAGE.to}
    assert "x-report" not in received.headers
    assert received.headers["x-to"] == MESSAGE.to[1:]


def test_members_of_nested_json_are_left_out_too(provider):
    template = {"to": [{"number": "{to}", "report": "{receipt_url}"}], "reports": ["{receipt_url}", "x"]}
    received = asked(provider, replace(MESSAGE, receipt_url=None), url=provider.url, receipts=RECEIPTS, json=template)

    assert received.document == {"to": [{"number": MESSAGE.to}], "reports": ["x"]}


@pytest.mark.parametrize(
    ("words", "text", "expected"),
    [
        ({"gsm7": "0", "ucs2": "2"}, "Your code is {123456}\n@shop.example #123456 €ü", {"coding": "0"}),
        ({"gsm7": "0", "ucs2": "2"}, "Your “code”", {"coding": "2"}),
        ({"gsm7": "0", "ucs2": "2"}, "کوڈ 😀", {"coding": "2"}),
        ({"ucs2": "unicode"}, "Your code", {}),
        ({"ucs2": "unicode"}, "کوڈ", {"coding": "unicode"}),
    ],
)
def test_the_encoding_of_a_text_is_told_in_the_providers_word_or_not_at_all(provider, words, text, expected):
    received = asked(
        provider, replace(MESSAGE, text=text), url=provider.url, encoding=words, query={"coding": "{encoding}"}
    )

    assert received.query == expected


@pytest.mark.parametrize(("seconds", "minutes"), [(1, "1"), (60, "1"), (61, "2"), (287, "5"), (300, "5")])
def test_minutes_are_rounded_up_so_that_no_good_code_is_dropped(provider, seconds, minutes):
    received = asked(
        provider, replace(MESSAGE, expires_in=seconds), url=provider.url, query={"v": "{expires_in_minutes}"}
    )

    assert received.query == {"v": minutes}


def test_a_failure_can_be_told_to_be_ambiguous_and_takes_the_providers_wait(provider):
    provider.response = CannedResponse(status=503, headers={"Retry-After": "7"}, body="-9")
    with pytest.raises(GatewayError) as failed:
        asked(
            provider,
            url=provider.url,
            failures=[{"text": "^-9", "kind": "throttled", "code": "busy", "ambiguous": True}],
        )

    assert (str(failed.value), failed.value.ambiguous, failed.value.retry_after) == ("throttled: busy", True, 7.0)


@pytest.mark.parametrize(("status", "kind"), [(429, "throttled"), (503, "unavailable")])
def test_a_status_alone_takes_the_providers_wait_too(provider, status, kind):
    provider.response = CannedResponse(status=status, headers={"Retry-After": "90"})
    with pytest.raises(GatewayError) as failed:
        asked(provider, url=provider.url)

    assert (failed.value.kind, failed.value.retry_after) == (kind, 90.0)


def test_a_code_alone_is_for_channels_whose_words_no_country_approves(provider):
    told = {"url": provider.url, "json": {"to": "{to}", "otp": "{code}"}}
    for channels in (["sms"], ["whatsapp", "sms"]):
        with pytest.raises(ValidationError, match=r"json\.otp has \{code\}.*by sms send \{text\}"):
            make("http", **told, channels=channels)

    make("http", **told, channels=["whatsapp"]).send(replace(MESSAGE, channel="whatsapp"))
    assert provider.received[0].document == {"to": MESSAGE.to, "otp": MESSAGE.variables["code"]}


def test_a_payment_goes_only_where_its_words_do(provider):
    payment = replace(MESSAGE, channel="voice", variables={**MESSAGE.variables, "amount": "PKR 1.00", "payee": "Acme"})
    told = {"url": provider.url, "channels": ["voice"]}
    with pytest.raises(GatewayError) as refused:
        make("http", **told, json={"otp": "{code}"}).send(payment)

    assert (refused.value.kind, refused.value.provider_code, provider.received) == ("channel", "payment", [])
    make("http", **told, json={"otp": "{code}", "words": "{text}"}).send(payment)
    assert len(provider.received) == 1


def test_it_carries_the_channels_that_its_section_names():
    assert make("http", url="https://sms.example").channels == {"sms"}
    assert make("http", url="https://sms.example", channels=["voice", "whatsapp"]).channels == {"voice", "whatsapp"}


@pytest.mark.parametrize(
    ("section", "path", "word"),
    [
        ({"query": {"a": "{tp}"}}, ("query", "a"), "unknown placeholder {tp}"),
        ({"form": {"a": "{to!r}"}}, ("form", "a"), "unknown placeholder"),
        ({"form": {"a": "{to:>20}"}}, ("form", "a"), "unknown placeholder"),
        ({"form": {"a": "{}"}}, ("form", "a"), "unknown placeholder"),
        ({"form": {"a": "{secret.}"}}, ("form", "a"), "unknown placeholder"),
        ({"form": {"a": "{to.__class__}"}}, ("form", "a"), "unknown placeholder"),
        ({"form": {"a": "{"}}, ("form", "a"), "single brace"),
        ({"json": {"m": [{"to": "{tp}"}]}}, ("json",), "at m.0.to has an unknown placeholder {tp}"),
        ({"headers": {"X": "{text}"}}, ("headers", "X"), "a single line"),
        ({"url": "https://sms.example/{tp}"}, ("url",), "unknown placeholder {tp}"),
        ({"url": "ftp://sms.example"}, ("url",), "http"),
        ({"url": "https://{to}.example/"}, ("url",), "before its path"),
        ({"url": "https://user:password@sms.example/"}, ("url",), "before its path"),
        ({"query": {"a": "{secret.token}"}}, (), "query.a needs secrets.token"),
        ({"json": {"a": ["{secret.token}"]}}, (), "json.a.0 needs secrets.token"),
        ({"form": {}, "json": {}}, (), "either form, json or xml"),
        ({"success": {}}, ("success",), "needs status, json or text"),
        ({"success": {"text": "("}}, ("success", "text"), "regular expression"),
        ({"failures": [{"status": [500]}]}, ("failures", 0, "kind"), "required"),
        ({"reference": {"text": "id: .*"}}, ("reference",), "exactly one group"),
        ({"reference": {}}, ("reference",), "either json or text"),
        ({"channels": []}, ("channels",), "at least 1"),
        ({"query": {"a": "{receipt_url}"}}, (), "query.a needs receipts"),
        ({"json": {"a": [{"b": "{encoding}"}]}}, (), "json.a.0.b needs encoding"),
        ({"url": "https://sms.example/{receipt_url}"}, ("url",), "may have no value"),
        ({"basic_auth": ["user", "{encoding}"]}, ("basic_auth", 1), "may have no value"),
        ({"encoding": {}}, ("encoding",), "needs gsm7 or ucs2"),
    ],
)
def test_a_fault_in_its_section_is_told_with_its_path(section, path, word):
    with pytest.raises(ValidationError) as refused:
        HttpSettings.model_validate({"url": "https://sms.example/", **section})

    (fault,) = refused.value.errors()
    assert fault["loc"] == path
    assert word in fault["msg"]


def test_its_settings_are_shown_as_they_are_written():
    section = {
        "url": "https://sms.example/",
        "secrets": {"key": "secret"},
        "json": {"to": "{to}"},
        "success": {"json": {"status": [0, "OK"]}},
        "reference": {"text": "id=(.*)"},
    }
    shown = json.loads(HttpSettings.model_validate(section).model_dump_json(exclude_defaults=True))

    assert shown == {**section, "secrets": {"key": "**********"}}


@pytest.mark.parametrize(
    ("reference", "body", "expected"),
    [
        ({"text": r"^OK: (\S+)"}, "OK: 4f-1", "4f-1"),
        ({"json": "a.1.b"}, '{"a": [0, {"b": 7}]}', "7"),
        ({"json": "a"}, "no JSON", MESSAGE.dispatch_id),
        ({"json": "a.b"}, '{"a": "text"}', MESSAGE.dispatch_id),
        ({"json": "a.x"}, '{"a": [1]}', MESSAGE.dispatch_id),
        ({"json": "a"}, '{"a": "msg-923001234567"}', MESSAGE.dispatch_id),
        ({"json": "a"}, "[" * 50_000, MESSAGE.dispatch_id),
        ({"text": "(never)"}, "OK", MESSAGE.dispatch_id),
    ],
)
def test_the_reference_is_the_providers_or_ours(provider, reference, body, expected):
    provider.response = CannedResponse(body=body)

    assert make("http", url=provider.url, reference=reference).send(MESSAGE).reference == expected


@pytest.mark.parametrize("name", ["X-Key", "Bad Name"])
def test_a_request_that_cannot_be_made_is_our_fault_and_leaks_nothing(provider, name):
    gateway = make("http", url=provider.url, secrets={"key": "two\nlines"}, headers={name: "{secret.key}"})
    with pytest.raises(GatewayError) as failed:
        gateway.send(MESSAGE)

    assert str(failed.value) == "account: request cannot be sent"
    assert failed.value.__context__ is None
    assert provider.received == []
