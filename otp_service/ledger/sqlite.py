"""SQLite as the ledger's database: a file for this user only, in WAL mode, that is made where somebody writes."""

import os
import time
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from otp_service.errors import LedgerUnavailableError

NOT_MADE: Final = "The ledger has not been made: otp-service ledger upgrade."
WRITES: Final = {"otp_service_writes": True}
"""Execution options of a transaction that changes something."""
_PAUSE: Final = 0.02
"""Seconds between two attempts to switch a new file to WAL."""


def engine_of(url: URL, timeout: float) -> Engine:
    """Return an engine; ``timeout``: seconds to wait for a lock."""
    engine = create_engine(url, pool_timeout=timeout, hide_parameters=True, connect_args={"timeout": timeout})

    @event.listens_for(engine, "do_connect")
    def _look_for_file(*_: object) -> None:
        """Make no file where somebody only looks, perhaps as another user: SQLite would."""
        if not file_of(engine).exists():
            raise LedgerUnavailableError(NOT_MADE)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: object) -> None:  # noqa: ANN401 - the driver's
        connection.isolation_level = None  # we begin transactions ourselves
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}").close()
        _write_ahead(connection, timeout, engine.dialect.loaded_dbapi.OperationalError)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        """Take the write lock at once where it is needed: a read that becomes a write may fail without waiting."""
        writes = WRITES.keys() <= connection.get_execution_options().keys()
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def file_of(engine: Engine) -> Path:
    """Return the file of a ledger."""
    return Path(str(engine.url.database))


def make_file(engine: Engine) -> None:
    """Make the file for this user only, before SQLite makes it for all; raises `LedgerUnavailableError`."""
    path = file_of(engine)
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as failed:
        raise LedgerUnavailableError(f"The ledger {path} cannot be opened: {failed.strerror}.") from failed


def _write_ahead(connection: Any, timeout: float, busy: type[Exception]) -> None:  # noqa: ANN401 - the driver's
    """Switch a file to WAL. Where two processes do so to a new one at once, SQLite refuses one without waiting."""
    end = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
        except busy:
            if time.monotonic() > end:
                raise
            time.sleep(_PAUSE)
        else:
            return
