"""Secrets that are samples: those of documentation, ours too."""

import re

import pytest
from support_sources import ROOT

from otp_service.settings.samples import is_sample

SHOWN = re.compile(r"\b(?:\w*(?:secret|password|token)|secrets = \{ \w+) = \"([^\"{]+)\"")


def test_every_secret_that_the_documents_show_is_a_sample():
    documents = [*(ROOT / "docs").glob("*.md"), *(ROOT / "config").rglob("*.toml"), ROOT / "README.md"]
    shown = {value for path in documents for value in SHOWN.findall(path.read_text(encoding="utf-8"))}

    assert shown >= {"...", "16 characters, or more"}
    assert {value for value in shown if not is_sample(value)} == set()


@pytest.mark.parametrize(
    "secret",
    [
        "change me",
        "CHANGE_ME",
        "changeme!!",
        "please-changeme-now",
        "<your-token>",
        "Password1",
        "secret2024",
        "•" * 12,
        "0" * 32,
        "…",
        "foobared",
        "0123456789abcdef",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    ],
)
def test_a_sample_is_known_in_any_spelling(secret):
    assert is_sample(secret)


@pytest.mark.parametrize(
    "secret",
    ["", "7f3b90ce", "48213977", "secretary-of-state", "token-8a91f0", "redis-9f2c", "password12345678"],
)
def test_what_may_be_a_secret_is_none(secret):
    assert not is_sample(secret)
