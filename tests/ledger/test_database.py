"""A database that does not answer is given up in time, and is there again when it answers."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support_postgres import PostgresServer

from otp_service.errors import ConfigurationError, LedgerUnavailableError
from otp_service.ledger import database as ledger_database
from otp_service.ledger.database import Database

TIMEOUT = 0.3


@pytest.fixture
def database(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Database]:
    name = postgres_server.create(postgres_template)
    opened = Database(postgres_server.url(name), TIMEOUT)
    yield opened
    opened.close()
    postgres_server.drop(name)


@contextmanager
def standing_still(process: int) -> Iterator[None]:
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def server_process(database: Database) -> int:
    """Return the process that serves the one connection that the pool has."""
    with database.read() as connection:
        return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())


def test_a_statement_of_which_the_server_stands_still_is_given_up_in_time(database: Database) -> None:
    process = server_process(database)
    begun = time.monotonic()
    with pytest.raises(LedgerUnavailableError):
        _stop_and_ask(database)

    assert TIMEOUT < time.monotonic() - begun < TIMEOUT + 3
    assert server_process(database) != process


def _stop_and_ask(database: Database) -> None:
    with database.write() as connection:
        process = int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
        with standing_still(process):
            connection.exec_driver_sql("SELECT 1")


def test_a_connection_that_stands_still_in_the_pool_is_replaced(database: Database) -> None:
    process = server_process(database)
    begun = time.monotonic()
    with standing_still(process):
        assert server_process(database) != process

    assert time.monotonic() - begun < TIMEOUT + 3


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_does_not_hold_all_texts_is_refused_in_words(postgres_server: PostgresServer, encoding: str):
    name = postgres_server.create("template0", encoding)
    with pytest.raises(ConfigurationError, match=f"the encoding {encoding}.*createdb --encoding=UTF8"):
        ledger_database.upgrade(Database(postgres_server.url(name), TIMEOUT))
    postgres_server.drop(name)


def test_a_server_that_lets_nobody_in_is_given_up_in_time(database: Database, postgres_server: PostgresServer) -> None:
    begun = time.monotonic()
    with standing_still(postgres_server.process.pid), pytest.raises(LedgerUnavailableError):
        server_process(database)

    assert time.monotonic() - begun < TIMEOUT + 3


def test_a_statement_that_takes_too_long_is_ended_by_the_server_and_the_connection_stays(database: Database) -> None:
    process = server_process(database)
    with pytest.raises(LedgerUnavailableError), database.read() as connection:
        connection.exec_driver_sql("SELECT pg_sleep(10)")

    assert server_process(database) == process


def test_an_upgrade_may_take_longer_than_any_other_transaction(database: Database) -> None:
    with database.write() as connection, ledger_database.without_timeouts(connection):
        connection.exec_driver_sql("SELECT pg_sleep(2)")
    begun = time.monotonic()
    with pytest.raises(LedgerUnavailableError):
        _stop_and_ask(database)

    assert time.monotonic() - begun < TIMEOUT + 3, "and is the only one"
