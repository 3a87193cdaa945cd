"""The console as a process that has the pseudonym key alone: all of its work, and nothing that a root key opens."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from support_caller import Caller
from support_console import Browser, new_person, sign_in
from support_events import record_events
from support_installation import NUMBER, World, tree
from support_ledger import VARIABLE
from support_service import COMMAND, PATIENCE, eventually
from support_valkey import free_port

from otp_service import bootstrap
from otp_service.bootstrap import Installation, prepare
from otp_service.console.accounts import Role
from otp_service.console.records import DONE, ConsoleUsers, DualControlRequests
from otp_service.domain.audit import OperatorAction
from otp_service.services.audit import verify_dispute_pack
from otp_service.settings import settings_from

MASK = "+92 ••• ••••567"


@dataclass
class Answer:
    """What the process answered, as tests read answers."""

    status_code: int
    text: str
    headers: Any

    @property
    def location(self) -> str | None:
        return self.headers.get("Location")

    @property
    def mimetype(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0]

    def get_data(self) -> None: ...

    def close(self) -> None: ...


@dataclass
class Client:
    """A browser's connection to the process: over HTTP, with the cookies that it set."""

    base: str
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, headers: dict[str, str], **_: Any) -> Answer:
        return self._send("GET", path, headers)

    def post(self, path: str, headers: dict[str, str], data: dict[str, str], **_: Any) -> Answer:
        return self._send("POST", path, headers, data)

    def _send(self, method: str, path: str, headers: dict[str, str], data: dict[str, str] | None = None) -> Answer:
        answer = requests.request(
            method, self.base + path, headers=headers, data=data, cookies=self.cookies, timeout=PATIENCE,
            allow_redirects=False,
        )  # fmt: skip
        self.cookies |= answer.cookies.get_dict()
        return Answer(answer.status_code, answer.content.decode(), answer.headers)


@dataclass
class Process:
    """The process, in the place of a console in this one."""

    base: str

    def test_client(self) -> Client:
        return Client(self.base)


@dataclass
class Site:
    """The rest of the installation, which has root keys, and how the process is told to start."""

    installation: Installation
    arguments: list[str]
    environment: dict[str, str]
    base: str

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        line = [str(COMMAND), *command, *self.arguments]
        return subprocess.run(
            line,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            stdin=subprocess.DEVNULL,
        )


@pytest.fixture
def site(real_world: World, tmp_path) -> Site:
    port = free_port()
    described = tree(real_world.url, console={"port": port})
    installation = bootstrap.install(settings_from(described), real_world.client)
    prepare(installation)
    config = tmp_path / "console.json"
    keys = described.pop("keys")
    config.write_text(json.dumps(described))
    others = {name: value for name, value in os.environ.items() if name != VARIABLE}
    environment = {**others, "OTP_SERVICE_PSEUDONYM_KEY": keys["pseudonym"], "PYTHONSAFEPATH": "1"}
    return Site(installation, ["--config", str(config)], environment, f"http://localhost:{port}")


@pytest.fixture
def console(site: Site) -> Iterator[Process]:
    process = subprocess.Popen([COMMAND, "console", *site.arguments], env=site.environment, stdin=subprocess.DEVNULL)

    def answers() -> bool:
        assert process.poll() is None
        try:
            return requests.get(f"{site.base}/healthz", timeout=PATIENCE).ok
        except requests.ConnectionError:
            return False

    try:
        eventually(answers)
        yield Process(site.base)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def desk(console: Process, site: Site, name: str) -> tuple[Browser, str]:
    """Let somebody of compliance sign in and look the number up; return his browser and the number's page."""
    browser = sign_in(console, new_person(site.installation, name, Role.COMPLIANCE))
    browser.get("/compliance")
    path = browser.post("/compliance", number=NUMBER).location
    assert MASK in browser.get(path).text
    return browser, path


def test_all_work_is_done_without_root_keys(console, site):
    verification = Caller(site.installation).start()
    record_events(site.installation.context)
    ledger = site.installation.context.ledger
    asker, path = desk(console, site, "ayesha")
    second, same = desk(console, site, "zain")

    asker.get("/find")
    found = asker.get(asker.post("/find", number=NUMBER).location)
    assert verification in found.text
    asker.get(path)
    export = json.loads(asker.post(f"{path}/export").text)
    assert export["to"] == MASK
    assert [one["id"] for one in export["applications"]["shop"]["verifications"]] == [verification]
    pack = json.loads(asker.post(f"{path}/pack", application="shop").text)
    assert list(verify_dispute_pack(pack, site.installation.context.keyring.signer.public_key)) == []
    assert asker.post(f"{path}/freeze", application="shop", reason="case A-17").location == path
    assert asker.post(f"{path}/ask", act="erase", application="shop", reason="he asked").location
    (request,) = DualControlRequests(ledger.database).latest(1)
    second.get(same)
    assert second.post(f"{same}/requests/{request.id}/confirm").location == same
    assert DualControlRequests(ledger.database).latest(1)[0].outcome == DONE
    assert OperatorAction.SUBJECT_ERASED in [one.action for one in ledger.operator_actions.between(None, None, 100)]


def test_each_role_sees_each_of_its_pages_without_root_keys(console, site):
    from otp_service.console.app import VIEWS  # noqa: PLC0415 - the process has its own

    verification = Caller(site.installation).start()
    for role in Role:
        browser = sign_in(console, new_person(site.installation, f"the-{role}", role))
        user = ConsoleUsers(site.installation.context.ledger.database).find(f"the-{role}")
        for view in VIEWS:
            if view.method == "GET" and not view.is_open and view.is_for(user) and "<" not in view.rule:
                assert browser.get(view.rule).status_code == 200, (role, view.rule)
    developer = sign_in(console, new_person(site.installation, "dev", Role.DEVELOPER))
    assert developer.get(f"/developers/verifications/{verification}").status_code == 200


def test_users_are_invited_by_a_command_that_has_no_root_key_either(site):
    made = site.run("console-user", "add", "asha", "--role", "admin")

    assert made.returncode == 0, made.stderr
    assert f"{site.base.replace('localhost', '127.0.0.1')}/invitation/" in made.stdout


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_what_makes_or_sends_codes_does_not_start_without_root_keys(site, command):
    refused = site.run(command)

    assert refused.returncode != 0
    assert "key-missing" in refused.stderr


def test_what_seals_says_that_it_needs_one(site):
    refused = site.run("factor", "reseal")

    assert refused.returncode != 0
    assert "OTP_SERVICE_ROOT_KEYS is needed" in refused.stderr
