"""What a package of another author brings, and the service without the console and Twilio's facade."""

import runpy
import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import click
import pytest
from click.testing import CliRunner
from support_api import Api
from support_installation import World, tree
from support_sources import ROOT

from otp_service import plugins
from otp_service.cli.checks import WARN, Diagnosis
from otp_service.cli.doctor import settings_diagnoses
from otp_service.cli.main import COMMAND_ENTRY_POINTS, commands
from otp_service.errors import ConfigurationError
from otp_service.extensions import EXTENSIONS, Extension, load_extensions
from otp_service.settings import settings_from
from otp_service.settings.schema import Section
from otp_service.store.keys import Key, Life, all_keys

OURS = ("otp_service.console", "otp_service.api.twilio")
GREETINGS = Key("otp:{acme}:greetings", "string", "", Life("a minute", 60), "acme", "how often it greeted")


class AcmeSettings(Section):
    """Greets."""

    greeting: str = "hello"
    """The word."""


@click.command()
def greet() -> None:
    """Print a greeting."""
    click.echo("hello from acme")


def acme_diagnoses(settings):
    if settings.acme.greeting == "hey":
        yield Diagnosis(WARN, "acme.greeting", "It is rude.", "Be polite.")


ACME = Extension(
    name="acme",
    settings=AcmeSettings,
    keys=(GREETINGS,),
    checks=acme_diagnoses,
)


@pytest.fixture(autouse=True)
def _installed(monkeypatch):
    """Install the package; leave out the entry points of the console and of Twilio's facade."""
    module = ModuleType("acme_extension")
    module.ACME, module.greet, module.OTHER = ACME, greet, Extension(name="redis", settings=AcmeSettings)
    monkeypatch.setitem(sys.modules, "acme_extension", module)
    brought = [
        EntryPoint("acme", "acme_extension:ACME", EXTENSIONS),
        EntryPoint("acme-greet", "acme_extension:greet", COMMAND_ENTRY_POINTS),
    ]
    real = plugins.installed_entry_points

    def installed(group: str) -> list[EntryPoint]:
        kept = [entry for entry in real(group) if not entry.value.startswith(OURS)]
        return [*kept, *(entry for entry in brought if entry.group == group)]

    monkeypatch.setattr(plugins, "installed_entry_points", installed)


def test_the_service_starts_without_the_console_and_twilios_facade(still_world: World):
    api = Api(still_world)

    started = api.start()
    assert api.post(f"/v1/verifications/{started}/check", {"code": api.code(started)}).json["valid"]
    assert api.get("/twilio/v2/Services").headers["Content-Type"] == "application/problem+json"
    assert [extension.name for extension in load_extensions()] == ["acme"]


def test_an_extension_brings_a_command(still_world: World):
    names = commands.list_commands(click.Context(commands))
    assert "acme-greet" in names
    assert "console" not in names
    assert CliRunner().invoke(commands, ["acme-greet"]).output == "hello from acme\n"
    assert "Print a greeting." in CliRunner().invoke(commands, ["--help"]).output
    assert CliRunner().invoke(commands, ["console"]).exit_code == 2


def test_an_extension_brings_a_section_of_the_settings(still_world: World):
    assert settings_from(tree(still_world.url)).section("acme", AcmeSettings).greeting == "hello"
    polite = settings_from(tree(still_world.url, acme={"greeting": "good day"}))
    assert polite.section("acme", AcmeSettings).greeting == "good day"
    assert polite.redacted()["acme"] == {"greeting": "good day"}
    with pytest.raises(ConfigurationError, match=r"acme\.greting: "):
        settings_from(tree(still_world.url, acme={"greting": "hello"}))
    with pytest.raises(ConfigurationError, match="console: "):
        settings_from(tree(still_world.url, console={"port": 8083}))
    with pytest.raises(ConfigurationError, match="The extension other is not installed"):
        polite.section("other", AcmeSettings)


def test_an_extension_cannot_take_a_section_of_the_service(still_world: World, monkeypatch):
    entry = EntryPoint("redis", "acme_extension:OTHER", EXTENSIONS)
    monkeypatch.setattr(plugins, "installed_entry_points", lambda group: [entry] if group == EXTENSIONS else [])
    with pytest.raises(ConfigurationError, match="a section that is the service's: redis"):
        settings_from(tree(still_world.url))


def test_the_doctor_shows_the_checks_of_an_extension(still_world: World):
    def subjects(greeting: str) -> list[str]:
        settings = settings_from(tree(still_world.url, acme={"greeting": greeting}))
        return [diagnosis.subject for diagnosis in settings_diagnoses(settings)]

    assert "acme.greeting" in subjects("hey")
    assert "acme.greeting" not in subjects("hello")


def test_the_generated_documents_have_what_an_extension_brings_and_nothing_of_ours():
    makers = {name: runpy.run_path(str(ROOT / "docs" / f"make_{name}.py")) for name in ("reference", "data", "metrics")}
    configuration, data = makers["reference"]["configuration"](), makers["data"]["document"]()

    assert "## acme" in configuration
    assert "## console" not in configuration
    assert "otp-service acme-greet" in makers["reference"]["cli"]()
    assert GREETINGS in all_keys()
    assert "otp:{acme}:greetings" in data
    assert "otp:{console}" not in data
    assert "| `otp_service_outbox_lag_seconds`" in makers["metrics"]["document"]()
