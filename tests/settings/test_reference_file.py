"""``config/otp_service.toml`` is the reference of every setting."""

import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from pydantic import BaseModel

from otp_service.gateways.base import GATEWAY_ENTRY_POINTS, GatewaySettings, gateway_kind
from otp_service.policies.base import POLICY_ENTRY_POINTS, PolicySettings, policy_kind
from otp_service.settings import Settings
from otp_service.settings.sections import (
    ApplicationSettings,
    ApprovalSettings,
    CountrySettings,
    PurposeSettings,
    RouteSettings,
    SenderSettings,
)

REFERENCE = Path(__file__).parents[2] / "config" / "otp_service.toml"
TEXT = REFERENCE.read_text(encoding="utf-8")
EXAMPLES = {
    "purposes.login": PurposeSettings,
    "applications.shop": ApplicationSettings,
    "[routes]": RouteSettings,
    "countries.PK": CountrySettings,
    "senders.acme": SenderSettings,
    "approvals.login-ur": ApprovalSettings,
}


def members_under(heading):
    """Return the members, commented ones too, between a heading and the next."""
    found, inside = set(), heading is None
    for line in TEXT.splitlines():
        if opened := re.match(r"(?:# )?\[(.+)\]", line):
            inside = opened[1] == heading
        elif inside and (member := re.match(r"(?:# )?([a-z0-9_]+) (?:=|  )", line)):
            found.add(member[1])
    return found


def is_section(field):
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def sections(model=Settings, above=""):
    for name, field in model.model_fields.items():
        if is_section(field):
            yield f"{above}{name}", field.annotation
            yield from sections(field.annotation, f"{above}{name}.")


@pytest.mark.parametrize(("heading", "model"), [*sections()])
def test_a_section_shows_exactly_the_settings_that_exist(heading, model):
    own = {name for name, field in model.model_fields.items() if not is_section(field)}
    assert members_under(heading) == own - {"modes"}


@pytest.mark.parametrize(("heading", "model"), EXAMPLES.items())
def test_an_example_shows_exactly_the_settings_that_exist(heading, model):
    assert members_under(heading) == set(model.model_fields)


def test_every_section_is_shown():
    alone = {"environment", "profile", "residency", "plaintext_hosts"}
    for name in Settings.model_fields.keys() - alone:
        assert re.search(rf"^(# )?\[\[?{name}[.\]]", TEXT, re.MULTILINE), name
    assert members_under(None) == alone


def test_it_loads_to_the_defaults():
    assert Settings.model_validate(tomllib.loads(TEXT)) == Settings()


def pasted(heading, model):
    """Return an example of the file as somebody has it who takes the comment signs away."""
    example = re.search(rf"^# \[{re.escape(heading)}\]\n((?:# .+\n)+)", TEXT, re.MULTILINE)
    uncommented = re.sub(r"^# ", "", example[1], flags=re.MULTILINE).replace("sha256:...", f"sha256:{'0' * 64}")
    return model.model_validate(tomllib.loads(uncommented))


@pytest.mark.parametrize(("heading", "model"), EXAMPLES.items())
def test_an_example_can_be_used_as_it_stands(heading, model):
    assert pasted(heading, model)


def test_the_example_of_a_purpose_shows_the_defaults():
    assert pasted("purposes.login", PurposeSettings) == PurposeSettings()


GATEWAYS = {
    "primary": "twilio",
    "second": "vonage",
    "third": "sns",
    "operator": "smpp",
    "backup": "http",
    "sandbox": "sandbox",
    "console": "console",
}


def test_every_kind_of_ours_has_an_example():
    assert set(GATEWAYS.values()) == {
        entry.name for entry in entry_points(group=GATEWAY_ENTRY_POINTS) if entry.value.startswith("otp_service.")
    }


@pytest.mark.parametrize(("name", "kind"), GATEWAYS.items())
def test_an_example_of_a_gateway_shows_exactly_the_settings_of_its_kind(name, kind):
    fields = gateway_kind(kind).Settings.model_fields
    members = {field.alias or member for member, field in fields.items()}
    assert members_under(f"gateways.{name}") == members - GatewaySettings.model_fields.keys() | {"kind"}


def test_what_every_gateway_has_is_shown_once():
    assert members_under("gateways.name") == GatewaySettings.model_fields.keys() | {"kind"}


def test_the_example_of_an_http_gateway_can_be_used_as_it_stands():
    text = re.search(r"^# \[gateways\.backup\].*\n((?:# .+\n)+)", TEXT, re.MULTILINE)[1]
    members = tomllib.loads(re.sub(r"^# ", "", text, flags=re.MULTILINE))
    form = members.pop("form")
    for body in ({}, {"form": form, "json": None}):
        Settings.model_validate({"gateways": {"backup": members | body}})


POLICIES = {"simswap": "camara_sim_swap"}


def test_every_kind_of_policy_of_ours_has_an_example():
    assert set(POLICIES.values()) == {
        entry.name for entry in entry_points(group=POLICY_ENTRY_POINTS) if entry.value.startswith("otp_service.")
    }


@pytest.mark.parametrize(("name", "kind"), POLICIES.items())
def test_an_example_of_a_policy_shows_exactly_the_settings_of_its_kind(name, kind):
    own = policy_kind(kind).Settings
    changed = {
        member
        for member in PolicySettings.model_fields
        if own.model_fields[member].default != PolicySettings.model_fields[member].default
    }
    members = own.model_fields.keys() - PolicySettings.model_fields.keys() | changed
    assert members_under(f"policies.{name}") == members | {"kind"}


def test_what_every_policy_has_is_shown_once():
    assert members_under("policies.name") == PolicySettings.model_fields.keys() | {"kind"}


@pytest.mark.parametrize("left_out", [{"token"}, {"token_url", "client_id", "client_secret"}])
def test_the_example_of_a_policy_can_be_used_with_either_proof(left_out):
    text = re.search(r"^# \[policies\.simswap\].*\n((?:# .+\n)+)", TEXT, re.MULTILINE)[1]
    members = tomllib.loads(re.sub(r"^# ", "", text, flags=re.MULTILINE))
    used = {name: value for name, value in members.items() if name not in left_out}
    assert Settings.model_validate({"policies": {"simswap": {"unknown": "allow", **used}}})
