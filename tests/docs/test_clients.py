"""The answers of both clients are what the specification gives."""

import runpy

import pytest
from support_sources import ROOT

MAKER = runpy.run_path(str(ROOT / "docs" / "make_clients.py"))
ANSWERS = MAKER["Answers"]()


@pytest.mark.parametrize("language", ["python", "typescript"])
def test_they_are_what_their_maker_makes(language):
    assert MAKER[language](ANSWERS) == MAKER[language.upper()].read_text(encoding="utf-8"), "run make docs"


def test_what_is_sensitive_is_in_no_repr():
    module = MAKER["python"](ANSWERS)

    for member in ("secret: str", "proof: str | None", "client_token: str | None", "destination: str"):
        assert f"    {member} = field(repr=False)\n" in module
