"""``otp-service guard replay``: what happened, tried again under other rules; nothing is sent, counted or changed."""

import json
from typing import Any

import pytest
from support_caller import Caller
from support_cli import configured, rows, run
from support_evaluator import LOGS
from support_guard import ADDRESS, PERMISSIVE, approve, guess, later, modes, number, passed
from support_installation import tree

from otp_service.bootstrap import install
from otp_service.settings import load_settings

OPEN: dict[str, Any] = {"block": {"unapproved": ["4/day"]}, "country": {"home": ["5/day"]}}
PRICED = {"sandbox": {"kind": "sandbox", "timeout": 1.0, "prices": {"*": "2.50"}}}


@pytest.fixture
def environ(frozen, tmp_path):
    return configured(tmp_path, frozen.url, **_sections(frozen, modes("block.unapproved"), OPEN))


@pytest.fixture
def shop(environ):
    return Caller(install(load_settings(environ=environ)))


def _sections(frozen, kept, rules):
    own = tree(frozen.url)["applications"]
    return {
        "guard": {**rules, "modes": kept},
        "limits": PERMISSIVE,
        "purposes": {"login": {"resend_delays": [0], "max_sends": 5, "channels": ["sms"]}},
        "gateways": PRICED,
        "applications": {"shop": {**own["shop"], "spend": {"day": "900"}}},
    }


def changed(frozen, folder, *rules, **members):
    """Write another configuration; return its path."""
    (folder / "changed").mkdir(exist_ok=True)
    path = folder / "changed" / "rules.json"
    table = tree(frozen.url, **_sections(frozen, modes(*rules), {**OPEN, **members}))
    table.pop("keys")
    path.write_text(json.dumps(table))
    return str(path)


def replay(*arguments, environ):
    result = run("guard", "replay", *arguments, environ=environ)
    assert result.exit_code == 0, result.output
    return {name: (before, after) for name, before, after in rows(result.stdout)}


def live(frozen, shop):
    """Seven starts into one block, of which one is approved and two are refused; and a resend."""
    approve(shop, number(1), client_ip=ADDRESS)
    one = shop.start(number(2), client_ip=ADDRESS)
    later(frozen, 1)
    shop.resend(one)
    guess(shop, one)
    assert passed(shop, number(3), 5) == 3


def test_under_the_same_rules_all_goes_as_it_went(frozen, environ, shop):
    live(frozen, shop)

    assert replay(environ=environ) == {
        "messages": ("6", "6"),
        "cost at most, PKR": ("15.00", "15.00"),
        "approved": ("1", "1"),
        "refused by block.unapproved": ("2", "2"),
    }


def test_under_other_rules_it_tells_what_would_have_been_refused_and_what_the_rest_would_have_cost(
    frozen, tmp_path, environ, shop
):
    live(frozen, shop)
    path = changed(frozen, tmp_path, "country.unapproved", country={"home": ["1/day"]})

    assert replay("--rules", path, environ=environ) == {
        "messages": ("6", "3"),
        "cost at most, PKR": ("15.00", "7.50"),
        "approved": ("1", "1"),
        "refused by block.unapproved": ("2", "0"),
        "refused by country.unapproved": ("0", "5"),
    }


@pytest.mark.parametrize("mode", ["enforce", "off"])
def test_another_home_is_tried_whatever_the_mode_of_the_rule_on_countries(frozen, tmp_path, environ, shop, mode):
    live(frozen, shop)
    path = changed(frozen, tmp_path, "country.unapproved", country={"home": ["99/day"], "unapproved": ["1/day"]})
    table = json.loads((tmp_path / "changed" / "rules.json").read_text())
    table["applications"]["shop"]["home"] = "GB"
    table["guard"]["modes"]["destination.country"] = mode
    (tmp_path / "changed" / "rules.json").write_text(json.dumps(table))

    assert replay("--rules", path, environ=environ)["refused by country.unapproved"] == ("0", "5")


@pytest.mark.parametrize(("mode", "refused"), [("enforce", "7"), ("off", None)])
def test_a_country_that_is_no_longer_listed_is_refused_where_that_is_enforced(
    frozen, tmp_path, environ, shop, mode, refused
):
    live(frozen, shop)
    path = changed(frozen, tmp_path)
    table = json.loads((tmp_path / "changed" / "rules.json").read_text())
    table["applications"]["shop"]["countries"] = ["GB"]
    table["guard"]["modes"]["destination.country"] = mode
    (tmp_path / "changed" / "rules.json").write_text(json.dumps(table))
    told = replay("--rules", path, environ=environ).get("refused by destination.country")

    assert told == (("0", refused) if refused else None)


def test_it_tells_of_people_who_came_in_and_would_have_been_refused(frozen, tmp_path, environ, shop):
    for last in range(3):
        approve(shop, number(last))
    shop.start(number(9))
    path = changed(frozen, tmp_path, "address.starts", "number.cooldown", "spend.application")
    table = json.loads((tmp_path / "changed" / "rules.json").read_text())
    table["applications"]["shop"]["spend"] = {"hour": "5"}
    (tmp_path / "changed" / "rules.json").write_text(json.dumps(table))
    result = run("guard", "replay", "--rules", path, environ=environ)

    assert "People who were approved and would have been refused: 1." in result.stderr
    assert "Resends and codes of verifications that would not have started: 1." in result.stderr


def test_it_changes_nothing(frozen, tmp_path, environ, shop):
    live(frozen, shop)
    before = {name: frozen.client.dump(name) for name in frozen.client.scan_iter()}
    replay("--rules", changed(frozen, tmp_path, "number.cooldown"), environ=environ)

    assert {name: frozen.client.dump(name) for name in frozen.client.scan_iter()} == before
    assert sum(name.endswith(LOGS) for name in before) == 1


def test_a_log_that_was_saved_tells_the_same_without_redis(frozen, tmp_path, environ, shop):
    live(frozen, shop)
    log = str(tmp_path / "log")
    saved = run("guard", "replay", "--save", log, environ=environ)
    assert (saved.exit_code, saved.output) == (0, "Saved: 10 attempts.\n")
    told = replay(environ=environ)
    frozen.client.flushall()

    assert replay("--log", log, environ=environ) == told
    text = (tmp_path / "log").read_text()
    assert number(1)[1:] not in text
    assert ADDRESS not in text
    assert len(text.splitlines()) == 10


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        "{}",
        '{"at": 1, "kind": "start", "verification": "a", "refused": "", "details": "x", "more": 1}',
        '{"at": "1", "kind": "wrong", "verification": "a", "refused": "", "details": ""}',
        '{"at": 1, "kind": "wrong", "verification": [], "refused": "", "details": ""}',
        '{"at": 1, "kind": "resend", "verification": "a", "refused": "", "details": "x"}',
        '{"at": 1, "kind": "other", "verification": "a", "refused": "", "details": ""}',
    ],
)
def test_a_malformed_log_is_refused_by_its_line(frozen, tmp_path, environ, shop, line):
    live(frozen, shop)
    log = tmp_path / "log"
    run("guard", "replay", "--save", str(log), environ=environ)
    log.write_text(f"{log.read_text().splitlines()[0]}\n{line}\n")
    result = run("guard", "replay", "--log", str(log), environ=environ)

    assert (result.exit_code, result.output) == (1, f"Error: {log}: line 2 is not a recorded attempt.\n")


@pytest.mark.parametrize(
    "details", ["", "shop", "shop|PK", "shop|PK|a|b|c", "shop|PK|n|b|||d|nowhere|0", "shop|PK|n|b||||home|x"]
)
def test_a_start_of_a_log_that_cannot_be_read_is_refused_by_its_line(tmp_path, environ, details):
    log = tmp_path / "log"
    line = json.dumps({"at": 1, "kind": "start", "verification": "a", "refused": "", "details": details})
    log.write_text(f"{line}\n")
    result = run("guard", "replay", "--log", str(log), environ=environ)

    assert (result.exit_code, result.output) == (1, f"Error: {log}: line 1 is not a recorded attempt.\n")


def test_attempts_that_began_before_the_log_or_belong_to_nobody_are_told(frozen, tmp_path, environ, shop):
    live(frozen, shop)
    log = tmp_path / "log"
    run("guard", "replay", "--save", str(log), environ=environ)
    lines = log.read_text().splitlines()
    log.write_text("\n".join(lines[2:]).replace('"details": "shop|', '"details": "gone|', 1) + "\n")
    result = run("guard", "replay", "--log", str(log), environ=environ)

    assert "Not tried, because they began before the log or belong to no application: " in result.stderr


def test_without_a_log_it_says_so(frozen, environ):
    result = run("guard", "replay", environ=environ)

    assert result.exit_code == 1
    assert result.output.startswith("Error: The log is empty: ")


def test_save_takes_no_log(environ, tmp_path):
    (tmp_path / "log").write_text("")
    both = ("--log", str(tmp_path / "log"), "--save", str(tmp_path / "other"))

    assert run("guard", "replay", *both, environ=environ).exit_code == 2
