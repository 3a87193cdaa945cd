"""Kinds of gateways are found by entry points, one at a time, and faults are told in words."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
from support_installation import tree

from otp_service import plugins
from otp_service.cli.process_setup import reload_installation
from otp_service.errors import ConfigurationError
from otp_service.gateways.base import GATEWAY_ENTRY_POINTS, GATEWAY_KINDS
from otp_service.gateways.console import ConsoleGateway
from otp_service.settings import settings_from

CONSOLE = "otp_service.gateways.console:ConsoleGateway"


@pytest.fixture
def installed(monkeypatch):
    """Let entry points be those that a test names."""

    def install(**claims):
        found = [EntryPoint(name, value, GATEWAY_ENTRY_POINTS) for name, values in claims.items() for value in values]
        monkeypatch.setattr(plugins, "installed_entry_points", lambda _group: found)

    return install


def test_all_kinds_of_ours_are_known():
    assert set(GATEWAY_KINDS.names()) >= {"console", "http", "sandbox", "twilio"}
    assert GATEWAY_KINDS.find("console") is ConsoleGateway


def test_naming_one_kind_imports_no_other():
    program = (
        "import sys; from otp_service.gateways.base import GATEWAY_KINDS;"
        "GATEWAY_KINDS.names(); GATEWAY_KINDS.find('console');"
        "print([name for name in ('twilio', 'requests', 'pytest') if name in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert finished.stdout.strip() == "[]"


def test_an_unknown_kind_is_told_the_known_ones():
    with pytest.raises(ConfigurationError, match=r"no gateway of kind 'twillio'; there are: .*console, .*twilio"):
        GATEWAY_KINDS.find("twillio")


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("nowhere_to_be_found:Gateway", "needs the package 'nowhere_to_be_found', which is not installed"),
        ("otp_service.gateways.sandbox:Nothing", "cannot be imported"),
        ("otp_service.gateways.base:Accepted", "is not a gateway: it lacks kind, channels"),
        (CONSOLE, "has the kind 'console', but its entry point is 'acme'"),
    ],
)
def test_a_package_that_brings_no_gateway_is_told_what_is_wrong(installed, value, word):
    installed(acme=[value])
    with pytest.raises(ConfigurationError, match=word):
        GATEWAY_KINDS.find("acme")


def test_a_kind_cannot_be_taken_over_by_another_package(installed):
    installed(console=[CONSOLE, "strange_package:ConsoleGateway"])
    with pytest.raises(ConfigurationError, match="More than one package brings a gateway of kind 'console'"):
        GATEWAY_KINDS.find("console")


@pytest.fixture
def _looks_again_afterwards():
    yield
    plugins.forget_installed_entry_points()


@pytest.mark.usefixtures("_looks_again_afterwards")
def test_a_package_that_is_installed_meanwhile_is_found_at_a_reload(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    assert "acme" not in GATEWAY_KINDS.names()
    package = tmp_path / "acme-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(f"[{GATEWAY_ENTRY_POINTS}]\nacme = acme:Gateway\n")
    reload_installation(tmp_path / "missing.toml", settings_from(tree("redis://localhost:1/0")), ())

    assert "acme" in GATEWAY_KINDS.names()


def test_a_package_that_is_found_twice_is_one_package(installed):
    installed(console=[CONSOLE, CONSOLE])

    assert GATEWAY_KINDS.find("console") is ConsoleGateway
