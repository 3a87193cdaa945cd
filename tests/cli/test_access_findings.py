"""What ``doctor`` finds about applications and keys."""

from pathlib import Path

import pytest
from support_installation import tree
from support_operators import CLUB

from otp_service.bootstrap import install
from otp_service.cli.checks import Level
from otp_service.cli.doctor import access_diagnoses
from otp_service.domain.applications import KeyScope
from otp_service.services.access import add_application, issue_key, revoke_key
from otp_service.settings import settings_from
from otp_service.settings.stored_applications import dump_section, parse_section

NOW = 1_795_000_000_000
SILENT = "redis://127.0.0.1:1/0"
NO_KEY = (Level.WARN, "applications.shop", "It has no API key.")


@pytest.fixture
def url(tmp_path: Path, sqlite_template: Path) -> str:
    (tmp_path / "ledger.db").write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{tmp_path / 'ledger.db'}"


def installed(url: str, **sections):
    return install(settings_from(tree(SILENT, ledger={"url": url}, **sections)))


def found(one):
    return [(f.level, f.subject, f.sentence) for f in access_diagnoses(one.settings, one.context, NOW)]


def test_an_application_that_nobody_can_use_is_told_until_it_has_a_key_anywhere(url):
    one = installed(url, applications={"shop": {**CLUB, "keys": []}})
    assert found(one) == [NO_KEY]

    issued = issue_key(one.context, "shop", [KeyScope.VERIFY], (), "tests")
    assert found(one) == []

    revoke_key(one.context, issued.key.id, "tests")
    assert found(one) == [NO_KEY]


def test_applications_of_the_ledger_are_looked_at_like_those_of_the_configuration(url):
    one = installed(url, routes=[{"gateways": ["sandbox"], "countries": ["PK", "GB"]}])
    abroad = parse_section({**CLUB, "countries": ["AE", "SA"], "region": None})
    add_application(one.context, "club", dump_section(abroad), "tests")
    issue_key(one.context, "club", [KeyScope.VERIFY], (), "tests")
    told = found(one)

    assert {subject for _, subject, _ in told} == {"applications.club"}
    assert [level for level, _, sentence in told if sentence == "No gateway carries sms for login to AE, SA."] == [
        Level.FAIL
    ]
    assert [level for level, _, sentence in told if sentence.startswith("It has no home")] == [Level.WARN]


def test_an_installation_without_any_application_is_told(url):
    table = tree(SILENT, ledger={"url": url}) | {"applications": {}}

    assert found(install(settings_from(table))) == [(Level.WARN, "applications", "No application exists.")]


def test_a_ledger_that_cannot_be_asked_is_not_told_twice_nor_made(tmp_path):
    file = tmp_path / "none.db"

    assert found(installed(f"sqlite:///{file}")) == []
    assert not file.exists()


def test_an_application_of_the_ledger_without_a_ceiling_is_told_in_production(url):
    one = installed(url)
    unbounded = (Level.WARN, "applications.club.spend")
    add_application(one.context, "club", dump_section(parse_section({**CLUB, "spend": {"day": "none"}})), "tests")
    production = one.settings.model_copy(update={"environment": "production"})

    told = [(f.level, f.subject) for f in access_diagnoses(production, one.context, NOW)]
    assert unbounded in told
    assert unbounded not in [(level, subject) for level, subject, _ in found(one)]
