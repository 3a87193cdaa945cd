"""Brings the tables up to this release, step by step (Alembic)."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table, text

from otp_service.errors import LedgerUnavailableError
from otp_service.ledger import head, schema
from otp_service.ledger.database import POSTGRESQL, Database
from otp_service.ledger.migrations import STEPS
from otp_service.ledger.postgresql import unhurried

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 7_209_104
"""Number of PostgreSQL's lock for upgrades: one process at a time."""
_VERSION = table("alembic_version", column("version_num"))
"""Where Alembic notes the step that a ledger has come to, in one row."""


def current(database: Database) -> str | None:
    """Return the step that a ledger has come to; ``None`` for one that has not been made."""
    with database.read(any_key=True) as connection:
        if not inspect(connection).has_table(_VERSION.name):
            return None
        step: str | None = connection.execute(select(_VERSION.c.version_num)).scalar_one_or_none()
        return step


def is_behind(database: Database) -> bool:
    """Tell whether a ledger is older than this release. One that is newer can be read and written as it is."""
    found = current(database)
    return found is None or found in STEPS[:-1]


def upgrade(database: Database) -> None:
    """Make the tables, or bring them up to date, in one transaction; does nothing where they are, or are newer.

    Looking comes first and needs no lock: a process must be able to start while another one is writing.
    """
    with suppress(LedgerUnavailableError):
        if not is_behind(database):
            return
    from alembic import command  # noqa: PLC0415 - takes a quarter of a start, and there is seldom anything to upgrade
    from alembic.config import Config  # noqa: PLC0415

    with _alone(database) as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.set_main_option("version_locations", str(MIGRATIONS / "versions"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        if inspect(connection).has_table(schema.head.name):
            database.require_own(connection)
        command.upgrade(config, "head")
        if connection.execute(select(schema.head.c.id)).first() is None:
            head.create(connection)


@contextmanager
def _alone(database: Database) -> Iterator[Connection]:
    """Run a transaction while no other process upgrades."""
    with database.write(any_key=True) as connection:
        if database.kind != POSTGRESQL:
            yield connection
            return
        with unhurried(connection):
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            yield connection
