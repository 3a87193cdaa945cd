"""Each column of the ledger is changed in the database: `audit verify` shows it, or the security model lists it."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection, Table, and_, delete, insert, select, update
from support_full_ledger import another_value, drop_triggers, fill
from support_ledger import make_ledger

from otp_service.clock import now
from otp_service.domain.keyring import Keyring
from otp_service.ledger.ledger import Ledger
from otp_service.ledger.retention import Purge
from otp_service.ledger.schema import METADATA, STATS, hourly_delays, hourly_stats, stats_positions
from otp_service.services.audit import AuditProgress, HeadSigner, verify_chain

KEYRING = Keyring({"k1": b"r" * 31 + b"1"}, b"p" * 31 + b"1")
DOCUMENT = Path(__file__).parents[2] / "docs" / "security-model.md"
HEADING = "| table | columns that nothing shows | what a change of them gets |\n|---|---|---|\n"
TABLES = {name: table for name, table in METADATA.tables.items() if name != "alembic_version"}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a ledger that has rows in all tables, and whose head is signed."""
    file = tmp_path_factory.mktemp("full") / "ledger.db"
    make_ledger(f"sqlite:///{file}")
    ledger = Ledger(f"sqlite:///{file}", 10.0)
    fill(ledger, "vf_1")
    fill(ledger, "vf_2", "m" * 22)
    add_stats(ledger)
    assert sum(ledger.purges.run(Purge(STATS, 2, now(), KEYRING.signer)))  # leaves its record
    add_stats(ledger)
    HeadSigner(context(ledger), 60, None).sign_if_due()
    ledger.database.close()
    return file


def add_stats(ledger: Ledger) -> None:
    """Put rows of the first hour of all times into the tables of stats."""
    with ledger.database.write() as connection:
        for table in (hourly_stats, hourly_delays, stats_positions):
            connection.execute(delete(table))
            connection.execute(insert(table), {one.key: 1 if is_number(one) else "a" for one in table.columns})


def is_number(column: Any) -> bool:
    return column.type.python_type is int


def context(ledger: Ledger) -> Any:
    return SimpleNamespace(ledger=ledger, keyring=KEYRING)


@pytest.fixture
def copies(full: Path, tmp_path: Path) -> Any:
    """Return what tampers with a copy of the ledger, and tells whether a verification shows it."""

    def shows(tamper: Any) -> bool:
        ledger = Ledger(f"sqlite:///{shutil.copy(full, tmp_path / 'ledger.db')}", 10.0)
        with ledger.database.write() as connection:
            drop_triggers(connection, "sqlite")
            tamper(connection)
        found = list(verify_chain(context(ledger), AuditProgress()))
        ledger.database.close()
        return bool(found)

    return shows


def change_of(table: Table, column: Any) -> Any:
    """Return what gives each of the rows in turn another value in a column."""

    def tamper(connection: Connection) -> None:
        row = connection.execute(select(table).limit(1)).mappings().one()
        mine = and_(*(one == row[one.key] for one in table.primary_key))
        changed = update(table).where(mine).values({column.key: another_value(row[column.key], column.type)})
        assert connection.execute(changed).rowcount == 1

    return tamper


def listed() -> Mapping[str, set[str]]:
    """Return the columns that the document lists, by table."""
    rows = DOCUMENT.read_text().split(HEADING, 1)[1].split("\n\n", 1)[0].splitlines()
    found: dict[str, set[str]] = {}
    for tables, columns, _ in (row.strip("| ").split(" | ", 2) for row in rows):
        for table in re.findall("`([^`]+)`", tables):
            names = {one.name for one in TABLES[table].columns}
            found.setdefault(table, set()).update(names if columns == "all" else re.findall("`([^`]+)`", columns))
    return found


def test_a_ledger_that_nobody_touched_is_as_it_was_recorded(copies: Any) -> None:
    assert not copies(lambda _: None)


@pytest.mark.parametrize("name", TABLES)
def test_the_columns_whose_change_does_not_show_are_those_that_the_security_model_lists(copies: Any, name: str) -> None:
    table = TABLES[name]
    unnoticed = {column.name for column in table.columns if not copies(change_of(table, column))}

    assert unnoticed == listed().get(name, set())


@pytest.mark.parametrize("name", sorted(TABLES.keys() - {"head"}))
def test_a_row_that_is_deleted_shows_where_its_columns_do(copies: Any, name: str) -> None:
    """A signed head that was not exported can be deleted: that is why heads are exported."""
    table = TABLES[name]
    is_listed = listed().get(name) == {one.name for one in table.columns}

    def tamper(connection: Connection) -> None:
        assert connection.execute(delete(table)).rowcount

    assert copies(tamper) == (name != "audit_heads" and not is_listed)
