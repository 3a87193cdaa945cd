"""What a key may be used for and from where: all routes, all scopes; and nothing of another application."""

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from support_api import SCOPES, START, Api, code_of
from support_installation import API_KEY, BANK_KEY, NUMBER, World
from support_operators import APPLICATIONS, Operators
from werkzeug.routing import Rule

from otp_service.api.auth import PROVIDER_PATHS
from otp_service.domain.applications import APPLICATION_SCOPES, KeyScope, parse_networks
from otp_service.services.access import issue_operator_key

NOBODY = {"to": NUMBER}


@pytest.fixture
def operators(world: World, ledger_url: str) -> Iterator[Operators]:
    with closing(Operators(world, ledger_url)) as opened:
        yield opened


@pytest.fixture
def behind(world: World, ledger_url: str) -> Iterator[Operators]:
    """The service behind one proxy."""
    with closing(Operators(world, ledger_url, http={"trusted_proxies": 1})) as opened:
        yield opened


def _protected(api: Api) -> list[tuple[Rule, str]]:
    """Return every call below ``/v1/`` that needs a key: its route, and a path of it."""
    urls = api.app.url_map.bind("localhost")
    rules = [
        rule for rule in api.app.url_map.iter_rules() if rule.rule.startswith("/v1/") and rule.methods != {"OPTIONS"}
    ]
    return [
        (rule, urls.build(rule.endpoint, dict.fromkeys(rule.arguments, "none"), method=next(iter(rule.methods))))
        for rule in rules
        if not rule.rule.startswith(PROVIDER_PATHS)
    ]


def _refused(api: Api, rule: Rule, path: str) -> set[bool]:
    """Return whether each method of a route is refused as forbidden."""
    return {
        api.call(method, path, json=None if method in {"GET", "HEAD"} else {}).status_code == 403
        for method in rule.methods
    }


@pytest.mark.parametrize("scope", sorted(APPLICATION_SCOPES))
def test_a_key_may_be_used_for_its_scope_and_nothing_else(operators: Operators, scope: KeyScope):
    shop = operators.with_key(operators.issue("shop", scope)["secret"])
    wrong = {
        (rule.rule, refused)
        for rule, path in _protected(operators)
        for refused in _refused(shop, rule, path)
        if refused is (SCOPES[rule.rule.split("/")[2]] == scope)
    }

    assert wrong == set()


def test_a_key_of_the_configuration_may_be_used_for_all_but_administration(operators: Operators):
    shop = operators.with_key(API_KEY)
    refused = {rule.rule for rule, path in _protected(operators) if True in _refused(shop, rule, path)}

    assert refused == {rule.rule for rule, _ in _protected(operators) if rule.rule.startswith("/v1/admin/")}
    assert refused


def test_a_key_of_operators_sees_nothing_of_any_application(operators: Operators):
    one = operators.with_key(API_KEY).start()
    refused = {rule.rule for rule, path in _protected(operators) if _refused(operators, rule, path) == {True}}

    assert refused == {rule.rule for rule, _ in _protected(operators) if not rule.rule.startswith("/v1/admin/")}
    for answer in (operators.get(f"{START}/{one}"), operators.post(START, NOBODY)):
        assert code_of(answer) == (403, "forbidden")


def test_what_a_key_lacks_is_told(operators: Operators):
    shop = operators.with_key(operators.issue("shop", "subjects")["secret"])
    answer = shop.post(START, NOBODY)

    assert answer.json["detail"] == "This API key lacks the scope verify."
    assert code_of(shop.get("/v1/nothing")) == (404, "not-found")
    assert code_of(shop.call("DELETE", START)) == (405, "method-not-allowed")


def test_all_who_are_not_known_hear_the_same(operators: Operators):
    revoked, ended, elsewhere = operators.issue(), operators.issue(), operators.issue(addresses=("203.0.113.7",))
    operators.end(revoked, "revoke")
    operators.end(ended, "rotate", {"overlap": 0})
    answers = [
        operators.with_key(key).post(START, NOBODY)
        for key in (revoked["secret"], ended["secret"], elsewhere["secret"], "otp_unknown", "")
    ]
    answers.append(operators.client.post(START, json=NOBODY))

    assert {code_of(answer) for answer in answers} == {(401, "unauthenticated")}
    assert len({answer.data for answer in answers}) == 1
    assert len({tuple(sorted(_told(answer))) for answer in answers}) == 1


def _told(answer: Any) -> list[tuple[str, str]]:
    return [(name, value) for name, value in answer.headers if name != "X-Request-Id"]


@pytest.mark.parametrize(
    ("addresses", "peer", "status"),
    [
        (("192.0.2.0/24",), "192.0.2.200", 404),
        (("192.0.2.0/24",), "::ffff:192.0.2.200", 404),
        (("192.0.2.0/24",), "192.0.3.1", 401),
        (("192.0.2.0/24",), "", 401),
        (("2001:db8::/48", "192.0.2.1"), "2001:db8::7", 404),
        (("2001:db8::/48", "192.0.2.1"), "2001:db9::7", 401),
        ((), "", 404),
    ],
)
def test_a_key_with_an_address_list_is_known_there_only(operators: Operators, addresses, peer, status):
    shop = operators.with_key(operators.issue("shop", addresses=addresses)["secret"])

    assert shop.call("GET", f"{START}/none", environ_overrides={"REMOTE_ADDR": peer}).status_code == status


@pytest.mark.parametrize(
    ("hops", "status"),
    [("192.0.2.7", 404), ("198.51.100.1, 192.0.2.7", 404), ("192.0.2.7, 198.51.100.1", 401), ("x", 401), (None, 401)],
)
def test_behind_a_proxy_the_address_is_the_one_that_the_proxy_saw(behind: Operators, hops: str | None, status: int):
    shop = behind.with_key(behind.issue("shop", addresses=("192.0.2.7",))["secret"])
    headers = {} if hops is None else {"X-Forwarded-For": hops}
    answer = shop.call("GET", f"{START}/none", headers=headers, environ_overrides={"REMOTE_ADDR": "10.0.0.1"})

    assert answer.status_code == status


def test_without_a_trusted_proxy_no_header_opens_an_address_list(operators: Operators):
    shop = operators.with_key(operators.issue("shop", addresses=("192.0.2.7",))["secret"])
    headers = dict.fromkeys(("X-Forwarded-For", "X-Real-IP", "Forwarded"), "192.0.2.7")

    assert shop.call("GET", f"{START}/none", headers=headers).status_code == 401


def test_an_address_list_of_operators_holds_too(operators: Operators):
    context = operators.installation.context
    operators.key = issue_operator_key(context, parse_networks(["192.0.2.7"]), "tests").secret
    answers = [
        operators.call("GET", APPLICATIONS, environ_overrides={"REMOTE_ADDR": peer}).status_code
        for peer in ("192.0.2.7", "192.0.2.8")
    ]

    assert answers == [200, 401]


def test_what_is_another_applications_is_as_if_it_were_not_there(operators: Operators):
    """Every call that names something, asked by each other application for what is there and for what is not."""
    operators.add("club", client_ip="none")
    shop = operators.with_key(API_KEY)
    one = shop.start()
    absent = one[:-4] + ("0000" if not one.endswith("0000") else "1111")
    others = [BANK_KEY, *(operators.issue(name, *sorted(APPLICATION_SCOPES))["secret"] for name in ("bank", "club"))]
    calls = [(rule, path) for rule, path in _protected(operators) if "verification_id" in rule.arguments]
    assert len(calls) >= 4
    for other in map(operators.with_key, others):
        for rule, path in calls:
            for method in rule.methods:
                there, gone = (
                    other.call(method, path.replace("none", name), json=_body(rule, method)) for name in (one, absent)
                )
                assert there.status_code == gone.status_code == 404, rule
                assert there.data == gone.data
        assert other.get(f"/v1/sandbox/messages?verification={one}").json == []
        assert other.get("/v1/sandbox/messages").json == []
    assert shop.get(f"{START}/{one}").json["checks_left"] == 5
    assert shop.get(f"{START}/{one}").json["status"] == "pending"


def _body(rule: Rule, method: str) -> dict[str, str] | None:
    if method in {"GET", "HEAD"}:
        return None
    return {"code": "000000"} if rule.rule.endswith("/check") else {}


def test_a_key_and_its_successor_see_the_same(operators: Operators):
    old = operators.issue("shop")
    one = operators.with_key(old["secret"]).start()
    new = operators.with_key(operators.end(old, "rotate").json["secret"])

    assert new.post(f"{START}/{one}/check", {"code": new.code(one)}).json["valid"]
    assert re.fullmatch("ak_[0-9a-f]{32}", old["key"]["id"])
