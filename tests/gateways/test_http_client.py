"""Calls over the network: connections, TLS, and what the host's own configuration may do."""

import contextlib
import datetime as dt
import gc
import logging
import math
import socket
import ssl
import threading
from http.cookiejar import Cookie
from ipaddress import ip_address

import pytest
import requests
import time_machine
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from otp_service.gateways.base import FailureKind, GatewayError
from otp_service.gateways.http_client import GatewayClient, HttpResponse, failure_of_status

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


@pytest.fixture
def listener(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        yield listener


def url_of(listener, scheme="http"):
    return f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/?key=secret"


def serve(listener, *connections):
    """Answer on each connection in turn as its function says; return the thread."""

    def run():
        for answer in connections:
            connection, _ = listener.accept()
            with connection:
                answer(connection)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def call(wire, url):
    return wire.call(requests.Request("GET", url))


def test_a_thread_keeps_its_connection_and_replaces_one_that_was_closed(listener):
    def twice(connection):
        for _ in range(2):
            connection.recv(65_536)
            connection.sendall(ANSWER)

    def once(connection):
        connection.recv(65_536)
        connection.sendall(ANSWER)

    wire = GatewayClient(5)
    first = serve(listener, twice)
    answers = [call(wire, url_of(listener)) for _ in range(2)]
    first.join(5)  # it has closed the connection
    second = serve(listener, once)
    answers.append(call(wire, url_of(listener)))
    second.join(5)

    assert [answer.text for answer in answers] == ["OK"] * 3


@pytest.fixture
def certificate(tmp_path):
    """Make a certificate for 127.0.0.1 that nobody has signed; return its file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]),
                       critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def over_tls(certificate, answer):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def run(connection):
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                answer(secure)
        except OSError:
            return

    return run


def drip(connection):
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(100):
        connection.sendall(b"x")
        threading.Event().wait(0.02)


def test_a_certificate_that_nobody_signed_is_refused_before_anything_is_sent(listener, certificate):
    seen = []
    thread = serve(listener, over_tls(certificate, lambda secure: seen.append(secure.recv(65_536))))
    with pytest.raises(GatewayError) as failed:
        call(GatewayClient(5), url_of(listener, "https"))
    thread.join(5)

    assert (failed.value.kind, failed.value.ambiguous) == (FailureKind.UNAVAILABLE, False)
    assert not any(seen)


def test_a_bundle_of_certificates_in_the_environment_is_trusted(listener, certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))

    def answer(secure):
        secure.recv(65_536)
        secure.sendall(ANSWER)

    thread = serve(listener, over_tls(certificate, answer))
    assert call(GatewayClient(5), url_of(listener, "https")).text == "OK"
    thread.join(5)


def test_the_time_out_bounds_a_call_over_tls_too(listener, certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    thread = serve(listener, over_tls(certificate, drip))
    with pytest.raises(GatewayError) as failed:
        call(GatewayClient(0.3), url_of(listener, "https"))
    thread.join(1)

    assert (str(failed.value), failed.value.ambiguous) == ("unavailable: timeout", True)
    assert not thread.is_alive()


def test_a_connection_that_is_never_made_is_not_ambiguous(listener):
    with pytest.raises(GatewayError) as failed:  # accepted by the kernel, but TLS never begins
        call(GatewayClient(0.2), url_of(listener, "https"))

    assert (str(failed.value), failed.value.ambiguous) == ("unavailable: timeout", False)


def test_what_was_said_to_a_proxy_was_not_said_to_the_provider(listener, monkeypatch):
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("https_proxy", url_of(listener).partition("/?")[0])
    seen = []

    def refuse(connection):
        seen.append(connection.recv(65_536))
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    thread = serve(listener, refuse)
    with pytest.raises(GatewayError) as failed:
        call(GatewayClient(5), "https://sms.example/?key=secret")
    thread.join(5)

    assert seen[0].startswith(b"CONNECT sms.example:443")
    assert (str(failed.value), failed.value.ambiguous) == ("unavailable: connection", False)


def test_a_password_file_of_the_host_is_not_used(listener, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    seen = []

    def answer(connection):
        seen.append(connection.recv(65_536))
        connection.sendall(ANSWER)

    thread = serve(listener, answer)
    call(GatewayClient(5), url_of(listener))
    thread.join(5)

    assert b"authorization" not in seen[0].lower()


def test_headers_that_cannot_be_read_are_not_logged_with_the_url(listener, caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="urllib3")

    def answer(connection):
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nno header at all\r\nContent-Length: 2\r\n\r\nOK")

    thread = serve(listener, answer)
    call(GatewayClient(5), url_of(listener))
    thread.join(5)

    assert caplog.records == []


def test_others_in_the_process_may_still_be_logged(listener, caplog):
    caplog.set_level(logging.DEBUG, logger="urllib3")

    def answer(connection):
        connection.recv(65_536)
        connection.sendall(ANSWER)

    thread = serve(listener, answer)
    with requests.Session() as session:
        session.get(url_of(listener), timeout=5)
    thread.join(5)

    assert "key=secret" in caplog.text


@pytest.mark.parametrize(
    ("status", "kind", "ambiguous"),
    [
        (302, FailureKind.ACCOUNT, False),
        (400, FailureKind.REJECTED, False),
        (401, FailureKind.ACCOUNT, False),
        (408, FailureKind.UNAVAILABLE, False),
        (429, FailureKind.THROTTLED, False),
        *((status, FailureKind.ERROR, False) for status in (500, 501, 502, 505, 507, 508, 520, 599)),
        *((status, FailureKind.UNAVAILABLE, False) for status in (503, 511, 521, 522, 523, 525, 526, 530)),
        *((status, FailureKind.UNAVAILABLE, True) for status in (504, 524)),
    ],
)
def test_a_status_means_what_to_do_next(status, kind, ambiguous):
    failure = failure_of_status(status)

    assert (failure.kind, failure.ambiguous, failure.provider_code) == (kind, ambiguous, f"http {status}")
    assert not failure.message_specific


def test_a_redirect_is_read_no_further_than_any_other_answer(listener):
    sent = []

    def flood(connection):
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/\r\n\r\n")
        with contextlib.suppress(OSError):
            while len(sent) < 300:
                connection.sendall(b"x" * 1_000_000)
                sent.append(1)

    thread = serve(listener, flood)
    with pytest.raises(GatewayError) as failed:
        call(GatewayClient(10), url_of(listener))
    thread.join(5)

    assert str(failed.value) == "unavailable: answer too long"
    assert len(sent) < 50


def test_cookies_are_not_kept(listener):
    def answer(connection):
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nSet-Cookie: of_this_test=1\r\nContent-Length: 0\r\n\r\n")

    wire = GatewayClient(5)
    thread = serve(listener, answer)
    call(wire, url_of(listener))
    thread.join(5)

    kept = [one for one in gc.get_objects() if isinstance(one, Cookie) and one.name == "of_this_test"]
    assert kept == []


def test_a_redirect_to_nowhere_is_certain(listener):
    def answer(connection):
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 4\r\n\r\nbody")

    thread = serve(listener, answer)
    answered = call(GatewayClient(5), url_of(listener))
    thread.join(5)

    assert (answered.status, answered.text) == (302, "body")


def test_many_threads_call_at_once_and_each_keeps_its_connection(listener):
    """A session is a thread's own: none waits for another, and none connects twice."""
    many, rounds = 64, 3
    together = threading.Barrier(many)
    accepted = []

    def answer(connection):
        with connection:
            while connection.recv(65_536):
                together.wait(10)  # nobody is answered before everybody has asked
                connection.sendall(ANSWER)

    def accept():
        for _ in range(many):
            accepted.append(listener.accept()[0])
            threading.Thread(target=answer, args=(accepted[-1],), daemon=True).start()

    wire, texts = GatewayClient(20), []
    listener.listen(many)
    accepting = threading.Thread(target=accept)
    accepting.start()
    threads = [
        threading.Thread(target=lambda: texts.extend(call(wire, url_of(listener)).text for _ in range(rounds)))
        for _ in range(many)
    ]
    for thread in threads:
        thread.start()
    for thread in (*threads, accepting):
        thread.join(20)

    assert texts == ["OK"] * many * rounds
    assert len(accepted) == many


def test_a_call_that_ended_in_time_does_not_end_the_next_one_on_its_connection(listener):
    def answer(connection):
        connection.recv(65_536)
        connection.sendall(ANSWER)
        connection.recv(65_536)
        threading.Event().wait(0.2)  # the first call's time is up in between, the second one's is not
        connection.sendall(ANSWER)

    thread = serve(listener, answer)
    wire = GatewayClient(0.4)
    call(wire, url_of(listener))
    threading.Event().wait(0.3)

    assert call(wire, url_of(listener)).text == "OK"
    thread.join(5)


NOW = dt.datetime(2026, 11, 25, 12, 0, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("999999999", 3600),
        ("Wed, 25 Nov 2026 12:01:30 GMT", 90),
        ("Wednesday, 25-Nov-26 12:01:30 GMT", 90),
        ("Wed Nov 25 12:01:30 2026", 90),
        ("Wed, 25 Nov 2026 11:00:00 GMT", 0),
        ("Sat, 25 Nov 2028 12:00:00 GMT", 3600),
        ("-5", 0),
        ("1.5", 0),
        ("\u0661\u0662", 0),
        ("1" * 500, 3600),
        ("soon", 0),
        ("Wed, 99 Nov 99999 12:00:00 GMT", 0),
        ("", 0),
    ],
)
def test_a_provider_says_how_long_to_leave_it_alone_in_seconds_or_by_a_date(value, seconds):
    with time_machine.travel(NOW, tick=False):
        told = [HttpResponse(status, {"Retry-After": value}, "").retry_after for status in (429, 503, 500)]

    assert told == [seconds, seconds, 0]
    assert HttpResponse(429, {}, "").retry_after == 0


@pytest.mark.parametrize(("asked", "kept"), [(1e99, 3600), (math.inf, 3600), (math.nan, 0), (-5, 0), (2.5, 2.5)])
def test_whatever_a_gateway_says_it_is_left_alone_for_an_hour_at_most(asked: float, kept: float):
    assert GatewayError(FailureKind.THROTTLED, "busy", retry_after=asked).retry_after == kept
