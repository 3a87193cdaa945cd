"""Reports of gateways: signed, or refused."""

import hmac
import json
from urllib.parse import quote

import pytest
from support_api import START, Api, code_of
from support_installation import World
from twilio.request_validator import RequestValidator
from werkzeug.test import TestResponse

SECRET = "receipts"
TOKEN = "0123456789abcdef0123456789abcdef"
PUBLIC = "https://otp.example/base"
TWILIO = {"kind": "twilio", "account_sid": "AC" + "0" * 32, "auth_token": TOKEN, "from": "+15005550006"}


@pytest.fixture
def reporting(real_world: World) -> Api:
    gateways = {
        "sandbox": {"kind": "sandbox", "receipt_secret": SECRET},
        "plain": {"kind": "console"},
        "twilio": TWILIO,
    }
    return Api(real_world, http={"public_url": f"{PUBLIC}/"}, gateways=gateways)


def _dispatched(api: Api) -> tuple[str, str]:
    """Return a verification and the id of its dispatch."""
    one = api.start()
    api.deliver()
    (key,) = (key.decode() for key in api.keys() if b":dispatch:" in key)
    return one, key.rpartition(":")[2]


def _known_to(api: Api, gateway: str) -> str:
    """Return the id of a dispatch that this gateway made."""
    dispatch = f"dp_00{'7' * 32}"
    outbox = api.installation.context.store.outbox
    api.start()
    (job,) = outbox.read("test", 1, 1) or outbox.read("test", 1, 1)
    outbox.dispatch(job, dispatch, (gateway,), 5)
    return dispatch


def _report(api: Api, path: str, body: bytes, signature: str | None = None) -> TestResponse:
    expected = hmac.digest(SECRET.encode(), f"{PUBLIC}{path}".encode() + b"\n" + body, "sha256").hex()
    headers = {"Content-Type": "application/json", "X-Sandbox-Signature": expected if signature is None else signature}
    return api.client.post(path, data=body, headers=headers)


def _status(api: Api, one: str) -> str:
    return api.get(f"{START}/{one}").json["deliveries"][0]["status"]


def test_a_signed_report_changes_the_delivery_and_needs_no_api_key(reporting: Api):
    one, dispatch = _dispatched(reporting)

    answer = _report(reporting, f"/v1/receipts/sandbox/{dispatch}", b'{"status": "delivered"}')

    assert (answer.status_code, answer.data) == (204, b"")
    assert "Content-Type" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    assert _status(reporting, one) == "delivered"
    assert reporting.get(f"{START}/{one}").json["status"] == "pending"


def test_a_query_is_part_of_what_is_signed(reporting: Api):
    _, dispatch = _dispatched(reporting)

    assert _report(reporting, f"/v1/receipts/sandbox/{dispatch}?part=1&x=%20", b"{}").status_code == 204


@pytest.mark.parametrize("signature", ["", "0" * 64, "é"])
def test_a_forged_report_is_refused(reporting: Api, signature: str):
    one, dispatch = _dispatched(reporting)

    answer = _report(reporting, f"/v1/receipts/sandbox/{dispatch}", b'{"status": "delivered"}', signature)

    assert code_of(answer) == (401, "unauthenticated")
    assert _status(reporting, one) == "sent"


@pytest.mark.parametrize("gateway", ["plain", "unknown", "twilio"])
def test_a_report_for_another_gateway_or_an_unknown_one_changes_nothing(reporting: Api, gateway: str):
    one, dispatch = _dispatched(reporting)

    assert code_of(_report(reporting, f"/v1/receipts/{gateway}/{dispatch}", b"{}"))[0] in {401, 404}
    assert _status(reporting, one) == "sent"


@pytest.mark.parametrize("dispatch", ["dp_00" + "0" * 32, "nothing", "*", "dp_00", "%0a", "é"])
def test_an_unknown_dispatch_is_not_found(reporting: Api, dispatch: str):
    answer = _report(reporting, f"/v1/receipts/sandbox/{quote(dispatch, safe='%')}", b"{}")

    assert code_of(answer)[0] in {401, 404}


def test_without_a_public_address_there_are_no_receipts(api: Api):
    assert code_of(api.post("/v1/receipts/sandbox/dp_00" + "0" * 32)) == (404, "not-found")


def test_a_report_has_a_bound_of_its_own(reporting: Api):
    _, dispatch = _dispatched(reporting)
    path = f"/v1/receipts/sandbox/{dispatch}"

    assert _report(reporting, path, json.dumps({"status": "sent", "more": "x" * 60_000}).encode()).status_code == 204
    assert code_of(_report(reporting, path, b" " * (64 * 1024 + 1))) == (413, "body-too-large")


def test_a_form_that_twilio_signed_is_understood(reporting: Api):
    path = f"/v1/receipts/twilio/{_known_to(reporting, 'twilio')}"
    form = {"MessageStatus": "delivered", "To": "+923001234567", "Empty": "", "Body": "a b&c=d"}
    signature = RequestValidator(TOKEN).compute_signature(PUBLIC + path, form)

    genuine = reporting.client.post(path, data=form, headers={"X-Twilio-Signature": signature})
    forged = reporting.client.post(path, data={**form, "Body": "x"}, headers={"X-Twilio-Signature": signature})

    assert genuine.status_code == 204
    assert code_of(forged) == (401, "unauthenticated")


@pytest.mark.parametrize("body", [b"\xff\xfe", b"&&&=;=%zz", b"a=%ff", b"[" * 5000, b""])
@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "multipart/form-data", "text/xml", ""])
@pytest.mark.parametrize("gateway", ["sandbox", "twilio"])
def test_no_report_is_a_failure_of_ours(reporting: Api, body: bytes, content_type: str, gateway: str):
    path = f"/v1/receipts/{gateway}/{_known_to(reporting, gateway)}"
    answer = reporting.client.post(path, data=body, headers={"Content-Type": content_type})

    assert code_of(answer) == (401, "unauthenticated")
