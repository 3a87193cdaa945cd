"""Calls of addresses that callers chose: to nothing but the internet, whatever is written and whatever DNS says."""

import contextlib
import datetime as dt
import socket
import ssl
import threading
import time
from ipaddress import ip_network

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support_service import eventually
from support_webhooks import LOOPBACK, receiving

from otp_service.domain.webhooks import AddressScope, TargetRules
from otp_service.errors import InvalidUrlError
from otp_service.gateways.http_client import HttpCallError
from otp_service.gateways.ssrf_safe_client import GuardedClient, parse_target

INTERNET = TargetRules(frozenset({443, 8443}))
LOOP = TargetRules(networks=tuple(map(ip_network, LOOPBACK)))
_NOT_PUBLIC = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.255.255
192.0.0.1 192.0.0.8 192.0.0.170 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.7 203.0.113.9 224.0.0.1
239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:127.0.0.1 64:ff9b::a9fe:a9fe
64:ff9b::7f00:1 64:ff9b:1::a9fe:a9fe 100::1 2001::1 2001:0:7f00:1:: 2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1::
2002:a9fe:a9fe::1 3fff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%lo fec0::1 ff02::1 ff0e::1
"""
_PUBLIC = "8.8.8.8 1.1.1.1 192.0.1.1 193.0.0.1 2606:4700:4700::1111 2a00:1450:4001::200e 2001:4860:4860::8888"
NOT_PUBLIC, PUBLIC = _NOT_PUBLIC.split(), _PUBLIC.split()
_SPELLINGS = """
https://127.0.0.1/ https://127.1/ https://127.0.1/ https://0/ https://0x7f.1/ https://0x7f000001/ https://2130706433/
https://017700000001/ https://0177.0.0.1/ https://127.000.000.001/ https://localhost/ https://LOCALHOST/ https://localhost./
https://[::1]/ https://[0:0:0:0:0:0:0:1]/ https://[::ffff:127.0.0.1]/ https://[::ffff:7f00:1]/ https://[::127.0.0.1]/
https://[64:ff9b::7f00:1]/ https://[fe80::1%25lo]/ https://[fe80::1%lo]/ https://①②⑦.0.0.1/ https://127。0。0。1/
https://%31%32%37.0.0.1/ https://127.0.0.1%2f.shop.example/ https://shop.example@127.0.0.1/ https://127.0.0.1#@shop.example/
https://shop.example\\@127.0.0.1/ https://127.0.0.1\\@shop.example/ https://shop.example:443@127.0.0.1/
https://127.0.0.1:443\t/ https://127.0.0.1%00.shop.example/ https://user:pass@127.0.0.1/ https://:@127.0.0.1/
https:127.0.0.1 https:/127.0.0.1/ https:///127.0.0.1/ //127.0.0.1/ 127.0.0.1 file:///etc/passwd gopher://127.0.0.1/
ftp://127.0.0.1/ unix:///run/redis.sock http://127.0.0.1/ HTTP://127.0.0.1/ https://127.0.0.1:0/ https://127.0.0.1:99999/
https://169.254.169.254/latest/meta-data/ https://[fd00:ec2::254]/ https://0.0.0.0/ https://[::]/ https://10.0.0.1/
https:// https://. https://-/ https://[]/ https://[::1 https://shop.example/#x
"""
SPELLINGS = [
    *filter(None, _SPELLINGS.replace("\n", " ").split(" ")),
    "https://127.0.0.1/\r\nHost: shop.example",
    "https://127.0.0.1 /",
    " https://127.0.0.1/",
    "https://shop.example/" + "x" * 1000,
    "",
]


@pytest.fixture
def no_packet(monkeypatch):
    """Fail where anything connects; names of one's own resolve all the same."""
    tried = []

    def connect(_, address):
        tried.append(address)
        raise AssertionError(f"a packet would have left for {address}")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect)
    yield
    assert tried == []


def names(monkeypatch, *answers):
    """Let each look-up of a name have the next of the answers, the last one from then on; addresses are themselves."""
    asked, real = [], socket.getaddrinfo

    def look_up(host, port, *arguments, **options):
        if not host.endswith(".example"):
            return real(host, port, *arguments, **options)
        found = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        if not found:
            raise socket.gaierror("unknown")
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in one], socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def refuses(client, url):
    with pytest.raises(InvalidUrlError):
        client.check(url)
    with pytest.raises(HttpCallError) as failed:
        client.post(url, {}, b"{}")
    return failed.value.code


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_none_of_the_internets_is_refused(address):
    assert INTERNET.scope_of(address) is AddressScope.REFUSED


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address):
    assert INTERNET.scope_of(address) is AddressScope.PUBLIC


@pytest.mark.usefixtures("no_packet")
@pytest.mark.parametrize("url", SPELLINGS)
def test_no_spelling_reaches_this_host_at_registration_or_at_a_try(url):
    assert refuses(GuardedClient(INTERNET, 2), url) in {
        "url not valid",
        "address not allowed",
        "host not found",
        "timeout",
    }


@pytest.mark.usefixtures("no_packet")
@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_no_name_reaches_an_address_that_is_none_of_the_internets(monkeypatch, address):
    names(monkeypatch, [address])

    assert refuses(GuardedClient(INTERNET, 2), "https://shop.example/") == "address not allowed"


@pytest.mark.usefixtures("no_packet")
@pytest.mark.parametrize("answers", [["8.8.8.8", "127.0.0.1"], ["2606:4700::1", "10.0.0.1"], ["::1", "8.8.8.8"]])
def test_one_bad_address_among_good_ones_is_enough(monkeypatch, answers):
    names(monkeypatch, answers)

    assert refuses(GuardedClient(INTERNET, 2), "https://shop.example/") == "address not allowed"


@pytest.mark.usefixtures("no_packet")
@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://shop.example/", "no tls"),
        ("https://shop.example:22/", "port not allowed"),
        ("https://shop.example:6379/", "port not allowed"),
        ("http://shop.example:443/", "no tls"),
        ("https://user:pass@shop.example/", "url not valid"),
        ("https://@shop.example/", "url not valid"),
        ("https://shop.example/#x", "url not valid"),
    ],
)
def test_the_internet_is_called_by_tls_and_at_the_ports_of_the_settings_only(monkeypatch, url, code):
    names(monkeypatch, ["8.8.8.8"])

    assert refuses(GuardedClient(INTERNET, 2), url) == code


@pytest.mark.usefixtures("no_packet")
def test_a_name_that_changes_between_registration_and_a_try_is_judged_again(monkeypatch):
    names(monkeypatch, ["8.8.8.8"], ["127.0.0.1"])
    client = GuardedClient(INTERNET, 2)
    client.check("https://shop.example/")

    with pytest.raises(HttpCallError) as refused:
        client.post("https://shop.example/", {}, b"{}")
    assert refused.value.code == "address not allowed"


def test_a_name_that_changes_between_look_up_and_connection_changes_nothing(monkeypatch):
    """What is connected to is what was judged: the name is asked once."""
    connected = []

    def connect(_, address):
        connected.append(address)
        raise ConnectionRefusedError

    asked = names(monkeypatch, ["8.8.8.8"], ["127.0.0.1"])
    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(HttpCallError):
        GuardedClient(INTERNET, 2).post("https://shop.example/", {}, b"{}")

    assert len(asked) == 1
    assert connected == [("8.8.8.8", 443)]


@pytest.mark.parametrize("family", ["http", "https"])
def test_no_proxy_of_the_environment_is_asked(monkeypatch, family):
    with receiving() as proxy, receiving() as receiver:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        client = GuardedClient(LOOP, 2)
        if family == "http":
            assert client.post(receiver.url + "/x", {}, b"{}").status == 200
        else:
            with pytest.raises(HttpCallError):
                client.post(receiver.url.replace("http:", "https:"), {}, b"{}")
        assert proxy.requests == []


def test_a_redirect_is_not_followed():
    with receiving() as receiver:
        answer = GuardedClient(LOOP, 2).post(receiver.url + "/redirect", {}, b"{}")

        assert answer.status == 307
        assert [one.path for one in receiver.requests] == ["/redirect"]


@pytest.mark.parametrize("path", ["/hang", "/drip"])
def test_a_call_ends_in_time_whatever_the_receiver_does(path):
    with receiving() as receiver:
        began = time.monotonic()
        with pytest.raises(HttpCallError) as late:
            GuardedClient(LOOP, 1).post(receiver.url + path, {}, b"{}")

        assert late.value.code == "timeout"
        assert 0.9 < time.monotonic() - began < 2


@pytest.mark.parametrize("path", ["/drip-fields", "/endless"])
def test_nothing_is_read_behind_the_status_line(path):
    with receiving() as receiver:
        began = time.monotonic()
        answer = GuardedClient(LOOP, 5).post(receiver.url + path, {}, b"{}")

        assert (answer.status, answer.retry_after) == (200, 0)
        assert time.monotonic() - began < 1
        eventually(lambda: receiver.at_once == 0, 2)


def test_the_connection_is_closed_also_where_the_receiver_would_keep_it():
    with receiving() as receiver:
        client = GuardedClient(LOOP, 5)
        for _ in range(3):
            assert client.post(f"{receiver.url}/keep", {}, b"{}").status == 200

        assert {one.headers["connection"] for one in receiver.requests} == {"close"}
        eventually(lambda: receiver.connections == 0, 2)


def test_who_asks_to_be_left_alone_is_read_up_to_that():
    with receiving() as receiver:
        answer = GuardedClient(LOOP, 5).post(f"{receiver.url}/busy", {}, b"{}")

        assert (answer.status, answer.retry_after) == (429, 600)


@pytest.mark.parametrize(("path", "status"), [("/drip-busy", 503), ("/endless-busy", 429)])
def test_a_status_stands_though_its_fields_never_end(path, status):
    with receiving() as receiver:
        began = time.monotonic()
        answer = GuardedClient(LOOP, 1).post(receiver.url + path, {}, b"{}")

        assert (answer.status, answer.retry_after) == (status, 0)
        assert time.monotonic() - began < 2


def test_the_last_of_several_statuses_counts():
    with receiving() as receiver:
        assert GuardedClient(LOOP, 2).post(f"{receiver.url}/early", {}, b"{}").status == 204


@pytest.mark.parametrize("path", ["/close", "/cut", "/no-http", "/endless-status", "/endless-early"])
def test_what_is_no_status_line_is_no_answer(path):
    with receiving() as receiver, pytest.raises(HttpCallError) as failed:
        GuardedClient(LOOP, 5).post(receiver.url + path, {}, b"{}")

    assert failed.value.code == "connection"


@pytest.mark.parametrize("drip", [b"", b"\x16\x03\x03\x3f\xff" + b"\x02" * 200])
def test_one_deadline_is_over_the_handshake_and_the_answer(drip):
    """A server that takes a connection late, and then drips its part of the handshake."""

    def serve(listener):
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            for byte in drip or b" " * 200:
                connection.sendall(bytes([byte]) if drip else b"")
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        began = time.monotonic()
        with pytest.raises(HttpCallError) as late:
            GuardedClient(LOOP, 1).post(f"https://127.0.0.1:{listener.getsockname()[1]}/x", {}, b"{}")

    assert late.value.code == "timeout"
    assert 0.9 < time.monotonic() - began < 1.5


def test_a_connection_that_is_refused_is_no_time_out():
    with receiving() as receiver:
        address = receiver.url
    with pytest.raises(HttpCallError) as refused:
        GuardedClient(LOOP, 2).post(address, {}, b"{}")

    assert refused.value.code == "connection"
    assert not refused.value.ambiguous


def test_a_look_up_that_hangs_ends_in_time(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3) or [])
    began = time.monotonic()
    with pytest.raises(HttpCallError) as late:
        GuardedClient(INTERNET, 1).post("https://shop.example/", {}, b"{}")

    assert late.value.code == "timeout"
    assert time.monotonic() - began < 2


def test_the_next_address_is_tried_where_one_takes_no_connection(monkeypatch):
    with receiving() as receiver:
        names(monkeypatch, ["127.77.0.1", "127.0.0.1"])

        assert GuardedClient(LOOP, 2).post(f"http://shop.example:{receiver.port}/x", {}, b"{}").status == 200


def test_a_network_of_ones_own_is_reached_by_http_at_any_port():
    with receiving() as receiver:
        GuardedClient(LOOP, 2).check(receiver.url)

        assert LOOP.scope_of("::ffff:127.0.0.1") is AddressScope.ALLOWED
        assert LOOP.scope_of("10.0.0.1") is AddressScope.REFUSED
        assert LOOP.scope_of("::2") is AddressScope.REFUSED


def test_behind_a_sites_nat64_the_ipv4_address_is_judged():
    rules = TargetRules(nat64=(ip_network("64:ff9b::/96"), ip_network("2001:67c:2b0:db32:0:1::/96")))

    assert rules.scope_of("64:ff9b::808:808") is AddressScope.PUBLIC
    assert rules.scope_of("64:ff9b::7f00:1") is AddressScope.REFUSED
    assert rules.scope_of("2001:67c:2b0:db32:0:1:a9fe:a9fe") is AddressScope.REFUSED
    assert INTERNET.scope_of("2001:67c:2b0:db32:0:1:a9fe:a9fe") is AddressScope.PUBLIC


def test_a_request_names_the_host_and_goes_to_its_path():
    with receiving() as receiver:
        GuardedClient(LOOP, 2).post(f"http://localhost:{receiver.port}/a/b?c=d", {"webhook-id": "wh_1"}, b"{}")
        (request,) = receiver.requests

    assert request.path == "/a/b?c=d"
    assert request.headers["host"] == f"localhost:{receiver.port}"
    assert request.headers["webhook-id"] == "wh_1"
    assert request.body == b"{}"


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://Shop.Example/x", "shop.example"),
        ("https://shop.example:8443/x", "shop.example:8443"),
        ("https://[2606:4700::1]/x", "[2606:4700::1]"),
    ],
)
def test_the_host_is_named_as_http_asks(url, named):
    assert parse_target(url).named == named


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Make a certificate of shop.example that its own file trusts; return the file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - dt.timedelta(days=1), now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("shop.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


@pytest.fixture
def tls_receiver(certificate):
    """A receiver with that certificate, and the names that callers asked it for."""
    asked = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _, name, __: asked.append(name)

    def wrap(listener):
        return context.wrap_socket(listener, server_side=True, do_handshake_on_connect=False)

    with receiving(wrap) as receiver:
        yield receiver, asked


def test_tls_asks_for_the_hosts_name_and_proves_it(monkeypatch, certificate, tls_receiver):
    receiver, asked = tls_receiver
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    names(monkeypatch, ["127.0.0.1"])
    client = GuardedClient(LOOP, 3)

    assert client.post(f"https://shop.example:{receiver.port}/x", {}, b"{}").status == 200
    assert asked == ["shop.example"]


@pytest.mark.parametrize("host", ["bank.example", "127.0.0.1"])
def test_a_certificate_of_another_host_is_refused(monkeypatch, certificate, tls_receiver, host):
    receiver, _ = tls_receiver
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    names(monkeypatch, ["127.0.0.1"])
    with pytest.raises(HttpCallError):
        GuardedClient(LOOP, 3).post(f"https://{host}:{receiver.port}/x", {}, b"{}")

    assert receiver.requests == []


def test_a_certificate_that_nobody_trusts_is_refused(monkeypatch, tls_receiver):
    receiver, _ = tls_receiver
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    names(monkeypatch, ["127.0.0.1"])
    with pytest.raises(HttpCallError):
        GuardedClient(LOOP, 3).post(f"https://shop.example:{receiver.port}/x", {}, b"{}")

    assert receiver.requests == []


def test_nothing_of_a_call_is_logged(caplog):
    caplog.set_level("DEBUG")
    with receiving() as receiver, contextlib.suppress(HttpCallError):
        GuardedClient(LOOP, 2).post(f"{receiver.url}/secret-path", {}, b"{}")

    assert "secret-path" not in caplog.text
