"""Files, environment, and which wins."""

import json

import pytest
from support_installation import key

from otp_service.errors import ConfigurationError
from otp_service.settings import load_settings
from otp_service.settings.sources import merge, read_environment, read_file

KEYS = {"OTP_SERVICE_ROOT_KEYS": f"k1:{key()}", "OTP_SERVICE_PSEUDONYM_KEY": key()}
DEVELOPMENT = {**KEYS, "OTP_SERVICE__ENVIRONMENT": "development"}


def refused(*arguments, **named):
    with pytest.raises(ConfigurationError) as refusal:
        load_settings(*arguments, **named)
    return str(refusal.value)


def test_environment_wins_over_the_file_member_by_member(tmp_path):
    file = tmp_path / "otp.toml"
    file.write_text('[http]\nport = 1000\nthreads = 3\n[limits]\nip = ["1/day", "1/hour"]\n')
    environ = {
        **DEVELOPMENT,
        "OTP_SERVICE_CONFIG": str(file),
        "OTP_SERVICE__HTTP__PORT": "2000",
        "OTP_SERVICE__LIMITS__IP": '["7/day"]',
    }
    settings = load_settings(environ=environ)
    assert (settings.http.port, settings.http.threads, settings.limits.ip) == (2000, 3, ("7/day",))


def test_json_is_read_by_its_suffix(tmp_path):
    file = tmp_path / "otp.json"
    file.write_text(json.dumps({"http": {"port": 1000}}))
    assert load_settings(file, DEVELOPMENT).http.port == 1000


def test_the_environment_alone_is_enough():
    environ = {**DEVELOPMENT, "OTP_SERVICE__GATEWAYS__MINE__KIND": "sandbox"}
    assert load_settings(environ=environ).gateways["mine"].kind == "sandbox"


def test_a_secret_comes_from_the_file_that_a_variable_names(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(f"{DEVELOPMENT['OTP_SERVICE_PSEUDONYM_KEY']}\n")
    address = tmp_path / "url"
    address.write_text("redis://user:pw@elsewhere/1\n")
    environ = {name: value for name, value in DEVELOPMENT.items() if name != "OTP_SERVICE_PSEUDONYM_KEY"} | {
        "OTP_SERVICE_PSEUDONYM_KEY_FILE": str(secret),
        "OTP_SERVICE__REDIS__URL_FILE": str(address),
    }
    settings = load_settings(environ=environ)
    assert settings.keys.pseudonym.get_secret_value() == DEVELOPMENT["OTP_SERVICE_PSEUDONYM_KEY"]
    assert settings.redis.url.get_secret_value() == "redis://user:pw@elsewhere/1"


@pytest.mark.parametrize("name", ["OTP_SERVICE_ROOT_KEYS", "OTP_SERVICE__REDIS__URL"])
def test_a_variable_in_both_forms_is_refused(name, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    environ = {**DEVELOPMENT, name: "hunter2", f"{name}_FILE": str(secret)}
    assert refused(environ=environ) == f"{name} and {name}_FILE are both set: remove either."


def test_an_unreadable_empty_or_binary_secret_file_is_refused(tmp_path):
    name, file = "OTP_SERVICE__REDIS__URL_FILE", tmp_path / "secret"
    environ = {**DEVELOPMENT, name: str(file)}
    assert refused(environ=environ) == f"{name}: {file} cannot be read: No such file or directory."
    file.write_text("\n")
    assert refused(environ=environ) == f"{name}: {file} is empty."
    file.write_bytes(b"\xff\xfe")
    assert refused(environ=environ) == f"{name}: {file} is not text."


def test_an_empty_variable_counts_as_not_set():
    environ = {**DEVELOPMENT, "OTP_SERVICE__HTTP__PORT": "", "OTP_SERVICE_ROOT_KEYS_FILE": ""}
    assert load_settings(environ=environ).http.port == 8080


def test_a_misspelt_section_in_the_environment_is_told():
    assert refused(environ={**DEVELOPMENT, "OTP_SERVICE__REDSI__URL": "hunter2"}) == (
        'redsi: there is no such setting. Did you mean "redis"?'
    )


def test_variables_of_others_are_left_alone():
    """Kubernetes sets such variables for a service that is called ``otp`` or ``otp-service``."""
    assert read_environment({"OTP_SERVICE_SERVICE_HOST": "10.0.0.1", "OTP_SERVICE_PORT": "tcp://10.0.0.1"}) == {}


def test_broken_json_in_a_variable_is_told_without_its_value():
    with pytest.raises(ConfigurationError, match=r"^OTP_SERVICE__ROUTES: starts like JSON but is not\.$"):
        read_environment({"OTP_SERVICE__ROUTES": "[hunter2"})


def test_variables_that_contradict_each_other_are_told():
    whole_and_part = {"OTP_SERVICE__HTTP": '{"port": 80}', "OTP_SERVICE__HTTP__PORT__X": "1"}
    with pytest.raises(ConfigurationError, match="OTP_SERVICE__HTTP__PORT__X"):
        read_environment(whole_and_part)


@pytest.mark.parametrize(("member", "variable"), [("root", "ROOT_KEYS"), ("pseudonym", "PSEUDONYM_KEY")])
def test_a_key_in_the_configuration_file_is_refused(tmp_path, member, variable):
    file = tmp_path / "otp.toml"
    file.write_text(f'[keys]\n{member} = "hunter2"\n')
    assert refused(file, KEYS) == (
        f"{file}: keys.{member} does not belong in a configuration file: set OTP_SERVICE_{variable}_FILE."
    )


@pytest.mark.parametrize(("name", "text"), [("a.toml", "[http\n"), ("a.json", "{"), ("a.json", "[]")])
def test_a_malformed_file_is_told_with_its_name(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    assert refused(file, KEYS).startswith(f"{file}: ")


def test_a_missing_file_is_told(tmp_path):
    file = tmp_path / "absent.toml"
    assert refused(file, KEYS) == f"{file}: cannot be read: No such file or directory."
    assert refused(environ={**KEYS, "OTP_SERVICE_CONFIG": str(file)}).startswith(f"{file}: cannot be read")


def test_a_text_that_is_not_unicode_is_told(tmp_path):
    file = tmp_path / "otp.toml"
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"otp\.toml"):
        read_file(file)


def test_merging_goes_table_by_table_and_replaces_lists():
    below = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    assert merge(below, {"a": {"y": [3]}, "c": 2}) == {"a": {"x": 1, "y": [3]}, "b": 1, "c": 2}
    assert below == {"a": {"x": 1, "y": [1, 2]}, "b": 1}


def test_a_variable_finds_a_member_whatever_its_case():
    assert merge({"headers": {"Authorization": "a"}}, {"headers": {"authorization": "b"}}) == {
        "headers": {"Authorization": "b"}
    }
