"""``otp-service gateway status``, ``open`` and ``close``, on a real Valkey."""

import pytest
from support_caller import Caller
from support_cli import configured, run
from support_outbox import Scripted, Sender, refused

from otp_service.bootstrap import install
from otp_service.core.health import Call
from otp_service.settings import load_settings

GATEWAYS = {
    "first": {"kind": "sandbox", "timeout": 4.0},
    "second": {"kind": "sandbox"},
    "third": {"kind": "sandbox", "slow": 1.5, "per_second": 20, "max_in_flight": 10},
}
ROUTES = [{"gateways": ["first", "second"]}]
BREAKER = {"bad_in_a_row": 3}


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
    return {name: cells for name, *cells in (row.split("\t") for row in result.output.splitlines())}


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
    rows = [row.split("\t") for row in run("gateway", "list", environ=environ).output.splitlines()]

    assert {row[0]: row[4] for row in rows} == {"sandbox": "receipts", "plain": "no receipts", "line": "receipts"}


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
    rows = dict(row.split("\t") for row in run("gateway", "inbound", environ=environ).output.splitlines())

    assert rows.keys() == {"local", "line", "marked"}
    assert rows["local"].startswith("https://otp.example/v1/inbound/local?token=")
    assert rows["marked"].startswith("https://otp.example/v1/inbound/marked?t=")
    assert rows["line"] == "over its own connection"

    without = configured(tmp_path, valkey.url, gateways=gateways)
    refused_to = run("gateway", "inbound", environ=without)
    assert refused_to.exit_code == 1
    assert "http.public_url is not set" in refused_to.output


def test_gateways_that_were_never_called_are_closed_with_their_bounds(environ):
    rows = status(environ)

    assert list(rows) == ["sandbox", "first", "second", "third"]
    assert rows["first"] == ["closed", "-", "0 of 0", "2 s", "-", "-", "-"]
    assert rows["third"] == ["closed", "-", "0 of 0", "1.5 s", "0 of 10", "20", "-"]


def test_calls_that_failed_are_counted_and_open_the_breaker(environ, shop):
    deliver(shop, first=[refused("unavailable")])
    assert status(environ)["first"][:3] == ["closed", "-", "1 of 1"]

    for _ in range(2):
        deliver(shop, first=[refused("unavailable")])
    assert status(environ)["first"][0] == "open"
    assert status(environ)["first"][1] in {"30 s", "29 s"}
    assert deliver(shop) == ["second"]


def test_a_breaker_whose_time_is_over_is_half_open(valkey, environ, shop):
    for _ in range(3):
        deliver(shop, first=[refused("unavailable")])
    valkey.advance(31)

    assert status(environ)["first"][:2] == ["half open", "-"]


def test_a_gateway_that_throttles_is_told_with_its_pause(environ, shop):
    shop.context.store.health.observe("first", "dp_1", Call.THROTTLED, 60_000)

    assert status(environ)["first"][0] == "closed"
    assert status(environ)["first"][6] in {"1 min", "59 s"}


def test_a_gateway_opened_by_hand_gets_no_message_until_it_is_closed(environ, shop):
    result = run("gateway", "open", "first", "--minutes", "90", environ=environ)
    assert (result.exit_code, result.output) == (
        0,
        "first is left alone for 1 h 30 min. To use it again before: otp-service gateway close first\n",
    )
    assert status(environ)["first"][:2] in (["open, by hand", "1 h 30 min"], ["open, by hand", "1 h 29 min"])
    assert deliver(shop) == ["second"]

    result = run("gateway", "close", "first", environ=environ)
    assert (result.exit_code, result.output) == (0, "Messages go through first again.\n")
    assert status(environ)["first"][0] == "closed"
    assert deliver(shop) == ["first"]


def test_without_a_time_it_is_left_alone_for_the_longest_one(environ):
    result = run("gateway", "open", "first", environ=environ)

    assert result.output.startswith("first is left alone for 30 d.")
    assert run("gateway", "open", "first", "--minutes", "43201", environ=environ).exit_code == 2


def test_who_opens_the_only_gateway_of_a_route_is_warned(valkey, tmp_path):
    routes = [{"gateways": ["first"], "countries": ["PK"]}, {"gateways": ["first", "second"]}]
    environ = configured(tmp_path, valkey.url, gateways=GATEWAYS, routes=routes)

    assert run("gateway", "open", "second", environ=environ).stderr == ""
    assert "Warning: a route has no other gateway left" in run("gateway", "open", "first", environ=environ).stderr


def test_who_opens_the_last_gateway_of_a_route_is_warned(environ):
    assert run("gateway", "open", "first", environ=environ).stderr == ""
    assert "Warning: a route has no other gateway left" in run("gateway", "open", "second", environ=environ).stderr
    run("gateway", "close", "first", environ=environ)
    assert run("gateway", "open", "second", environ=environ).stderr == ""


@pytest.mark.parametrize("command", ["open", "close"])
def test_a_gateway_that_is_not_configured_is_refused(valkey, environ, command):
    result = run("gateway", command, "nope", environ=environ)

    assert (result.exit_code, result.output) == (
        1,
        "Error: There is no gateway 'nope'; there are: sandbox, first, second, third.\n",
    )
    assert valkey.client.dbsize() == 0
