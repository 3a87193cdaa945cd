"""The page that tries calls, in a real browser: all of it is the service's own, and calls are made with a key."""

import json
import re

from playwright.sync_api import Locator, Page, Response, expect
from support_api import Api
from support_browser import browsing, serving
from support_installation import API_KEY, NUMBER, World


def operation(page: Page, name: str) -> Locator:
    """Open an operation."""
    block = page.locator(f"#operations-Verifications-{name}")
    block.locator(".opblock-summary-control").click()
    return block


def execute(page: Page, block: Locator, path: str) -> Response:
    with page.expect_response(re.compile(path)) as answer:
        block.get_by_role("button", name="Execute", exact=True).click()
    return answer.value


def test_a_person_authorises_starts_and_checks(world: World):
    api, complaints, hosts = Api(world), [], set()
    with browsing() as browser, serving(api.app) as port:
        page = browser.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if "://" in request.url else None)
        page.goto(f"http://127.0.0.1:{port}/docs")
        page.get_by_role("link", name="Try it").click()
        page.get_by_role("button", name="Authorize").click()
        form = page.locator(".auth-container").filter(has_text="apiKey")
        form.get_by_role("textbox").fill(API_KEY)
        form.get_by_role("button", name="Apply credentials").click()
        form.get_by_role("button", name="Close").click()

        start = operation(page, "startVerification")
        start.locator("textarea").fill(json.dumps({"to": NUMBER, "client_ip": "203.0.113.7"}))
        started = execute(page, start, "/v1/verifications$")
        expect(start.locator(".live-responses-table td.response-col_status").last).to_have_text("201")

        check = operation(page, "checkCode")
        check.locator("input[placeholder=verification_id]").fill(started.json()["id"])
        check.locator("textarea").fill(json.dumps({"code": api.code(started.json()["id"])}))
        checked = execute(page, check, "/check$").json()

    assert (started.status, checked["valid"]) == (201, True)
    assert complaints == []
    assert hosts == {f"127.0.0.1:{port}"}
