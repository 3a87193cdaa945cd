"""What the documents say exists: links, commands, settings, metrics, keys, proofs."""

import ast
import configparser
import json
import re
import runpy
import tomllib

import click
import pytest
import yaml
from pydantic import BaseModel
from support_sources import LUA, ROOT, committed_files, modules

from otp_service.cli.main import commands
from otp_service.domain import keyring
from otp_service.settings import Settings
from otp_service.telemetry import metrics

DOCUMENTS = sorted(path for path in committed_files() if path.suffix == ".md")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
READERS = {
    "json": json.loads,
    "toml": tomllib.loads,
    "python": ast.parse,
    "yaml": yaml.safe_load,
    "ini": configparser.ConfigParser(strict=False, interpolation=None).read_string,
}
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
UNMISTAKABLE = {"backend", "blacklist", "callback", "dlr", "msisdn", "passcode", "pepper", "pin", "recipient", "tenant"}
"""Words of the last column of the words that mean nothing else when they stand in a name of ours."""


def _read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def _prose(text):
    return FENCE.sub("", text)


def _code(text):
    """Return everything set as code: fenced blocks and spans."""
    return "\n".join([*(block for _, block in FENCE.findall(text)), *re.findall(r"`([^`\n]+)`", _prose(text))])


def _anchors(name):
    headings = re.findall(r"^#+ (.+)$", _prose(_read(name)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _rows(name, heading):
    """Return the cells of the table rows below a heading."""
    section = _read(name).split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


@pytest.mark.parametrize("name", NAMES)
def test_every_relative_link_leads_somewhere(name):
    broken = []
    for target in LINK.findall(_prose(_read(name))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken.append(target)

    assert broken == []


@pytest.mark.parametrize("name", NAMES)
def test_every_block_in_a_language_of_ours_can_be_read(name):
    for language, block in FENCE.findall(_read(name)):
        if language in READERS:
            READERS[language](block)


@pytest.mark.parametrize("name", NAMES)
def test_no_document_has_an_unfilled_place_or_an_open_fence(name):
    text = _read(name)

    assert "@@" not in text
    assert text.count("\n```") % 2 == 0


@pytest.mark.parametrize("name", NAMES)
def test_every_row_stands_below_the_head_of_a_table(name):
    tables = re.findall(r"(?:^ *\|.*\n)+", _prose(_read(name)), re.MULTILINE)

    assert [table for table in tables if not re.fullmatch(r"[ |:-]+", table.split("\n")[1])] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_command_exists(name):
    unknown = [
        f"{first} {second}".strip()
        for first, second in re.findall(
            r"(?<![\w./-])otp-service ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", _code(_read(name))
        )
        if not _exists(first, second)
    ]

    assert unknown == []


def _exists(first, second):
    command = commands.get_command(click.Context(commands), first)
    return command is not None and (not second or not isinstance(command, click.Group) or second in command.commands)


@pytest.mark.parametrize("name", NAMES)
def test_every_target_of_make_exists(name):
    targets = re.search(r"^\.PHONY: (.+)$", _read("Makefile"), re.MULTILINE)[1].split()

    assert set(re.findall(r"\bmake ([a-z-]+)", _code(_read(name)))) - set(targets) == set()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "CHANGELOG.md"])  # which tells of old names
def test_every_setting_exists(name):
    sections = {
        section: field.annotation.model_fields.keys()
        for section, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }
    named = re.findall(rf"(?<![\w./:])({'|'.join(sections)})\.([a-z_]+)\b(?![/(.])", _code(_read(name)))

    assert [
        f"{section}.{key}" for section, key in named if key not in sections[section] | {"py", "md", "lua", "db", "log"}
    ] == []


def test_the_list_of_metrics_is_what_its_maker_makes_and_has_all_that_exist():
    made = runpy.run_path(str(ROOT / "docs" / "make_metrics.py"))["document"]()
    families = {family.name: family.type for family in metrics.REGISTRY.collect()}
    exposed = {f"{name}_total" if kind == "counter" else name for name, kind in families.items()}

    assert made == _read("docs/metrics.md"), "make docs"
    assert {row[0].strip("`") for row in _rows("docs/metrics.md", "# Metrics")} == exposed


def test_the_page_on_events_lists_exactly_those_that_scripts_write():
    scripts = "\n".join(path.read_text() for path in LUA.glob("*.lua"))
    written = set(re.findall(r"'((?:verification|consent|check|message|delivery|factor)\.\w*)'", scripts))
    elsewhere = (ROOT / "otp_service" / "services" / "factors.py").read_text()
    written |= set(re.findall(r'"((?:factor|recovery)\.\w+)"', elsewhere))
    listed = {one for row in _rows("docs/logs.md", "## Events") for one in re.findall(r"`([a-z_.]+)`", row[0])}

    assert listed == written


def test_every_picture_is_shown_with_words_and_is_light():
    shown = {
        (path.parent / target).resolve()
        for path in DOCUMENTS
        for target in re.findall(r"!\[[^\]]{20,}\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    }
    pictures = {path for path in committed_files() if path.suffix == ".png"}

    assert pictures == shown & pictures
    assert max(path.stat().st_size for path in pictures) < 150_000


def test_the_guarantees_are_what_their_maker_makes():
    assert runpy.run_path(str(ROOT / "docs" / "make_guarantees.py"))["document"]() == _read("docs/guarantees.md")


@pytest.mark.parametrize(
    ("name", "heading"),
    [("README.md", "## Guarantees"), ("docs/guarantees.md", "# Guarantees"), ("docs/guarantees.md", "## Threats")],
)
def test_every_guarantee_names_tests_that_exist(name, heading):
    rows = _rows(name, heading)

    assert rows
    for row in rows:
        proofs = re.findall(r"\[`(test_\w+)`\]\(([^)]+)\)", row[-1])
        assert proofs, row[0]
        for test, target in proofs:
            assert f"def {test}(" in ((ROOT / name).parent / target).read_text(), row[0]


def test_every_threat_with_tests_is_in_the_security_model():
    threats = tomllib.loads(_read("docs/guarantees.toml"))["threats"]
    named = {
        re.sub(r"\s+", " ", name).rstrip(".") for name in re.findall(r"\*\*(.+?)\*\*", _read("docs/security-model.md"))
    }

    assert {threat["name"] for threat in threats} - named == set()


def test_the_security_model_lists_exactly_the_keys_that_are_derived(monkeypatch):
    derive, uses = keyring._derive, set()
    monkeypatch.setattr(keyring, "_derive", lambda material, use, *more: uses.add(use) or derive(material, use, *more))
    assert keyring.Keyring({"k": bytes(32)}, bytes(range(32))).installation

    rows = _rows("docs/security-model.md", "## Keys, and what is derived from them")
    assert {use for row in rows for use in re.findall(r"`(\w+)`", row[0])} == uses


@pytest.mark.parametrize("name", NAMES)
def test_every_test_that_a_document_names_exists(name):
    for test, target in re.findall(r"\[`(test_\w+)`\]\(([^)#]+)\)", _read(name)):
        assert f"def {test}(" in ((ROOT / name).parent / target).read_text(), test


def test_every_decision_is_listed_and_has_its_parts():
    index = _read("docs/adr/README.md")
    records = sorted(path for path in (ROOT / "docs" / "adr").glob("*.md") if path.name != "README.md")

    dropped = re.findall(r"\b0\d{3}\b", index.split("## Dropped\n", 1)[1])
    numbers = sorted({*dropped, *(path.name[:4] for path in records)})
    assert [int(number) for number in numbers] == list(range(1, len(numbers) + 1))
    for path in records:
        assert f"({path.name})" in index
        assert re.findall(r"^## (.+)$", path.read_text(), re.MULTILINE) == ["Context", "Decision", "Consequences"]


def test_the_words_that_tests_look_for_are_those_that_are_listed():
    refused = {word for row in _rows("docs/architecture.md", "## Words") for word in re.split(r", | ", row[2])}

    assert UNMISTAKABLE - refused == set()


def test_no_name_of_ours_uses_another_word_than_those_that_are_listed():
    assert [f"{path}: {name}" for path, tree in modules() for name in _names(tree) if _words(name) & UNMISTAKABLE] == []


def _names(tree):
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


def _words(name):
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def test_a_name_falls_into_its_words():
    assert _words("tenantId") == {"tenant", "id"}
    assert _words("_DLR_url") == {"dlr", "url"}
    assert _words("pinned") == {"pinned"}
