"""What ``command`` makes of a function: what it knows, what it asks for, and what is printed when it fails."""

import os

import click
import pytest
from click.testing import CliRunner
from support_cli import configured, own_logging, run

from otp_service.cli import output as out
from otp_service.cli.common import command
from otp_service.errors import ConfigurationError, LedgerUnavailableError

CLUB = 'name = "Acme Club"\npurposes = ["login"]\ncountries = ["PK"]\nregion = "PK"\n'


def told(environ, **traits):
    """Return what a command of these traits tells of the applications that it knows."""

    @command(**traits)
    def tell(session):
        click.echo(" ".join(sorted(session.context.applications)))

    others = {name: None for name in os.environ if name.startswith("OTP_SERVICE")}
    with own_logging():
        result = CliRunner().invoke(tell, env=others | environ)
    if result.exception:
        raise result.exception
    return result


def test_a_command_knows_the_applications_of_the_ledger_where_it_says_so(tmp_path):
    file = tmp_path / "club.toml"
    file.write_text(CLUB)
    environ = configured(tmp_path, "redis://127.0.0.1:1/0", ledger={"url": f"sqlite:///{tmp_path / 'ledger.db'}"})
    assert run("application", "add", "club", str(file), environ=environ).exit_code == 0

    assert "club" not in told(environ).stdout
    assert "club" in told(environ, applications=True).stdout
    assert "club" in told(environ, access=True).stdout


def test_a_ledger_that_is_away_is_a_warning_but_for_who_may_call(tmp_path):
    away = {"url": "postgresql://otp@127.0.0.1:1/otp", "upgrade": False}
    environ = configured(tmp_path, "redis://127.0.0.1:1/0", ledger=away)

    assert told(environ).stderr == ""
    assert "Only the applications of the configuration are known." in told(environ, applications=True).stderr
    with pytest.raises(LedgerUnavailableError):
        told(environ, access=True)


def test_a_foreseen_error_leaves_nothing_of_a_document_that_had_begun():
    @command()
    def halfway(_):
        out.in_json(first=1)
        raise ConfigurationError("The second half is missing.")

    result = CliRunner().invoke(halfway, ["--json"])
    assert isinstance(result.exception, ConfigurationError)
    assert result.stdout == ""
