"""What both client libraries are tried against: the table of cases, servers that play a script, and the service."""

import contextlib
import itertools
import json
import os
import signal
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
from support_installation import tree
from support_rotation import FREE
from support_service import Service, running
from support_sources import ROOT
from support_valkey import ValkeyServer, free_port

CASES = json.loads((ROOT / "clients" / "cases.json").read_text())
_PROBLEM = {"title": "As the script says", "detail": "As the script says."}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, *_: Any) -> None:
        """Say nothing of callers that are gone."""


class Script:
    """Answers requests below `/NUMBER.RUN/` as the steps of the scripted case of that number say, and notes them.

    Below `/lossy/` it passes them on to a service, and loses the first answer to each `Idempotency-Key`.
    """

    def __init__(self, service: Service | None = None) -> None:
        self.service = service
        self.seen: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.peers: set[Any] = set()
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def handle_any(self) -> None:
                script.answer(self)

            do_GET = do_POST = do_PUT = handle_any  # noqa: N815 - as the class wants it

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        _, run, path = handler.path.split("/", 2)
        self.peers.add(handler.client_address)
        if run == "seen":
            return _json(handler, 200, self.seen[path])
        if run == "do":
            return _json(handler, 200, self.act(path))
        key = handler.headers.get("Idempotency-Key")
        noted = {"request": f"{handler.command} /{path}", "body": body.decode(), "key": key}
        self.seen[run].append(noted)
        if run == "lossy":
            return self._pass_on(handler, path, body, key)
        steps = CASES["scripted"][int(run.split(".")[0])]["steps"]
        return _play(handler, steps[min(len(self.seen[run]), len(steps)) - 1])

    def _pass_on(self, handler: BaseHTTPRequestHandler, path: str, body: bytes, key: str | None) -> None:
        headers = {name: value for name, value in handler.headers.items() if name not in {"Host", "Connection"}}
        found = requests.request(handler.command, f"{self.service.base}/{path}", data=body, headers=headers, timeout=20)
        if key and [one["key"] for one in self.seen["lossy"]].count(key) == 1:
            return _break(handler)
        return _json(handler, found.status_code, found.json())

    def act(self, what: str) -> None:
        """Let the store of the service stand still (``stop``), or go on (``let``)."""
        os.kill(self.service.valkey.process.pid, {"stop": signal.SIGSTOP, "let": signal.SIGCONT}[what])


def _play(handler: BaseHTTPRequestHandler, step: dict[str, Any]) -> None:
    if step.get("breaks") == "before":
        return _break(handler)
    if step.get("breaks") == "within":
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"valid"')
        return _break(handler)
    if "silent" in step:
        time.sleep(step["silent"])
        return _break(handler)
    if "drips" in step:
        return _drip(handler, step["drips"])
    headers = {"Retry-After": str(step["retry_after"])} if "retry_after" in step else {}
    if "location" in step:
        headers["Location"] = step["location"]
    if step.get("html"):
        return _send(handler, step["status"], b"<html><h1>Bad Gateway</h1></html>", "text/html", headers)
    shown = CASES["answers"].get(step.get("shows")) or {**_PROBLEM, "status": step["status"]}
    if "problem" in step:
        shown |= {"code": step["problem"]}
    return _json(handler, step["status"], shown, headers)


def _drip(handler: BaseHTTPRequestHandler, seconds: float) -> None:
    """Send a whole answer, a little at a time."""
    body = json.dumps(CASES["answers"]["started"]).encode()
    handler.send_response(201)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    end = time.monotonic() + seconds
    for place in range(len(body)):
        handler.wfile.write(body[place : place + 1])
        handler.wfile.flush()
        time.sleep(max(0.0, end - time.monotonic()) / (len(body) - place))


def _break(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    with contextlib.suppress(OSError):
        handler.connection.shutdown(socket.SHUT_RDWR)


def _json(handler: BaseHTTPRequestHandler, status: int, shown: Any, headers: dict[str, str] | None = None) -> None:
    _send(handler, status, json.dumps(shown).encode(), "application/json", headers or {})


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes, kind: str, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for name, value in {**headers, "Content-Type": kind, "Content-Length": str(len(body))}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@contextlib.contextmanager
def scripted(service: Service | None = None) -> Iterator[Script]:
    """Serve the script of all cases."""
    script = Script(service)
    try:
        yield script
    finally:
        script.end()


@contextlib.contextmanager
def service_for_clients(folder: Path, valkey: ValkeyServer, **sections: Any) -> Iterator[Service]:
    """Run a service as `otp-service dev` makes it, whose application gets proofs."""
    applications = tree("redis://unused")["applications"]
    shop = {**applications["shop"], "proofs": True}
    valkey.reset()
    with running(folder, valkey, limits=FREE, applications={**applications, "shop": shop}, **sections) as service:
        yield service


NUMBERS = (f"+92300{7000000 + one}" for one in itertools.count())
"""A new one for each case."""


def closed_port() -> str:
    """Return an address where nobody listens."""
    return f"http://127.0.0.1:{free_port()}"


def must_have_seen(case: dict[str, Any], seen: list[dict[str, Any]]) -> None:
    """Check how often a case was asked for, that all tries were one request, and under which key."""
    assert len(seen) == case["requests"], case["name"]
    assert len({json.dumps(one) for one in seen}) <= 1, "tries differ"
    keys = {one["key"] for one in seen if one["request"].startswith("POST")}
    if "key" in case:
        assert keys == {case["key"]}
    if case.get("keyless"):
        assert keys <= {None}
    elif keys:
        assert all(keys), "no key was made"
