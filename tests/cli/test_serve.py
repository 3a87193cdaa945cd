"""``serve`` and ``worker``: the production processes."""

import contextlib
import signal
import socket
import threading
import time

import pytest
import requests
from support_cli import all_end, configured, family, kill, start
from support_installation import API_KEY
from support_service import in_parallel, running
from support_valkey import ValkeyServer, free_port


@pytest.fixture
def launch(valkey, tmp_path):
    """Start a command on private ports; whatever is left at the end is killed."""
    started = []

    def begin(command, **sections):
        started.append(start(command, environ=configured(tmp_path, valkey.url, **sections)))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            kill(family(process.pid))
            process.wait(10)
        process.stdout.close()


def answer(url):
    """Return an answer as soon as there is one."""
    end = time.monotonic() + 20
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


def test_a_busy_port_is_told_in_a_sentence(launch):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        process = launch("serve", http={"port": port})
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert output.startswith(f"Error: Port {port} of 127.0.0.1 cannot be used: Address already in use.")


def test_a_busy_metrics_port_is_told_in_a_sentence(launch):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        process = launch("worker", worker={"metrics_port": port})
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"Error: The metrics port {port} of 127.0.0.1 cannot be used: Address already in use." in output


def test_worker_works_until_it_is_asked_to_end(launch, valkey):
    metrics_port = free_port()
    process = launch("worker", worker={"metrics_port": metrics_port})
    assert answer(f"http://127.0.0.1:{metrics_port}/metrics").status_code == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0


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
