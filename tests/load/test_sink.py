"""The SMS sink: takes messages as a gateway does, keeps what it took, and shows what arrived."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from support_programs import program_environment
from support_service import eventually
from support_sources import ROOT
from support_valkey import free_port

TO = "+923001234567"


@pytest.fixture
def sink(tmp_path):
    port = free_port()
    command = [sys.executable, str(ROOT / "load" / "sink.py"), "--port", str(port), "--journal", str(tmp_path / "j")]
    process = subprocess.Popen(command, env=program_environment())
    base = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: _alive(base))
        yield base
    finally:
        process.terminate()
        process.wait(30)


def _alive(base):
    try:
        return requests.get(f"{base}/healthz", timeout=5).ok
    except requests.ConnectionError:
        return False


def send(sink, dispatch, gateway="primary", **members):
    message = {"id": dispatch, "to": TO, "text": f"code of {dispatch}", **members}
    return requests.post(f"{sink}/{gateway}/messages", json=message, timeout=30).status_code


def calls(sink):
    return [json.loads(line) for line in requests.get(f"{sink}/calls", timeout=30).text.splitlines()]


def inbox(sink, **query):
    return requests.get(f"{sink}/inbox", params={"to": TO, "wait": 10, **query}, timeout=30).json()


def test_every_call_is_kept_with_what_became_of_it_and_what_was_taken_arrives(sink, tmp_path):
    answers = [send(sink, f"dp_{number}") for number in range(5)]
    kept = calls(sink)

    assert [(one["dispatch"], one["accepted"]) for one in kept] == [
        (f"dp_{number}", status == 200) for number, status in enumerate(answers)
    ]
    assert {one["to"] for one in kept} == {TO}
    written = [json.loads(line) for line in (tmp_path / "j").read_text().splitlines()]
    assert kept == [{**one, "reported": False} for one in written]
    assert inbox(sink)[0].startswith("code of dp_")


def test_a_gateway_fails_while_it_is_told_to_and_the_other_one_does_not(sink):
    requests.put(f"{sink}/primary/behaviour", json={"failing": True}, timeout=30)
    failed = {send(sink, f"dp_{number}") for number in range(3)}
    other = [send(sink, f"dp_b{number}", "backup") for number in range(3)]
    requests.put(f"{sink}/primary/behaviour", json={"failing": False}, timeout=30)

    assert failed == {500}
    assert 200 in other
    assert 200 in {send(sink, f"dp_a{number}") for number in range(3)}


def test_what_arrived_is_reported_and_a_report_that_is_refused_comes_again(sink):
    reports = []

    class ReceiptServer(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            reports.append((self.path, json.loads(body)))
            self.send_response(503 if len(reports) == 1 else 204)
            self.end_headers()

        def log_message(self, *_):
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), ReceiptServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert send(sink, "dp_1", report=f"http://127.0.0.1:{server.server_port}/receipts/dp_1?token=x") == 200
        assert eventually(lambda: len(reports) == 1)
        assert [one["reported"] for one in calls(sink)] == [False]
        assert eventually(lambda: [one["reported"] for one in calls(sink)] == [True])
        server.shutdown()

    assert reports == [("/receipts/dp_1?token=x", {"status": "DELIVRD"})] * 2


def test_a_handset_is_waited_for_no_longer_than_asked(sink):
    assert inbox(sink, wait=0.1) == []


def test_what_is_not_there_is_404(sink):
    assert requests.get(f"{sink}/nothing", timeout=30).status_code == 404
