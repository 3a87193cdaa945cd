"""``otp-service gateway status``, ``pause`` and ``resume``, on a real Valkey."""

import re
from datetime import datetime

import pytest
from support_caller import Caller
from support_cli import configured, rows, run
from support_outbox import Scripted, Sender, refused

from otp_service.bootstrap import install
from otp_service.domain.routing import CallResult
from otp_service.settings import load_settings

GATEWAYS = {
    "first": {"kind": "sandbox", "timeout": 4.0},
    "second": {"kind": "sandbox"},
    "third": {"kind": "sandbox", "slow": 1.5, "per_second": 20, "max_in_flight": 10},
}
ROUTES = [{"gateways": ["first", "second"]}]
BREAKER = {"bad_in_a_row": 3}
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


@pytest.fixture
def environ(valkey, tmp_path):
    return configured(tmp_path, valkey.url, gateways=GATEWAYS, routes=ROUTES, breaker=BREAKER)


@pytest.fixture
def shop(environ):
    return Caller(install(load_settings(environ=environ)))


def status(environ):
    """Return the cells of each gateway's row."""
    result = run("gateway", "status", environ=environ)
    assert result.exit_code == 0, result.output
    return {name: cells for name, *cells in rows(result.output)}


def deliver(shop, first=(), second=()):
    """Deliver one message; return which gateways were called."""
    shop.start()
    sending = Sender(shop, first=Scripted(*first), second=Scripted(*second))
    sending.deliver()
    return sending.sent()


def test_the_list_tells_whether_receipts_come_in_by_any_way(valkey, tmp_path):
    gateways = {
        "plain": {"kind": "http", "url": "https://sms.example/send", "form": {"to": "{to}", "text": "{text}"}},
        "line": {"kind": "smpp", "host": "smsc.example", "system_id": "otp", "password": "secret"},
    }
    environ = configured(tmp_path, valkey.url, gateways=gateways)
    listed = rows(run("gateway", "list", environ=environ).output)

    assert {row[0]: row[4] for row in listed} == {"sandbox": "receipts", "plain": "no receipts", "line": "receipts"}


def test_the_addresses_are_shown_where_providers_pass_on_what_people_write_back(valkey, tmp_path):
    told = {"from": {"form": "from"}, "text": {"form": "text"}, "secret": "sixteen characters"}
    local = {"kind": "http", "url": "https://sms.example/send", "form": {"to": "{to}", "text": "{text}"}}
    account = {"kind": "vonage", "api_key": "a", "api_secret": "b", "from": "c"}
    gateways = {
        "local": {**local, "inbound": told},
        "deaf": local,
        "line": {"kind": "smpp", "host": "smsc.example", "system_id": "otp", "password": "secret"},
        "plain": {"kind": "console"},
        "marked": {**account, "receipt_secret": "sixteen characters"},
        "unproven": account,
    }
    environ = configured(tmp_path, valkey.url, gateways=gateways, http={"public_url": "https://otp.example"})
    addresses = {name: messages for name, messages, _ in rows(run("gateway", "addresses", environ=environ).output)}

    assert addresses.keys() == {"local", "line", "marked"}
    for name, proof in (("local", "token"), ("marked", "t")):
        assert re.fullmatch(rf"https://otp\.example/v1/inbound/{name}/[\w-]{{22}}\?{proof}=[\w-]+", addresses[name])
    assert addresses["line"] == "over its own connection"

    without = configured(tmp_path, valkey.url, gateways=gateways)
    refused_to = run("gateway", "addresses", environ=without)
    assert refused_to.exit_code == 1
    assert "http.public_url is not set" in refused_to.output


def test_gateways_that_were_never_called_take_messages_within_their_bounds(environ):
    told = status(environ)

    assert list(told) == ["sandbox", "first", "second", "third"]
    assert told["first"] == ["taking messages", "0", "0", "2 s", "-", "-", "-"]
    assert told["third"] == ["taking messages", "0", "0", "1.5 s", "0", "10", "20"]


def test_calls_that_failed_are_counted_and_the_gateway_rests(environ, shop):
    deliver(shop, first=[refused("unavailable")])
    assert status(environ)["first"][:3] == ["taking messages", "1", "1"]

    for _ in range(2):
        deliver(shop, first=[refused("unavailable")])
    assert re.fullmatch(f"resting after failures until {TIME}", status(environ)["first"][0])
    assert deliver(shop) == ["second"]


def test_a_gateway_that_has_rested_is_to_be_tried(valkey, environ, shop):
    for _ in range(3):
        deliver(shop, first=[refused("unavailable")])
    valkey.advance(31)

    assert status(environ)["first"][0] == "to be tried with the next message"


def test_a_gateway_that_throttles_is_told_with_its_pause(environ, shop):
    shop.context.store.health.observe("first", "dp_1", CallResult.THROTTLED, 60_000)

    assert re.fullmatch(f"waiting, as its provider asked, until {TIME}", status(environ)["first"][0])


def test_a_paused_gateway_gets_no_message_until_it_is_resumed_and_it_is_told_who_paused_it(
    environ, shop, monkeypatch, valkey
):
    monkeypatch.setattr("otp_service.cli.common.operator_login", lambda: "cli:sana")
    result = run("gateway", "pause", "first", "--minutes", "90", environ=environ)
    assert (result.exit_code, result.output) == (
        0,
        "first is paused for 1 h 30 min. To end the pause earlier: otp-service gateway resume first\n",
    )
    state = status(environ)["first"][0]
    until = re.fullmatch(f"paused by cli:sana until ({TIME})", state)[1]
    left = datetime.fromisoformat(f"{until}+00:00").timestamp() - valkey.client.time()[0]
    assert 5390 < left <= 5400
    assert deliver(shop) == ["second"]

    result = run("gateway", "resume", "first", environ=environ)
    assert (result.exit_code, result.output) == (0, "Messages go through first again.\n")
    assert status(environ)["first"][0] == "taking messages"
    assert deliver(shop) == ["first"]


def test_without_a_time_it_is_paused_for_the_longest_one(environ):
    result = run("gateway", "pause", "first", environ=environ)

    assert result.output.startswith("first is paused for 30 d.")
    assert run("gateway", "pause", "first", "--minutes", "43201", environ=environ).exit_code == 2


def test_who_pauses_the_only_gateway_of_a_route_is_warned(valkey, tmp_path):
    routes = [{"gateways": ["first"], "countries": ["PK"]}, {"gateways": ["first", "second"]}]
    environ = configured(tmp_path, valkey.url, gateways=GATEWAYS, routes=routes)

    assert run("gateway", "pause", "second", environ=environ).stderr == ""
    assert "Warning: a route has no other gateway left" in run("gateway", "pause", "first", environ=environ).stderr


def test_who_pauses_the_last_gateway_of_a_route_is_warned(environ):
    assert run("gateway", "pause", "first", environ=environ).stderr == ""
    assert "Warning: a route has no other gateway left" in run("gateway", "pause", "second", environ=environ).stderr
    run("gateway", "resume", "first", environ=environ)
    assert run("gateway", "pause", "second", environ=environ).stderr == ""


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_a_gateway_that_is_not_configured_is_refused(valkey, environ, command):
    result = run("gateway", command, "nope", environ=environ)

    assert (result.exit_code, result.output) == (
        1,
        "Error: The gateway 'nope' does not exist; choose from: sandbox, first, second, third.\n",
    )
    assert valkey.client.dbsize() == 0
