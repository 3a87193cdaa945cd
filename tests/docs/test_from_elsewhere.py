"""Run the programs of docs/migrate.md against the service."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from support_api import START, Api
from support_forgetful import serving
from support_installation import API_KEY, NUMBER, SPELLINGS, World, tree
from support_missing import missing
from support_sources import ROOT
from support_twilio import PACKAGES, Facade, twilio_api

from otp_service.domain.keyring import api_key_hash

ACCOUNT = "AC" + 32 * "0"
ADDRESS, VICTIM = "203.0.113.7", "+923007654321"


def _block(section: str, language: str) -> str:
    text = (ROOT / "docs" / "migrate.md").read_text(encoding="utf-8")
    (text,) = re.findall(rf"^## {section}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(block)


@pytest.fixture
def api(real_world: World) -> Api:
    return twilio_api(real_world)


@pytest.fixture
def environment(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What the programs find: they speak to a service as it is set for them."""
    with serving(api.app) as address:
        told = {"OTP_URL": address, "OTP_KEY": API_KEY, "ACCOUNT_SID": ACCOUNT}
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        yield {**os.environ, **told}


def _node(program: str, environment: dict[str, str]) -> str:
    if shutil.which("node") is None or not (PACKAGES / "node_modules" / "twilio").exists():
        missing("Node, and npm's twilio (npm ci --prefix tests/npm)")
    command = ["node", "--input-type=module", "--eval", program]
    done = subprocess.run(
        command, cwd=PACKAGES, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def _listed(facade: Facade) -> list[str]:
    found = facade.get("/Services").json["services"]
    return [f"{one['account_sid']} {one['sid']} {one['friendly_name']}" for one in found]


def test_the_settings_for_twilios_libraries_are_valid_and_give_a_service(real_world: World):
    sections = tomllib.loads(_block("From Twilio Verify", "toml"))
    sections["applications"]["shop"] |= {"keys": [api_key_hash(API_KEY)]}
    sections["purposes"] = {**tree(real_world.url)["purposes"], **sections["purposes"]}
    facade = Facade(Api(real_world, **sections))

    assert facade.services.keys() == {"login"}
    sids = {facade.start(DeviceIp="203.0.113.7").json["sid"] for _ in range(5)}
    assert len(sids) == 1


def test_the_python_program_lists_the_services(
    environment: dict[str, str], api: Api, capsys: pytest.CaptureFixture[str]
):
    exec(_block("From Twilio Verify", "python"), {})  # noqa: S102 - ours

    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("AC")] == _listed(Facade(api))


def test_the_node_program_lists_the_services(environment: dict[str, str], api: Api):
    assert _node(_block("From Twilio Verify", "javascript"), environment).splitlines() == _listed(Facade(api))


def test_the_command_lists_the_services(environment: dict[str, str], api: Api):
    if shutil.which("curl") is None:
        missing("curl")
    command = ["bash", "-c", _block("From Twilio Verify", "bash")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)

    sids = [one["sid"] for one in json.loads(done.stdout)["services"]]
    assert sids == [*Facade(api).services.values()]


def test_the_function_for_supabase_starts_and_checks(environment: dict[str, str], api: Api):
    facade = Facade(api)
    deno = "globalThis.Deno = { env: { get: (name) => process.env[name] } };\n"
    program = deno + _block("From Supabase", "javascript")
    told = {**environment, "SERVICE_SID": facade.services["login"]}
    sid = _node(f"{program}\nconsole.log((await start({NUMBER!r})).sid);", told).strip()
    wrong, right = (
        _node(f"{program}\nconsole.log(await check({NUMBER!r}, {code!r}));", told).strip()
        for code in (facade.wrong(sid), facade.code(sid))
    )

    assert (wrong, right) == ("null", NUMBER)


def test_the_function_for_supabase_logs_nobody_in_as_another(environment: dict[str, str], api: Api):
    facade = Facade(api)
    sid, _ = (facade.start(To=to).json["sid"] for to in (NUMBER, VICTIM))
    deno = "globalThis.Deno = { env: { get: (name) => process.env[name] } };\n"
    program = deno + _block("From Supabase", "javascript")
    told = {**environment, "SERVICE_SID": facade.services["login"]}
    code = facade.code(sid)
    as_victim, as_oneself = (
        _node(f"{program}\nconsole.log(await check({to!r}, {code!r}));", told).strip()
        for to in (VICTIM, "0300 1234567")
    )

    assert (as_victim, as_oneself) == ("null", NUMBER)


@pytest.fixture
def site(environment: dict[str, str], api: Api) -> Iterator["Site"]:
    program: dict[str, Any] = {}
    exec(_block("From a table of codes", "python"), program)  # noqa: S102 - ours
    yield Site(api, program)
    program["otp"].close()


class Site:
    """A site with accounts by number, which logs people in by the functions of the page."""

    def __init__(self, api: Api, program: dict[str, Any]) -> None:
        self.api = api
        self.program = program
        self.session: dict[str, str] = {}
        self.accounts: dict[str, int] = {}

    def start(self, phone: str) -> str:
        """Send a code; return the one that the phone shows."""
        assert self.program["send_code"](self.session, phone, ADDRESS)
        return self.api.code(self.session["verification"])

    def log_in(self, phone: str, typed: str) -> bool:
        number = self.program["check_code"](self.session, phone, typed)
        if number:
            self.accounts[number] = self.accounts.get(number, 0) + 1
        return bool(number)


def test_the_functions_in_place_of_a_table_send_and_check(site: Site):
    code = site.start(NUMBER)

    assert not site.log_in(NUMBER, site.api.wrong(site.session["verification"]))
    assert not site.log_in(NUMBER, "no code")
    assert site.log_in(NUMBER, code)
    assert not site.log_in(NUMBER, code)
    assert site.accounts == {NUMBER: 1}
    assert not site.program["send_code"]({}, "+92300", ADDRESS)


def test_nobody_logs_in_as_another_with_a_code_of_their_own(site: Site):
    """As an attack goes: the form with the code names somebody else, and the site may believe the form."""
    code = site.start(NUMBER)
    for victim in (VICTIM, "0300 7654321", "no number", ""):
        assert not site.log_in(victim, code)

    assert site.accounts == {}
    assert site.api.get(f"{START}/{site.session['verification']}").json["checks_left"] == 5
    assert site.log_in(NUMBER, code)
    assert site.accounts == {NUMBER: 1}


def test_nobody_logs_in_with_a_code_of_an_earlier_number(site: Site):
    code = site.start(NUMBER)
    other = site.start(VICTIM)

    assert not site.log_in(NUMBER, code)
    assert code == other or not site.log_in(VICTIM, code)
    assert site.accounts == {}


def test_every_spelling_of_a_number_is_one_account(site: Site):
    for sent, typed in zip(SPELLINGS, reversed(SPELLINGS), strict=True):
        assert site.log_in(typed, site.start(sent))

    assert site.accounts == {NUMBER: len(SPELLINGS)}
