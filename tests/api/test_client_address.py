"""The peer of a connection: no stranger chooses it, and none escapes being counted."""

from io import StringIO
from ipaddress import IPv4Address
from types import SimpleNamespace

import pytest
from support_api import START, Api, code_of
from support_installation import InProduction, World, tree
from werkzeug.test import EnvironBuilder

from otp_service.api.exchange import CallSlots, Exchange, SharedState
from otp_service.api.requests import peer_address

PEER = "192.0.2.1"


def _peer(trusted: int, *headers: tuple[str, str], peer: str | None = PEER) -> str | None:
    environ = EnvironBuilder(headers=list(headers)).get_environ()
    if peer is not None:
        environ["REMOTE_ADDR"] = peer
    settings = SimpleNamespace(http=SimpleNamespace(trusted_proxies=trusted))
    installation = SimpleNamespace(settings=settings, context=None)
    return peer_address(Exchange(environ, SharedState(installation, (), (), CallSlots(1))))


def _forwarded(*hops: str) -> tuple[str, str]:
    return ("X-Forwarded-For", ", ".join(hops))


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Client-IP", "True-Client-IP"])
def test_without_trusted_proxies_no_header_is_believed(header: str):
    assert _peer(0, (header, "203.0.113.9")) == PEER


@pytest.mark.parametrize("header", ["Forwarded", "X-Real-IP", "Client-IP", "True-Client-IP"])
def test_with_a_trusted_proxy_other_headers_are_not_believed_either(header: str):
    assert _peer(1, (header, "for=203.0.113.9")) == PEER


@pytest.mark.parametrize(
    ("trusted", "hops", "expected"),
    [
        (1, ["203.0.113.9"], "203.0.113.9"),
        (1, ["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
        (2, ["203.0.113.9", "10.0.0.1"], "203.0.113.9"),
        (2, ["6.6.6.6", "7.7.7.7", "203.0.113.9", "10.0.0.1"], "203.0.113.9"),
        (1, ["6.6.6.6", "2001:db8::7"], "2001:db8::7"),
        (1, ["nonsense", "203.0.113.9"], "203.0.113.9"),
    ],
)
def test_exactly_the_trusted_hops_from_the_right_are_passed(trusted: int, hops: list[str], expected: str):
    assert _peer(trusted, _forwarded(*hops)) == expected


def test_a_header_that_is_given_twice_is_one_list():
    assert _peer(1, _forwarded("6.6.6.6"), _forwarded("203.0.113.9")) == "203.0.113.9"
    assert _peer(2, _forwarded("203.0.113.9"), _forwarded("10.0.0.1")) == "203.0.113.9"


@pytest.mark.parametrize(
    "hops",
    [[], [""], ["203.0.113.9"], ["unknown", "10.0.0.1"], ["203.0.113.9", "unknown"], ["203.0.113.9:80", "10.0.0.1"],
     ["203.0.113.9", ""], ["203.0.113.9", "10.0.0.1", ""], ["1.2.3", "10.0.0.1"], ["' OR 1", "10.0.0.1"]],
)  # fmt: skip
def test_too_few_hops_or_malformed_ones_count_for_the_connection(hops: list[str]):
    assert _peer(2, *([_forwarded(*hops)] if hops else [])) == PEER


def test_a_zone_is_not_part_of_an_address_and_a_unix_socket_has_none():
    assert _peer(0, peer="fe80::1%eth0") == "fe80::1"
    assert _peer(0, peer="") is None
    assert _peer(0, peer=None) is None


def _starts(api: Api, count: int, **environ: str) -> list[int]:
    """Start verifications of different numbers, each from another address, as the headers claim."""
    statuses = []
    for number in range(count):
        forged = dict.fromkeys(("X-Forwarded-For", "X-Real-IP", "Forwarded"), f"203.0.113.{number}")
        answer = api.call(
            "POST", START, json={"to": f"+92300123456{number}"}, headers=forged, environ_overrides=environ
        )
        statuses.append(answer.status_code)
    return statuses


def test_a_forged_header_buys_no_start(real_world: World):
    api = Api(real_world, limits={"ip": ["3/hour"]})

    assert _starts(api, 5, REMOTE_ADDR="192.0.2.1") == [201, 201, 201, 429, 429]


@pytest.mark.parametrize(("trusted", "warnings"), [(0, 1), (1, 0)])
def test_an_operator_is_warned_once_when_all_users_of_a_proxy_count_as_one(
    real_world: World, log: StringIO, trusted: int, warnings: int
):
    _starts(Api(real_world, http={"trusted_proxies": trusted}), 3, REMOTE_ADDR="192.0.2.1")

    assert log.getvalue().count("forwarded_for_ignored") == warnings
    assert "203.0.113" not in log.getvalue()


def test_behind_a_trusted_proxy_each_client_counts_for_itself(real_world: World):
    api = Api(real_world, limits={"ip": ["3/hour"]}, http={"trusted_proxies": 1})

    assert _starts(api, 5, REMOTE_ADDR="192.0.2.1") == [201] * 5


def test_addresses_of_one_network_count_together(real_world: World):
    api = Api(real_world, limits={"ip": ["2/hour"]})
    addresses = ["2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:0:9::"]
    statuses = [
        api.post(START, {"to": f"+92300123456{place}", "client_ip": address}).status_code
        for place, address in enumerate(addresses)
    ]

    assert statuses == [201, 201, 429]


def test_the_member_wins_over_the_connection_and_may_be_required(real_world: World):
    api = Api(real_world, applications={"shop": _shop(real_world, client_ip="required")})

    assert code_of(api.post(START, {"to": "+923001234567"})) == (422, "client-ip-required")
    assert api.post(START, {"to": "+923001234567", "client_ip": "203.0.113.9"}).status_code == 201


def _in(environment: str, world: World, client_ip: str) -> Api:
    kind = InProduction if environment == "production" else World
    return Api(kind(world.client, world.url, world.advance), applications={"shop": _shop(world, client_ip=client_ip)})


HOLLOW = [
    "127.0.0.1",
    "127.8.8.8",
    "::1",
    "::",
    str(IPv4Address(0)),
    "::ffff:127.0.0.1",
    "224.0.0.1",
    "ff02::1",
    "169.254.7.7",
]


@pytest.mark.parametrize("address", HOLLOW)
def test_production_refuses_an_address_that_no_end_user_has(address: str, real_world: World):
    api = _in("production", real_world, "required")
    answer = api.post(START, {"to": "+923001234567", "client_ip": address})

    assert code_of(answer) == (400, "invalid-request")
    assert answer.json["errors"] == [
        {"pointer": "/client_ip", "message": "is a loopback, unspecified, multicast or link-local address"}
    ]
    assert address not in answer.text.replace(answer.json["errors"][0]["message"], "")


@pytest.mark.parametrize(("environment", "client_ip"), [("development", "required"), ("production", "none")])
def test_where_nobody_is_counted_by_it_or_hurt_it_passes(environment: str, client_ip: str, real_world: World):
    api = _in(environment, real_world, client_ip)

    assert api.post(START, {"to": "+923001234567", "client_ip": "127.0.0.1"}).status_code == 201


@pytest.mark.parametrize("address", ["10.0.0.9", "192.168.1.4", "203.0.113.9", "2001:db8::1", "64:ff9b::cb00:7109"])
def test_production_takes_every_address_that_an_end_user_may_have(address: str, real_world: World):
    api = _in("production", real_world, "required")

    assert api.post(START, {"to": "+923001234567", "client_ip": address}).status_code == 201


def _shop(world: World, **members: str) -> dict:
    return {**tree(world.url)["applications"]["shop"], **members}
