"""``config/otp_service.toml`` is an installation to begin with."""

import re

import pytest
from support_installation import key
from support_refusals import PSEUDONYM, ROOTS
from support_sources import ROOT

from otp_service.errors import StartRefusedError
from otp_service.settings import load_settings

SAMPLE = ROOT / "config" / "otp_service.toml"
TEXT = SAMPLE.read_text(encoding="utf-8")


@pytest.fixture
def environ(tmp_path):
    """Return the variables that the file tells of, each naming a file with a secret."""
    own = {
        ROOTS: f"k1:{key()}",
        PSEUDONYM: key(),
        "OTP_SERVICE__REDIS__URL": "redis://:a-long-word-of-ours@localhost/0",
    }
    variables = {"OTP_SERVICE_CONFIG": str(SAMPLE)}
    for name in re.findall(r"^#   (OTP_\w+)_FILE", TEXT, re.MULTILINE):
        file = tmp_path / name
        file.write_text(own.get(name, "sqlite:////tmp/ledger.db" if name.endswith("LEDGER__URL") else key()))
        file.chmod(0o600)
        variables[f"{name}_FILE"] = str(file)
    return variables


def test_with_the_secrets_that_it_names_it_is_what_production_accepts(environ):
    settings = load_settings(environ=environ)

    assert settings.environment == "production"
    assert settings.applications.keys() == {"shop"}
    assert len(environ) == 7


@pytest.mark.parametrize("name", [ROOTS, PSEUDONYM])
def test_without_a_key_that_it_names_it_is_refused(name, environ):
    del environ[f"{name}_FILE"]

    with pytest.raises(StartRefusedError, match="key-missing"):
        load_settings(environ=environ)
