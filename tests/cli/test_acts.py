"""``otp-service audit acts``: who did what, from the commands that did it."""

import pytest
from support_cli import configured, run
from support_installation import NUMBER


@pytest.fixture
def environ(valkey, sqlite_template, tmp_path, monkeypatch):
    monkeypatch.setenv("SUDO_USER", "ali")
    (tmp_path / "ledger.db").write_bytes(sqlite_template.read_bytes())
    return configured(tmp_path, valkey.url, ledger={"url": f"sqlite:///{tmp_path / 'ledger.db'}"})


def told(environ, *arguments):
    result = run("audit", "acts", *arguments, environ=environ)
    assert result.exit_code == 0, result.output
    return [line.split("\t")[1:] for line in result.stdout.splitlines()]


def test_what_was_done_is_told_with_who_did_it(environ):
    run("key", "add", "shop", environ=environ)
    run("limits", "reset", NUMBER, "--yes", environ=environ)
    run("guard", "unblock", "--number", NUMBER, "--yes", environ=environ)
    run("guard", "unblock", "--country", "shop", "PK", "--yes", environ=environ)
    run("ledger", "rebuild", "--yes", environ=environ)
    run("store", "fence", "--yes", environ=environ)
    rows = told(environ)

    assert rows[0][:3] == ["api-key-issued", "cli:ali", "shop"]
    assert rows[0][3].startswith("ak_")
    assert rows[1:] == [
        ["limits-reset", "cli:ali", "-", "number"],
        ["guard-unblocked", "cli:ali", "-", "number"],
        ["guard-unblocked", "cli:ali", "shop", "country"],
        ["mirror-rebuilt", "cli:ali", "-", "-"],
        ["store-fenced", "cli:ali", "-", "-"],
    ]
    assert run("audit", "verify", environ=environ).exit_code == 0


def test_no_number_is_told(environ):
    run("limits", "reset", NUMBER, "--yes", environ=environ)
    output = run("audit", "acts", environ=environ).output

    assert NUMBER[3:] not in output


def test_days_that_are_asked_for(environ):
    run("limits", "reset", NUMBER, "--yes", environ=environ)

    assert told(environ, "--from", "2099-01-01") == []
    assert told(environ, "--to", "2020-01-01") == []
    assert len(told(environ, "--from", "2020-01-01")) == 1


def test_the_incident_report_counts_them(environ):
    run("limits", "reset", NUMBER, "--yes", environ=environ)
    report = run("incident", "report", "--from", "2020-01-01", "--to", "2099-01-01", environ=environ).stdout

    assert "- Acts of operators: limits-reset 1" in report
