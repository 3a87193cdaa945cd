"""The report on a month, and the stats counted anew."""

import csv
import io
import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import delete
from support_cli import configured, run
from support_stats import AT, record, refuse, stories

from otp_service.cli.report import _csv
from otp_service.domain.guard import DAY
from otp_service.ledger.ledger import Ledger
from otp_service.ledger.schema import hourly_delays, hourly_stats

OCTOBER = ("report", "--month", "2024-10")


@pytest.fixture
def environ(valkey, sqlite_template, tmp_path):
    (tmp_path / "ledger.db").write_bytes(sqlite_template.read_bytes())
    return configured(tmp_path, valkey.url, ledger={"url": url(tmp_path)})


@pytest.fixture
def ledger(environ, tmp_path):
    """A ledger with October, and a start in September."""
    opened = Ledger(url(tmp_path), 10.0)
    record(
        opened,
        stories(120, "a"),
        stories(3, "b", country="GB", end=""),
        stories(20, "c", application="bank", channel="voice"),
        stories(1, "before", at=AT - 31 * DAY),
    )
    refuse(opened, 14)
    refuse(opened, 2, what="would_be_refused.start", rule="block.starts")
    yield opened
    opened.database.close()


def url(folder):
    return f"sqlite:///{folder / 'ledger.db'}"


def told(environ, *arguments):
    result = run(*arguments, environ=environ)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.usefixtures("ledger")
def test_a_month_is_told_beside_the_month_before(environ):
    said = told(environ, *OCTOBER, "--exact").splitlines()

    assert said[0] == "# Verifications in 2024-10"
    assert "| country | started | sent | delivered | approved | unapproved | share approved |" in said
    assert "| GB | 3 (-) | 3 (-) | 3 (-) | 0 (-) | 3 (-) | 0.0 % (-) |" in said
    assert "| all | 143 (1) | 143 (1) | 143 (1) | 140 (1) | 3 (0) | 97.9 % (100.0 %) |" in said
    assert "| voice | 20 (-) | 20 (-) | 20 (-) | 20 (-) | 0 (-) | 100.0 % (-) |" in said
    assert "| primary | 143 (1) | 143 (1) | 0 (0) | 0 (0) | 0 (0) | 357.50 (2.50) |" in said
    assert "| number.sends | 14 (-) | 14 (-) | 0 (-) |" in said
    assert "| block.starts | 0 (-) | 0 (-) | 2 (-) |" in said
    assert "| delivered | 143 (1) | 100.0 % (100.0 %) | 5 s (5 s) | 5 s (5 s) |" in said


@pytest.mark.usefixtures("ledger")
def test_small_counts_are_hidden_and_none_is_left_by_a_subtraction(environ):
    said = told(environ, *OCTOBER)

    assert "Each count is rounded to tens" in said
    assert "| GB | < 10 (-) | < 10 (-) | < 10 (-) | 0 (-) | < 10 (-) | - (-) |" in said
    assert "| PK | 140 (< 10) |" in said
    assert "| all | 140 (< 10) |" in said
    assert "| primary | 140 (< 10) | 140 (< 10) | 0 (0) | 0 (0) | 0 (0) | 350.00 (-) |" in said
    assert not {"143", "123", "357.50"} & set(said.replace("|", " ").split())


@pytest.mark.usefixtures("ledger")
def test_it_is_of_one_application_where_that_is_asked(environ):
    said = told(environ, *OCTOBER, "--application", "bank", "--exact")

    assert said.startswith("# Verifications in 2024-10, bank\n")
    assert "| all | 20 (-) |" in said
    assert "number.sends" not in said
    assert run(*OCTOBER, "--application", "none", environ=environ).exit_code == 2


@pytest.mark.usefixtures("ledger")
def test_csv_has_a_line_for_each_figure(environ):
    rows = list(csv.DictReader(told(environ, *OCTOBER, "--format", "csv").splitlines()))

    assert rows[0] == {
        "section": "Verifications by country", "of": "GB", "figure": "started", "2024-10": "< 10", "2024-09": "",
    }  # fmt: skip
    spent = next(row for row in rows if row["figure"] == "spent" and row["of"] == "primary")
    assert (spent["2024-10"], spent["2024-09"]) == ("350.00", "")


def test_no_cell_is_a_formula():
    """A name of an application or a gateway may begin with a hyphen; what follows it may be a formula's."""
    cells = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "-", "a=b", 'x"y', "a\nb"]
    (read,) = csv.reader(io.StringIO(_csv([cells]), newline=""))

    assert read == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\t=1", "'\r=1", "", "a=b", 'x"y', "a\nb"]


@pytest.mark.usefixtures("ledger")
def test_programs_get_the_same(environ):
    read = json.loads(told(environ, *OCTOBER, "--application", "shop", "--json"))

    assert (read["month"], read["application"], read["currency"], read["unfinished"]) == (
        "2024-10",
        "shop",
        "PKR",
        False,
    )
    assert read["stats"][0] == {
        "section": "Verifications by country", "of": "GB", "figure": "started", "shown": "< 10", "before": None,
    }  # fmt: skip


def test_a_month_that_is_not_over_is_told_as_such(environ):
    month = run("report", "--month", f"{datetime.now(UTC):%Y-%m}", environ=environ)

    assert "is not over" in month.stderr
    assert "is not over" not in run(*OCTOBER, environ=environ).stderr
    assert run("report", "--month", "2024-13", environ=environ).exit_code == 2


def test_stats_are_counted_anew(environ, ledger):
    before = told(environ, *OCTOBER, "--exact")
    with ledger.database.write() as connection:
        connection.execute(delete(hourly_stats).where(hourly_stats.c.event.like("verification.%")))
        connection.execute(delete(hourly_delays))
    assert told(environ, *OCTOBER, "--exact") != before

    assert told(environ, "ledger", "recount") == "144 verifications counted anew.\n"
    assert told(environ, *OCTOBER, "--exact") == before
