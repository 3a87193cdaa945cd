"""The drill of docs/backup-and-restore.md for a ledger in PostgreSQL: restored beside it, then renamed, under load."""

import os
import re
import subprocess
import threading
from pathlib import Path

import psycopg
import pytest
from support_installation import NUMBER, key
from support_ledger import VARIABLE
from support_postgres import PostgresServer, programs
from support_service import COMMAND, Service, eventually, running

from otp_service.ledger.database import Database, upgrade

DOCUMENT = Path(__file__).parents[2] / "docs" / "backup-and-restore.md"
SINCE = "+923001234500"
"""Who said stop after the copy."""
pytestmark = pytest.mark.timeout(300)


def client(server: PostgresServer, program: str, *arguments: str) -> None:
    """Run a program of PostgreSQL against the server."""
    where = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "postgres", "PGPASSWORD": "p@ss/word"}
    done = subprocess.run(
        [str(programs() / program), *arguments], env={**os.environ, **where},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def command(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    others = {name: value for name, value in os.environ.items() if name != VARIABLE}
    return subprocess.run(
        [COMMAND, *arguments, "--config", service.config], env={**others, **service.keys},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


class Load:
    """Starts, and stops by other people, from several threads until it is ended."""

    def __init__(self, service: Service) -> None:
        self._service, self._end = service, threading.Event()
        self.accepted: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(place,)) for place in range(4)]
        for one in self._threads:
            one.start()

    def end(self) -> None:
        self._end.set()
        for one in self._threads:
            one.join()

    def _run(self, place: int) -> None:
        for number in range(1000):
            if self._end.is_set():
                return
            to = SINCE if number % 3 == 0 else f"+92300{place}{number:06}"
            if number % 3 == 1:
                self._service.post("/v1/suppressions", {"to": to, "scope": "all"})
            elif self._service.post("/v1/verifications", {"to": to}).status_code == 201:
                self.accepted.append(to)


def test_a_ledger_is_restored_under_load_and_nobody_gets_a_message_who_said_stop(postgres_server, tmp_path, valkey):
    server, name = postgres_server, "otp"
    client(server, "createdb", name)
    database = Database(server.url(name), 10.0)
    upgrade(database)
    database.close()
    sections = {
        "keys": {"root": f"k1:{key()}", "pseudonym": key()},
        "ledger": {"url": server.url(name), "rebuild_lost_mirror": False},
        "limits": {"number": ["1000/day"], "ip": ["100000/day"]},
    }
    with running(tmp_path, valkey, **sections) as service:
        client(server, "pg_dump", "--format", "custom", "--file", str(tmp_path / "copy.dump"), name)
        stop = command(service, "suppressions", "add", SINCE, "--reason", "asked by phone")
        assert stop.returncode == 0, stop.stderr
        load = Load(service)
        client(server, "createdb", "otp_restored")
        client(
            server,
            "pg_restore",
            "--no-owner",
            "--exit-on-error",
            "--dbname",
            "otp_restored",
            str(tmp_path / "copy.dump"),
        )
        (script,) = re.findall(r"<<'SQL'\n(.*?)\nSQL\n", DOCUMENT.read_text(), flags=re.DOTALL)
        with psycopg.connect(
            server.url("postgres").replace("postgresql+psycopg", "postgresql"), autocommit=True
        ) as connection:
            for statement in script.split(";\n"):
                connection.execute(statement)

        def closed() -> bool:
            return service.post("/v1/verifications", {"to": NUMBER}).json().get("code") == "ledger-mismatch"

        eventually(closed)
        load.end()
        assert SINCE not in load.accepted
        assert len(load.accepted) > 5
        eventually(lambda: all(closed() for _ in range(8)))  # in each process
        doctor = command(service, "doctor")
        assert doctor.returncode == 1
        assert "different histories" in doctor.stdout
        assert service.get("/readyz").json()["details"]["starts"] == "mirror-diverged"

        told = command(service, "suppressions", "add", SINCE, "--reason", "asked by phone")
        assert "not in force" in told.stderr
        assert command(service, "ledger", "rebuild", "--yes").returncode == 0
        eventually(lambda: service.post("/v1/verifications", {"to": NUMBER}).status_code == 201)
        eventually(lambda: [service.post("/v1/verifications", {"to": SINCE}).json().get("code") for _ in range(6)]
                   == 6 * ["recipient-suppressed"])  # fmt: skip
