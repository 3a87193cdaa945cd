"""``otp-service size`` tells what is needed, and says where one primary ends."""

import json
from typing import get_args

import pytest
from support_cli import rows, run

from otp_service.settings.schema import LedgerSettings

SMALL, LARGE = ("size", "--starts", "100", "--known", "2M"), ("size", "--starts", "50k", "--known", "1e9")
BEGINNING = "One primary bears about "


def test_each_line_has_its_part_its_unit_and_how_it_is_known():
    lines = rows(run(*SMALL).stdout)

    assert list(dict.fromkeys(part for part, *_ in lines)) == ["Redis", "API", "workers", "ledger", "network", "money"]
    assert {basis for *_, basis in lines} == {"measured", "estimated"}
    assert all(unit not in {"", "-"} for *_, unit, _ in lines)


def test_it_says_honestly_where_one_primary_ends():
    small, large = (run(*command) for command in (SMALL, LARGE))

    assert BEGINNING in small.stderr
    assert "That is enough" in small.stderr
    assert BEGINNING in large.stderr
    assert "More needs a cluster" in large.stderr


def test_as_json_it_tells_the_load_the_figures_and_their_sources():
    told = json.loads(run(*LARGE, "--price", "2.5", "--currency", "PKR", "--json").stdout)

    assert (told["fits_one_primary"], told["currency"], told["load"]["latency"]) == (False, "PKR", 0.2)
    assert all(one["source"] for one in told["figures"])
    (price,) = [one for one in told["needs"] if one["what"] == "price of messages"]
    assert price == {
        "part": "money", "what": "price of messages", "amount": 2_376_000_000.0, "unit": "PKR a day",
        "basis": "measured",
    }  # fmt: skip


@pytest.mark.parametrize("words", get_args(LedgerSettings.model_fields["rows"].annotation))
def test_it_takes_what_the_ledger_has_rows_of_in_the_words_of_the_setting(words):
    told = json.loads(run(*SMALL, "--rows", words, "--json").stdout)

    assert told["load"]["rows"] == words


def test_without_a_price_there_is_none():
    assert "price of messages" not in run(*SMALL).stdout


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--starts", "many"), "'many' is not a number such as 250, 50k, 1.5M or 1e9."),
        (("--spare", "1"), "Spare must be from 0 to 0.95."),
        (("--mean", "1k"), "The mean cannot be above the peak."),
    ],
)
def test_what_cannot_be_is_wrong_usage_with_a_sentence(more, sentence):
    result = run(*SMALL, *more)

    assert (result.exit_code, result.stdout, sentence in result.stderr) == (2, "", True)
