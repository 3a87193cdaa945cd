"""Brings the tables up to this release, step by step (Alembic)."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, select, text

from otp_service.core.errors import LedgerUnavailableError
from otp_service.ledger import head, schema
from otp_service.ledger.database import POSTGRESQL, Database
from otp_service.ledger.postgresql import unhurried

_LOCK = 7_209_104
"""Number of PostgreSQL's lock for upgrades: one process at a time."""


def newest() -> str:
    """Return the step that this release ends with."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    if found is None:
        raise LookupError("a release has migrations")
    return found


def current(database: Database) -> str | None:
    """Return the step that a ledger has come to; ``None`` for one that has not been made."""
    with database.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def is_behind(database: Database) -> bool:
    """Tell whether a ledger is older than this release. One that is newer can be read and written as it is."""
    found = current(database)
    steps = {step.revision for step in ScriptDirectory.from_config(_config()).walk_revisions()}
    return found is None or (found in steps and found != newest())


def upgrade(database: Database) -> None:
    """Make the tables, or bring them up to date, in one transaction; does nothing where they are, or are newer.

    Looking comes first and needs no lock: a process must be able to start while another one is writing.
    """
    with suppress(LedgerUnavailableError):
        if not is_behind(database):
            return
    with _alone(database) as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if connection.execute(select(schema.head.c.id)).first() is None:
            head.create(connection)


@contextmanager
def _alone(database: Database) -> Iterator[Connection]:
    """Run a transaction while no other process upgrades."""
    with database.write() as connection:
        if database.kind != POSTGRESQL:
            yield connection
            return
        with unhurried(connection):
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            yield connection


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("version_locations", str(Path(__file__).parent / "migrations" / "versions"))
    config.set_main_option("path_separator", "os")
    return config
