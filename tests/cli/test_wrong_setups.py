"""Wrong set-ups, made for real, and what ``otp-service doctor --network`` says: cause and remedy of each.

``pytest -rP tests/cli/test_wrong_setups.py`` prints the table.
"""

import contextlib
import datetime as dt
import http.client
import http.server
import json
import os
import resource
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography import x509
from support_cli import configured, run
from support_installation import key
from support_missing import missing
from support_service import eventually
from support_tls import make_certificate
from support_valkey import ValkeyServer, faketime_library, free_port
from werkzeug.serving import make_server

from otp_service.api.app import create_app
from otp_service.bootstrap import open_installation
from otp_service.settings import load_settings

KEYS = {"root": f"k1:{key()}", "pseudonym": key()}
DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"), options=("--maxmemory", "100mb"))
    yield server
    server.stop()


@dataclass
class Site:
    """A place for wrong set-ups, of which everything else is well."""

    folder: Path
    valkey: ValkeyServer
    stack: contextlib.ExitStack
    environ: dict[str, str] = field(default_factory=dict)

    def settings(self, url: str = "", **sections: Any) -> None:
        sections = {"keys": KEYS, "ledger": {"url": f"sqlite:///{self.folder}/ledger.db"}, **sections}
        self.environ |= configured(self.folder, url or self.valkey.url, **sections)

    def redis_setting(self, name: str, value: str, normal: str) -> None:
        self.valkey.client.config_set(name, value)
        self.stack.callback(self.valkey.client.config_set, name, normal)
        self.settings()

    def gateway(self, url: str) -> None:
        sent = {"form": {"to": "{to}", "text": "{text}"}}
        self.settings(gateways={"primary": {"kind": "http", "url": url, "timeout": 1.0, **sent}})

    def certificate(self, name: str = "server", **given: Any) -> Path:
        folder = self.folder / name
        folder.mkdir()
        return make_certificate(folder, **given)

    def trust(self, certificate: Path) -> None:
        self.environ["REQUESTS_CA_BUNDLE"] = str(certificate)

    def listen(self, serve: Callable[[socket.socket], object], certificate: Path | None = None) -> int:
        """Serve each connection on a port of its own."""
        listener = self.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if certificate:
            context.load_cert_chain(certificate)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken, _ = listener.accept()
                    with taken, contextlib.suppress(OSError):
                        if not certificate:
                            serve(taken)
                            continue
                        with context.wrap_socket(taken, server_side=True) as secured:
                            serve(secured)

        threading.Thread(target=accept, daemon=True).start()
        port: int = listener.getsockname()[1]
        self.stack.callback(listener.shutdown, socket.SHUT_RDWR)
        return port

    def secured(self, **given: Any) -> int:
        """Listen with a certificate that this host trusts."""
        certificate = self.certificate(**given)
        self.trust(certificate)
        return self.listen(_reads, certificate)

    def web(self, status: int, text: str) -> int:
        answer = f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode()

        def serve(taken: socket.socket) -> None:
            taken.recv(65536)
            taken.sendall(answer)

        return self.listen(serve)

    def serve_api(self, **sections: Any) -> int:
        """Serve the API of the settings, or of others, and return its port."""
        folder = self.folder / "api"
        folder.mkdir()
        ledger = {"url": f"sqlite:///{folder}/ledger.db"}
        environ = configured(folder, self.valkey.url, **{"keys": KEYS, "ledger": ledger, **sections})
        installation = open_installation(load_settings(environ=environ))
        self.stack.callback(installation.close)
        server = make_server("127.0.0.1", 0, create_app(installation))
        return self._run(server)

    def proxy(self, port: int) -> int:
        """Serve a proxy that appends who called to ``X-Forwarded-For``, as nginx and HAProxy do."""
        handler = type("Proxy", (_Proxy,), {"upstream": port})
        return self._run(http.server.HTTPServer(("127.0.0.1", 0), handler))

    def _run(self, server: http.server.HTTPServer) -> int:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.stack.callback(server.server_close)
        self.stack.callback(server.shutdown)
        return server.server_port

    def user(self, rights: str) -> None:
        self.valkey.client.execute_command("ACL", "SETUSER", "otp", "on", ">hunter2", "~*", "&*", *rights.split())
        self.settings(f"redis://otp:hunter2@127.0.0.1:{self.valkey.port}/0")


def _reads(taken: socket.socket) -> None:
    taken.recv(1)


class _Proxy(http.server.BaseHTTPRequestHandler):
    upstream: ClassVar[int]

    def do_GET(self) -> None:
        called = http.client.HTTPConnection("127.0.0.1", self.upstream)
        before = self.headers.get("X-Forwarded-For")
        hops = f"{before}, {self.client_address[0]}" if before else self.client_address[0]
        called.request("GET", self.path, headers={**self.headers, "X-Forwarded-For": hops})
        answer = called.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, shared_valkey: ValkeyServer) -> Iterator[Site]:
    shared_valkey.client.flushall()
    with contextlib.ExitStack() as stack:
        yield Site(tmp_path, shared_valkey, stack)


def closed_port(site: Site) -> None:
    site.gateway(f"https://127.0.0.1:{free_port()}/send")


def port_that_hangs(site: Site) -> None:
    event = threading.Event()
    site.stack.callback(event.set)
    site.gateway(f"https://127.0.0.1:{site.listen(lambda _: event.wait(20))}/send")


def port_that_closes(site: Site) -> None:
    site.gateway(f"https://127.0.0.1:{site.listen(lambda _: None)}/send")


def port_without_tls(site: Site) -> None:
    site.gateway(f"https://127.0.0.1:{site.web(400, 'no')}/send")


def name_that_does_not_exist(site: Site) -> None:
    site.gateway("https://sms.invalid/send")


def certificate_of_another_name(site: Site) -> None:
    site.gateway(f"https://127.0.0.1:{site.secured(bears=x509.DNSName('other.example'))}/send")


def expired_certificate(site: Site) -> None:
    site.gateway(f"https://127.0.0.1:{site.secured(life=(-2 * DAY, -DAY))}/send")


def certificate_that_signs_itself(site: Site) -> None:
    site.gateway(f"https://127.0.0.1:{site.listen(_reads, site.certificate())}/send")


def certificate_of_an_unknown_authority(site: Site) -> None:
    authority = site.certificate("authority")
    site.gateway(f"https://127.0.0.1:{site.listen(_reads, site.certificate(signed_by=authority))}/send")


def smsc_that_refuses(site: Site) -> None:
    smpp = {"kind": "smpp", "host": "127.0.0.1", "port": free_port(), "system_id": "a", "password": "7f3b90ce"}
    site.settings(gateways={"primary": smpp})


def proxy_of_this_host_that_is_away(site: Site) -> None:
    site.environ["HTTPS_PROXY"] = f"http://127.0.0.1:{free_port()}"
    site.gateway("https://sms.example/send")


def proxy_of_this_host_without_scheme(site: Site) -> None:
    site.environ["HTTPS_PROXY"] = f"127.0.0.1:{free_port()}"
    site.gateway("https://sms.example/send")


def proxy_of_this_host_with_a_port_that_is_none(site: Site) -> None:
    site.environ["HTTPS_PROXY"] = "http://127.0.0.1:99999"
    site.gateway("https://sms.example/send")


def proxy_of_this_host_that_is_no_address(site: Site) -> None:
    site.environ["HTTPS_PROXY"] = "http://[proxy"
    site.gateway("https://sms.example/send")


def proxy_of_this_host_for_socks(site: Site) -> None:
    site.environ["HTTPS_PROXY"] = f"socks5://127.0.0.1:{free_port()}"
    site.gateway("https://sms.example/send")


def proxy_of_this_host_that_trickles(site: Site) -> None:
    over = threading.Event()
    site.stack.callback(over.set)

    def trickle(taken: socket.socket) -> None:
        taken.sendall(b"HTTP/1.1 200 ")
        while not over.wait(0.2):
            taken.sendall(b"x")

    site.environ["HTTPS_PROXY"] = f"http://127.0.0.1:{site.listen(trickle)}"
    site.gateway("https://sms.example/send")


def public_url_with_a_port_that_is_none(site: Site) -> None:
    site.settings(http={"public_url": "https://otp.example:99999"})


def public_url_that_nobody_answers(site: Site) -> None:
    site.settings(http={"public_url": f"http://127.0.0.1:{free_port()}"})


def public_url_of_something_else(site: Site) -> None:
    site.settings(http={"public_url": f"http://127.0.0.1:{site.web(200, '<h1>Welcome</h1>')}"})


def public_url_without_servers_behind(site: Site) -> None:
    site.settings(http={"public_url": f"http://127.0.0.1:{site.web(503, 'no server')}"})


def public_url_of_another_installation(site: Site) -> None:
    port = site.serve_api(keys={"root": f"k1:{key()}", "pseudonym": key()})
    site.valkey.client.flushall()
    site.settings(http={"public_url": f"http://127.0.0.1:{port}"})


def proxy_that_is_not_trusted(site: Site) -> None:
    site.settings(http={"public_url": f"http://127.0.0.1:{site.proxy(site.serve_api())}"})


def proxy_too_many(site: Site) -> None:
    port = site.proxy(site.serve_api(http={"trusted_proxies": 2}))
    site.settings(http={"public_url": f"http://127.0.0.1:{port}", "trusted_proxies": 2})


def few_files(site: Site) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    site.stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, limits[1]))
    site.settings()


def no_maxmemory(site: Site) -> None:
    site.redis_setting("maxmemory", "0", normal="100mb")


def no_ledger(site: Site) -> None:
    site.settings()


def no_ledger_and_nobody_may_create_it(site: Site) -> None:
    site.settings(ledger={"url": f"sqlite:///{site.folder}/ledger.db", "upgrade": False})


def user_without_function_load(site: Site) -> None:
    site.user("+@all -function|load")


def user_without_time(site: Site) -> None:
    site.user("+@all -time")


def database_of_a_cluster(site: Site) -> None:
    member = ValkeyServer(site.folder, options=("--cluster-enabled", "yes", "--cluster-port", str(free_port())))
    site.stack.callback(member.stop)
    site.settings(member.url.replace("/0", "/3"))


def redis_that_is_a_replica(site: Site) -> None:
    site.valkey.client.replicaof("127.0.0.1", str(free_port()))
    site.stack.callback(site.valkey.client.replicaof, "NO", "ONE")
    site.settings()


def redis_that_is_full(site: Site) -> None:
    site.redis_setting("maxmemory", "1", normal="100mb")


def redis_without_the_replicas_that_it_demands(site: Site) -> None:
    site.redis_setting("min-replicas-to-write", "1", normal="0")


def redis_that_cannot_save(site: Site) -> None:
    server = ValkeyServer(site.folder, options=("--save", "3600 1000000"))
    site.stack.callback(server.stop, kill=True)  # it does not end before it has saved
    (site.folder / "dump.rdb").mkdir()  # where the file would be
    server.client.bgsave()
    eventually(lambda: server.client.info("persistence")["rdb_last_bgsave_status"] == "err")
    site.settings(server.url)


def file_that_is_no_ledger(site: Site) -> None:
    (site.folder / "ledger.db").write_text("A text, and no database.\n" * 100)
    site.settings()


def folder_in_place_of_a_ledger(site: Site) -> None:
    (site.folder / "ledger.db").mkdir()
    site.settings()


def redis_whose_certificate_signs_itself(site: Site) -> None:
    site.settings(f"rediss://127.0.0.1:{site.listen(_reads, site.certificate())}/0")


def redis_that_closes_under_tls(site: Site) -> None:
    certificate = site.certificate()
    port = site.listen(lambda taken: taken.close(), certificate)
    site.settings(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}")


SETUPS: dict[Callable[[Site], None], tuple[str, str, str]] = {
    closed_port: ("gateways.primary", "refuses connections", "Correct the host or the port"),
    port_that_hangs: ("gateways.primary", "does not answer within 1 s", "Let the firewall pass"),
    port_that_closes: ("gateways.primary", "closes the connection", "allow the address of this host"),
    port_without_tls: ("gateways.primary", "does not speak TLS", "whether TLS is used"),
    name_that_does_not_exist: ("gateways.primary", "sms.invalid", "this host's DNS"),
    certificate_of_another_name: ("gateways.primary", "is for another name", "a name in the certificate"),
    expired_certificate: ("gateways.primary", "has expired", "renewed"),
    certificate_that_signs_itself: ("gateways.primary", "is signed by itself", "REQUESTS_CA_BUNDLE"),
    certificate_of_an_unknown_authority: ("gateways.primary", "an authority that this host", "REQUESTS_CA_BUNDLE"),
    smsc_that_refuses: ("gateways.primary", "refuses connections", "Correct the host or the port"),
    proxy_of_this_host_that_is_away: ("gateways.primary", "through this host's proxy", "HTTPS_PROXY"),
    proxy_of_this_host_without_scheme: ("gateways.primary", "proxy 127.0.0.1:", "HTTPS_PROXY"),
    proxy_of_this_host_with_a_port_that_is_none: ("gateways.primary", "address of an HTTP proxy", "HTTPS_PROXY"),
    proxy_of_this_host_that_is_no_address: ("gateways.primary", "address of an HTTP proxy", "HTTPS_PROXY"),
    proxy_of_this_host_for_socks: ("gateways.primary", "address of an HTTP proxy", "HTTPS_PROXY"),
    proxy_of_this_host_that_trickles: ("gateways.primary", "through this host's proxy", "HTTPS_PROXY"),
    public_url_with_a_port_that_is_none: ("http.public_url", "is not valid", "1 to 65535"),
    public_url_that_nobody_answers: ("http.public_url", "refuses connections", "start the server"),
    public_url_of_something_else: ("http.public_url", "by another service", "Correct http.public_url"),
    public_url_without_servers_behind: ("http.public_url", "reaches no process", "Start otp-service serve"),
    public_url_of_another_installation: ("http.public_url", "another installation", "OTP_SERVICE_PSEUDONYM_KEY"),
    proxy_that_is_not_trusted: (
        "http.public_url",
        "pass 1 proxy, and http.trusted_proxies is 0",
        "trusted_proxies = 1",
    ),
    proxy_too_many: ("http.public_url", "pass 1 proxy, and http.trusted_proxies is 2", "trusted_proxies = 1"),
    few_files: ("files", "may open 512 files", "LimitNOFILE"),
    no_maxmemory: ("maxmemory", "no limit of its own", "Set maxmemory"),
    no_ledger: ("ledger", "not created yet", "otp-service ledger upgrade"),
    no_ledger_and_nobody_may_create_it: ("ledger", "ledger.upgrade = false", "otp-service ledger upgrade"),
    user_without_function_load: ("redis.url", "refuses FUNCTION LOAD", "@scripting"),
    user_without_time: ("redis.url", "refuses TIME", "+time"),
    database_of_a_cluster: ("redis.url", "database 0 only", "write 0"),
    redis_that_is_a_replica: ("redis.url", "is a replica", "Name its primary"),
    redis_that_is_full: ("redis.url", "is full", "maxmemory"),
    redis_without_the_replicas_that_it_demands: ("redis.url", "fewer replicas", "min-replicas-to-write"),
    redis_that_cannot_save: ("redis.url", "cannot write to its disk", "INFO persistence"),
    file_that_is_no_ledger: ("ledger.url", "no database", "restored from a copy"),
    folder_in_place_of_a_ledger: ("ledger.url", "cannot be opened", "restored from a copy"),
    redis_that_closes_under_tls: ("redis.url", "does not answer", "Start it"),
    redis_whose_certificate_signs_itself: ("redis.url", "is signed by itself", "ssl_ca_certs"),
}
"""Subject, and words of cause and remedy."""
WARNS = {few_files, no_maxmemory, no_ledger}


def findings(text: str) -> list[dict[str, str]]:
    return list(json.loads(text[text.index("{") :])["findings"])  # behind what the API logs, if it runs here


@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup.__name__)
def test_a_wrong_set_up_is_told_with_cause_and_remedy(setup: Callable[[Site], None], site: Site) -> None:
    setup(site)
    subject, cause, remedy = SETUPS[setup]

    result = run("doctor", "--network", "--json", environ=site.environ)

    told = [one for one in findings(result.stdout) if one["subject"] == subject and one["level"] != "ok"]
    (found,) = [one for one in told if cause in one["sentence"]]
    assert remedy in found["action"]
    assert found["level"] == ("warn" if setup in WARNS else "fail")
    assert result.exit_code == (0 if setup in WARNS else 1)
    print(f"| {setup.__name__.replace('_', ' ')} | {found['sentence']} | {found['action']} |")  # noqa: T201 - a row of the table


def test_a_right_set_up_has_nothing_to_tell(site: Site) -> None:
    certificate = site.certificate()
    site.trust(certificate)
    gateway = {"kind": "http", "url": f"https://127.0.0.1:{site.listen(_reads, certificate)}/send?key=hunter2"}
    gateway |= {"form": {"to": "{to}", "text": "{text}"}}
    smpp = {"kind": "smpp", "host": "127.0.0.1", "port": site.listen(_reads), "system_id": "a", "password": "7f3b90ce"}
    http = {"trusted_proxies": 1}
    ledger = {"url": f"sqlite:///{site.folder}/api/ledger.db"}
    http["public_url"] = f"http://127.0.0.1:{site.proxy(site.serve_api(http=http))}"
    site.settings(gateways={"primary": gateway, "second": smpp}, http=http, ledger=ledger)

    result = run("doctor", "--network", "--json", environ=site.environ)
    quiet = run("doctor", "--json", environ=site.environ)

    told = {(one["subject"], one["sentence"]) for one in findings(result.stdout)}
    before = {(one["subject"], one["sentence"]) for one in findings(quiet.stdout)}
    new = dict(told - before)
    assert set(new) == {"gateways.primary", "gateways.second", "http.public_url"}
    assert "its certificate is valid until" in new["gateways.primary"]
    assert "without encryption" in new["gateways.second"]
    assert "behind 1 proxy" in new["http.public_url"]
    assert "hunter2" not in result.output
    assert result.exit_code == 0


def test_a_clock_that_is_behind_is_told_where_tls_fails_for_it(site: Site) -> None:
    if not (library := faketime_library()):
        missing("libfaketime")
    site.gateway(f"https://127.0.0.1:{site.secured()}/send")
    command = [sys.executable, "-m", "otp_service.cli.main", "doctor", "--network", "--json"]
    faked = {"LD_PRELOAD": library, "FAKETIME": "-3d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    done = subprocess.run(command, env={**os.environ, **site.environ, **faked}, check=False, capture_output=True)

    told = {one["subject"]: one for one in findings(done.stdout.decode())}
    assert "this host's clock" in told["gateways.primary"]["sentence"]
    assert "is behind" in told["gateways.primary"]["sentence"]
    assert "NTP" in told["gateways.primary"]["action"]
    assert "behind the server's" in told["clock"]["sentence"]
    sentence, action = told["gateways.primary"]["sentence"], told["gateways.primary"]["action"]
    print(f"| clock behind | {sentence} | {action} |")  # noqa: T201 - a row of the table


@pytest.mark.parametrize("network", [[], ["--network"]])
def test_nothing_is_connected_to_unless_that_is_asked_for(network: list[str], site: Site) -> None:
    taken: list[bytes] = []
    port = site.listen(lambda one: taken.append(one.recv(65536)))
    site.gateway(f"http://127.0.0.1:{port}/send")

    run("doctor", *network, environ=site.environ)

    assert taken == ([b""] if network else []), "a connection, and no byte in it"


def test_who_does_not_know_the_keys_is_not_told_of_proxies(site: Site) -> None:
    port = site.serve_api()
    for headers in ({}, {"X-Otp-Service-Probe": "x" * 22}, {"X-Otp-Service-Probe": "é"}):
        called = http.client.HTTPConnection("127.0.0.1", port)
        called.request("GET", "/healthz", headers={**headers, "X-Forwarded-For": "192.0.2.1"})
        assert json.loads(called.getresponse().read()) == {"status": "alive", "details": {}}
