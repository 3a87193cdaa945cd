"""The Python client: all operations, what it shows, what it leaves behind, webhooks, fakes."""

import asyncio
import base64
import copy
import dataclasses
import hmac
import inspect
import json
import math
import os
import random
import re
import subprocess
import sys
import threading
import time
import tomllib
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import httpx
import pytest
from otp_service_client import (
    ApiError,
    AsyncOtpService,
    InvalidWebhook,
    OtpError,
    OtpService,
    RateLimited,
    Refused,
    TimedOut,
    Unavailable,
    webhooks,
)
from otp_service_client.calls import FAST, SLOW, Resource, method
from otp_service_client.testing import STATUSES, AsyncFakeOtpService, FakeOtpService
from standardwebhooks.webhooks import Webhook
from support_clients import CASES, Script, scripted
from support_installation import SPELLINGS
from support_service import eventually
from support_sources import ROOT

from otp_service.api.app import all_routes
from otp_service.api.docs import build_specification
from otp_service.api.errors import PROBLEM_KINDS

SPECIFICATION = build_specification(list(all_routes(with_metrics=True)))
NOT_FOR_APPLICATIONS = {"Operation": "for load balancers, Prometheus and people", "Gateways": "called by gateways"}
"""Sections of the API that no client has, and why."""
HELPERS = {"sandbox.code_of"}
"""Methods that are not one operation."""
MORE = {
    "consent": {"given_at": datetime(2026, 11, 24, tzinfo=UTC)}, "types": ["verification"], "scopes": ["verify"],
    "by": ["hour", "country"],
}  # fmt: skip
"""Arguments that are no texts."""
SECRET = "otp_a_secret_key"
SCRIPT_OF_STARTS = next(number for number, one in enumerate(CASES["scripted"]) if one["name"] == "an answer at once")
SCRIPT_OF_SILENCE = next(number for number, one in enumerate(CASES["scripted"]) if "silent" in str(one["steps"]))
CROWD = 1000
AT = "2026-11-24T22:00:00Z"


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in SPECIFICATION["paths"].items():
        for verb, one in methods.items():
            if verb in {"get", "put", "post", "delete"} and not set(one["tags"]) & NOT_FOR_APPLICATIONS.keys():
                yield f"{verb.upper()} {re.sub('[{}]', '', path)}", one


def _methods(resource: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield all methods of a resource and of those within it, by their dotted names."""
    for member, one in inspect.getmembers(type(resource)):
        if isinstance(one, method) and f"{name}.{member}" not in HELPERS:
            yield f"{name}.{member}", getattr(resource, member)
    for member, one in vars(resource).items():
        if isinstance(one, Resource):
            yield from _methods(one, f"{name}.{member}")


def _called() -> Iterator[tuple[str, httpx.Request, Any]]:
    """Call every method with all its arguments; yield its name, the request that it makes, and what it returns."""
    made: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        made.append(request)
        return httpx.Response(418)

    client = OtpService("http://service", SECRET, timeout=60, retries=0, transport=httpx.MockTransport(refuse))
    for name, resource in vars(client).items():
        for full, call in _methods(resource, name) if isinstance(resource, Resource) else ():
            signature = inspect.signature(call)
            with pytest.raises(ApiError):
                call(**{one: MORE.get(one, one) for one in signature.parameters})
            yield full, made[-1], get_type_hints(call.__wrapped__)["return"]


CALLED = list(_called())


def test_every_operation_has_one_method_and_no_method_is_without_operation():
    asked = [f"{request.method} {request.url.path}" for _, request, _ in CALLED]

    assert sorted(asked) == sorted(name for name, _ in _operations())
    assert {
        tag for methods in SPECIFICATION["paths"].values() for one in methods.values() for tag in one["tags"]
    } > set(NOT_FOR_APPLICATIONS)


@pytest.mark.parametrize(("name", "request_", "returned"), CALLED, ids=[name for name, _, _ in CALLED])
def test_a_method_sends_and_returns_the_members_of_its_operation(name: str, request_: httpx.Request, returned: Any):
    operation = dict(_operations())[f"{request_.method} {request_.url.path}"]
    parameters = {one["name"]: one["in"] for one in operation.get("parameters", [])}

    assert set(request_.url.params) == {one for one, place in parameters.items() if place == "query"}
    assert ("Idempotency-Key" in request_.headers) == ("Idempotency-Key" in parameters)
    if "requestBody" in operation:
        schema = _resolved(operation["requestBody"]["content"]["application/json"]["schema"])
        given = set(json.loads(request_.content)) - ({"consent"} if name == "consents.record" else set())
        assert given == set(schema.get("properties", {})) - _of_consent(name)
    (success,) = [one for status, one in operation["responses"].items() if status.startswith("2")]
    _must_match(returned, success["content"]["application/json"]["schema"])


def _of_consent(name: str) -> set[str]:
    """Return the members that a consent brings along: the dummy has one of them."""
    others = {"text_version", "text_sha256", "locale", "channel", "source"}
    return others if name == "consents.record" else set()


def test_calls_that_ask_a_database_have_more_time():
    slow = {f"{route.method} {re.sub('[<>]', '', route.rule)}" for route in all_routes(with_metrics=True)
            if route.asks_ledger}  # fmt: skip
    for name, request, _ in CALLED:
        seconds = request.extensions["timeout"]["read"]
        assert seconds == SLOW if f"{request.method} {request.url.path}" in slow else seconds in {FAST, SLOW}, name


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    return SPECIFICATION["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _must_match(kind: Any, schema: dict[str, Any]) -> None:
    """Check that a type has exactly the members of a schema, and those theirs."""
    if get_origin(kind) is types.UnionType:
        return _must_match(get_args(kind)[0], next(one for one in schema["anyOf"] if one != {"type": "null"}))
    schema = _resolved(schema)
    if get_origin(kind) is tuple:
        return _must_match(get_args(kind)[0], schema["items"])
    if dataclasses.is_dataclass(kind):
        assert {one.name for one in dataclasses.fields(kind)} == set(schema["properties"]), kind
        for name, hint in get_type_hints(kind).items():
            _must_match(hint, schema["properties"][name])
    return None


def test_every_code_of_an_error_has_its_class_and_can_be_faked():
    for code, kind in PROBLEM_KINDS.items():
        assert code in STATUSES[kind.status].split(), code
        assert type(ApiError.of(kind.status, {"code": code})) is not ApiError, code
    assert {code for codes in STATUSES.values() for code in codes.split()} == set(PROBLEM_KINDS)


def test_nothing_that_is_printed_has_a_key_a_code_or_a_number():
    number, code = "+923001234567", "482913"
    fake = FakeOtpService(code=code)
    started = fake.verifications.start(number, metadata={"card": "4821"})
    shown = [fake, fake.verifications, started, fake.verifications.check(started.id, code), fake.sandbox.messages()]
    fake.fail_with("internal")
    with pytest.raises(OtpError) as raised:
        fake.verifications.start(number)
    shown += [raised.value, copy.copy(raised.value), OtpService("http://service", SECRET)]
    texts = " ".join(f"{one!r} {one}" for one in shown)

    assert not [one for one in (number[1:], code, SECRET, "4821") if one in texts]


@pytest.mark.parametrize("key", ["", "two words", "clé", "a\nb"])
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(key: str):
    with pytest.raises(ValueError, match=r"^key is no API key$"):
        OtpService("http://service", key)


@pytest.mark.parametrize(
    "url", ["service", "ftp://service", "http://user:word@service", "http://service?x=1", "http://s:port", "http://s\n"]
)
def test_an_address_that_cannot_be_one_is_refused(url: str):
    with pytest.raises(ValueError, match="url is no address"):
        OtpService(url, SECRET)


def test_a_key_may_come_from_a_file():
    assert OtpService("http://service", f"{SECRET}\n")


@pytest.mark.parametrize("given", ["", "../admin", "vf_1/check", "vf 1", "vf_1?x"])
def test_an_id_is_never_more_than_a_part_of_a_path(given: str):
    with pytest.raises(ValueError, match="an id of the service"):
        FakeOtpService().verifications.get(given)


@pytest.mark.parametrize("key", ["", "a\r\nX-Other: b", "clé", "two words", "a,b", "a" * 256])
def test_an_idempotency_key_that_cannot_be_one_is_refused_and_not_replaced(key: str):
    fake = FakeOtpService()
    with pytest.raises(ValueError, match="1 to 255 visible ASCII"):
        fake.verifications.start("+923001234567", idempotency_key=key)
    assert not fake.requests


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": -1}, {"timeout": math.nan}, {"timeout": 601},
                                     {"retries": -1}])  # fmt: skip
def test_settings_with_which_no_call_can_be_made_are_refused(options: dict[str, Any]):
    for kind in (OtpService, AsyncOtpService):
        with pytest.raises(ValueError, match=r"timeout is|retries is"):
            kind("http://service", SECRET, **options)


def test_a_result_is_not_taken_for_its_truth():
    fake = FakeOtpService()
    result = fake.verifications.check(fake.verifications.start("+923001234567").id, "000000")
    with pytest.raises(TypeError, match="look at its member valid"):
        bool(result)


def test_a_time_needs_its_zone():
    with pytest.raises(TypeError, match="time zone"):
        FakeOtpService().suppressions.record("+923001234567", until=datetime(2026, 11, 24))  # noqa: DTZ001


def test_the_versions_are_the_service_s():
    service = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    client = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())["project"]["version"]
    packages = [json.loads(path.read_text())["version"] for path in (ROOT / "clients/typescript").glob("package*.json")]
    assert {service, client, *packages} == {service}


def test_the_licence_is_the_service_s():
    copies = [path.read_text() for path in (ROOT / "clients").glob("*/LICENSE")]
    assert copies == [(ROOT / "LICENSE").read_text()] * 2


@pytest.fixture(scope="module")
def script() -> Iterator[Script]:
    with scripted() as script:
        yield script


def _sockets() -> int:
    links = [os.path.realpath(one) for one in Path("/proc/self/fd").iterdir()]
    return sum("socket:" in link for link in links)


def test_a_thousand_calls_at_once_leave_no_socket_open(script: Script):
    before = _sockets()
    with OtpService(f"{script.url}/{SCRIPT_OF_STARTS}.crowd", SECRET, timeout=120) as client:
        with ThreadPoolExecutor(CROWD) as pool:
            done = list(pool.map(lambda _: client.verifications.start("+923001234567").id, range(CROWD)))
        kept = _sockets() - before

    assert done == ["vf_1"] * CROWD
    assert kept < 2 * 100 + 50, "both ends of the pool's connections are in this process"
    _until_no_more_than(before)


def test_a_thousand_awaited_calls_leave_no_socket_and_no_task(script: Script):
    before = _sockets()

    async def crowd() -> tuple[list[Any], int]:
        async with AsyncOtpService(f"{script.url}/{SCRIPT_OF_STARTS}.tasks", SECRET, timeout=120) as client:
            calls = [client.verifications.start("+923001234567") for _ in range(CROWD)]
            done = await asyncio.gather(*calls)
            return [one.id for one in done], len(asyncio.all_tasks())

    assert asyncio.run(crowd()) == (["vf_1"] * CROWD, 1)
    _until_no_more_than(before)


def test_calls_that_are_given_up_give_back_their_connections(script: Script):
    before = _sockets()

    async def crowd() -> tuple[set[type], int, int]:
        url = f"{script.url}/{SCRIPT_OF_SILENCE}.given-up"
        async with AsyncOtpService(url, SECRET, timeout=1, retries=0) as client:
            calls = [client.verifications.start("+923001234567") for _ in range(300)]
            done = await asyncio.gather(*calls, return_exceptions=True)
            held = client._http.get()._transport._pool.connections  # those that no later call could have
            return {type(one) for one in done}, len(asyncio.all_tasks()), len(held)

    assert asyncio.run(crowd()) == ({TimedOut}, 1, 0)
    _until_no_more_than(before + 100)  # the server goes on to be silent to these


def test_calls_that_are_cancelled_lose_no_connection(script: Script):
    async def crowd() -> tuple[int, int, int]:
        async with AsyncOtpService(f"{script.url}/{SCRIPT_OF_STARTS}.cancelled", SECRET, timeout=120) as client:
            for number in range(400):  # at all moments of a call; one before its connection is used is the worst
                with suppress(TimeoutError):
                    async with asyncio.timeout(number / 40_000):
                        await client.verifications.start("+923001234567")
            for one in asyncio.all_tasks() - {asyncio.current_task()}:  # the tries go on to their end
                await asyncio.wait([one])
            held = [one for one in client._http.get()._transport._pool.connections if not one.is_idle()]
            done = await asyncio.gather(*(client.verifications.start("+923001234567") for _ in range(120)))
            return len(held), len(done), len(asyncio.all_tasks())

    assert asyncio.run(crowd()) == (0, 120, 1)


def test_headers_that_come_bit_by_bit_hold_nobody_who_awaits_them():
    async def drip(_: Any, writer: asyncio.StreamWriter) -> None:
        for one in b"HTTP/1.1 200 OK\r\nX-Dripping: x":
            writer.write(bytes([one]))
            await asyncio.sleep(0.15)
        writer.close()

    async def wait() -> float:
        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        began = time.monotonic()
        async with AsyncOtpService(f"http://127.0.0.1:{port}", SECRET, timeout=0.5, retries=0) as client:
            with pytest.raises(TimedOut):
                await client.verifications.get("vf_1")
        took = time.monotonic() - began
        server.close()
        await asyncio.sleep(5)  # for what drips to its end, and closes
        return took

    assert asyncio.run(wait()) < 4, "the whole answer takes longer"


_FORKS = """
import os, sys
from otp_service_client import OtpService

otp = OtpService(sys.argv[1], "key", timeout=30, retries=0)
otp.sandbox.messages(verification="parent")
children = []
while len(children) < 4:
    child = os.fork()
    if not child:
        break
    children.append(child)
name = f"process{len(children)}"
for one in range(50):
    (message,) = otp.sandbox.messages(verification=f"{name}-{one}")
    assert message.verification == f"{name}-{one}", message
if len(children) == 4:
    assert not any(os.waitpid(child, 0)[1] for child in children)
"""


def test_processes_that_fork_never_read_each_others_answers(echo: str):
    command, paths = [sys.executable, "-c", _FORKS, echo], {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env={**os.environ, **paths}, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def echo() -> Iterator[str]:
    """Serve messages that say which verification was asked for."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            time.sleep(random.uniform(0, 0.01))
            shown = {"verification": self.path.partition("=")[2], "to": "", "channel": "", "text": "", "at": AT}
            body = json.dumps([shown]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = False  # so that its end closes their connections
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_answer_about_something_else_is_not_taken_for_ours():
    for call in ("get", "resend", "cancel"):
        with pytest.raises(Unavailable, match="not the service's"):
            getattr(_answered({**CASES["answers"]["started"], "id": "vf_2"}).verifications, call)("vf_1")
    right = {**CASES["answers"]["right"], "id": "vf_2"}
    for resource, call in (("verifications", "check"), ("factors", "check"), ("factors", "activate")):
        with pytest.raises(Unavailable, match="not the service's"):
            getattr(getattr(_answered(right), resource), call)("vf_1", "123456")


def _answered(shown: Any, status: int = 200, **headers: str) -> OtpService:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, text=shown, headers=headers)
                                    if isinstance(shown, str) else httpx.Response(status, json=shown))  # fmt: skip
    return OtpService("http://service", SECRET, timeout=2, retries=1, transport=transport)


@pytest.mark.parametrize("status", [400, 401, 429, 503])
@pytest.mark.parametrize(
    "shown",
    [
        *(f'{{"retry_after": {one}}}' for one in ("-1", "NaN", "1.5", "{}", "true", '"soon"', "1" + "0" * 400, "null")),
        '{"errors": ["x"], "factors": 7}', '{"errors": [{"message": "x"}]}', '{"errors": 5}', "[" * 100_000, "[[1, 2]]",
        '{"code": 5, "title": {}, "detail": []}', "null", '"x"', "",
    ],
)  # fmt: skip
def test_whatever_a_proxy_says_is_an_error_of_ours(status: int, shown: str):
    with pytest.raises(ApiError) as raised:
        _answered(shown, status).verifications.get("vf_1")
    assert raised.value.code == ""
    assert raised.value.retry_after is None


@pytest.mark.parametrize("asked", ["-1", "1e3", "9" * 400, "9" * 5000, "Wed, 21 Oct 2026 07:28:00 GMT", "soon", "1, 2"])
def test_a_delay_that_is_none_is_passed_over(asked: str):
    with pytest.raises(Unavailable) as raised:
        _answered({}, 503, **{"Retry-After": asked}).verifications.get("vf_1")
    assert raised.value.retry_after is None


def _until_no_more_than(count: int) -> None:
    """Wait until the servers' ends, which are in this process too, are closed."""
    eventually(lambda: _sockets() <= count)


def _signed(secret: str, body: str, at: datetime | None = None) -> dict[str, str]:
    at = at or datetime.now(UTC)
    signature = Webhook(secret).sign("wh_1", at, body)
    return {"Webhook-Id": "wh_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


HOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOOK = json.dumps({"type": "verification.approved", "timestamp": "2026-11-24T22:00:09.120Z", "data": {"id": "wh_1"}})


def test_a_webhook_tells_what_was_signed_by_another_library():
    event = webhooks.verify(HOOK.encode(), _signed(HOOK_SECRET, HOOK), HOOK_SECRET)
    assert (event.type, event.timestamp.second, event.data) == ("verification.approved", 9, {"id": "wh_1"})


def test_a_webhook_may_have_several_signatures():
    headers = _signed(HOOK_SECRET, HOOK)
    headers["webhook-signature"] = f"v1a,x v1,é v1,AAAA {headers['webhook-signature']}"
    assert webhooks.verify(HOOK.encode(), headers, HOOK_SECRET)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,AAAA"},
        {"Webhook-Id": "wh_2"},
        {"webhook-timestamp": "tomorrow"},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "²"},
        {"webhook-timestamp": "9" * 400},
        {"webhook-timestamp": "9" * 5000},
        {"webhook-signature": "v1,\udcff"},
        {"Webhook-Id": "\udcff"},
    ],
)
def test_a_webhook_with_one_thing_changed_is_refused(change: dict[str, str]):
    with pytest.raises(InvalidWebhook):
        webhooks.verify(HOOK.encode(), {**_signed(HOOK_SECRET, HOOK), **change}, HOOK_SECRET)


@pytest.mark.parametrize("seconds", [-301, 302])
def test_a_webhook_that_is_too_old_or_from_the_future_is_refused(seconds: int):
    headers = _signed(HOOK_SECRET, HOOK, datetime.now(UTC) + timedelta(seconds=seconds))
    with pytest.raises(InvalidWebhook, match="too old"):
        webhooks.verify(HOOK.encode(), headers, HOOK_SECRET)


def test_a_webhook_of_another_body_or_secret_is_refused():
    headers = _signed(HOOK_SECRET, HOOK)
    with pytest.raises(InvalidWebhook):
        webhooks.verify(HOOK.encode() + b" ", headers, HOOK_SECRET)
    with pytest.raises(InvalidWebhook):
        webhooks.verify(HOOK.encode(), headers, "whsec_" + "A" * 32)
    with pytest.raises(InvalidWebhook, match="no webhook of the service"):
        webhooks.verify(b"{}", _signed(HOOK_SECRET, "{}"), HOOK_SECRET)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_?", "whsec_AAAA", "whsec_é", f"whsec_{'A' * 28}"])
def test_a_secret_under_which_anybody_could_sign_is_refused_and_not_shown(secret: str):
    key = base64.b64decode(f"{secret.removeprefix('whsec_')}", validate=False) if secret.isascii() else b""
    now = str(int(time.time()))
    signature = base64.b64encode(hmac.digest(key, f"wh_1.{now}.{HOOK}".encode(), "sha256")).decode()
    headers = {"webhook-id": "wh_1", "webhook-timestamp": now, "webhook-signature": f"v1,{signature}"}
    with pytest.raises(ValueError, match=r"^secret is not an endpoint's secret, whsec_\.\.\.$"):
        webhooks.verify(HOOK.encode(), headers, secret)


def test_a_fake_is_the_service_in_memory():
    fake = FakeOtpService()
    one = fake.verifications.start("+923001234567", idempotency_key="form-1")
    assert fake.verifications.start("+923001234567", idempotency_key="form-1") == one
    assert fake.sandbox.code_of(one.id) == fake.code
    assert fake.verifications.check(one.id, "000000").reason == "wrong_code"
    assert fake.verifications.check(one.id, fake.code).valid
    assert fake.verifications.check(one.id, fake.code).reason == "already_approved"
    fake.fail_with("rate-limited", retry_after=30)
    with pytest.raises(RateLimited) as raised:
        fake.verifications.resend(one.id)
    assert raised.value.retry_after == 30
    fake.answers["GET /v1/endpoints"] = []
    assert fake.endpoints.list() == ()
    assert fake.requests[0] == ("POST /v1/verifications", {"to": "+923001234567"})
    with pytest.raises(ValueError, match="unknown code"):
        fake.fail_with("no-such-code")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_fake_knows_a_number_in_any_spelling(spelling: str):
    fake = FakeOtpService()
    one = fake.verifications.start(spelling)
    with pytest.raises(Refused, match="number-mismatch"):
        fake.verifications.check(one.id, fake.code, to="+923007654321")
    assert fake.verifications.check(one.id, fake.code, to="0300 1234567").valid


def test_a_fake_knows_payments_and_ends():
    fake = FakeOtpService()
    payment: Any = {"amount": "1500.00", "currency": "PKR", "payee": "Daraz"}
    one, other = (fake.verifications.start("+923001234567", transaction=payment) for _ in range(2))
    assert fake.verifications.check(one.id, fake.code, transaction=payment).valid
    assert fake.verifications.check(other.id, fake.code).reason == "transaction_changed"
    third = fake.verifications.start("+923001234567").id
    assert [fake.verifications.check(third, "000000").checks_left for _ in range(6)] == [4, 3, 2, 1, 0, 0]
    assert fake.verifications.check(third, fake.code).reason == "max_attempts_reached"
    assert fake.verifications.cancel(fake.verifications.start("+923001234567").id).status == "canceled"


def test_a_fake_can_be_awaited():
    async def flow() -> bool:
        async with AsyncFakeOtpService() as fake:
            one = await fake.verifications.start("+923001234567")
            return (await fake.verifications.check(one.id, await fake.sandbox.code_of(one.id))).valid

    assert asyncio.run(flow())
