"""The example of a policy is a stranger's package: found by its entry point, configured, and it works."""

import sys
import tomllib
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest
from support_caller import Caller
from support_installation import NUMBER, World
from support_outbox import Scripted, Sender, letters
from support_sources import ROOT

from otp_service import plugins
from otp_service.policies.base import POLICY_ENTRY_POINTS

EXAMPLE = ROOT / "examples" / "policy-package"
PACKAGE = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch):
    """Let the package be installed beside ours."""
    (theirs,) = (
        EntryPoint(name, value, POLICY_ENTRY_POINTS)
        for name, value in PACKAGE["entry-points"][POLICY_ENTRY_POINTS].items()
    )

    def found(group):
        return [*entry_points(group=group), *(one for one in [theirs] if one.group == group)]

    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.setattr(plugins, "installed_entry_points", found)
    yield
    sys.modules.pop("denied_numbers", None)


@pytest.mark.usefixtures("_installed")
def test_a_number_on_its_list_gets_no_message_and_another_one_does(still_world: World, tmp_path: Path):
    (tmp_path / "denied").write_text(f"+15005550006\n{NUMBER}\n")
    section = {"kind": "denied_numbers", "unknown": "deny", "file": str(tmp_path / "denied")}
    shop = Sender(Caller(still_world.install(policies={"denied": section})), sandbox=Scripted())
    shop.caller.start()
    other = shop.caller.start("+923001234568")
    shop.deliver()

    assert [message.verification_id for message in shop.gateways["sandbox"].sent] == [other]
    assert letters(still_world.client) == ["policy denied"]


def test_it_is_as_short_as_the_page_says():
    lines = (EXAMPLE / "denied_numbers.py").read_text().splitlines()

    assert len([line for line in lines if line.strip() and '"""' not in line]) <= 20
