"""The database behind the ledger: SQLite in a file, or PostgreSQL. Transactions, and one error when it cannot serve."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from otp_service.core.errors import ConfigurationError, LedgerUnavailableError

SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"
_PAUSE: Final = 0.02
"""Seconds between two attempts to switch a new file to WAL."""
_WRITES: Final = "otp_service_writes"
_OPERATIONAL: Final = frozenset({"OperationalError", "InterfaceError", "InternalError"})
_NOT_MADE: Final = ("no such table", "undefinedtable", "does not exist")
_NOT_MADE_SENTENCE: Final = "The ledger has not been made: otp-service ledger upgrade."


class LedgerDefectError(Exception):
    """The database refused what must not be asked of it: a defect of ours. Its text holds none of the values."""


class Database:
    """Transactions on one database; opens no connection before the first."""

    def __init__(self, url: str, timeout: float) -> None:
        """Take ``sqlite:///PATH`` or ``postgresql://…``; ``timeout`` in seconds for a connection, a lock or an answer.

        Raises `ConfigurationError` for any other address, and where the driver is not installed.
        """
        self._engine = _engine(_url(url), timeout)

    @property
    def engine(self) -> Engine:
        """What migrations run on."""
        return self._engine

    @property
    def kind(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    def insert(self, table: Table) -> Any:  # noqa: ANN401 - what both dialects have in common has no type
        """Return an insertion that can say what is to be done with what is there already (``on_conflict_…``)."""
        return (sqlite if self.kind == SQLITE else postgresql).insert(table)

    def there(self) -> bool:
        """Tell whether there is something to connect to: SQLite would make a file that is missing."""
        return self.kind != SQLITE or Path(str(self._engine.url.database)).exists()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Run a transaction that changes something, in a file that is made here; raises `LedgerUnavailableError`."""
        if self.kind == SQLITE:
            _make_file(Path(str(self._engine.url.database)))
        with _served(), self._engine.connect().execution_options(**{_WRITES: True}) as connection, connection.begin():
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Run a transaction that sees the ledger as it is at one moment; raises `LedgerUnavailableError`."""
        with _served(), self._engine.connect() as connection:
            if self.kind == POSTGRESQL:
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close all connections that are not in use."""
        self._engine.dispose()


@contextmanager
def _served() -> Iterator[None]:
    """Turn a failure of the database into `LedgerUnavailableError`; leave a defect of ours as it is."""
    try:
        yield
    except DBAPIError as failed:
        text = str(failed.orig).lower()
        if any(sign in f"{type(failed.orig).__name__.lower()} {text}" for sign in _NOT_MADE):
            raise LedgerUnavailableError(_NOT_MADE_SENTENCE) from failed
        if failed.connection_invalidated or type(failed).__name__ in _OPERATIONAL:
            raise LedgerUnavailableError("The ledger does not answer.") from failed
        first, *_ = str(failed.orig).splitlines()  # the others, and the cause, hold values
        raise LedgerDefectError(first) from None
    except SQLAlchemyError as failed:
        if type(failed).__name__ == "TimeoutError":  # of the pool
            raise LedgerUnavailableError("The ledger does not answer.") from failed
        raise


def _url(text: str) -> URL:
    try:
        url = make_url(text)
    except ArgumentError as malformed:
        raise ConfigurationError("ledger.url is not an address such as sqlite:////var/lib/…/ledger.db.") from malformed
    dialect = url.get_backend_name()
    if dialect == SQLITE and url.database and url.database != ":memory:":
        return url
    if dialect == POSTGRESQL:
        return url.set(drivername="postgresql+psycopg")
    raise ConfigurationError("ledger.url is sqlite:///PATH, or postgresql://USER:PASSWORD@HOST/NAME.")


def _engine(url: URL, timeout: float) -> Engine:
    if url.get_backend_name() == SQLITE:
        return _sqlite(url, timeout)
    milliseconds = round(1000 * timeout)
    try:
        return create_engine(
            url,
            pool_pre_ping=True,
            pool_timeout=timeout,
            hide_parameters=True,
            connect_args={
                "connect_timeout": max(1, round(timeout)),
                "application_name": "otp-service",
                "keepalives_idle": max(1, round(timeout)),  # a connection that was cut off in silence is noticed
                "keepalives_interval": 1,
                "keepalives_count": 3,
                "tcp_user_timeout": milliseconds,
                "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}",
            },
        )
    except (ImportError, NoSuchModuleError) as missing:
        raise ConfigurationError('PostgreSQL needs a driver: pip install "otp-service[postgresql]".') from missing


def _make_file(path: Path) -> None:
    """Make the file for this user only, before SQLite makes it for all."""
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


def _sqlite(url: URL, timeout: float) -> Engine:
    engine = create_engine(url, pool_timeout=timeout, hide_parameters=True, connect_args={"timeout": timeout})

    @event.listens_for(engine, "do_connect")
    def _look_for_file(*_: object) -> None:
        """Make no file where somebody only looks, perhaps as another user: SQLite would."""
        if not Path(str(url.database)).exists():
            raise LedgerUnavailableError(_NOT_MADE_SENTENCE)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: object) -> None:  # noqa: ANN401 - the driver's
        connection.isolation_level = None  # we begin transactions ourselves
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}").close()
        _write_ahead(connection, timeout, engine.dialect.loaded_dbapi.OperationalError)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        """Take the write lock at once where it is needed: a read that becomes a write may fail without waiting."""
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
