"""The database behind the ledger: SQLite in a file, or PostgreSQL. Transactions, and one error when it cannot serve."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, select, update
from sqlalchemy.dialects.postgresql import insert as insert_into_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_into_sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from otp_service.errors import ConfigurationError, LedgerMismatchError, LedgerUnavailableError
from otp_service.ledger import postgresql, sqlite
from otp_service.ledger.schema import head
from otp_service.ledger.sqlite import NOT_MADE, WRITES

SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"
_OPERATIONAL: Final = frozenset({"OperationalError", "InterfaceError", "InternalError"})
_NO_TABLE: Final = ("42P01", "no such table")
"""Signs that the ledger has not been made: SQLSTATE, and SQLite's words."""
_NO_COLUMN: Final = ("42703", "no such column")
"""The same where it is older than this release."""
_OLDER: Final = "The ledger is not of this release: otp-service ledger upgrade."


class LedgerDefectError(Exception):
    """The database refused what must not be asked of it: a defect of ours. Its text holds none of the values."""


class Database:
    """Transactions on one database; opens no connection before the first."""

    def __init__(self, url: str, timeout: float, pseudonym_key: str = "") -> None:
        """Take ``sqlite:///PATH`` or ``postgresql://…``; ``timeout`` in seconds for a connection, a lock or an answer.

        With the fingerprint of a pseudonym key every transaction refuses a ledger that another key's pseudonyms are in
        (`LedgerMismatchError`). Raises `ConfigurationError` for any other address, and where the driver is not
        installed.
        """
        self._engine = _engine(_url(url), timeout)
        self._pseudonym_key = pseudonym_key

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
        return insert_into_sqlite(table) if self.kind == SQLITE else insert_into_postgresql(table)

    def there(self) -> bool:
        """Tell whether there is something to connect to: SQLite would make a file that is missing."""
        return self.kind != SQLITE or sqlite.file_of(self._engine).exists()

    def is_superuser(self) -> bool:
        """Tell whether our role may do everything on the server; SQLite has no roles."""
        if self.kind == SQLITE:
            return False
        with self.read() as connection:
            return connection.exec_driver_sql("SHOW is_superuser").scalar() == "on"

    @contextmanager
    def write(self, *, any_key: bool = False) -> Iterator[Connection]:
        """Run a transaction that changes something, in a file that is made here; raises `LedgerUnavailableError`.

        ``any_key``: whether the ledger may be another key's, or not made yet.
        """
        if self.kind == SQLITE:
            sqlite.make_file(self._engine)
        with _served(), self._engine.connect().execution_options(**WRITES) as connection, connection.begin():
            if not any_key:
                self._claim(connection)
            yield connection

    @contextmanager
    def read(self, *, any_key: bool = False) -> Iterator[Connection]:
        """Run a transaction that sees the ledger as it is at one moment; raises as `write` does."""
        with _served(), self._engine.connect() as connection:
            if self.kind == POSTGRESQL:
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                if not any_key:
                    self.require_own(connection)
                yield connection

    def claim(self) -> None:
        """Record the pseudonym key in a ledger that has none yet; raise `LedgerMismatchError` when it has another."""
        with self.write():
            pass

    def _claim(self, connection: Connection) -> None:
        """Let whoever writes first, be it a command, record the key that the pseudonyms are of."""
        if self.require_own(connection) == "":
            connection.execute(update(head).where(head.c.pseudonym_key == "").values(pseudonym_key=self._pseudonym_key))

    def require_own(self, connection: Connection) -> str | None:
        """Return the fingerprint in the ledger; raise `LedgerMismatchError` when it is another pseudonym key's."""
        if not self._pseudonym_key:
            return None
        found: str | None = connection.execute(select(head.c.pseudonym_key)).scalar()
        if found and found != self._pseudonym_key:
            raise LedgerMismatchError("The ledger was made with another pseudonym key: nobody would be found in it.")
        return found

    def close(self) -> None:
        """Close all connections that are not in use."""
        self._engine.dispose()


@contextmanager
def _served() -> Iterator[None]:
    """Turn a failure of the database into `LedgerUnavailableError`; leave a defect of ours as it is."""
    try:
        yield
    except DBAPIError as failed:
        said = f"{getattr(failed.orig, 'sqlstate', None)} {failed.orig}"
        for signs, sentence in ((_NO_TABLE, NOT_MADE), (_NO_COLUMN, _OLDER)):
            if any(sign in said for sign in signs):
                raise LedgerUnavailableError(sentence) from failed
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
        return sqlite.engine_of(url, timeout)
    return postgresql.engine_of(url, timeout)
