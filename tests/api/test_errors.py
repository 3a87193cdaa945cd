"""Every error as a problem, whatever raised it, and none that tells what it should not."""

import html
import re
from io import StringIO
from pathlib import Path

import pytest
from support_api import START, Api, code_of
from support_installation import BANK_KEY, NUMBER, TRANSACTION, World
from support_valkey import ValkeyServer

from otp_service import errors
from otp_service.api.errors import PROBLEM_KINDS

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "BREW")


def _classes(root: type[errors.OtpServiceError] = errors.OtpServiceError) -> set[type[errors.OtpServiceError]]:
    return {root}.union(*map(_classes, root.__subclasses__()))


@pytest.mark.parametrize("code", sorted({error.code for error in _classes()}))
def test_every_error_of_the_rules_has_a_status_and_a_title(code: str):
    assert PROBLEM_KINDS[code].title
    assert PROBLEM_KINDS[code].status in range(400, 600)


def test_a_problems_type_leads_to_a_page_with_the_words_of_the_document(api: Api):
    for code, kind in PROBLEM_KINDS.items():
        answer = api.client.get(f"/problems/{code}")
        shown = html.unescape(re.sub(r"<[^>]+>", "", answer.text))
        assert (answer.status_code, answer.mimetype) == (200, "text/html")
        assert kind.title in shown
        for words in (kind.when, kind.do):
            assert re.sub(r"\[([^\]]+)\]\([^)]+\)|`", r"\1", f"{words[0].upper()}{words[1:]}.") in shown
    refused = api.client.get("/v1/nothing").json["type"]
    assert api.client.get(refused).status_code == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


FURTHER = {errors.MessageNotAllowedError: ("PK",), errors.InvalidUrlError: ("The address cannot be read.",)}
"""What errors are made of, before what most of them are made of."""


@pytest.mark.parametrize("error", sorted(_classes(), key=lambda error: error.__name__))
def test_an_error_says_how_long_to_wait_where_waiting_helps(error: type[errors.OtpServiceError]):
    made = error(*FURTHER.get(error, ()), *("text", 7)[: 1 + issubclass(error, errors.TooManyError)])

    assert (made.retry_after is not None) == (
        PROBLEM_KINDS[made.code].status in {429, 503} or error is errors.TooManyError
    )


CASES = {
    "invalid-request": lambda api: api.post(START, {"to": 1}),
    "forbidden": lambda api: api.post(START, {"to": NUMBER, "purpose": "unknown"}),
    "not-found": lambda api: api.get(f"{START}/vf_k1_00{'0' * 32}"),
    "method-not-allowed": lambda api: api.get(START),
    "conflict": lambda api: api.post(f"{START}/{_canceled(api)}/resend"),
    "body-too-large": lambda api: api.raw(START, b" " * 9000),
    "unsupported-media-type": lambda api: api.raw(START, b"{}", "text/plain"),
    "invalid-number": lambda api: api.post(START, {"to": "+92300"}),
    "number-type-not-allowed": lambda api: api.post(START, {"to": "+442079460000"}),
    "country-not-allowed": lambda api: api.post(START, {"to": "+12025550123"}),
    "channel-not-available": lambda api: api.post(START, {"to": NUMBER, "channel": "whatsapp"}),
    "invalid-transaction": lambda api: api.post(START, {"to": NUMBER, "purpose": "payment"}),
    "invalid-time": lambda api: api.call(
        "PUT", "/v1/suppressions", json={"to": NUMBER, "until": "2020-01-01T00:00:00Z"}
    ),
    "invalid-code": lambda api: api.post(f"{START}/{api.start()}/check", {"code": "12345a"}),
    "idempotency-mismatch": lambda api: [
        api.post(START, {"to": number}, Idempotency_Key="k") for number in (NUMBER, "+923001234568")
    ][1],
    "rate-limited": lambda api: [api.post(START, {"to": NUMBER}) for _ in range(6)][5],
    "resend-too-soon": lambda api: api.post(f"{START}/{api.start()}/resend"),
}


def _canceled(api: Api) -> str:
    one = api.start()
    api.post(f"{START}/{one}/cancel")
    return one


@pytest.mark.parametrize("code", CASES)
def test_an_error_has_its_status(api: Api, code: str):
    answer = CASES[code](api)

    assert code_of(answer) == (PROBLEM_KINDS[code].status, code)
    assert answer.json["title"] == PROBLEM_KINDS[code].title
    assert NUMBER not in answer.text


def test_a_verification_without_sends_left(real_world: World):
    api = Api(real_world, purposes={"login": {"resend_delays": [0], "max_sends": 1}})

    assert code_of(api.post(f"{START}/{api.start()}/resend")) == (409, "no-sends-left")


def test_a_full_backlog_says_when_to_come_back(real_world: World):
    api = Api(real_world, streams={"max_outbox": 10}, purposes={"login": {"resend_delays": [0]}})
    one = [api.start(f"+92300123456{digit}") for digit in range(10)][-1]
    for answer in (api.post(START, {"to": NUMBER}), api.post(f"{START}/{one}/resend")):
        assert code_of(answer) == (503, "backlog-full")
        assert answer.headers["Retry-After"] == "5"


def test_a_backlog_that_would_outlive_a_code_refuses_it_at_the_door(real_world: World):
    """The message would be queued behind one that nobody has sent for as long as the code lives."""
    api = Api(real_world, purposes={"login": {"ttl": 60, "resend_delays": [0]}})
    one = api.start()
    real_world.advance(61)
    before = len(api.keys())

    for answer in (api.post(START, {"to": NUMBER}), api.post(START, {"to": "+923001234568"}, Idempotency_Key="k")):
        assert code_of(answer) == (503, "backlog-full")
        assert answer.json["retry_after"] >= 1
    assert len(api.keys()) == before, "nothing is kept of what was refused"
    assert api.get(f"{START}/{one}").json["status"] == "expired"
    api.deliver()
    assert api.post(START, {"to": NUMBER}).status_code == 201


@pytest.mark.parametrize(
    "transaction",
    [{**TRANSACTION, **part} for part in ({"amount": "1,500"}, {"payee": "Pay 482910 now"}, {"currency": "XXY"})],
)
def test_a_transaction_that_cannot_be_shown(api: Api, transaction: dict):
    answer = api.post(START, {"to": NUMBER, "purpose": "payment", "transaction": transaction})

    assert code_of(answer) == (422, "invalid-transaction")
    assert "482910" not in answer.text
    assert api.keys() == set()


def test_a_recipients_limits_are_answered_alike_whichever_refused(real_world: World):
    def refused(**sections) -> str:
        api = Api(real_world, **sections)
        real_world.client.flushall()
        api.start()
        real_world.advance(1)  # within a millisecond the two kinds of windows differ by one, which is an hour if told
        answer = api.post(START, {"to": NUMBER})
        assert code_of(answer) == (429, "rate-limited")
        assert "RateLimit" not in answer.headers
        assert "RateLimit-Policy" not in answer.headers
        return answer.text.replace(answer.json["decision"], "DECISION")

    many = ["1000/hour"]
    by_number = refused(limits={"number": ["1/hour"], "ip": many})
    by_address = refused(limits={"number": many, "ip": ["1/hour"]})

    assert by_number == by_address


def test_the_applications_own_quota_is_told_when_it_refuses(real_world: World):
    api = Api(real_world, limits={"application": ["1/minute"]})
    api.start()
    real_world.advance(1)  # both in one millisecond would have to wait for 60.001 s
    answer = api.post(START, {"to": "+923001234568"})

    assert code_of(answer) == (429, "rate-limited")
    assert answer.headers["RateLimit-Policy"] == '"application";q=1;w=60'
    assert re.fullmatch(r'"application";r=0;t=\d{1,2}', answer.headers["RateLimit"])
    assert answer.json["retry_after"] in range(1, 61)


@pytest.mark.parametrize(
    "key",
    [None, "", "Bearer", "Bearer ", "Bearer nonsense", "Basic b3RwOng=", "otp_test_shop", "Bearer ключ",
     "Bearer otp_test_shop,Bearer otp_test_shop", "Bearer " + "x" * 9000],
)  # fmt: skip
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", START), ("GET", f"{START}/x"), ("POST", f"{START}/x/check"), ("GET", "/v1/sandbox/messages"),
     ("GET", "/v1/"), ("GET", "/v1/nothing"), ("DELETE", START), ("GET", "/v1//verifications")],
)  # fmt: skip
def test_a_caller_that_is_not_known_learns_nothing_of_what_there_is(api: Api, method: str, path: str, key: str | None):
    headers = {} if key is None else {"Authorization": key.encode().decode("latin-1")}
    answer = api.client.open(path, method=method, headers=headers, data=b"not even JSON")

    assert code_of(answer) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.text == api.client.get("/v1/other").text


def test_every_key_of_an_application_is_taken_in_any_case_of_the_scheme(api: Api):
    for scheme in ("Bearer", "bearer", "BEARER "):
        answer = api.client.get("/v1/sandbox/messages", headers={"Authorization": f"{scheme} {BANK_KEY}"})
        assert answer.status_code == 200


@pytest.mark.parametrize("method", METHODS)
def test_no_method_on_any_route_is_a_failure_of_ours(api: Api, method: str):
    api.installation.context.mirror_sync.refresh()
    taken: dict[str, set[str]] = {}
    for rule in api.app.url_map.iter_rules():
        taken.setdefault(re.sub(r"<\w+>", "x", rule.rule), set()).update(rule.methods or ())
    for path, methods in taken.items():
        answer = api.call(method, path)
        assert answer.status_code < 500, path
        if path.startswith("/twilio/"):
            assert answer.status_code == 401, "another kind of authentication comes first"
        elif method not in methods:
            assert answer.status_code == 405
            assert set(answer.headers["Allow"].split(", ")) == methods
            if method != "HEAD":
                assert code_of(answer) == (405, "method-not-allowed")


@pytest.mark.parametrize("call", ["", "/ID/check", "/ID/resend", "/ID/cancel"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_reading_never_sends_or_checks(api: Api, call: str, method: str):
    if call:
        one = api.start()
        call = call.replace("ID", one)
    before = {key: api.world.client.dump(key) for key in api.keys()}

    assert api.call(method, START + call).status_code == 405
    assert {key: api.world.client.dump(key) for key in api.keys()} == before


PATHS = [
    "/", "/v1", "/verifications", "//v1/verifications", "/v1/verifications/", "/v1/./verifications", "/%00", "/%ff%fe",
    "/v1/verifications/a/check/b", "/.env", "/docs/", "/docs/../../errors.py",
    "/docs/docs.html", "/static/x", "/" + "a" * 8000, "/v1/verifications/" + "%F0%9F%98%80" * 50, "/v1/receipts/",
    "/v1/receipts/primary", "/problems/", "/problems/nothing", "/problems/not-found/",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_is_none_of_ours_is_not_found(api: Api, path: str):
    assert code_of(api.get(path)) == (404, "not-found")


@pytest.mark.parametrize("host", ["a b", "[::1", "x" * 300, "evil.example:99999999", "\x7f"])
def test_a_malformed_host_is_no_failure_of_ours(api: Api, host: str):
    answer = api.call("GET", "/healthz", headers={"Host": host})

    assert answer.status_code in {200, 400}


def test_a_body_that_breaks_off_is_malformed(api: Api):
    answer = api.call(
        "POST", START, headers={"Content-Type": "application/json"}, environ_overrides={"CONTENT_LENGTH": "50"}
    )

    assert code_of(answer) == (400, "invalid-request")


@pytest.mark.parametrize("call", ["resend", "cancel"])
def test_chunks_that_break_off_are_not_taken_for_an_absent_body(api: Api, call: str):
    one = api.start()
    answer = api.call(
        "POST", f"{START}/{one}/{call}", headers={"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
    )

    assert code_of(answer) == (400, "invalid-request")


def test_a_defect_of_ours_shows_nothing_and_is_logged_with_the_request(
    api: Api, monkeypatch: pytest.MonkeyPatch, log: StringIO
):
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("otp_service.api.verifications.read", broken)
    answer = api.get(f"{START}/{api.start()}")
    written = log.getvalue()

    assert code_of(answer) == (500, "internal")
    assert "secret detail" not in answer.text
    assert "Traceback" in written
    assert "secret detail" in written
    assert answer.headers["X-Request-Id"] in written


def test_a_lost_store_is_told_in_time_and_forgotten_when_it_is_back(tmp_path: Path):
    server = ValkeyServer(tmp_path)
    try:
        api = Api(World(server.client, server.url, lambda _: None))
        one = api.start()
        server.stop(kill=True)
        answers = [
            api.post(START, {"to": NUMBER}),
            api.get(f"{START}/{one}"),
            api.post(f"{START}/{one}/check", {"code": "000000"}),
            api.post(f"{START}/{one}/resend"),
            api.post(f"{START}/{one}/cancel"),
            api.get("/v1/sandbox/messages"),
        ]
        not_ready, metrics = api.get("/readyz"), api.get("/metrics").text
        server.start()
        api.installation.context.mirror_sync.refresh()
        back = api.post(START, {"to": NUMBER})
    finally:
        server.stop()

    assert {code_of(answer) for answer in answers} == {(503, "store-unavailable")}
    assert {answer.headers["Retry-After"] for answer in answers} == {"1"}
    assert 'store_errors_total{operation="verifications.start"}' in metrics
    assert (not_ready.status_code, not_ready.mimetype) == (503, "application/json")
    assert not_ready.json == {
        "status": "unavailable",
        "details": {
            "redis": "unavailable",
            "worker_age": None,
            "ledger": "ok",
            "access": "ledger",
            "starts": "redis-silent",
        },
    }
    assert back.status_code == 201
