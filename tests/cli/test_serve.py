"""``serve`` and ``worker``: the production processes."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests
from support_cli import all_end, configured, family, kill, start
from support_installation import API_KEY
from support_service import eventually, in_parallel, running
from support_valkey import ValkeyServer, free_port

from otp_service.cli import serve
from otp_service.telemetry.metrics import DIRECTORY_VARIABLE


@pytest.fixture
def launch(valkey, tmp_path):
    """Start a command on private ports; whatever is left at the end is killed."""
    started = []

    def begin(command, *, environ=None, cwd=None, safe=False, **sections):
        variables = configured(tmp_path, valkey.url, **sections) | (environ or {})
        started.append(start(command, environ=variables, cwd=cwd, safe=safe))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            kill(family(process.pid))
            process.wait(10)
        process.stdout.close()


def answer(url):
    """Return an answer as soon as there is one."""
    end = time.monotonic() + 60
    while True:
        try:
            return requests.get(url, timeout=5)
        except requests.ConnectionError:
            assert time.monotonic() < end, f"{url} is not served"
            time.sleep(0.02)


def test_serve_answers_on_its_port_reports_on_another_and_ends_on_a_signal(launch):
    port, metrics_port = free_port(), free_port()
    process = launch("serve", http={"port": port, "metrics_port": metrics_port, "metrics_on_same_port": False})
    assert answer(f"http://127.0.0.1:{port}/readyz").status_code == 200
    assert answer(f"http://127.0.0.1:{metrics_port}/metrics").status_code == 200
    everybody = family(process.pid)
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    assert all_end(everybody, 5)


@pytest.mark.parametrize("named", [True, False])
def test_what_processes_count_is_in_memory_unless_an_operator_says_where(named, tmp_path, monkeypatch):
    """A process that writes into a mapped file on a full disk is ended by the system."""
    monkeypatch.setenv("TMPDIR", str(tmp_path) if named else "")
    monkeypatch.setenv(DIRECTORY_VARIABLE, "to be restored")
    monkeypatch.delenv(DIRECTORY_VARIABLE)

    with serve._shared_metrics():
        folder = Path(os.environ[DIRECTORY_VARIABLE])
        assert folder.parent == (tmp_path if named else Path("/dev/shm"))  # noqa: S108 - where it has to be
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_no_process_outlives_a_serve_that_is_killed(launch):
    port = free_port()
    process = launch("serve", http={"port": port, "metrics_port": 0, "processes": 2})
    answer(f"http://127.0.0.1:{port}/readyz")
    end = time.monotonic() + 15
    while len(everybody := family(process.pid)) < 3:  # the first one may answer before the second one is there
        assert time.monotonic() < end
        time.sleep(0.02)
    process.kill()
    assert all_end(everybody, 15)


def test_a_child_whose_parent_has_gone_ends_at_once():
    script = (
        "import os; from otp_service.cli.child_processes import end_with_parent; end_with_parent({}); print('alive')"
    )
    for parent, printed, status in (("os.getppid()", "alive\n", 0), ("os.getpid()", "", 1)):
        child = subprocess.run(
            [sys.executable, "-c", script.format(parent)], check=False, capture_output=True, text=True, timeout=30
        )
        assert (child.stdout, child.returncode) == (printed, status)


@pytest.mark.parametrize("phase", ["spawned", "importing", "served"])
def test_no_process_outlives_a_serve_that_is_killed_while_it_starts(launch, tmp_path, phase):
    # The server process is stopped at the phase, so that it cannot bind itself to a parent that still lives.
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(PAUSE_AT.format(module=PHASES[phase], reached=str(tmp_path / "reached")))
    process = launch("serve", environ={"PYTHONPATH": str(hook)}, http={"port": free_port(), "metrics_port": 0})
    end = time.monotonic() + 20
    while not (tmp_path / "reached").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    everybody = family(process.pid)
    assert len(everybody) >= 2
    process.kill()
    (tmp_path / "reached.go").touch()
    try:
        assert all_end(everybody, 10)
    finally:
        kill(everybody)


PHASES = {"spawned": "granian", "importing": "otp_service.cli.child_processes", "served": "otp_service.api.app"}
"""What a server process imports early, just before it binds itself to its parent, and just after."""

PAUSE_AT = """
import importlib.abc, os, pathlib, sys, time

CHILD = "--multiprocessing-fork" in sys.argv

class Pause(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {module!r} and CHILD:
            pathlib.Path({reached!r}).touch()
            while not pathlib.Path({reached!r} + ".go").exists():
                time.sleep(0.01)

sys.meta_path.insert(0, Pause())
"""


def test_a_server_process_that_hangs_when_it_is_asked_to_end_is_ended(launch, tmp_path):
    """Granian does, and no thread of the process goes on, when it is asked while it begins to serve."""
    hook, port = tmp_path / "hook", free_port()
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(HANG)
    process = launch("serve", environ={"PYTHONPATH": str(hook)}, http={"port": port, "metrics_port": 0})
    answer(f"http://127.0.0.1:{port}/readyz")
    everybody = family(process.pid)
    process.kill()
    try:
        assert all_end(everybody, 10)
    finally:
        kill(everybody)


HANG = """
import ctypes, importlib.abc, signal, sys

class Shorten(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "otp_service.api.app":
            sys.modules["otp_service.cli.child_processes"].KILL_AFTER = 1

def hang(signum, frame):
    ctypes.PyDLL(None).sleep(60)  # and holds the lock of the interpreter

if "--multiprocessing-fork" in sys.argv:
    sys.meta_path.insert(0, Shorten())
    install = signal.signal
    signal.signal = lambda number, handler: install(number, hang if number == signal.SIGTERM else handler)
"""


def test_nothing_in_the_current_folder_is_taken_for_a_module(launch, tmp_path):
    for name in ("structlog", "flask", "click", "redis"):
        (tmp_path / f"{name}.py").write_text("open('hijacked', 'a').write(__name__)\n")
    (tmp_path / "otp_service").mkdir()
    (tmp_path / "otp_service" / "__init__.py").write_text("open('hijacked', 'a').write(__name__)\n")
    port = free_port()
    launch("serve", cwd=tmp_path, safe=True, http={"port": port, "metrics_port": 0})
    assert answer(f"http://127.0.0.1:{port}/readyz").status_code == 200
    assert not (tmp_path / "hijacked").exists()


def test_a_clean_end_is_silent_and_the_start_is_told(launch):
    port = free_port()
    process = launch("serve", http={"port": port, "metrics_port": 0, "processes": 2}, logging={"format": "json"})
    serving = json.loads(next(line for line in process.stdout if '"serving"' in line))
    assert answer(f"http://127.0.0.1:{port}/readyz").status_code == 200
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert '"serving"' not in output
    assert (serving["at"], serving["processes"], serving["metrics_port"]) == (f"http://127.0.0.1:{port}", 2, 0)
    assert "refused to gracefully stop" not in output


def test_serving_is_told_when_the_port_answers_and_not_before(launch, tmp_path):
    hook, reached = tmp_path / "hook", tmp_path / "reached"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(PAUSE_AT.format(module=PHASES["served"], reached=str(reached)))
    sections = {"http": {"port": free_port(), "metrics_port": 0, "processes": 1}, "logging": {"format": "json"}}
    process = launch("serve", environ={"PYTHONPATH": str(hook)}, **sections)
    told = []
    reader = threading.Thread(target=lambda: told.extend(iter(process.stdout.readline, "")))
    reader.start()
    eventually(reached.exists)
    time.sleep(1)  # the process holds before it has an application
    assert not any('"serving"' in line for line in told)
    (tmp_path / "reached.go").touch()
    eventually(lambda: any('"serving"' in line for line in told))
    assert requests.get(f"http://127.0.0.1:{sections['http']['port']}/healthz", timeout=5).ok
    process.send_signal(signal.SIGTERM)
    process.wait(15)
    reader.join()


@pytest.mark.parametrize(("command", "event"), [("serve", "serving"), ("worker", "worker_started")])
def test_the_start_names_the_profile_in_force(command, event, launch, tmp_path):
    own = tmp_path / "own.toml"
    own.write_text('[countries.SA]\nlanguages = ["en"]\n')
    http, worker = {"port": free_port(), "metrics_port": 0, "processes": 1}, {"metrics_port": 0}
    process = launch(command, profile=str(own), http=http, worker=worker, logging={"format": "json"})
    line = next(line for line in process.stdout if f'"{event}"' in line)

    assert json.loads(line)["profile"] == str(own)


def test_a_busy_port_is_told_in_a_sentence(launch):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        process = launch("serve", http={"port": port})
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert output.startswith(f"Error: Port {port} of 127.0.0.1 cannot be used: Address already in use.")
    assert "Choose another: http.port, or OTP_SERVICE__HTTP__PORT=8081 before the command." in output


@pytest.mark.parametrize(
    ("command", "section", "advice"),
    [
        ("worker", "worker", "Another worker may use it. Set OTP_SERVICE__WORKER__METRICS_PORT=9092, or 0"),
        ("serve", "http", "Another service may use it. Set OTP_SERVICE__HTTP__METRICS_PORT=9092, or 0"),
    ],
)
def test_a_busy_metrics_port_is_told_with_what_to_do(launch, command, section, advice):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        sections = {"http": {"port": free_port()}}
        sections[section] = sections.get(section, {}) | {"metrics_port": port}
        process = launch(command, **sections)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"Error: The metrics port {port} of 127.0.0.1 cannot be used: Address already in use. {advice}" in output


def test_worker_works_until_it_is_asked_to_end(launch, valkey):
    metrics_port = free_port()
    process = launch("worker", worker={"metrics_port": metrics_port})
    assert answer(f"http://127.0.0.1:{metrics_port}/metrics").status_code == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0


def test_a_server_that_is_to_end_serves_on_until_proxies_have_noticed(tmp_path, valkey):
    with running(tmp_path, valkey, workers=0, http={"shutdown_delay": 3.0}) as service:
        (serve,) = service.children
        kept = requests.Session()
        kept.headers["Authorization"] = f"Bearer {API_KEY}"
        assert kept.get(f"{service.base}/readyz", timeout=5).headers.get("Connection") != "close"
        began = time.monotonic()
        serve.send_signal(signal.SIGTERM)
        (refused,) = eventually(lambda: [one for one in [service.get("/readyz")] if not one.ok])
        started = [service.post("/v1/verifications", {"to": f"+92300123456{place}"}) for place in range(8)]
        last = kept.get(f"{service.base}/healthz", timeout=5)

        assert (refused.status_code, refused.json()) == (503, {"status": "leaving", "details": {}})
        assert {answer.status_code for answer in started} == {201}
        assert {answer.headers["Connection"] for answer in (*started, last)} == {"close"}
        assert serve.wait(15) == 0
        assert time.monotonic() - began > 3
        assert "Traceback" not in service.logs()


@pytest.mark.parametrize("repetition", range(3))
def test_callers_who_leave_in_the_middle_do_not_disturb_the_end(tmp_path, repetition):
    valkey, gone = ValkeyServer(tmp_path), threading.Event()
    free = {"number": ["100000/minute"], "application": ["1000000/minute"], "ip": ["100000/minute"]}
    body = b'{"to": "+923001234567"}'
    head = f"POST /v1/verifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\n"
    request = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    def call_and_leave(_):
        while not gone.is_set():
            with contextlib.suppress(OSError), socket.create_connection(address) as caller:
                for _ in range(20):
                    caller.sendall(request)
                    caller.recv(4096)
                caller.sendall(request)

    try:
        with running(tmp_path, valkey, workers=0, limits=free) as service:
            address = ("127.0.0.1", int(service.base.rpartition(":")[2]))
            (serve,) = service.children

            def end():
                gone.set()
                serve.send_signal(signal.SIGTERM)

            threading.Timer(1.0, end).start()
            in_parallel(16, call_and_leave)
            assert serve.wait(10) == 0
            assert "panicked" not in service.logs()
    finally:
        valkey.stop()
