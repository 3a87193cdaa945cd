"""Connections to SQLite and PostgreSQL, transactions, the head of the ledger, upgrades."""

import json
import math
import os
import secrets
import shutil
import string
import threading
import time
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import (
    ARRAY,
    JSON,
    Column,
    ColumnClause,
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Row,
    Select,
    Table,
    Text,
    any_,
    bindparam,
    case,
    cast,
    column,
    create_engine,
    event,
    func,
    insert,
    inspect,
    literal,
    select,
    table,
    text,
    true,
    update,
)
from sqlalchemy.dialects.sqlite import insert as insert_into_sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from otp_service.clock import now
from otp_service.domain.audit import GENESIS
from otp_service.domain.consents import LedgerPosition
from otp_service.errors import ConfigurationError, LedgerFormatError, LedgerMismatchError, LedgerUnavailableError
from otp_service.ledger.migrations import FORMAT
from otp_service.ledger.partitions import has_locks, make_first_partitions, near
from otp_service.ledger.schema import METADATA, audit, head

NOT_MADE: Final = "The ledger does not exist yet: otp-service ledger upgrade."
WRITES: Final = {"otp_service_writes": True}
"""Execution options of a transaction that changes something."""
_PAUSE: Final = 0.02
"""Seconds between two attempts to switch a new file to WAL."""


def sqlite_engine(url: URL, timeout: float) -> Engine:
    """Return an engine; ``timeout``: seconds to wait for a lock."""
    engine = create_engine(url, pool_timeout=timeout, hide_parameters=True, connect_args={"timeout": timeout})

    @event.listens_for(engine, "do_connect")
    def _look_for_file(*_: object) -> None:
        """Keep SQLite from making a missing file when it is only read, perhaps by another user."""
        require_same_file(engine)
        if not sqlite_file(engine).exists():
            raise LedgerUnavailableError(NOT_MADE)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, record: Any) -> None:  # noqa: ANN401 - the driver's, and the pool's
        connection.isolation_level = None  # we begin transactions ourselves
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}").close()
        _write_ahead(connection, timeout, engine.dialect.loaded_dbapi.OperationalError)
        record.info[_FILES] = _identities(engine)
        _opened.setdefault(engine, record.info[_FILES][0])

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        """Take the write lock at once where it is needed: a read that becomes a write may fail without waiting."""
        noted, current = connection.info[_FILES], _identities(engine)
        if noted[0] != current[0] or noted[1] not in {None, current[1]}:
            raise LedgerUnavailableError(_REPLACED, file_replaced=True)
        connection.info[_FILES] = current  # a new file gets its log with the first transaction
        writes = WRITES.keys() <= connection.get_execution_options().keys()
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def sqlite_file(engine: Engine) -> Path:
    return Path(str(engine.url.database))


_FILES: Final = "otp_service_files"
"""Key of a connection's file and write-ahead log, as device and inode. Both stay the same while it is open: SQLite
deletes the log with the last connection."""
_REPLACED: Final = "The ledger's file was replaced or removed while it was in use: restart all processes."
_opened: WeakKeyDictionary[Engine, tuple[int, int] | None] = WeakKeyDictionary()
"""The first file of each engine. No other file is opened in its place: the old log may lie beside it."""


def _identities(engine: Engine) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Return device and inode of the file and of its write-ahead log; ``None`` for a missing one."""
    file = sqlite_file(engine)
    return _identity(file), _identity(file.with_name(f"{file.name}-wal"))


def _identity(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        stat = path.stat()
        return stat.st_dev, stat.st_ino
    return None


def require_same_file(engine: Engine) -> None:
    """Raise `LedgerUnavailableError` where the file opened first was replaced or removed."""
    if engine in _opened and _opened[engine] != _identities(engine)[0]:
        raise LedgerUnavailableError(_REPLACED, file_replaced=True)


def make_sqlite_file(engine: Engine) -> None:
    """Make the file for this user only, before SQLite makes it for all; raises `LedgerUnavailableError`."""
    require_same_file(engine)
    path = sqlite_file(engine)
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as failed:
        raise LedgerUnavailableError(f"The ledger {path} cannot be opened: {failed.strerror}.") from failed


def _write_ahead(connection: Any, timeout: float, busy: type[Exception]) -> None:  # noqa: ANN401 - the driver's
    """Switch a file to WAL; retry, because SQLite refuses at once while another process switches the same new file."""
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


_GRACE: Final = 1.0
"""Seconds after the server's own statement timeout, until which an answer must come."""

_ENCODING: Final = "UTF8"


def postgresql_engine(url: URL, timeout: float) -> Engine:
    """Return an engine; ``timeout``: seconds for a connection, a lock or an answer.

    Raises `ConfigurationError` where the driver is not installed; so does a connection to a database that is not UTF-8.
    """
    milliseconds = round(1000 * timeout)
    try:
        engine = create_engine(
            url,
            pool_pre_ping=True,
            pool_timeout=timeout,
            hide_parameters=True,
            connect_args={
                "connect_timeout": max(1, round(timeout)),
                "application_name": "otp-service",
                "keepalives_idle": max(1, round(timeout)),  # to notice a connection that was cut off in silence
                "keepalives_interval": 1,
                "keepalives_count": 3,
                "tcp_user_timeout": milliseconds,
                "prepare_threshold": None,  # with a pooler the next transaction may run on another server
            },
        )
    except (ImportError, NoSuchModuleError) as missing:
        raise ConfigurationError("PostgreSQL needs the extra postgresql: docs/install.md.") from missing
    impatient = _with_deadline(engine.dialect.loaded_dbapi, timeout + _GRACE)

    @event.listens_for(engine, "do_connect")
    def _connect(_: object, __: object, arguments: Any, options: Any) -> Any:  # noqa: ANN401 - the driver's
        connection = impatient.connect(*arguments, **options)
        if (encoding := connection.info.parameter_status("server_encoding")) != _ENCODING:
            connection.close()
            raise ConfigurationError(
                f"The ledger's database has the encoding {encoding}, which does not hold all texts: "
                f"make one with {_ENCODING} (createdb --encoding={_ENCODING} --template=template0 NAME)."
            )
        return connection

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        """Set the timeouts in the transaction: a pooler passes no parameters of a connection on."""
        connection.exec_driver_sql(
            f"SELECT set_config('statement_timeout', '{milliseconds}', true), "
            f"set_config('lock_timeout', '{milliseconds}', true)"
        )

    return engine


@contextmanager
def without_timeouts(connection: Connection) -> Iterator[None]:
    """Run a transaction without timeouts, such as an upgrade."""
    driver: Any = connection.connection.dbapi_connection
    driver.hurried = False
    for bound in ("statement_timeout", "lock_timeout"):
        connection.exec_driver_sql(f"SET LOCAL {bound} = 0")
    try:
        yield
    finally:
        driver.hurried = True


def _with_deadline(driver: Any, patience: float) -> Any:  # noqa: ANN401 - the driver's
    """Return a class of connections that close when an answer takes longer: the driver alone would wait for ever.

    A stopped server or a hanging host ends no statement, and its kernel goes on to acknowledge packets.
    """

    class Impatient(driver.Connection):  # type: ignore[misc]  # the driver is optional
        hurried = True

        def wait(self, steps: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - the driver's
            return super().wait(self._in_time(steps), *arguments, **options)

        def _in_time(self, steps: Any) -> Generator[Any, Any, Any]:  # noqa: ANN401 - the driver's
            """Pass the driver's waits on, which come every tenth of a second, until the time is over."""
            end = time.monotonic() + (patience if self.hurried else math.inf)
            try:
                ready = yield next(steps)
                while time.monotonic() < end:
                    ready = yield steps.send(ready)
            except StopIteration as done:
                return done.value
            steps.close()
            self.pgconn.finish()
            raise driver.OperationalError("no answer in time")

    return Impatient


SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"
MIN_FREE_MIB: Final = 16
"""With less left on its disk SQLite's file counts as full: four times the write-ahead log that SQLite keeps."""
_OTHER_FORMAT: Final = "Another release made the ledger: use that release, or another ledger."
REMEDIED: Final = frozenset({NOT_MADE, _OTHER_FORMAT})
_FAULTS: Final = (
    (("42P01", "no such table"), NOT_MADE),
    (("42703", "no such column"), _OTHER_FORMAT),
    (("unable to open database file",), "The ledger's file cannot be opened."),
    (("file is not a database",), "The ledger's file is no database."),
    (("disk image is malformed",), "The ledger's file is damaged."),
    (("53100", "database or disk is full"), "The ledger's disk is full."),
)
"""Error texts by SQLSTATE or SQLite's message."""


class Gate:
    """Keeps a process away from a ledger that it has not examined yet, which may be another installation's."""

    def __init__(self) -> None:
        self.state = ""
        """Reason while it is closed, as ``/readyz`` shows it; empty while it is open."""
        self._passing = threading.local()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Open it for this thread, to examine the ledger."""
        self._passing.examines = True
        try:
            yield
        finally:
            self._passing.examines = False

    def require_open(self) -> None:
        """Raise `LedgerUnavailableError` while it is closed to this thread."""
        if self.state and not getattr(self._passing, "examines", False):
            raise LedgerUnavailableError("The ledger is not responding.")


class LedgerDefectError(Exception):
    """The database refused a wrong statement, a defect of this service. Its text contains no values."""


class Database:
    """Transactions on one database; opens no connection before the first."""

    def __init__(self, url: str, timeout: float, pseudonym_key: str = "") -> None:
        """Take ``sqlite:///PATH`` or ``postgresql://…``; ``timeout`` in seconds for a connection, a lock or an answer.

        With the fingerprint of a pseudonym key every transaction refuses a ledger with another key's pseudonyms
        (`LedgerMismatchError`). Raises `ConfigurationError` for any other address, and where the driver is not
        installed.
        """
        try:
            address = make_url(url)
        except ArgumentError as malformed:
            raise ConfigurationError(
                "ledger.url is not an address such as sqlite:////var/lib/…/ledger.db."
            ) from malformed
        kind = address.get_backend_name()
        if kind == SQLITE and address.database and address.database != ":memory:":
            self.engine = sqlite_engine(address, timeout)
        elif kind == POSTGRESQL:
            self.engine = postgresql_engine(address.set(drivername="postgresql+psycopg"), timeout)
        else:
            raise ConfigurationError("ledger.url is sqlite:///PATH, or postgresql://USER:PASSWORD@HOST/NAME.")
        self._pseudonym_key = pseudonym_key
        self.gate = Gate()

    @property
    def kind(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    def insert(self, table: Table) -> Any:  # noqa: ANN401 - the insertions of both dialects share no type
        """Return an insertion that supports ``on_conflict_…``."""
        if self.kind == SQLITE:
            return insert_into_sqlite(table)
        # takes 26 ms of a start, and the engine has imported it where it is needed
        from sqlalchemy.dialects.postgresql import insert as insert_into_postgresql  # noqa: PLC0415

        return insert_into_postgresql(table)

    def exists(self) -> bool:
        """Tell whether SQLite's file exists, which a connection would make; always true of PostgreSQL."""
        return self.kind != SQLITE or sqlite_file(self.engine).exists()

    def lacks_file(self) -> bool:
        """Tell whether SQLite's file is missing in an existing folder."""
        return not self.exists() and sqlite_file(self.engine).parent.is_dir()

    def lacks_space(self) -> bool:
        """Tell whether the disk of SQLite's file has less than `MIN_FREE_MIB` left."""
        if self.kind != SQLITE:
            return False
        try:
            return shutil.disk_usage(sqlite_file(self.engine)).free < MIN_FREE_MIB << 20
        except OSError:
            return False

    def is_superuser(self) -> bool:
        """Tell whether our role is a superuser of the server; SQLite has no roles."""
        if self.kind == SQLITE:
            return False
        with self.read() as connection:
            return connection.exec_driver_sql("SHOW is_superuser").scalar() == "on"

    def lacks_locks(self) -> bool:
        """Tell whether PostgreSQL has too few locks for concurrent lookups of numbers in all partitions."""
        if self.kind == SQLITE:
            return False
        with self.read() as connection:
            return not has_locks(connection)

    @contextmanager
    def write(self, *, any_key: bool = False) -> Iterator[Connection]:
        """Run a transaction that changes rows, in a new file if need be; raises `LedgerUnavailableError`.

        ``any_key``: whether the ledger may be another key's, or not made yet.
        """
        self.gate.require_open()
        if self.kind == SQLITE:
            make_sqlite_file(self.engine)
        with self._translated(), self.engine.connect().execution_options(**WRITES) as connection, connection.begin():
            if not any_key and self.require_own(connection) == "":  # the first writer, or a command, sets the key
                unset = update(head).where(head.c.pseudonym_key == "")
                connection.execute(unset.values(pseudonym_key=self._pseudonym_key))
            yield connection

    @contextmanager
    def read(self, *, any_key: bool = False) -> Iterator[Connection]:
        """Run a transaction that reads one snapshot of the ledger; raises as `write` does."""
        self.gate.require_open()
        with self._translated(), self.engine.connect() as connection:
            if self.kind == POSTGRESQL:
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                if not any_key:
                    self.require_own(connection)
                yield connection

    def claim(self) -> None:
        """Record the pseudonym key in a ledger without one; raise `LedgerMismatchError` when it has another.

        Reads first, as `upgrade` does.
        """
        with self.read(any_key=True) as connection:
            has_none = self.require_own(connection) == ""
        if has_none:
            with self.write():
                pass

    def require_own(self, connection: Connection) -> str | None:
        """Return the fingerprint in the ledger; raise `LedgerMismatchError` when it is another pseudonym key's."""
        if not self._pseudonym_key:
            return None
        stored: str | None = connection.execute(select(head.c.pseudonym_key)).scalar()
        if stored and stored != self._pseudonym_key:
            raise LedgerMismatchError("The ledger was made with another pseudonym key: no number would match.")
        return stored

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn a failure of the database into `LedgerUnavailableError`, and a defect into `LedgerDefectError`."""
        driver: Any = self.engine.dialect.loaded_dbapi
        try:
            yield
        except (DBAPIError, driver.Error) as failed:
            cause = failed.orig if isinstance(failed, DBAPIError) else failed  # rows are copied by the driver alone
            message = f"{getattr(cause, 'sqlstate', None)} {cause}"
            for signs, sentence in _FAULTS:
                if any(sign in message for sign in signs):
                    raise LedgerUnavailableError(sentence) from failed
            operational = (driver.OperationalError, driver.InterfaceError, driver.InternalError)
            if isinstance(cause, operational) or getattr(failed, "connection_invalidated", False):
                raise LedgerUnavailableError("The ledger is not responding.") from failed
            first, *_ = str(cause).splitlines()  # the others, and the cause, hold values
            raise LedgerDefectError(first) from None
        except SQLAlchemyError as failed:
            if type(failed).__name__ == "TimeoutError":  # of the pool
                raise LedgerUnavailableError("The ledger is not responding.") from failed
            raise

    def close(self) -> None:
        self.engine.dispose()
        _opened.pop(self.engine, None)


class LedgerPart:
    """A part of the ledger. Its methods raise `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database


def rename_ledger(connection: Connection, sequence: int) -> None:
    """Give the ledger a new identity, which has no mirror; its sequence goes on after a number at least."""
    further = case((head.c.sequence < sequence, sequence), else_=head.c.sequence)
    connection.execute(update(head).values(identity=_new_name(), sequence=further + 1, mirrored=False, diverged=False))


def head_row(connection: Connection) -> Any:  # noqa: ANN401 - a row
    """Return the head; raises `LedgerUnavailableError` where there is none yet."""
    row = connection.execute(select(head)).one_or_none()
    if row is None:
        raise LedgerUnavailableError(NOT_MADE)
    return row


def read_head(connection: Connection) -> LedgerPosition:
    row = head_row(connection)
    return LedgerPosition(row.identity, row.sequence, row.changed, row.changed_link)


def has_head(connection: Connection, place: LedgerPosition) -> bool:
    """Tell whether a place is in the history of this ledger: a restored copy lacks later places."""
    last = head_row(connection)
    if place.identity != last.identity or place.sequence > last.sequence:
        return False
    known = {last.forgotten: last.forgotten_link, last.changed: last.changed_link, 0: GENESIS}
    return place.link == (known.get(place.entry) or link_at(connection, place.entry))


def link_at(connection: Connection, entry: int) -> str | None:
    """Return the link of an entry of the audit chain; ``None`` for a missing entry."""
    return connection.execute(select(audit.c.link).where(audit.c.sequence == entry)).scalar()


def advance_head(connection: Connection, changes: int) -> int:
    """Return the number of the last of some new changes; locks the ledger for others until the transaction ends."""
    counted = update(head).values(sequence=head.c.sequence + changes).returning(head.c.sequence)
    return int(connection.execute(counted).scalar_one())


def lock_head(connection: Connection) -> None:
    """Lock the ledger against other changes until the transaction ends."""
    advance_head(connection, 0)


def advance_access_head(connection: Connection) -> None:
    """Count a change of applications or keys; locks them for others until the transaction ends."""
    connection.execute(update(head).values(access=head.c.access + 1))


def _new_name() -> str:
    """Return a random name for a ledger; letters only, so that no log takes a part of it for a number."""
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(32))


MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 7_209_104
"""Number of PostgreSQL's lock for upgrades: one process at a time."""
_VERSION = table("alembic_version", column("version_num"))


def is_made(database: Database) -> bool:
    """Tell whether the tables exist; raise `LedgerFormatError` where another release made them."""
    with database.read(any_key=True) as connection:
        if not inspect(connection).has_table(_VERSION.name):
            return False
        step = connection.execute(select(_VERSION.c.version_num)).scalar_one_or_none()
    if step not in {None, FORMAT}:
        raise LedgerFormatError(f"The ledger has the format {step}, and this release reads {FORMAT}.")
    return step is not None


def upgrade(database: Database) -> None:
    """Make the tables in one transaction, unless they exist; raise `LedgerFormatError` as `is_made` does.

    The check comes first and needs no lock: a process must be able to start while another one is writing.
    """
    if database.exists() and is_made(database):
        return
    from alembic import command  # noqa: PLC0415 - takes a quarter of a start, and is seldom needed
    from alembic.config import Config  # noqa: PLC0415

    with database.write(any_key=True) as connection, ExitStack() as stack:
        if database.kind == POSTGRESQL:
            stack.enter_context(without_timeouts(connection))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.set_main_option("version_locations", str(MIGRATIONS / "versions"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        if inspect(connection).has_table(head.name):
            database.require_own(connection)
        command.upgrade(config, "head")
        if connection.execute(select(head.c.id)).first() is None:
            new = {
                "id": 1,
                "identity": _new_name(),
                "pseudonym_key": "",
                **dict.fromkeys(("sequence", "access", "audit", "changed", "forgotten", "purged"), 0),
                **dict.fromkeys(("audit_link", "changed_link", "forgotten_link"), GENESIS),
                **dict.fromkeys(("mirrored", "diverged"), False),
            }
            connection.execute(insert(head).values(new))
            if database.kind == POSTGRESQL:
                make_first_partitions(connection, now())


MAX_BATCH: Final = 512
"""Values of one statement: a power of two."""

Item = TypeVar("Item")


def batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Yield the items in order, in pieces whose lengths are powers of two, at most `MAX_BATCH`.

    A statement with a parameter for each item has one text for each length, and drivers cache prepared statements by
    text, in each connection: 430 KB for 500 events. Powers of two keep that cache at ten texts instead of a hundred.
    """
    begin = 0
    while left := len(items) - begin:
        size = min(MAX_BATCH, 1 << (left.bit_length() - 1))
        yield items[begin : begin + size]
        begin += size


def in_batches(values: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Yield values for ``IN`` in few pieces of such lengths, each filled up with its last value."""
    for begin in range(0, len(values), MAX_BATCH):
        some = list(values[begin : begin + MAX_BATCH])
        yield some + some[-1:] * ((1 << (len(some) - 1).bit_length()) - len(some))


def among(connection: Connection, key: Column[Any], values: Collection[Any]) -> Iterator[ColumnElement[bool]]:
    """Yield conditions that a column has any of many values: PostgreSQL takes all in one parameter."""
    if connection.dialect.name == POSTGRESQL and values:
        yield key == any_(bindparam(None, list(values), type_=ARRAY(key.type)))
    elif values:
        yield from (key.in_(some) for some in in_batches(list(values)))


def rows_among(
    connection: Connection, statement: Select[Any], key: Column[Any], values: Collection[Any]
) -> Iterator[Row[Any]]:
    """Yield the rows of a statement whose ``key`` is among many values; each value counts once."""
    for condition in among(connection, key, list(dict.fromkeys(values))):
        yield from connection.execute(statement.where(condition))


def of_application(rows: Table, application: str | None) -> ColumnElement[bool]:
    """Return the condition for the rows of an application, ``None`` for any."""
    return true() if application is None else rows.c.application == application


def count(connection: Connection, rows: FromClause, *conditions: ColumnElement[bool]) -> int:
    """Return the number of rows of a table that meet all conditions."""
    return int(connection.execute(select(func.count()).select_from(rows).where(*conditions)).scalar_one())


def find_rows(
    connection: Connection,
    statement: Select[Any],
    key: Column[Any],
    names: Collection[str],
    at_first: ColumnElement[bool],
    elsewhere: Collection[str],
) -> Iterator[Mapping[Any, Any]]:
    """Yield the rows of a statement whose ``key`` is among some names.

    All are looked for where ``at_first`` holds, which is fast; then, without it, those of ``elsewhere`` still missing.
    """
    left = set(names)
    for where in (at_first, true()):
        for mine in among(connection, key, sorted(left)):
            for row in connection.execute(statement.where(mine, where)).mappings():
                left.discard(row[key])
                yield row
        left &= set(elsewhere)


MANY: Final = 128
"""Number of rows from which COPY is faster in PostgreSQL."""


def insert_rows(
    connection: Connection,
    statement: Any,  # noqa: ANN401 - the insertions of both dialects share no type
    rows: Sequence[Mapping[str, Any]],
    returning: Column[Any] | None = None,
    *,
    staged: bool = False,
) -> list[Any]:
    """Run an insertion for some rows, of all columns; return a column of the inserted rows.

    PostgreSQL gets the rows as one value: a parameter for each value of each row took a quarter of the time of
    recording. With ``staged`` (once in a transaction) it copies many rows into a temporary table first.
    """
    if returning is not None:
        statement = statement.returning(returning)
    of: Table = statement.table
    pieces: list[Any] = [{}]
    if connection.dialect.name != POSTGRESQL:
        pieces = [rows] if returning is None else list(batches(rows))
    elif staged:
        name = f"incoming_{of.name}"
        connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {name} (LIKE {of.name}) ON COMMIT DROP")
        _copy(connection, name, of, rows)
        source = select(*(column(stored.name, stored.type) for stored in of.columns)).select_from(table(name))
        statement = statement.from_select(of.columns.keys(), source)
    else:
        pieces = [{"rows": json.dumps([{stored.name: row[stored.key] for stored in of.columns} for row in rows])}]
        statement = statement.from_select(of.columns.keys(), _rows_in_json(of))
    inserted: list[Any] = []
    for piece in pieces:
        result = connection.execute(statement, piece)
        inserted += result.scalars() if returning is not None else ()
    return inserted


def _copy(connection: Connection, into: str, of: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    names = ", ".join(map(connection.dialect.identifier_preparer.quote, (stored.name for stored in of.columns)))
    keys = of.columns.keys()
    cursor: Any = connection.connection.cursor()
    with cursor, cursor.copy(f"COPY {into} ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row([row[key] for key in keys])


def update_rows(connection: Connection, moment: Column[Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Set the same columns of each row: ``of`` is its id, and ``was`` its present ``moment``, which may be set too."""
    if not rows:
        return
    names = [name for name in rows[0] if name not in {"of", "was"}]
    columns = moment.table.c
    if connection.dialect.name != POSTGRESQL:
        row_update = update(moment.table).where(columns.id == bindparam("of"), moment == bindparam("was"))
        connection.execute(row_update, rows)
        return
    types = {"of": columns.id.type, "was": moment.type, **{name: columns[name].type for name in names}}
    new = _from_json([column(name, type_) for name, type_ in types.items()])
    then = near(moment, (row["was"] for row in rows))
    mine = update(moment.table).where(columns.id == new.c["of"], moment == new.c.was, then)
    connection.execute(mine.values({name: new.c[name] for name in names}), {"rows": json.dumps(list(rows))})


def add_rows(connection: Connection, to: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert new rows, of all columns; the caller holds a lock against the same rows from others."""
    if connection.dialect.name == POSTGRESQL and len(rows) >= MANY:
        _copy(connection, to.name, to, rows)
    elif rows:
        insert_rows(connection, insert(to), rows)


@cache
def _rows_in_json(of: Table) -> Select[Any]:
    """Return the statement that selects a table's columns, in their order, from rows in JSON."""
    return select(*_from_json([column(stored.name, stored.type) for stored in of.columns]).c)


def _from_json(columns: Iterable[ColumnClause[Any]]) -> Any:  # noqa: ANN401 - a function with a table's form
    rows = func.json_to_recordset(cast(bindparam("rows", type_=Text()), JSON()))
    return rows.table_valued(*columns).render_derived(with_types=True)


MAX_COUNT: Final = 1_000_000
"""Rows of a table that are counted: more would take long."""


def row_counts(database: Database) -> Mapping[str, int]:
    """Return the number of rows of each table, at most one more than `MAX_COUNT`; raise `LedgerUnavailableError`."""
    with database.read() as connection:
        return {
            table.name: count(connection, select(literal(1)).select_from(table).limit(MAX_COUNT + 1).subquery())
            for table in METADATA.sorted_tables
        }
