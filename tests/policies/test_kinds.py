"""Kinds of policies are found by entry points, keep the contract, and their settings are strict."""

from importlib.metadata import EntryPoint, entry_points

import pytest
from pydantic import ValidationError
from support_installation import tree

from otp_service import plugins
from otp_service.errors import ConfigurationError
from otp_service.policies.base import POLICY_ENTRY_POINTS, POLICY_KINDS, PolicyContext, PolicySettings
from otp_service.settings import settings_from

OURS = [entry.name for entry in entry_points(group=POLICY_ENTRY_POINTS) if entry.value.startswith("otp_service.")]
TOKEN = "a-secret-of-the-operator"
SIMSWAP = {"kind": "camara_sim_swap", "unknown": "deny", "base_url": "https://api.example/sim-swap/v2", "token": TOKEN}
CLIENT = {"token": None, "token_url": "https://api.example/token", "client_id": "acme", "client_secret": TOKEN}


def settings_with(**policies):
    return settings_from(tree("redis://fake", policies=policies))


@pytest.mark.parametrize("kind", OURS)
def test_a_kind_of_ours_keeps_the_contract(kind):
    found = POLICY_KINDS.find(kind)

    assert found.kind == kind
    assert issubclass(found.Settings, PolicySettings)
    assert found.Settings.model_config["extra"] == "forbid"
    assert found.Settings.model_config["frozen"]
    assert found.Settings.model_config["hide_input_in_errors"]


def test_a_section_becomes_a_policy_that_shows_no_secret():
    configured = settings_with(simswap=SIMSWAP).policies["simswap"]
    policy = configured.plugin_class(configured.settings, PolicyContext("simswap", production=True))

    assert configured.settings.channels == ("sms", "voice")
    assert TOKEN not in repr(policy) + repr(configured) + str(settings_with(simswap=SIMSWAP).redacted())


def test_an_environment_variable_gives_a_secret_from_a_file(tmp_path):
    from otp_service.settings.sources import read_environment  # noqa: PLC0415

    secret = tmp_path / "token"
    secret.write_text(TOKEN + "\n")
    found = read_environment({"OTP_SERVICE__POLICIES__SIMSWAP__TOKEN_FILE": str(secret)})

    assert found == {"policies": {"simswap": {"token": TOKEN}}}


@pytest.mark.parametrize(
    ("members", "line"),
    [
        (
            {"kind": "simswop"},
            "policies.simswap.kind: there is no policy of kind 'simswop'; there are: camara_sim_swap.",
        ),
        ({"kind": None}, "policies.simswap.kind: is one of camara_sim_swap."),
        ({"purposes": ["logon"]}, "policies.simswap.purposes: there is no section purposes.logon."),
        ({"applications": ["shoop"]}, "policies.simswap.applications: there is no section applications.shoop."),
        (
            {"channels": ["pigeon"]},
            "policies.simswap.channels.0: input should be 'sms', 'voice', 'whatsapp' or 'telegram'.",
        ),
        ({"timeout": 5.5}, "policies.simswap.timeout: input should be less than or equal to 5."),
        ({"timeout": float("nan")}, "policies.simswap.timeout: input should be less than or equal to 5."),
        ({"unknown": "perhaps"}, "policies.simswap.unknown: input should be 'allow' or 'deny'."),
        ({"mode": "loud"}, "policies.simswap.mode: input should be 'enforce', 'record_only' or 'off'."),
        ({"max_age": 0}, "policies.simswap.max_age: input should be greater than or equal to 1."),
        ({"max_age": 2401}, "policies.simswap.max_age: input should be less than or equal to 2400."),
        ({"swapped": "allow"}, "policies.simswap.swapped: input should be 'deny' or 'another_channel'."),
        ({"tokn": "x"}, 'policies.simswap.tokn: there is no such setting. Did you mean "token"?'),
        ({"token": None}, "policies.simswap: needs token, or token_url with client_id and client_secret."),
        (
            {**CLIENT, "client_id": None},
            "policies.simswap: needs token, or token_url with client_id and client_secret.",
        ),
        (
            {"client_secret": TOKEN},
            "policies.simswap: has either token, or token_url with client_id and client_secret.",
        ),
        (
            {"base_url": "ftp://x"},
            r"policies.simswap.base_url: string should match pattern '^https?://[^/@?#\\\s]+[^?#\\\s]*$'.",
        ),
    ],
)
def test_a_section_that_is_wrong_is_told_what_is(members, line):
    with pytest.raises(ConfigurationError) as refused:
        settings_with(simswap={**SIMSWAP, **members})

    assert str(refused.value) == line
    assert TOKEN not in str(refused.value)


def test_what_unknown_means_has_to_be_said():
    members = {name: value for name, value in SIMSWAP.items() if name != "unknown"}
    with pytest.raises(ConfigurationError, match=r"^policies\.simswap\.unknown: is missing\.$"):
        settings_with(simswap=members)


def test_settings_cannot_be_changed():
    settings = settings_with(simswap={**SIMSWAP, **CLIENT}).policies["simswap"].settings
    with pytest.raises(ValidationError, match="frozen"):
        settings.timeout = 3.0


def test_a_package_that_brings_no_policy_is_told_what_is_wrong(monkeypatch):
    found = [EntryPoint("acme", "otp_service.policies.base:PolicyError", POLICY_ENTRY_POINTS)]
    monkeypatch.setattr(plugins, "installed_entry_points", lambda _group: found)
    with pytest.raises(ConfigurationError, match="is not a policy: it lacks kind, Settings, judge"):
        POLICY_KINDS.find("acme")
