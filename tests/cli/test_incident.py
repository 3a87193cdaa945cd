"""The incident report: time, nature, categories, counts and measures, and nothing of anybody."""

import pytest
from support_caller import Caller
from support_cli import configured, run
from support_events import record_events
from support_installation import NUMBER
from support_ledger_events import EVIDENCE
from support_outbox import deliver_all

from otp_service.bootstrap import install
from otp_service.settings import load_settings

ALWAYS = ("--from", "2020-01-01", "--to", "2099-01-01T00:00")


@pytest.fixture
def environ(valkey, sqlite_template, tmp_path):
    (tmp_path / "ledger.db").write_bytes(sqlite_template.read_bytes())
    return configured(tmp_path, valkey.url, ledger={"url": f"sqlite:///{tmp_path / 'ledger.db'}"})


@pytest.fixture
def shop(environ):
    made = Caller(install(load_settings(environ=environ)))
    for last in range(12):
        made.start(f"+923001234{last:03d}", consent=EVIDENCE)
    made.start("+447400123456")
    deliver_all(made.context)
    record_events(made.context)
    return made


def told(environ, *arguments):
    result = run("incident", "report", *arguments, environ=environ)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_it_tells_time_nature_categories_counts_and_measures(environ, shop):
    said = told(environ, *ALWAYS, "--nature", "a laptop was stolen", "--measures", "keys were rotated")

    assert "- Time: 2020-01-01 00:00 to 2099-01-01 00:00 UTC" in said
    assert "- Nature: a laptop was stolen" in said
    assert "- Measures taken: keys were rotated" in said
    assert "- People concerned, about: 13 " in said
    assert "| consents | pseudonym, caller's text, network prefix | 12 |" in said
    assert "| PK | 12 |" in said
    assert "| sandbox | 13 |" in said
    assert "The audit chain holds" in said


def test_what_is_so_little_that_it_may_tell_who_it_is_is_told_as_such(environ, shop):
    assert "| GB | fewer than 10 |" in told(environ, *ALWAYS)


def test_it_shows_neither_number_nor_pseudonym(environ, shop):
    said = told(environ, *ALWAYS)

    assert NUMBER[-7:] not in said
    assert shop.context.keyring.pseudonym("+923001234000") not in said
    assert EVIDENCE.address_prefix not in said


@pytest.mark.parametrize("asked", [("--from", "2020-01-01", "--to", "2021-01-01"), (*ALWAYS, "--application", "bank")])
def test_another_time_or_application_is_none_of_it(environ, shop, asked):
    said = told(environ, *asked)

    assert "about: 0 " in said
    assert "None." in said


def test_a_time_that_ends_before_it_begins_is_refused(environ):
    result = run("incident", "report", "--from", "2026-01-02", "--to", "2026-01-01", environ=environ)

    assert (result.exit_code, "must be after" in result.stderr) == (2, True)
