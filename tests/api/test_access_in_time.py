"""Keys and applications change while ``serve`` runs with two processes and a worker: all of them know it in time."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support_cli import run
from support_installation import API_KEY, NUMBER
from support_ledger import new_ledger
from support_operators import APPLICATIONS, CLUB
from support_postgres import PostgresServer
from support_service import PATIENCE, Service, eventually, in_parallel, running
from support_valkey import ValkeyServer

IN_TIME = 5.0
"""Seconds within which every process has to know."""
IN_A_ROW = 24
"""Answers on connections of their own, after which both processes have answered: one of two takes them all once in
eight million times."""
ANYBODY = "/v1/verifications/none"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer
) -> Iterator[Service]:
    """The service for all tests here, on a ledger of either kind."""
    valkey_server.reset()
    folder = tmp_path_factory.mktemp("service")
    with new_ledger(request) as url, running(folder, valkey_server, ledger={"url": url, "timeout": 1.0}) as one:
        yield one


def command(service: Service, *arguments: str) -> str:
    """Run a command on the service's configuration, as an operator does; return what it prints."""
    result = run(*arguments, environ={**service.keys, "OTP_SERVICE_CONFIG": str(service.config)})
    assert result.exit_code == 0, result.output
    return result.stdout


def seconds_until_all(tell: Callable[[], Any], expected: Any) -> float:
    """Return how long it took until every process tells what is expected."""
    began = last = time.monotonic()
    in_a_row = 0
    while in_a_row < IN_A_ROW:
        assert time.monotonic() - began < PATIENCE, f"{tell()} is not {expected}"
        if tell() == expected:
            in_a_row += 1
        else:
            in_a_row, last = 0, time.monotonic()
    return last - began


def status(service: Service, key: str) -> Callable[[], int]:
    return lambda: service.get(ANYBODY, key=key).status_code


def id_of(service: Service, application: str, place: int = -1) -> str:
    return command(service, "key", "list", application).splitlines()[1:][place].split("\t")[0]


def test_a_key_that_comes_and_goes_is_known_and_forgotten_in_time(service: Service):
    key = command(service, "key", "add", "shop").strip()
    known = seconds_until_all(status(service, key), 404)
    successor = command(service, "key", "rotate", id_of(service, "shop"), "--overlap", "2").strip()
    followed = seconds_until_all(status(service, successor), 404)
    ended = seconds_until_all(status(service, key), 401)
    command(service, "key", "revoke", id_of(service, "shop"), "--yes")
    gone = seconds_until_all(status(service, successor), 401)

    assert known < IN_TIME
    assert followed < IN_TIME
    assert ended < 2 + IN_TIME
    assert gone < IN_TIME
    assert service.get(ANYBODY).status_code == 404


def test_an_application_is_made_over_http_and_its_first_message_is_delivered(service: Service):
    """One process is told of it; the other one and the worker have to find it out."""
    admin = command(service, "key", "add", "--admin").strip()
    assert seconds_until_all(lambda: service.get(APPLICATIONS, key=admin).status_code, 200) < IN_TIME
    assert service.post(APPLICATIONS, {"name": "club", "settings": CLUB}, key=admin).status_code == 201
    made = service.post(f"{APPLICATIONS}/club/keys", {"scopes": ["verify"]}, key=admin)
    assert made.status_code == 201, made.text
    key = made.json()["secret"]
    first = eventually(lambda: _started(service, key), IN_TIME)
    caught = f"/v1/sandbox/messages?verification={first}"
    assert seconds_until_all(status(service, key), 404) < IN_TIME
    (message,) = eventually(lambda: service.get(caught, key=key).json())

    assert message["text"].startswith("Your Acme Club code is ")
    assert service.get(f"/v1/verifications/{first}", key=key).json()["deliveries"][-1]["status"] == "sent"


def _started(service: Service, key: str) -> str | None:
    answer = service.post("/v1/verifications", {"to": NUMBER}, key=key)
    return answer.json()["id"] if answer.status_code == 201 else None


def test_a_change_of_an_application_is_known_in_time(service: Service, tmp_path: Path):
    settings = tmp_path / "guild.json"
    settings.write_text(json.dumps(CLUB))
    command(service, "application", "add", "guild", str(settings))
    key = command(service, "key", "add", "guild").strip()
    assert seconds_until_all(status(service, key), 404) < IN_TIME
    settings.write_text(json.dumps({**CLUB, "countries": ["GB"]}))
    command(service, "application", "change", "guild", str(settings))

    def code() -> str:
        return service.post("/v1/verifications", {"to": NUMBER}, key=key).json().get("code", "started")

    assert seconds_until_all(code, "country-not-allowed") < IN_TIME


def test_the_last_use_gets_into_the_ledger(service: Service):
    key = command(service, "key", "add", "shop").strip()
    seconds_until_all(status(service, key), 404)

    assert eventually(lambda: command(service, "key", "list", "shop").splitlines()[-1].split("\t")[5] != "never")


@pytest.mark.parametrize("service", ["postgresql"], indirect=True)
def test_while_the_ledger_is_dead_the_old_state_holds(service: Service, postgres_server: PostgresServer):
    key, ended = (command(service, "key", "add", "bank").strip() for _ in range(2))
    admin = command(service, "key", "add", "--admin").strip()
    mine, other = id_of(service, "bank", 0), id_of(service, "bank", 1)
    command(service, "key", "revoke", other, "--yes")
    for one, expected in ((key, 404), (ended, 401)):
        seconds_until_all(status(service, one), expected)
    seconds_until_all(lambda: service.get(APPLICATIONS, key=admin).status_code, 200)
    postgres_server.kill()
    try:
        time.sleep(2.5)  # every process has looked in vain, at least twice
        for one, expected in ((key, 404), (ended, 401), (API_KEY, 404), ("otp_unknown", 401)):
            assert set(in_parallel(8, lambda _, one=one: service.get(ANYBODY, key=one).status_code)) == {expected}
        refused = service.post(f"{APPLICATIONS}/bank/keys/{mine}/revoke", {}, key=admin)
        assert (refused.status_code, refused.json()["code"]) == (503, "ledger-unavailable")
    finally:
        postgres_server.start()
    back = eventually(lambda: _revoked(service, mine, admin))
    assert back["revoked_at"]
    assert seconds_until_all(status(service, key), 401) < IN_TIME


def _revoked(service: Service, key_id: str, admin: str) -> dict[str, Any] | None:
    answer = service.post(f"{APPLICATIONS}/bank/keys/{key_id}/revoke", {}, key=admin)
    return answer.json() if answer.status_code == 200 else None
