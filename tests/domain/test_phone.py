"""Phone numbers: one destination whatever the spelling, and a refusal for everything else."""

import tomllib
from pathlib import Path

import phonenumbers
import pytest
from support_numbers import differs, random_numbers

from otp_service.domain.numbers import may_hold_number, parse_destination, parse_plain_mobile
from otp_service.errors import InvalidNumberError, NumberTypeNotAllowedError

TEXTS = tomllib.loads(Path(__file__).with_name("kept_texts.toml").read_text(encoding="utf-8"))

ONE_NUMBER = [
    "+923001234567",
    "+92 300 1234567",
    "+92 (0)300 1234567",
    "+9203001234567",
    "+92-300-123-4567",
    "(+92)3001234567",
    "++923001234567",
    "+٩٢٣٠٠١٢٣٤٥٦٧",
    "+۹۲۳۰۰۱۲۳۴۵۶۷",
    "＋９２３００１２３４５６７",
    "00923001234567",
    "03001234567",
    "۰۳۰۰۱۲۳۴۵۶۷",
    "3001234567",
    "923001234567",
    "0300.123.4567",
    "0300\u00a0123\u20114567",
]


@pytest.mark.parametrize("spelling", ONE_NUMBER)
def test_every_spelling_of_a_number_is_the_same_destination(spelling: str):
    assert parse_destination(spelling, "PK").e164 == "+923001234567"


@pytest.mark.parametrize(
    "spelling",
    [
        "",
        " ",
        "*",
        "not a number",
        "abc+923001234567",
        "tel:+92-300-1234567",
        "+92300 LBGDEFG",
        "+92-300-SHOPNOW",
        "+923001234567 ext 5",
        "+923001234567;ext=5",
        "+923001234567x5",
        "+923001234567,,123",
        "+923001234567#9",
        "\u202a+923001234567\u202c",
        "\u200e+923001234567",
        "+92300\u00ad1234567",
        "+92300\u200b1234567",
        "+9230012345678",
        "+92300123456",
        "+923651234567",
        "+923801234567",
        "+999123456789",
        "²²²²²²²²²²²",
        "+92300123456７" + " " * 40,
        "1" * 10_000,
        "+923001234567\n",
        "+923001234567\x00",
    ],
)
def test_what_is_no_number_is_refused(spelling: str):
    with pytest.raises(InvalidNumberError):
        parse_destination(spelling, "PK")


@pytest.mark.parametrize(
    "spelling",
    ["+922134567890", "+9290012345", "+9280012345", "+881612345678", "+870773111632", "+448001111111"],
)
def test_numbers_that_receive_no_sms_are_refused(spelling: str):
    with pytest.raises(NumberTypeNotAllowedError):
        parse_destination(spelling, "PK")


@pytest.mark.parametrize("prefix", ["355", "370", "300", "345"])
def test_all_prefixes_of_the_numbering_plan_are_accepted(prefix: str):
    assert parse_destination(f"0{prefix}1234567", "PK").country == "PK"


def test_the_mask_shows_the_calling_code_and_three_digits():
    destination = parse_destination("+923001234567", None)

    assert destination.mask == "+92 ••• ••••567"
    assert repr(destination) == "Destination(+92 ••• ••••567)"


def test_numbers_of_plans_that_do_not_tell_mobiles_apart_are_accepted():
    assert parse_destination("+12015550123", None).country == "US"


def test_a_national_spelling_needs_a_region():
    with pytest.raises(InvalidNumberError):
        parse_destination("03001234567", None)


@pytest.mark.parametrize("text", TEXTS["refused"])
def test_a_text_with_the_digits_of_a_number_is_known_whatever_is_between_them(text: str):
    assert may_hold_number(text)
    assert may_hold_number(f"asked by {text} (phone)")


@pytest.mark.parametrize("text", TEXTS["passed"])
def test_a_text_with_fewer_digits_or_a_date_holds_no_number(text: str):
    assert not may_hold_number(text)
    assert not may_hold_number(f"asked by {text} (phone)")


def test_the_tables_are_long_and_say_nothing_twice():
    assert len(set(TEXTS["refused"])) == len(TEXTS["refused"]) >= 60
    assert len(set(TEXTS["passed"])) == len(TEXTS["passed"]) >= 30


def test_the_short_way_for_mobile_numbers_sees_what_libphonenumber_sees():
    """`make phones` compares millions."""
    seen = [differs(number) for number in random_numbers(20_000, seed=1)]

    assert seen.count(False) > 2000
    assert True not in seen


def test_most_countries_with_a_calling_code_of_their_own_go_the_short_way():
    short = 0
    for code, (country, *others) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items():
        plan = phonenumbers.PhoneMetadata.metadata_for_region(country)
        short += bool(plan and parse_plain_mobile(f"+{code}{plan.mobile.example_number}"))
        assert not others or parse_plain_mobile(f"+{code}{plan.mobile.example_number}") is None

    assert short > 175


@pytest.mark.parametrize(
    "spelling", ["+923001234567\n", " +923001234567", "+٩٢٣٠٠١٢٣٤٥٦٧", "03001234567", "+9203001234567"]
)
def test_any_other_spelling_goes_the_long_way(spelling: str):
    assert parse_plain_mobile(spelling) is None


def test_a_number_prefix_leaves_at_least_five_digits_open():
    ranges = {number: parse_destination(number, None).number_prefix for number in ("+923001234567", "+299221234")}

    assert ranges == {"+923001234567": "92300", "+299221234": "2992"}
