"""What a person sees in a terminal of 80 columns, and a script in a pipe."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from rich.cells import cell_len
from support_caller import Caller
from support_cli import configured, own_logging, run, start
from support_installation import NUMBER
from support_outbox import Scripted, Sender, refused, timed_out

from otp_service.bootstrap import install
from otp_service.cli import output
from otp_service.cli.main import commands
from otp_service.domain.routing import CallResult
from otp_service.settings import load_settings

COLUMNS = 80
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
GATEWAYS = {
    "a-gateway-with-a-long-name": {"kind": "sandbox", "max_in_flight": 500},
    "second": {"kind": "sandbox", "slow": 7.25},
}
HEADINGS = re.compile(r"^[A-Z][A-Za-z -]*(\t[A-Z][A-Za-z -]*)+$", re.MULTILINE)
"""The first line of a table; a terminal may have its words beside the cells."""
ROUTES = [{"gateways": list(GATEWAYS)}]


@pytest.fixture
def environ(valkey, tmp_path):
    return configured(tmp_path, valkey.url, gateways=GATEWAYS, routes=ROUTES)


@pytest.fixture
def shop(environ):
    return Caller(install(load_settings(environ=environ)))


@pytest.fixture
def terminal(monkeypatch):
    """Run a command as in a terminal of a width; return the lines that it prints."""

    def of(environ, *command, columns=COLUMNS):
        with monkeypatch.context() as here:
            here.setattr(output, "is_terminal", lambda: True)
            result = run(*command, environ=environ | {"COLUMNS": str(columns)})
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()

    return of


@pytest.fixture
def busy(shop):
    """Let messages fail in every way, and return their verifications."""
    ids = [shop.start() for _ in range(3)]
    calls = Scripted(refused("rejected", "20003"), timed_out()), Scripted()
    sender = Sender(shop, **dict(zip(GATEWAYS, calls, strict=True)))
    sender.deliver()
    shop.context.store.health.open("second", 90 * 60_000, "cli:ali")
    shop.context.store.health.observe("second", "dp_1", CallResult.THROTTLED, 3600_000)
    return ids


@pytest.mark.parametrize(
    "command",
    [
        ("gateway", "list"),
        ("gateway", "status"),
        ("dead-letters", "list"),
        ("find", NUMBER),
        ("limits", "show", NUMBER),
        ("messages", "check"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_a_command_fits_into_eighty_columns_and_breaks_no_word(environ, terminal, busy, command):
    before = HEADINGS.sub("", run(*command, environ=environ).stdout).split()
    lines = terminal(environ, *command)
    after = run(*command, environ=environ).stdout.split()
    piped = [word for word in before if word in after]  # what does not change with the time

    assert len(lines) > 2
    assert [line for line in lines if cell_len(line.rstrip()) > COLUMNS] == []
    shown = set(" ".join(lines).split())
    assert [word for word in piped if word not in shown and word != "-"] == []


def test_what_an_operator_copies_is_whole_in_a_narrow_terminal(environ, terminal, busy):
    listed = "\n".join(terminal(environ, "dead-letters", "list"))
    found = "\n".join(terminal(environ, "find", NUMBER))

    assert re.search(r"^Id: 00:\d+-\d+  Given up: ", listed, re.MULTILINE)
    assert re.search(r"Verification: (vf_\w+)$", listed, re.MULTILINE)[1] in busy
    assert all(one in found for one in busy)
    assert re.search(r"Reason: rejected 20003(  |$)", found, re.MULTILINE)
    assert re.search(r"Dispatch: dp_\w{34}$", found, re.MULTILINE)


def test_headings_give_way_first_and_only_as_far_as_they_must(environ, terminal):
    def headings(columns):
        lines = terminal(environ, "gateway", "status", columns=columns)
        return [line.split() for line in lines[: next(i for i, line in enumerate(lines) if "sandbox" in line)]]

    (every,) = headings(120)
    assert " ".join(every) == "Name State Bad calls Calls Slow from In flight At most Per second"
    broken = headings(103)
    assert broken[0] == ["Per"]
    assert sorted(word for line in broken for word in line) == sorted(every)


def test_where_even_that_is_too_wide_each_row_is_told_in_lines(environ, terminal):
    assert terminal(environ, "gateway", "status", columns=60)[:3] == [
        "Name: sandbox  State: taking messages  Bad calls: 0",
        "  Calls: 0  Slow from: 0.5 s",
        "Name: a-gateway-with-a-long-name  State: taking messages",
    ]


def test_a_pipe_gets_tabs_and_whole_lines_whatever_its_width(environ, busy):
    for command in (("dead-letters", "list"), ("find", NUMBER), ("doctor",)):
        printed = (run(*command, environ=environ | {"COLUMNS": columns}).stdout for columns in ("20", "500"))
        narrow, wide = (re.sub(r"\b\d+ (s|min|h)\b", r"\1", text) for text in printed)  # time goes on between the two
        assert narrow == wide
    lines = run("dead-letters", "list", environ=environ).stdout.splitlines()
    assert lines[0].startswith("Id\tGiven up\tReason\tApplication\t")
    assert all(line.count("\t") == 7 for line in lines)


def test_a_reader_that_leaves_early_is_no_error(environ):
    left, theirs = os.pipe()
    os.close(left)
    with os.fdopen(theirs, "w") as pipe:
        unbuffered = environ | {"PYTHONUNBUFFERED": "1"}
        with start("config", "show", environ=unbuffered, stdout=pipe, stderr=subprocess.PIPE) as process:
            _, told = process.communicate(timeout=30)
    assert told == ""


def test_a_real_terminal_is_noticed(environ, busy):
    shown = in_a_terminal("dead-letters", "list", environ=environ)
    lines = ESCAPE.sub("", shown).splitlines()
    assert lines[0].startswith("Id: 00:")
    assert max(map(len, lines)) <= COLUMNS


def test_a_dumb_terminal_cuts_nothing_off_either(environ):
    wide = in_a_terminal("gateway", "status", environ=environ | {"TERM": "dumb"}, columns=120)
    assert " ".join(wide.split()).startswith("Name State Bad calls Calls Slow from In flight At most Per second ")
    assert "a-gateway-with-a-long-name" in wide


@pytest.mark.parametrize(
    "command", ["dead-letters list", "doctor", "gateway list", f"find {NUMBER}", "gateway resume second"]
)
def test_colours_are_left_out_for_who_wants_none_and_on_a_dumb_terminal(environ, busy, command):
    shown = {
        name: on_a_terminal(*command.split(), environ={**environ, "TERM": "xterm", **asked})
        for name, asked in {"": {}, "dumb": {"TERM": "dumb"}, "no colour": {"NO_COLOR": "1"}}.items()
    }

    assert ESCAPE.search(shown.pop(""))
    assert [name for name, text in shown.items() if "\x1b" in text] == []
    assert all(text.strip() for text in shown.values())


def test_log_lines_have_colours_where_the_rest_has_them(environ):
    away = {**environ, "TERM": "xterm", "OTP_SERVICE__LEDGER__URL": "postgresql://otp@127.0.0.1:1/otp"}
    for asked, coloured in (({}, True), ({"TERM": "dumb"}, False), ({"NO_COLOR": "1"}, False)):
        told = on_a_terminal("gateway", "resume", "second", environ=away | asked)
        (line,) = (line for line in told.splitlines() if "action_not_recorded" in line)
        assert ("\x1b" in line) is coloured, line


def in_a_terminal(*command, environ, columns=COLUMNS):
    """Run a command in a process of its own, whose streams are a terminal; return what it shows there."""
    with (
        new_terminal(columns) as (terminal, shown),
        start(*command, environ={**environ, "COLUMNS": ""}, stdout=terminal, stderr=terminal) as process,
    ):
        terminal.close()
    assert process.returncode == 0, shown.result()
    return shown.result()


def on_a_terminal(*command, environ):
    """Run a command here, which takes a tenth of the time, on a terminal; return what it shows there."""
    with new_terminal(COLUMNS) as (terminal, shown), pytest.MonkeyPatch.context() as here, own_logging():
        for name in (name for name in os.environ if name.startswith("OTP_SERVICE")):
            here.delenv(name)
        for name, value in {**environ, "COLUMNS": ""}.items():
            here.setenv(name, value)
        for stream in ("stdout", "stderr", "__stdout__"):
            here.setattr(sys, stream, terminal)
        with pytest.raises(SystemExit) as ended:
            commands(list(command))
    assert ended.value.code == 0, shown.result()
    return shown.result()


@contextmanager
def new_terminal(columns):
    """Yield a terminal, as a file, and what is shown there: a future, of which there is a result at the end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with ThreadPoolExecutor(1) as pool:
        shown = pool.submit(_read, ours)
        with os.fdopen(theirs, "w") as terminal:
            yield terminal, shown
    os.close(ours)


def _read(terminal):
    parts = []
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # Linux' way to say that the other side is closed
            part = b""
        if not part:
            return b"".join(parts).decode()
        parts.append(part)
