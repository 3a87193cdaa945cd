"""PostgreSQL as the ledger's database: what does not answer in time is given up, whichever side stands still."""

import math
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import NoSuchModuleError

from otp_service.errors import ConfigurationError

_GRACE: Final = 1.0
"""Seconds beyond those after which the server ends a statement by itself: then it stands still, or the network does."""

_ENCODING: Final = "UTF8"


def engine_of(url: URL, timeout: float) -> Engine:
    """Return an engine; ``timeout``: seconds for a connection, a lock or an answer.

    Raises `ConfigurationError` where the driver is not installed; so does a connection where the database is not made
    for texts of all languages.
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
                "keepalives_idle": max(1, round(timeout)),  # a connection that was cut off in silence is noticed
                "keepalives_interval": 1,
                "keepalives_count": 3,
                "tcp_user_timeout": milliseconds,
                "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}",
            },
        )
    except (ImportError, NoSuchModuleError) as missing:
        raise ConfigurationError("PostgreSQL needs the extra postgresql: docs/operations.md, Installing.") from missing
    impatient = _impatient(engine.dialect.loaded_dbapi, timeout + _GRACE)

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

    return engine


@contextmanager
def unhurried(connection: Connection) -> Iterator[None]:
    """Let a transaction take as long as it takes, and wait for locks as long: the steps of an upgrade do."""
    driver: Any = connection.connection.dbapi_connection
    driver.hurried = False
    for bound in ("statement_timeout", "lock_timeout"):
        connection.exec_driver_sql(f"SET LOCAL {bound} = 0")
    try:
        yield
    finally:
        driver.hurried = True


def _impatient(driver: Any, patience: float) -> Any:  # noqa: ANN401 - the driver's
    """Return a kind of connection that is closed when an answer takes longer: the driver itself would wait for ever.

    A server that was stopped, or a host that hangs, ends no statement, and its kernel goes on to confirm our packets.
    """

    class Impatient(driver.Connection):  # type: ignore[misc]  # the driver is not always there
        hurried = True

        def wait(self, steps: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - the driver's
            return super().wait(self._in_time(steps), *arguments, **options)

        def _in_time(self, steps: Any) -> Generator[Any, Any, Any]:  # noqa: ANN401 - the driver's
            """Pass on what the driver waits for, which is asked every tenth of a second, until the time is over."""
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
