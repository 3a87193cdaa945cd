"""The page on policies tells the truth."""

import re
import tomllib

from support_installation import tree
from support_sources import ROOT

from otp_service.policies.base import PolicyMode, PolicySettings, UnknownAction
from otp_service.policies.camara_sim_swap import CamaraSimSwapSettings, SwapAction
from otp_service.settings import settings_from

PAGE = (ROOT / "docs" / "policies.md").read_text()
REFERENCE = (ROOT / "docs" / "configuration.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_section_that_it_begins_with_is_valid():
    (section,) = [tomllib.loads(block)["policies"]["simswap"] for block in blocks("toml") if "simswap" in block]
    purposes = {"payment": {"kind": "transaction"}}

    assert settings_from(
        tree("redis://fake", purposes=purposes, policies={"simswap": {**section, "client_secret": "secret"}})
    )


def test_it_or_the_reference_that_it_links_names_every_setting_and_every_word_of_one():
    words = {
        *CamaraSimSwapSettings.model_fields,
        *PolicySettings.model_fields,
        *PolicyMode,
        *UnknownAction,
        *SwapAction,
    }

    assert "configuration.md#policiesname)" in PAGE
    assert [word for word in words if not re.search(rf"[`\"]{word}[`\"]", PAGE + REFERENCE)] == []
