"""What a stranger clones names no machine of ours and needs no registry of ours."""

import re

import pytest
from support_sources import ROOT, committed_files

# Written in two halves each, so that this file does not contain what it forbids.
FORBIDDEN = [
    "".join(halves)
    for halves in (
        ("py", "pi.org"),
        ("pythonhos", "ted.org"),
        ("npm", "js.org"),
        ("crates", ".io"),
        ("proxy.gol", "ang"),
        ("--index", "-url"),
        ("--extra", "-index"),
        ("/wo", "rk/"),
        ("/tm", "p/v1"),
        ("/ro", "ot/"),
        ("/ho", "me/"),
        ("/opt/wh", "eels"),
        ("cla", "ude"),
        ("anth", "ropic"),
        ("chat", "gpt"),
    )
]
OF_A_PROVIDER = "reachrestapi/ho" + "me/"
"""In the address of Zong: a word that it has in common with this machine's paths."""
FORBIDDEN_LINE = re.compile("|".join(map(re.escape, FORBIDDEN)), re.IGNORECASE)
LOCK_LINE = re.compile(
    r"#.*|[a-z0-9][a-z0-9._-]*(?:\[[a-z,]+\])?==[A-Za-z0-9.+!]+(?: ; [A-Za-z0-9_.'<>=!() ]+)? \\"
    r"|    --hash=sha256:[0-9a-f]{64}(?: \\)?"
)
SECRET = re.compile(
    r"\botp_[A-Za-z0-9_-]{43}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAC[0-9a-f]{32}\b.*\b[0-9a-f]{32}\b"
)


def _lines(path):
    try:
        text = path.read_text()
    except UnicodeDecodeError:
        return []
    return list(enumerate(text.splitlines(), 1))


def test_no_file_names_a_registry_a_machine_or_a_tool_of_ours():
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in committed_files()
        for number, line in _lines(path)
        if FORBIDDEN_LINE.search(line.replace(OF_A_PROVIDER, ""))
    ]

    assert found == []


def test_no_file_holds_a_secret():
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in committed_files()
        for number, line in _lines(path)
        if SECRET.search(line)
    ]

    assert found == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("requirements*.lock")), ids=lambda path: path.name)
def test_a_lock_holds_names_versions_and_hashes_and_nothing_else(path):
    assert [f"{path.name}:{number}" for number, line in _lines(path) if not LOCK_LINE.fullmatch(line)] == []


def test_what_runs_is_locked_to_the_same_versions_that_are_tested():
    pins = {
        path.name: set(re.findall(r"^\S+==\S+", path.read_text(), re.MULTILINE))
        for path in ROOT.glob("requirements*.lock")
    }

    assert pins.keys() == {f"requirements{one}.lock" for one in ("", "-build", "-dev", "-kubernetes", "-load")}
    assert pins["requirements.lock"] | pins["requirements-build.lock"] <= pins["requirements-dev.lock"]


def test_what_makes_load_is_neither_in_production_nor_among_the_tests():
    brought_along = {"locust", "gevent", "pyzmq", "python-socketio"}
    names = {
        path.name: {line.partition("==")[0] for line in path.read_text().splitlines()}
        for path in ROOT.glob("requirements*.lock")
    }

    assert brought_along <= names.pop("requirements-load.lock")
    assert all(not brought_along & others for others in names.values())


def test_what_makes_load_shares_the_versions_of_what_runs():
    production, load = (
        dict(line.split(" ", 1)[0].split("==") for line in (ROOT / name).read_text().splitlines() if "==" in line)
        for name in ("requirements.lock", "requirements-load.lock")
    )
    shared = production.keys() & load.keys()

    assert "requests" in shared
    assert {name: load[name] for name in shared} == {name: production[name] for name in shared}
