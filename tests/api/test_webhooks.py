"""Endpoints over HTTP: an application's own, secrets shown once, replays, and what became of webhooks."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from standardwebhooks.webhooks import Webhook as Verifier
from support_api import Api, code_of
from support_installation import BANK_KEY
from support_webhooks import LOOPBACK, receiving

from otp_service.api.exchange import SLOT_WAIT
from otp_service.domain.webhooks import GROUPS, TYPES, WebhookSlots
from otp_service.gateways import ssrf_safe_client
from otp_service.services.webhooks import send_webhook

PATH = "/v1/endpoints"
URL = "http://127.0.0.1:9/hooks"


@pytest.fixture
def shop(world, ledger_url):
    api = Api(world, ledger={"url": ledger_url}, webhooks={"networks": LOOPBACK, "max_endpoints": 3, "timeout": 2.0})
    yield api
    api.installation.context.ledger.database.close()


def other(api: Api, key: str) -> Api:
    """Return the same service as another caller sees it."""
    seen = object.__new__(Api)
    seen.__dict__ = {**api.__dict__, "key": key}
    return seen


def put(api, path, body):
    return api.call("PUT", path, json=body)


def add(api, url=URL, *types):
    answer = api.post(PATH, {"url": url, "types": list(types or ("verification",))})
    assert answer.status_code == 201, answer.text
    return answer.json


def send(api):
    """Send what is due; return how much."""
    context = api.installation.context
    due = context.ledger.webhook_outbox.claim(WebhookSlots(200), 1000, 4)
    for delivery in due:
        send_webhook(context, delivery)
    return len(due)


def record(api):
    """Bring what happened into the ledger, as the recorder does."""
    events = api.installation.context.store.events
    for batch in events.take("tests", 1000):
        api.installation.context.ledger.verifications.record(batch.events)
        events.acknowledge(batch)


def test_name_servers_that_let_us_wait_take_one_thread_and_no_more(shop, monkeypatch):
    asked, answered = [], threading.Event()

    def slow(host, port, seconds):
        asked.append(host)
        answered.wait(10)
        return ["127.0.0.1"]

    monkeypatch.setattr(ssrf_safe_client, "look_up", slow)
    body = {"url": URL, "types": ["verification"]}
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(shop.post, PATH, body)
        while not asked:
            time.sleep(0.01)
        time.sleep(SLOT_WAIT)
        others = [pool.submit(shop.post, PATH, body).result() for _ in range(3)]
        answered.set()

    assert [code_of(one) for one in others] == [(503, "ledger-unavailable")] * 3
    assert (len(asked), first.result().status_code) == (1, 201)


def test_an_endpoint_is_made_and_its_secret_shown_once(shop):
    made = add(shop, URL, "suppression", "verification.approved", "suppression")

    assert made["secret"].startswith("whsec_")
    assert made["endpoint"] == {
        "id": made["endpoint"]["id"],
        "url": URL,
        "types": ["suppression", "verification.approved"],
        "status": "enabled",
        "failing_since": None,
        "created_at": made["endpoint"]["created_at"],
        "rotates_until": None,
    }
    path = f"{PATH}/{made['endpoint']['id']}"
    assert shop.get(path).json == made["endpoint"]
    assert shop.get(PATH).json == [made["endpoint"]]
    assert made["secret"] not in shop.get(path).text


@pytest.mark.parametrize("kind", sorted(TYPES | GROUPS))
def test_every_type_and_group_can_be_chosen(shop, kind):
    add(shop, URL, kind)


@pytest.mark.parametrize(
    "body",
    [
        {"url": URL},
        {"url": URL, "types": []},
        {"url": URL, "types": ["check.failed"]},
        {"url": URL, "types": "verification"},
        {"url": "", "types": ["verification"]},
        {"url": URL, "types": ["verification"], "secret": "whsec_mine"},
    ],
)
def test_a_malformed_endpoint_is_refused(shop, body):
    assert code_of(shop.post(PATH, body)) == (400, "invalid-request")


@pytest.mark.parametrize(
    "url", ["https://10.0.0.1/", "https://169.254.169.254/", "ftp://127.0.0.1/", "https://u:p@127.0.0.1/", "nowhere"]
)
def test_an_address_that_webhooks_may_not_go_to_is_refused(shop, monkeypatch, url):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a packet left"))
    body = {"url": url, "types": ["verification"]}

    assert code_of(shop.post(PATH, body)) == (422, "invalid-url")
    monkeypatch.undo()
    made = add(shop)
    assert code_of(put(shop, f"{PATH}/{made['endpoint']['id']}", body)) == (422, "invalid-url")


def test_which_names_there_are_inside_is_not_told(shop, monkeypatch, capsys):
    """The name servers of the hosts know names that callers must not find by trying."""
    inside = {"db.corp.example": ["10.0.0.5"], "both.corp.example": ["8.8.8.8", "10.0.0.5"], "none.corp.example": []}
    real = socket.getaddrinfo

    def look_up(host, port, *arguments, **options):
        if host not in inside:
            return real(host, port, *arguments, **options)
        if not inside[host]:
            raise socket.gaierror("unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in inside[host]]

    made = add(shop)
    one = f"{PATH}/{made['endpoint']['id']}"
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    told = []
    for url in (
        f"{scheme}://{host}{port}/x" for host in inside for scheme in ("https", "http") for port in ("", ":22")
    ):
        body = {"url": url, "types": ["verification"]}
        for answer in (shop.post(PATH, body), put(shop, one, body)):
            assert answer.status_code == 422
            told.append(answer.json["detail"])
    assert len(set(told)) == 1, told
    said = capsys.readouterr().out
    assert {reason for reason in ("address not allowed", "host not found") if f"reason={reason!r}" in said} == {
        "address not allowed",
        "host not found",
    }, "operators are told which it was"

    inside["hooks.shop.example"] = ["127.0.0.1"]
    put(shop, one, {"url": "http://hooks.shop.example:9/x", "types": ["verification"]})
    reasons = []
    for addresses in (["10.0.0.5"], []):
        inside["hooks.shop.example"] = addresses
        shop.post("/v1/verifications", {"to": "+923001234567"})
        record(shop)
        send(shop)
        reasons.append(shop.get("/v1/webhooks").json[0]["tries"][-1]["reason"])
        monkeypatch.setattr("otp_service.ledger.webhooks.next_delay", lambda *_: 0)
    assert reasons == ["host not found or not allowed"] * 2


def test_an_application_has_only_so_many(shop):
    for _ in range(3):
        add(shop)

    assert code_of(shop.post(PATH, {"url": URL, "types": ["verification"]})) == (409, "endpoint-limit")
    one = shop.get(PATH).json[0]["id"]
    assert shop.post(f"{PATH}/{one}/remove").status_code == 200
    add(shop)


def test_another_applications_endpoints_and_webhooks_are_not_there(shop):
    bank = other(shop, BANK_KEY)
    with receiving() as receiver:
        one = add(shop, receiver.url + "/ok")["endpoint"]["id"]
        verification = shop.start()
        record(shop)
        send(shop)
    (webhook,) = shop.get(f"/v1/webhooks?verification={verification}").json

    assert bank.get(PATH).json == []
    assert bank.get(f"/v1/webhooks?verification={verification}").json == []
    assert bank.get(f"/v1/webhooks?endpoint={one}").json == []
    for answer in (
        bank.get(f"{PATH}/{one}"),
        put(bank, f"{PATH}/{one}", {"url": URL, "types": ["verification"]}),
        *(bank.post(f"{PATH}/{one}/{act}") for act in ("rotate", "enable", "disable", "remove")),
        bank.post(f"{PATH}/{one}/replay", {"since": "2026-01-01T00:00:00Z"}),
        bank.post(f"/v1/webhooks/{webhook['id']}/replay"),
    ):
        assert code_of(answer) == (404, "not-found")
    assert shop.get(f"{PATH}/{one}").json["status"] == "enabled"


@pytest.mark.parametrize("name", ["we_none", "%00", "we_" + "0" * 32, "we_" + "0" * 1000, "..%2f"])
def test_a_name_that_nobody_has_is_not_found(shop, name):
    assert code_of(shop.get(f"{PATH}/{name}")) == (404, "not-found")
    assert code_of(shop.post(f"{PATH}/{name}/enable")) == (404, "not-found")
    assert code_of(shop.post(f"/v1/webhooks/{name}/replay")) == (404, "not-found")


@pytest.mark.parametrize(
    "query",
    ["endpoint=%00", "verification=", "status=lost", "before=yesterday", "before=2026-13-01T00:00:00Z", "limit=1",
     "endpoint=a&endpoint=b"],
)  # fmt: skip
def test_a_malformed_query_is_refused(shop, query):
    assert code_of(shop.get(f"/v1/webhooks?{query}")) == (400, "invalid-request")


def test_a_whole_story_is_told_signed_and_shown(shop):
    with receiving() as receiver:
        made = add(shop, receiver.url + "/ok", "verification", "delivery")
        verification = shop.start(metadata={"note": "x"})
        shop.deliver()
        shop.post(f"/v1/verifications/{verification}/check", {"code": shop.code(verification)})
        record(shop)
        assert send(shop) == 3
        told = [Verifier(made["secret"]).verify(one.body, one.headers) for one in receiver.requests]

    assert [one["type"] for one in sorted(told, key=lambda one: one["data"]["sequence"])] == [
        "verification.started",
        "delivery.sent",
        "verification.approved",
    ]
    assert {one["data"]["verification"] for one in told} == {verification}
    shown = shop.get(f"/v1/webhooks?endpoint={made['endpoint']['id']}&status=delivered").json
    assert len(shown) == 3
    assert [[one["status"] for one in each["tries"]] for each in shown] == [[200]] * 3
    assert shop.get("/v1/webhooks?status=waiting").json == []
    assert shop.get(f"/v1/webhooks?before={shown[-1]['at']}").json == []


def test_a_rotation_shows_the_new_secret_once_and_until_when_both_sign(shop):
    made = add(shop)
    rotated = shop.post(f"{PATH}/{made['endpoint']['id']}/rotate", {"overlap": 60}).json

    assert rotated["secret"] != made["secret"]
    assert rotated["endpoint"]["rotates_until"] is not None
    again = shop.post(f"{PATH}/{made['endpoint']['id']}/rotate", {"overlap": 0.0}).json
    assert again["endpoint"]["rotates_until"] is None


def test_what_failed_or_was_held_is_replayed(shop):
    with receiving() as receiver:
        receiver.answers["/gone"] = 410
        one = add(shop, receiver.url + "/gone")["endpoint"]["id"]
        shop.start()
        record(shop)
        send(shop)
        assert shop.get(f"{PATH}/{one}").json["status"] == "gone"
        since = {"since": "2020-01-01T00:00:00Z"}
        assert code_of(shop.post(f"{PATH}/{one}/replay", since)) == (409, "conflict")
        (held,) = shop.get("/v1/webhooks?status=held").json
        assert code_of(shop.post(f"/v1/webhooks/{held['id']}/replay")) == (409, "conflict")
        receiver.answers.clear()
        shop.post(f"{PATH}/{one}/enable")
        answer = shop.post(f"{PATH}/{one}/replay", since)
        assert (answer.status_code, answer.json) == (202, {"webhooks": 1})
        assert send(shop) == 1
        answer = shop.post(f"/v1/webhooks/{held['id']}/replay")
        assert (answer.status_code, answer.json) == (202, {"webhooks": 1})
        assert send(shop) == 1

    assert len({one.id for one in receiver.requests}) == 1
    assert [one["status"] for one in shop.get("/v1/webhooks").json[0]["tries"]] == [410, 200, 200]


def test_a_change_sends_elsewhere_what_waits(shop):
    with receiving() as receiver:
        one = add(shop)["endpoint"]["id"]
        shop.start()
        record(shop)
        changed = put(shop, f"{PATH}/{one}", {"url": receiver.url + "/new", "types": ["delivery"]})
        send(shop)

    assert changed.json["types"] == ["delivery"]
    assert [request.path for request in receiver.requests] == ["/new"]


def test_no_request_for_an_endpoint_is_logged_with_its_address_or_secret(shop, log):
    made = add(shop, URL + "?token=canary-token")
    shop.post(f"{PATH}/{made['endpoint']['id']}/rotate")

    assert "canary-token" not in log.getvalue()
    assert made["secret"] not in log.getvalue()
    assert [json.loads(line)["message"] for line in log.getvalue().splitlines()].count("endpoint_added") == 1
