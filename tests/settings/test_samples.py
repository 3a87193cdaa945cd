"""Secrets that are samples: those of documentation, ours too."""

import re

import pytest
from support_refusals import written
from support_sources import ROOT

from otp_service.errors import StartRefusedError
from otp_service.settings import load_settings
from otp_service.settings.startup_checks import is_sample

SHOWN = re.compile(r"\b(?:\w*(?:secret|password|token)|secrets = \{ \w+) = \"([^\"{]+)\"")


def test_every_secret_that_the_documents_show_is_a_sample():
    documents = [*(ROOT / "docs").glob("*.md"), *(ROOT / "config").rglob("*.toml"), ROOT / "README.md"]
    shown = {value for path in documents for value in SHOWN.findall(path.read_text(encoding="utf-8"))}

    assert shown >= {"secret-of-your-account", "sixteen characters or more"}
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
        "example",
        "My-Example-Password!",
        "super secret token",
        "your_api_key",
        "abc123",
        "Password123456",
        "password12345678",
    ],
)
def test_a_sample_is_known_in_any_spelling(secret):
    assert is_sample(secret)


@pytest.mark.parametrize(
    "secret",
    [
        "${VAR}",
        "${REDIS_PASSWORD:-}",
        "$REDIS_PASSWORD",
        "$(cat secret)",
        "{{ redis_password }}",
        "{{.Values.password | quote}}",
        "#{PASSWORD}#",
        "<password>",
        "[your password]",
        "%VAR%",
        "@PASSWORD@",
        "__PASSWORD__",
        " ${VAR} ",
    ],
)
def test_a_placeholder_that_nothing_was_put_in_place_of_is_a_sample(secret):
    assert is_sample(secret)


@pytest.mark.parametrize(
    "secret",
    [
        "xxxx-xxxx-xxxx",
        "----",
        "1234567890123456",
        "11223344",
        "112233445566",
        "87654321",
        "7890123",
        "abcdefgh",
        "1-2-3-4",
    ],
)
def test_a_run_is_a_sample(secret):
    assert is_sample(secret)


@pytest.mark.parametrize("secret", ["correct horse for example", "testimony of kings", "12344322"])
def test_a_passphrase_may_hold_a_word_of_samples(secret):
    assert not is_sample(secret)


def test_a_placeholder_is_found_in_an_address_though_it_looks_percent_encoded(tmp_path):
    given = {"redis.url": "redis://otp:%DB_AUTHORISATION%@localhost/0"}
    with pytest.raises(StartRefusedError, match=r"redis\.url: Its password is a sample"):
        load_settings(environ=written(tmp_path, given))


@pytest.mark.parametrize(
    "secret",
    ["", "7f3b90ce", "48213977", "secretary-of-state", "token-8a91f0", "redis-9f2c", "password48213977"],
)
def test_what_may_be_a_secret_is_none(secret):
    assert not is_sample(secret)
