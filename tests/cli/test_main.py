"""What the command line says to who misspells a word, and what it offers to a shell that completes one."""

import subprocess
import sys
from pathlib import Path

import pytest
from support_cli import configured, run

PROGRAM = Path(sys.executable).parent / "otp-service"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("gatway list", "'gateway'"),
        ("dead-leters", "'dead-letters'"),
        ("gateway paus sandbox", "'pause'"),
        ("subject exprot x", "'export'"),
        ("gateway list --jsno", "'--json'"),
    ],
)
def test_a_misspelt_command_gets_a_suggestion(typed, meant):
    result = run(*typed.split())

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Did you mean" in result.stderr
    assert meant in result.stderr


def test_a_word_that_is_like_none_gets_no_suggestion():
    assert run("xyzzy").stderr.endswith("Error: No such command 'xyzzy'.\n")


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"redsi": {}}, 'redsi: there is no such setting. Did you mean "redis"?'),
        (
            {"purposes": {"pay": {"max_chekcs": 3}}},
            'purposes.pay.max_chekcs: there is no such setting. Did you mean "max_checks"?',
        ),
        (
            {"routes": [{"gateways": ["sandbox"], "contries": ["PK"]}]},
            'routes.0.contries: there is no such setting. Did you mean "countries"?',
        ),
        (
            {"guard": {"number": {"coldown": [3]}}},
            'guard.number.coldown: there is no such setting. Did you mean "cooldown"?',
        ),
        (
            {"gateways": {"sandbox": {"kind": "sandbox", "max_in_fligth": 3}}},
            'gateways.sandbox.max_in_fligth: there is no such setting. Did you mean "max_in_flight"?',
        ),
        ({"http": {"xyzzy": 3}}, "http.xyzzy: there is no such setting."),
        (
            {"guard": {"modes": {"number.lokc": "off"}}},
            'guard.modes.number.lokc: is not a rule. Did you mean "number.lock"? otp-service guard rules lists them.',
        ),
    ],
)
def test_a_misspelt_setting_gets_a_suggestion_from_its_own_section(tmp_path, sections, line):
    result = run("config", "check", environ=configured(tmp_path, "redis://127.0.0.1:1/0", **sections))

    assert (result.exit_code, result.stderr) == (1, f"Error: {line}\n")


def test_a_misspelt_variable_gets_a_suggestion_too(tmp_path):
    environ = configured(tmp_path, "redis://127.0.0.1:1/0") | {"OTP_SERVICE__HTTP__PROT": "80"}

    assert 'http.prot: there is no such setting. Did you mean "port"?' in run("config", "check", environ=environ).stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(shell):
    made = _complete(f"{shell}_source")

    assert "_OTP_SERVICE_COMPLETE" in made
    assert "otp-service" in made


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("otp-service gat", {"gateway"}),
        ("otp-service gateway re", {"resume"}),
        ("otp-service gateway status --j", {"--json"}),
        ("otp-service send --channel s", {"sms"}),
    ],
)
def test_words_are_completed(typed, offered):
    words = typed.split()
    lines = _complete("bash_complete", COMP_WORDS=typed, COMP_CWORD=str(len(words) - 1)).splitlines()

    assert {line.partition(",")[2] for line in lines} == offered


def _complete(what, **variables):
    environ = {"PATH": "/usr/bin:/bin", "_OTP_SERVICE_COMPLETE": what, **variables}
    made = subprocess.run([str(PROGRAM)], env=environ, capture_output=True, text=True, timeout=60, check=False)
    return made.stdout
