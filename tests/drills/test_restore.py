"""The drill of docs/backup-and-restore.md: a backup of Redis, what happened after it, a loss, a restore and a fence.

It is done once, with real processes; the tests look at what came of it.
"""

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from support_installation import key
from support_ledger import VARIABLE, make_ledger
from support_missing import missing
from support_records import record_of
from support_service import COMMAND, Service, eventually, running
from support_valkey import ValkeyServer, faketime_library

from otp_service.ledger.database import Database
from otp_service.ledger.schema import verifications
from otp_service.store import keys

OLD = ("approved", "guessed out", "canceled", "waiting", "started with a key", "queued")
"""What was started before the backup, by what became of it after; in the backup all of them are pending."""
NUMBERS = {name: f"+92300123450{place}" for place, name in enumerate(OLD)}
BUSY = "+923001234599"
"""The number that used up its messages after the backup."""
pytestmark = pytest.mark.timeout(300)
VERIFICATIONS = "/v1/verifications"


@dataclass
class Drill:
    """What was done, and what came of it, by what each verification became."""

    ids: dict[str, str] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)
    """In the backup."""
    in_the_backup: dict[str, str] = field(default_factory=dict)
    """Statuses."""
    fenced: str = ""
    """What the command printed."""
    checked: dict[str, dict[str, Any]] = field(default_factory=dict)
    read: dict[str, dict[str, Any]] = field(default_factory=dict)
    repeated: dict[str, Any] = field(default_factory=dict)
    """The answer to the start with the key of an old one."""
    messages_after: dict[str, int] = field(default_factory=dict)
    fresh: dict[str, Any] = field(default_factory=dict)
    """What a new verification's right code is answered."""
    passed: int = 0
    """Starts for the busy number that were accepted."""
    ledger: dict[str, str] = field(default_factory=dict)
    """What the ledger says in the end."""


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Drill:
    if faketime_library() is None:
        missing("libfaketime")
    folder, done = tmp_path_factory.mktemp("drill"), Drill()
    make_ledger(f"sqlite:///{folder / 'ledger.db'}")
    sections: dict[str, Any] = {
        "keys": {"root": f"k1:{key()}", "pseudonym": key()},
        "ledger": {"url": f"sqlite:///{folder / 'ledger.db'}"},
        "limits": {"number": ["5/10 minutes", "20/day"]},
        "http": {"processes": 1},
    }
    with _serving(folder, "before", sections) as service:
        _start_all(service, done)
        backup = _back_up(service.valkey)
        _go_on(service, done)
        eventually(lambda: _in_ledger(folder, done)["canceled"] == "canceled")
    with _restored(folder, service, backup, done) as valkey, _serving(folder, "after", sections, valkey) as service:
        _try_old_ones(service, done)
        done.passed = _accepted(service)
        eventually(lambda: _in_ledger(folder, done)[OLD[-1]] != "pending")
    done.ledger = _in_ledger(folder, done)
    return done


@contextlib.contextmanager
def _serving(
    folder: Path, name: str, sections: dict[str, Any], valkey: ValkeyServer | None = None
) -> Iterator[Service]:
    """Run a service with a worker, on a Redis that is lost in the end unless it is given."""
    own = folder / name
    own.mkdir()
    server = valkey or ValkeyServer(own, options=("--appendonly", "yes"))
    try:
        with running(own, server, **sections) as service:
            yield service
    finally:
        if valkey is None:
            server.stop(kill=True)


def _start_all(service: Service, done: Drill) -> None:
    """Start what is in the backup; the last one while no worker runs."""
    for name in OLD[:-1]:
        done.ids[name] = _start(service, name).json()["id"]
        done.codes[name] = service.code(done.ids[name])
    (worker,) = service.workers
    worker.terminate()
    worker.wait(30)
    done.ids["queued"] = _start(service, "queued").json()["id"]
    done.messages = {name: len(service.texts(one)) for name, one in done.ids.items()}


def _start(service: Service, name: str) -> Any:
    return service.post(VERIFICATIONS, {"to": NUMBERS[name]}, Idempotency_Key=name.replace(" ", "-"))


def _back_up(valkey: ValkeyServer) -> bytes:
    """Return a snapshot, as an operator takes it beside the running service."""
    last = valkey.client.lastsave()
    time.sleep(max(0.0, 1.0 - time.time() % 1))  # it is told in whole seconds
    valkey.client.bgsave()
    eventually(lambda: valkey.client.lastsave() != last)
    return (valkey.folder / "dump.rdb").read_bytes()


def _go_on(service: Service, done: Drill) -> None:
    """Do what the backup does not know."""
    assert service.check(done.ids["approved"], done.codes["approved"])["valid"]
    wrong = f"{(int(done.codes['guessed out']) + 1) % 10**6:06}"
    guesses = [service.check(done.ids["guessed out"], wrong)["status"] for _ in range(5)]
    assert guesses[-1] == "max_attempts_reached"
    assert service.post(f"{VERIFICATIONS}/{done.ids['canceled']}/cancel").status_code == 200
    assert _accepted(service) == 5
    service.launch_worker()
    done.codes["queued"] = service.code(done.ids["queued"])


def _accepted(service: Service) -> int:
    """Start verifications for the busy number until one is refused; return how many were accepted."""
    for count in range(100):
        status = service.post(VERIFICATIONS, {"to": BUSY}).status_code
        if status == 429:
            return count
        assert status == 201
    raise AssertionError("nothing is refused")


@contextlib.contextmanager
def _restored(folder: Path, service: Service, backup: bytes, done: Drill) -> Iterator[ValkeyServer]:
    """Restore a backup into an empty Valkey that no process knows, fence it, and serve it with an append-only file."""
    own = folder / "restored"
    own.mkdir()
    (own / "dump.rdb").write_bytes(backup)
    apart = ValkeyServer(own, options=("--appendonly", "no"))
    try:
        for name, one in done.ids.items():
            done.in_the_backup[name] = record_of(apart.client, keys.record("00", one))["status"].decode()
        done.fenced = _fence(service, apart)
        apart.client.config_set("appendonly", "yes")
        eventually(lambda: not _rewrites(apart))
    finally:
        apart.stop()
    valkey = ValkeyServer(own, movable_clock=True, options=("--appendonly", "yes"))
    assert "Redis was restored from a copy" in _command(service, valkey, "doctor").stdout
    assert _command(service, valkey, "ledger", "rebuild", "--yes").returncode == 0, "all were stopped"
    try:
        yield valkey
    finally:
        valkey.stop()


def _rewrites(valkey: ValkeyServer) -> bool:
    told = valkey.client.info("persistence")
    return bool(told["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"])


def _fence(service: Service, valkey: ValkeyServer) -> str:
    """Fence a Redis by the command, with the settings of the service that is gone, but for the address."""
    result = _command(service, valkey, "store", "fence", "--yes")
    assert result.returncode == 0, result.stderr
    return result.stdout


def _command(service: Service, valkey: ValkeyServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    others = {name: value for name, value in os.environ.items() if name != VARIABLE}
    return subprocess.run(
        [COMMAND, *arguments, "--config", service.config],
        env={**others, **service.keys, "OTP_SERVICE__REDIS__URL": valkey.url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _try_old_ones(service: Service, done: Drill) -> None:
    done.repeated = _start(service, "started with a key").json()
    fresh = service.start(NUMBERS["approved"])
    done.fresh = service.check(fresh, service.code(fresh))  # the worker has looked at what waited before it
    eventually(lambda: _deliveries(service, done.ids["queued"]) != ["queued"])
    for name, one in done.ids.items():
        done.checked[name] = service.check(one, done.codes[name])
        done.read[name] = service.get(f"{VERIFICATIONS}/{one}").json()
        done.messages_after[name] = len(service.texts(one))


def _deliveries(service: Service, one: str) -> list[str]:
    return [each["status"] for each in service.get(f"{VERIFICATIONS}/{one}").json()["deliveries"]]


def _in_ledger(folder: Path, done: Drill) -> dict[str, str]:
    """Return how each verification ended, as far as the ledger knows."""
    database = Database(f"sqlite:///{folder / 'ledger.db'}", 10.0)
    with database.read() as connection:
        found = {row.id: row.status for row in connection.execute(select(verifications))}
    database.close()
    return {name: found.get(one, "") for name, one in done.ids.items()}


def test_the_backup_would_have_let_every_old_code_through(drill: Drill) -> None:
    assert set(drill.in_the_backup.values()) == {"pending"}


def test_the_command_says_what_is_in_force(drill: Drill) -> None:
    assert re.fullmatch(r"Fenced: verifications started until [-\d]{10} [:\d]{8} UTC are expired\.\n", drill.fenced)


@pytest.mark.parametrize("name", OLD)
def test_no_old_code_answers(drill: Drill, name: str) -> None:
    answer = drill.checked[name]

    assert (answer["status"], answer["valid"], answer["reason"]) == ("expired", False, "expired")
    assert drill.read[name]["status"] == "expired"


def test_a_message_that_waited_in_the_backup_is_not_sent(drill: Drill) -> None:
    assert (drill.messages["queued"], drill.messages_after["queued"]) == (0, 0)
    assert [one["status"] for one in drill.read["queued"]["deliveries"]] == ["expired"]


def test_a_start_with_the_key_of_an_old_one_sends_nothing(drill: Drill) -> None:
    name = "started with a key"

    assert (drill.repeated["id"], drill.repeated["status"]) == (drill.ids[name], "expired")
    assert drill.messages_after[name] == drill.messages[name] == 1


def test_new_verifications_work(drill: Drill) -> None:
    assert (drill.fresh["status"], drill.fresh["valid"]) == ("approved", True)


def test_a_number_gets_all_messages_that_its_limit_allows(drill: Drill) -> None:
    assert drill.passed == 5


def test_the_ledger_still_says_how_the_old_ones_ended(drill: Drill) -> None:
    assert {name: drill.ledger[name] for name in OLD[:3]} == {
        "approved": "approved",
        "guessed out": "max_attempts_reached",
        "canceled": "canceled",
    }
