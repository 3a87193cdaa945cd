"""The bill of materials names what is installed in production, once each, and is the same each time."""

import json
import re
import runpy
import subprocess
import sys
from importlib.resources import files

import jsonschema_rs
import pytest
from support_sources import ROOT

MAKER = runpy.run_path(str(ROOT / "docs" / "make_sbom.py"))
TEXT = MAKER["document"]()
DOCUMENT = json.loads(TEXT)
COMPONENTS = DOCUMENT["components"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
SCHEMAS = files("cyclonedx.schema") / "_res"


def _schema(name):
    return json.loads((SCHEMAS / f"{name}.SNAPSHOT.schema.json").read_text(encoding="utf-8"))


def _registry(*names):
    """Return schemas by the addresses that others have them at: nothing is fetched."""
    begin = "http://cyclonedx.org/schema"
    return jsonschema_rs.Registry([(f"{begin}/{name}.SNAPSHOT.schema.json", _schema(name)) for name in names])


def test_it_is_what_the_schema_of_its_version_asks_for():
    registry = _registry("spdx", "jsf-0.82", "cryptography-defs")
    schema = jsonschema_rs.Draft7Validator(_schema(f"bom-{DOCUMENT['specVersion']}"), registry=registry)

    schema.validate(DOCUMENT)
    with pytest.raises(jsonschema_rs.ValidationError):
        schema.validate({**DOCUMENT, "components": [{"name": "of no type"}]})


def test_it_names_each_package_of_the_lock_once_with_its_version():
    locked = re.findall(r"^(\S+)==(\S+)", LOCK, re.MULTILINE)
    named = [(one["name"], one["version"]) for one in COMPONENTS]

    assert len(locked) > 40
    assert sorted(named) == sorted(locked)
    assert [one["purl"] for one in COMPONENTS] == [f"pkg:pypi/{name}@{version}" for name, version in named]


def test_it_has_exactly_the_hashes_that_pip_accepts():
    locked = {}
    for line in LOCK.splitlines():
        if pin := re.match(r"(\S+==\S+)", line):
            hashes = locked.setdefault(pin[1], set())
        elif found := re.search(r"sha256:([0-9a-f]{64})", line):
            hashes.add(found[1])
    named = {one["bom-ref"]: {each["content"] for each in one["hashes"]} for one in COMPONENTS}

    assert named == locked
    assert all(named.values())
    assert {each["alg"] for one in COMPONENTS for each in one["hashes"]} == {"SHA-256"}


def test_it_names_this_package_with_its_version_and_licence():
    own = DOCUMENT["metadata"]["component"]

    assert (own["name"], own["type"]) == ("otp-service", "application")
    assert f'version = "{own["version"]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert [one["license"]["id"] for one in own["licenses"]] == ["Apache-2.0"]


def test_what_the_package_itself_asks_for_is_told_and_of_all_else_nothing_is_claimed():
    (own,) = DOCUMENT["dependencies"]

    assert own["ref"] == DOCUMENT["metadata"]["component"]["bom-ref"]
    names = {one.partition("==")[0] for one in own["dependsOn"]}
    assert names == MAKER["direct_dependencies"]()
    assert {"flask", "psycopg", "redis"} <= names
    assert "werkzeug" not in names


def test_a_licence_is_told_of_the_version_that_is_installed_and_of_no_other():
    pin = next(one for one in MAKER["pins"]() if one.name == "flask")
    other = MAKER["Pin"]("flask", "0.0.1", "", ())

    assert MAKER["declared"](pin) == ["BSD-3-Clause"]
    assert MAKER["declared"](other) == []
    assert MAKER["declared"](MAKER["Pin"]("no-such-package", "1", "", ())) == []


def test_every_package_that_is_installed_everywhere_has_a_licence():
    """One without would have to be looked at by hand: where it is told, people sign for it."""
    assert [one["name"] for one in COMPONENTS if "licenses" not in one and "properties" not in one] == []


def test_it_is_the_same_each_time():
    made = subprocess.run(
        [sys.executable, "-c", "import runpy; print(runpy.run_path('docs/make_sbom.py')['document'](), end='')"],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert made.stdout == TEXT
    assert "timestamp" not in TEXT
