"""The sites and the handset of examples/browser in a real browser, against the service; and `make demo`."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, expect
from support_api import Api
from support_browser import fonts_of, serving, violations
from support_cli import all_end, family, kill
from support_installation import API_KEY, NUMBER, World, tree
from support_service import eventually
from support_sources import ROOT
from support_valkey import free_port
from werkzeug.serving import WSGIRequestHandler

from otp_service.domain.audit import CONSENT_GIVEN
from otp_service.store.sandbox import CaughtMessage, SandboxMailbox

FOLDER = ROOT / "examples" / "browser"
NARROW = {"width": 320, "height": 640}
FORGED = """path => fetch(path, {method: 'POST', headers: {'Content-Type': 'application/json'},
    body: JSON.stringify({valid: true, status: 'approved'})}).then(answer => answer.status)"""


@dataclass
class Visit:
    """The service, the sites, and a person's browser."""

    api: Api
    world: World
    origin: str
    service: str
    context: BrowserContext
    complaints: list[str] = field(default_factory=list)
    """What the browser's console says, such as that a policy was broken."""
    asked: list[str] = field(default_factory=list)
    """All that the browser loaded."""

    def open(self, site: str) -> Page:
        page = self.context.new_page()
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        answer = page.goto(f"{self.origin}/{site}")
        assert answer
        assert answer.ok
        return page

    def start(self, page: Page) -> dict[str, Any]:
        """Ask for a code; return what the page has of the verification then."""
        if page.locator("#to").count():
            page.fill("#to", NUMBER)
            page.check("[name=consent]")
        with page.expect_response("**/start") as told:
            page.click("#start button")
        page.wait_for_selector("#check:not([hidden])")
        return dict(told.value.json())

    def heading(self, page: Page) -> str:
        """Return the heading when the site knows the person."""
        page.wait_for_selector("h1[autofocus]")
        return page.locator("h1").inner_text()


@pytest.fixture
def visit(
    real_world: World, browser: Browser, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Visit]:
    monkeypatch.setattr(WSGIRequestHandler, "log_request", lambda *_: None)
    monkeypatch.syspath_prepend(FOLDER)
    example = import_module("app")
    sites: list[Any] = []

    def site(environ: Any, start_response: Any) -> Any:
        return sites[0](environ, start_response)

    with serving(site) as port:
        origin = f"http://localhost:{port}"
        shop = tree(real_world.url)["applications"]["shop"] | {"browser_origins": [origin]}
        api = Api(real_world, applications={"shop": shop})
        with serving(api.app) as other:
            service = f"http://127.0.0.1:{other}"
            sites.append(example.create_app(service, API_KEY, origin))
            context = browser.new_context(**getattr(request, "param", {}))
            context.set_default_timeout(15_000)
            yield Visit(api, real_world, origin, service, context)
            context.close()


def type_code(page: Page, code: str) -> None:
    page.fill("#code", code)
    page.click("#check .main")


def note(page: Page, words: str) -> None:
    """Wait until the page says so."""
    expect(page.locator("#note")).to_have_text(words)


def test_a_right_code_logs_in(visit: Visit):
    page = visit.open("shop")
    started = visit.start(page)
    note(page, "We have sent a code to \u2068+92\u00a0•••\u00a0••••567\u2069.")
    type_code(page, visit.api.code(started["id"]))

    assert visit.heading(page) == "You are logged in"
    page.click("main button")
    page.wait_for_selector("#start")
    assert visit.complaints == []
    assert all(url.startswith((f"{visit.origin}/", f"{visit.service}/v1/verifications/")) for url in visit.asked)


def test_a_payment_is_seen_and_confirmed(visit: Visit):
    page = visit.open("bank")
    started = visit.start(page)

    assert "1500.00 PKR" in page.locator("dl").inner_text()
    assert "Lahore Books" in page.locator("dl").inner_text()
    before = visit.context.cookies()
    type_code(page, visit.api.code(started["id"]))
    assert visit.heading(page) == "Paid"
    assert visit.api.get(f"/v1/verifications/{started['id']}").json["transaction"] == started["transaction"]
    page.click("main button")
    page.wait_for_selector("#start")
    visit.context.add_cookies(before)
    assert page.evaluate(FORGED, "/bank/done") == 403, "one approval pays once, whatever cookie comes"


def test_a_payment_whose_answer_is_lost_is_not_paid_again(visit: Visit):
    page = visit.open("bank")
    started = visit.start(page)
    page.route("**/bank/done", lambda route: (route.fetch(), route.abort()), times=1)
    type_code(page, visit.api.code(started["id"]))
    note(page, "This does not work at the moment. Please try again in a minute.")
    page.click("#check .main")

    assert visit.heading(page) == "Paid"


def test_a_wrong_code_is_told_in_words(visit: Visit):
    page = visit.open("bank")
    started = visit.start(page)
    wrong = visit.api.wrong(started["id"])
    for left in (2, 1):
        type_code(page, wrong)
        note(page, f"Wrong code. Attempts left: {left}.")
        assert page.locator("#code").get_attribute("aria-invalid") == "true"
        assert page.evaluate("document.activeElement.id") == "code"
    type_code(page, wrong)
    page.wait_for_selector("#start:not([hidden])")

    assert page.locator("h1").inner_text() == "Confirm your payment"
    assert not page.locator("#check").is_visible()


def test_asking_again_waits(visit: Visit):
    visit.context.clock.install()
    page = visit.open("shop")
    started = visit.start(page)
    again = page.locator("#again")
    seconds = int(again.inner_text().removeprefix("Send again in ").removesuffix(" s"))
    again.click(force=True)  # it says that it is disabled, and can be pressed
    early = page.locator("#note").inner_text()
    left = visit.api.get(f"/v1/verifications/{started['id']}").json["sends_left"]
    visit.world.advance(32)
    page.clock.run_for(32_000)

    assert 28 <= seconds <= 31
    assert early.startswith("You can ask for another code in ")
    assert again.inner_text() == "Send again"
    with page.expect_response("**/resend"):
        again.click()
    expect(again).to_have_text(re.compile("^Send again in"))
    assert visit.api.get(f"/v1/verifications/{started['id']}").json["sends_left"] == left - 1


def test_a_number_that_is_none_is_told_in_words(visit: Visit):
    page = visit.open("shop")
    page.fill("#to", "12")
    page.check("[name=consent]")
    page.click("#start button")
    note(page, "This is not a phone number. Please check it.")

    assert not page.locator("#check").is_visible()


@pytest.mark.parametrize("site", ["shop", "bank"])
def test_the_word_of_a_browser_proves_nothing(visit: Visit, site: str):
    page = visit.open(site)
    before = page.evaluate(FORGED, f"/{site}/done")
    visit.start(page)
    pending = page.evaluate(FORGED, f"/{site}/done")
    form = page.request.post(f"{visit.origin}/{site}/start", form={"to": NUMBER})
    page.reload()

    assert (before, pending, form.status) == (403, 403, 415)
    assert page.locator("h1[autofocus]").count() == 0


def test_an_approval_of_one_site_is_none_of_the_other(visit: Visit):
    page = visit.open("shop")
    started = visit.start(page)
    visit.api.post(f"/v1/verifications/{started['id']}/check", {"code": visit.api.code(started["id"])})

    assert page.evaluate(FORGED, "/bank/done") == 403
    assert page.evaluate(FORGED, "/shop/done") == 200


@pytest.mark.parametrize("site", ["shop", "bank"])
def test_a_code_that_the_browser_found_waits_for_the_person(visit: Visit, site: str):
    visit.context.add_init_script(
        "navigator.credentials.get = asked => { window.asked = asked; "
        "return new Promise(found => window.found = found) }"
    )
    page = visit.open(site)
    started = visit.start(page)
    page.evaluate("code => found({code})", visit.api.code(started["id"]))
    expect(page.locator("#code")).not_to_have_value("")

    assert page.evaluate("asked.otp.transport") == ["sms"]
    assert page.evaluate("document.activeElement.className") == "main"
    assert page.locator("#code").get_attribute("autocomplete") == "one-time-code"
    assert page.locator("#code").get_attribute("inputmode") == "numeric"
    assert visit.api.get(f"/v1/verifications/{started['id']}").json["status"] == "pending"
    page.keyboard.press("Enter")
    visit.heading(page)


def test_its_pages_load_and_keep_nothing_else(visit: Visit):
    page = visit.open("shop")
    visit.start(page)
    policy = page.request.get(f"{visit.origin}/shop").headers["content-security-policy"]
    (cookie,) = visit.context.cookies()

    assert policy.startswith(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' http://127.0.0.1:"
    )
    assert policy.endswith("; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0
    assert "ct_" not in page.content()


@pytest.mark.parametrize(
    "visit",
    [{"color_scheme": scheme, "viewport": NARROW} for scheme in ("light", "dark")],
    indirect=True,
    ids=["light", "dark"],
)
@pytest.mark.parametrize("site", ["shop", "bank"])
def test_everybody_can_use_it(visit: Visit, site: str):
    page = visit.open(site)
    found = {"start": violations(page)}
    started = visit.start(page)
    found["code"] = violations(page)
    type_code(page, visit.api.wrong(started["id"]))
    page.wait_for_selector("#note.fault")
    found["wrong"] = violations(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    type_code(page, visit.api.code(started["id"]))
    visit.heading(page)
    found["done"] = violations(page)

    assert found == {state: [] for state in found}


# --- what a site does besides -----------------------------------------------------------------------------------


def test_the_shop_sends_nothing_without_consent_and_hands_it_on(visit: Visit):
    page = visit.open("shop")
    page.fill("#to", NUMBER)
    page.click("#start button")
    assert page.evaluate("document.querySelector('[name=consent]').matches(':invalid')")
    started = visit.start(page)
    happened = [one for batch in visit.api.installation.context.store.events.take("tests", 100) for one in batch.events]
    (event,) = [one for one in happened if one.type == CONSENT_GIVEN]

    assert event.member("id") == started["id"]
    assert '"source":"login page"' in event.member("consent")


def test_who_gets_no_text_may_be_called(visit: Visit):
    visit.context.clock.install()
    page = visit.open("shop")
    started = visit.start(page)
    visit.api.deliver()
    visit.world.advance(32)
    page.clock.run_for(32_000)
    with page.expect_response("**/resend"):
        page.click("#voice")
    note(page, "We are calling \u2068+92\u00a0•••\u00a0••••567\u2069.")

    assert visit.api.get(f"/v1/verifications/{started['id']}").json["deliveries"][-1]["channel"] == "voice"
    assert visit.open("bank").locator("#voice").count() == 0, "payments are confirmed by text alone"


def test_a_number_that_cannot_be_reached_is_told(visit: Visit):
    page = visit.open("shop")
    visit.start(page)
    note(page, "We have sent a code to \u2068+92\u00a0•••\u00a0••••567\u2069.")
    page.route(
        re.compile("/v1/verifications/[^/]+$"),
        lambda route: route.fulfill(
            response=(answer := route.fetch()),
            json={**(told := answer.json()), "deliveries": [{**told["deliveries"][0], "status": "undelivered"}]},
        ),
    )

    note(page, "We could not reach \u2068+92\u00a0•••\u00a0••••567\u2069.")


@pytest.mark.parametrize("site", ["shop", "bank"])
def test_urdu_is_the_language_of_page_and_message(visit: Visit, site: str):
    page = visit.open(f"{site}?language=ur")
    assert page.evaluate("[document.documentElement.lang, document.dir]") == ["ur", "rtl"]
    assert any("Noto" in font for font in fonts_of(page, "h1"))
    found = violations(page)
    started = visit.start(page)
    expect(page.locator("#note")).to_contain_text("کوڈ بھیج دیا ہے")
    visit.api.deliver()

    assert found + violations(page) == []
    assert visit.api.get(f"/v1/verifications/{started['id']}").json["locale"] == "ur"
    assert "کوڈ" in visit.open("handset").locator(".text").last.inner_text()
    names = "Acme (Shop|Bank)|Lahore Books|PKR|English"
    assert not re.search("[A-Za-z]{3}", re.sub(names, "", page.inner_text("body")))


def test_every_text_has_its_urdu():
    words = import_module("app").URDU
    script = (FOLDER / "static" / "page.js").read_text(encoding="utf-8")
    page = (FOLDER / "templates" / "page.html").read_text(encoding="utf-8")
    shown = set(re.findall(r'"([A-Z][^"]*(?:\.|\{\}[^"]*))"', script))
    shown |= {text for call in re.findall(r"\{\{ _\((.*?)\) \}\}", page) for text in re.findall(r'"([^"]+)"', call)}

    assert shown - words.keys() == set()


# --- the handset ------------------------------------------------------------------------------------------------


def test_the_handset_gets_the_code_by_itself_and_it_logs_in(visit: Visit):
    handset = visit.open("handset")
    page = visit.open("shop")
    for _ in range(2):
        visit.start(page)
        visit.api.deliver()
        page.reload()
    visit.start(page)
    visit.api.deliver()
    expect(handset.locator("#log li")).to_have_count(3)
    code = re.search(r"\d{6}", handset.locator(".text").last.inner_text())
    assert code
    assert "to +92 ••• ••••567" in handset.locator(".about").last.inner_text()
    type_code(page, code[0])

    assert visit.heading(page) == "You are logged in"
    assert violations(handset) == []
    assert visit.complaints == []


def test_what_a_message_says_is_text_on_the_handset(visit: Visit, monkeypatch: pytest.MonkeyPatch):
    evil = '<img src="x" onerror="document.title = 1"><script>document.title = 1</script>'
    caught = [CaughtMessage("vf_1", "+92 ••• ••••567", "sms", evil, evil, 1_795_000_000_000)]
    monkeypatch.setattr(SandboxMailbox, "messages", lambda *_: caught)
    handset = visit.open("handset")
    caught.insert(0, CaughtMessage("vf_2", "+92 ••• ••••567", "voice", evil, evil, 1_795_000_001_000))
    expect(handset.locator("#log li")).to_have_count(2)

    assert handset.locator(".text").all_inner_texts() == [evil, evil]
    assert handset.locator("#log img, #log script").count() == 0
    assert handset.title() == "Handset"


def test_nobody_elsewhere_reads_the_handset_or_starts_anything(visit: Visit):
    page = visit.open("shop")
    port = visit.origin.rpartition(":")[2]
    page.goto(f"{visit.service}/healthz")  # another origin
    read = """([url, options]) => fetch(url, options).then(answer => answer.text(), () => 'refused')"""
    json = {"method": "POST", "headers": {"Content-Type": "application/json"}, "body": "{}"}

    assert page.evaluate(read, [f"{visit.origin}/handset", {}]) == "refused"
    assert page.evaluate(read, [f"{visit.origin}/bank/start", json]) == "refused"
    for host in (f"127.0.0.1:{port}", "evil.example"):  # a name of his that leads here
        answer = requests.get(f"http://127.0.0.1:{port}/handset", headers={"Host": host}, timeout=5)
        assert answer.status_code == 400


# --- make demo --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "Ctrl-C"])
def test_the_demo_prints_addresses_and_leaves_nothing(browser: Browser, tmp_path: Path, signum: int):
    origin = f"http://localhost:{free_port()}"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OTP_", "PYTHON"))}
    demo = subprocess.Popen(
        [sys.executable, FOLDER / "demo.py", "--port", str(free_port()), "--data-dir", tmp_path / "data"],
        env={**environ, "ORIGIN": origin, "PYTHONPATH": str(ROOT / "clients" / "python")},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    everybody = {demo.pid}
    try:
        printed = ""
        while "Ctrl-C" not in printed:
            line = demo.stdout.readline()
            assert line, f"it ended with {demo.wait(10)}"
            printed += line
        everybody = family(demo.pid)
        shop, bank, handset, console = re.findall(r"http://\S+", printed)
        assert (shop, bank, handset) == tuple(f"{origin}/{page}" for page in ("shop", "bank", "handset"))
        assert "/dev/" in console
        page, phone = browser.new_page(), browser.new_page()
        phone.goto(handset)
        page.goto(shop)
        page.fill("#to", NUMBER)
        page.check("[name=consent]")
        page.click("#start .main")
        phone.locator(".text").wait_for()
        text = phone.locator(".text").inner_text()
        type_code(page, re.search(r"\d{6}", text)[0])
        expect(page.locator("h1")).to_have_text("You are logged in")
        assert text.startswith("Your Acme code is ")
        page.goto(console)
        page.click("button[value=support]")
        page.get_by_role("link", name="Find").first.click()
        page.fill("#number", NUMBER)
        page.click("button.main")
        expect(page.locator("h1")).to_contain_text("Codes for")
        eventually(lambda: page.reload() and "delivered" in page.inner_text("main"))
        (os.killpg if signum == signal.SIGINT else os.kill)(demo.pid, signum)
        assert demo.wait(20) == 0
        assert len(everybody) >= 6
        assert all_end(everybody, 5)
    finally:
        kill(everybody)
        demo.stdout.close()
        demo.wait(10)
