"""Makes ``docs/pictures/``, of the demo as it runs: ``make pictures``. A minute.

Two weeks of a shop and a bank go into its ledger first: honest people, most of them by day, and for nine hours an
attack that passes. Times are those at which the pictures are made; traffic is the same each time.
"""

import math
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from operator import attrgetter
from pathlib import Path

from otp_service_client import OtpService, RateLimited
from playwright.sync_api import Browser, Error, Page
from support_browser import browsing
from support_stats import PRICE, story
from support_valkey import free_port

from otp_service.bootstrap import Installation, install
from otp_service.domain.audit import Event
from otp_service.domain.guard import HOUR
from otp_service.domain.newcomer_traffic import CountryTraffic
from otp_service.domain.stats import APPROVED, STARTED, StatsCount, StatsKey
from otp_service.settings.loader import load_settings

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
DAYS = 14
WIDTH = 1080
SETTINGS = """
[applications.shop]
name = "Acme Shop"
purposes = ["login"]
countries = ["PK", "GB"]

[applications.bank]
name = "Acme Bank"
purposes = ["login", "payment"]
countries = ["PK"]

[gateways.backup]
kind = "sandbox"
report = "delivered"
prices = { PK = "3.10", "*" = "30" }

[[routes]]
gateways = ["sandbox", "backup"]
"""
CALLER = "+923001234567"
UNREACHABLE = "+923555550014"
PLACES = (
    *[("shop", "PK", "92300")] * 5, *[("shop", "PK", "92345")] * 3, *[("bank", "PK", "92321")] * 3,
    ("shop", "GB", "4479"),
)  # fmt: skip
ATTACK = range(DAYS * 24 - 9, DAYS * 24)
"""Hours, to the present one."""
ATTACKED = {"application": "shop", "country": "PK", "guard": "nc92355.bu3600 "}
TRIED = '[limits]\nnumber = ["1/hour"]\n\n[guard.modes]\n"address.unapproved" = "enforce"\n'


@contextmanager
def demo(folder: Path) -> Iterator[tuple[str, str]]:
    """Run the demo; yield where its pages are, and the link that signs in at its console."""
    origin, port = f"http://localhost:{free_port()}", str(free_port())
    settings = folder / "site.toml"
    settings.write_text(SETTINGS, encoding="utf-8")
    command = [sys.executable, "examples/browser/demo.py", "--port", port, "--config", settings]
    command += ["--data-dir", folder / "data"]
    with subprocess.Popen(  # noqa: S603
        command, cwd=ROOT, env={**os.environ, "ORIGIN": origin}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            told = "".join(takewhile(lambda line: "Ctrl-C" not in line, process.stdout))
            yield origin, re.search(r"signed in: +(\S+)", told)[1]
        finally:
            process.send_signal(signal.SIGTERM)


def record_days(installation: Installation) -> None:
    """Record what happened in the days before this hour, and let it be judged as workers would have."""
    chance, now = random.Random(5), int(time.time() * 1000)  # noqa: S311 - the same each time
    ledger, traffic = installation.context.ledger, CountryTraffic()
    for hour in range(DAYS * 24):
        at = now - now % HOUR + (hour - DAYS * 24) * HOUR
        day_time = (at // HOUR + 5) % 24  # in Pakistan
        honest = 2 + int(9 * max(0.0, math.sin((day_time - 7) / 17 * math.pi))) + chance.randrange(3)
        attack = chance.randrange(25, 36) if hour in ATTACK else 0
        happened = [one for number in range(honest) for one in honest_story(f"{hour}h{number}", at, chance)]
        for number in range(attack):
            happened += story(f"vf_{hour}a{number}", at=at + chance.randrange(HOUR), end="", **ATTACKED)
        ledger.verifications.record(happened)
        ledger.stats.add("pictures", ledger.stats.position("pictures"), str(at), refusals(at, attack, chance))
        count_newcomers(traffic, happened)
    traffic.advance(now)
    store, ruleset = installation.context.store.traffic, installation.context.rulesets["shop"]
    assert store.commit("shop", store.learnt("shop")[0], {"PK": (traffic, traffic.ranges)}, {}, (), ruleset)  # noqa: S101


def count_newcomers(traffic: CountryTraffic, happened: list[Event]) -> None:
    """Count what newcomers did at the shop."""
    for one in sorted(happened, key=attrgetter("at")):
        number_prefix = one.member("guard")[2:7]
        if (one.member("application"), one.member("country")) != ("shop", "PK"):
            continue
        if one.type == STARTED:
            traffic.start(one.at, number_prefix, PRICE)
        elif one.type == APPROVED:
            traffic.approve(one.at, number_prefix)


def honest_story(name: str, at: int, chance: random.Random) -> list[Event]:
    """Return what happened to one of many people: most type their code."""
    application, country, digits = chance.choice(PLACES)
    about = {"application": application, "country": country, "guard": f"nc{digits}.bu3600 "}
    channel = "sms" if chance.random() < 0.9 else "voice"  # noqa: PLR2004
    end = "approved" if chance.random() < 0.85 else ""  # noqa: PLR2004
    return story(f"vf_{name}", at=at + chance.randrange(HOUR), end=end, channel=channel, **about)


def refusals(at: int, attack: int, chance: random.Random) -> dict[StatsKey, StatsCount]:
    """Return what rules refused in an hour."""
    counts = {("refused.start", "number.sends"): chance.randrange(4)}
    counts["would_be_refused.start", "address.unapproved"] = attack // 2
    return {
        StatsKey(at, "shop", "login", "PK", "", "", "", "unknown", what, rule): StatsCount(count, 0)
        for (what, rule), count in counts.items()
        if count
    }


def send_codes(otp: OtpService) -> None:
    """Let people log in, some of them twice; and let what goes wrong go wrong."""
    for number in [*range(30), *range(6)]:
        started = otp.verifications.start(f"+92301{7000000 + 7919 * number}")
        otp.verifications.check(started.id, otp.sandbox.code_of(started.id))
    with suppress(RateLimited):
        for _ in range(9):
            otp.verifications.start("+923017770000")
    for last in ("13", "13", "14", "14", "16"):
        otp.verifications.start(f"+9235555507{last}")
    otp.verifications.start(UNREACHABLE)
    time.sleep(3)


class Console:
    """The console in a browser, signed in with one role after the other."""

    def __init__(self, browser: Browser, link: str) -> None:
        self._link = link
        self._base = link.partition("/dev/")[0]
        self.page = browser.new_page(viewport={"width": WIDTH, "height": 800})
        for _ in range(100):
            with suppress(Error):  # it starts after the service
                self.page.goto(link)
                break
            time.sleep(0.1)

    def sign_in(self, role: str) -> None:
        """Sign in with a role."""
        self.page.goto(self._link)
        self.page.click(f"button[value={role}]")

    def go(self, path: str) -> Page:
        """Open a view."""
        self.page.goto(self._base + path)
        return self.page

    def find(self, number: str) -> Page:
        """Look a number up."""
        page = self.go("/find")
        page.fill("#number", number)
        page.fill("#reason", "ticket 4711")
        page.click("form[action='/find'] button.main")
        return page

    def ask_for_erasure(self, number: str) -> None:
        """Ask a second person to let a number's data be erased."""
        page = self.go("/compliance")
        for _ in range(2):  # the first time the console wants to know who it is
            page.fill("input[name=number]", number)
            page.click("form[action='/compliance'] button.main")
            page.fill("form[action$='/ask'] input[name=reason]", "asked by letter, case 88")
            page.click("form[action$='/ask'] button")
            if not page.locator("#code").count():
                return
            other = page.context.new_page()
            other.goto(self._link)
            code = other.locator("li", has=other.locator("[value=compliance]")).locator("code").inner_text()
            other.close()
            page.fill("#code", code)
            page.click("main button")
            page.goto(self._base + "/compliance")


def keep(page: Page, name: str, last: str = "main") -> None:
    """Keep a picture of a page, down to the end of its last element of a kind."""
    box = page.locator(last).last.bounding_box()
    clip = {"x": 0, "y": 0, "width": page.viewport_size["width"], "height": box["y"] + box["height"] + 16}
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True, clip=clip)


def shoot_stats(console: Console) -> None:
    """Keep pictures of what passed, in English, and of the funnel, in Urdu."""
    console.sign_in("fraud")
    keep(console.go("/fraud?days=7"), "passes", "[aria-labelledby=places]")
    console.go("/fraud/funnel?days=7").click("button[value=ur]")
    keep(console.go("/fraud/funnel?days=7"), "funnel", "[aria-labelledby=by-channel]")
    console.page.click("button[value=en]")


def shoot_acts(console: Console) -> None:
    """Keep pictures of what a login, and what goes wrong, leave behind."""
    console.sign_in("support")
    keep(console.find(UNREACHABLE), "find", "section >> nth=0")
    console.sign_in("fraud")
    page = console.go("/fraud/what-if")
    page.fill("#rules", TRIED)
    page.click("button.main")
    while not page.locator("[aria-labelledby=compared]").count():
        page.wait_for_timeout(500)
        page.reload()
    page.click("summary")
    keep(page, "what-if", "pre")
    console.sign_in("operations")
    keep(console.go("/operations"), "operations", "[aria-labelledby=traffic]")
    console.sign_in("compliance")
    console.ask_for_erasure(CALLER)
    keep(console.go("/compliance"), "compliance", "main > p code")


def shoot_story(browser: Browser, origin: str, console: Console) -> None:
    """Keep one picture of a login: the shop, the handset, and what support sees of it."""
    size = {"width": 360, "height": 600}
    shop, handset = (browser.new_page(viewport=size) for _ in range(2))
    shop.goto(f"{origin}/shop")
    shop.fill("#to", CALLER)
    shop.check("[name=consent]")
    shop.click("#start .main")
    handset.goto(f"{origin}/handset")
    text = handset.locator(".text", has_text="code").last
    text.wait_for()
    shop.fill("#code", re.search(r"\d{6}", text.inner_text())[0])
    shop.wait_for_timeout(3000)
    console.sign_in("support")
    support = console.find(CALLER)
    support.set_viewport_size({"width": 520, "height": 600})
    shop.mouse.move(0, 0)
    end = support.locator(".hint").first.bounding_box()
    clip = {"x": 0, "y": 0, "width": 520, "height": end["y"] + end["height"] + 6}
    shots = [(shop, shop.screenshot()), (handset, handset.screenshot()), (support, support.screenshot(clip=clip))]
    titles = ("The shop", "The handset", "The console, for support")
    stats = "".join(
        f"<figure><figcaption>{title}</figcaption>"
        f"<img width={page.viewport_size['width']} src='data:image/png;base64,{b64encode(shot).decode()}'></figure>"
        for title, (page, shot) in zip(titles, shots, strict=True)
    )
    whole = browser.new_page(viewport={"width": 1320, "height": 600})
    whole.set_content(
        "<!doctype html><style>main { display: flex; gap: 20px; padding: 20px; font: 600 18px system-ui, sans-serif }"
        "body { margin: 0 } figure { margin: 0 } figcaption { margin-bottom: 8px }"
        f"img {{ border: 1px solid #b8c0cc; border-radius: 12px }}</style><main>{stats}</main>"
    )
    keep(whole, "demo")


def main() -> None:
    """Make all pictures."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, browsing() as browser, demo(Path(folder)) as (origin, link):
        data = Path(folder, "data")
        files = {"OTP_SERVICE_ROOT_KEYS_FILE": "root-keys", "OTP_SERVICE_PSEUDONYM_KEY_FILE": "pseudonym-key"}
        keys = {name: str(data / file) for name, file in files.items()}
        installation = install(load_settings(data / "config.json", keys))
        installation.context.access_cache.refresh()
        record_days(installation)
        url = installation.context.public_url
        installation.close()
        console = Console(browser, link)
        shoot_stats(console)
        shoot_story(browser, origin, console)
        with OtpService(url, (data / "api-key").read_text(encoding="utf-8")) as otp:
            send_codes(otp)
        shoot_acts(Console(browser, link))


if __name__ == "__main__":
    main()
