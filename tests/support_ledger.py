"""Ledgers for tests: a new one of either kind; or one for the whole process, where a test is about something else."""

import atexit
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from support_postgres import PostgresServer

from otp_service.ledger.database import Database, upgrade

VARIABLE = "OTP_SERVICE__LEDGER__URL"


def make_ledger(url: str) -> None:
    """Make the tables."""
    database = Database(url, 30.0)
    upgrade(database)
    database.close()


@contextmanager
def new_ledger(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """Yield the address of a new ledger, of the kind that a fixture's parameter names; a file is in the folder."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), folder / "ledger.db")
        yield f"sqlite:///{folder / 'ledger.db'}"
        return
    template = request.getfixturevalue("postgres_template")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.create(template)
    yield server.url(name)
    server.drop(name)


@cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="otp-service-ledger-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    make_ledger(f"sqlite:///{folder / 'template.db'}")
    return folder / "template.db"


def another_ledger() -> str:
    """Return the address of a new ledger, for a test that is about something else; it goes with the process."""
    template = _template()
    made = template.with_name(f"{secrets.token_hex(8)}.db")
    shutil.copy(template, made)
    return f"sqlite:///{made}"


def use_another_ledger() -> None:
    """Let the processes that are started from now on use a new ledger, unless they are told of another one."""
    os.environ[VARIABLE] = another_ledger()
