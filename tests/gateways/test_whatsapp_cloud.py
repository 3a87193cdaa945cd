"""Meta's Cloud API: what the contract suite cannot show by single messages."""

import hmac
import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from otp_service.gateways.base import FailureKind, ForgedRequestError, ProviderRequest, Receipt
from otp_service.gateways.http_client import HttpResponse
from otp_service.gateways.whatsapp_cloud import (
    ACCOUNT,
    KINDS,
    REQUEST,
    RETRY,
    TEMPLATE,
    THROTTLED,
    UNREACHED,
    WhatsappCloudGateway,
    WhatsappCloudSettings,
)
from otp_service.services.call_outcomes import sanitize_reason
from otp_service.testing.provider import FakeProvider, gateway_context
from otp_service.testing.samples import MESSAGE, CannedResponse

SECRET, TOKEN = "secret-of-the-app", "token-for-the-address"
MEMBERS = {"phone_number_id": "106540352242922", "access_token": "EAAJ-secret", "template": "login_code"}
RECEIPTS = {"app_secret": SECRET, "verify_token": TOKEN}
ONE, OTHER = "dp_" + "0" * 34, "dp_" + "1" * 34


def gateway(**members: Any) -> WhatsappCloudGateway:
    settings = WhatsappCloudSettings.model_validate({**MEMBERS, **members})
    return WhatsappCloudGateway(settings, gateway_context())


def request(body: bytes = b"", method: str = "POST", signed_with: str = SECRET, **query: str) -> ProviderRequest:
    signature = f"sha256={hmac.digest(signed_with.encode(), body, 'sha256').hex()}"
    names = {name.replace("_", ".", 1): value for name, value in query.items()}
    return ProviderRequest(
        method, "https://otp.example/", {"x-hub-signature-256": signature}, names, {}, body, "192.0.2.7"
    )


def call(*statuses: object) -> bytes:
    return json.dumps({"entry": [{"changes": [{"value": {"statuses": list(statuses)}}]}]}).encode()


def status(dispatch: object, word: object, code: object = None) -> dict[str, object]:
    errors = [] if code is None else [{"code": code, "title": "482913"}]
    return {"biz_opaque_callback_data": dispatch, "status": word, "errors": errors}


# --- settings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"app_secret": SECRET}, "receipts need app_secret and verify_token"),
        ({"verify_token": TOKEN}, "receipts need app_secret and verify_token"),
        ({"payment_parameters": ["code", "payee"]}, "payment_parameters lacks amount: a payment's message names them"),
        ({"payment_parameters": ["code", "amount", "payee", "number"]}, "Input should be 'brand', 'code'"),
        ({"template": "Login Code"}, "String should match pattern"),
        ({"phone_number_id": "+923001234567"}, "String should match pattern"),
        ({"languages": {}}, "should have at least 1 item"),
        ({"verify_token": "short", "app_secret": SECRET}, "at least 16"),
    ],
)
def test_settings_that_cannot_work_are_refused(members: dict[str, Any], sentence: str):
    with pytest.raises(ValidationError, match=sentence) as refused:
        gateway(**members)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("locale", "code"), [("ur-PK", "ur"), ("ar-AE", "ar_AE"), ("ar-EG", "en_US"), ("fr", "en_US"), ("EN-gb", "en_US")]
)
def test_a_template_is_sent_in_a_language_in_which_it_was_approved(
    monkeypatch: pytest.MonkeyPatch, locale: str, code: str
):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FakeProvider() as provider:
        provider.response = CannedResponse(body='{"messages": [{"id": "wamid.1"}]}')
        languages = {"en": "en_US", "UR": "ur", "ar-AE": "ar_AE"}
        message = replace(MESSAGE, channel="whatsapp", locale=locale)
        gateway(languages=languages, base_url=provider.url).send(message)
        assert provider.received[0].document["template"]["language"] == {"code": code}


# --- codes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        (ACCOUNT, "account"),
        (THROTTLED, "throttled"),
        (UNREACHED, "channel"),
        (TEMPLATE, "account"),
        (REQUEST, "channel"),
        (RETRY, "error"),
    ],
)
def test_each_code_has_a_kind_and_a_word_that_is_kept(table: dict[int, str], kind: str):
    for code, word in table.items():
        assert KINDS[code] == (FailureKind(kind), word)
        assert sanitize_reason(word) == word, "a code of six digits would be taken for one of ours"


@pytest.mark.parametrize("code", KINDS)
def test_each_code_in_an_answer_says_whose_fault_it_is(code: int):
    failure = gateway().failure(HttpResponse(400, {}, json.dumps({"error": {"code": code}})), MESSAGE)

    assert failure is not None
    assert failure.kind == ("channel" if code in TEMPLATE else KINDS[code][0])
    assert failure.our_fault is (code in TEMPLATE or code in REQUEST or code in ACCOUNT)
    assert failure.message_specific is (code in {130497, 131056})


@pytest.mark.parametrize("code", [100, 131008, 131009, 132005, 132018])
def test_a_message_that_its_template_does_not_take_goes_on_by_another_channel(code: int):
    failure = gateway().failure(HttpResponse(400, {}, json.dumps({"error": {"code": code}})), MESSAGE)

    assert failure is not None
    assert (failure.kind, failure.our_fault) == ("channel", True)


# --- receipts ------------------------------------------------------------------------------------------------


def test_one_call_tells_of_several_messages_in_its_own_order():
    body = call(status(ONE, "read"), status(OTHER, "failed", 131026), status(ONE, "sent"))
    read = gateway(**RECEIPTS).parse_receipts(request(body))

    assert [(dispatch, receipt.raw_status, receipt.reason) for dispatch, receipt in read] == [
        (ONE, "read", None),
        (OTHER, "failed", "channel undeliverable"),
        (ONE, "sent", None),
    ]


def test_what_is_no_report_on_a_message_of_ours_is_left_out():
    body = call(None, "sent", {}, status(None, "sent"), status(7, "sent"), {"status": "sent"})
    assert gateway(**RECEIPTS).parse_receipts(request(body)) == []


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xff\xfe", b"[]", b"null", b"{", b"[" * 5000, b'{"entry": {}}', b'{"entry": [[]]}',
        b'{"entry": [{"changes": [{"value": []}]}]}', b'{"entry": [{"changes": [{}]}]}',
    ],
)  # fmt: skip
def test_signed_nonsense_is_no_report(body: bytes):
    assert gateway(**RECEIPTS).parse_receipts(request(body)) == []


@pytest.mark.parametrize(
    ("word", "code"), [(None, None), ({}, []), (7, {"a": 1}), ("failed", "131026"), ("failed", 1.5)]
)
def test_a_report_of_a_new_form_is_unknown_or_has_no_reason(word: object, code: object):
    ((dispatch, receipt),) = gateway(**RECEIPTS).parse_receipts(request(call(status(ONE, word, code))))

    assert dispatch == ONE
    assert isinstance(receipt, Receipt)
    assert receipt.reason is None


@pytest.mark.parametrize("members", [RECEIPTS, {}])
def test_a_call_that_the_app_did_not_sign_is_refused(members: dict[str, str]):
    body = call(status(ONE, "delivered"))
    real = request(body)
    for forged in (
        request(body, signed_with="another"),
        request(body, signed_with=""),
        replace(real, headers={}),
        replace(real, headers={"x-hub-signature-256": ""}),
        replace(real, headers={"x-hub-signature-256": real.headers["x-hub-signature-256"].removeprefix("sha256=")}),
        replace(real, body=body + b" "),
    ):
        with pytest.raises(ForgedRequestError):
            gateway(**members).parse_receipts(forged)


# --- the address ---------------------------------------------------------------------------------------------


def asked(**over: str) -> ProviderRequest:
    return request(
        method="GET", **{"hub_mode": "subscribe", "hub_verify_token": TOKEN, "hub_challenge": "11582", **over}
    )


def test_the_address_proves_itself_to_whoever_knows_the_token():
    assert gateway(**RECEIPTS).answer_challenge(asked()) == "11582"


@pytest.mark.parametrize(
    "over",
    [{"hub_verify_token": "another"}, {"hub_verify_token": ""}, {"hub_challenge": "<b>"}, {"hub_challenge": ""}],
)
def test_nothing_is_said_to_anybody_else(over: dict[str, str]):
    with pytest.raises(ForgedRequestError):
        gateway(**RECEIPTS).answer_challenge(asked(**over))


def test_without_a_token_nobody_is_answered():
    for token in (TOKEN, ""):
        with pytest.raises(ForgedRequestError):
            gateway().answer_challenge(asked(hub_verify_token=token))
