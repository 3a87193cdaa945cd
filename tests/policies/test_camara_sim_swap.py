"""CAMARA SIM Swap on the wire: what is asked, what each answer means, and where tokens come from."""

import base64
import json
import socket
import threading
import time

import pytest
from pytest_httpserver import HTTPServer
from support_policies import NUMBER, REQUEST
from werkzeug import Request, Response

from otp_service.policies import camara_sim_swap
from otp_service.policies.base import ALLOW, DENY, PolicyContext, PolicyError, PolicyRunner, VerdictKind, not_by
from otp_service.policies.camara_sim_swap import ERRORS, CamaraSimSwapPolicy, CamaraSimSwapSettings
from otp_service.testing.provider import Behaviour, FakeProvider

CHECK, TOKEN = "/sim-swap/v2/check", "/oauth2/token"


def settings_of(url, **members):
    return CamaraSimSwapSettings.model_validate(
        {"unknown": "deny", "base_url": f"{url}/sim-swap/v2", "token": "given", "timeout": 1.0, **members}
    )


def policy_of(url, **members):
    return CamaraSimSwapPolicy(settings_of(url, **members), PolicyContext("simswap", production=True))


def client_of(httpserver, **members):
    """Return a policy that fetches its tokens."""
    own = {"token": None, "token_url": httpserver.url_for(TOKEN), "client_id": "ac:me", "client_secret": "s/1"}
    return policy_of(httpserver.url_for("").rstrip("/"), **own, **members)


def judged(policy):
    try:
        return policy.judge(REQUEST)
    except PolicyError as failure:
        return str(failure)


@pytest.fixture
def policy(httpserver: HTTPServer):
    return policy_of(httpserver.url_for("").rstrip("/"))


def requests_to(httpserver: HTTPServer, path: str) -> list[Request]:
    return [request for request, _ in httpserver.log if request.path == path]


def test_the_operator_is_asked_as_it_documents(httpserver: HTTPServer):
    httpserver.expect_request(CHECK).respond_with_json({"swapped": False})
    policy = policy_of(httpserver.url_for("/").rstrip("/"), max_age=72)

    assert policy.judge(REQUEST) == ALLOW
    (received,) = requests_to(httpserver, CHECK)
    assert received.method == "POST"
    assert received.headers["Content-Type"] == "application/json"
    assert received.headers["Authorization"] == "Bearer given"
    assert json.loads(received.data) == {"phoneNumber": NUMBER, "maxAge": 72}


def test_a_slash_at_the_end_of_the_address_is_not_doubled(httpserver: HTTPServer):
    httpserver.expect_request(CHECK).respond_with_json({"swapped": False})
    policy = policy_of("", base_url=httpserver.url_for("/sim-swap/v2/"))

    assert policy.judge(REQUEST) == ALLOW


@pytest.mark.parametrize(
    ("members", "verdict"),
    [
        ({}, DENY),
        ({"swapped": "deny"}, DENY),
        ({"swapped": "another_channel"}, not_by("sms", "voice")),
        ({"swapped": "another_channel", "channels": ["sms"]}, not_by("sms", "voice")),
        ({"swapped": "another_channel", "channels": ["sms", "whatsapp"]}, not_by("sms", "voice", "whatsapp")),
    ],
)
def test_a_new_sim_means_what_the_settings_say_and_never_a_call_to_it(httpserver: HTTPServer, members, verdict):
    httpserver.expect_request(CHECK).respond_with_json({"swapped": True})

    assert policy_of(httpserver.url_for("").rstrip("/"), **members).judge(REQUEST) == verdict


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "INVALID_ARGUMENT"),
        (400, "OUT_OF_RANGE"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "NOT_FOUND"),
        (404, "IDENTIFIER_NOT_FOUND"),
        (422, "SERVICE_NOT_APPLICABLE"),
        (422, "MISSING_IDENTIFIER"),
        (422, "UNNECESSARY_IDENTIFIER"),
        (429, "QUOTA_EXCEEDED"),
        (429, "TOO_MANY_REQUESTS"),
    ],
)
def test_an_error_is_not_known_and_its_code_is_told(httpserver: HTTPServer, policy, status, code):
    told = {"status": status, "code": code, "message": f"not for {NUMBER}"}
    httpserver.expect_request(CHECK).respond_with_json(told, status=status)

    assert code in ERRORS
    assert judged(policy) == f"http {status} {code}"
    assert len(requests_to(httpserver, CHECK)) == 1


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (503, "", "http 503"),
        (500, json.dumps({"code": NUMBER}), "http 500"),
        (400, json.dumps({"code": ["OUT_OF_RANGE"]}), "http 400"),
        (200, "", "http 200"),
        (200, "{}", "http 200"),
        (200, "[true]", "http 200"),
        (200, '{"swapped": "false"}', "http 200"),
        (200, '{"swapped": 0}', "http 200"),
        (200, '{"swapped": null}', "http 200"),
        (201, '{"swapped": false}', "http 201"),
        (200, 30_000 * "[", "http 200"),
        (200, '{"swapped": false, "x": "' + 70_000 * "x" + '"}', "answer too long"),
    ],
)
def test_what_is_not_a_plain_yes_or_no_is_not_known(httpserver: HTTPServer, policy, status, body, told):
    httpserver.expect_request(CHECK).respond_with_data(body, status=status)

    assert judged(policy) == told


def test_no_redirect_is_followed(httpserver: HTTPServer, policy):
    httpserver.expect_request("/elsewhere").respond_with_json({"swapped": False})
    httpserver.expect_request(CHECK).respond_with_data("", 307, {"Location": "/elsewhere"})

    assert judged(policy) == "http 307"
    assert requests_to(httpserver, "/elsewhere") == []


@pytest.mark.parametrize("behaviour", [Behaviour.SILENT, Behaviour.DRIP])
def test_a_server_that_never_ends_its_answer_is_not_waited_for(behaviour):
    with FakeProvider() as provider:
        provider.behaviour = behaviour
        asked = PolicyRunner("simswap", policy_of(provider.url), settings_of(provider.url, timeout=0.4), 2)
        began = time.monotonic()
        verdict = asked.judge(REQUEST)

        assert time.monotonic() - began < 0.8
    assert (verdict.kind, verdict.reason) == (VerdictKind.UNKNOWN, "timeout")


def test_nobody_there_is_not_known():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    assert judged(policy_of(f"http://127.0.0.1:{port}")) == "connection"


class Issuer:
    """A token endpoint and an API that takes its newest token only."""

    def __init__(self, httpserver: HTTPServer, **members) -> None:
        self.members = {"token_type": "Bearer", "expires_in": 3600, **members}
        self.issued = 0
        self.valid = ""
        self.lock = threading.Lock()
        httpserver.expect_request(TOKEN).respond_with_handler(self._issue)
        httpserver.expect_request(CHECK).respond_with_handler(self._check)

    def _issue(self, _: Request) -> Response:
        with self.lock:
            self.issued += 1
            self.valid = f"t{self.issued}"
            return Response(json.dumps({"access_token": self.valid, **self.members}), content_type="application/json")

    def _check(self, request: Request) -> Response:
        known = request.headers["Authorization"] == f"Bearer {self.valid}"
        body = {"swapped": False} if known else {"status": 401, "code": "UNAUTHENTICATED"}
        return Response(json.dumps(body), 200 if known else 401, content_type="application/json")


def test_a_token_is_fetched_once_and_kept(httpserver: HTTPServer):
    Issuer(httpserver)
    policy = client_of(httpserver)

    assert [judged(policy) for _ in range(3)] == [ALLOW] * 3
    (request,) = requests_to(httpserver, TOKEN)
    assert request.method == "POST"
    assert request.form.to_dict() == {"grant_type": "client_credentials", "scope": "sim-swap:check"}
    scheme, _, proof = request.headers["Authorization"].partition(" ")
    assert (scheme, base64.b64decode(proof)) == ("Basic", b"ac%3Ame:s%2F1")  # RFC 6749, 2.3.1


def test_many_requests_at_once_fetch_one_token(httpserver: HTTPServer):
    issuer, found = Issuer(httpserver), []
    policy = client_of(httpserver)
    threads = [threading.Thread(target=lambda: found.append(judged(policy))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [ALLOW] * 8
    assert issuer.issued == 1


def test_a_scope_that_is_empty_is_not_named(httpserver: HTTPServer):
    Issuer(httpserver)

    assert judged(client_of(httpserver, scope="")) == ALLOW
    assert requests_to(httpserver, TOKEN)[0].form.to_dict() == {"grant_type": "client_credentials"}


def test_a_token_that_is_refused_is_replaced_once(httpserver: HTTPServer):
    issuer = Issuer(httpserver)
    policy = client_of(httpserver)
    judged(policy)
    issuer.valid = "another"

    assert judged(policy) == ALLOW
    assert issuer.issued == 2
    assert len(requests_to(httpserver, CHECK)) == 3


def source_of(httpserver: HTTPServer) -> camara_sim_swap.OAuthTokens:
    members = {"token": None, "token_url": httpserver.url_for(TOKEN), "client_id": "a", "client_secret": "b"}
    return camara_sim_swap.OAuthTokens(settings_of("http://x", **members), camara_sim_swap.HttpClient(5))


def test_a_token_that_another_thread_has_replaced_is_not_replaced_again(httpserver: HTTPServer):
    Issuer(httpserver)
    source = source_of(httpserver)
    first = source.current()

    assert [source.replacement_for(first), source.replacement_for(first), source.current()] == ["t2"] * 3


def test_an_operator_that_takes_no_token_at_all_is_not_known(httpserver: HTTPServer):
    httpserver.expect_request(TOKEN).respond_with_json({"access_token": "t"})
    httpserver.expect_request(CHECK).respond_with_json({"code": "UNAUTHENTICATED"}, status=401)

    assert judged(client_of(httpserver)) == "http 401 UNAUTHENTICATED"
    assert len(requests_to(httpserver, TOKEN)) == len(requests_to(httpserver, CHECK)) == 2


@pytest.mark.parametrize(
    ("expires_in", "kept"),
    [(3600, 3569), (300, 269), (100, 89), ("300", 269), (None, 53), ("soon", 53), (10**9, 86_369)],
)
def test_a_token_is_kept_until_shortly_before_it_ends(httpserver: HTTPServer, monkeypatch, expires_in, kept):
    issuer, now = Issuer(httpserver, expires_in=expires_in), [1000.0]
    source = source_of(httpserver)

    monkeypatch.setattr(camara_sim_swap, "time", Still(now))
    first = source.current()
    now[0] += kept
    assert source.current() == first
    now[0] += 2
    assert source.current() != first
    assert issuer.issued == 2


class Still:
    """A clock of one module only: that of the calls goes on."""

    def __init__(self, now: list[float]) -> None:
        self._now = now

    def monotonic(self) -> float:
        return self._now[0]


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (400, '{"error": "invalid_client"}', "token http 400"),
        (200, "{}", "token http 200"),
        (200, "", "token http 200"),
    ],
)
def test_without_a_token_nothing_is_known_and_nobody_asks_again_at_once(
    httpserver: HTTPServer, monkeypatch, status, body, told
):
    httpserver.expect_request(TOKEN).respond_with_data(body, status=status)
    policy, now = client_of(httpserver), [1000.0]
    monkeypatch.setattr(camara_sim_swap, "time", Still(now))

    assert [judged(policy), judged(policy)] == [told, "no token"]
    now[0] += 1.1
    assert judged(policy) == told
    assert requests_to(httpserver, CHECK) == []


def test_a_token_that_cannot_stand_in_a_header_is_not_sent(httpserver: HTTPServer):
    httpserver.expect_request(TOKEN).respond_with_json({"access_token": "a\r\nX-Other: b"})

    assert judged(client_of(httpserver)) == "request cannot be sent"
