"""How the tables come to be, on either database."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from otp_service.errors import ConfigurationError, LedgerFormatError, LedgerUnavailableError
from otp_service.ledger.database import MIGRATIONS, Database, LedgerDefectError, is_made, upgrade
from otp_service.ledger.ledger import Ledger
from otp_service.ledger.migrations import FORMAT
from otp_service.ledger.schema import METADATA, head


def test_the_steps_lead_to_the_schema(ledger):
    options = {"include_name": lambda name, kind, _: kind != "table" or name in METADATA.tables}  # not partitions
    with ledger.database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=options), METADATA) == []


def test_the_format_is_the_last_step(ledger):
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == FORMAT
    with ledger.database.read() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == FORMAT


def test_a_change_of_the_tables_changes_the_name_of_the_format():
    tables = "".join(
        str(statement.compile(dialect=sqlite.dialect()))
        for table in METADATA.sorted_tables
        for statement in (CreateTable(table), *map(CreateIndex, sorted(table.indexes, key=lambda index: index.name)))
    )
    digest = hashlib.sha256(tables.encode()).hexdigest()[:16]

    assert (FORMAT, digest) == ("first_5", "111f9e9f9eebd946"), "a changed table needs a new name"


def test_a_database_with_other_tables_is_not_made(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}", 5.0)
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE unrelated (id INTEGER)")
    assert not is_made(database)

    upgrade(database)
    assert is_made(database)


def test_to_upgrade_again_changes_nothing(ledger):
    before = ledger.mirror_source.head()
    ledger.upgrade()

    assert ledger.mirror_source.head() == before
    assert ledger.is_made()


def test_a_process_can_start_while_another_one_writes(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    Ledger(url, 5.0).upgrade()
    with Ledger(url, 5.0).database.write():
        Ledger(url, 0.1).upgrade()


def test_a_ledger_of_another_format_is_refused_by_name(ledger):
    with ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0004'")

    with pytest.raises(LedgerFormatError, match=f"the format 0004, and this release reads {FORMAT}"):
        ledger.upgrade()


def test_of_processes_that_upgrade_at_once_one_makes_the_ledger(tmp_path):
    url = f"sqlite:///{tmp_path / 'new.db'}"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: Ledger(url, 30.0).upgrade(), range(4)))

    assert Ledger(url, 1.0).mirror_source.head().sequence == 0


def test_a_ledger_that_was_not_made_is_told_with_what_to_do(tmp_path):
    fresh = Ledger(f"sqlite:///{tmp_path / 'new.db'}", 1.0)

    with pytest.raises(LedgerUnavailableError, match="otp-service ledger upgrade"):
        fresh.mirror_source.head()


def test_the_file_is_for_its_user_only(tmp_path):
    Ledger(f"sqlite:///{tmp_path / 'private' / 'new.db'}", 1.0).upgrade()

    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "private" / "new.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("url", ["", "mysql://localhost/otp", "sqlite://", "sqlite:///:memory:", "nonsense"])
def test_an_address_that_is_none_of_ours_is_refused(url):
    with pytest.raises(ConfigurationError, match=r"ledger\.url"):
        Database(url, 1.0)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    ledger = Ledger(f"sqlite:///{tmp_path / 'file' / 'ledger.db'}", 1.0)
    with pytest.raises(LedgerUnavailableError, match="cannot be opened"):
        ledger.upgrade()


def test_a_database_that_is_away_is_told(postgres_server):
    away = postgres_server.url("nothing_of_that_name")
    with pytest.raises(LedgerUnavailableError):
        Ledger(away, 2.0).mirror_source.head()


def test_a_lock_that_lasts_too_long_is_told(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger, waiting = Ledger(url, 5.0), Ledger(url, 0.1)
    ledger.upgrade()
    with ledger.database.write(), pytest.raises(LedgerUnavailableError), waiting.database.write():
        pytest.fail("two write at once")


def test_no_value_is_in_an_error_of_the_database(ledger):
    with pytest.raises(LedgerDefectError) as told, ledger.database.write() as connection:
        connection.execute(insert(head).values(id=1, identity="+923001234567", sequence=0))

    assert "923001234567" not in str(told.value)
