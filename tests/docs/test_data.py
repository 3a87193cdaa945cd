"""docs/data.md is the inventory of all that is kept, and nothing that is kept is missing there."""

import inspect
import re
import runpy
from pathlib import Path

import pytest
from support_sources import ROOT

from otp_service.cli.dev import FILES
from otp_service.ledger import schema
from otp_service.settings.sections import RetentionSettings
from otp_service.store import inventory, keys
from otp_service.store.inventory import FAMILIES

MAKER = runpy.run_path(str(ROOT / "docs" / "make_data.py"))
DOCUMENT = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
COLUMNS = [column for table in schema.METADATA.sorted_tables for column in table.columns]
BEGINNINGS = {"failed_checks_windows", "guard_of_number", "lanes_of", "mirrored_numbers"}
"""Functions that return what keys begin with."""
FOR_OTHERS = {"queue"}
"""Functions that return keys which others build."""


def test_it_is_what_its_maker_makes():
    assert MAKER["document"]() == DOCUMENT, "run make docs"


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_every_column_says_what_it_holds_of_whom_and_how_long_it_is_kept(column):
    assert column.info["holds"]
    assert column.info["class"] in {*RetentionSettings.model_fields, schema.HEAD}
    assert column.info["personal"] in {"", "pseudonym", schema.ADDRESS, schema.WORDS, schema.OPERATOR}
    assert f"| `{column.table.name}` | `{column.name}` | {column.info['holds']} |" in DOCUMENT


def test_a_column_of_pseudonyms_is_personal_without_being_said_to_be():
    personal = {str(column) for column in COLUMNS if column.info["personal"] == "pseudonym"}

    assert personal == {str(column) for column in COLUMNS if column.key == "pseudonym"}
    assert "consents.pseudonym" in personal


def test_all_columns_of_a_table_are_kept_equally_long():
    for table in schema.METADATA.sorted_tables:
        assert len({column.info["class"] for column in table.columns}) == 1, table.name


def test_every_key_that_is_built_is_in_the_inventory():
    described = set(re.findall(r"\bkeys\.(\w+)", inspect.getsource(inventory)))
    built = {name for name, made in vars(keys).items() if inspect.isfunction(made)}
    constants = {name for name in vars(keys) if name.isupper()} - {"PREFIX"}

    assert built - described == BEGINNINGS | FOR_OTHERS
    assert constants <= described


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.shapes[0])
def test_a_key_is_described_once_and_shown(family):
    names = [re.sub("<[^>]+>", "x", shape).replace("{bb}", "{7f}") for shape in family.shapes]

    assert [inventory.families_of(name) for name in names] == [(family,)] * len(names)
    assert family.holds
    assert family.read_by
    assert all(f"`{shape}`" in DOCUMENT for shape in family.shapes)


def test_a_key_with_a_pseudonym_in_its_name_is_personal():
    named = {family for family in FAMILIES if re.search("<(pseudonym|network|block)>", family.shapes[0])}

    assert len(named) > 10
    assert {family.personal for family in named} == {"pseudonym"}


@pytest.mark.parametrize("name", ["otp:{00}:v", "otp:{0}:v:vf_1", "otp:{00}:v:vf_1:x", "Otp:worker", "otp:workers", ""])
def test_a_key_that_is_not_ours_belongs_nowhere(name):
    assert inventory.families_of(name) == ()


def test_every_label_is_explained_and_no_other():
    assert MAKER["labels"]() == sorted(MAKER["LABELS"])


def test_members_of_log_lines_are_found():
    assert {"verification", "application", "rows", "days", "problem", "decision"} <= set(MAKER["log_members"]())


def test_every_file_of_dev_is_listed():
    assert all(f"| `{name}` | {holds} |" in DOCUMENT for name, holds in FILES.items())


def test_it_is_linked():
    for document in ("README.md", "docs/architecture.md", "docs/operations.md"):
        path = "docs/data.md" if document == "README.md" else "data.md"
        assert f"({path}" in Path(ROOT / document).read_text(encoding="utf-8"), document
