"""deploy/systemd fits the code: commands, settings, keys, times; and systemd finds little to say against it."""

import shutil
import subprocess
from collections import defaultdict

import click
import pytest
from support_sources import ROOT

from otp_service.cli.child_processes import KILL_AFTER
from otp_service.cli.main import commands
from otp_service.domain.keyring import new_key
from otp_service.settings import load_settings

FOLDER = ROOT / "deploy" / "systemd"
SHARED = FOLDER / "otp-service-.service.d" / "all.conf"
UNITS = {"api": "otp-service-api", "worker": "otp-service-worker@", "console": "otp-service-console"}
EXPOSURE = 13
"""The most that systemd may find, of 100: what is left are the network and the host's files."""


def _unit(name):
    """Return all values of each directive, those that all units share first."""
    found = defaultdict(list)
    for path in (SHARED, FOLDER / f"{UNITS[name]}.service"):
        for line in path.read_text().splitlines():
            if "=" in line and not line.startswith("#"):
                directive, _, value = line.partition("=")
                found[directive].append(value)
    return found


def _settings(name, folder):
    unit, variables = _unit(name), {}
    credentials = dict(one.split(":") for one in unit["LoadCredential"])
    files = {
        "redis-url": "rediss://otp:Zx9qLw3Rt7Vb2Nm5@redis.example.com:6379/0",
        "ledger-url": "postgresql://otp:Zx9qLw3Rt7Vb2Nm5@db.example.com/otp?sslmode=verify-full",
        "pseudonym-key": new_key(),
        "root-keys": f"k1:{new_key()}",
    }
    for variable, _, value in (one.partition("=") for one in unit["Environment"]):
        variables[variable] = value.replace("%i", "9091")
        if value.startswith("%d/"):
            credential = value.removeprefix("%d/")
            assert credentials[credential] == f"/etc/otp-service/{credential}"
            (folder / credential).write_text(files[credential])
            (folder / credential).chmod(0o600)
            variables[variable] = str(folder / credential)
    gateways = {
        "OTP_SERVICE__GATEWAYS__PRIMARY__AUTH_TOKEN": new_key(),
        "OTP_SERVICE__GATEWAYS__BACKUP__API_SECRET": new_key(),
    }
    assert variables.pop("OTP_SERVICE_CONFIG") == "/etc/otp-service/otp_service.toml"
    return load_settings(ROOT / "config" / "otp_service.toml", variables | gateways, root_keys=name != "console")


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_starts_a_command_with_what_it_is_given(name, tmp_path):
    program, command = _unit(name)["ExecStart"][0].split()
    settings = _settings(name, tmp_path)

    assert program == "/opt/otp-service/bin/otp-service"
    assert command in commands.list_commands(click.Context(commands))
    assert bool(settings.keyring().root_ids) is (name != "console")
    assert settings.redis.shown_url == "rediss://redis.example.com:6379/0"


def test_the_console_is_another_user_who_reads_no_credential_of_the_others():
    users = {name: _unit(name)["User"] for name in UNITS}

    assert users["api"] == users["worker"] == ["otp-service"]
    assert users["console"] == ["otp-service-console"]


def test_a_unit_has_the_time_to_end_that_the_same_process_has_in_kubernetes_or_needs(tmp_path):
    ends = {name: int(_unit(name)["TimeoutStopSec"][0]) for name in UNITS}

    assert ends["api"] > _settings("api", tmp_path).http.shutdown_delay + KILL_AFTER
    assert ends["console"] > KILL_AFTER
    assert (
        f"terminationGracePeriodSeconds: {ends['worker']}\n"
        in (ROOT / "deploy/kubernetes/base/worker.yaml").read_text()
    )


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze, though nothing that runs it")
@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_a_unit_and_finds_it_closed(name, tmp_path):
    shutil.copytree(FOLDER, tmp_path / "etc/systemd/system")
    unit = f"{UNITS[name]}{'9091' if name == 'worker' else ''}.service"

    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", f"--root={tmp_path}", unit]
    told = subprocess.run(command, check=False, capture_output=True, text=True)

    assert (told.returncode, told.stderr) == (0, ""), told.stdout
