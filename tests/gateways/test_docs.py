"""The page on adding a gateway tells the truth."""

import re
import tomllib

from support_sources import ROOT

from otp_service.gateways.base import FailureKind, GatewaySettings
from otp_service.gateways.http import _PER_REQUEST, _VALUES, Failure, HttpSettings

PAGE = (ROOT / "docs" / "adding-a-gateway.md").read_text()
EXAMPLE = ROOT / "examples" / "gateway-package"


def toml_blocks():
    return [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)]


def test_the_section_that_it_shows_is_valid():
    section, *variants = [block["gateways"]["local"] for block in toml_blocks() if "local" in block.get("gateways", {})]

    assert section.pop("kind") == "http"
    assert HttpSettings.model_validate(section).failures[0].kind is FailureKind.DESTINATION
    secrets = {"key": "k", "password": "p"}
    for variant in variants:
        HttpSettings.model_validate({"url": section["url"], "secrets": secrets, **variant})
    assert [name for name in ("xml", "hmac", "token") if not any(name in variant for variant in variants)] == []


def test_it_names_every_member_of_its_own_of_an_http_section_and_every_placeholder():
    fields = HttpSettings.model_fields | Failure.model_fields
    members = {field.alias or name for name, field in fields.items() if name not in GatewaySettings.model_fields}

    assert "configuration.md#gatewaysname" in PAGE, "the reference has what all gateways share"
    assert [name for name in members if not re.search(rf"\b{name}\b", PAGE)] == []
    assert [name for name in (*_VALUES, *_PER_REQUEST) if f"`{{{name}}}`" not in PAGE] == []


def test_it_says_what_follows_each_kind_of_failure():
    assert [kind for kind in FailureKind if f"| `{kind}` |" not in PAGE] == []


def test_it_counts_its_steps_and_its_example_has_nothing_more():
    assert len(re.findall(r"^## \d\. ", PAGE, re.MULTILINE)) == 3
    assert len((EXAMPLE / "acme_gateway.py").read_text().splitlines()) <= 60
    assert len((EXAMPLE / "samples" / "acme.toml").read_text().splitlines()) <= 40


def test_the_entry_point_that_it_shows_is_the_examples():
    (shown,) = [block["project"] for block in toml_blocks() if "project" in block]
    package = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]

    assert shown["entry-points"] == package["entry-points"]
