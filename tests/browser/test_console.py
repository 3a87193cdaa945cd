"""The console in a real browser: signing in, and each page as people see it: language, colours, width, no script."""

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pyotp
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect
from support_browser import fonts_of, serving, violations
from support_caller import Caller
from support_console import PASSWORD, Person, new_person
from support_events import record_events
from support_installation import NUMBER, World
from support_outbox import Scripted, Sender, refused
from werkzeug.serving import WSGIRequestHandler

from otp_service.bootstrap import Installation, prepare
from otp_service.console import authentication
from otp_service.console.accounts import ALLOWED, Role
from otp_service.console.app import VIEWS, Console
from otp_service.console.requests import COOKIE, LANGUAGE_COOKIE, View
from otp_service.domain.applications import KeyScope
from otp_service.errors import RateLimitedError
from otp_service.gateways.base import InboundMessage
from otp_service.services import access, webhooks
from otp_service.services.inbound import handle_message
from otp_service.services.webhooks import Actor

TOKEN = "t" * 43
WIDTHS = (1280, 320)
MAX_WEIGHT = 150_000
"""Bytes of a page with all that it loads."""
OPEN_PAGES = ("/sign-in", f"/dev/{TOKEN}", "/nothing")
TRIED = '[limits]\nnumber = ["1/day"]\n'
SMALL = """[...document.querySelectorAll('button, input:not([type=hidden]):not(.hidden), select, summary, nav a')]
    .filter(one => one.checkVisibility()).filter(one => {
        const {width, height} = one.getBoundingClientRect(); return width < 24 || height < 24 })
    .map(one => one.outerHTML)"""


def role_for(view: View) -> Role:
    """Return a role that may see a view."""
    return next(role for role in Role if view.permission is None or view.permission in ALLOWED[role])


PAGES = [
    pytest.param(view.rule, role_for(view), id=view.rule)
    for view in VIEWS
    if view.method == "GET" and not view.is_open and "<" not in view.rule
]
"""Every page without a part of an address that is known only when there is something to see."""


@dataclass
class Site:
    """A console with something to see, and people's browsers."""

    installation: Installation
    browser: Browser
    port: int = 0
    complaints: list[str] = field(default_factory=list)
    """What the browsers' consoles say, such as that a policy was broken."""
    arrived: str = ""
    """A verification whose code arrived."""
    refused: str = ""
    """A decision that refused a start."""
    _contexts: list[BrowserContext] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"

    def page(self, role: Role | None = None, language: str = "en", **options: Any) -> Page:
        """Return a page of a new browser, whose person is signed in with a role."""
        context = self.browser.new_context(base_url=self.origin, **options)
        context.set_default_timeout(15_000)
        self._contexts.append(context)
        cookies = {LANGUAGE_COOKIE: language}
        if role:
            cookies[COOKIE] = authentication.sign_in_as(self.installation.context, role)
        shared = {"domain": "localhost", "path": "/", "secure": True, "httpOnly": True}
        context.add_cookies([{"name": name, "value": value, **shared} for name, value in cookies.items()])
        page = context.new_page()
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def close(self) -> None:
        for context in self._contexts:
            context.close()


def fill(installation: Installation) -> str:
    """Let things happen that pages show; return a verification whose code arrived."""
    context, caller = installation.context, Caller(installation)
    access.issue_key(context, "shop", {KeyScope.VERIFY}, (), "cli:tests")
    webhooks.add_endpoint(context, "shop", "https://shop.example/hook", ("verification",), Actor("cli:tests"))
    caller.start(to="+923001234568")
    Sender(caller, sandbox=Scripted(refused("rejected", '<b>"20003"</b>'))).deliver()
    arrived = caller.start()
    Sender(caller).deliver()
    caller.start(to="+923001234569")
    with suppress(RateLimitedError):
        for _ in range(20):
            caller.start(to="+923001234570")
    record_events(context)
    return arrived


@pytest.fixture
def site(real_world: World, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(WSGIRequestHandler, "log_request", lambda *_: None)
    installation = real_world.install(console={"dev_token": TOKEN})
    prepare(installation)
    made = Site(installation, browser)
    made.arrived = fill(installation)
    made.refused = next(installation.context.store.decisions.latest(1)).id
    with serving(Console(installation)) as made.port:
        yield made
        made.close()


def looks_right(page: Page, width: int, language: str) -> None:
    """Assert what holds of each page."""
    where = (page.url, width, language)
    assert violations(page) == [], where
    assert page.evaluate("document.documentElement.scrollWidth") <= width, where
    assert page.evaluate("[document.documentElement.lang, document.dir]") == [
        language,
        "rtl" if language == "ur" else "ltr",
    ], where
    assert page.evaluate(SMALL) == [], where
    assert page.locator("h1").count() == 1, where


def appearances() -> list[Any]:
    return [
        pytest.param(language, scheme, id=f"{language}-{scheme}")
        for language in ("en", "ur")
        for scheme in ("light", "dark")
    ]


# --- signing in -------------------------------------------------------------------------------------------------


def sign_in(page: Page, person: Person, code: str = "") -> None:
    page.goto("/sign-in")
    page.get_by_label("Name").fill(person.name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Code of your authenticator app").fill(code or person.code())
    page.get_by_role("button", name="Sign in").click()


@pytest.mark.parametrize("scripts", [True, False], ids=["with script", "without"])
def test_a_person_signs_in_acts_confirms_and_signs_out(site: Site, scripts: bool, real_world: World):
    person = new_person(site.installation, "ayesha", Role.ADMIN)
    page = site.page(java_script_enabled=scripts)
    sign_in(page, person, "000000")
    expect(page.get_by_role("alert")).to_contain_text("That is not right.")
    sign_in(page, person)
    expect(page.get_by_role("heading", level=1)).to_have_text("Good day, ayesha")
    page.get_by_role("link", name="Users").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Users")
    real_world.advance(301)  # for Redis, by whose clock codes are
    person.used += 301 // 30
    page.get_by_label("Name").fill("zain")
    page.locator("form[action='/users'] select").select_option("fraud")
    page.get_by_role("button", name="Invite", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Confirm that it is you")
    page.get_by_label("Code of your authenticator app").fill(person.code())
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Name").fill("zain")
    page.get_by_role("button", name="Invite", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("/invitation/")
    page.get_by_role("link", name="Users").first.click()
    expect(page.get_by_role("table")).to_contain_text("zain")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.go_back()

    assert "zain" not in page.content()
    assert all("status of 403" in one for one in site.complaints), site.complaints


def test_who_is_invited_sets_a_password_and_an_app(site: Site):
    context = site.installation.context
    invitation = authentication.invite(context, "sana", Role.SUPPORT, (), "cli:tests")
    page = site.page()
    page.goto(f"/invitation/{invitation}")
    secret = page.locator("figcaption code").inner_text()
    drawn = page.locator("figure img").evaluate("one => one.complete && one.naturalWidth")
    found = authentication.open_invitation(context, invitation)
    person = Person("sana", pyotp.parse_uri(found.uri))
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_label("Code of your authenticator app").fill(person.code())
    looks_right(page, 1280, "en")
    page.get_by_role("button", name="Accept the invitation").click()
    expect(page.get_by_role("status")).to_contain_text("Sign in with the next code")

    assert secret.replace(" ", "") == person.app.secret
    assert drawn > 100
    sign_in(page, person)
    expect(page.get_by_role("heading", level=1)).to_have_text("Good day, sana")
    assert site.complaints == []


def test_the_link_of_a_trial_signs_in_with_any_role(site: Site):
    page = site.page()
    for role in Role:
        page.goto(f"/dev/{TOKEN}")
        page.get_by_role("button", name=f"Sign in: {role}").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"Good day, dev-{role}")
        seen = {one.get_attribute("href") for one in page.locator("nav a").all()}
        assert seen == {one.rule for one in VIEWS if one.title and one.permission in ALLOWED[role]}
    assert site.complaints == []


def test_the_session_is_kept_from_scripts_and_other_sites(site: Site):
    page = site.page()
    page.goto(f"/dev/{TOKEN}")
    page.get_by_role("button", name="Sign in: admin").click()
    page.wait_for_url(f"{site.origin}/")
    cookie = next(one for one in page.context.cookies() if one["name"] == COOKIE)

    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"], cookie["path"]) == (True, True, "Lax", "/")
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0


def test_it_works_under_the_name_that_the_compose_file_gives_it(
    real_world: World, browser: Browser, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(WSGIRequestHandler, "log_request", lambda *_: None)
    consoles: list[Console] = []

    def application(environ: Any, start_response: Any) -> Any:
        return consoles[0](environ, start_response)

    with serving(application) as port:
        origin = f"http://console.localhost:{port}"
        installation = real_world.install(console={"public_url": origin})
        prepare(installation)
        consoles.append(Console(installation))
        context = browser.new_context(base_url=origin)
        page = context.new_page()
        sign_in(page, new_person(installation, "ayesha", Role.OPERATIONS))
        expect(page.get_by_role("heading", level=1)).to_have_text("Good day, ayesha")
        page.goto("/operations")
        page.get_by_text("Change sandbox").click()
        page.get_by_role("button", name="Pause sandbox").click()
        expect(page.get_by_role("status").first).to_contain_text("paused for 60 minutes")
        context.close()


# --- others -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"], ids=["another port", "another site"])
def test_nobody_elsewhere_frames_it_or_sends_its_forms(site: Site, host: str):
    page = site.page(Role.OPERATIONS)
    body = (
        f'<iframe src="{site.origin}/operations"></iframe>'
        f'<form method="post" action="{site.origin}/operations/gateways/sandbox/pause">'
        '<input name="minutes" value="5"><button>Win</button></form>'
    )

    def evil(_: Any, start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/html")])
        return [f"<!doctype html><title>x</title>{body}".encode()]

    with serving(evil) as other:
        page.goto(f"http://{host}:{other}/")
        assert [frame.url for frame in page.frames][1:] == ["chrome-error://chromewebdata/"]
        with page.expect_navigation() as navigation:
            page.get_by_role("button", name="Win").click()
        assert navigation.value.status == 403
    health = site.installation.context.store.health.of(("sandbox",))

    assert health["sandbox"].opened_by == ""


# --- how it looks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "scheme"), appearances())
@pytest.mark.parametrize(("path", "role"), PAGES)
def test_everybody_can_use_each_page(site: Site, path: str, role: Role, language: str, scheme: str):
    for width in WIDTHS:
        page = site.page(role, language, viewport={"width": width, "height": 800}, color_scheme=scheme)
        answer = page.goto(path)
        assert answer
        assert answer.status == 200
        looks_right(page, width, language)
        for part in page.locator("main summary").all():
            part.click()
        looks_right(page, width, language)
    assert site.complaints == []


def _find_number(_: Site, page: Page) -> None:
    page.goto("/find")
    page.locator("#number").fill(NUMBER)
    page.locator("button.main").click()
    page.wait_for_url("**/find/*")


def _look_up_number(_: Site, page: Page) -> None:
    page.goto("/compliance")
    page.locator("input[name=number]").fill(NUMBER)
    page.locator("form[action='/compliance'] button.main").click()
    page.wait_for_url("**/compliance/*")


def _try_rules(_: Site, page: Page) -> None:
    page.goto("/fraud/what-if")
    page.locator("#rules").fill(TRIED)
    page.locator("button.main").click()
    page.wait_for_url("**/what-if/*")
    for _ in range(100):
        if page.locator("table").count():
            return
        page.wait_for_timeout(100)
        page.reload()
    raise AssertionError("it does not end")


def _open_invitation(site: Site, page: Page) -> None:
    context = site.installation.context
    name = f"sana{secrets.token_hex(4)}"
    page.goto(f"/invitation/{authentication.invite(context, name, Role.SUPPORT, (), 'cli:tests')}")


def _read_message(site: Site, page: Page) -> None:
    context = site.installation.context
    handle_message(context, "sandbox", InboundMessage(secrets.token_hex(4), NUMBER, "no thanks, that is all from you"))
    page.goto(f"/messages/{context.store.inbox.waiting()[-1].id}")


WAYS: dict[str, Callable[[Site, Page], object]] = {
    "/compliance/<handle>": _look_up_number,
    "/decisions/<name>": lambda site, page: page.goto(f"/decisions/{site.refused}"),
    "/developers/verifications/<verification_id>": lambda site, page: page.goto(
        f"/developers/verifications/{site.arrived}"
    ),
    "/find/<handle>": _find_number,
    "/fraud/what-if/<name>": _try_rules,
    "/invitation/<invitation>": _open_invitation,
    "/messages/<name>": _read_message,
}
"""How a browser gets to pages about something, by their rules."""
ABOUT_SOMETHING = [
    view for view in VIEWS if view.method == "GET" and "<" in view.rule and not view.rule.endswith(".svg")
]


@pytest.mark.parametrize(("language", "scheme"), appearances())
@pytest.mark.parametrize("view", ABOUT_SOMETHING, ids=lambda view: view.rule)
def test_everybody_can_use_what_is_about_something(site: Site, view: View, language: str, scheme: str):
    role = None if view.is_open else role_for(view)
    for width in WIDTHS:
        page = site.page(role, language, viewport={"width": width, "height": 800}, color_scheme=scheme)
        WAYS[view.rule](site, page)
        looks_right(page, width, language)
    assert site.complaints == []


@pytest.mark.parametrize(("language", "scheme"), appearances())
@pytest.mark.parametrize("path", OPEN_PAGES)
def test_everybody_can_use_what_strangers_see(site: Site, path: str, language: str, scheme: str):
    for width in WIDTHS:
        page = site.page(None, language, viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.goto(path)
        looks_right(page, width, language)
    assert all("404" in one for one in site.complaints), site.complaints


@pytest.mark.parametrize(("path", "role"), PAGES)
def test_each_page_is_whole_without_script_and_light(site: Site, path: str, role: Role):
    plain, scripted = site.page(role, java_script_enabled=False), site.page(role)
    loaded: list[int] = []
    plain.on("response", lambda answer: loaded.append(len(answer.body())))
    shown = []
    for page in (plain, scripted):
        page.goto(path)
        shown.append(re.sub(r"\d+", "0", page.locator("body").inner_text()))  # time passes

    assert shown[0] == shown[1]
    assert plain.locator("script").count() == 0
    assert 0 < sum(loaded) < MAX_WEIGHT
    assert site.complaints == []


@pytest.mark.parametrize(("path", "role"), PAGES)
def test_text_may_be_twice_as_large(site: Site, path: str, role: Role):
    page = site.page(role, viewport={"width": 1280, "height": 800})
    page.goto(path)
    page.evaluate("document.documentElement.style.fontSize = '200%'")

    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


@pytest.mark.parametrize(("path", "role"), PAGES)
def test_urdu_letters_have_a_font(site: Site, path: str, role: Role):
    """Without one they are boxes, of which axe says nothing."""
    page = site.page(role, "ur")
    page.goto(path)

    for place in ("h1", ".skip"):
        assert any("Noto" in one and re.search("Arab|Naskh|Nasta", one) for one in fonts_of(page, place)), place


def test_a_value_reads_the_same_way_in_urdu(site: Site):
    page = site.page(Role.DEVELOPER, "ur")
    page.goto(f"/developers/verifications/{site.arrived}")
    box = page.locator("bdi", has_text="•").first
    first, last = (
        box.evaluate(
            "(one, place) => { const range = document.createRange(); range.setStart(one.firstChild, place);"
            "range.setEnd(one.firstChild, place + 1); return range.getBoundingClientRect().left }",
            place,
        )
        for place in (0, 14)
    )

    assert first < last


def test_the_keyboard_begins_at_the_skip_link_and_shows_where_it_is(site: Site):
    page = site.page(Role.OPERATIONS)
    page.goto("/operations")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("getComputedStyle(document.activeElement).outline") == "rgb(24, 32, 44) solid 3px"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


_FIELD = "document.querySelector('main input:not([type=hidden])')"
_TABLE = "document.querySelector('.scroll')"
FAULTS = {
    "label": f"{_FIELD}.closest('label').replaceWith({_FIELD})",
    "html-has-lang": "document.documentElement.removeAttribute('lang')",
    "color-contrast": "document.querySelector('h1').style.color = '#eee'",
    "button-name": "document.querySelector('.who button').textContent = ''",
    "target-size": "document.querySelectorAll('nav ul, nav a').forEach(one => { one.style.cssText = "
    "'font-size: 5px; min-height: 0; padding: 0; display: block' })",
    "scrollable-region-focusable": f"{_TABLE}.removeAttribute('tabindex'); {_TABLE}.style.width = '50px'",
}


@pytest.mark.parametrize(("rule", "fault"), FAULTS.items(), ids=FAULTS)
def test_a_fault_that_is_planted_is_found(site: Site, rule: str, fault: str):
    page = site.page(Role.DEVELOPER)
    page.goto("/developers/verifications" if rule == "label" else "/developers")
    page.evaluate(fault)

    assert rule in [one.partition(":")[0] for one in violations(page)]


def test_what_the_policy_forbids_is_told(site: Site):
    page = site.page(Role.DEVELOPER)
    page.goto("/developers")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"https://evil.example/x.png\">')")
    page.wait_for_timeout(200)

    assert any("Content Security Policy" in one for one in site.complaints)
