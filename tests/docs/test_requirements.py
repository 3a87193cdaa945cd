"""The requirements: none is lost, each says how it stands, and every test that is named exists."""

import ast
import re
import runpy
from functools import cache

import pytest
from support_sources import ROOT

MAKER = runpy.run_path(str(ROOT / "docs" / "make_requirements.py"))
DOCUMENT = (ROOT / "docs" / "compliance" / "requirements.md").read_text(encoding="utf-8")
ROWS = MAKER["requirements"]()
CATALOGUE = {
    "R-CONSENT": 5, "R-PRIV": 9, "R-PTA": 6, "R-NUM": 4, "R-PK": 2, "R-SBP": 7, "R-CODE": 15, "R-TOTP": 8, "R-TXN": 8,
    "R-SMS": 7, "R-API": 10, "R-HOOK": 6, "R-GW": 7, "R-NET": 5, "R-SEC": 10, "R-EU": 1, "R-US": 1, "R-IN": 2, "A": 28,
}  # fmt: skip
"""How many there are of each family, numbered from 1."""
READ = {"primary", "excerpt", "secondary", "unverified", "measured", "inference"}
DUTIES = (ROOT / "docs" / "compliance" / "responsibilities.md").read_text(encoding="utf-8")
PARTIES = ["duty", "service", "application", "gateway", "operator"]


def _ids():
    for family, count in CATALOGUE.items():
        separator = "" if family == "A" else "-"
        yield from (f"{family}{separator}{number}" for number in range(1, count + 1))


@cache
def _tests_of(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def test_it_is_what_its_maker_makes():
    assert MAKER["document"]() == DOCUMENT, "run make docs"


def test_every_requirement_of_the_catalogue_appears_once_and_no_other():
    assert list(ROWS) == list(_ids())
    assert re.findall(r"^\| ((?:R-[A-Z]+-|A)\d+) \|", DOCUMENT, re.MULTILINE) == list(ROWS)
    assert list(MAKER["FAMILIES"]) == list(CATALOGUE)


@pytest.mark.parametrize("name", ROWS)
def test_a_requirement_says_what_is_asked_by_whom_and_how_it_stands(name):
    row = ROWS[name]

    assert row.keys() - {"tests", "why"} == {"asks", "source", "read", "status"}
    assert row["status"] in MAKER["STATUSES"]
    assert READ & set(re.findall(r"[a-z]+", row["read"]))
    assert row["asks"].endswith(".")
    assert len(row["asks"]) < 140


@pytest.mark.parametrize("name", ROWS)
def test_what_is_met_names_its_tests_and_all_else_says_what_is_missing(name):
    row = ROWS[name]
    tests = row.get("tests", [])

    assert len(tests) in ({1, 2, 3} if row["status"] == "met" else {0, 1, 2, 3})
    assert row["status"] == "met" or row["why"]
    assert row["status"] not in {"not met", "not in scope"} or not tests


@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name].get("tests")])
def test_every_test_that_a_requirement_names_exists(name):
    for test in ROWS[name]["tests"]:
        path, _, function = test.partition("::")
        assert re.fullmatch(r"tests/[a-z]+/test_\w+\.py", path), test
        assert function.startswith("test_"), test
        assert _tests_of(path).count(function) == 1, test


def test_the_disclaimers_are_there():
    for words in ("no legal advice", "*allowed to replace*", "was a draft in everything that was read"):
        assert words in DOCUMENT


def test_no_words_that_are_shipped_claim_to_be_anybodys_template():
    texts = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "config" / "messages").glob("*.toml")}
    claims = re.compile(r"annexure|state bank|\b(?:SBP|PTA|TRAI|DLT)\b|\bapproved\b", re.IGNORECASE)

    assert {"en.toml", "ur.toml"} <= texts.keys()
    assert {name: found for name, text in texts.items() if (found := claims.findall(text))} == {}


def test_whose_duty_it_is_is_told_and_where():
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in DUTIES.splitlines() if line[:1] == "|"]
    duties = [row for row in rows if row != PARTIES and set(row[0]) != {"-"}]

    assert rows.count(PARTIES) == 4
    assert len(duties) > 25
    for row in duties:
        assert len(row) == len(PARTIES), row
        assert any(cell not in {"", "–"} for cell in row[1:]), row
        assert re.search(r"\]\([^)]+\)", " ".join(row)), f"{row[0]} says nowhere where it is settled"
    assert len({row[0] for row in duties}) == len(duties)


@pytest.mark.parametrize("page", ["requirements.md", "responsibilities.md"])
def test_who_signs_finds_it(page):
    for document in ("README.md", "docs/security-model.md", "docs/operations.md"):
        target = f"{'docs/' if document == 'README.md' else ''}compliance/{page}"
        assert f"({target}" in (ROOT / document).read_text(encoding="utf-8"), document
