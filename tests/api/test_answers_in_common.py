"""What every answer has, what the log says of a request, and what operators ask."""

import json
import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from markupsafe import escape
from support_api import START, Api
from support_installation import API_KEY, NUMBER, InProduction, World
from support_service import eventually
from support_valkey import ValkeyServer

from otp_service.api import docs
from otp_service.clock import now
from otp_service.domain.keyring import time_of_request

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
PATHS = ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs/style.css", "/nothing", "/v1/nothing", START]


def _requests(log: StringIO) -> list[dict]:
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    return [line for line in lines if line["message"] == "request"]


def test_starts_and_checks_are_tried_by_the_hot_path_and_by_flask(request: pytest.FixtureRequest, api: Api):
    hot_path = request.node.callspec.params["hot_path"]

    assert hasattr(api.app.wsgi_app, "flask") == hot_path


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_has_the_same_headers(api: Api, path: str):
    for method in ("GET", "POST", "DELETE"):
        answer = api.call(method, path)
        assert {name: answer.headers.getlist(name) for name in HEADERS} == {
            name: [value] for name, value in HEADERS.items()
        }
        assert re.fullmatch("rq_[0-9a-f]{32}", answer.headers["X-Request-Id"])
        assert "Server" not in answer.headers
        assert "Set-Cookie" not in answer.headers


def test_a_request_id_is_always_our_own(api: Api):
    answers = [api.call("GET", "/healthz", headers={"X-Request-Id": "rq_mine"}) for _ in range(2)]

    assert len({answer.headers["X-Request-Id"] for answer in answers} | {"rq_mine"}) == 3


UUID, HEXADECIMAL = "7f0f54f2-3bb6-4b9f-a3b0-123456789012", "12345678" * 3 + "abcdef01"


@pytest.mark.parametrize(
    ("sent", "logged"),
    [
        (UUID, UUID),
        (HEXADECIMAL, HEXADECIMAL),
        (HEXADECIMAL.upper(), HEXADECIMAL.upper()),
        ("a1-x.67891233/abc=+@:_", "a1-x.[redacted]/abc=+@:_"),
        ("a" * 128, "a" * 128),
        (f"customer-{NUMBER}", "customer-[redacted]"),
        (NUMBER[1:].zfill(32), "[redacted]"),
        ("a" * 129, None),
        ("two words", None),
        ('"}', None),
        ("", None),
        ("é", None),
    ],
)
def test_an_id_of_a_proxy_is_logged_beside_ours_without_numbers(api: Api, log: StringIO, sent: str, logged: str | None):
    answer = api.call("GET", f"{START}/nothing", headers={"X-Request-Id": sent})
    (line,) = _requests(log)

    assert line.get("proxy_request_id") == logged
    assert line["request_id"] == answer.headers["X-Request-Id"] != sent


def test_ids_of_requests_are_in_the_order_of_time(api: Api):
    before = now()
    first = api.call("GET", "/healthz").headers["X-Request-Id"]
    eventually(lambda: now() > (time_of_request(first) or 0))
    second = api.call("GET", "/healthz").headers["X-Request-Id"]

    assert first < second
    assert before <= (time_of_request(first) or 0) <= now()


def test_the_log_names_the_request_without_anything_of_a_person(api: Api, log: StringIO):
    answer = api.post(START, {"to": NUMBER, "client_ip": "203.0.113.77", "metadata": {"a": "private"}})
    one = answer.json["id"]
    api.post(f"{START}/{one}/check", {"code": api.code(one)})
    api.get(f"{START}/{NUMBER}")
    api.get(f"/{NUMBER}?to={NUMBER}")
    started, checked, unknown, unmatched = _requests(log)

    assert started.pop("milliseconds") >= 0
    assert {name: started[name] for name in started if name not in {"timestamp", "logger"}} == {
        "level": "info",
        "message": "request",
        "method": "POST",
        "route": "/v1/verifications",
        "status": 201,
        "application": "shop",
        "verification": one,
        "request_id": answer.headers["X-Request-Id"],
    }
    assert (checked["route"], checked["verification"]) == ("/v1/verifications/<verification_id>/check", one)
    assert (unknown["route"], unknown["problem"]) == ("/v1/verifications/<verification_id>", "not-found")
    assert (unmatched["route"], unmatched["problem"]) == ("unmatched", "not-found")
    assert {"application", "verification"} & unmatched.keys() == {"verification"} & unknown.keys() == set()
    for private in ("3001234567", "203.0.113.77", "private", api.code(one), API_KEY):
        assert private not in log.getvalue()


def test_the_log_says_why_the_answer_is_a_no(api: Api, log: StringIO):
    one = api.start()
    code = api.code(one)
    api.post(f"{START}/{one}/check", {"code": api.wrong(one)})
    api.post(f"{START}/{one}/check", {"code": code})
    api.post(f"{START}/{one}/check", {"code": code})
    api.post(f"{START}/{one}/check", {"code": "12"})
    api.post(f"{START}/{one}/resend", {})
    api.post(START, {"to": "+92300"})
    told = [(line["status"], line.get("problem"), line.get("reason")) for line in _requests(log)]

    assert told == [
        (201, None, None),
        (200, None, "wrong_code"),
        (200, None, None),
        (200, None, "already_approved"),
        (422, "invalid-code", None),
        (409, "conflict", None),
        (422, "invalid-number", None),
    ]


def test_a_failure_of_ours_is_a_warning_and_a_probe_that_found_nothing_is_for_debug(tmp_path: Path, log: StringIO):
    server = ValkeyServer(tmp_path)
    api = Api(World(server.client, server.url, lambda _: None))
    api.installation.context.mirror_sync.refresh()
    for path in ("/healthz", "/readyz", "/nothing"):
        api.get(path)
    server.stop(kill=True)
    api.get("/readyz")
    api.post(START, {"to": NUMBER})
    told = [(line["route"], line["status"], line.get("problem"), line["level"]) for line in _requests(log)]

    assert told == [
        ("/healthz", 200, None, "debug"),
        ("/readyz", 200, None, "debug"),
        ("unmatched", 404, "not-found", "info"),
        ("/readyz", 503, None, "warning"),
        ("/v1/verifications", 503, "store-unavailable", "warning"),
    ]


def test_the_metrics_count_requests_by_template_and_name_no_person(api: Api):
    one = api.start()
    api.post(f"{START}/{one}/check", {"code": api.code(one)})
    api.post(START, {"to": "+92300"})
    text = api.get("/metrics").text

    assert re.search(r'request_duration_seconds_count\{method="POST",route="/v1/verifications",status="201"\} \d', text)
    assert re.search(r'route="/v1/verifications/<verification_id>/check",status="200"', text)
    assert re.search(r'verification_starts_total\{application="shop",country="PK",outcome="accepted"', text)
    assert re.search(r'verification_starts_total\{application="shop",country="",outcome="invalid-number"', text)
    assert re.search(r'checks_total\{application="shop",outcome="approved"\}', text)
    assert one not in text
    assert "923001234567" not in text


def test_alive_asks_nobody_and_ready_tells_what_it_found(api: Api):
    api.installation.context.mirror_sync.refresh()
    alive, ready = api.client.get("/healthz"), api.client.get("/readyz")

    assert (alive.status_code, alive.json) == (200, {"status": "alive", "details": {}})
    assert (ready.status_code, ready.json) == (
        200,
        {
            "status": "ready",
            "details": {"redis": "ok", "worker_age": None, "ledger": "ok", "access": "ledger", "starts": "accepted"},
        },
    )


def test_metrics_are_elsewhere_unless_the_settings_say_so(real_world: World):
    assert Api(real_world, http={"metrics_on_same_port": False}).client.get("/metrics").status_code == 404


class _Page(HTMLParser):
    """Collects what a page loads, links to, and calls by a name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, attribute: str) -> list[str]:
        return [values[attribute] or "" for _, values in self.tags if attribute in values]


def test_calls_can_be_tried_in_development_only(world: World):
    here, production = Api(world), Api(InProduction(world.client, world.url, world.advance))
    answers = [here.client.get(f"/docs/try{path}") for path in ("", "/try.js", "/swagger-ui.css", "/LICENSE", "/..")]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 404]
    assert "'unsafe" not in answers[0].headers["Content-Security-Policy"]
    assert "docs/try" not in production.client.get("/docs").text
    for path in ("", "/try.js", "/swagger-ui-bundle.js"):
        assert production.client.get(f"/docs/try{path}").status_code == 404


def test_without_its_extra_the_page_that_makes_calls_is_absent_and_names_the_extra(world: World, monkeypatch):
    monkeypatch.setattr(docs, "_SWAGGER_UI", "absent_package")
    client = Api(world).client

    for path in ("", "/try.js", "/swagger-ui.css"):
        answer = client.get(f"/docs/try{path}")
        assert (answer.status_code, "pip install 'otp-service[try]'" in answer.json["detail"]) == (404, True)
    assert client.get("/docs").status_code == 200
    assert "docs/try" not in client.get("/docs").text


def test_the_page_works_without_the_internet_and_without_scripts(api: Api):
    answer = api.client.get("/docs")
    page = _Page(answer.text)

    assert answer.mimetype == "text/html"
    assert answer.headers.getlist("Content-Security-Policy") == [
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ]
    assert {tag for tag, _ in page.tags} & {"script", "img", "iframe", "style", "form", "object"} == set()
    assert page.all("style") == page.all("src") == []
    links = {link for link in page.all("href") if not link.startswith(("#", "problems/"))}
    assert links == {"docs/style.css", "docs/try", "openapi.json"}
    assert all(api.client.get(link).status_code == 200 for link in page.all("href") if link.startswith("problems/"))
    assert api.client.get("/docs/style.css").mimetype == "text/css"
    assert not re.search(r"url\(|@import|https?:", api.client.get("/docs/style.css").text)


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({"Host": "otp.internal:8081"}, "http://otp.internal:8081"),
        ({"Host": "[::1]:8080"}, "http://[::1]:8080"),
        ({"Host": "shop.example", "X-Forwarded-Proto": "https"}, "https://shop.example"),
        ({"Host": "shop.example", "X-Forwarded-Proto": "javascript"}, "http://shop.example"),
        ({"Host": "otp.example"}, "https://otp.example/base"),
    ],
)
def test_the_pages_examples_call_the_address_that_it_was_asked_at(real_world: World, headers: dict[str, str], url: str):
    api = Api(real_world, http={"public_url": "https://otp.example/base"})

    assert f"<code>URL={url}\n" in api.call("GET", "/docs", headers=headers).text


@pytest.mark.parametrize(
    "host", ["<script>alert(1)</script>", 'a"b', "shop example", "a;rm", "$(id)", "`id`", "a,b", "a&b", "é"]
)
def test_a_host_that_is_none_gets_into_no_page(api: Api, host: str):
    answer = api.call("GET", "/docs", headers={"Host": host})

    assert answer.status_code == 400 or "<code>URL=http://127.0.0.1:8080\n" in answer.text
    assert host not in answer.text


def test_the_page_shows_every_call_member_and_code(api: Api):
    text = api.client.get("/docs").text
    page = _Page(text)
    spec = api.client.get("/openapi.json").json
    names = set(page.all("id"))

    for methods in spec["paths"].values():
        for operation in methods.values():
            assert operation["operationId"] in names
            assert escape(operation["summary"]) in text
    for schema in spec["components"]["schemas"].values():
        for member in schema.get("properties", ()):
            assert f"<code>{member}</code>" in text
    assert {link[1:] for link in page.all("href") if link.startswith("#")} <= names
    assert "`" not in text
    assert "{%" not in text


def test_the_pages_examples_name_nothing_that_it_does_not_define_and_its_paths_break_at_slashes(api: Api):
    text = api.client.get("/docs").text
    used = set(re.findall(r"\$([A-Z_]+)", text))

    assert used == {"URL", "KEY", "ID", "NAME", "KEY_ID"}
    assert {name for name in used if re.search(rf"^(<pre.*<code>)?{name}=", text, re.MULTILINE)} == used
    assert "<code><wbr>/v1<wbr>/verifications<wbr>/{verification_id}<wbr>/check</code>" in text


def test_who_comes_to_the_wrong_place_is_told_where_the_documentation_is(api: Api):
    assert "/docs" in api.client.get("/").json["detail"]
