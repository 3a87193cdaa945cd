"""SQLite's file is replaced, or removed, under a process that has it open: nothing more is written there."""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support_installation import World
from support_ledger import make_ledger

from otp_service.bootstrap import Installation
from otp_service.domain.consents import Suppression, SuppressionScope, SuppressionSource
from otp_service.errors import LedgerUnavailableError
from otp_service.services.consents import add_suppressions
from otp_service.services.health import readiness


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "ledger.db"
    make_ledger(f"sqlite:///{made}")
    return made


@pytest.fixture
def process(world: World, file: Path) -> Iterator[Installation]:
    made = world.install(ledger={"url": f"sqlite:///{file}"})
    made.context.mirror_sync.refresh()
    stop(made)
    yield made
    made.close()


def stop(process: Installation) -> None:
    pseudonym = os.urandom(8).hex() * 2
    one = Suppression(pseudonym[:22], "shop", SuppressionScope.ALL, SuppressionSource.API)
    add_suppressions(process.context, [one])


def stops_in(file: Path) -> int:
    with contextlib.closing(sqlite3.connect(file)) as ledger:
        return int(ledger.execute("SELECT count(*) FROM suppressions").fetchone()[0])


def _replace(file: Path) -> None:
    copy = file.with_name("copy.db")
    with contextlib.closing(sqlite3.connect(file)) as old, contextlib.closing(sqlite3.connect(copy)) as new:
        old.backup(new)
    copy.rename(file)


def _remove(file: Path) -> None:
    file.unlink()


def _remove_log(file: Path) -> None:
    file.with_name("ledger.db-wal").unlink()
    file.with_name("ledger.db-shm").unlink()


def _remove_all(file: Path) -> None:
    _remove(file)
    _remove_log(file)


@pytest.mark.parametrize("act", [_replace, _remove, _remove_log, _remove_all])
def test_nothing_is_written_into_a_file_that_is_not_there_any_more(process: Installation, file: Path, act):
    act(file)
    there = file.exists()
    for _ in range(5):
        with pytest.raises(LedgerUnavailableError, match="restart all processes"):
            stop(process)

    assert file.exists() is there, "nor is a new one made in its place"


def test_it_is_told_by_name(process: Installation, file: Path):
    _replace(file)
    with capture_logs() as lines:
        for _ in range(3):
            with contextlib.suppress(LedgerUnavailableError):
                process.context.mirror_sync.refresh()

    (line,) = lines
    assert (line["event"], line["log_level"]) == ("ledger_replaced", "error")
    assert readiness(process.context).details["ledger"] == "replaced"


def test_who_starts_anew_uses_the_new_file(process: Installation, file: Path):
    _replace(file)
    process.context.ledger.close()
    stop(process)

    assert stops_in(file) == 2


def test_a_file_that_is_back_is_used_again(process: Installation, file: Path):
    away = file.with_name("away.db")
    file.rename(away)
    with pytest.raises(LedgerUnavailableError, match="restart all processes"):
        stop(process)
    away.rename(file)
    stop(process)

    assert stops_in(file) == 2


def test_a_backup_beside_the_process_is_no_reason(process: Installation, file: Path, tmp_path: Path):
    with contextlib.closing(sqlite3.connect(file)) as old, contextlib.closing(sqlite3.connect(tmp_path / "b")) as new:
        old.backup(new)
    shutil.copy(tmp_path / "b", tmp_path / "c")
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    stop(process)

    assert stops_in(file) == 2
