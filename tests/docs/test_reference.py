"""The references of settings, commands and errors are what the code tells."""

import runpy
from importlib.metadata import entry_points

import pytest
from support_sources import ROOT

from otp_service.gateways.base import GATEWAY_ENTRY_POINTS
from otp_service.policies.base import POLICY_ENTRY_POINTS

MAKER = runpy.run_path(str(ROOT / "docs" / "make_reference.py"))


@pytest.mark.parametrize("name", ["configuration", "cli"])
def test_it_is_what_its_maker_makes(name):
    assert MAKER[name]() == (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"), "run make docs"


@pytest.mark.parametrize(("kinds", "group"), [("GATEWAYS", GATEWAY_ENTRY_POINTS), ("POLICIES", POLICY_ENTRY_POINTS)])
def test_it_has_the_settings_of_every_kind_of_ours(kinds, group):
    ours = {entry.name for entry in entry_points(group=group) if entry.value.startswith("otp_service.")}

    assert set(MAKER[kinds]) == ours


def test_the_table_of_codes_is_what_its_maker_makes():
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")

    maker = runpy.run_path(str(ROOT / "docs" / "make_errors.py"))
    of_twilio = (ROOT / "docs" / "migrate.md").read_text(encoding="utf-8")
    assert maker["document"](text) == text, "run make docs"
    assert maker["of_twilio"](of_twilio) == of_twilio, "run make docs"
