"""``otp-service factor``, on a real Valkey; what it does is recorded."""

import json

import pytest
from support_api import Api
from support_cli import configured, rows, run
from support_factors import USER, App, record
from support_frozen import START
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
    assert "10 unused recovery codes." in found

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
    assert (result.exit_code, "is not locked" in result.output) == (1, True)
    assert len(acts(environ)) == 1


def test_secrets_are_sealed_anew(app, environ):
    environ["OTP_SERVICE_ROOT_KEYS"] = f"k2:{key()} {environ['OTP_SERVICE_ROOT_KEYS']}"
    result = run("factor", "reseal", environ=environ)
    assert result.exit_code == 0
    assert "Resealed: 1 authenticator app. All are under k2 now." in result.output
    assert [root for _, _, root in app.secrets_in_ledger()] == ["k2"]
    assert acts(environ) == [("factors-resealed", None, None)]

    assert "Resealed: 0 authenticator apps." in run("factor", "reseal", environ=environ).output
    assert len(acts(environ)) == 1


# --- a clock that ran ahead ---------------------------------------------------------------------------------

DAY = 86_400_000


def after_a_day_ahead(app, frozen):
    """Use the app while Redis' clock, and the phone's, is a day ahead; set both back."""
    frozen.move_to(START + DAY)
    assert app.check(app.code())["valid"]
    record(app.api)
    app.api.installation.context.mirror_sync.refresh()
    frozen.move_to(START)


def findings(environ):
    told = json.loads(run("doctor", "--json", environ=environ).output)["findings"]
    return [one["sentence"] for one in told if one["subject"] == "factors"]


def test_codes_are_accepted_again_after_a_clock_that_ran_ahead(app, frozen, environ):
    assert findings(environ) == []
    after_a_day_ahead(app, frozen)
    assert app.check(app.code(1))["reason"] == "code_used"
    (finding,) = findings(environ)
    assert "At least 1 authenticator apps refuse codes" in finding
    typed = app.code()

    said = run("factor", "reset-steps", "--yes", environ=environ)
    assert (said.exit_code, said.output) == (0, "Reset: 1. Codes from now on are accepted.\n")
    assert acts(environ) == [("factor-steps-reset", None, None)]
    assert [one["change"] for one in app.changes()] == ["activated", "step_reset"]
    assert findings(environ) == []
    assert app.check(typed)["reason"] == "code_used"
    frozen.advance(30)
    assert app.check(app.code())["valid"]
    assert app.check(app.code())["reason"] == "code_used"


def test_a_mirror_that_is_built_anew_has_the_step_that_was_reset(app, frozen, environ):
    after_a_day_ahead(app, frozen)
    assert json.loads(run("factor", "reset-steps", "--yes", "--json", environ=environ).stdout)["reset"] == 1
    frozen.client.delete(*frozen.client.scan_iter("*factor:*"))
    assert run("ledger", "rebuild", "--yes", environ=environ).exit_code == 0
    app.api.installation.context.mirror_sync.refresh()
    frozen.advance(120)

    assert app.check(app.code())["valid"]


def test_an_app_that_is_not_ahead_keeps_its_last_step(app, frozen, environ):
    code = app.code(1)
    assert app.check(code)["valid"]
    record(app.api)

    result = run("factor", "reset-steps", "--yes", environ=environ)
    assert (result.exit_code, "No app is ahead of Redis' clock." in result.output) == (1, True)
    assert app.check(code)["reason"] == "code_used"
    assert acts(environ) == []


def test_checks_that_wait_for_a_clock_that_was_ahead_go_on(app, frozen, environ):
    frozen.advance(60)
    frozen.client.hset("otp:{00}:mirror/head", "since", START + DAY)
    frozen.client.hset("otp:{00}:mirror/head", "since_of", 9007199254740992)
    answer = app.api.post(f"/v1/factors/{app.id}/check", {"code": app.code()})
    assert answer.status_code == 503
    (finding,) = findings(environ)
    assert "Redis' clock was ahead" in finding

    assert run("factor", "reset-steps", "--yes", environ=environ).output.startswith("Reset: 1.")
    assert acts(environ) == [("factor-steps-reset", None, None)]
    assert findings(environ) == []
    frozen.advance(120)
    assert app.check(app.code())["valid"]
