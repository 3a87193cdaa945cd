"""Processes that start while the ledger is away serve what needs no ledger, and the rest as soon as it is back."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support_cli import run
from support_installation import API_KEY, NUMBER
from support_ledger import make_ledger
from support_operators import CLUB
from support_postgres import PostgresServer
from support_rotation import FREE
from support_service import PATIENCE, Service, eventually, running
from support_valkey import ValkeyServer, free_port

FILE = ("--appendonly", "yes", "--appendfsync", "always")
OTHER = "+923001234568"


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, to be killed."""
    server = PostgresServer()
    yield server
    if server.process.poll() is not None:
        server.start()
    server.stop()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A Valkey of the test's own, which keeps its data over a restart."""
    server = ValkeyServer(tmp_path, options=FILE)
    yield server
    server.stop(kill=True)


@pytest.fixture
def service(tmp_path: Path, valkey: ValkeyServer, postgres: PostgresServer) -> Iterator[Service]:
    """A service whose ledger is in that PostgreSQL."""
    ledger = postgres.url(postgres.create())
    make_ledger(ledger)
    console = {"port": free_port()}
    with running(tmp_path, valkey, ledger={"url": ledger, "timeout": 1.0}, limits=FREE, console=console) as started:
        yield started
        if postgres.process.poll() is not None:
            postgres.start()


def command(service: Service, *arguments: str) -> str:
    result = run(*arguments, environ={**service.keys, "OTP_SERVICE_CONFIG": str(service.config)})
    assert result.exit_code == 0, result.output
    return result.stdout


def start_anew(service: Service) -> None:
    """End all processes, and start others: the API, a worker, and the console."""
    service.stop()
    names = ("serving", "worker_started", "console_serving")
    before = [service.told(name) for name in names]
    service.children.append(service._launch("serve"))
    service.launch_worker()
    service.children.append(service._launch("console"))
    eventually(lambda: all(service.told(name) > told for name, told in zip(names, before, strict=True)), 4 * PATIENCE)


def details(service: Service) -> dict[str, Any]:
    """Return what `/readyz` tells; nothing while nobody answers."""
    try:
        return dict(service.get("/readyz").json()["details"])
    except requests.ConnectionError:
        return {}


def freeze(service: Service, to: str) -> requests.Response:
    return service.post("/v1/subjects/freeze", {"to": to, "reason": "a test"})


def console_of(service: Service) -> str:
    return f"http://127.0.0.1:{json.loads(service.config.read_text())['console']['port']}"


def sign_in(service: Service) -> requests.Response:
    """Try to sign in at the console as nobody that it knows."""
    form = {"name": "nobody", "password": "wrong", "code": "000000"}
    headers = {"Sec-Fetch-Site": "same-origin"}
    return requests.post(f"{console_of(service)}/sign-in", data=form, headers=headers, timeout=PATIENCE)


def hang_up(service: Service) -> None:
    """Ask the API and the worker to reload, and wait until both have refused to."""
    for process in (service.children[-2], service.workers[-1]):
        process.send_signal(signal.SIGHUP)
    eventually(lambda: service.told("reload_refused") == 2)


def key_of_club(service: Service) -> str:
    """Make an application that is in the ledger alone; return a key of it that both processes of the API know."""
    settings = service.folder / "club.json"
    settings.write_text(json.dumps(CLUB))
    command(service, "application", "add", "club", str(settings))
    key = command(service, "key", "add", "club").strip()

    def is_known() -> bool:
        answers = [service.get("/v1/verifications/vf_k1_00", key=key).status_code for _ in range(20)]
        return set(answers) == {404}

    eventually(is_known)
    return key


def begin(service: Service, key: str) -> str:
    answer = service.post("/v1/verifications", {"to": NUMBER}, key=key)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.mark.timeout(400)
def test_processes_that_start_without_the_ledger_go_by_what_others_knew(service: Service, postgres: PostgresServer):
    key, waiting = key_of_club(service), service.start()
    code = service.code(waiting)
    assert freeze(service, OTHER).status_code == 200
    postgres.kill()
    start_anew(service)

    assert {**details(service), "worker_age": 0} == {
        "redis": "ok", "worker_age": 0, "ledger": "unavailable", "access": "copy", "starts": "accepted",
    }  # fmt: skip
    assert service.check(waiting, code)["valid"]
    assert service.post("/v1/verifications", {"to": OTHER}).json()["code"] == "recipient-frozen"
    assert service.post("/v1/verifications", {"to": NUMBER}, key="otp_unknown").status_code == 401
    first, second = begin(service, key), begin(service, API_KEY)
    assert service.code(second), "the new worker delivers"
    assert eventually(lambda: service.get(f"/v1/verifications/{first}", key=key).json()["deliveries"])
    assert (freeze(service, NUMBER).status_code, freeze(service, NUMBER).json()["code"]) == (503, "ledger-unavailable")
    assert sign_in(service).status_code == 503
    assert requests.get(f"{console_of(service)}/healthz", timeout=PATIENCE).text == "ok"
    hang_up(service)
    assert begin(service, key), "what is known is not lost by a reload"
    assert {line["level"] for line in service.events("ledger_awaited")} == {"warning"}
    assert service.told("ledger_reached") == 0

    postgres.start()
    eventually(lambda: service.told("ledger_reached") == 4)  # two processes of the API, a worker, and the console
    eventually(lambda: sign_in(service).status_code != 503)
    eventually(lambda: freeze(service, NUMBER).status_code == 200)
    eventually(lambda: (details(service)["ledger"], details(service)["access"]) == ("ok", "ledger"))
    eventually(lambda: first in command(service, "subject", "export", NUMBER))
