"""A browser, and the servers that it speaks to: the service, and a shop on another port and another host."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from playwright.sync_api import Browser, Page, sync_playwright
from support_missing import missing
from werkzeug.serving import make_server

AXE = Path(__file__).parent / "npm" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
"""WCAG 2.2, AA, and what axe advises beside it."""


@contextmanager
def browsing() -> Iterator[Browser]:
    """Start the system's Chromium; skip, or fail in CI, where there is none."""
    program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if program is None:
        missing("Chromium (Debian: chromium-headless-shell)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def serving(application: WSGIApplication) -> Iterator[int]:
    """Serve an application on this machine; yield its port."""
    server = make_server("127.0.0.1", 0, application, threaded=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Shop:
    """A site of an application, or of a stranger: it keeps what browsers ask, and shows what it is told to."""

    port: int = 0
    visits: list[WSGIEnvironment] = field(default_factory=list)
    body: str = "<h1>The shop</h1>"

    @property
    def back(self) -> str:
        """Where people come back to."""
        return f"http://localhost:{self.port}/back"

    @property
    def elsewhere(self) -> str:
        """The same server as another site."""
        return f"http://127.0.0.1:{self.port}/"

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        """Answer a request."""
        if environ["PATH_INFO"] != "/favicon.ico":
            self.visits.append(environ)
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        return [f"<!doctype html><html lang=en><title>Shop</title>{self.body}".encode()]


@cache
def _axe() -> str:
    if not AXE.exists():
        missing("npm's axe-core (npm ci --prefix tests/npm)")
    return AXE.read_text(encoding="utf-8")


def violations(page: Page) -> list[str]:
    """Return what axe finds wrong with a page: the rule, and the elements."""
    page.evaluate(_axe())
    found: dict[str, Any] = page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
    return [f"{one['id']}: {[node['html'] for node in one['nodes']]}" for one in found["violations"]]


def fonts_of(page: Page, selector: str) -> set[str]:
    """Return the families that an element's letters are really shown in."""
    session = page.context.new_cdp_session(page)
    session.send("DOM.enable")
    session.send("CSS.enable")
    root = session.send("DOM.getDocument")["root"]["nodeId"]
    node = session.send("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
    fonts = session.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
    session.detach()
    return {one["familyName"] for one in fonts}
