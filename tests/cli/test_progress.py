"""Long work shows how far it has come: a bar in a terminal, a plain line elsewhere; never on standard output."""

import json
import os
import pty
import re
import subprocess

import pytest
from support_cli import configured, run, start

from otp_service.cli import output

COUNT = 4000
DONE = "Suppressed: messages of any application to the numbers of {} lines (all).\n"


@pytest.fixture
def environ(valkey, sqlite_template, tmp_path):
    (tmp_path / "ledger.db").write_bytes(sqlite_template.read_bytes())
    numbers_into(tmp_path / "list", COUNT)
    return configured(tmp_path, valkey.url, ledger={"url": f"sqlite:///{tmp_path / 'ledger.db'}"})


def numbers_into(path, count):
    path.write_text("".join(f"+92300{number:07d}\n" for number in range(count)))


def told(environ, *command, **variables):
    """Run a command with standard output in a pipe and standard error in a terminal; return what each got."""
    ours, theirs = pty.openpty()
    environ = {**environ, "TERM": "xterm", "COLUMNS": "100", **variables}
    with start(*command, environ=environ, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = b"".join(iter(lambda: _part(ours), b"")).decode()
        printed = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0, shown
    return printed, shown


def _part(terminal):
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux' way to say that the other side is closed
        return b""


def test_a_terminal_sees_rate_and_time_left_and_standard_output_stays_as_it_is(environ, tmp_path):
    many = 5 * COUNT  # more than any machine writes between two pictures of the bar
    numbers_into(tmp_path / "list", many)
    printed, shown = told(environ, "suppressions", "import", str(tmp_path / "list"))
    assert printed == DONE.format(many)
    assert re.search(rf"Lines .*\d+/{many}", shown)
    assert re.search(r"[1-9][\d,]*/s", shown)
    assert re.search(r"\d:\d\d:\d\d", shown)

    printed, _ = told(environ, "audit", "verify", "--json")
    assert json.loads(printed)["entries"] > many


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"TERM": "unknown"}])
def test_a_dumb_terminal_sees_no_bar(environ, tmp_path, variables):
    printed, shown = told(environ, "suppressions", "import", str(tmp_path / "list"), **variables)

    assert printed == DONE.format(COUNT)
    assert "\x1b" not in shown
    assert "/s" not in shown


@pytest.mark.parametrize("from_pipe", [False, True])
def test_a_pipe_gets_a_plain_line_when_it_takes_long(environ, tmp_path, monkeypatch, from_pipe):
    monkeypatch.setattr(output, "_FIRST_REPORT_AFTER", 0.1)
    given = ("-", (tmp_path / "list").read_text()) if from_pipe else (str(tmp_path / "list"), None)
    result = run("suppressions", "import", given[0], environ=environ, stdin=given[1])

    assert (result.exit_code, result.stdout) == (0, DONE.format(COUNT))
    line = next(line for line in result.stderr.splitlines() if line.startswith("Lines"))
    assert re.fullmatch(r"Lines: [\d,]+ of 4,000, [\d,]+ a second, .* left", line)


def test_short_work_says_nothing_of_it(environ, tmp_path):
    (tmp_path / "short").write_text("+923001234567\n")
    result = run("suppressions", "import", str(tmp_path / "short"), environ=environ)

    assert result.exit_code == 0
    assert "a second" not in result.stderr


@pytest.mark.parametrize(
    ("command", "things"),
    [
        (("ledger", "purge"), "Rows deleted"),
        (("ledger", "rebuild", "--yes"), "Numbers"),
        (("ledger", "recount"), "Verifications"),
        (("audit", "verify"), "Entries"),
        (("incident", "report", "--from", "2026-01-01", "--to", "2099-01-01"), "Entries"),
        (("guard", "replay", "--save", "LOG"), "Attempts"),
    ],
)
def test_other_long_work_tells_too(environ, tmp_path, monkeypatch, command, things):
    """A look as soon as there is anything to see: that it is told at all, and beside standard output."""
    monkeypatch.setattr(output, "_FIRST_REPORT_AFTER", 0.0)
    result = run(*(str(tmp_path / "log") if part == "LOG" else part for part in command), environ=environ)

    assert result.exit_code == 0, result.output
    assert re.search(rf"^{things}: \d", result.stderr, re.MULTILINE)
    assert things + ":" not in result.stdout
