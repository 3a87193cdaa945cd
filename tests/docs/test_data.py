"""docs/data.md is the inventory of all that is kept, and nothing that is kept is missing there."""

import ast
import re
import runpy
from pathlib import Path

import pytest
from support_keys import kinds_of
from support_sources import ROOT

from otp_service.cli.dev import FILES
from otp_service.ledger import schema
from otp_service.settings.schema import RetentionSettings
from otp_service.store import keys
from otp_service.store.keys import all_keys

MAKER = runpy.run_path(str(ROOT / "docs" / "make_data.py"))
DOCUMENT = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
COLUMNS = [column for table in schema.METADATA.sorted_tables for column in table.columns]


def test_it_is_what_its_maker_makes():
    assert MAKER["document"]() == DOCUMENT, "run make docs"


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_every_column_says_what_it_holds_of_whom_and_how_long_it_is_kept(column):
    assert column.info["holds"]
    assert column.table.info["class"] in {*RetentionSettings.model_fields, schema.HEAD}
    assert column.info["personal"] in {"", "pseudonym", schema.ADDRESS, schema.WORDS, schema.OPERATOR, schema.SEALED}
    assert f"| `{column.table.name}` | `{column.name}` | {column.info['holds']} |" in DOCUMENT


def test_a_column_of_pseudonyms_is_personal_without_being_said_to_be():
    personal = {str(column) for column in COLUMNS if column.info["personal"] == "pseudonym"}

    assert personal == {str(column) for column in COLUMNS if column.key == "pseudonym"} | {"webhooks.user"}
    assert "consents.pseudonym" in personal


def test_a_key_is_built_in_the_store_and_in_its_table_only():
    literals = {
        (path.name, node.value)
        for path in (ROOT / "otp_service").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.match(r"otp:[a-z{]", node.value)
    }

    assert literals == {("keys.py", kind.pattern) for kind in all_keys()}


@pytest.mark.parametrize("kind", all_keys(), ids=lambda kind: kind.pattern)
def test_a_key_is_described_once_and_shown(kind):
    name = re.sub("<[^>]+>", "x", kind.pattern.replace("<bucket>", "7f"))

    assert kinds_of(name) == (kind,)
    assert kind.holds
    assert kind.read_by
    assert f"`{kind.pattern}`" in DOCUMENT


@pytest.mark.parametrize("kind", all_keys(), ids=lambda kind: kind.pattern)
def test_a_key_takes_a_value_for_each_field_and_begins_with_the_first_ones(kind):
    fields = list(dict.fromkeys(re.findall("<[^>]+>", kind.pattern)))
    name = kind(*fields)

    assert name == kind.pattern
    assert kinds_of(kind(*["7f"] * len(fields))) == (kind,)
    for wrong in (fields[1:], [*fields, "x"]):
        if wrong != fields:
            with pytest.raises(TypeError):
                kind(*wrong)


def test_the_beginning_of_keys_ends_before_the_first_field_that_is_not_given():
    assert keys.queue.beginning("00", "retry") == "otp:{00}:outbox:retry:"
    assert keys.queue.beginning() == "otp:{"
    assert keys.mirrored.beginning("00") == "otp:{00}:mirror/number/"
    assert keys.mirrored("00", "x") == f"{keys.mirrored.beginning('00')}x"


def test_a_key_with_a_pseudonym_in_its_name_is_personal():
    named = {kind for kind in all_keys() if re.search("<(pseudonym|network|block)>", kind.pattern)}

    assert len(named) > 5
    assert {kind.personal for kind in named} == {"pseudonym"}


@pytest.mark.parametrize("name", ["otp:{00}:v", "otp:{0}:v:vf_1", "otp:{00}:v:vf_1:x", "Otp:worker", "otp:workers", ""])
def test_a_key_that_is_not_ours_belongs_nowhere(name):
    assert kinds_of(name) == ()


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
