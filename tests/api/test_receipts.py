"""Reports of gateways: proven, or refused."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from io import StringIO
from urllib.parse import quote

import pytest
from support_api import START, Api, code_of
from support_installation import World
from support_records import entries_of
from twilio.request_validator import RequestValidator
from werkzeug.test import TestResponse

from otp_service.testing.provider import FakeProvider
from otp_service.testing.samples import CannedResponse

SECRET = "receipts"
TOKEN = "0123456789abcdef0123456789abcdef"
PUBLIC = "https://otp.example/base"
STATUSES = {"sent": ["8"], "delivered": ["1", "DELIVRD"], "undelivered": ["2"]}
Dispatch = tuple[Api, str, str, str]
"""A service, a verification, the id of its one dispatch, and the address that the provider was given."""


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    """A stand-in for all providers, which takes every message."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FakeProvider() as provider:
        provider.response = CannedResponse(status=201, body='{"sid": "SM1"}')
        yield provider


@pytest.fixture
def dispatched_by(real_world: World, provider: FakeProvider) -> Callable[..., Dispatch]:
    """Send a message through a gateway of a kind."""

    def dispatch(gateway: str, **http: object) -> Dispatch:
        gateways = {gateway: _GATEWAYS[gateway](provider.url)}
        api = Api(real_world, http={"public_url": PUBLIC, **http}, gateways=gateways, routes=[{"gateways": [gateway]}])
        one = api.start()
        api.deliver()
        (received,) = provider.received
        address = {**received.query, **(received.form if received.body else {})}["StatusCallback"]
        return api, one, address.partition("?")[0].rpartition("/")[2], address

    return dispatch


def _twilio(url: str) -> dict[str, object]:
    account = {"account_sid": "AC" + "0" * 32, "auth_token": TOKEN}
    return {"kind": "twilio", "base_url": url, "from": "+15005550006", **account}


def _http(url: str, **receipts: object) -> dict[str, object]:
    query = {"StatusCallback": "{receipt_url}"}
    return {"kind": "http", "url": url, "query": query, "receipts": {"statuses": STATUSES, **receipts}}


_GATEWAYS: dict[str, Callable[[str], dict[str, object]]] = {
    "twilio": _twilio,
    "query": lambda url: _http(url, secret="sixteen characters", status={"query": "s"}, reason={"query": "e"}),
    "json": lambda url: _http(url, secret="sixteen characters", status={"json": "m.s"}),
    "network": lambda url: _http(url, allow_from=["192.0.2.0/28"], status={"form": "s"}),
}


@pytest.fixture
def reporting(real_world: World) -> Api:
    gateways = {"sandbox": {"kind": "sandbox", "receipt_secret": SECRET}, "plain": {"kind": "console"}}
    return Api(real_world, http={"public_url": f"{PUBLIC}/"}, gateways=gateways)


def _dispatched(api: Api) -> tuple[str, str]:
    """Return a verification and the id of its dispatch."""
    one = api.start()
    api.deliver()
    (key,) = (key.decode() for key in api.keys() if b":dispatch:" in key)
    return one, key.rpartition(":")[2]


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


def test_a_report_is_taken_while_every_start_is_refused(reporting: Api):
    one, dispatch = _dispatched(reporting)
    reporting.installation.context.store.mirror.close()

    assert reporting.client.get("/readyz").status_code == 503
    assert _report(reporting, f"/v1/receipts/sandbox/{dispatch}", b'{"status": "delivered"}').status_code == 204
    assert _status(reporting, one) == "delivered"


def test_a_query_is_part_of_what_is_signed(reporting: Api):
    _, dispatch = _dispatched(reporting)

    assert _report(reporting, f"/v1/receipts/sandbox/{dispatch}?part=1&x=%20", b"{}").status_code == 204


@pytest.mark.parametrize("signature", ["", "0" * 64, "é"])
def test_a_forged_report_is_refused(reporting: Api, signature: str):
    one, dispatch = _dispatched(reporting)

    answer = _report(reporting, f"/v1/receipts/sandbox/{dispatch}", b'{"status": "delivered"}', signature)

    assert code_of(answer) == (401, "unauthenticated")
    assert _status(reporting, one) == "sent"


@pytest.mark.parametrize("gateway", ["plain", "unknown"])
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


def test_a_form_that_twilio_signed_is_understood(dispatched_by: Callable[..., Dispatch]):
    api, one, dispatch, address = dispatched_by("twilio")
    path = f"/v1/receipts/twilio/{dispatch}"
    form = {"MessageStatus": "delivered", "To": "+923001234567", "Empty": "", "Body": "a b&c=d"}
    signature = RequestValidator(TOKEN).compute_signature(address, form)

    forged = api.client.post(path, data={**form, "Body": "x"}, headers={"X-Twilio-Signature": signature})
    assert code_of(forged) == (401, "unauthenticated")
    assert _status(api, one) == "sent"
    assert api.client.post(path, data=form, headers={"X-Twilio-Signature": signature}).status_code == 204
    assert _status(api, one) == "delivered"


@pytest.mark.parametrize("body", [b"\xff\xfe", b"&&&=;=%zz", b"a=%ff", b"[" * 5000, b""])
@pytest.mark.parametrize("gateway", ["sandbox", "twilio", "json"])
def test_no_report_is_a_failure_of_ours(
    request: pytest.FixtureRequest, dispatched_by: Callable[..., Dispatch], body: bytes, gateway: str
):
    if gateway == "sandbox":
        api = request.getfixturevalue("reporting")
        _, dispatch = _dispatched(api)
    else:
        api, _, dispatch, _ = dispatched_by(gateway)
    for content_type in ("application/x-www-form-urlencoded", "multipart/form-data", "text/xml", ""):
        answer = api.client.post(
            f"/v1/receipts/{gateway}/{dispatch}", data=body, headers={"Content-Type": content_type}
        )
        assert code_of(answer) == (401, "unauthenticated")


def _path(address: str) -> str:
    """Return what of an address is asked of the service, which stands behind a proxy that cuts the rest off."""
    return address.removeprefix(PUBLIC)


def test_a_provider_may_report_by_get_with_a_token_in_the_address(dispatched_by: Callable[..., Dispatch]):
    api, one, dispatch, address = dispatched_by("query")
    assert address.startswith(f"{PUBLIC}/v1/receipts/query/{dispatch}?token=")

    answer = api.client.get(f"{_path(address)}&s=8")
    assert (answer.status_code, answer.data, answer.headers["Cache-Control"]) == (204, b"", "no-store")
    assert _status(api, one) == "sent"
    assert api.client.get(f"{_path(address)}&s=2&e=27").status_code == 204
    assert _status(api, one) == "undelivered"
    assert api.get(f"{START}/{one}").json["deliveries"][0]["reason"] == "27"
    assert api.get(f"{START}/{one}").json["status"] == "pending"


def test_a_wrong_token_or_none_changes_nothing(dispatched_by: Callable[..., Dispatch]):
    api, one, dispatch, address = dispatched_by("query")
    bare = f"/v1/receipts/query/{dispatch}"
    other = "0" if address[-1] != "0" else "1"

    for path in (bare, f"{bare}?", f"{bare}?token=", f"{_path(address)[:-1]}{other}", f"{_path(address)}&token=0"):
        for method in ("GET", "POST"):
            answer = api.client.open(f"{path}{'&' if '?' in path else '?'}s=1", method=method)
            assert code_of(answer) == (401, "unauthenticated")
    assert _status(api, one) == "sent"


def test_a_look_at_the_address_is_no_report(dispatched_by: Callable[..., Dispatch]):
    api, one, _, address = dispatched_by("query")
    for method in ("HEAD", "PUT", "DELETE", "OPTIONS"):
        answer = api.client.open(f"{_path(address)}&s=1", method=method)
        assert answer.status_code == 405 or method == "OPTIONS"
        assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))

    assert _status(api, one) == "sent"


def test_a_report_in_json_is_read_by_its_gateway_and_its_text_is_not_kept(
    dispatched_by: Callable[..., Dispatch], log: StringIO
):
    api, one, _, address = dispatched_by("json")
    report = {"m": {"s": "DELIVRD", "text": f"Your code is {api.code(one)}.", "to": "+923001234567"}}

    assert api.client.post(_path(address), json=report).status_code == 204
    assert _status(api, one) == "delivered"
    kept = log.getvalue() + json.dumps(api.get(f"{START}/{one}").json)
    assert api.code(one) not in kept
    assert "3001234567" not in kept
    assert "token" not in kept


@pytest.mark.parametrize(
    ("peer", "forwarded", "status"),
    [
        ("192.0.2.7", None, 204),
        ("::ffff:192.0.2.7", None, 204),
        ("192.0.2.77", None, 401),
        ("192.0.2.77", "192.0.2.7", 401),
        ("", None, 401),
    ],
)
def test_a_gateway_with_an_address_list_believes_its_provider_only(
    dispatched_by: Callable[..., Dispatch], peer: str, forwarded: str | None, status: int
):
    api, one, _, address = dispatched_by("network")
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    answer = api.client.post(_path(address), data={"s": "1"}, headers=headers, environ_overrides={"REMOTE_ADDR": peer})

    assert answer.status_code == status
    assert _status(api, one) == ("delivered" if status == 204 else "sent")


@pytest.mark.parametrize(
    ("forwarded", "status"), [("192.0.2.7", 204), ("192.0.2.7, 198.51.100.1", 401), ("198.51.100.1, 192.0.2.7", 204)]
)
def test_behind_a_trusted_proxy_the_provider_is_whom_the_proxy_saw(
    dispatched_by: Callable[..., Dispatch], forwarded: str, status: int
):
    api, _, _, address = dispatched_by("network", trusted_proxies=1)
    answer = api.client.post(_path(address), data={"s": "1"}, headers={"X-Forwarded-For": forwarded})

    assert answer.status_code == status


def test_without_a_section_for_receipts_no_report_is_believed(real_world: World, provider: FakeProvider):
    gateway = {"kind": "http", "url": provider.url, "query": {"d": "{dispatch_id}"}}
    api = Api(real_world, http={"public_url": PUBLIC}, gateways={"deaf": gateway}, routes=[{"gateways": ["deaf"]}])
    one = api.start()
    api.deliver()
    dispatch = provider.received[0].query["d"]

    for query in ("", "?token=", "?status=1"):
        assert code_of(api.client.get(f"/v1/receipts/deaf/{dispatch}{query}")) == (401, "unauthenticated")
    assert _status(api, one) == "sent"


def test_a_report_by_get_for_nothing_is_not_found(reporting: Api, api: Api):
    for one in (reporting, api):
        for path in ("sandbox/dp_00" + "0" * 32, "plain/dp_00" + "0" * 32, "sandbox/nothing"):
            assert code_of(one.client.get(f"/v1/receipts/{path}?token=x")) == (404, "not-found")


def test_telegrams_refund_is_told_and_the_code_goes_by_another_channel(real_world: World, provider: FakeProvider):
    provider.response = CannedResponse(body='{"ok": true, "result": {"request_id": "1"}}')
    telegram = {"kind": "telegram", "base_url": provider.url, "token": TOKEN, "prices": {"*": "2"}}
    api = Api(
        real_world,
        http={"public_url": PUBLIC},
        gateways={"telegram": telegram, "sandbox": {"kind": "sandbox", "receipt_secret": SECRET}},
        routes=[{"channels": ["telegram"], "gateways": ["telegram"]}, {"gateways": ["sandbox"]}],
        purposes={"login": {"channels": ["telegram", "sms"], "resend_delays": [30], "max_sends": 3}},
    )
    one = api.start()
    api.deliver()
    sent = provider.received[0].document
    told = {"payload": sent["payload"], "delivery_status": {"status": "expired"}, "is_refunded": True}
    body, stamp = json.dumps(told).encode(), str(int(time.time()))
    key = hashlib.sha256(TOKEN.encode()).digest()
    signature = hmac.digest(key, f"{stamp}\n".encode() + body, "sha256").hex()
    headers = {"X-Request-Timestamp": stamp, "X-Request-Signature": signature}
    for _ in range(2):
        assert api.client.post(_path(sent["callback_url"]), data=body, headers=headers).status_code == 204
    api.deliver()

    deliveries = api.get(f"{START}/{one}").json["deliveries"]
    assert [(each["channel"], each["status"]) for each in deliveries] == [("telegram", "undelivered"), ("sms", "sent")]
    (stream,) = (key for key in api.keys() if key.endswith(b":events"))
    costs = [(event["type"], int(event["cost"])) for event in entries_of(real_world.client, stream) if "cost" in event]
    assert costs == [("delivery.sent", 2_000_000), ("delivery.undelivered", 0), ("delivery.sent", 0)]


def _told(reporting: Api, dispatch: str, **members: str) -> int:
    return _report(reporting, f"/v1/receipts/sandbox/{dispatch}", json.dumps(members).encode()).status_code


def test_a_report_that_comes_again_or_late_is_taken_and_changes_nothing(reporting: Api):
    one, dispatch = _dispatched(reporting)
    assert _told(reporting, dispatch, status="delivered") == 204
    before = reporting.get(f"{START}/{one}").json
    for status in ("delivered", "sent", "undelivered", "queued", "new to us"):
        assert _told(reporting, dispatch, status=status) == 204

    assert reporting.get(f"{START}/{one}").json == before
    assert before["deliveries"][0]["raw_status"] == "delivered"
    assert before["status"] == "pending"


def test_what_did_not_arrive_is_told_and_goes_out_through_the_next_channel(reporting: Api):
    one, dispatch = _dispatched(reporting)
    code = reporting.code(one)
    assert _told(reporting, dispatch, status="undelivered") == 204
    assert _told(reporting, dispatch, status="undelivered") == 204
    reporting.deliver()
    shown = reporting.get(f"{START}/{one}").json

    assert (shown["channel"], shown["sends_left"]) == ("voice", 1)
    assert [(each["message"], each["channel"], each["status"]) for each in shown["deliveries"]] == [
        (1, "sms", "undelivered"),
        (2, "voice", "sent"),
    ]
    assert reporting.post(f"{START}/{one}/check", {"code": code}).json["valid"]


def test_a_number_that_nothing_reaches_is_not_called(reporting: Api):
    one, dispatch = _dispatched(reporting)
    assert _told(reporting, dispatch, status="undelivered", kind="destination") == 204
    reporting.deliver()

    assert len(reporting.get(f"{START}/{one}").json["deliveries"]) == 1
