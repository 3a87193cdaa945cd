"""What is not understood completely is refused, counts nowhere, and is never echoed."""

import json
import logging
from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support_api import START, Api, code_of
from support_installation import NUMBER, TRANSACTION

SECRET = "+923009999999"
DEEP = b"[" * 8000
MALFORMED = {
    "empty": b"",
    "blank": b"  ",
    "text": b"to=+923001234567",
    "cut": b'{"to": "+923001234567"',
    "comma": b'{"to": "+923001234567",}',
    "two documents": b"{}{}",
    "byte order mark": b'\xef\xbb\xbf{"to": "+923001234567"}',
    "UTF-16": '{"to": "+923001234567"}'.encode("utf-16"),
    "latin-1": '{"to": "é"}'.encode("latin-1"),
    "overlong": b'{"to": "\xc0\xaf"}',
    "raw NUL": b'{"to": "+92300\x001234567"}',
    "raw line feed": b'{"to": "+92300\n1234567"}',
    "NaN": b'{"to": NaN}',
    "Infinity": b'{"to": -Infinity}',
    "huge integer": b'{"to": ' + b"9" * 8000 + b"}",
    "deep list": DEEP,
    "deep object": b'{"a":' * 1600,
    "twice": b'{"to": "+923001234567", "to": "+923001234568"}',
    "twice, escaped": b'{"to": "+923001234567", "\\u0074o": "+923001234568"}',
    "twice, below": b'{"to": "+923001234567", "metadata": {"a": "1", "a": "2"}}',
    "lone surrogate": b'{"to": "\\ud800"}',
    "lone surrogate in metadata": b'{"to": "+923001234567", "metadata": {"a": "\\uDEAD"}}',
    "lone surrogate as a name": b'{"to": "+923001234567", "metadata": {"\\udc00": "a"}}',
    "null": b"null",
    "list": b'[{"to": "+923001234567"}]',
    "string": b'"+923001234567"',
    "number": b"923001234567",
    "true": b"true",
}
WRONG_FORM = [
    ({}, "/to", "is missing"),
    ({"to": None}, "/to", "is not a string"),
    ({"to": 923001234567}, "/to", "is not a string"),
    ({"to": 9.5}, "/to", "is not a string"),
    ({"to": True}, "/to", "is not a string"),
    ({"to": [NUMBER]}, "/to", "is not a string"),
    ({"to": {"number": NUMBER}}, "/to", "is not a string"),
    ({"to": NUMBER, "too": NUMBER}, "/too", "is not known"),
    ({"to": NUMBER, "To": NUMBER}, "/To", "is not known"),
    ({"to": NUMBER, SECRET: 1}, "", "has a member that is not known"),
    ({"to": NUMBER, "x923001234567": 1}, "", "has a member that is not known"),
    ({"to": NUMBER, "a/b~c": 1}, "", "has a member that is not known"),
    ({"to": NUMBER, "code": "123456"}, "/code", "is not known"),
    ({"to": NUMBER, "region": "pk"}, "/region", "is not two capital letters, such as PK"),
    ({"to": NUMBER, "region": "PAK"}, "/region", "is not two capital letters, such as PK"),
    ({"to": NUMBER, "region": "PK\n"}, "/region", "is not two capital letters, such as PK"),
    ({"to": NUMBER, "region": "ZZ"}, "/region", "is not a country with a numbering plan"),
    ({"to": NUMBER, "channel": "pigeon"}, "/channel", "is not 'sms', 'voice', 'whatsapp' or 'telegram'"),
    ({"to": NUMBER, "channel": "SMS"}, "/channel", "is not 'sms', 'voice', 'whatsapp' or 'telegram'"),
    ({"to": NUMBER, "channel": ["sms"]}, "/channel", "is not 'sms', 'voice', 'whatsapp' or 'telegram'"),
    ({"to": NUMBER, "purpose": "Log in"}, "/purpose", "is not a name of 1 to 32 characters a-z, 0-9, _ and -"),
    ({"to": NUMBER, "purpose": "a:{b}*"}, "/purpose", "is not a name of 1 to 32 characters a-z, 0-9, _ and -"),
    ({"to": NUMBER, "purpose": ""}, "/purpose", "is not a name of 1 to 32 characters a-z, 0-9, _ and -"),
    ({"to": NUMBER, "purpose": None}, "/purpose", "is not a string"),
    ({"to": NUMBER, "locale": "english!"}, "/locale", "is not a language tag, such as ur-PK"),
    ({"to": NUMBER, "locale": "en" + "-abcdefgh" * 4}, "/locale", "has more than 35 characters"),
    ({"to": NUMBER, "client_ip": "300.1.1.1"}, "/client_ip", "is not an IPv4 or IPv6 address"),
    ({"to": NUMBER, "client_ip": "1.1.1.1, 2.2.2.2"}, "/client_ip", "is not an IPv4 or IPv6 address"),
    ({"to": NUMBER, "client_ip": "fe80::1%eth0"}, "/client_ip", "is not an IPv4 or IPv6 address"),
    ({"to": NUMBER, "client_ip": ""}, "/client_ip", "is not an IPv4 or IPv6 address"),
    ({"to": NUMBER, "client_ip": 16843009}, "/client_ip", "is not a string"),
    ({"to": NUMBER, "context": "x" * 129}, "/context", "has more than 128 characters"),
    ({"to": NUMBER, "context": "a\x00b"}, "/context", "has control characters"),
    ({"to": NUMBER, "metadata": []}, "/metadata", "is not an object"),
    ({"to": NUMBER, "metadata": {"a": 1}}, "/metadata/a", "is not a string"),
    ({"to": NUMBER, "metadata": {"a": None}}, "/metadata/a", "is not a string"),
    ({"to": NUMBER, "metadata": {"a": "x" * 201}}, "/metadata/a", "has more than 200 characters"),
    ({"to": NUMBER, "metadata": {"a": {"b": "c"}}}, "/metadata/a", "is not a string"),
    ({"to": NUMBER, "metadata": {"": "x"}}, "/metadata", "has a member that has fewer than 1 characters"),
    ({"to": NUMBER, "metadata": {"x" * 41: "x"}}, "/metadata", "has a member that has more than 40 characters"),
    ({"to": NUMBER, "metadata": {str(n): "x" for n in range(11)}}, "/metadata", "has more than 10 members"),
    ({"to": NUMBER, "transaction": "1500 PKR"}, "/transaction", "is not an object"),
    ({"to": NUMBER, "transaction": {"amount": "1", "payee": "D"}}, "/transaction/currency", "is missing"),
    ({"to": NUMBER, "transaction": {**TRANSACTION, "amount": 1500}}, "/transaction/amount", "is not a string"),
    ({"to": NUMBER, "transaction": {**TRANSACTION, "text": "Pay"}}, "/transaction/text", "is not known"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_json_is_refused_and_counts_nowhere(api: Api, name: str):
    answer = api.raw(START, MALFORMED[name])

    assert code_of(answer) == (400, "invalid-request")
    assert [fault["pointer"] for fault in answer.json["errors"]] == [""]
    assert api.keys() == set()


@pytest.mark.parametrize(("body", "pointer", "message"), WRONG_FORM)
def test_a_body_of_the_wrong_form_is_refused_with_the_place_and_counts_nowhere(
    api: Api, body: dict, pointer: str, message: str
):
    answer = api.post(START, body)

    assert code_of(answer) == (400, "invalid-request")
    assert answer.json["errors"] == [{"pointer": pointer, "message": message}]
    assert api.keys() == set()
    assert "92300" not in answer.text


def test_all_defects_are_told_at_once_up_to_a_bound(api: Api):
    answer = api.post(START, {"region": 1, "channel": 2, "surplus": 3})
    pointers = {fault["pointer"] for fault in answer.json["errors"]}
    many = api.post(START, {f"member-{chr(97 + n % 26)}{chr(97 + n // 26)}": n for n in range(300)})

    assert pointers == {"/to", "/region", "/channel", "/surplus"}
    assert len(many.json["errors"]) == 20


@pytest.mark.parametrize("name", ["code", "transaction"])
@pytest.mark.parametrize("value", [123456, 12345.6, True, ["123456"], {"a": 1}])
def test_a_check_takes_strings_only_and_a_refused_one_is_no_guess(api: Api, name: str, value: object):
    one = api.start()
    before = {key: api.world.client.dump(key) for key in api.keys()}
    body = {"code": "000000", **({"transaction": {"amount": value}} if name == "transaction" else {"code": value})}

    answer = api.post(f"{START}/{one}/check", body)

    assert code_of(answer) == (400, "invalid-request")
    assert {key: api.world.client.dump(key) for key in api.keys()} == before


@pytest.mark.parametrize(
    "code",
    ["", " ", "12345", "1234567", "123456789", "12a456", "123456\n6", "1234.6", "-12345", "+12345", "①②③④⑤⑥", "²²²²²²",
     "\x00\x00\x00\x00\x00\x00", "1" * 5000, "0x1234", "123456; DROP", "１２３４５"],
)  # fmt: skip
def test_what_cannot_be_a_code_is_no_guess(api: Api, code: str):
    one = api.start()

    assert code_of(api.post(f"{START}/{one}/check", {"code": code})) == (422, "invalid-code")
    assert api.get(f"{START}/{one}").json["checks_left"] == 5


@pytest.mark.parametrize(
    "number",
    ["", " ", "*", "abc", "+92300", "+923001234567 ext 5", "+923001234567;ext=5", "+92300LBGDEFG", "tel:+923001234567",
     "\u200e+923001234567", "+92300\u00ad1234567", "+92300\x001234567", "9" * 5000, "' OR 1=1", "{00}:x"],
)  # fmt: skip
def test_what_is_no_number_is_refused_and_counts_nowhere(api: Api, number: str):
    assert code_of(api.post(START, {"to": number})) == (422, "invalid-number")
    assert api.keys() == set()


@pytest.mark.parametrize("call", ["resend", "cancel"])
@pytest.mark.parametrize(
    "body", [b"[]", b"null", b'"x"', b'{"reason": "x"}', b'{"channel": "fax"}', b"{", b" ", b'{"code": "123456"}']
)
def test_calls_without_a_needed_body_are_strict_all_the_same(api: Api, call: str, body: bytes):
    one = api.start()

    assert code_of(api.raw(f"{START}/{one}/{call}", body)) == (400, "invalid-request")
    assert api.get(f"{START}/{one}").json["status"] == "pending"


@pytest.mark.parametrize("call", ["", "/ID/check", "/ID/resend", "/ID/cancel"])
@pytest.mark.parametrize("size", [8 * 1024 + 1, 100_000])
def test_a_body_over_8_kib_is_refused(api: Api, call: str, size: int):
    body = b'{"to": "' + b"9" * (size - 10) + b'"}'
    answer = api.raw(START + call, body)

    assert len(body) == size
    assert code_of(answer) == (413, "body-too-large")


def test_a_body_of_8_kib_is_read(api: Api):
    body = json.dumps({"to": NUMBER}).encode().ljust(8 * 1024)

    assert api.raw(START, body).status_code == 201


def test_a_body_in_chunks_has_the_same_bound(api: Api):
    def send(body: bytes):
        environ = {"wsgi.input": BytesIO(body), "wsgi.input_terminated": True, "CONTENT_LENGTH": None}
        headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
        return api.call("POST", START, headers=headers, environ_overrides=environ)

    assert send(json.dumps({"to": NUMBER}).encode()).status_code == 201
    assert code_of(send(json.dumps({"to": NUMBER}).encode().ljust(8 * 1024 + 1))) == (413, "body-too-large")


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp",
     "application/json; charset=utf-16", "application/vnd.api+json", "application/problem+json"],
)  # fmt: skip
def test_a_body_that_is_not_called_json_is_refused(api: Api, content_type: str):
    answer = api.raw(START, json.dumps({"to": NUMBER}).encode(), content_type)

    assert code_of(answer) == (415, "unsupported-media-type")
    assert api.keys() == set()


@pytest.mark.parametrize("content_type", ["application/json; charset=UTF-8", "Application/JSON"])
def test_a_body_may_be_called_json_in_other_words(api: Api, content_type: str):
    assert api.raw(START, json.dumps({"to": NUMBER}).encode(), content_type).status_code == 201


@pytest.mark.parametrize("query", ["to=1", "code=123456", "a=1&a=2", "=", "%ff=1", "verification=x"])
def test_calls_on_verifications_have_no_query(api: Api, query: str):
    one = api.start()

    for answer in (
        api.post(f"{START}?{query}", {"to": NUMBER}),
        api.get(f"{START}/{one}?{query}"),
        api.post(f"{START}/{one}/check?{query}", {"code": "000000"}),
        api.post(f"{START}/{one}/cancel?{query}", {}),
    ):
        assert code_of(answer) == (400, "invalid-request")
    assert api.get(f"{START}/{one}").json["checks_left"] == 5


@pytest.mark.parametrize("query", ["verification=a&verification=b", "verification=", "limit=5", "verification=a&x="])
def test_the_sandbox_takes_one_parameter_once(api: Api, query: str):
    assert code_of(api.get(f"/v1/sandbox/messages?{query}")) == (400, "invalid-request")


@pytest.mark.parametrize("key", ["", '""', "a b", "x" * 256, "ключ", "a\tb", "x" * 10_000])
def test_a_malformed_idempotency_key_is_refused_and_counts_nowhere(api: Api, key: str):
    answer = api.post(START, {"to": NUMBER}, Idempotency_Key=key)

    assert code_of(answer) == (400, "invalid-request")
    assert api.keys() == set()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
MEMBERS = ("to", "region", "channel", "purpose", "locale", "client_ip", "context", "transaction", "metadata", "code")
BODIES = st.one_of(
    st.binary(max_size=300),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(MEMBERS), JSON).map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(dict.fromkeys(TRANSACTION, st.text())).map(
        lambda value: json.dumps({"to": NUMBER, "purpose": "payment", "transaction": value}).encode()
    ),
    st.fixed_dictionaries({"code": st.text(max_size=40)}).map(lambda value: json.dumps(value).encode()),
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES, call=st.sampled_from(["", "/ID/check", "/ID/resend", "/ID/cancel"]))
def test_no_body_is_ever_a_failure_of_ours(api: Api, body: bytes, call: str):
    answer = api.raw(START + call, body)

    assert answer.status_code < 500, body
    if answer.status_code >= 400:
        code_of(answer)
