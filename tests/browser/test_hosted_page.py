"""The hosted page in a real browser: what a person sees and does there, and what others cannot do with it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from support_api import Api
from support_browser import Shop, fonts_of, serving, violations
from support_installation import World
from support_pages import PAYMENT, REDEEM, Person, api_with_pages, result_of
from support_service import eventually
from werkzeug.serving import WSGIRequestHandler

COLOR = "#0a6e4f"
NARROW = {"width": 320, "height": 640}
LANGUAGES = ["en", "ur", "ur-Latn", "ar"]


@dataclass
class Site:
    """A service, a shop that has pages there, and a browser."""

    api: Api
    shop: Shop
    world: World
    browser: Browser
    forms: int = 0
    """How many were sent to the service."""
    together: int = 1
    """How many have to be there before any is answered."""
    complaints: list[str] = field(default_factory=list)
    """What the browser's console says, such as that a policy was broken."""
    _contexts: list[BrowserContext] = field(default_factory=list)

    def person(self, **members: Any) -> Person:
        return Person(self.api, self.shop.back, **members)

    def page(self, **options: Any) -> Page:
        """Return a page of a new browser, with no history."""
        context = self.browser.new_context(**options)
        context.set_default_timeout(15_000)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    def open(self, person: Person, **options: Any) -> Page:
        page = self.page(**options)
        assert page.goto(person.url).ok
        return page

    def redeem(self, page: Page) -> dict[str, Any]:
        """Return what the shop learns of a person who came back."""
        assert page.url.startswith(self.shop.back), page.url
        return dict(self.api.post(REDEEM, {"result": result_of(page.url)}).json)

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture
def site(real_world: World, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(WSGIRequestHandler, "log_request", lambda *_: None)
    shop = Shop()
    sites: list[Site] = []

    def service(environ: Any, start_response: Any) -> Any:
        answer = sites[0].api.app(environ, start_response)
        if environ["REQUEST_METHOD"] == "POST":
            sites[0].forms += 1
            eventually(lambda: sites[0].forms >= sites[0].together)
        return answer

    with serving(shop) as shop.port, serving(service) as port:
        public = f"http://localhost:{port}"
        limits = {"number": ["1000/day"]}
        api = api_with_pages(real_world, return_to=shop.back, public=public, color=COLOR, limits=limits)
        sites.append(Site(api, shop, real_world, browser))
        yield sites[0]
        sites[0].close()


def type_code(page: Page, code: str) -> None:
    page.fill("#code", code)
    page.click("button.main")


# --- a person's way -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scripts", [True, False], ids=["with script", "without"])
def test_a_code_is_typed_and_the_shop_learns_that_it_was_right(site: Site, scripts: bool):
    person = site.person()
    page = site.open(person, java_script_enabled=scripts)

    assert page.locator("h1").inner_text() == "Enter your code"
    assert "+92 ••• ••••567" in page.locator("main").inner_text()
    type_code(page, site.api.code(person.id))
    page.wait_for_url(f"{site.shop.back}?result=*")
    assert site.redeem(page) == {"id": person.id, "status": "approved", "proof": None}
    assert "HTTP_REFERER" not in site.shop.visits[-1]
    assert site.complaints == []


def test_a_payment_is_seen_and_confirmed(site: Site):
    person = site.person(purpose="payment", transaction=PAYMENT)
    page = site.open(person)
    seen = page.locator("main").inner_text()

    for part in ("PKR 1,500.00", "Daraz", "ending in 4821"):
        assert part in seen
    type_code(page, site.api.code(person.id))
    page.wait_for_url(f"{site.shop.back}?result=*")
    assert site.redeem(page)["status"] == "approved"


@pytest.mark.parametrize("scripts", [True, False], ids=["with script", "without"])
def test_wrong_codes_are_told_where_they_were_typed(site: Site, scripts: bool):
    person = site.person()
    page = site.open(person, java_script_enabled=scripts)
    type_code(page, site.api.wrong(person.id))
    field_ = page.locator("#code")

    assert page.locator("#fault").inner_text().strip().endswith("This code is not right. Tries left: 4.")
    assert page.title().startswith("Error: ")
    assert field_.get_attribute("aria-invalid") == "true"
    assert field_.get_attribute("aria-describedby") == "fault hint"
    assert field_.input_value() == ""
    if scripts:
        assert page.evaluate("document.activeElement.id") == "code"
    for _ in range(4):
        type_code(page, site.api.wrong(person.id))
    assert page.locator("h1").inner_text() == "Too many wrong codes"
    page.click("main a")
    page.wait_for_url(f"{site.shop.back}?result=*")
    assert site.redeem(page)["status"] == "max_attempts_reached"


def test_an_empty_field_is_told_in_words_of_the_page(site: Site):
    page = site.open(site.person(locale="ur"))
    page.click("button.main")

    assert "یہ کوڈ نہیں ہو سکتا" in page.locator("#fault").inner_text()


@pytest.mark.parametrize("scripts", [True, False], ids=["with script", "without"])
def test_another_code_is_asked_for_after_a_while(site: Site, scripts: bool):
    person = site.person()
    page = site.open(person, java_script_enabled=scripts)
    page.click("button[value=sms]")
    early = page.locator("section").inner_text()
    site.world.advance(31)
    page.click("button[value=voice]")

    assert "too soon" in early
    assert page.locator("[role=status]").inner_text() == "Another code is on its way."
    assert "We are calling" in page.locator("main").inner_text()
    assert site.api.get(f"/v1/verifications/{person.id}").json["sends_left"] == 1


def test_who_comes_too_late_goes_back_with_that(site: Site):
    person = site.person()
    page = site.open(person)
    code = site.api.code(person.id)
    site.world.advance(301)
    type_code(page, code)

    assert page.locator("h1").inner_text() == "The time for this code is over"
    page.click("main a")
    page.wait_for_url(f"{site.shop.back}?result=*")
    assert site.redeem(page)["status"] == "expired"


def test_who_gives_up_goes_back_without_a_result(site: Site):
    page = site.open(site.person())
    page.click(".back a")
    page.wait_for_url(site.shop.back)

    assert "HTTP_REFERER" not in site.shop.visits[-1]


def test_an_impatient_person_presses_twice(site: Site):
    person = site.person()
    page = site.open(person)
    page.fill("#code", site.api.code(person.id))
    site.together = 2
    press = "document.getElementById('check').requestSubmit()"
    page.evaluate(f"{press}; setTimeout(() => {press}, 200)")
    for _ in range(200):  # the first press is broken off: it is not waited for as others are
        if page.url != person.url:
            break
        page.wait_for_timeout(50)

    assert site.forms == 2
    assert site.redeem(page)["status"] == "approved"


def test_enter_confirms(site: Site):
    person = site.person()
    page = site.open(person)
    expect(page.locator("#code")).to_be_focused()
    page.keyboard.type(site.api.code(person.id))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.shop.back}?result=*")


# --- WebOTP -------------------------------------------------------------------------------------------------


def test_the_field_is_one_that_browsers_fill_in(site: Site):
    field_ = site.open(site.person()).locator("#code")

    assert field_.get_attribute("autocomplete") == "one-time-code"
    assert field_.get_attribute("inputmode") == "numeric"


def test_a_code_that_the_browser_found_waits_for_the_person(site: Site):
    person = site.person()
    page = site.page()
    page.add_init_script(
        "navigator.credentials.get = asked => { window.asked = asked; "
        f"return Promise.resolve({{code: '{site.api.code(person.id)}'}}) }}"
    )
    page.goto(person.url)
    expect(page.locator("#code")).not_to_have_value("")

    assert page.evaluate("asked.otp.transport") == ["sms"]
    assert person.status == "pending"
    assert page.evaluate("document.activeElement.className") == "main"
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.shop.back}?result=*")


def test_the_browser_looks_no_longer_when_the_form_is_sent(site: Site):
    person = site.person()
    page = site.page()
    page.add_init_script(
        "navigator.credentials.get = asked => new Promise(() => "
        "asked.signal.addEventListener('abort', () => sessionStorage.aborted = 'yes'))"
    )
    page.goto(person.url)
    type_code(page, site.api.wrong(person.id))

    assert page.evaluate("sessionStorage.aborted") == "yes"


# --- others -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["back", "elsewhere"], ids=["its own shop", "a stranger"])
def test_nobody_can_frame_it(site: Site, where: str):
    person = site.person()
    site.shop.body = f'<iframe src="{person.url}"></iframe>'
    page = site.page()
    page.goto(getattr(site.shop, where))
    page.wait_for_load_state()

    assert [frame.url for frame in page.frames][1:] == ["chrome-error://chromewebdata/"]
    assert any("frame-ancestors" in one for one in site.complaints)


@pytest.mark.parametrize("where", ["back", "elsewhere"], ids=["same site", "another site"])
def test_a_form_of_another_site_does_nothing(site: Site, where: str):
    """Not even one that has the right code, and the address."""
    person = site.person()
    site.shop.body = (
        f'<form method="post" action="{person.url}"><input name="code" value="{site.api.code(person.id)}">'
        "<button>Win</button></form>"
    )
    page = site.page()
    page.goto(getattr(site.shop, where))
    with page.expect_navigation() as navigation:
        page.click("button")

    assert navigation.value.status == 403
    assert person.status == "pending"


def test_a_stolen_address_shows_nothing_after_the_approval(site: Site):
    person = site.person(purpose="payment", transaction=PAYMENT)
    mine = site.open(person)
    thiefs = site.open(person)
    code = site.api.code(person.id)
    type_code(mine, code)
    mine.wait_for_url(f"{site.shop.back}?result=*")
    visits = len(site.shop.visits)
    type_code(thiefs, code)
    later = site.open(person)

    for page in (thiefs, later):
        assert page.locator("h1").inner_text() == "Confirmed"
        assert page.locator("a, form, input").count() == 0
        assert not any(part in page.content() for part in ("Daraz", "1500", "567", "result"))
    assert len(site.shop.visits) == visits
    assert site.redeem(mine)["status"] == "approved"


def test_going_back_in_the_browser_shows_nothing_either(site: Site):
    person = site.person()
    page = site.open(person)
    type_code(page, site.api.code(person.id))
    page.wait_for_url(f"{site.shop.back}?result=*")
    page.go_back()

    assert page.locator("h1").inner_text() == "Confirmed"


# --- how it looks -------------------------------------------------------------------------------------------


def states(site: Site, locale: str) -> Iterator[tuple[str, Any]]:
    """Yield the states of a page by name, each with how a browser gets there."""
    members: dict[str, Any] = {"locale": locale}
    payment = site.person(**members, purpose="payment", transaction={**PAYMENT, "reference": "INV-7"})
    login, over, approved = (site.person(**members) for _ in range(3))
    yield "code", lambda page: page.goto(login.url)
    yield "payment", lambda page: page.goto(payment.url)
    yield "wrong", lambda page: (page.goto(login.url), type_code(page, site.api.wrong(login.id)))
    yield "too soon", lambda page: (page.goto(login.url), page.click("button[value=sms]"))
    site.api.post(f"/v1/verifications/{over.id}/cancel")
    yield "over", lambda page: page.goto(over.url)
    approved.approve()
    yield "approved", lambda page: page.goto(approved.url)
    yield "gone", lambda page: page.goto(f"{login.url}x")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", LANGUAGES)
def test_everybody_can_use_it(site: Site, locale: str, scheme: str):
    page = site.page(viewport=NARROW, color_scheme=scheme, locale=locale)
    for name, reach in states(site, locale):
        reach(page)
        assert violations(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], name
        assert page.evaluate("document.dir") == ("rtl" if locale in {"ur", "ar"} else "ltr"), name
        assert page.evaluate("document.documentElement.lang") == locale, name
        small = "[...document.querySelectorAll('button, input:not([type=hidden]), a')].filter(one => {"
        small += "const {width, height} = one.getBoundingClientRect(); return width < 24 || height < 24 })"
        assert page.evaluate(f"{small}.length") == 0, name
    assert all("404" in one for one in site.complaints), site.complaints


def test_text_may_be_twice_as_large(site: Site):
    page = site.open(site.person(purpose="payment", transaction=PAYMENT), viewport=NARROW)
    page.evaluate("document.documentElement.style.fontSize = '200%'")

    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


@pytest.mark.parametrize("locale", ["ur", "ar"])
def test_letters_have_a_font(site: Site, locale: str):
    """Without one they are boxes, of which axe says nothing."""
    page = site.open(site.person(locale=locale))

    assert any("Noto" in one and ("Arab" in one or "Naskh" in one or "Nasta" in one) for one in fonts_of(page, "h1"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_has_the_applications_name_and_colour(site: Site, scheme: str):
    page = site.open(site.person(), color_scheme=scheme)
    shown = "getComputedStyle(document.querySelector('{}')).backgroundColor"

    assert page.locator("header").inner_text() == "Acme Shop"
    assert page.title() == "Enter your code – Acme Shop"
    assert page.evaluate(shown.format("header")) == "rgb(10, 110, 79)"
    assert page.evaluate(shown.format("button.main")) == "rgb(10, 110, 79)"
    grounds = {"light": "rgb(241, 244, 248)", "dark": "rgb(14, 18, 24)"}
    assert page.evaluate(shown.format("body")) == grounds[scheme]


def test_the_keyboard_reaches_everything_and_shows_where_it_is(site: Site):
    page = site.open(site.person())
    outline = "getComputedStyle(document.activeElement).outline"
    reached = []
    for _ in range(5):
        name = "document.activeElement.id || document.activeElement.value || document.activeElement.innerText"
        reached.append(page.evaluate(name))
        assert page.evaluate(outline) == "rgb(24, 32, 44) solid 3px"
        page.keyboard.press("Tab")

    assert reached == ["code", "Confirm", "sms", "voice", "Back to Acme Shop"]


def test_a_mask_reads_from_left_to_right_in_every_language(site: Site):
    for locale in LANGUAGES:
        page = site.open(site.person(locale=locale))
        box = page.locator("bdi", has_text="•").first
        first, last = (
            box.evaluate(
                "(one, place) => { const range = document.createRange(); range.setStart(one.firstChild, place);"
                "range.setEnd(one.firstChild, place + 1); return range.getBoundingClientRect().left }",
                place,
            )
            for place in (0, 14)
        )
        assert first < last, locale


def test_the_browser_keeps_nothing(site: Site):
    page = site.open(site.person())

    assert page.context.cookies() == []
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0
