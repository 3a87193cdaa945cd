"""The tests of the TypeScript client, in Node, against the servers that the Python client is tried against."""

import json
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support_clients import CASES, Script, closed_port, scripted, service_for_clients
from support_installation import API_KEY
from support_sources import ROOT
from support_typescript import CLIENT, run
from support_valkey import ValkeyServer

from otp_service.api.errors import PROBLEM_KINDS

STARTS = next(number for number, one in enumerate(CASES["scripted"]) if one["name"] == "an answer at once")
SILENCE = next(number for number, one in enumerate(CASES["scripted"]) if "silent" in str(one["steps"]))

LINE = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["line-length"]


@pytest.fixture(scope="module")
def script(valkey_server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Script]:
    with service_for_clients(tmp_path_factory.mktemp("service"), valkey_server) as service, scripted(service) as script:
        yield script


def _node(script: Script, specification: Path, test: Path, **variables: str) -> None:
    told = run(
        "node",
        "--test",
        test,
        folder=test.parent,
        CASES=str(ROOT / "clients" / "cases.json"),
        KEY=API_KEY,
        NOBODY=closed_port(),
        OPENAPI=str(specification),
        PROBLEMS=json.dumps({code: kind.status for code, kind in PROBLEM_KINDS.items()}),
        SCRIPT=script.url,
        SERVICE=script.service.base,
        SILENCE=str(SILENCE),
        STARTS=str(STARTS),
        **variables,
    )
    assert "# fail 0" in told
    assert "# tests 0" not in told


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ["client", "cases"])
def test_the_client(specification: Path, script: Script, name: str):
    _node(script, specification, CLIENT / "build" / "test" / f"{name}.test.js")


@pytest.mark.timeout(400)
def test_the_examples_run_on_the_package_as_it_is_installed(specification: Path, script: Script, tmp_path: Path):
    run("npm", "pack", "--silent", "--pack-destination", tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module", "private": true}')
    (package,) = tmp_path.glob("otp-service-client-*.tgz")
    run("npm", "install", "--offline", "--no-audit", "--no-fund", "--silent", package, folder=tmp_path)
    installed = tmp_path / "node_modules" / "otp-service-client"
    (tmp_path / "node_modules" / "express").symlink_to(CLIENT / "node_modules" / "express")
    for part in ("examples", "test"):
        shutil.copytree(CLIENT / "build" / part, tmp_path / part)

    assert {path.name for path in installed.iterdir()} == {"LICENSE", "README.md", "dist", "package.json"}
    _node(script, specification, tmp_path / "test" / "examples.test.js", INSTALLED=str(installed))


def test_it_has_no_dependency_and_its_lockfile_names_no_registry(specification: Path):
    package = json.loads((CLIENT / "package.json").read_text())
    lock = json.loads((CLIENT / "package-lock.json").read_text())

    assert "dependencies" not in package
    assert not [name for name, one in lock["packages"].items() if "resolved" in one]
    assert all("integrity" in one for name, one in lock["packages"].items() if name)


def test_no_line_is_longer_than_those_of_the_python_sources():
    sources = [path for folder in ("src", "test", "examples") for path in (CLIENT / folder).glob("*.ts")]
    long = [
        f"{path.name}:{number}"
        for path in sources
        if path.name != "openapi.d.ts"  # as a generator makes it
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > LINE
    ]
    assert sources
    assert long == []
