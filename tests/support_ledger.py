"""Ledgers for tests: a new one of either kind; or one for the whole process, where a test is about something else."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from support_memory import folder_in_memory
from support_postgres import PostgresServer

from otp_service.ledger.database import Database, upgrade

VARIABLE = "OTP_SERVICE__LEDGER__URL"


def make_ledger(url: str) -> None:
    """Make the tables."""
    database = Database(url, 30.0)
    upgrade(database)
    database.close()


@contextmanager
def new_ledger(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the address of a new ledger, of the kind that a fixture's parameter names."""
    if request.param == "sqlite":
        yield another_ledger()
        return
    template = request.getfixturevalue("postgres_template")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.create(template)
    yield server.url(name)
    server.drop(name)


@cache
def template() -> Path:
    """Return a file that holds a new ledger, to be copied."""
    file = folder_in_memory("ledger") / "template.db"
    make_ledger(f"sqlite:///{file}")
    return file


def another_ledger() -> str:
    """Return the address of a new ledger, a file that goes with the process."""
    made = template().with_name(f"{secrets.token_hex(8)}.db")
    shutil.copy(template(), made)
    return f"sqlite:///{made}"


@contextmanager
def forgotten_ledgers() -> Iterator[None]:
    """Delete the files of the ledgers that are made meanwhile: thousands of them would fill the memory."""
    folder = template().parent
    before = set(folder.iterdir())
    yield
    for file in set(folder.iterdir()) - before:
        file.unlink(missing_ok=True)  # a connection that is let go meanwhile takes its own along


def use_another_ledger() -> None:
    """Let the processes that are started from now on use a new ledger, unless they are told of another one."""
    os.environ[VARIABLE] = another_ledger()
