"""What ``dev`` keeps and configures, without starting anything."""

import json
import os
import shlex
import socket
import stat
import subprocess
import sys

import pytest
from support_cli import run, start

from otp_service.api.verifications import StartBody
from otp_service.cli import dev as cli_dev
from otp_service.cli.child_processes import check_port, url_of
from otp_service.cli.dev import (
    BEHAVIOURS,
    CASES,
    NUMBER,
    NUMBER_PREFIX,
    _own_address,
    _without_proxy,
    extension_servers,
    guide,
)
from otp_service.console.extension import EXTENSION, dev_guide
from otp_service.domain.keyring import api_key_hash
from otp_service.domain.numbers import parse_destination
from otp_service.errors import ConfigurationError
from otp_service.settings import load_settings, settings_from
from otp_service.settings.sources import merge, read_environment

KEY = "otp_a key with 'quotes'"


def settings_of(configured, tmp_path):
    table = cli_dev.merge_settings(configured, KEY)
    keys, _ = cli_dev.key_variables(tmp_path, {})
    return load_settings(environ={**keys, **cli_dev.write_configuration(tmp_path, table)})


def test_a_shell_of_another_folder_is_told_so_in_words(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    environ, _ = cli_dev.key_variables(one, {})
    environ |= cli_dev.write_configuration(one, {})
    cli_dev.write_environment(one, environ)
    cli_dev.require_own(one, environ)
    for name, value in environ.items():
        with pytest.raises(ConfigurationError) as told:
            cli_dev.require_own(other, {name: value})
        assert str(told.value).startswith(f"This shell has read {one / 'env'}: {name} names a file of {one}, and")
        assert f"--data-dir is {other}" in str(told.value)
    refused = subprocess.run(
        [sys.executable, "-m", "otp_service.cli.main", "dev", "--data-dir", str(other)],
        env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (refused.returncode, "This shell has read" in refused.stderr) == (1, True)
    assert not other.exists()

    keys = tmp_path / "keys-of-his-own"
    keys.write_text("k1:x")
    cli_dev.require_own(other, {"OTP_SERVICE_ROOT_KEYS_FILE": str(keys)})


def test_the_defaults_are_those_that_are_promised(tmp_path):
    settings = settings_of({}, tmp_path)
    application = settings.named_applications["dev"]
    assert settings.environment == "development"
    assert application.purposes == {"login", "payment"}
    assert (application.countries, application.region, application.client_ip) == (None, "PK", "connection")
    assert settings.application_of_key == {api_key_hash(KEY): application}
    assert settings.http.port == 8080
    assert settings.http.metrics_on_same_port
    assert {name: gateway.kind for name, gateway in settings.gateways.items()} == {"sandbox": "sandbox"}
    assert settings.named_purposes["payment"].max_checks == 3


def test_a_file_is_laid_over_the_defaults_table_by_table_and_lists_are_replaced(tmp_path):
    configured = {
        "purposes": {"login": {"resend_delays": [1]}, "signup": {}},
        "applications": {"dev": {"purposes": ["signup"]}},
        "limits": {"number": ["1000/hour"]},
    }
    settings = settings_of(configured, tmp_path)
    assert settings.purposes["login"].resend_delays == (1,)
    assert settings.purposes["login"].max_sends == 3
    assert settings.named_applications["dev"].purposes == {"signup"}
    assert settings.named_applications["dev"].region == "PK"
    assert settings.limits.number == ("1000/hour",)
    assert settings.limits.failed_checks == ("10/day",)


def test_a_number_that_goes_wrong_is_a_mobile_number_of_pakistan_and_nobody_else_s():
    numbers = [f"{NUMBER_PREFIX}{middle}{digits}" for middle in ("00", "99") for digits in BEHAVIOURS]
    assert {parse_destination(number, None).country for number in numbers} == {"PK"}
    assert len({number[:-4] for number in numbers}) == 1, "they are one block"
    assert all(case["to"] == f"{NUMBER_PREFIX}*{digits}" for case, digits in zip(CASES, BEHAVIOURS, strict=True))
    assert all(len(digits) == 2 for digits in BEHAVIOURS)


def test_a_sandbox_that_the_file_changes_keeps_its_numbers_unless_the_file_has_others(tmp_path):
    sandbox = settings_of({"gateways": {"sandbox": {"fail": "fraud"}}}, tmp_path).gateways["sandbox"].settings
    assert (sandbox.fail, len(sandbox.cases)) == ("fraud", len(BEHAVIOURS))
    sandbox = settings_of({"gateways": {"sandbox": {"cases": []}}}, tmp_path).gateways["sandbox"].settings
    assert sandbox.cases == ()


def test_a_gateway_of_another_kind_takes_the_sandbox_s_place(tmp_path):
    settings = settings_of({"gateways": {"sandbox": {"kind": "console", "timeout": 2}}}, tmp_path)
    assert settings.gateways["sandbox"].kind == "console"


def test_every_sandbox_signs_its_reports_with_a_secret_of_its_own_unless_the_file_has_one(tmp_path):
    report = {"kind": "sandbox", "report": "delivered"}
    gateways = {"first": report, "second": report, "third": {**report, "receipt_secret": "mine"}}
    settings = settings_of({"gateways": {**gateways, "printer": {"kind": "console"}}}, tmp_path)
    made = {
        name: gateway.settings.receipt_secret.get_secret_value()
        for name, gateway in settings.gateways.items()
        if gateway.kind == "sandbox"
    }
    assert made.pop("third") == "mine"
    assert set(made) == {"sandbox", "first", "second"}
    assert len(set(made.values())) == 3
    assert all(len(secret) >= 32 for secret in made.values())


HTTP = {"kind": "http", "url": "https://sms.example/send"}


@pytest.mark.parametrize(
    ("configured", "to_itself"),
    [
        ({}, True),
        ({"gateways": {"printer": {"kind": "console"}}}, True),
        ({"applications": {"dev": {"proofs": True, "page_return_urls": ["http://localhost/back"]}}}, True),
        ({"gateways": {"real": HTTP}}, False),
        ({"http": {"public_url": "https://otp.example"}}, False),
    ],
)
def test_its_address_is_this_machines_where_nothing_is_really_sent(configured, to_itself, tmp_path):
    keys, _ = cli_dev.key_variables(tmp_path, {})
    given = merge(merge(cli_dev.merge_settings(configured, KEY), {"http": {"port": 8081}}), read_environment(keys))

    own = {"http": {"public_url": "http://127.0.0.1:8081"}}
    assert _own_address(given) == (own if to_itself else {})


@pytest.mark.parametrize(
    ("environ", "listed"),
    [
        ({}, ["127.0.0.1"]),
        ({"no_proxy": "intranet.example"}, ["intranet.example", "127.0.0.1"]),
        ({"NO_PROXY": "intranet.example"}, ["intranet.example", "127.0.0.1"]),
        ({"no_proxy": "*"}, ["*"]),
    ],
)
def test_no_proxy_stands_between_a_report_and_this_machine(environ, listed):
    given = (environ | _without_proxy(environ))["no_proxy"].split(",")
    assert [name for name in given if name in {*listed}] == listed


def test_the_printed_key_works_whatever_keys_the_file_has(tmp_path):
    other = f"sha256:{'0' * 64}"
    settings = settings_of({"applications": {"dev": {"keys": [other]}}}, tmp_path)
    assert set(settings.application_of_key) == {other, api_key_hash(KEY)}


def test_the_defaults_are_not_changed_by_use():
    for configured in ({}, {"http": {"port": 1}}, {"applications": {"dev": {"name": "Mine"}}}):
        cli_dev.merge_settings(configured, KEY)
    assert cli_dev.DEFAULTS["applications"]["dev"]["keys"] == []


@pytest.mark.parametrize("configured", [{"applications": 1}, {"applications": {"dev": 1}}, {"redis": 1}, {"http": []}])
def test_a_file_of_the_wrong_shape_is_told_with_a_path(configured, tmp_path):
    with pytest.raises(ConfigurationError, match=next(iter(configured))):
        settings_of(configured, tmp_path)


def test_keys_are_made_once_for_this_user_only_and_kept(tmp_path):
    first, made = cli_dev.key_variables(tmp_path, {})
    assert made
    assert set(first) == {"OTP_SERVICE_ROOT_KEYS_FILE", "OTP_SERVICE_PSEUDONYM_KEY_FILE"}
    for path in map(tmp_path.joinpath, ("root-keys", "pseudonym-key")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = (tmp_path / "root-keys").read_text()
    assert cli_dev.key_variables(tmp_path, {}) == (first, False)
    assert (tmp_path / "root-keys").read_text() == before


def test_keys_of_the_environment_are_used_instead(tmp_path):
    environ = {"OTP_SERVICE_ROOT_KEYS": "x", "OTP_SERVICE_PSEUDONYM_KEY_FILE": "/y"}
    assert cli_dev.key_variables(tmp_path, environ) == ({}, False)
    assert not list(tmp_path.iterdir())


def test_the_api_key_is_the_one_given_or_the_folder_s(tmp_path):
    assert cli_dev.api_key_of(tmp_path, "mine") == "mine"
    kept = cli_dev.api_key_of(tmp_path, None)
    assert kept.startswith("otp_")
    assert cli_dev.api_key_of(tmp_path, None) == kept
    assert stat.S_IMODE((tmp_path / "api-key").stat().st_mode) == 0o600


def test_a_folder_is_used_by_one_dev_at_a_time(tmp_path):
    folder = tmp_path / "new"
    with cli_dev.lock(folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        with pytest.raises(ConfigurationError, match="Another otp-service dev uses the folder"):
            cli_dev.lock(folder)
    cli_dev.lock(folder).close()


def test_a_folder_that_was_there_is_closed_to_others(tmp_path):
    folder = tmp_path / "old"
    (folder / "valkey").mkdir(parents=True)
    for name in ("valkey/appendonly.aof", "valkey/valkey.conf", "config.json"):
        (folder / name).touch()
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    outside = tmp_path / "outside"
    outside.touch(0o644)
    (folder / "valkey" / "link").symlink_to(outside)
    cli_dev.lock(folder).close()
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (folder, *folder.rglob("*"))}
    assert {name for name, mode in modes.items() if mode == 0o700} == {"old", "valkey"}
    assert {name for name, mode in modes.items() if mode & 0o077} == {"link"}
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644


def test_a_folder_with_things_of_others_is_left_as_it_is(tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "theirs").touch(0o644)
    cli_dev.lock(tmp_path).close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "theirs").stat().st_mode) == 0o644


def test_a_shell_reads_what_the_command_line_needs(tmp_path):
    folder = tmp_path / "it's here"
    folder.mkdir()
    keys, _ = cli_dev.key_variables(folder, {})
    environ = {"HOME": "/x", **keys, **cli_dev.write_configuration(folder, cli_dev.merge_settings({}, KEY))}
    path = cli_dev.write_environment(folder, environ)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    script = '. "$1"; exec env'
    told = subprocess.run(["sh", "-c", script, "-", path], env={}, check=True, capture_output=True, text=True).stdout
    read = dict(line.split("=", 1) for line in told.splitlines() if line.startswith("OTP_SERVICE"))
    assert read.keys() == {*keys, "OTP_SERVICE_CONFIG"}
    assert load_settings(environ=read).keyring()


def test_keys_of_the_user_s_own_are_left_to_the_user_s_shell(tmp_path):
    environ = {"OTP_SERVICE_CONFIG": f"{tmp_path}/config.json", "OTP_SERVICE_ROOT_KEYS_FILE": "/run/secrets/mine"}
    text = cli_dev.write_environment(tmp_path, environ).read_text()
    assert text == f"export OTP_SERVICE_CONFIG={tmp_path}/config.json\n"


def test_the_configuration_that_is_written_may_be_read_by_this_user_only(tmp_path):
    settings_of({}, tmp_path)
    assert stat.S_IMODE((tmp_path / "config.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),  # noqa: S104 - where another listens
        ("::", "http://[::1]:80"),
        ("localhost", "http://localhost:80"),
    ],
)
def test_a_service_is_reached_where_it_listens(host, url):
    assert url_of(host, 80) == url


def test_a_port_that_may_not_be_used_is_told(tmp_path):
    with pytest.raises(ConfigurationError, match=r"Port 1 of 203\.0\.113\.1 cannot be used: .*\. Choose another"):
        check_port("203.0.113.1", 1)


@pytest.mark.parametrize("command", [("doctor",), ("find", "+923001234567"), ("config", "check")])
def test_who_has_not_read_the_environment_of_make_run_is_told(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    hint = "For the service of make run in this folder, read its settings first: . .otp-service/env\n"
    assert hint not in run(*command).output

    (tmp_path / ".otp-service").mkdir()
    (tmp_path / ".otp-service" / "env").touch()

    told = run(*command)
    assert told.exit_code == 1
    assert told.output.endswith(hint)
    (tmp_path / "unsafe.toml").write_text('environment = "production"')
    process = start("dev", "--config", "unsafe.toml", cwd=tmp_path)  # of its own: it sets the umask and signals
    assert process.communicate(timeout=60)[0].endswith("docs/refusals.md explains the names in brackets.\n")


def guide_of(configured, tmp_path):
    keys = {"keys": {"root": f"k:{_material(tmp_path)}", "pseudonym": _material(tmp_path)}}
    settings = settings_from(merge(cli_dev.merge_settings(configured, KEY), keys))
    return guide("http://x", KEY, settings, tmp_path / "my data" / "env")


def _material(tmp_path):
    cli_dev.key_variables(tmp_path, {})
    return (tmp_path / "pseudonym-key").read_text().strip()


def test_the_guide_s_lines_can_be_pasted_whatever_the_key(tmp_path):
    text = guide_of({}, tmp_path)
    assert """KEY='otp_a key with '"'"'quotes'"'"''""" in text
    assert '''-d "{\\"code\\": \\"$CODE\\"}"''' in text


def test_the_guide_names_the_command_as_it_was_started(tmp_path, monkeypatch):
    command = tmp_path / "bin" / "otp-service"
    command.parent.mkdir()
    command.touch(0o755)
    for started_as, path, shown in (
        (str(command), "", str(command)),
        (str(command), str(command.parent), "otp-service"),
        ("otp-service", "", "otp-service"),
        (cli_dev.__file__, "", "otp-service"),
    ):
        monkeypatch.setattr(sys, "argv", [started_as])
        monkeypatch.setenv("PATH", path)
        line = next(line for line in guide_of({}, tmp_path).splitlines() if " send " in line)
        assert line == f"  . '{tmp_path}/my data/env'; {shown} send --application dev +923001234567"
    others = {"applications": {"other": {"purposes": ["login"], "countries": ["PK"]}}}
    assert " send --application dev +92" in guide_of(others, tmp_path)


def test_the_guide_s_answers_end_their_lines(tmp_path):
    calls = [line for line in guide_of({}, tmp_path).splitlines() if "curl" in line]
    assert len(calls) == 3
    assert all(r"curl -s -w '\n' http" in line for line in calls)


def test_the_guide_s_start_brings_a_consent_where_one_is_required(tmp_path):
    for mode, members in (("recorded", {"to"}), ("required", {"to", "consent"})):
        dev = {"purposes": ["login"], "countries": ["PK"], "consent": mode}
        text = guide_of({"applications": {"dev": dev}}, tmp_path)
        body = json.loads(next(shlex.split(line)[-1] for line in text.splitlines() if '"to"' in line))
        assert body.keys() == members
        assert StartBody.model_validate(body).to == NUMBER


def test_the_guide_names_a_number_that_goes_wrong_only_where_there_are_some(tmp_path):
    assert f"such as {NUMBER_PREFIX}0011, are in docs/sandbox.md" in guide_of({}, tmp_path)
    assert "docs/sandbox.md" not in guide_of({"gateways": {"sandbox": {"cases": [{"to": "*1"}]}}}, tmp_path)


def test_the_guide_speaks_of_the_sandbox_only_where_there_is_one(tmp_path):
    assert "/v1/sandbox/messages" in guide_of({}, tmp_path)
    gateways = {"gateways": {"sandbox": {"kind": "console"}}}
    assert "/v1/sandbox/messages" not in guide_of(gateways, tmp_path)


def console_of(settings, port, configured):
    return dict(extension_servers(settings, {"console_port": port}, configured))[EXTENSION]


@pytest.mark.parametrize(
    ("members", "has_link"),
    [
        ({}, True),
        ({"public_url": "https://console.example"}, False),
        ({"trusted_proxies": 1}, False),
    ],
)
def test_the_console_has_a_link_where_nobody_else_reaches_it(tmp_path, members, has_link):
    settings = settings_of({"console": members}, tmp_path)
    told = console_of(settings, None, {"console": members})

    assert ("dev_token" in told) is has_link
    assert dev_guide(told).removeprefix("The console, signed in: ") == (
        f"http://localhost:{told['port']}/dev/{told['dev_token']}" if has_link else ""
    )
    assert console_of(settings, None, {})["port"] != settings.http.port
    in_production = settings.model_copy(update={"environment": "production"})
    assert "dev_token" not in console_of(in_production, None, {})


def test_the_console_is_near_the_service_where_a_port_is_free(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        settings = settings_of({"http": {"port": port - 2}}, tmp_path)
        assert console_of(settings, None, {})["port"] not in {port - 2, port}
        with pytest.raises(ConfigurationError, match="--console-port"):
            console_of(settings, port, {})
        chosen = settings_of({"console": {"port": port}}, tmp_path)
        with pytest.raises(ConfigurationError, match=f"Port {port} "):
            console_of(chosen, None, {"console": {"port": port}})
    assert console_of(settings, None, {})["port"] == port
