"""``otp-service factor``, on a real Valkey; what it does is recorded."""

import json

import pytest
from support_api import Api
from support_cli import configured, rows, run
from support_factors import USER, App
from support_installation import World, key

from otp_service.bootstrap import install
from otp_service.settings import load_settings


class Installed(World):
    """A world with the settings of the commands."""

    def install(self, **sections):  # noqa: ARG002 - they are in the file
        installation = install(load_settings(environ=ENVIRON), self.client)
        installation.context.access_cache.refresh()
        return installation


ENVIRON: dict[str, str] = {}


@pytest.fixture
def environ(frozen, tmp_path):
    ENVIRON.clear()
    ENVIRON.update(configured(tmp_path, frozen.url, guard={"number": {"guess_waits": [600]}, "modes": {}}))
    return ENVIRON


@pytest.fixture
def app(frozen, environ):
    app = App(Api(Installed(frozen.client, frozen.url, frozen.advance)))
    assert app.activate()["valid"]
    return app


def told(*arguments, environ):
    result = run("factor", *arguments, "--application", "shop", environ=environ)
    assert result.exit_code == 0, result.output
    return result.output


def acts(environ):
    found = json.loads(run("audit", "actions", "--json", environ=environ).output)["actions"]
    return [(one["action"], one["application"], one["about"]) for one in found]


def test_apps_are_listed_by_user(app, environ):
    found = told("list", USER, environ=environ)
    assert rows(found)[0][:2] == [app.id, "ali@example.com"]
    assert "10 recovery codes can be used." in found

    document = json.loads(told("list", USER, "--json", environ=environ))
    assert [one["factor"] for one in document["factors"]] == [app.id]
    assert document["recovery_codes_left"] == 10


def test_an_app_is_removed_for_a_reason(app, environ):
    said = told("remove", app.id, "--reason", "lost", "--yes", environ=environ)

    assert said == f"Removed: {app.id} (lost).\n"
    assert app.read()["status"] == "removed"
    assert acts(environ) == [("factor-removed", "shop", app.id)]


def test_what_changes_an_app_prints_a_document(app, environ):
    app.check(app.wrong())

    assert json.loads(told("unlock", USER, "--json", environ=environ)) == {"application": "shop"}
    removed = told("remove", app.id, "--reason", "lost", "--yes", "--json", environ=environ)
    assert json.loads(removed) == {"factor": app.id, "reason": "lost"}


def test_an_app_that_there_is_not_is_told(app, environ):
    result = run("factor", "remove", "fa_1", "--reason", "lost", "--yes", "--application", "shop", environ=environ)

    assert result.exit_code == 1
    assert "There is no such factor." in result.output
    assert acts(environ) == []


def test_a_user_is_unlocked(app, environ):
    assert app.check(app.wrong())["reason"] == "wrong_code"
    assert app.check(app.code())["reason"] == "factor_locked"

    assert told("unlock", USER, environ=environ) == "Unlocked: the user may try again at shop.\n"
    assert app.check(app.code())["valid"]
    assert acts(environ) == [("factors-unlocked", "shop", None)]
    result = run("factor", "unlock", USER, "--application", "shop", environ=environ)
    assert (result.exit_code, "Nothing holds this user" in result.output) == (1, True)
    assert len(acts(environ)) == 1


def test_secrets_are_sealed_anew(app, environ):
    environ["OTP_SERVICE_ROOT_KEYS"] = f"k2:{key()} {environ['OTP_SERVICE_ROOT_KEYS']}"
    result = run("factor", "reseal", environ=environ)
    assert result.exit_code == 0
    assert "Sealed anew: 1 authenticator app. All are under k2 now." in result.output
    assert [root for _, _, root in app.secrets_in_ledger()] == ["k2"]
    assert acts(environ) == [("factors-resealed", None, None)]

    assert "Sealed anew: 0 authenticator apps." in run("factor", "reseal", environ=environ).output
    assert len(acts(environ)) == 1
