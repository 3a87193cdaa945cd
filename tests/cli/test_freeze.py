"""Freezing a number and lifting the freeze at the command line, on a real Valkey."""

import pytest
from support_caller import Caller
from support_cli import configured, run
from support_installation import NUMBER
from support_ledger import VARIABLE, make_ledger

from otp_service.bootstrap import install
from otp_service.errors import FrozenError
from otp_service.settings import load_settings

MASK = "+92 ••• ••••567"


@pytest.fixture
def environ(valkey, sqlite_template, tmp_path):
    (tmp_path / "ledger.db").write_bytes(sqlite_template.read_bytes())
    return configured(tmp_path, valkey.url, ledger={"url": f"sqlite:///{tmp_path / 'ledger.db'}"})


@pytest.fixture
def shop(environ):
    return Caller(install(load_settings(environ=environ)))


@pytest.fixture
def bank(environ):
    return Caller(install(load_settings(environ=environ)), "bank")


def told(*arguments, environ):
    result = run(*arguments, environ=environ)
    assert result.exit_code == 0, result.output
    return result.output


def refused(caller):
    try:
        caller.start(NUMBER)
    except FrozenError:
        return True
    return False


def test_a_number_is_frozen_for_an_application_and_let_go_again(environ, shop, bank):
    one = shop.start()
    said = told("subject", "freeze", NUMBER, "--application", "shop", "--reason", "case A-17", environ=environ)
    assert said == (
        f"Frozen: verifications of shop for {MASK}.\nCanceled: 1 pending verification.\n"
    )  # fmt: skip
    assert shop.read(one).verification.status == "canceled"
    assert (refused(shop), refused(bank)) == (True, False)

    said = told("subject", "unfreeze", NUMBER, "--application", "shop", environ=environ)
    assert said == f"Lifted: verifications of shop for {MASK} may start again.\n"
    assert not refused(shop)


def test_a_number_is_frozen_for_all(environ, shop, bank):
    told("subject", "freeze", NUMBER, "--application", "bank", environ=environ)
    said = told("subject", "freeze", "0300 1234567", "--region", "pk", "--all", environ=environ)
    assert said.startswith(f"Frozen: verifications of any application for {MASK}.\nCanceled: 0 pending verifications")
    assert (refused(shop), refused(bank)) == (True, True)

    said = told("subject", "unfreeze", NUMBER, "--all", environ=environ)
    assert said.endswith("may start again. Still frozen: verifications of bank.\n")
    assert (refused(shop), refused(bank)) == (False, True)


def test_what_is_not_frozen_is_not_lifted_and_what_is_is_told(environ):
    told("subject", "freeze", NUMBER, "--all", environ=environ)
    result = run("subject", "unfreeze", NUMBER, "--application", "shop", environ=environ)

    assert result.exit_code == 1
    assert f"Verifications of shop for {MASK} are not frozen. Still frozen: verifications of any application." in (
        result.output
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([NUMBER], "Use either --application NAME or --all."),
        ([NUMBER, "--all", "--application", "shop"], "Use either --application NAME or --all."),
        ([NUMBER, "--application", "nobody"], "The application nobody does not exist; choose from: bank, shop."),
        (["12", "--all"], "A national number needs --region"),
    ],
)
@pytest.mark.parametrize("command", ["freeze", "unfreeze"])
def test_what_cannot_be_meant_is_told(environ, command, arguments, sentence):
    result = run("subject", command, *arguments, environ=environ)

    assert result.exit_code in {1, 2}
    assert sentence in result.output


def test_a_reason_holds_no_number(environ):
    result = run("subject", "freeze", NUMBER, "--all", "--reason", "he called from 03001234567", environ=environ)

    assert (result.exit_code, "no phone number" in result.output) == (2, True)
    assert told("suppressions", "show", NUMBER, environ=environ).endswith(f"\nNo suppressions recorded for {MASK}.\n")


def test_what_is_recorded_of_a_number_tells_that_it_is_frozen_and_no_lift_ends_that(environ, shop):
    told("suppressions", "add", NUMBER, environ=environ)
    told("subject", "freeze", NUMBER, "--application", "shop", "--reason", "case A-17", environ=environ)
    said = told("suppressions", "lift", NUMBER, environ=environ)
    assert said.endswith(" It is frozen.\n")
    shown = told("suppressions", "show", NUMBER, environ=environ)

    assert "shop\tfrozen\tfrozen\toperator\t-\tcase A-17" in shown
    assert "Frozen: verifications of shop." in shown
    assert "No messages are suppressed." not in shown
    assert NUMBER[-7:] not in shown
    assert refused(shop)


@pytest.mark.parametrize("command", [["add", NUMBER], ["lift", NUMBER], ["import", "-"]])
def test_a_freeze_has_one_way_in_and_one_out(environ, command):
    result = run("suppressions", *command, "--scope", "frozen", environ=environ, stdin=NUMBER)

    assert result.exit_code == 2
    assert "'frozen' is not one of 'all', 'marketing_only'" in result.output


def test_whoever_freezes_in_another_ledger_than_redis_mirrors_is_told(environ, shop, tmp_path):
    shop.start()
    make_ledger(f"sqlite:///{tmp_path / 'another.db'}")
    elsewhere = {**environ, VARIABLE: f"sqlite:///{tmp_path / 'another.db'}"}
    result = run("subject", "freeze", NUMBER, "--all", environ=elsewhere)

    assert result.exit_code == 1
    assert "not in force. Redis belongs to another ledger" in result.stderr
