"""Every command without arguments and with each of its options, plausible and not: no traceback, one line an error."""

import pytest
from click import Argument, Choice, Command, Option
from click.testing import CliRunner
from support_cli import configured, leaves, own_logging

from otp_service.cli.main import commands

SERVERS = {"dev", "serve", "worker", "console"}
"""These would run; they are called with an option that is refused."""
VALUES = ("", "-1", "2", "99999999999999999999", "nobody", "9999-12-31", "/nowhere/file", "é\u202e")


@pytest.fixture
def environ(valkey, sqlite_template, tmp_path):
    (tmp_path / "ledger.db").write_bytes(sqlite_template.read_bytes())
    return configured(tmp_path, valkey.url, ledger={"url": f"sqlite:///{tmp_path / 'ledger.db'}"})


def calls(path: str, command: Command):
    """Yield arguments for a command: none, each value for all arguments, each option with each value."""
    required = [one for one in command.params if isinstance(one, Argument) or one.required]
    yield []
    for value in VALUES:
        yield [part for one in required for part in given(one, value)]
    for option in command.params:
        if not isinstance(option, Option) or option.name == "help":
            continue
        others = [part for one in required if one is not option for part in given(one, "1")]
        for value in ("",) if option.is_flag else (*VALUES, *choices(option)):
            yield [*others, option.opts[0], *([] if option.is_flag else [value] * option.nargs)]


def given(one, value):
    values = [value] * max(one.nargs, 1)
    return values if isinstance(one, Argument) else [one.opts[0], *values]


def choices(option):
    return option.type.choices[:2] if isinstance(option.type, Choice) else ()


@pytest.mark.parametrize(("path", "command"), [pytest.param(*one, id=one[0]) for one in leaves()])
def test_no_command_ends_in_a_traceback(environ, tmp_path, monkeypatch, path, command):
    monkeypatch.chdir(tmp_path)
    faults = []
    for given_to_it in calls(path, command):
        arguments = [*given_to_it, *(["--config", "/nowhere"] if path in SERVERS else [])]
        with own_logging():
            result = CliRunner().invoke(commands, [*path.split(), *arguments], env=environ, input="")
        errors = [line for line in result.output.splitlines() if line.startswith("Error: ")]
        if result.exception and not isinstance(result.exception, SystemExit):
            faults.append((arguments, repr(result.exception)))
        elif "Traceback" in result.output or len(errors) > 1 or (result.exit_code == 2 and not errors):
            faults.append((arguments, result.output[-300:]))
    assert faults == []
