"""The console as a person's browser meets it: cookies, forms and their tokens, without a browser."""

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyotp
from werkzeug.test import Client, TestResponse

from otp_service.bootstrap import Installation
from otp_service.console import authentication
from otp_service.console.accounts import Role
from otp_service.console.app import Console

PASSWORD = "four plain words here"
ADMIN = "cli:tests"


@dataclass
class Browser:
    """Somebody's browser, at a console."""

    console: Console
    address: str = "127.0.0.1"
    client: Client = field(init=False)
    page: str = ""
    """The last page."""

    def __post_init__(self) -> None:
        self.client = self.console.test_client()

    def get(self, path: str, **headers: str) -> TestResponse:
        """Look at a page."""
        return self._note(self.client.get(path, **self._about(headers)))

    def post(self, path: str, **fields: str) -> TestResponse:
        """Send a form of the last page that this browser saw."""
        return self.send(path, {"form": self.form_token, **fields}, {"Sec-Fetch-Site": "same-origin"})

    def send(self, path: str, fields: dict[str, str], headers: dict[str, str]) -> TestResponse:
        """Send any form, with any headers."""
        return self._note(self.client.post(path, data=fields, **self._about(headers)))

    @property
    def form_token(self) -> str:
        found = re.search(r'name="form" value="([^"]*)"', self.page)
        return found[1] if found else ""

    def _about(self, headers: dict[str, str]) -> dict[str, Any]:
        environ = {"REMOTE_ADDR": self.address}
        return {"base_url": "https://localhost", "headers": headers, "environ_overrides": environ}

    def _note(self, answer: TestResponse) -> TestResponse:
        answer.get_data()
        answer.close()
        if answer.mimetype == "text/html" and not answer.location:
            self.page = answer.text
        return answer


@dataclass
class Person:
    """A user of the console, and his authenticator app."""

    name: str
    app: pyotp.TOTP
    used: int = 0

    def code(self) -> str:
        """Return a code that was not used yet, as far as the console lets clocks differ."""
        now = self.app.timecode(datetime.now(UTC) + timedelta(seconds=1))  # the period may end before it is typed
        self.used = max(self.used + 1, now - 1)
        while self.used == self.app.timecode(datetime.now(UTC)) + 2:  # a third one, in the last second of a period
            time.sleep(0.05)
        return self.app.generate_otp(self.used)


def new_person(installation: Installation, name: str, role: Role, *applications: str) -> Person:
    """Invite somebody who accepts at once."""
    invitation = authentication.invite(installation.context, name, role, applications, ADMIN)
    secret = authentication.open_invitation(installation.context, invitation).uri
    person = Person(name, pyotp.parse_uri(secret))
    assert authentication.accept_invitation(installation.context, invitation, PASSWORD, person.code()) == ""
    return person


def sign_in(console: Console, person: Person, password: str = PASSWORD, **about: str) -> Browser:
    """Return the browser of somebody who signed in."""
    browser = Browser(console, **about)
    browser.get("/sign-in")
    answer = browser.post("/sign-in", name=person.name, password=password, code=person.code())
    assert (answer.status_code, answer.location) == (303, "/"), answer.text
    return browser
