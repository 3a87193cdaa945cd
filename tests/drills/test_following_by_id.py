"""On call: one message, one receipt, one app and one webhook, each followed by its id through all that tells of it.

Real processes do it once, with their log as it is written; the command line and the console are asked afterwards.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyotp
import pytest
from support_cli import run
from support_console import Browser, new_person, sign_in
from support_installation import NUMBER
from support_ledger import make_ledger
from support_service import Service, eventually, report_to_sandbox, running
from support_valkey import ValkeyServer
from support_webhooks import LOOPBACK, receiving

from otp_service.bootstrap import Installation, install, prepare
from otp_service.console.accounts import Role
from otp_service.console.app import Console
from otp_service.settings import load_settings
from otp_service.store import keys

SECRET, USER = "receipts", "customer-8842-b"
PROXY_ID = "7f0f54f2-3bb6-4b9f-a3b0-5e2e0a7a6d11"


@dataclass
class Night:
    """What happened, by its ids, and what the processes logged of it."""

    service: Service
    installation: Installation
    ids: dict[str, str] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    browsers: dict[Role, Browser] = field(default_factory=dict)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of the log that have an id, by its exact text."""
        logged = (json.loads(line) for line in self.service.logs().splitlines() if line.startswith("{"))
        return [line for line in logged if self.ids[name] in line.values()]

    def events(self, name: str) -> set[str]:
        return {line["message"] for line in self.lines(name)}

    def find(self, name: str, *options: str) -> dict[str, Any]:
        """Return what the command line tells of an id."""
        told = run("find", self.ids[name], "--json", *options, environ=self.environ)
        assert told.exit_code == 0, told.output
        return dict(json.loads(told.stdout))


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer) -> Iterator[Night]:
    valkey_server.reset()
    folder = tmp_path_factory.mktemp("night")
    make_ledger(url := f"sqlite:///{folder / 'ledger.db'}")
    sections: dict[str, Any] = {
        "ledger": {"url": url},
        "gateways": {"sandbox": {"kind": "sandbox", "timeout": 1.0, "receipt_secret": SECRET}},
        "webhooks": {"networks": LOOPBACK},
        "limits": {"number": ["2/hour"]},
    }
    with receiving() as receiver, running(folder, valkey_server, **sections) as service:
        environ = {**service.keys, "OTP_SERVICE_CONFIG": str(service.config)}
        installation = install(load_settings(environ=environ))
        prepare(installation)
        night = Night(service, installation, environ=environ)
        _act(night, receiver.url)
        yield night
        installation.close()


def _act(night: Night, receiver: str) -> None:
    service, ids = night.service, night.ids
    added = run("webhook", "add", "shop", f"{receiver}/shop", "--type", "delivery", environ=night.environ)
    assert added.exit_code == 0, added.output
    start = service.post("/v1/verifications", {"to": NUMBER}, X_Request_Id=PROXY_ID)
    ids["verification"], ids["request"] = start.json()["id"], start.headers["X-Request-Id"]
    eventually(lambda: night.events("verification") >= {"message_dispatched"})
    (sent,) = (line for line in night.lines("verification") if line["message"] == "message_dispatched")
    ids["dispatch"] = sent["dispatch"]
    ids["receipt"] = report_to_sandbox(service, SECRET, ids["dispatch"], "delivered").headers["X-Request-Id"]
    wrong = service.post(f"/v1/verifications/{ids['verification']}/check", {"code": _wrong(service, ids)})
    ids["check"] = wrong.headers["X-Request-Id"]
    service.post("/v1/verifications", {"to": NUMBER})
    refused = service.post("/v1/verifications", {"to": NUMBER})
    assert refused.status_code == 429
    ids["refused"] = refused.headers["X-Request-Id"]
    _use_app(night)
    ids["webhook"] = eventually(lambda: _webhook(night))
    eventually(lambda: night.installation.context.ledger.verifications.events_of([ids["factor"]])[ids["factor"]])
    eventually(lambda: not night.installation.context.store.events.unrecorded())
    (caught,) = night.installation.context.ledger.verifications.events_of([ids["verification"]]).values()
    ids["reference"] = next(one.member("reference") for one in caught if one.member("reference"))


def _webhook(night: Night) -> str:
    """Return a webhook of the verification, once it is sent."""
    sent = (line for line in night.lines("verification") if line["message"] == "webhook_sent")
    return next((line["webhook"] for line in sent), "")


def _wrong(service: Service, ids: dict[str, str]) -> str:
    right = service.code(ids["verification"])
    return f"{(int(right) + 1) % 1_000_000:06d}"


def _use_app(night: Night) -> None:
    """Enrol an app, activate it, and use it."""
    enrolled = night.service.post("/v1/factors", {"user": USER, "label": "ali@example.com"}).json()
    night.ids["factor"] = enrolled["factor"]["id"]
    app = pyotp.parse_uri(enrolled["uri"])
    step = int(night.installation.context.store.decisions.now() / 1000) // app.interval
    path = f"/v1/factors/{night.ids['factor']}"
    activated = night.service.post(f"{path}/activate", {"code": app.generate_otp(step - 1)})
    assert activated.status_code == 200, activated.text
    checked = night.service.post(f"{path}/check", {"code": app.generate_otp(step)})
    assert checked.json()["valid"], checked.text


def _signed_in(night: Night, role: Role) -> Browser:
    if role not in night.browsers:
        person = new_person(night.installation, str(role), role)
        night.browsers[role] = sign_in(Console(night.installation), person)
    return night.browsers[role]


def test_a_message_is_followed_through_the_log(night: Night):
    assert night.events("verification") >= {"request", "message_dispatched", "receipt_recorded"}
    assert night.events("dispatch") == {"request", "message_dispatched", "receipt_recorded"}


@pytest.mark.parametrize("name", ["verification", "dispatch", "reference", "request", "check", "webhook"])
def test_a_message_is_found_by_each_of_its_ids(night: Night, name: str):
    (found,) = night.find(name)["verifications"]

    assert (found["id"], found["why"]) == (night.ids["verification"], "delivered")
    assert found["deliveries"][0]["dispatch"] == night.ids["dispatch"]
    assert found["deliveries"][0]["reference"] == night.ids["reference"]


@pytest.mark.parametrize("name", ["dispatch", "reference", "request", "check"])
def test_it_is_found_when_redis_has_forgotten_it(night: Night, name: str):
    with _without_redis(night):
        (found,) = night.find(name)["verifications"]

    assert (found["id"], found["why"]) == (night.ids["verification"], "delivered")
    assert found["deliveries"][0]["dispatch"] == night.ids["dispatch"]


def _without_redis(night: Night) -> Any:
    """Let Redis forget the verification, its dispatches and all events for a while."""

    class Forgetting:
        def __enter__(self) -> None:
            self.client = night.service.valkey.client
            names = [one for one in self.client.keys("otp:*") if _is_of_messages(one.decode())]
            self.kept = [(one, self.client.dump(one), max(0, self.client.pttl(one))) for one in names]
            self.client.delete(*names)

        def __exit__(self, *_: object) -> None:
            for name, dump, life in self.kept:
                self.client.restore(name, life, dump, replace=True)

    return Forgetting()


def _is_of_messages(key: str) -> bool:
    return any(kind.has(key) for kind in (keys.record, keys.dispatch, keys.events, keys.number))


@pytest.mark.parametrize("name", ["verification", "dispatch", "reference", "request", "check"])
def test_support_finds_a_message_in_the_console(night: Night, name: str):
    browser = _signed_in(night, Role.SUPPORT)
    browser.get("/find")
    answer = browser.post("/find/identifier", name=night.ids[name])
    page = browser.get(answer.location).text

    assert answer.location == f"/decisions/{night.ids['verification']}"
    assert night.ids["dispatch"] in page
    assert night.ids["reference"] in page
    assert "Tell the caller:" in page


@pytest.mark.parametrize("name", ["verification", "dispatch", "reference", "request", "webhook"])
def test_a_developer_finds_a_message_in_the_console(night: Night, name: str):
    browser = _signed_in(night, Role.DEVELOPER)
    browser.get("/developers/verifications")
    answer = browser.post("/developers/verifications", id=night.ids[name])

    assert answer.location == f"/developers/verifications/{night.ids['verification']}"


def test_each_line_of_a_receipt_has_verification_and_dispatch(night: Night):
    told = [line for line in night.lines("receipt") if line["request_id"] == night.ids["receipt"]]

    assert [line["message"] for line in told] == ["receipt_recorded", "request"]
    assert {(line["verification"], line["dispatch"]) for line in told} == {
        (night.ids["verification"], night.ids["dispatch"])
    }


def test_a_refused_request_is_found_with_the_rule_that_refused_it(night: Night):
    found = night.find("refused")
    browser = _signed_in(night, Role.SUPPORT)
    browser.get("/find")
    page = browser.get(browser.post("/find/identifier", name=night.ids["refused"]).location).text

    assert found["verifications"] == []
    assert [one["rule"] for one in found["decisions"]] == ["number.sends"]
    assert night.ids["refused"] in page
    assert "number.sends" in page


def test_the_id_of_a_proxy_stands_beside_ours(night: Night):
    (line,) = (line for line in night.lines("request") if line["message"] == "request")

    assert (line["proxy_request_id"], line["verification"]) == (PROXY_ID, night.ids["verification"])


def test_an_app_is_followed_by_its_id(night: Night):
    browser = _signed_in(night, Role.SUPPORT)
    browser.get("/find")
    page = browser.get(browser.post("/find/identifier", name=night.ids["factor"]).location).text

    assert night.events("factor") == {"factor_enrolled", "factor_activated"}
    factor = night.find("factor")["factor"]
    assert [one["what"] for one in factor["events"]] == ["factor.activated", "factor.approved"]
    assert factor["application"] == "shop"
    assert all(one in page for one in (night.ids["factor"], "factor.activated", "factor.approved"))


def test_a_webhook_is_followed_by_its_id(night: Night):
    tries = run("webhook", "tries", "--webhook", night.ids["webhook"], "--json", environ=night.environ)
    (told,) = json.loads(tries.stdout)["webhooks"]
    page = _signed_in(night, Role.DEVELOPER).get("/developers").text

    assert night.events("webhook") == {"webhook_sent"}
    assert (told["id"], told["verification"]) == (night.ids["webhook"], night.ids["verification"])
    assert night.ids["webhook"] in page


@pytest.mark.parametrize(
    "name", ["rq_" + "0" * 32, "rq_" + "f" * 32, "dp_00" + "0" * 32, "SM" + "0" * 32, "nothing", "wh_" + "0" * 32]
)
def test_of_what_nobody_knows_that_is_said(night: Night, name: str):
    told = run("find", name, environ=night.environ)
    browser = _signed_in(night, Role.SUPPORT)
    browser.get("/find")
    answer = browser.post("/find/identifier", name=name)

    assert (told.exit_code, told.output.startswith(f"Error: {name} was not found")) == (1, True)
    assert (answer.status_code, "Nothing is known under this identifier." in answer.text) == (404, True)


def test_no_number_is_in_what_is_told(night: Night):
    assert not re.search(NUMBER[-7:], night.service.logs())
    assert NUMBER[-7:] not in json.dumps([night.find(name) for name in ("verification", "request", "refused")])
