"""The Python client as users get it: a wheel, and the examples on it."""

import ast
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support_sources import ROOT

CLIENT = ROOT / "clients" / "python"
SERVED = {"flask_login": "flask_login.app", "django_login": "django_login.application"}
REPLACED = "import otp_service_client, otp_service_client.testing as testing; "
FAKED = {
    "flask_login": "otp_service_client.OtpService = lambda *_: testing.FakeOtpService(); ",
    "django_login": "otp_service_client.OtpService = lambda *_: testing.FakeOtpService(); ",
    "fastapi_login": "otp_service_client.AsyncOtpService = lambda *_: testing.AsyncFakeOtpService(); ",
}
THROUGH_WSGI = """
from werkzeug.test import Client
def serve(environ, start_response):
    return {application}(dict(environ, REMOTE_ADDR="127.0.0.1"), start_response)
person, stranger = Client(serve), Client(serve)
print(person.get("/").status_code)
started = person.post("/start", data={{"phone": "0300 1234567"}})
print(started.status_code, bool(started.json["sent_to"]))
print(person.post("/check", data={{"code": "000000"}}).status_code)
print(stranger.post("/check", data={{"code": "123456"}}).status_code)
print(person.post("/check", data={{"code": "123456", "phone": "+923007654321"}}).json)
"""
THROUGH_FASTAPI = """
from starlette.testclient import TestClient
with TestClient(fastapi_login.app) as person:
    print(person.post("/check", json={"code": "123456"}).status_code)
    print(person.post("/start", json={"phone": "0300 1234567"}).status_code)
    print(person.post("/check", json={"code": "000000"}).json()["detail"]["reason"])
    print(person.post("/check", json={"code": "123456", "phone": "+923007654321"}).json())
    fastapi_login.otp.fail_with("rate-limited")
    print(person.post("/start", json={"phone": "+923001234567"}).json()["code"])
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which the wheel was installed, without an index, and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    _run([sys.executable, "-m", "hatchling", "build", "--directory", folder], cwd=CLIENT)
    (wheel,) = folder.glob("*.whl")
    target = folder / "installed"
    _run([sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", target, wheel])
    return target


def _run(command: list[Any], **options: Any) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=100, **options).stdout


def test_the_wheel_has_the_package_its_types_and_its_licence(installed: Path):
    with zipfile.ZipFile(next(installed.parent.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if "dist-info" not in name}
        (licence,) = [name for name in wheel.namelist() if name.endswith("LICENSE")]
        assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert names == {f"otp_service_client/{path.name}" for path in (CLIENT / "otp_service_client").glob("*.*")}
    assert "otp_service_client/py.typed" in names
    assert list(installed.parent.glob("*.tar.gz"))


def test_only_httpx_is_needed_and_the_rest_by_choice():
    imported: dict[str, set[str]] = {}
    for path in (CLIENT / "otp_service_client").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            modules += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                imported.setdefault(module.partition(".")[0], set()).add(path.name)
    others = {name: users for name, users in imported.items() if name not in sys.stdlib_module_names}

    assert others.keys() == {"otp_service_client", "httpx", "jwt"}
    assert others["jwt"] == {"proofs.py"}


def _environment(installed: Path) -> dict[str, str]:
    path = f"{installed}{os.pathsep}{CLIENT / 'examples'}"
    others = {name: one for name, one in os.environ.items() if name != "PYTHONSAFEPATH"}
    return {**others, "PYTHONPATH": path, "SECRET_KEY": "x" * 40, "OTP_URL": "http://127.0.0.1:1", "OTP_KEY": "key"}


@pytest.mark.parametrize(("name", "application"), SERVED.items())
def test_an_example_lets_in_who_typed_the_code(name: str, application: str, installed: Path, tmp_path: Path):
    program = REPLACED + FAKED[name] + f"import {name}" + THROUGH_WSGI.format(application=application)
    told = _run([sys.executable, "-c", program], env=_environment(installed), cwd=tmp_path)

    assert told.splitlines() == ["404", "200 True", "403", "400", "{'welcome': '+923001234567'}"]


def test_the_example_that_awaits_lets_in_who_typed_the_code(installed: Path, tmp_path: Path):
    program = REPLACED + FAKED["fastapi_login"] + "import fastapi_login" + THROUGH_FASTAPI
    told = _run([sys.executable, "-W", "ignore", "-c", program], env=_environment(installed), cwd=tmp_path)

    assert told.split("\n")[:5] == ["400", "200", "wrong_code", "{'welcome': '+923001234567'}", "rate-limited"]


def test_the_installed_client_is_the_one_that_examples_use(installed: Path):
    program = "import otp_service_client, json; print(json.dumps(otp_service_client.__file__))"
    assert json.loads(_run([sys.executable, "-c", program], env=_environment(installed))).startswith(str(installed))


USES = """
import asyncio
from collections.abc import Callable
from functools import partial
from typing import assert_type

from otp_service_client import AsyncOtpService, CheckResult, OtpService, StartedVerification, Transaction, Verification
from otp_service_client.testing import FakeOtpService


def use(otp: OtpService) -> None:
    start: Callable[[str], StartedVerification] = otp.verifications.start
    assert_type(partial(otp.verifications.check, "vf_1")("123456"), CheckResult)
    assert_type(list(map(otp.verifications.get, [start("+923001234567").id])), list[Verification])
    payment: Transaction = {"amount": "1500.00", "currency": "PKR", "payee": "Daraz"}
    otp.verifications.start("+923001234567", transaction=payment, metadata={"cart": "7"})
    otp.verifications.start(5)  # type: ignore[arg-type]
    otp.verifications.start("+923001234567", purpos="login")  # type: ignore[call-arg]
    otp.verifications.start("+923001234567", transaction={"amount": "1"})  # type: ignore[arg-type]


async def use_awaited(otp: AsyncOtpService) -> None:
    one, result = await asyncio.gather(otp.verifications.get("vf_1"), otp.verifications.check("vf_1", "123456"))
    assert_type((one, result), tuple[Verification, CheckResult])
    assert_type(await asyncio.create_task(otp.verifications.get("vf_1")), Verification)
    otp.verifications.check("vf_1", "123456").valid  # type: ignore[attr-defined]


use(FakeOtpService())


def let_in(otp: OtpService) -> str:
    if otp.verifications.check("vf_1", "123456"):
        return "anybody"
    return "nobody"
"""


def test_types_hold_in_unusual_uses_and_tell_of_a_result_that_is_taken_for_its_truth(tmp_path: Path):
    program = tmp_path / "uses.py"
    program.write_text(USES)
    options = ("--strict", "--warn-unreachable", "--config-file=", f"--cache-dir={tmp_path}")
    environment = {**os.environ, "MYPYPATH": str(ROOT / "clients" / "python")}
    command = [sys.executable, "-m", "mypy", *options, program]
    told = subprocess.run(command, env=environment, check=False, capture_output=True, text=True).stdout
    faults = [one.partition("uses.py:")[2] for one in told.splitlines() if "error:" in one]
    after = [number for number, one in enumerate(USES.splitlines(), 1) if one.strip().startswith("return ")]

    assert faults == [f"{number}: error: Statement is unreachable  [unreachable]" for number in after]
