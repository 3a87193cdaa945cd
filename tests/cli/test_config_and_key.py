"""``config`` and ``key``."""

import json
import re
import tomllib

import pytest
from support_cli import configured, run

from otp_service.cli.main import COMMANDS
from otp_service.domain.keyring import api_key_hash, parse_key, parse_root_keys
from otp_service.settings import settings_from

URL = "redis://:hunter2@localhost:1/0"


def test_config_check_says_what_there_is(tmp_path):
    result = run("config", "check", environ=configured(tmp_path, URL))
    assert (result.exit_code, result.output) == (
        0,
        "The configuration is complete: development, 2 applications, 2 purposes, 1 gateway.\n",
    )


def test_config_check_lists_the_faults_and_fails(tmp_path):
    result = run("config", "check", environ=configured(tmp_path, URL, http={"port": 0, "prot": 1}))
    assert result.exit_code == 1
    assert result.output == (
        "Error: 2 faults:\n"
        "  http.port: input should be greater than or equal to 1.\n"
        '  http.prot: there is no such setting. Did you mean "port"?\n'
    )


def test_a_single_fault_is_one_sentence(tmp_path):
    result = run("config", "check", environ=configured(tmp_path, URL, http={"prot": 1}))
    assert (result.exit_code, result.output) == (
        1,
        'Error: http.prot: there is no such setting. Did you mean "port"?\n',
    )


def test_config_show_prints_toml_that_means_the_same_but_for_its_secrets(tmp_path):
    environ = configured(tmp_path, URL, routes=[{"gateways": ["sandbox"], "countries": ["PK"]}])
    result = run("config", "show", environ=environ)
    assert result.exit_code == 0
    assert "hunter2" not in result.output
    assert environ["OTP_SERVICE_PSEUDONYM_KEY"] not in result.output
    shown = tomllib.loads(result.output)
    assert shown["redis"]["url"] == "redis://localhost:1/0"
    assert shown["http"]["processes"] == 2
    assert shown == json.loads(run("config", "show", "--json", environ=environ).output)
    shown["keys"] = {
        "root": environ["OTP_SERVICE_ROOT_KEYS"],
        "pseudonym": environ["OTP_SERVICE_PSEUDONYM_KEY"],
    }
    assert settings_from(shown).redacted()["routes"] == shown["routes"]


def test_a_config_option_wins_over_the_variable(tmp_path):
    environ = configured(tmp_path, URL)
    other = tmp_path / "other.toml"
    other.write_text("[http]\nport = 0\n")
    assert "http.port" in run("config", "check", "--config", str(other), environ=environ).output


def test_key_new_prints_a_key_and_the_hash_that_belongs_to_it():
    result = run("key", "new", "shop")
    api_key, line = result.stdout.splitlines()
    assert line == f'keys = ["{api_key_hash(api_key)}"]'
    assert "[applications.shop]" in result.stderr
    assert run("key", "new", "shop").stdout.splitlines()[0] != api_key


def test_a_name_that_no_application_may_have_is_wrong_usage():
    result = run("key", "new", "Shop 1")
    assert result.exit_code == 2
    assert "1 to 32" in result.output


def test_installation_keys_are_fit_for_use():
    assert parse_key(run("key", "pseudonym").stdout)
    assert re.fullmatch(r"k\d{4}", next(iter(parse_root_keys(run("key", "root").stdout))))
    assert next(iter(parse_root_keys(run("key", "root", "--id", "abc").stdout))) == "abc"


def test_the_help_of_a_root_key_tells_both_steps_of_a_rotation_in_order():
    told = " ".join(run("key", "root", "--help").output.split())
    accept, activate = (
        told.index("at the end of the file that OTP_SERVICE_ROOT_KEYS_FILE names"),
        told.index("move it to the front"),
    )
    assert accept < activate
    assert "docs/operations.md" in told


@pytest.mark.parametrize("key_id", ["", "Ab", "a-b", "123456789"])
def test_a_root_key_id_that_cannot_stand_in_an_identifier_is_wrong_usage(key_id):
    result = run("key", "root", "--id", key_id)
    assert result.exit_code == (0 if not key_id else 2)


@pytest.mark.parametrize(
    "command", ["dev", "serve", "worker", "doctor", "config", "application", "key", "gateway", "limits", "send"]
)
def test_every_command_has_help(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_no_summary_is_cut_off(command):
    assert not re.search(r"\.\.\.$", run(*command, "--help").output.partition("Commands:")[2], re.MULTILINE)


def test_an_unknown_command_is_wrong_usage():
    assert run("nope").exit_code == 2
