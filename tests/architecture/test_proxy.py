"""The shipped configurations of proxies, in a real HAProxy and nginx: who is asked, and what is passed on."""

import contextlib
import json
import re
import socket
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from support_missing import missing
from support_proxy import HAPROXY, NGINX, proxied, proxied_by_nginx, proxied_in_production
from support_service import eventually, in_parallel
from support_sources import ROOT
from support_tls import make_certificate
from support_valkey import free_port

from otp_service.api.errors import PROBLEM_KINDS
from otp_service.api.twilio.errors import error_for

START, CHECK = "/v1/verifications", "/v1/verifications/vf_1/check"
TWILIO = "/twilio/v2/Services/VA1"
TWILIO_START, TWILIO_CHECK = f"{TWILIO}/Verifications", f"{TWILIO}/VerificationCheck"
if HAPROXY is None:
    missing("HAProxy")
if NGINX is None:
    missing("nginx")


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        """A connection that the proxy resets is none of our business."""


class Upstream:
    """A process of the API, as the proxy sees it: what it says of itself can be changed, what it was asked is kept."""

    def __init__(self):
        self.ready, self.ready_for_checks, self.status = 200, 200, "ready"
        self.asked = []
        self.request_ids = []
        self.seconds = 0.0
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                probes = {"/readyz": upstream.ready, "/readyz/checks": upstream.ready_for_checks, "/healthz": 200}
                self._answer(probes[self.path])

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                upstream.asked.append((self.path, len(body)))
                upstream.request_ids.append(self.headers.get_all("X-Request-Id"))
                time.sleep(upstream.seconds)
                self._answer(200)

            def _answer(self, status):
                body = json.dumps({"status": upstream.status}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def paths(self):
        """Return what it was asked since the last time."""
        asked, self.asked = self.asked, []
        return {path for path, _ in asked}


@pytest.fixture(scope="module")
def upstreams():
    made = [Upstream(), Upstream()]  # of the API
    yield made
    for one in made:
        one.stop()


@pytest.fixture(scope="module")
def console():
    made = Upstream()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def proxy(upstreams, console, tmp_path_factory):
    """A proxy with time-outs that can be waited for."""
    changes = {
        "inter 1s": "inter 100ms",
        "timeout http-request 10s": "timeout http-request 1500ms",
        "maxconn 8": "maxconn 1",
        "maxconn 28": "maxconn 1",
    }
    ports = [one.port for one in upstreams]
    with proxied(tmp_path_factory.mktemp("proxy"), ports, changes, console.port) as running:
        yield running


@pytest.fixture
def call(proxy, upstreams):
    """Call through the proxy; both processes are well before and after."""

    def well():
        for one in upstreams:
            one.ready, one.ready_for_checks, one.status = 200, 200, "ready"
        eventually(lambda: reached(START) == {0, 1})
        eventually(lambda: reached(CHECK) == {0, 1})

    def post(path, body=b"{}", **headers):
        return requests.post(f"http://127.0.0.1:{proxy.port}{path}", body, headers=headers, timeout=10)

    def reached(path):
        """Return who is asked, of a few calls."""
        for one in upstreams:
            one.paths()
        answers = []
        try:
            answers = [post(path).status_code for _ in range(6)]
        except requests.ConnectionError:
            return set()
        found = {place for place, one in enumerate(upstreams) if path in one.paths()}
        return found if answers == [200] * 6 else set()

    post.reached = reached
    well()
    yield post
    well()


def test_starts_go_where_they_are_accepted_and_all_the_rest_everywhere(call, upstreams):
    upstreams[1].ready = 503
    eventually(lambda: call.reached(START) == {0})

    assert call.reached(TWILIO_START) == {0}
    others = (CHECK, "/v1/receipts/sandbox/dp_1", "/v1/inbound/sandbox/token", f"{START}/vf_1/resend")
    for path in (*others, TWILIO_CHECK, f"{TWILIO_START}/VE1"):
        assert call.reached(path) == {0, 1}


@pytest.mark.parametrize("host", ["console.localhost", "Console.Localhost:8080", "console.localhost:9"])
def test_the_console_is_asked_under_its_own_name(call, upstreams, console, host):
    eventually(lambda: call("/users", Host=host).status_code == 200)
    for one in (*upstreams, console):
        one.paths()

    assert call(START, Host=host).status_code == 200
    assert (console.paths(), [one.paths() for one in upstreams]) == ({START}, [set(), set()])


@pytest.mark.parametrize("host", ["localhost", "xconsole.localhost", "console.localhost.evil.example", ""])
def test_no_other_name_leads_to_the_console(call, console, host):
    console.paths()
    call("/users", Host=host)

    assert console.paths() == set()


def test_starts_that_all_refuse_are_refused_by_the_api_which_says_why(call, upstreams):
    for one in upstreams:
        one.ready = 503
    time.sleep(1)  # more than enough to be noticed

    assert call.reached(START) == {0, 1}
    assert call.reached(CHECK) == {0, 1}


def test_each_request_has_an_id_of_the_proxy_whatever_a_stranger_wrote(call, upstreams):
    for one in upstreams:
        one.request_ids.clear()
    for header in ("X-Request-Id", "x-request-id", "X_Request_Id"):
        assert call(CHECK, **{header: "mine"}).status_code == 200
    made = [one for upstream in upstreams for one in upstream.request_ids]

    assert all(len(one) == 1 and str(uuid.UUID(one[0])) == one[0] for one in made)
    assert len({one for (one,) in made}) == len(made) == 3


def test_without_redis_the_api_says_so_itself_and_who_leaves_is_asked_nothing(call, upstreams):
    for one in upstreams:
        one.ready = one.ready_for_checks = 503
    time.sleep(1)
    assert call.reached(CHECK) == {0, 1}
    upstreams[0].status = "leaving"

    eventually(lambda: call.reached(CHECK) == {1})
    assert call.reached(START) == {1}


@pytest.mark.parametrize("size", [3, 20_000, 65_536], ids=["a few bytes", "a long one", "the longest report"])
def test_a_body_that_comes_slowly_is_never_passed_on_and_its_time_is_bounded(call, proxy, upstreams, size):
    head = f"POST /v1/receipts/sandbox/slow HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as caller:
        began = time.monotonic()
        caller.sendall(head.encode() + b"x" * (size - 2))
        assert caller.recv(4096).split()[1] == b"408"
        assert time.monotonic() - began < 4
    assert [one.asked for one in upstreams if any(path.endswith("slow") for path, _ in one.asked)] == []


def test_the_longest_report_is_passed_on_whole_and_nothing_longer(call, upstreams):
    longest, headers = b"x" * 65_536, {"X-Long": "y" * 15_000}

    assert call("/v1/receipts/sandbox/long", longest, **headers).status_code == 200
    assert [size for one in upstreams for path, size in one.asked if path.endswith("long")] == [65_536]
    assert call("/v1/receipts/sandbox/longer", longest + b"x").status_code == 413
    assert call("/v1/receipts/sandbox/chunks", iter([longest, b"x"])).status_code == 413
    assert call("/v1/receipts/whatsapp/all/token", b"x" * 3 * 1024 * 1024).status_code == 200
    assert call("/v1/receipts/whatsapp/all/token", b"x" * (3 * 1024 * 1024 + 1)).status_code == 413
    assert call("/v1/receipts/whatsapp/all/a/b", longest + b"x").status_code == 413
    assert call("/v1/receipts/sandbox/wide", b"", **{"X-Long": "y" * 17_000}).status_code == 400
    assert not {path for one in upstreams for path, _ in one.asked} & {
        f"/v1/receipts/sandbox/{name}" for name in ("longer", "chunks", "wide")
    }


@pytest.mark.parametrize("path", [CHECK, TWILIO_CHECK])
def test_who_waits_too_long_is_told_as_the_api_would_and_counted_and_probes_go_first(call, proxy, upstreams, path):
    """Each server of these answers one call at a time, so that of ten the last would wait for two seconds."""

    def timed(place):
        began = time.monotonic()
        answer = call(path)
        return answer, time.monotonic() - began

    def probed(_):
        time.sleep(0.2)  # when all others wait
        return requests.get(f"{proxy.base}/healthz", timeout=10), 0

    before = _waited_in_vain(proxy)
    for one in upstreams:
        one.seconds = 0.4
    try:
        (probe, _), *answers = in_parallel(11, lambda place: timed(place) if place else probed(place))
    finally:
        for one in upstreams:
            one.seconds = 0.0
    refused = [(answer, seconds) for answer, seconds in answers if answer.status_code != 200]
    assert probe.status_code == 200
    assert 2 <= len(answers) - len(refused) <= 6
    assert max(seconds for _, seconds in refused) < 1
    kind, told = PROBLEM_KINDS["overloaded"], ("/problems/overloaded", "overloaded", 1)
    for answer, _ in refused:
        assert (answer.headers["Retry-After"], answer.headers["Cache-Control"]) == ("1", "no-store")
        if path == TWILIO_CHECK:
            assert answer.headers["Content-Type"] == "application/json"
            assert answer.json() == json.loads(error_for("overloaded").answer().body)
            continue
        problem = answer.json()
        assert (answer.status_code, problem["status"], problem["title"]) == (503, kind.status, kind.title)
        assert (problem["type"], problem["code"], problem["retry_after"]) == told
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert _waited_in_vain(proxy) - before == len(refused)


@pytest.mark.parametrize("path", ["/healthz", START, CHECK, TWILIO_CHECK, "/nothing"])
def test_where_no_process_answers_the_proxy_says_so(tmp_path, path):
    changes = {"inter 1s": "inter 100ms"}
    with proxied(tmp_path, [free_port()], changes) as running:
        eventually(lambda: running.metrics('haproxy_server_status{proxy="api",server="api0",state="DOWN"}') == [1.0])
        answer = requests.post(f"{running.base}{path}", b"{}", timeout=10)
    kind = PROBLEM_KINDS["service-unavailable"]

    assert (answer.status_code, answer.headers["Retry-After"], answer.headers["Cache-Control"]) == (
        503,
        "5",
        "no-store",
    )
    if path == TWILIO_CHECK:
        assert answer.json() == json.loads(error_for("service-unavailable").answer().body)
        return
    problem = answer.json()
    assert (problem["type"], problem["code"], problem["title"]) == (
        "/problems/service-unavailable",
        "service-unavailable",
        kind.title,
    )
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_the_proxy_of_production_ends_tls_and_passes_no_key_on_that_came_in_plain_text(upstreams, tmp_path):
    certificate = make_certificate(tmp_path)
    with proxied_in_production(tmp_path, certificate, [one.port for one in upstreams]) as running:
        https, plain = f"https://127.0.0.1:{running.port}", f"http://127.0.0.1:{running.metrics_port}"

        def call(method, base, path):
            return requests.request(
                method, base + path, data=b"{}", timeout=10, verify=str(certificate), allow_redirects=False
            )

        def serves():
            with contextlib.suppress(requests.ConnectionError):
                return call("POST", https, START).status_code == 200

        eventually(serves)
        secure = call("GET", https, "/readyz")
        assert secure.headers["Strict-Transport-Security"] == "max-age=31536000"
        for one in upstreams:
            one.paths()
        refused, led = call("POST", plain, CHECK), call("GET", plain, "/docs")
        assert refused.status_code == 403
        assert not any(one.paths() for one in upstreams)
        assert (led.status_code, led.headers["Location"]) == (
            308,
            "https://127.0.0.1:" + f"{running.metrics_port}/docs",
        )
        assert call("GET", https, "/metrics").status_code == 404


def test_nginx_names_requests_hides_metrics_and_answers_where_no_process_does(tmp_path):
    certificate = make_certificate(tmp_path)
    upstream = Upstream()

    def call(base, path):
        return requests.post(base + path, b"{}", headers={"X-Request-Id": "forged"}, timeout=10, verify=certificate)

    with proxied_by_nginx(tmp_path, certificate, upstream.port) as base:

        def serves():
            with contextlib.suppress(requests.ConnectionError):
                return call(base, START).status_code == 200

        eventually(serves)
        assert [len(names) for names in upstream.request_ids] == [1]
        assert upstream.request_ids != [["forged"]]
        assert call(base, "/metrics").status_code == 404
        upstream.stop()
        answer = call(base, CHECK)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "service-unavailable"
    assert answer.json()["title"] == PROBLEM_KINDS["service-unavailable"].title


def test_the_proxy_of_production_is_that_of_compose_but_for_places():
    """What is tested with one holds for the other: they differ in addresses, TLS, and what only Compose has."""

    def rules(name):
        text = (ROOT / "config" / name).read_text().replace("console.example.com", "console.localhost")
        text = text.replace(" resolvers engine resolve-prefer ipv4 init-addr none", "")
        return [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]

    ours, compose = rules("haproxy-production.cfg"), rules("haproxy.cfg")
    added = [line for line in ours if line not in compose]
    missing_here = [line for line in compose if line not in ours]

    assert len(set(added)) == 13
    assert all(re.match("log|user|group|ssl-default|bind|server |http-re", line) for line in added)
    assert all(
        re.match("log std|bind|server-template|resolve|nameserver|accepted|timeout re|hold|frontend load", line)
        for line in missing_here
    )


def _waited_in_vain(proxy):
    """Return what the rules of Prometheus know of requests that the proxy refused."""
    return sum(proxy.metrics("haproxy_backend_connection_errors_total{"))
