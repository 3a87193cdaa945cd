"""Raw requests over sockets to the service as it is served, with its real server in front of the application."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import pytest
from support_installation import API_KEY, NUMBER
from support_service import Service, in_parallel, running
from support_valkey import ValkeyServer

from otp_service.store import keys

START = "/v1/verifications"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    valkey = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    limits = {"number": ["10000/minute"], "ip": ["3/hour"], "application": ["10000/minute"]}
    http = {"trusted_proxies": 1, "processes": 1}
    try:
        with running(tmp_path_factory.mktemp("service"), valkey, workers=0, limits=limits, http=http) as started:
            yield started
    finally:
        valkey.stop()


@pytest.fixture
def clean(service: Service) -> Service:
    client = service.valkey.client
    for key in client.scan_iter(count=10_000):
        if key.decode() != keys.mirror("00"):  # which the service misses until it has written it again, after a second
            client.delete(key)
    return service


def _exchange(service: Service, request: bytes, *, hang_up: bool = False) -> bytes:
    """Send bytes and return what comes back until the service closes the connection."""
    port = int(service.base.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        if hang_up:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def _send(service: Service, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send a request; return status, headers and body of the answer."""
    answer = _exchange(service, request)
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, body


def _request(body: bytes, *headers: str, path: str = START, key: str = API_KEY) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: service",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


BODY = json.dumps({"to": NUMBER}).encode()
CHUNKED = "Transfer-Encoding: chunked"


def test_a_body_in_chunks_is_read_whole(clean: Service):
    status, headers, body = _send(clean, _request(_chunked(BODY[:5], BODY[5:]), CHUNKED))

    assert status == 201
    assert headers["cache-control"] == "no-store"
    assert json.loads(body)["to"] == "+92 ••• ••••567"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (_request(_chunked(BODY.ljust(5000), b" " * 5000), CHUNKED), 413),
        (_request(b"x" * 9000, "Content-Length: 9000"), 413),
        (_request(b"ZZ\r\n" + BODY + b"\r\n0\r\n\r\n", CHUNKED), 400),
        (_request(b"ZZ\r\nx\r\n", CHUNKED, path=f"{START}/vf_k1_00{'0' * 32}/cancel"), 400),
        (_request(BODY, f"Content-Length: {len(BODY)}", key="x"), 401),
        (_request(BODY, f"Content-Length: {len(BODY)}", f"Authorization: Bearer {API_KEY}"), 401),
    ],
)
def test_what_is_broken_on_the_wire_is_refused_and_starts_nothing(clean: Service, request_: bytes, expected: int):
    status, headers, body = _send(clean, request_)

    assert status == expected
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["status"] == expected
    assert clean.valkey.client.keys("*:v:*") == []


@pytest.mark.parametrize("hosts", [[], ["Host:"], ["Host: a", "Host: b"], ["Host: a b"], ["Host: <b>"], ["Host: a:x"]])
@pytest.mark.parametrize("line", [f"POST {START}", "GET /healthz", "GET /docs", "POST /nothing"])
def test_a_request_that_does_not_say_once_which_host_it_is_for_is_refused(clean: Service, line: str, hosts: list[str]):
    own = [f"Authorization: Bearer {API_KEY}", "Content-Type: application/json", f"Content-Length: {len(BODY)}"]
    request = "\r\n".join([f"{line} HTTP/1.1", *hosts, *own, "Connection: close"]).encode() + b"\r\n\r\n" + BODY
    status, headers, body = _send(clean, request)

    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert json.loads(body)["code"] == "invalid-request"
    assert headers["cache-control"] == "no-store"
    assert clean.valkey.client.keys("*:v:*") == []


@pytest.mark.parametrize("host", ["a.example", "a.example:8080", "[::1]:8080", "127.0.0.1", "a_b"])
def test_any_host_will_do_and_http_1_0_needs_none(service: Service, host: str):
    for request in (f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close", "GET /healthz HTTP/1.0"):
        assert _send(service, request.encode() + b"\r\n\r\n")[0] == 200


def test_two_idempotency_keys_are_refused(clean: Service):
    status, _, body = _send(
        clean, _request(BODY, f"Content-Length: {len(BODY)}", "Idempotency-Key: one", "Idempotency-Key: two")
    )

    assert (status, json.loads(body)["code"]) == (400, "invalid-request")
    assert clean.valkey.client.keys("*:v:*") == []


@pytest.mark.parametrize(
    "request_",
    [
        _request(BODY, f"Content-Length: {len(BODY) + 5}"),
        _request(_chunked(BODY)[:-9], CHUNKED),
        _request(b"", "Content-Length: 2", path=f"{START}/ID/cancel"),
        _request(b"2\r\n{", CHUNKED, path=f"{START}/ID/cancel"),
    ],
)
def test_a_request_that_breaks_off_does_nothing(clean: Service, request_: bytes):
    one = clean.start()
    answer = _exchange(clean, request_.replace(b"/ID/", f"/{one}/".encode()), hang_up=True)

    assert not answer or answer.split()[1] == b"400"
    assert clean.get(f"{START}/{one}").json()["status"] == "pending"
    assert len(clean.valkey.client.keys("*:v:*")) == 1


@pytest.mark.parametrize(
    "request_",
    [b"", b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n", b"POST " + b"/" * 70_000,
     b"GET /%00%ff\xff HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n",
     b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: \xff\x00\r\n\r\n", b"GET * HTTP/1.1\r\nHost: x\r\n\r\n"],
)  # fmt: skip
def test_noise_is_no_failure_of_ours(service: Service, request_: bytes):
    answer = b""
    with contextlib.suppress(ConnectionError):
        answer = _exchange(service, request_, hang_up=True)

    assert not answer or int(answer.split()[1]) < 500
    assert _send(service, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")[0] == 200


def test_a_doubled_x_forwarded_for_header_allows_no_start(clean: Service):
    """The proxy appends the address that it saw; whatever stands before it, in the same header or another, is noise."""

    def start(place: int) -> int:
        forged = [f"X-Forwarded-For: 6.6.6.{place}, 7.7.7.{place}", "X-Forwarded-For: 203.0.113.9"]
        body = json.dumps({"to": f"+92300123456{place}"}).encode()
        return _send(clean, _request(body, f"Content-Length: {len(body)}", *forged))[0]

    assert [start(place) for place in range(5)] == [201, 201, 201, 429, 429]


def test_a_silent_store_is_told_within_a_second_and_a_half(clean: Service):
    request = _request(BODY, f"Content-Length: {len(BODY)}")
    clean.valkey.process.send_signal(19)  # SIGSTOP: it takes connections and does not answer

    def ask(_: int) -> tuple[str, float]:
        began = time.monotonic()
        status, headers, body = _send(clean, request)
        assert (status, headers["retry-after"]) == (503, "1")
        return str(json.loads(body)["code"]), time.monotonic() - began

    try:
        answers = in_parallel(40, ask)
    finally:
        clean.valkey.process.send_signal(18)  # SIGCONT

    assert max(seconds for _, seconds in answers) < 1.5, "however many ask at once"
    assert {code for code, _ in answers} == {"store-unavailable"}
    time.sleep(1)  # as the answer said
    other = json.dumps({"to": "+923451234567"}).encode()  # of another block: timed-out starts may have run
    assert _send(clean, _request(other, f"Content-Length: {len(other)}"))[0] == 201


@pytest.mark.parametrize("dispatch", ["dp_00" + "0" * 32, "b"])
@pytest.mark.parametrize("head", ["Transfer-Encoding: chunked", "Content-Length: 1000"])
def test_a_client_that_never_completes_a_receipt_delays_no_other(service: Service, dispatch: str, head: str):
    address = ("127.0.0.1", int(service.base.rpartition(":")[2]))
    begun = f"POST /v1/receipts/sandbox/{dispatch} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode()
    with contextlib.ExitStack() as strangers:
        for _ in range(8):
            stranger = strangers.enter_context(socket.create_connection(address, timeout=5))
            stranger.sendall(begun)
            assert b" 404 " in stranger.recv(65536).partition(b"\r\n")[0]
        assert service.get("/healthz").status_code == 200
