"""The page on the sandbox tells the truth."""

import re
import tomllib

import pytest
from support_sources import ROOT

from otp_service.cli import dev
from otp_service.cli.dev import BEHAVIOURS, NUMBER_PREFIX
from otp_service.domain.keyring import new_key
from otp_service.gateways.base import FailureKind
from otp_service.gateways.sandbox import ConnectionFault, SandboxReceipt
from otp_service.settings import settings_from
from otp_service.settings.sources import merge

PAGE = (ROOT / "docs" / "sandbox.md").read_text(encoding="utf-8")
BLOCKS = [tomllib.loads(block) for block in re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)]


def rows(heading):
    """Return the table's rows below a heading, by their first cell."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    table = re.findall(r"^\| (`[^|]+`) \|(.*)\|$", section, re.MULTILINE)
    return {name: told for names, told in table for name in re.findall(r"`(\w+)`", names)}


def told(behaviour):
    """Return what a row has to tell of a behaviour: the kind, the statuses, and the seconds."""
    statuses = {report["status"] for report in behaviour.get("reports", ())}
    seconds = {f"{behaviour[name]:g} s" for name in ("delay", "retry_after") if name in behaviour}
    return {f"`{word}`" for word in {behaviour.get("fail"), *statuses} - {None}} | seconds


def test_it_lists_exactly_the_numbers_that_go_wrong_and_how():
    table = rows("Numbers that go wrong")

    assert list(table) == list(BEHAVIOURS)
    for digits, behaviour in BEHAVIOURS.items():
        assert [word for word in told(behaviour) if word not in table[digits]] == [], digits
    assert f"`{NUMBER_PREFIX}`" in PAGE


def test_it_names_every_fault_and_every_member_of_a_report():
    section = PAGE.split("## Faults\n", 1)[1].split("\n## ", 1)[0]

    assert [kind for kind in FailureKind if f"`{kind}`" not in section] == []
    assert [fault for fault in ConnectionFault if f"`{fault}`" not in section] == []
    assert [name for name in SandboxReceipt.model_fields if not re.search(rf"`{name}\b", section)] == []


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: "-".join(block["gateways"]))
def test_its_examples_are_valid_for_dev(block):
    keys = {"keys": {"root": f"k:{new_key()}", "pseudonym": new_key()}}
    settings = settings_from(merge(dev.merge_settings(block, "otp_key"), keys))

    assert set(block["gateways"]) <= set(settings.gateways)


def test_its_example_of_a_fail_over_goes_through_both_gateways():
    (failing_over,) = [block for block in BLOCKS if "routes" in block]

    assert failing_over["routes"][0]["gateways"] == ["sandbox", "backup"]
