"""``dev`` as a whole: real processes on private ports."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests
from support_cli import all_end, family, kill, start
from support_ledger import VARIABLE
from support_valkey import free_port

from otp_service.cli.child_processes import READY_TIMEOUT

KEY = "a-key-for-tests"
NUMBER = "+923001234568"


class Dev:
    """A ``otp-service dev`` of one server process."""

    def __init__(self, folder, *options, safe=False, stderr=subprocess.DEVNULL):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = start(
            "dev", "--port", str(self.port), "--data-dir", str(folder), "--api-key", KEY, "--workers", "1", *options,
            stderr=stderr, safe=safe,
        )  # fmt: skip

    def printed_until_ready(self):
        lines = []
        while not lines or "Ctrl-C" not in lines[-1]:
            line = self.process.stdout.readline()
            assert line, f"it ended with {self.process.wait(10)}"
            lines.append(line)
        self.printed = "".join(lines)
        return self.printed

    @property
    def console(self):
        """The link that signs in at the console."""
        return re.search(r"The console, signed in: (\S+)", self.printed)[1]

    def console_answers(self):
        """Wait until the console answers: it starts after the service, as slowly on a busy machine."""
        end = time.monotonic() + READY_TIMEOUT
        while time.monotonic() < end:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(urljoin(self.console, "/healthz"), timeout=10).text == "ok":
                    return
            time.sleep(0.05)
        raise AssertionError("the console does not answer")

    def call(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = requests.request(method, self.url + path, json=body, headers=headers, timeout=10)
        return answer.status_code, answer.json()

    def caught(self, verification):
        end = time.monotonic() + 10
        while time.monotonic() < end:
            _, messages = self.call("GET", f"/v1/sandbox/messages?verification={verification}")
            if messages:
                return messages[0]["text"]
            time.sleep(0.02)
        raise AssertionError("no message was caught")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)

    def end(self):
        """Kill whatever is left."""
        if self.process.poll() is None:
            kill(family(self.process.pid))
            self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture
def launch(tmp_path):
    """Start a dev with options; whatever is left at the end is killed."""
    started = []

    def begin(*options, **how):
        started.append(Dev(tmp_path / "data", *options, **how))
        return started[-1]

    yield begin
    for dev in started:
        dev.end()


def code_in(text):
    return next(word.strip(".") for word in text.split() if word.strip(".").isdigit())


def test_a_number_is_verified_and_state_survives_a_clean_restart(launch, tmp_path):
    settings = tmp_path / "dev.toml"
    settings.write_text('[applications.dev]\nname = "Corner Shop"\n')
    dev = launch("--config", str(settings))
    printed = dev.printed_until_ready()
    assert f"Ready at {dev.url}" in printed
    env, command = tmp_path / "data" / "env", Path(sys.executable).parent / "otp-service"
    sent = subprocess.run(
        ["sh", "-c", f'. "$1"; "$2" send {NUMBER}', "-", env, command],
        check=True, capture_output=True, text=True, env={n: v for n, v in os.environ.items() if n != VARIABLE},
    )  # fmt: skip
    assert code_in(dev.caught(sent.stdout.strip()))
    assert not [path for path in (tmp_path / "data").rglob("*") if path.stat().st_mode & 0o077]
    assert KEY in printed
    status, verification = dev.call("POST", "/v1/verifications", {"to": "0300 1234567"})
    assert (status, verification["status"]) == (201, "pending")
    text = dev.caught(verification["id"])
    assert "Corner Shop" in text
    begun = time.monotonic()
    assert dev.stop() == 0
    assert time.monotonic() - begun < 8

    again = launch()
    again.printed_until_ready()
    path = f"/v1/verifications/{verification['id']}"
    status, result = again.call("POST", f"{path}/check", {"code": code_in(text)})
    assert (status, result["status"], result["valid"]) == (200, "approved", True)
    assert "otp_service_" in requests.get(f"{again.url}/metrics", timeout=10).text


@pytest.fixture(scope="module")
def trapped(tmp_path_factory):
    """A folder in which modules lie that note that they were imported."""
    folder = tmp_path_factory.mktemp("trapped")
    (folder / "otp_service").mkdir()
    for name in ("structlog.py", "click.py", "flask.py", "redis.py", "otp_service/__init__.py"):
        (folder / name).write_text("open('hijacked', 'a').write(__name__)\n")
    return folder


@pytest.fixture(scope="module")
def lasting(trapped):
    """A dev in that folder, with a proxy it cannot use, which all tests but the last one leave running."""
    with pytest.MonkeyPatch.context() as behind_a_proxy:
        behind_a_proxy.chdir(trapped)
        behind_a_proxy.setenv("http_proxy", "http://127.0.0.1:1")
        behind_a_proxy.delenv("no_proxy", raising=False)
        dev = Dev(trapped / "data", safe=True)
    try:
        dev.printed_until_ready()
        yield dev
    finally:
        dev.end()


def test_a_report_of_the_sandbox_reaches_this_service_whatever_proxy_there_is(lasting):
    _, verification = lasting.call("POST", "/v1/verifications", {"to": "+923555550001"})
    end = time.monotonic() + 15
    while time.monotonic() < end:
        _, told = lasting.call("GET", f"/v1/verifications/{verification['id']}")
        if told["deliveries"][0]["status"] == "delivered":
            return
        time.sleep(0.05)
    raise AssertionError("no report was recorded")


def test_the_printed_link_signs_in_at_the_console(lasting, trapped):
    lasting.console_answers()
    browser = requests.Session()
    link = lasting.console.replace("localhost", "127.0.0.1")
    assert "Sign in" in browser.get(link, timeout=10).text
    headers = {"Sec-Fetch-Site": "same-origin"}
    answer = browser.post(link, {"role": "operations"}, headers=headers, allow_redirects=False, timeout=20)

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].partition(";")[0]
    shown = requests.get(urljoin(link, "/operations"), headers={"Cookie": cookie}, timeout=10).text
    assert "dev-operations" in shown
    assert "sandbox" in shown
    token = link.rpartition("/")[2]
    assert token in (trapped / "data" / "config.json").read_text()
    assert requests.get(link.replace(token, "x" * len(token)), timeout=10).status_code == 404


def test_nothing_in_the_current_folder_is_taken_for_a_module(lasting, trapped):
    assert lasting.call("GET", "/healthz")[0] == 200
    assert [*trapped.rglob("hijacked")] == []


def part(pids, name):
    return next(pid for pid in pids if name in Path(f"/proc/{pid}/cmdline").read_text())


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="a process is bound to its parent's life on Linux only")


@on_linux
def test_a_killed_dev_leaves_no_process(launch):
    dev = launch()
    dev.printed_until_ready()
    everybody = family(dev.process.pid)
    assert len(everybody) >= 5
    dev.process.kill()
    assert all_end(everybody, 15)


def test_who_refuses_all_starts_comes_up_to_check_codes_and_says_so(launch, tmp_path):
    dev = launch()
    dev.printed_until_ready()
    _, started = dev.call("POST", "/v1/verifications", {"to": NUMBER})
    code = code_in(dev.caught(started["id"]))
    assert dev.stop() == 0
    for file in (tmp_path / "data").glob("ledger.db*"):
        file.unlink()  # the next one is another ledger: who said stop is not in it
    dev = launch(stderr=subprocess.STDOUT)
    printed = dev.printed_until_ready() + dev.process.stdout.readline()

    assert "All starts are refused: mirror-foreign." in printed
    assert dev.call("GET", "/readyz")[0] == 503
    assert dev.call("GET", "/readyz/checks")[0] == 200
    assert dev.call("POST", f"/v1/verifications/{started['id']}/check", {"code": code})[1]["valid"]


def test_it_comes_up_without_its_ledger_and_takes_it_up_later(launch, tmp_path):
    settings, folder = tmp_path / "dev.toml", tmp_path / "kept"
    settings.write_text(f'[ledger]\nurl = "sqlite:///{folder}/ledger.db"\n')
    dev = launch("--config", str(settings))
    dev.printed_until_ready()
    _, started = dev.call("POST", "/v1/verifications", {"to": NUMBER})
    code = code_in(dev.caught(started["id"]))
    assert dev.stop() == 0
    folder.rename(tmp_path / "away")
    folder.touch()
    dev = launch("--config", str(settings), stderr=subprocess.STDOUT)
    printed = dev.printed_until_ready() + dev.process.stdout.readline()

    assert "All starts are refused: ledger-unknown." in printed
    assert dev.call("POST", f"/v1/verifications/{started['id']}/check", {"code": code})[1]["valid"]
    folder.unlink()
    (tmp_path / "away").rename(folder)
    end = time.monotonic() + 30
    while dev.call("GET", "/readyz")[0] == 503:
        assert time.monotonic() < end
        time.sleep(0.1)


@on_linux
def test_a_killed_console_is_replaced(lasting):
    lasting.console_answers()
    before = family(lasting.process.pid)
    server = part(before, "main\0console")
    theirs = family(server)
    kill([server])
    assert all_end(theirs, 15)
    end = time.monotonic() + 15
    while not family(lasting.process.pid) - before:
        assert time.monotonic() < end
        time.sleep(0.02)
    lasting.console_answers()


def test_the_console_has_the_port_that_was_asked_for(launch, tmp_path):
    port = free_port()
    dev = launch("--console-port", str(port))
    dev.printed_until_ready()

    assert dev.console.startswith(f"http://localhost:{port}/dev/")
    dev.console_answers()
    dev.stop()
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        status, output = refusal("--console-port", str(port), "--data-dir", str(tmp_path / "other"))
    assert (status, f"Error: Port {port} of 127.0.0.1 cannot be used" in output) == (1, True)
    assert "Choose another: --console-port" in output


@on_linux
def test_a_killed_worker_is_replaced_and_a_killed_valkey_ends_everything(lasting, trapped):
    assert "Another otp-service dev uses the folder" in refusal("--data-dir", str(trapped / "data"))[1]
    before = family(lasting.process.pid)
    kill([part(before, "main\0worker")])
    end = time.monotonic() + 10
    while len(family(lasting.process.pid)) < len(before) or not family(lasting.process.pid) - before:
        assert time.monotonic() < end
        time.sleep(0.02)
    everybody = family(lasting.process.pid)
    kill([part(everybody, "valkey-server")])
    assert lasting.process.wait(20) == 1
    assert all_end(everybody, 15)


def refusal(*arguments):
    with start("dev", *arguments) as process:
        output, _ = process.communicate(timeout=30)
    return process.returncode, output


def test_a_busy_port_is_told_and_nothing_is_started(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        status, output = refusal("--port", str(port), "--data-dir", str(tmp_path / "data"))
    assert status == 1
    assert f"Error: Port {port} of 127.0.0.1 cannot be used: Address already in use." in output
    assert "Choose another: --port, or OTP_SERVICE__HTTP__PORT=" in output
    assert not (tmp_path / "data" / "valkey").exists()


@pytest.mark.parametrize(("option", "value"), [("--port", "0"), ("--port", "x"), ("--workers", "0")])
def test_a_value_out_of_range_is_wrong_usage(tmp_path, option, value):
    status, output = refusal(option, value, "--data-dir", str(tmp_path / "data"))
    assert status == 2
    assert option in output


def test_a_fault_in_the_file_is_told_with_its_path(tmp_path):
    file = tmp_path / "dev.toml"
    file.write_text("[purposes.login]\nttl = 900\n")
    status, output = refusal("--config", str(file), "--data-dir", str(tmp_path / "data"))
    assert status == 1
    assert "Error: purposes.login.ttl: input should be less than or equal to 600." in output
