"""Calls over the network: connections, TLS, and what the host's own configuration may do."""

import datetime as dt
import logging
import socket
import ssl
import threading
from ipaddress import ip_address

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from otp_service.gateways.base import FailureKind, GatewayError
from otp_service.gateways.wire import Wire, failure_of_status

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

    wire = Wire(5)
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
        call(Wire(5), url_of(listener, "https"))
    thread.join(5)

    assert (failed.value.kind, failed.value.ambiguous) == (FailureKind.UNAVAILABLE, False)
    assert not any(seen)


def test_a_bundle_of_certificates_in_the_environment_is_trusted(listener, certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))

    def answer(secure):
        secure.recv(65_536)
        secure.sendall(ANSWER)

    thread = serve(listener, over_tls(certificate, answer))
    assert call(Wire(5), url_of(listener, "https")).text == "OK"
    thread.join(5)


def test_the_time_out_bounds_a_call_over_tls_too(listener, certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    thread = serve(listener, over_tls(certificate, drip))
    with pytest.raises(GatewayError) as failed:
        call(Wire(0.3), url_of(listener, "https"))
    thread.join(1)

    assert (str(failed.value), failed.value.ambiguous) == ("unavailable: timeout", True)
    assert not thread.is_alive()


def test_a_connection_that_is_never_made_is_not_ambiguous(listener):
    with pytest.raises(GatewayError) as failed:  # accepted by the kernel, but TLS never begins
        call(Wire(0.2), url_of(listener, "https"))

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
        call(Wire(5), "https://sms.example/?key=secret")
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
    call(Wire(5), url_of(listener))
    thread.join(5)

    assert b"authorization" not in seen[0].lower()


def test_headers_that_cannot_be_read_are_not_logged_with_the_url(listener, caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="urllib3")

    def answer(connection):
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nno header at all\r\nContent-Length: 2\r\n\r\nOK")

    thread = serve(listener, answer)
    call(Wire(5), url_of(listener))
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
        (302, FailureKind.REJECTED, False),
        (400, FailureKind.REJECTED, False),
        (401, FailureKind.REJECTED, False),
        (429, FailureKind.THROTTLED, False),
        (500, FailureKind.UNAVAILABLE, False),
        (503, FailureKind.UNAVAILABLE, False),
        (504, FailureKind.UNAVAILABLE, True),
    ],
)
def test_a_status_means_what_to_do_next(status, kind, ambiguous):
    failure = failure_of_status(status)

    assert (failure.kind, failure.ambiguous, failure.provider_code) == (kind, ambiguous, f"http {status}")
