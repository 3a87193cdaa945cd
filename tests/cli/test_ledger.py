"""``otp-service ledger``: how much there is, and the end of what was kept long enough."""

import re

import pytest
from sqlalchemy import insert
from support_cli import configured, run

from otp_service.ledger import database as ledger_database
from otp_service.ledger import schema
from otp_service.ledger.database import Database
from otp_service.settings.schema import RetentionSettings

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
SHOP = {"pseudonym": "somebody", "application": "shop", "gateway": "primary", "meaning": "stop"}


@pytest.fixture
def environ(valkey, tmp_path, ledger_url):
    return configured(tmp_path, valkey.url, ledger={"url": ledger_url})


@pytest.fixture
def wrote(ledger_url):
    """Let two messages be in the ledger, an old one and one of the year 2286."""
    database = Database(ledger_url, 10.0)
    with database.write() as connection:
        rows = [{"id": str(at), "received": at, **SHOP} for at in (1, 9_999_999_999_999)]
        connection.execute(insert(schema.inbound), rows)
    database.close()


def rows_of(result):
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    return [row for row in rows if row[0] not in {"Table", "Data"}]


@pytest.mark.usefixtures("wrote")
def test_what_is_old_is_deleted_at_once_and_the_status_tells(environ):
    first, second = run("ledger", "purge", environ=environ), run("ledger", "purge", environ=environ)
    status = run("ledger", "status", environ=environ)

    assert (first.exit_code, second.exit_code, status.exit_code) == (0, 0, 0)
    assert rows_of(first) == [[data, str(int(data == "inbound"))] for data in RetentionSettings.model_fields] + [
        ["1 row deleted."]
    ]
    assert rows_of(second)[-1] == ["0 rows deleted."]
    assert ["inbound", "1"] in rows_of(status)
    deleted = next(row for row in rows_of(status) if row[:2] == ["inbound", "90 d"])
    assert re.fullmatch(TIME, deleted[2])
    assert deleted[3] == "1"
    assert ["traffic", "400 d", "-", "-"] in rows_of(status)


def test_the_status_names_every_table_and_shows_no_password(environ):
    result = run("ledger", "status", environ=environ)

    assert {row[0] for row in rows_of(result) if len(row) == 2} == set(schema.METADATA.tables)
    assert "no purge has run yet." in result.stderr
    assert "word@" not in result.output
    assert "%40" not in result.output


@pytest.mark.usefixtures("wrote")
def test_no_more_rows_are_counted_than_can_be_soon(environ, monkeypatch):
    monkeypatch.setattr(ledger_database, "MAX_COUNT", 1)
    monkeypatch.setattr("otp_service.cli.ledger.MAX_COUNT", 1)

    assert ["inbound", "more than 1"] in rows_of(run("ledger", "status", environ=environ))


def test_a_ledger_that_was_not_made_is_told(environ, tmp_path):
    elsewhere = {"OTP_SERVICE__LEDGER__URL": f"sqlite:///{tmp_path}/new.db"}
    result = run("ledger", "status", environ=environ | elsewhere)

    assert result.exit_code == 1
    assert "otp-service ledger upgrade" in result.output
