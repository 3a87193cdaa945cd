"""Signing in without a password: on one's own machine, in development, by the link that ``dev`` printed; else never."""

import pytest
from support_console import Browser
from support_installation import InProduction, World

from otp_service.bootstrap import Installation, prepare
from otp_service.console.accounts import Role
from otp_service.console.app import HEALTH, Console
from otp_service.console.authentication import demo_code
from otp_service.console.records import ConsoleUsers

TOKEN = "t" * 43
LINK = f"/dev/{TOKEN}"


def demo(world: World, **members: object) -> tuple[Installation, Console]:
    installation = world.install(console={"dev_token": TOKEN, **members})
    prepare(installation)
    return installation, Console(installation)


@pytest.mark.parametrize("role", Role)
def test_whoever_has_the_link_signs_in_with_a_role(real_world, role):
    installation, console = demo(real_world)
    browser = Browser(console)
    assert f'value="{role}"' in browser.get(LINK).text
    answer = browser.post(LINK, role=role)

    assert (answer.status_code, answer.location) == (303, "/")
    assert f"dev-{role}" in browser.get("/").text
    assert ConsoleUsers(installation.context.ledger.database).find(f"dev-{role}").role is role
    assert Browser(console).post(LINK, role=role).status_code == 303, "the user is there already"


def test_another_role_takes_the_place_of_the_one_before(real_world):
    _, console = demo(real_world)
    browser = Browser(console)
    browser.get(LINK)
    browser.post(LINK, role="admin")
    before = browser.client.get_cookie("__Host-console", domain="localhost").value
    browser.get(LINK)
    browser.post(LINK, role="support")
    thief = Browser(console)
    thief.client.set_cookie("__Host-console", before, domain="localhost", secure=True)

    assert "dev-support" in browser.get("/").text
    assert thief.get("/").location == "/sign-in"


def test_the_code_that_stands_there_confirms(real_world):
    installation, console = demo(real_world)
    browser = Browser(console)
    browser.get(LINK)
    browser.post(LINK, role="admin")
    for _ in range(2):
        code = demo_code(installation.context, Role.ADMIN)
        assert code in browser.get(LINK).text
        browser.get("/")
        assert browser.post("/confirm", code=code, back="/users").location == "/users"


@pytest.mark.parametrize("role", ["", "boss", "dev-admin"])
def test_a_role_that_is_none_is_refused(real_world, role):
    _, console = demo(real_world)
    browser = Browser(console)
    browser.get(LINK)

    assert browser.post(LINK, role=role).status_code == 422


def test_whoever_was_disabled_does_not_sign_in(real_world):
    installation, console = demo(real_world)
    browser = Browser(console)
    browser.get(LINK)
    browser.post(LINK, role="support")
    ConsoleUsers(installation.context.ledger.database).disable("dev-support", "cli:x")
    browser.get(LINK)

    assert browser.post(LINK, role="support").status_code == 422
    assert demo_code(installation.context, Role.SUPPORT) == ""


def test_no_form_of_another_site_signs_in(real_world):
    _, console = demo(real_world)
    answer = Browser(console).send(LINK, {"role": "admin"}, {"Sec-Fetch-Site": "cross-site"})

    assert (answer.status_code, answer.headers.get("Set-Cookie")) == (403, None)


@pytest.mark.parametrize("token", ["", "x", "t" * 42, "t" * 44, "é" * 43, "/", "%"])
def test_another_token_finds_nothing(real_world, token):
    _, console = demo(real_world)
    nothing = Browser(console).get("/nothing")
    for answer in (Browser(console).get(f"/dev/{token}"), Browser(console).post(f"/dev/{token}", role="admin")):
        assert (answer.status_code, answer.text) == (404, nothing.text)


def test_nobody_elsewhere_has_the_link(real_world):
    _, console = demo(real_world)
    for address in ("192.0.2.1", "10.0.0.1", "2001:db8::1"):
        assert Browser(console, address=address).get(LINK).status_code == 404
        assert Browser(console, address=address).post(LINK, role="admin").status_code == 404
    assert Browser(console, address="::1").get(LINK).status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
def test_nobody_has_the_link_by_a_proxy_of_this_host(real_world, header):
    _, console = demo(real_world)

    assert Browser(console).get(LINK, **{header: "192.0.2.1"}).status_code == 404


@pytest.mark.parametrize("host", ["console.example", "192.0.2.1:8082", "localhost.evil.example"])
def test_no_other_host_has_the_link(real_world, host):
    _, console = demo(real_world)
    answer = console.test_client().get(LINK, base_url=f"http://{host}")

    assert answer.status_code == 403
    assert 'value="admin"' not in answer.text


@pytest.mark.parametrize(
    "members", [{"public_url": "https://localhost"}, {"trusted_proxies": 1}, {"dev_token": None}], ids=str
)
def test_it_is_not_there_where_others_reach_the_console(real_world, members):
    _, console = demo(real_world, **members)

    assert [rule.rule for rule in console.url_map.iter_rules() if rule.rule.startswith("/dev/")] == []
    assert Browser(console).get(LINK).status_code == 404


def test_it_is_not_there_in_production(real_world):
    world = InProduction(real_world.client, real_world.url, real_world.advance)
    _, console = demo(world)

    assert [rule.rule for rule in console.url_map.iter_rules() if rule.rule.startswith("/dev/")] == []
    assert Browser(console).get(LINK).status_code == 404
    assert Browser(console).post(LINK, role="admin").status_code == 404


def test_a_user_of_a_demo_cannot_sign_in_with_a_password(real_world):
    _, console = demo(real_world)
    browser = Browser(console)
    browser.get(LINK)
    browser.post(LINK, role="admin")
    stranger = Browser(console)
    stranger.get("/sign-in")

    assert stranger.post("/sign-in", name="dev-admin", password="", code="000000").status_code == 403


def test_whoever_watches_the_process_is_answered_under_any_name(real_world):
    _, console = demo(real_world, public_url="https://console.example")
    answer = console.test_client().get(HEALTH, base_url="http://10.0.0.7:8082")

    assert (answer.status_code, answer.text) == (200, "ok")
    assert "Set-Cookie" not in answer.headers
