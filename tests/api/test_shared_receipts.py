"""Reports that come to one address for all messages of a gateway, as WhatsApp's do."""

import hmac
import json
from collections.abc import Iterator
from io import StringIO

import pytest
from support_api import START, Api, code_of
from support_installation import World
from werkzeug.test import TestResponse

from otp_service.errors import StoreUnavailableError
from otp_service.services.receipts import shared_receipt_url
from otp_service.testing.provider import FakeProvider
from otp_service.testing.samples import CannedResponse

PUBLIC = "https://otp.example/base"
SECRET, TOKEN = "secret-of-the-app", "token-for-the-address"
ACCOUNT = {"phone_number_id": "106540352242922", "access_token": "EAAJ-secret", "template": "login_code"}
LOGIN = {"channels": ["whatsapp", "sms"], "resend_delays": [30], "max_sends": 3}


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    """Stand in for Meta, and take every message."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FakeProvider() as provider:
        provider.response = CannedResponse(body='{"messages": [{"id": "wamid.1"}]}')
        yield provider


@pytest.fixture
def api(real_world: World, provider: FakeProvider) -> Api:
    whatsapp = {"kind": "whatsapp_cloud", "base_url": provider.url, **ACCOUNT}
    gateways = {
        "whatsapp": {**whatsapp, "app_secret": SECRET, "verify_token": TOKEN},
        "second": {**whatsapp, "app_secret": SECRET, "verify_token": TOKEN},
        "sandbox": {"kind": "sandbox", "receipt_secret": "receipts"},
    }
    routes = [{"gateways": ["whatsapp", "sandbox"]}]
    return Api(real_world, http={"public_url": PUBLIC}, gateways=gateways, routes=routes, purposes={"login": LOGIN})


def path_of(api: Api, gateway: str = "whatsapp") -> str:
    return shared_receipt_url(api.installation.context, gateway).removeprefix(PUBLIC)


def send(api: Api, provider: FakeProvider) -> tuple[str, str]:
    """Send a code; return its verification, and what comes back of it."""
    one = api.start()
    api.deliver()
    return one, provider.received[-1].document["biz_opaque_callback_data"]


def report(
    api: Api, *statuses: tuple[str, str] | tuple[str, str, int], path: str = "", secret: str = SECRET
) -> TestResponse:
    told = [
        {"biz_opaque_callback_data": dispatch, "status": word, "errors": [{"code": code} for code in codes]}
        for dispatch, word, *codes in statuses
    ]
    return post(api, {"entry": [{"changes": [{"value": {"statuses": told}}]}]}, path, secret)


def post(api: Api, document: object, path: str = "", secret: str = SECRET) -> TestResponse:
    body = json.dumps(document).encode()
    headers = {"X-Hub-Signature-256": f"sha256={hmac.digest(secret.encode(), body, 'sha256').hex()}"}
    return api.client.post(path or path_of(api), data=body, headers=headers)


def delivery(api: Api, one: str) -> str:
    return str(api.get(f"{START}/{one}").json["deliveries"][0]["status"])


def test_several_reports_in_one_call_find_their_messages(api: Api, provider: FakeProvider):
    first, known = send(api, provider)
    second, other = send(api, provider)
    answer = report(api, (known, "sent"), ("dp_00" + "0" * 32, "failed"), ("no dispatch", "read"), (other, "read"))

    assert (answer.status_code, answer.data) == (200, b"")
    assert (delivery(api, first), delivery(api, second)) == ("sent", "delivered")
    assert api.get(f"{START}/{second}").json["status"] == "pending"


def test_reports_in_any_order_and_again_end_the_same(api: Api, provider: FakeProvider):
    one, known = send(api, provider)
    report(api, (known, "read"), (known, "delivered"), (known, "sent"))
    before = api.get(f"{START}/{one}").json
    for _ in range(2):
        report(api, (known, "sent"), (known, "failed", 131026))

    assert api.get(f"{START}/{one}").json == before
    assert before["deliveries"][0]["status"] == "delivered"


def test_who_is_not_on_whatsapp_gets_one_more_message_by_another_channel(api: Api, provider: FakeProvider):
    one, known = send(api, provider)
    for _ in range(2):
        assert report(api, (known, "failed", 131026)).status_code == 200
    api.deliver()

    told = api.get(f"{START}/{one}").json["deliveries"]
    assert [(each["channel"], each["status"]) for each in told] == [("whatsapp", "failed"), ("sms", "sent")]
    assert told[0]["reason"] == "channel undeliverable"


def test_a_template_that_meta_paused_is_told_and_the_code_goes_by_another_channel(
    api: Api, provider: FakeProvider, log: StringIO
):
    provider.response = CannedResponse(status=400, body='{"error": {"code": 132015}}')
    one, _ = send(api, provider)
    api.deliver()

    assert [each["channel"] for each in api.get(f"{START}/{one}").json["deliveries"]] == ["whatsapp", "sms"]
    assert "account_refused" in log.getvalue()
    assert "template paused" in log.getvalue()


@pytest.mark.parametrize("secret", ["", "another"])
def test_a_forged_call_changes_nothing(api: Api, provider: FakeProvider, secret: str):
    one, known = send(api, provider)

    assert code_of(report(api, (known, "delivered"), secret=secret)) == (401, "unauthenticated")
    assert delivery(api, one) == "sent"


def test_a_gateway_reports_on_its_own_messages_only(api: Api, provider: FakeProvider):
    one, known = send(api, provider)

    assert report(api, (known, "delivered"), path=path_of(api, "second")).status_code == 200
    assert delivery(api, one) == "sent"


def test_who_was_not_told_the_address_gets_no_further_than_that(api: Api, provider: FakeProvider):
    _, known = send(api, provider)
    base, _, token = path_of(api).rpartition("/")
    for path in (f"{base}/{token[:-1]}", f"{base}/{token}A", f"{base}/é", path_of(api, "sandbox"), f"{path_of(api)}/x"):
        assert code_of(report(api, (known, "delivered"), path=path)) == (404, "not-found")
        assert code_of(api.client.get(path)) == (404, "not-found")


def test_a_call_may_be_as_long_as_metas_and_no_longer(api: Api, provider: FakeProvider):
    one, known = send(api, provider)
    others = [("dp_00" + "0" * 32, "sent")] * 5000
    assert report(api, *others, (known, "delivered")).status_code == 200
    assert delivery(api, one) == "delivered"
    assert post(api, {"entry": [], "more": "x" * 3_000_000}).status_code == 200
    assert code_of(post(api, {"entry": [], "more": "x" * 3 * 1024 * 1024})) == (413, "body-too-large")
    assert code_of(post(api, {}, path_of(api, "x") + "x" * 9)) == (404, "not-found")


def test_while_redis_is_away_the_whole_call_has_to_come_again(
    api: Api, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
):
    one, known = send(api, provider)
    with monkeypatch.context() as world:
        dispatches = type(api.installation.context.store.dispatches)
        world.setattr(dispatches, "report", lambda *_, **__: (_ for _ in ()).throw(StoreUnavailableError("away")))
        assert report(api, (known, "delivered")).status_code == 503
    assert report(api, (known, "delivered")).status_code == 200
    assert delivery(api, one) == "delivered"


def test_the_address_answers_metas_challenge_and_nobody_elses(api: Api):
    asked = {"hub.mode": "subscribe", "hub.verify_token": TOKEN, "hub.challenge": "1158201444"}
    answer = api.client.get(path_of(api), query_string=asked)

    assert (answer.status_code, answer.text) == (200, "1158201444")
    assert answer.headers["Content-Type"].startswith("text/plain")
    for other in ({}, {**asked, "hub.verify_token": "x"}, {**asked, "hub.challenge": "<script>"}):
        assert code_of(api.client.get(path_of(api), query_string=other)) == (401, "unauthenticated")
    for method in ("HEAD", "PUT", "DELETE"):
        assert api.client.open(path_of(api), method=method, query_string=asked).status_code == 405


def test_neither_code_nor_number_nor_secret_is_logged(api: Api, provider: FakeProvider, log: StringIO):
    one, known = send(api, provider)
    code = api.code(one)
    assert code in provider.received[0].body.decode()
    document = {"entry": [{"changes": [{"value": {"statuses": [
        {"biz_opaque_callback_data": known, "status": f"failed {code}", "recipient_id": "923001234567",
         "errors": [{"code": 131026, "title": code, "error_data": {"details": f"{code} to 923001234567"}}]},
    ]}}]}]}  # fmt: skip
    assert post(api, document).status_code == 200
    provider.response = CannedResponse(status=400, body=json.dumps({"error": {"code": 131000, "message": code}}))
    send(api, provider)

    kept = log.getvalue() + json.dumps(api.get(f"{START}/{one}").json)
    for private in (code, "3001234567", SECRET, TOKEN, "EAAJ-secret", path_of(api).rpartition("/")[2]):
        assert private not in kept
