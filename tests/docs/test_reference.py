"""The references of settings and commands are what the code tells."""

import runpy

import pytest
from support_sources import ROOT

MAKER = runpy.run_path(str(ROOT / "docs" / "make_reference.py"))


@pytest.mark.parametrize("name", ["configuration", "cli"])
def test_it_is_what_its_maker_makes(name):
    assert MAKER[name]() == (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"), "run make docs"
