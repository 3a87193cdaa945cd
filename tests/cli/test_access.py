"""``application``, and ``key`` for the keys of the ledger."""

import json
import logging
import re
from pathlib import Path

import pytest
import structlog
from support_cli import configured, run
from support_cli import rows as table_rows

from otp_service.bootstrap import install
from otp_service.cli.common import operator_login
from otp_service.domain.applications import NO_APPLICATION, KeyScope
from otp_service.domain.keyring import api_key_hash
from otp_service.errors import UnauthenticatedError
from otp_service.services.access import authenticate
from otp_service.settings import load_settings

CLUB = 'name = "Acme Club"\npurposes = ["login"]\ncountries = ["PK"]\nregion = "PK"\n'


@pytest.fixture
def environ(tmp_path: Path, ledger_url: str) -> dict[str, str]:
    """Settings with a ledger of either kind; no command here needs Redis."""
    return configured(tmp_path, "redis://127.0.0.1:1/0", ledger={"url": ledger_url})


@pytest.fixture(autouse=True)
def logging_restored():
    """Commands that change something send the log to the streams that they were run with."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def club(tmp_path: Path) -> str:
    file = tmp_path / "club.toml"
    file.write_text(CLUB)
    return str(file)


def ok(environ, *arguments: str, stdin: str | None = None) -> str:
    result = run(*arguments, environ=environ, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(environ, *arguments: str) -> str:
    result = run(*arguments, environ=environ)
    assert (result.exit_code, result.stdout) == (1, "")
    return result.stderr.removeprefix("Error: ").strip()


def context(environ):
    found = install(load_settings(environ=environ)).context
    found.access_cache.refresh()
    found.ledger.database.close()
    return found


def rows(environ, *arguments: str) -> list[list[str]]:
    return table_rows(ok(environ, *arguments))


# --- key ----------------------------------------------------------------------------------------------------


def test_a_key_is_made_and_printed_alone(environ):
    result = run("key", "add", "shop", environ=environ)
    (secret,) = result.stdout.splitlines()
    (row,) = rows(environ, "key", "list")
    found = authenticate(context(environ), secret, lambda: None)

    assert secret.startswith("otp_")
    assert row[0] in result.stderr
    assert row[1:4] == ["shop", "verify", "anywhere"]
    assert row[5:] == ["never", "valid"]
    assert (found.application.name, found.key.id, found.key.scopes) == ("shop", row[0], {KeyScope.VERIFY})


def test_a_key_has_the_scopes_and_addresses_that_are_given(environ):
    options = ["--scope", "consent", "--scope", "subjects", "--address", "192.0.2.0/24", "--address", "2001:db8::1"]
    secret = ok(environ, "key", "add", "bank", *options).strip()
    (row,) = rows(environ, "key", "list", "bank")

    assert row[2:4] == ["consent,subjects", "192.0.2.0/24,2001:db8::1/128"]
    assert authenticate(context(environ), secret, lambda: "192.0.2.9").key.scopes == {
        KeyScope.CONSENT,
        KeyScope.SUBJECTS,
    }
    with pytest.raises(UnauthenticatedError):
        authenticate(context(environ), secret, lambda: "192.0.3.9")


def test_a_key_for_operators_is_of_no_application(environ):
    secret = ok(environ, "key", "add", "--admin", "--address", "127.0.0.1").strip()
    (row,) = rows(environ, "key", "list")
    found = authenticate(context(environ), secret, lambda: "127.0.0.1")

    assert row[1:3] == ["(operators)", "admin"]
    assert (found.application, found.key.application, found.key.scopes) == (None, NO_APPLICATION, {KeyScope.ADMIN})


@pytest.mark.parametrize(
    "arguments", [(), ("shop", "--admin"), ("--admin", "--scope", "verify"), ("shop", "--scope", "admin")]
)
def test_a_key_of_nobody_or_of_both_is_wrong_usage(environ, arguments):
    assert run("key", "add", *arguments, environ=environ).exit_code == 2
    assert rows(environ, "key", "list") == []


def test_a_key_that_cannot_be_made_is_not(environ):
    assert refused(environ, "key", "add", "none").startswith("The application 'none' does not exist")
    assert refused(environ, "key", "add", "shop", "--address", "192.0.2.9/24").startswith("An address list names")
    assert rows(environ, "key", "list") == []


def test_a_rotation_prints_the_successor_and_tells_when_the_old_key_ends(environ):
    old = ok(environ, "key", "add", "shop").strip()
    ((name, *_),) = rows(environ, "key", "list")
    result = run("key", "rotate", name, "--overlap", "7200", environ=environ)
    new = result.stdout.strip()
    first, second = rows(environ, "key", "list", "shop")

    assert f"The old key {name}: ends 2" in result.stderr
    assert first[0] == name
    assert re.fullmatch(r"ends \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", first[6])
    assert second[6] == "valid"
    assert {authenticate(context(environ), one, lambda: None).key.id for one in (old, new)} == {name, second[0]}


def test_a_rotation_without_overlap_ends_the_old_key(environ):
    old = ok(environ, "key", "add", "shop").strip()
    name = rows(environ, "key", "list")[0][0]
    result = run("key", "rotate", name, "--overlap", "0", environ=environ)

    assert f"The old key {name}: ended 2" in result.stderr
    assert rows(environ, "key", "list")[0][6].startswith("ended ")
    with pytest.raises(UnauthenticatedError):
        authenticate(context(environ), old, lambda: None)
    assert refused(environ, "key", "rotate", name) == "The key is revoked, or has ended: make a new one."


def test_a_key_for_operators_is_rotated_and_revoked_like_any(environ):
    ok(environ, "key", "add", "--admin")
    name = rows(environ, "key", "list")[0][0]
    new = ok(environ, "key", "rotate", name).strip()
    assert authenticate(context(environ), new, lambda: None).key.scopes == {KeyScope.ADMIN}
    said, again = (run("key", "revoke", name, "--yes", environ=environ).stdout.splitlines()[-1] for _ in range(2))
    assert said == again, "when it was revoked first"
    assert said.startswith(f"The key {name} of operators is revoked, since 2")


def test_a_revocation_asks_first(environ):
    secret = ok(environ, "key", "add", "shop").strip()
    name = rows(environ, "key", "list")[0][0]
    assert run("key", "revoke", name, environ=environ, stdin="n\n").exit_code == 1
    assert authenticate(context(environ), secret, lambda: None)
    assert f"The key {name} of shop is revoked, since 2" in ok(environ, "key", "revoke", name, stdin="y\n")
    assert rows(environ, "key", "list")[0][6].startswith("revoked ")
    with pytest.raises(UnauthenticatedError):
        authenticate(context(environ), secret, lambda: None)


@pytest.mark.parametrize("command", [("rotate",), ("revoke", "--yes")])
def test_a_name_that_no_key_has_is_told(environ, command):
    verb, *options = command
    assert refused(environ, "key", verb, "ak_none", *options) == "There is no such key."


def test_keys_of_the_configuration_are_counted_and_not_listed(environ):
    result = run("key", "list", environ=environ)
    assert (table_rows(result.stdout), result.stderr) == ([], "In the configuration, and not listed: 2 keys.\n")


def test_a_change_is_logged_without_the_key(environ):
    result = run("key", "add", "shop", environ=environ)
    lines = [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]
    (issued,) = [line for line in lines if line["message"] == "api_key_issued"]

    assert (issued["application"], issued["scopes"], issued["by"]) == ("shop", ["verify"], operator_login())
    assert issued["key_id"] == rows(environ, "key", "list")[0][0]
    assert result.stdout.strip() not in result.stderr
    assert api_key_hash(result.stdout.strip()) not in result.output


# --- application --------------------------------------------------------------------------------------------


def test_an_application_is_made_shown_and_changed(environ, club, tmp_path):
    assert ok(environ, "application", "add", "club", club).startswith("The application club is made.")
    shown = ok(environ, "application", "show", "club")
    changed = tmp_path / "changed.toml"
    changed.write_text(shown.replace('["PK"]', '["PK", "GB"]'))
    assert ok(environ, "application", "change", "club", str(changed)).startswith("The application club is changed.")
    kept = {name: row for name, *row in rows(environ, "application", "list")}

    assert sorted(shown.splitlines()) == sorted(CLUB.splitlines())
    assert list(kept) == ["shop", "bank", "club"]
    assert kept["shop"] == ["configuration", "Acme Shop", "login,payment", "PK,GB", "-"]
    assert kept["club"][:4] == ["ledger", "Acme Club", "login", "PK,GB"]
    assert context(environ).applications["club"].countries == {"PK", "GB"}


def test_an_application_of_the_configuration_is_shown_without_its_keys(environ):
    shown = ok(environ, "application", "show", "shop")

    assert 'name = "Acme Shop"' in shown
    assert "sha256" not in shown
    assert "keys" not in shown


def test_an_application_may_be_given_as_json(environ, tmp_path):
    file = tmp_path / "club.json"
    file.write_text(json.dumps({"purposes": ["login"], "countries": ["PK"], "spend": {}}))
    ok(environ, "application", "add", "club", str(file))

    assert context(environ).applications["club"].brand == "club"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('purposes = ["nope"]\ncountries = ["PK"]', "purposes.0: there is no such purpose in the configuration"),
        ('purposes = ["login"]', "countries: is missing."),
        (
            'name = "Acme 482 910"\npurposes = ["login"]\ncountries = ["PK"]',
            "name: is shown in messages: it has at most 3 digits in a row",
        ),
        (f'{CLUB}locale = "fr"', "locale: there is no file of messages for fr."),
        (f"{CLUB}keys = []", "keys: there is no such setting."),
        ("[applications.club]\npurposes = []", "applications: there is no such setting."),
        ("purposes = ", "Invalid value"),
    ],
)
def test_an_application_that_could_not_be_used_is_not_made(environ, tmp_path, text, sentence):
    file = tmp_path / "club.toml"
    file.write_text(text)

    assert sentence in refused(environ, "application", "add", "club", str(file))
    assert len(rows(environ, "application", "list")) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("add", "shop"), "An application with this name exists in the configuration."),
        (("add", "Club 1"), "A name must have 1 to 32 characters of a-z, 0-9, _ and -."),
        (("change", "shop"), "The application is in the configuration: change it there."),
        (("change", "none"), "There is no such application."),
    ],
)
def test_what_cannot_be_done_to_an_application_is_told(environ, club, arguments, sentence):
    assert refused(environ, "application", *arguments, club) == sentence


def test_a_name_is_given_once(environ, club):
    ok(environ, "application", "add", "club", club)
    assert refused(environ, "application", "add", "club", club) == "An application with this name exists."
    assert refused(environ, "application", "show", "none").startswith("The application 'none' does not exist")


def test_the_ledger_is_made_by_the_first_command_that_changes_it(tmp_path):
    """The first key for operators may come before the first process."""
    file = tmp_path / "new" / "ledger.db"
    environ = configured(tmp_path, "redis://127.0.0.1:1/0", ledger={"url": f"sqlite:///{file}"})
    assert "The ledger does not exist yet" in refused(environ, "key", "list")
    assert not file.exists()

    secret = ok(environ, "key", "add", "--admin").strip()
    assert authenticate(context(environ), secret, lambda: None).key.scopes == {KeyScope.ADMIN}
    assert file.stat().st_mode & 0o077 == 0
