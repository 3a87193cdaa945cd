"""The references of settings, commands and errors are what the code tells."""

import runpy

import pytest
from support_sources import ROOT

MAKER = runpy.run_path(str(ROOT / "docs" / "make_reference.py"))


@pytest.mark.parametrize("name", ["configuration", "cli"])
def test_it_is_what_its_maker_makes(name):
    assert MAKER[name]() == (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"), "run make docs"


def test_the_table_of_codes_is_what_its_maker_makes():
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")

    assert runpy.run_path(str(ROOT / "docs" / "make_errors.py"))["document"](text) == text, "run make docs"
