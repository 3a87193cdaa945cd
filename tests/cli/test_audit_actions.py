"""``otp-service audit actions``: who did what, from the commands that did it."""

import contextlib
import re
import sqlite3
from contextlib import closing

import pytest
from support_caller import Caller
from support_cli import configured, rows, run
from support_installation import NUMBER, QUIET

from otp_service.bootstrap import install, prepare
from otp_service.domain.consents import SuppressionSource
from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.errors import LedgerUnavailableError, StoreUnavailableError
from otp_service.ledger.audit import OperatorActions
from otp_service.services.subjects import freeze, unfreeze
from otp_service.settings import load_settings
from otp_service.store.guard import LimitReader


@pytest.fixture
def environ(valkey, sqlite_template, tmp_path, monkeypatch):
    monkeypatch.setenv("SUDO_USER", "ali")
    (tmp_path / "ledger.db").write_bytes(sqlite_template.read_bytes())
    guard = {"modes": {**QUIET, "number.cooldown": "record_only", "country.unapproved": "record_only"}}
    return configured(tmp_path, valkey.url, ledger={"url": f"sqlite:///{tmp_path / 'ledger.db'}"}, guard=guard)


def told(environ, *arguments):
    result = run("audit", "actions", *arguments, environ=environ)
    assert result.exit_code == 0, result.output
    return [row[1:] for row in rows(result.stdout)]


@pytest.fixture
def shop(environ, valkey):
    """An application that has started something, and is held back, so that there is something to reset and to lift."""
    installation = install(load_settings(environ=environ))
    prepare(installation)
    caller = Caller(installation)
    caller.start()
    return caller


def test_what_was_done_is_told_with_who_did_it(environ, shop, tmp_path):
    (tmp_path / "list").write_text("+923007654321\n+923007654322\n")
    for command in (
        ["key", "add", "shop"],
        ["guard", "unblock", "--number", NUMBER, "--yes"],
        ["guard", "unblock", "--country", "shop", "PK", "--yes"],
        ["limits", "reset", NUMBER, "--yes"],
        ["suppressions", "add", NUMBER, "--application", "shop"],
        ["suppressions", "lift", NUMBER, "--application", "shop"],
        ["suppressions", "import", str(tmp_path / "list")],
        ["subject", "freeze", NUMBER, "--all"],
        ["subject", "unfreeze", NUMBER, "--all"],
        ["subject", "erase", NUMBER, "--yes"],
        ["gateway", "pause", "sandbox"],
        ["gateway", "resume", "sandbox"],
        ["ledger", "rebuild", "--yes"],
        ["store", "fence", "--yes"],
    ):
        assert run(*command, environ=environ).exit_code == 0, command
    rows = told(environ)

    assert rows[0][:3] == ["api-key-issued", "cli:ali", "shop"]
    assert rows[0][3].startswith("ak_")
    assert [row[:1] + row[2:4] for row in rows[1:]] == [
        ["guard-unblocked", "-", "number"],
        ["guard-unblocked", "shop", "country"],
        ["limits-reset", "-", "number"],
        ["suppression-added", "shop", "all"],
        ["suppression-lifted", "shop", "all"],
        ["suppressions-imported", "-", "all"],
        ["subject-frozen", "-", "-"],
        ["subject-unfrozen", "-", "-"],
        ["subject-erased", "-", "-"],
        ["gateway-paused", "-", "sandbox"],
        ["gateway-resumed", "-", "sandbox"],
        ["mirror-rebuilt", "-", "-"],
        ["store-fenced", "-", "-"],
    ]
    assert {(row[1], row[4]) for row in rows} == {("cli:ali", "recorded")}
    assert run("audit", "verify", environ=environ).exit_code == 0


def test_what_came_to_nothing_is_no_act(environ, tmp_path):
    run("suppressions", "add", NUMBER, environ=environ)
    (tmp_path / "list").write_text(f"{NUMBER}\n")
    run("suppressions", "import", str(tmp_path / "list"), environ=environ)
    before = told(environ)
    for command in (
        ["guard", "unblock", "--number", NUMBER, "--yes"],
        ["guard", "unblock", "--country", "shop", "PK", "--yes"],
        ["guard", "unblock", "--address", "192.0.2.1", "--yes"],
        ["limits", "reset", NUMBER, "--yes"],
        ["suppressions", "add", NUMBER],
        ["suppressions", "import", str(tmp_path / "list")],
        ["subject", "unfreeze", NUMBER, "--all"],
        ["dead-letters", "redrive", "--all"],
    ):
        run(*command, environ=environ)

    assert told(environ) == before
    assert [row[0] for row in before] == ["suppression-added", "suppressions-imported"]


def test_what_an_application_does_for_itself_is_no_act(environ, shop):
    number = subject_key(shop.context.keyring, parse_destination(NUMBER, None))
    freeze(shop.context, number, "shop", SuppressionSource.API)
    unfreeze(shop.context, number, "shop", SuppressionSource.API)

    assert told(environ) == []


def test_an_action_that_somebody_inserted_or_changed_is_marked_and_reported(environ, tmp_path):
    run("suppressions", "add", NUMBER, environ=environ)
    run("gateway", "resume", "sandbox", environ=environ)
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as ledger:
        ledger.execute("DROP TRIGGER operator_actions_fixed")
        ledger.execute("UPDATE operator_actions SET by = 'cli:sana' WHERE action = 'gateway-resumed'")
        ledger.execute("INSERT INTO operator_actions VALUES ('x', 1, 'store-fenced', 'cli:sana', '', '')")

    assert [(row[0], row[4]) for row in told(environ)] == [
        ("store-fenced", "unknown"),
        ("suppression-added", "recorded"),
        ("gateway-resumed", "changed"),
    ]
    assert "Some actions differ from their records" in run("audit", "actions", environ=environ).stderr
    verified = run("audit", "verify", environ=environ)
    assert verified.exit_code == 1
    assert re.search("the row [0-9a-f]{32} of operator_actions was changed", verified.stdout)
    assert "the row x of operator_actions has no entry in the chain" in verified.stdout


def test_an_action_that_somebody_removed_is_reported(environ, tmp_path):
    run("suppressions", "add", NUMBER, environ=environ)
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as ledger:
        ledger.execute("DELETE FROM operator_actions")
    verified = run("audit", "verify", environ=environ)

    assert verified.exit_code == 1
    assert re.search("the row [0-9a-f]{32} of operator_actions is gone, and no purge took it", verified.stdout)


@pytest.mark.parametrize("command", [["limits", "reset", NUMBER], ["guard", "unblock", "--number", NUMBER]])
def test_nothing_is_lifted_that_cannot_be_recorded(environ, shop, valkey, command):
    away = {**environ, "OTP_SERVICE__LEDGER__URL": "postgresql://otp@127.0.0.1:1/otp"}
    before = {name: valkey.client.dump(name) for name in valkey.client.scan_iter()}

    assert run(*command, "--yes", environ=away).exit_code == 1
    assert {name: valkey.client.dump(name) for name in valkey.client.scan_iter()} == before


def test_what_is_done_before_the_disk_is_full_is_in_the_log(environ, shop, monkeypatch):
    def fills_up(_, act, do):
        assert do()
        raise LedgerUnavailableError("database or disk is full")

    monkeypatch.setattr(OperatorActions, "perform", fills_up)
    result = run("limits", "reset", NUMBER, "--yes", environ=environ)

    assert result.exit_code == 1
    assert "action_not_recorded" in result.stderr


def test_what_may_be_done_before_the_disk_is_full_is_in_the_log(environ, shop, monkeypatch):
    def is_lost(*_):
        raise StoreUnavailableError("The store does not answer.")

    def fills_up(_, act, do):
        with contextlib.suppress(StoreUnavailableError):
            do()
        raise LedgerUnavailableError("database or disk is full")

    monkeypatch.setattr(LimitReader, "reset", is_lost)
    monkeypatch.setattr(OperatorActions, "perform", fills_up)
    result = run("limits", "reset", NUMBER, "--yes", environ=environ)

    assert result.exit_code == 1
    assert "action_not_recorded" in result.stderr


@pytest.mark.parametrize("command", [["gateway", "pause", "sandbox"], ["gateway", "resume", "sandbox"]])
def test_a_gateway_is_paused_and_resumed_although_the_ledger_is_away_and_that_is_told(environ, command):
    away = {**environ, "OTP_SERVICE__LEDGER__URL": "postgresql://otp@127.0.0.1:1/otp"}
    result = run(*command, environ=away)

    assert result.exit_code == 0
    assert "action_not_recorded" in result.stderr


def test_no_number_is_told(environ, shop):
    run("limits", "reset", NUMBER, "--yes", environ=environ)
    output = run("audit", "actions", environ=environ).output

    assert NUMBER[3:] not in output


def test_days_that_are_asked_for(environ, shop):
    run("limits", "reset", NUMBER, "--yes", environ=environ)

    assert told(environ, "--from", "2099-01-01") == []
    assert told(environ, "--to", "2020-01-01") == []
    assert len(told(environ, "--from", "2020-01-01")) == 1


def test_the_incident_report_counts_them(environ, shop):
    run("limits", "reset", NUMBER, "--yes", environ=environ)
    report = run("incident", "report", "--from", "2020-01-01", "--to", "2099-01-01", environ=environ).stdout

    assert "- Operators' actions: limits-reset 1" in report
