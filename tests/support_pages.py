"""Hosted pages, as a browser without script and an application's back end use them."""

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support_api import Api
from support_installation import World, tree
from werkzeug.test import TestResponse

PUBLIC = "https://otp.example"
RETURN = "https://shop.example/back"
REDEEM = "/v1/page-results/redeem"
PAYMENT = {"amount": "1500", "currency": "PKR", "payee": "Daraz", "account": "4821"}
OWN = {"Sec-Fetch-Site": "same-origin", "Origin": "null"}
"""What browsers send along with a form of ours."""


def api_with_pages(
    world: World, *, return_to: str = RETURN, public: str = PUBLIC, color: str = "#1f4fbf", **sections: Any
) -> Api:
    """Return an API whose applications both have pages."""
    applications = tree(world.url)["applications"]
    for one in applications.values():
        one |= {"page_return_urls": [return_to], "page_color": color}
    return Api(world, **{"http": {"public_url": public}, "applications": applications, **sections})


class Person:
    """A verification with a page, and the browser in which it is open."""

    def __init__(self, api: Api, return_url: str = RETURN, **members: Any) -> None:
        answer = api.post("/v1/verifications", {"to": "+923001234567", "page": {"return_url": return_url}, **members})
        assert answer.status_code == 201, answer.text
        self.api, self.id = api, str(answer.json["id"])
        self.url = str(answer.json["page"]["url"])
        self.path = urlsplit(self.url).path

    def look(self, query: str = "", **headers: str) -> TestResponse:
        return self.api.client.get(
            self.path + query, headers={name.replace("_", "-"): one for name, one in headers.items()}
        )

    def send(self, headers: dict[str, str] = OWN, **fields: str) -> TestResponse:
        """Send a form as it stands on the page now."""
        fields.setdefault("attempt", attempt_of(self.look()))
        return self.api.client.post(self.path, data=fields, headers=headers)

    def said(self, **fields: str) -> str:
        """Send a form; return the page that it leads to."""
        answer = self.send(**fields)
        assert answer.status_code == 303, answer.text
        address = answer.headers["Location"]
        assert address.split("?")[0] == self.path.removeprefix("/p/")
        return text_of(self.api.client.get(f"/p/{address}"))

    def approve(self) -> str:
        """Type the right code; return the result."""
        answer = self.send(code=self.api.code(self.id))
        assert answer.status_code == 303, answer.text
        return result_of(answer.headers["Location"])

    @property
    def status(self) -> str:
        return str(self.api.get(f"/v1/verifications/{self.id}").json["status"])


def attempt_of(answer: TestResponse) -> str:
    found = re.search(r'name="attempt" value="([^"]+)"', answer.text)
    return found[1] if found else ""


def text_of(answer: TestResponse) -> str:
    """Return what a person reads."""
    return " ".join(unescape(re.sub(r"<[^>]*>", "", answer.text)).split())


def result_of(address: str) -> str:
    return parse_qs(urlsplit(address).query)["result"][0]
