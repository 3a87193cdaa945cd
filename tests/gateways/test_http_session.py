"""What `http` computes for a request: a cached token, a digest, XML."""

import base64
import hashlib
import hmac
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import ValidationError
from support_gateways import MESSAGE, make

from otp_service.gateways.base import Accepted, GatewayError
from otp_service.gateways.http import HttpSettings
from otp_service.testing import provider as provider_module
from otp_service.testing.provider import FakeProvider
from otp_service.testing.samples import CannedResponse, SampleSession

TIMEOUT = 0.5


def token_settings(provider: FakeProvider, **token: object) -> dict[str, object]:
    return {
        "url": f"{provider.url}/messages",
        "timeout": TIMEOUT,
        "headers": {"Authorization": "Bearer {token}"},
        "json": {"to": "{to}"},
        "secrets": {"password": "password-of-the-test"},
        "token": {
            "url": f"{provider.url}/token",
            "json": {"password": "{secret.password}"},
            "value": {"json": "access_token"},
            **token,
        },
    }


def give(provider: FakeProvider, token: str, status: int = 200, **members: object) -> None:
    """Let the provider give out a token from now on."""
    body = json.dumps({"access_token": token, **members})
    provider.session = SampleSession(path="/token", response=CannedResponse(status=status, body=body))


def send(gateway, message=MESSAGE) -> Accepted | tuple[str, str | None, bool]:
    try:
        return gateway.send(message)
    except GatewayError as failure:
        return str(failure.kind), failure.provider_code, failure.ambiguous


def shown(provider: FakeProvider) -> list[str]:
    return [request.headers["authorization"] for request in provider.received]


def test_a_token_is_asked_for_once_and_kept(provider):
    give(provider, "first")
    gateway = make("http", **token_settings(provider) | {"timeout": 20.0})
    with ThreadPoolExecutor(20) as threads:
        outcomes = list(threads.map(lambda _: send(gateway), range(20)))

    assert outcomes == [Accepted(MESSAGE.dispatch_id)] * 20
    assert [request.document for request in provider.sessions] == [{"password": "password-of-the-test"}]
    assert set(shown(provider)) == {"Bearer first"}


@pytest.mark.parametrize("expires_in", [1, {"json": "life"}])
def test_a_token_that_is_over_is_asked_for_anew(provider, expires_in, monkeypatch):
    give(provider, "first", life="1")
    gateway = make("http", **token_settings(provider, expires_in=expires_in))
    send(gateway)
    give(provider, "second", life=3600)
    later = time.monotonic() + 1
    monkeypatch.setattr("otp_service.gateways.http.time.monotonic", lambda: later)
    send(gateway)

    assert shown(provider) == ["Bearer first", "Bearer second"]


def test_a_token_that_is_refused_is_asked_for_anew_and_the_message_sent_once_more(provider, monkeypatch):
    give(provider, "first")
    gateway = make("http", **token_settings(provider))
    send(gateway)
    give(provider, "second")
    statuses = iter([401, 200])
    _answer_by(provider, lambda _: next(statuses), monkeypatch)

    assert send(gateway) == Accepted(MESSAGE.dispatch_id)
    assert shown(provider) == ["Bearer first", "Bearer first", "Bearer second"]
    assert len(provider.sessions) == 2


def test_a_provider_that_refuses_every_token_refuses_the_account(provider):
    give(provider, "first")
    provider.response = CannedResponse(status=401)
    gateway = make("http", **token_settings(provider))

    assert send(gateway) == ("account", "http 401", False)
    assert len(provider.received) == 2


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, ("account", "token http 400", False)),
        (401, ("account", "token http 401", False)),
        (429, ("throttled", "token http 429", False)),
        (500, ("error", "token http 500", False)),
        (503, ("unavailable", "token http 503", False)),
        (504, ("unavailable", "token http 504", False)),
    ],
)
def test_without_a_token_nothing_is_sent(provider, status, outcome):
    give(provider, "none", status)
    gateway = make("http", **token_settings(provider))

    assert send(gateway) == outcome
    assert provider.received == []
    give(provider, "now")
    assert send(gateway) == Accepted(MESSAGE.dispatch_id)


@pytest.mark.parametrize("body", ["", "{}", "[]", '{"access_token": ""}', '{"access_token": "a\\nb"}'])
def test_an_answer_without_a_token_refuses_the_account(provider, body):
    provider.session = SampleSession(path="/token", response=CannedResponse(body=body))

    assert send(make("http", **token_settings(provider))) == ("account", "no token in the answer", False)


def test_the_time_out_is_that_of_all_requests_together(provider, monkeypatch):
    give(provider, "first")
    slow = SampleSession.model_copy(provider.session)
    _answer_by(provider, lambda _: time.sleep(0.3) or 401, monkeypatch)
    provider.session = slow
    gateway = make("http", **token_settings(provider))
    begun = time.monotonic()

    assert send(gateway) == ("unavailable", "timeout", True)
    assert time.monotonic() - begun < TIMEOUT + 1


def test_a_silent_token_endpoint_holds_up_no_message_longer_and_is_not_ambiguous(provider):
    with FakeProvider() as other:
        other.behaviour = "silent"
        settings = token_settings(provider) | {"token": {"url": f"{other.url}/token", "value": {"json": "t"}}}
        gateway = make("http", **settings)
        begun = time.monotonic()
        with ThreadPoolExecutor(4) as threads:
            outcomes = set(threads.map(lambda _: send(gateway), range(4)))

        assert outcomes <= {("unavailable", "token timeout", False)}
        assert time.monotonic() - begun < TIMEOUT + 1
        assert provider.received == []


def _answer_by(provider: FakeProvider, status, monkeypatch) -> None:
    """Let a function of the request choose each answer's status."""

    def answer(handler, fake, received):
        handler.reply(CannedResponse(status=status(received)))

    monkeypatch.setitem(provider_module._BEHAVIOURS, provider.behaviour, answer)


@pytest.mark.parametrize(
    ("algorithm", "encoding"),
    [("sha256", "hex"), ("sha256", "base64"), ("sha512", "hex"), ("sha1", "base64"), ("md5", "hex")],
)
@pytest.mark.parametrize(
    "body", [{"json": {"text": "{text}"}}, {"form": {"text": "{text}"}}, {"xml": "<t>{text}</t>"}, {}]
)
def test_a_digest_is_over_what_is_sent(provider, algorithm, encoding, body):
    settings = {
        "url": f"{provider.url}/send",
        "headers": {"X-Time": "{timestamp_ms}", "X-Nonce": "{nonce}", "X-Sign": "v1={hmac}"},
        "secrets": {"key": "key of the test"},
        "hmac": {
            "key": "{secret.key}",
            "over": "{to}.{timestamp_ms}.{nonce}.{body}",
            "algorithm": algorithm,
            "encoding": encoding,
        },
        **body,
    }  # fmt: skip
    for _ in range(2):
        send(make("http", **settings))
    first, second = provider.received

    for received in (first, second):
        headers = received.headers
        over = f"{MESSAGE.to}.{headers['x-time']}.{headers['x-nonce']}.".encode() + received.body
        digest = hmac.new(b"key of the test", over, getattr(hashlib, algorithm)).digest()
        expected = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
        assert headers["x-sign"] == f"v1={expected}"
        assert abs(int(headers["x-time"]) / 1000 - time.time()) < 60
    assert first.headers["x-nonce"] != second.headers["x-nonce"]


@pytest.mark.parametrize(
    ("over", "fault"),
    [
        ({"headers": {"X": "{hmac}"}}, "hmac, which is not set"),
        ({"headers": {"X": "{token}"}}, "token, which is not set"),
        ({"query": {"x": "{hmac}"}, "hmac": {"key": "k", "over": "{to}"}}, "for headers"),
        ({"headers": {"X": "{hmac}"}, "hmac": {"key": "{secret.none}", "over": "{to}"}}, "secrets.none"),
        ({"headers": {"X": "{hmac}"}, "hmac": {"key": "k", "over": "{hmac}"}}, "hmac.over cannot have"),
        ({"headers": {"X": "{hmac}"}, "hmac": {"key": "k", "over": "{receipt_url}"}}, "may have no value"),
        ({"query": {"x": "{body}"}}, "for hmac.over"),
        ({"headers": {"X": "{body}"}}, "a single line"),
        ({"xml": "<a/>", "form": {"x": "y"}}, "either form, json or xml"),
        ({"xml": "<a>{nobody}</a>"}, "unknown placeholder"),
        ({"token": {"url": "https://a.example/{to}", "value": {"json": "t"}}}, "for all messages"),
        ({"token": {"url": "https://a.example", "form": {"x": "{token}"}, "value": {"json": "t"}}}, "for all messages"),
        ({"token": {"url": "https://a.example", "form": {"x": "{secret.no}"}, "value": {"json": "t"}}}, "secrets.no"),
        ({"token": {"url": "ftp://a.example", "value": {"json": "t"}}}, "must start with http"),
        ({"token": {"url": "https://a.example", "value": {"json": "t"}, "expires_in": 0}}, "expires_in"),
    ],
)
def test_a_section_that_cannot_work_is_refused(over, fault):
    with pytest.raises(ValidationError, match=fault):
        HttpSettings.model_validate({"url": "https://sms.example.net/send", **over})


def test_no_secret_is_shown():
    settings = HttpSettings.model_validate(
        {
            "url": "https://sms.example.net/send",
            "secrets": {"key": "very-secret"},
            "headers": {"X": "{hmac}"},
            "hmac": {"key": "{secret.key}", "over": "{to}"},
        }
    )

    assert "very-secret" not in f"{settings!r}{settings.model_dump()}"
