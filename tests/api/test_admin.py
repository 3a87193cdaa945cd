"""Applications and keys over HTTP: made, changed, replaced and revoked by operators, and in force at once."""

import json
from collections.abc import Iterator
from contextlib import closing
from io import StringIO

import jsonschema_rs
import pytest
from support_api import START, Api, code_of
from support_installation import API_KEY, BANK_KEY, NUMBER, World
from support_operators import APPLICATIONS, CLUB, Operators

from otp_service.domain.keyring import api_key_hash
from otp_service.errors import LedgerUnavailableError
from otp_service.ledger.database import Database

DAY = 24 * 3600
UNNAMED = {member: value for member, value in CLUB.items() if member != "name"}


@pytest.fixture
def operators(world: World, ledger_url: str) -> Iterator[Operators]:
    with closing(Operators(world, ledger_url)) as opened:
        yield opened


@pytest.fixture
def still(still_world: World, ledger_url: str) -> Iterator[Operators]:
    """The same, while clocks stand still."""
    with closing(Operators(still_world, ledger_url)) as opened:
        yield opened


# --- applications -------------------------------------------------------------------------------------------


def test_an_application_is_made_and_sends_at_once(operators: Operators):
    answer = operators.post(APPLICATIONS, {"name": "club", "settings": CLUB})
    club = operators.with_key(operators.issue("club")["secret"])
    one = club.start()
    club.deliver()

    assert (answer.status_code, answer.headers["Location"]) == (201, f"{APPLICATIONS}/club")
    assert answer.json["source"] == "ledger"
    assert answer.json["settings"] == CLUB
    assert answer.json["created_at"] == answer.json["changed_at"]
    (caught,) = club.get(f"/v1/sandbox/messages?verification={one}").json
    assert caught["text"].startswith("Your Acme Club code is ")


def test_all_applications_are_listed_and_none_with_the_hash_of_a_key(operators: Operators):
    operators.add("club", locale="ur")
    operators.issue("club")
    listed = operators.get(APPLICATIONS)

    assert [(one["name"], one["source"]) for one in listed.json] == [
        ("shop", "configuration"),
        ("bank", "configuration"),
        ("club", "ledger"),
    ]
    assert listed.json[0]["settings"]["countries"] == ["PK", "GB"]
    assert listed.json[0]["created_at"] is None
    assert "sha256" not in listed.text
    assert [operators.get(f"{APPLICATIONS}/{name}").json for name in ("shop", "club")] == [
        listed.json[0],
        listed.json[2],
    ]
    assert code_of(operators.get(f"{APPLICATIONS}/none")) == (404, "not-found")


def test_a_change_is_in_force_for_the_next_start(operators: Operators):
    operators.add()
    club = operators.with_key(operators.issue("club")["secret"])
    assert code_of(club.post(START, {"to": "+447400123456"})) == (422, "country-not-allowed")

    changed = operators.call("PUT", f"{APPLICATIONS}/club", json={"settings": {**CLUB, "countries": ["GB"]}})
    assert changed.json["settings"]["countries"] == ["GB"]
    assert club.post(START, {"to": "+447400123456"}).status_code == 201
    assert code_of(club.post(START, {"to": NUMBER})) == (422, "country-not-allowed")


def test_a_change_of_ceilings_is_a_change_of_rules(operators: Operators):
    operators.add()
    context = operators.installation.context
    before = context.rulesets["club"]
    priced = {"settings": {**CLUB, "spend": {"day": "1.00"}}}
    assert code_of(operators.call("PUT", f"{APPLICATIONS}/club", json=priced)) == (422, "invalid-application")
    assert context.rulesets["club"] == before


@pytest.fixture
def capped(world: World, ledger_url: str) -> Iterator[Operators]:
    """The same, where messages have a price and ceilings are enforced."""
    prices = {"sandbox": {"kind": "sandbox", "timeout": 1.0, "prices": {"PK": "2.00"}}}
    modes = {"spend.application": "enforce"}
    with closing(Operators(world, ledger_url, gateways=prices, guard={"modes": modes})) as opened:
        yield opened


def test_ceilings_of_an_application_of_the_ledger_hold(capped: Operators):
    capped.add("club", spend={"day": "20.00"})
    club = capped.with_key(capped.issue("club")["secret"])
    answers = [club.post(START, {"to": f"+92300{place:02}34567"}) for place in range(11)]

    assert [answer.status_code for answer in answers] == [201] * 10 + [429]


def test_an_application_of_the_configuration_is_changed_there(operators: Operators):
    answer = operators.call("PUT", f"{APPLICATIONS}/shop", json={"settings": CLUB})

    assert code_of(answer) == (409, "conflict")
    assert operators.installation.context.applications["shop"].brand == "Acme Shop"


@pytest.mark.parametrize("name", ["shop", "club"])
def test_a_name_is_one_application(operators: Operators, name: str):
    operators.add("club")

    assert code_of(operators.post(APPLICATIONS, {"name": name, "settings": CLUB})) == (409, "name-taken")


def test_an_application_is_never_deleted(operators: Operators):
    operators.add()

    assert operators.call("DELETE", f"{APPLICATIONS}/club").status_code == 405


def test_who_is_not_there_is_not_changed(operators: Operators):
    answer = operators.call("PUT", f"{APPLICATIONS}/none", json={"settings": CLUB})

    assert code_of(answer) == (404, "not-found")


@pytest.mark.parametrize(
    ("members", "pointer", "message"),
    [
        ({"name": "Club 1"}, "/name", "is not a name of 1 to 32 characters a-z, 0-9, _ and -"),
        ({"settings": None}, "/settings", "is not an object"),
        ({"settings": {**CLUB, "keys": []}}, "/settings/keys", "is not known"),
        ({"settings": {**CLUB, "923001234567": 1}}, "/settings", "has a member that is not known"),
        ({"settings": {"purposes": ["login"]}}, "/settings/countries", "is missing"),
        ({"settings": {**CLUB, "purposes": []}}, "/settings/purposes", "has fewer than 1 members"),
        ({"settings": {**CLUB, "purposes": "login"}}, "/settings/purposes", "is not a list"),
        ({"settings": {**CLUB, "client_ip": "maybe"}}, "/settings/client_ip", "is not 'required', 'connection'"),
        ({"settings": {**CLUB, "region": "ZZ"}}, "/settings/region", "is not an ISO 3166-1 alpha-2 code"),
        ({"settings": {**CLUB, "name": "a@b"}}, "/settings/name", "is shown in messages: it has letters, digits"),
        ({"settings": {**CLUB, "spend": {"day": "much"}}}, "/settings/spend/day", "is an amount such as 2.50"),
    ],
)
def test_settings_of_the_wrong_form_are_refused_with_the_place(operators, members, pointer, message):
    answer = operators.post(APPLICATIONS, {"name": "club", "settings": CLUB, **members})

    assert code_of(answer) == (400, "invalid-request")
    assert [(one["pointer"], one["message"][: len(message)]) for one in answer.json["errors"]] == [(pointer, message)]
    assert "923001234567" not in answer.text
    assert len(operators.get(APPLICATIONS).json) == 2


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"purposes": ["login", "923001234567"]}, "purposes.1: there is no such purpose in the configuration"),
        ({"spend": {"hour": "5"}}, "applications.club.spend would not count these messages."),
        ({"locale": "fr"}, "locale: there is no file of messages for fr."),
        ({"locale": "ar-Latn"}, "locale: there is no file of messages for ar-Latn."),
        ({"name": "Club \u0166"}, "which is not in the GSM 7-bit alphabet"),
    ],
)
def test_settings_that_could_not_be_used_are_refused(operators, members, sentence):
    answer = operators.post(APPLICATIONS, {"name": "club", "settings": {**CLUB, **members}})

    assert code_of(answer) == (422, "invalid-application")
    assert sentence in answer.json["detail"]
    assert "923001234567" not in answer.text
    assert len(operators.get(APPLICATIONS).json) == 2


def test_a_name_that_could_not_stand_in_a_message_needs_a_brand_beside_it(operators: Operators):
    answer = operators.post(APPLICATIONS, {"name": "923001234567", "settings": UNNAMED})

    assert code_of(answer) == (422, "invalid-application")
    assert "at most 3 digits in a row" in answer.json["detail"]
    assert "923001234567" not in answer.text
    assert operators.post(APPLICATIONS, {"name": "923001234567", "settings": CLUB}).status_code == 201


# --- keys ---------------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_its_hash_never(operators: Operators, log: StringIO):
    issued = operators.issue("shop", "verify", "consent", addresses=("192.0.2.7", "2001:db8::/48"))
    (listed,) = operators.keys_of("shop")
    rotated = operators.end(issued, "rotate")
    revoked = operators.end(issued, "revoke")
    everything = operators.get(f"{APPLICATIONS}/shop/keys").text + operators.get(APPLICATIONS).text + revoked.text

    assert listed == issued["key"]
    assert (listed["scopes"], listed["addresses"]) == (["consent", "verify"], ["192.0.2.7/32", "2001:db8::/48"])
    for secret in (issued["secret"], rotated.json["secret"]):
        assert secret.startswith("otp_")
        for place in (everything, log.getvalue()):
            assert secret not in place
            assert api_key_hash(secret) not in place
    assert "sha256" not in everything + log.getvalue() + json.dumps(issued)


def test_an_application_of_the_configuration_may_have_keys_of_both_kinds(operators: Operators):
    made = operators.with_key(operators.issue("shop", "verify", "consent", "subjects")["secret"])
    one = made.start()

    assert operators.with_key(API_KEY).get(f"{START}/{one}").status_code == 200
    assert operators.with_key(BANK_KEY).get(f"{START}/{one}").status_code == 404


def test_a_revoked_key_is_of_no_use_at_once_and_the_others_are(operators: Operators):
    one, other = operators.issue(), operators.issue()
    answer = operators.end(one, "revoke")

    assert answer.json["revoked_at"] is not None
    assert code_of(operators.with_key(one["secret"]).post(START, {"to": NUMBER})) == (401, "unauthenticated")
    assert operators.with_key(other["secret"]).post(START, {"to": NUMBER}).status_code == 201
    assert operators.end(one, "revoke").json == answer.json
    assert code_of(operators.end(one, "rotate")) == (409, "conflict")


def test_a_rotated_key_goes_on_for_the_overlap_and_no_longer(still: Operators):
    old = still.issue("shop", "verify", addresses=("127.0.0.0/8",))
    new = still.end(old, "rotate", {"overlap": 60}).json
    answers = []
    for _ in range(2):
        answers.append([still.with_key(key["secret"]).get(f"{START}/none").status_code for key in (old, new)])
        still.world.advance(60)

    assert answers == [[404, 404], [401, 404]]
    assert (new["key"]["scopes"], new["key"]["addresses"]) == (["verify"], ["127.0.0.0/8"])
    ends = {key["id"]: key["expires_at"] for key in still.keys_of("shop")}
    assert ends == {old["key"]["id"]: "2026-11-18T11:07:40Z", new["key"]["id"]: None}
    assert code_of(still.end(old, "rotate")) == (409, "conflict")


def test_an_overlap_is_a_day_when_nothing_is_said(still: Operators):
    old = still.issue()
    still.end(old, "rotate")
    answers = []
    for seconds in (DAY - 1, 1):
        still.world.advance(seconds)
        answers.append(still.with_key(old["secret"]).get(f"{START}/none").status_code)

    assert answers == [404, 401]


def test_without_an_overlap_a_rotation_ends_the_old_key_at_once(operators: Operators):
    old = operators.issue()
    new = operators.end(old, "rotate", {"overlap": 0}).json

    assert [operators.with_key(one["secret"]).get(f"{START}/none").status_code for one in (old, new)] == [401, 404]


def test_a_key_is_found_at_its_own_application_only(operators: Operators):
    issued = operators.issue("shop")
    for verb in ("rotate", "revoke"):
        assert code_of(operators.end(issued, verb, application="bank")) == (404, "not-found")
        assert code_of(operators.end(issued, verb, application="none")) == (404, "not-found")

    assert operators.keys_of("bank") == []
    assert len(operators.keys_of("shop")) == 1
    assert operators.with_key(issued["secret"]).post(START, {"to": NUMBER}).status_code == 201


def test_the_key_of_operators_is_no_key_of_an_application(operators: Operators):
    (own,) = operators.installation.context.ledger.api_keys.of("")
    issued = {"key": {"id": own.id, "application": "shop"}}

    assert code_of(operators.get(f"{APPLICATIONS}//keys")) == (404, "not-found")
    for verb in ("rotate", "revoke"):
        assert code_of(operators.end(issued, verb)) == (404, "not-found")
    assert operators.get(APPLICATIONS).status_code == 200


def test_no_key_for_operators_is_made_over_http(operators: Operators):
    answer = operators.post(f"{APPLICATIONS}/shop/keys", {"scopes": ["admin"]})

    assert code_of(answer) == (400, "invalid-request")
    assert code_of(operators.post(f"{APPLICATIONS}/none/keys", {"scopes": ["verify"]})) == (404, "not-found")


@pytest.mark.parametrize(
    ("body", "pointer", "message"),
    [
        ({}, "/scopes", "is missing"),
        ({"scopes": []}, "/scopes", "has fewer than 1 members"),
        ({"scopes": "verify"}, "/scopes", "is not a list"),
        ({"scopes": ["verify", "all"]}, "/scopes/1",
         "is not 'verify', 'consent', 'subjects', 'webhooks', 'factors' or 'stats'"),
        ({"scopes": ["verify"], "addresses": ["192.0.2.1", "192.0.2.9/24"]}, "/addresses/1",
         "is not an address or a network"),
        ({"scopes": ["verify"], "addresses": ["x" * 65]}, "/addresses/0", "has more than 64 characters"),
        ({"scopes": ["verify"], "addresses": ["192.0.2.1"] * 51}, "/addresses", "has more than 50 members"),
        ({"scopes": ["verify"], "expires_at": "2030-01-01T00:00:00Z"}, "/expires_at", "is not known"),
    ],
)  # fmt: skip
def test_a_key_that_is_asked_for_wrongly_is_not_made(operators, body, pointer, message):
    answer = operators.post(f"{APPLICATIONS}/shop/keys", body)

    assert code_of(answer) == (400, "invalid-request")
    assert answer.json["errors"] == [{"pointer": pointer, "message": message}]
    assert "192.0.2.9" not in answer.text
    assert operators.keys_of("shop") == []


@pytest.mark.parametrize(
    "body", [{"overlap": -1}, {"overlap": 90 * DAY + 1}, {"overlap": "60"}, {"overlap": 1.5}, {"x": 1}]
)
def test_a_rotation_that_is_asked_for_wrongly_is_not_made(operators: Operators, body: dict):
    issued = operators.issue()

    assert code_of(operators.end(issued, "rotate", body)) == (400, "invalid-request")
    assert operators.keys_of("shop") == [issued["key"]]


def test_the_last_use_is_told_to_the_minute(still: Operators):
    issued = still.issue()
    shop = still.with_key(issued["secret"])
    uses = still.installation.context.key_uses
    for _ in range(3):
        shop.get(f"{START}/none")
        still.world.advance(50)
    uses.write()

    assert still.keys_of("shop")[0]["last_used_at"] == "2026-11-18T11:08:00Z"


def test_a_use_that_was_refused_is_none(operators: Operators):
    issued = operators.issue(addresses=("203.0.113.7",))
    operators.with_key(issued["secret"]).get(f"{START}/none")
    operators.installation.context.key_uses.write()

    assert operators.keys_of("shop")[0]["last_used_at"] is None


def test_every_answer_has_the_form_that_the_specification_says(operators: Operators):
    spec = operators.get("/openapi.json").json
    issued = operators.issue("shop", "verify", addresses=("192.0.2.7",))
    key = f"/shop/keys/{issued['key']['id']}"
    calls = [
        ("post", "", "", {"name": "club", "settings": CLUB}, "201"),
        ("get", "", "", None, "200"),
        ("get", "/{name}", "/club", None, "200"),
        ("get", "/{name}", "/shop", None, "200"),
        ("put", "/{name}", "/club", {"settings": CLUB}, "200"),
        ("post", "/{name}/keys", "/club/keys", {"scopes": ["verify"]}, "201"),
        ("get", "/{name}/keys", "/shop/keys", None, "200"),
        ("post", "/{name}/keys/{key_id}/rotate", f"{key}/rotate", None, "201"),
        ("post", "/{name}/keys/{key_id}/revoke", f"{key}/revoke", None, "200"),
    ]
    for method, template, path, body, status in calls:
        parts = {} if body is None else {"json": body}
        answer = operators.call(method.upper(), APPLICATIONS + path, **parts)
        described = spec["paths"][APPLICATIONS + template][method]["responses"][status]
        schema = described["content"]["application/json"]["schema"]
        assert str(answer.status_code) == status, answer.text
        assert list(jsonschema_rs.iter_errors({**schema, "components": spec["components"]}, answer.json)) == []
    assert len(calls) > len([path for path in spec["paths"] if path.startswith(APPLICATIONS)])


# --- what is left behind ------------------------------------------------------------------------------------


def test_every_change_is_logged_with_who_did_it(operators: Operators, log: StringIO):
    operators.add()
    operators.call("PUT", f"{APPLICATIONS}/club", json={"settings": CLUB})
    issued = operators.issue("club", "verify", "subjects", addresses=("203.0.113.7",))
    rotated = operators.end(issued, "rotate").json
    operators.end(issued, "revoke")
    (own,) = operators.installation.context.ledger.api_keys.of("")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    changes = [line for line in lines if line["message"].startswith(("application_", "api_key_"))]
    told = [
        {name: one[name] for name in one if name not in {"timestamp", "level", "logger", "request_id"}}
        for one in changes
    ]

    assert told == [
        {"message": "application_added", "application": "club", "by": own.id},
        {"message": "application_changed", "application": "club", "by": own.id},
        {"message": "api_key_issued", "key_id": issued["key"]["id"], "application": "club",
         "scopes": ["subjects", "verify"], "networks": 1, "by": own.id},
        {"message": "api_key_rotated", "key_id": issued["key"]["id"], "successor": rotated["key"]["id"],
         "application": "club", "by": own.id},
        {"message": "api_key_revoked", "key_id": issued["key"]["id"], "application": "club", "by": own.id},
    ]  # fmt: skip
    requests = [line for line in lines if line["message"] == "request"]
    assert {line["key_id"] for line in requests} == {own.id}
    assert [line["request_id"] for line in changes] == [line["request_id"] for line in requests]


def test_the_log_of_a_request_names_the_key_it_was_made_with(operators: Operators, log: StringIO):
    issued = operators.issue()
    operators.with_key(issued["secret"]).get(f"{START}/none")
    operators.with_key(API_KEY).get(f"{START}/none")
    *_, made, configured = [json.loads(line) for line in log.getvalue().splitlines()]

    assert (made["application"], made["key_id"]) == ("shop", issued["key"]["id"])
    assert "key_id" not in configured


def test_while_the_ledger_is_away_nothing_changes_and_who_could_call_can(operators, monkeypatch):
    issued, ended = operators.issue(), operators.issue()
    operators.end(ended, "revoke")

    def away(_):
        raise LedgerUnavailableError("The ledger does not answer.")

    monkeypatch.setattr(Database, "read", away)
    monkeypatch.setattr(Database, "write", away)
    for method, path in (("GET", ""), ("POST", "/shop/keys"), ("POST", f"/shop/keys/{issued['key']['id']}/revoke")):
        body = None if method == "GET" else {"scopes": ["verify"]} if path.endswith("keys") else {}
        answer = operators.call(method, f"{APPLICATIONS}{path}", json=body)
        assert code_of(answer) == (503, "ledger-unavailable")
    shop = operators.with_key(issued["secret"])
    assert shop.get(f"{START}/none").status_code == 404
    assert operators.with_key(ended["secret"]).get(f"{START}/none").status_code == 401


def test_starts_and_checks_never_query_the_ledger_for_applications(
    operators: Operators, monkeypatch: pytest.MonkeyPatch
):
    shop = operators.with_key(operators.issue()["secret"])
    one = shop.start()

    def never(_):
        raise AssertionError("no request of an application asks the ledger")

    monkeypatch.setattr(Database, "read", never)
    monkeypatch.setattr(Database, "write", never)
    assert shop.post(f"{START}/{one}/check", {"code": shop.code(one)}).json["valid"]
    assert shop.post(START, {"to": "+923001234568"}).status_code == 201
    assert code_of(_unknown(operators).post(START, {"to": NUMBER})) == (401, "unauthenticated")


def _unknown(operators: Operators) -> Api:
    return operators.with_key("otp_unknown")


@pytest.mark.parametrize("name", ["%00", "ak_%00", "ak_1", "x" * 300])
@pytest.mark.parametrize("act", ["rotate", "revoke"])
def test_a_name_that_no_key_can_have_is_of_none(operators: Operators, name: str, act: str):
    assert operators.post(f"/v1/admin/applications/shop/keys/{name}/{act}", {}).status_code == 404
